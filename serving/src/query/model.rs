//! The question as it is asked: `POST /v1/query`'s body (DESIGN §6).
//!
//! - The range `[from, to)` is of buckets: one is in it if its start is. A bucket cannot be split.
//! - With a `grain` the first column of the answer is the start of the step, under the view's own bucket name, with the
//!   offset of `timezone`. Without one there is no such column, and all buckets are merged. With `ends` the second is where
//!   the step ends, which is not in it any more: `hour_end` if the first is `hour`.
//! - A group that nothing fell into has no row; that goes for the grand total too.
//! - Rows come by bucket and dimensions (nulls first, text by bytes) where `order_by` leaves them equal or says nothing;
//!   in `order_by` nulls come last, whichever the direction.

use common::limits::QUERY_ROWS_MAX;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Error, FieldError,
    fields::{Fields, suggest},
};
use crate::tiers::Layer;

const FIELDS: [&str; 12] = [
    "view",
    "from",
    "to",
    "grain",
    "timezone",
    "ends",
    "dimensions",
    "measures",
    "where",
    "order_by",
    "limit",
    "layer",
];

/// One column to order by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrderBy {
    /// A column of the answer.
    pub by: String,
    /// Greatest first.
    pub desc: bool,
}

/// A query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The view asked.
    pub view: String,
    /// Only buckets that start at or after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only buckets that start before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The time step of the answer; without one the answer has no time column and all buckets are merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grain: Option<String>,
    /// The IANA time zone by whose clock `grain` is meant; by default that of the view's own buckets, which mostly is UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Whether the answer says where each step ends, too: months, and days of a time zone, are not all equal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// The dimensions to group by; none by default.
    pub dimensions: Vec<String>,
    /// The measures to answer; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measures: Option<Vec<String>>,
    /// A SQL condition over the view's dimensions.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The order of rows; ties, and all rows without one, are ordered by bucket and dimensions.
    pub order_by: Vec<OrderBy>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Which part of the answer is asked.
    pub layer: Layer,
}

impl Query {
    /// Reads a query from JSON.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not JSON, [`Error::Invalid`] with every field whose shape is wrong. Whether the names in it
    /// exist is not looked at here.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(body)?;
        let mut fields = Fields::of(&value, "", &FIELDS)?;
        let query = Self {
            view: fields.required_string("view"),
            from: instant(&mut fields, "from"),
            to: instant(&mut fields, "to"),
            grain: fields.string("grain"),
            timezone: fields.string("timezone"),
            ends: fields.bool("ends"),
            dimensions: fields.strings("dimensions").unwrap_or_default(),
            measures: fields.strings("measures"),
            filter: fields.string("where"),
            order_by: order_by(&mut fields),
            limit: fields.count("limit", QUERY_ROWS_MAX),
            layer: layer(&mut fields),
        };
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to <= from
        {
            fields.fault("to", format!("must be after `from`, {from}; the range is [from, to)"));
        }
        if fields.errors.is_empty() { Ok(query) } else { Err(Error::Invalid(fields.errors)) }
    }
}

fn instant(fields: &mut Fields<'_>, name: &str) -> Option<Timestamp> {
    let text = fields.string(name)?;
    match text.parse() {
        Ok(instant) => Some(instant),
        Err(error) => {
            fields.fault(name, format!("`{text}` is not an RFC 3339 time such as 2013-02-01T00:00:00Z: {error}"));
            None
        }
    }
}

fn layer(fields: &mut Fields<'_>) -> Layer {
    match fields.string("layer").as_deref() {
        None | Some("merged") => Layer::Merged,
        Some("batch") => Layer::Batch,
        Some("live") => Layer::Live,
        Some(other) => {
            let layers = ["merged", "batch", "live"];
            fields.fault("layer", format!("`{other}` is not a layer{}", suggest(other, layers.into_iter())));
            Layer::Merged
        }
    }
}

fn order_by(fields: &mut Fields<'_>) -> Vec<OrderBy> {
    let mut order = Vec::new();
    for (index, value) in fields.array("order_by").unwrap_or_default().iter().enumerate() {
        match Fields::of(value, &format!("order_by/{index}"), &["by", "desc"]) {
            Ok(mut one) => {
                order.push(OrderBy { by: one.required_string("by"), desc: one.bool("desc") });
                fields.errors.append(&mut one.errors);
            }
            Err(error) => fields.errors.push(error),
        }
    }
    order
}

impl From<Vec<FieldError>> for Error {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors)
    }
}
