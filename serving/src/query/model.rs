//! The question as it is asked: `POST /v1/query`'s body (DESIGN §6), and the parameters of `GET /v1/views/{view}`.
//!
//! - The range `[from, to)` is of buckets: one is in it if its start is. A bucket cannot be split.
//! - With a `grain` the first column of the answer is the start of the step, under the view's own bucket name, with the
//!   offset of `timezone`. Without one there is no such column, and all buckets are merged. With `ends` the second is where
//!   the step ends, which is not in it any more: `hour_end` if the first is `hour`.
//! - A group that nothing fell into has no row, unless `fill` asks it; that goes for the grand total too.
//! - Rows come by bucket and dimensions (nulls first, text by bytes) where `order_by` leaves them equal or says nothing;
//!   in `order_by` nulls come last, whichever the direction.
//! - What is asked happens in this order: `where`, grouping, `top`, `compare`, `fill`, `having`, `order_by`, `limit`. `totals` are of
//!   all groups that `where` leaves.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::tiers::Layer;

/// One column to order by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBy {
    /// A column of the answer.
    pub by: String,
    /// Greatest first.
    #[schema(value_type = Option<bool>)]
    pub desc: bool,
}

/// What the rows of steps that nothing fell into say of each measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Null.
    Null,
    /// 0 of counts, sums and distinct counts, which are 0 of no events; null of all others, which have no value then.
    Zero,
    /// What the step before says; null before the first.
    Previous,
}

/// The groups that matter most; the states of all others are merged into one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// How many groups, from 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub n: usize,
    /// The measure that ranks them, over the whole range.
    pub by: String,
    /// The least instead of the greatest.
    #[schema(value_type = Option<bool>)]
    pub asc: bool,
}

/// A query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The view asked.
    pub view: String,
    /// Only buckets that start at or after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Only buckets that start before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// The time step of the answer; without one the answer has no time column and all buckets are merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grain: Option<String>,
    /// The IANA time zone by whose clock `grain` is meant; by default that of the view's own buckets, which mostly is UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Whether the answer says where each step ends, too: months, and days of a time zone, are not all equal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(value_type = Option<bool>)]
    pub ends: bool,
    /// The dimensions to group by; none by default.
    #[schema(value_type = Option<Vec<String>>)]
    pub dimensions: Vec<String>,
    /// The measures to answer; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measures: Option<Vec<String>>,
    /// A SQL condition over the view's dimensions.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Keep this many groups, and merge all others into one, which is marked by a column `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Top>,
    /// An earlier range to compare with: how much earlier, as `7 days` or `1 year`, or `previous`, for the range of the same length
    /// before. Each measure has a second column then, as `departures_before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
    /// Whether steps of the range that nothing fell into have a row too, and what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
    /// A SQL condition over the columns of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub having: Option<String>,
    /// Whether the answer has the measures of all groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(value_type = Option<bool>)]
    pub totals: bool,
    /// The order of rows; ties, and all rows without one, are ordered by bucket and dimensions.
    #[schema(value_type = Option<Vec<OrderBy>>)]
    pub order_by: Vec<OrderBy>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub limit: Option<usize>,
    /// Which part of the answer is asked.
    #[schema(value_type = Option<Layer>)]
    pub layer: Layer,
    /// Only rows that may have changed since the answer that said this token in `changes.token`; `""` asks for the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Whether an answer that has more rows than `limit` says a cursor for the rows after in `next`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(value_type = Option<bool>)]
    pub paged: bool,
    /// The rows after those of the answer that said this cursor. All else is as it was asked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
