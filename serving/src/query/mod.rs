//! Queries: the question as it is asked (`model`), what it means for the views there are (`plan`), and its answer
//! (`execute`, `answer`). Nothing here knows HTTP, and nothing changes what is served.

mod answer;
mod changes;
mod columns;
mod cursor;
mod execute;
mod fields;
mod filled;
mod grain;
mod groups;
mod history;
mod join;
mod model;
mod plan;
mod read;
mod steps;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use common::limits::QUERY_LIGHT_ROWS_MAX;
use tokio_util::sync::CancellationToken;

pub(crate) use answer::Whole;
pub(crate) use answer::plain as key_column;
pub use answer::{Answer, Changes, ColumnInfo, Stats, timestamp_text, value_type_name};
pub(crate) use cursor::Pins;
pub use fields::FieldError;
pub(crate) use fields::Fields;
pub use model::{Fill, OrderBy, Query, Top};
pub(crate) use plan::{Plan, project};
pub(crate) use steps::{Steps, whole_steps};
pub use written::Form;

use crate::{
    Served,
    tiers::{Layer, Tiers},
};

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Fields of the query are wrong: all that were found.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There are more groups than a query may make.
    #[error(
        "the query makes more than {limit} groups (`serving.query_groups`): ask fewer dimensions, a coarser grain or a shorter range"
    )]
    TooManyGroups {
        /// How many it may make.
        limit: usize,
    },
    /// The filter failed on the data.
    #[error(transparent)]
    Filter(#[from] common::expression::Error),
    /// A measure could not be finished.
    #[error(transparent)]
    Measure(#[from] common::measure::Error),
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// What a cursor goes on from is not held any more.
    #[error("{0}; ask the first page again")]
    Gone(String),
    /// The form asked has no place for a part of the answer.
    #[error("an answer in CSV, NDJSON or Arrow has rows only: {0} takes JSON")]
    RowsOnly(&'static str),
    /// Polars does not run a statement.
    #[error("{0}")]
    Sql(String),
    /// A chunk of the generation could not be read.
    #[error("a part of the generation could not be read")]
    Chunk(#[source] crate::chunks::Error),
    /// Nobody waits for the answer any more.
    #[error("the query was cancelled")]
    Cancelled,
}

impl From<crate::chunks::Error> for Error {
    fn from(error: crate::chunks::Error) -> Self {
        match error {
            crate::chunks::Error::Measure(error) => Self::Measure(error),
            error => Self::Chunk(error),
        }
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

impl From<Vec<FieldError>> for Error {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors)
    }
}

/// Answers `query` from `tiers`, which are `served`'s at one moment (L4); with a cursor, from those that its first page was answered
/// from. CPU work: call it off the async runtime. Stops soon after `cancelled`.
///
/// # Errors
/// See [`Error`].
pub fn answer(
    served: &Served,
    tiers: &Arc<Tiers>,
    query: &Query,
    cancelled: &CancellationToken,
) -> Result<Answer, Error> {
    let plan = Plan::of(query, served.views(), served.limits())?;
    let held = query.cursor.as_deref().map(|cursor| served.pins().resume(cursor, query)).transpose()?;
    let (tiers, offset) = held.as_ref().map_or((tiers, 0), |(tiers, offset)| (tiers, *offset));
    let plan = Plan { offset, ..fitted(plan, tiers)? };
    let mut answer = execute::execute(&plan, query.since.as_deref(), tiers, cancelled)?;
    let reached = offset + answer.rows.num_rows();
    if query.paged && reached < answer.stats.groups {
        answer.next = Some(served.pins().hold(tiers, query, reached));
    }
    Ok(answer)
}

/// Whether the answer takes so little that it costs less than to hand the query to another thread. Polars, which takes conditions
/// apart, may not be asked for it on a thread of the async runtime.
///
/// # Errors
/// As of [`answer`].
pub(crate) fn is_light(served: &Served, tiers: &Tiers, query: &Query) -> Result<bool, Error> {
    if query.filter.is_some() || query.having.is_some() || query.cursor.is_some() || query.since.is_some() {
        return Ok(false);
    }
    let plan = fitted(Plan::of(query, served.views(), served.limits())?, tiers)?;
    let (from_us, to_us, _) = plan.range(None);
    let tables = tiers.tables(&plan.view.name, plan.layer, from_us, to_us).unwrap_or_default();
    let wanted = plan.wanted(None);
    let efforts: Option<usize> = tables.into_iter().map(|table| table.effort(&wanted, from_us, to_us)).sum();
    Ok(plan.shift.is_none() && efforts.is_some_and(|rows| rows <= QUERY_LIGHT_ROWS_MAX))
}

/// The plan for what `tiers` keep of the history.
fn fitted(mut plan: Plan, tiers: &Tiers) -> Result<Plan, Error> {
    if plan.layer != Layer::Live {
        let kept = tiers.kept(&plan.view.name);
        history::fit(&mut plan, &kept)?;
    }
    Ok(plan)
}
