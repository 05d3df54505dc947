//! Queries: the question as it is asked (`model`), what it means for the views there are (`plan`), and its answer
//! (`execute`, `answer`). Nothing here knows HTTP, and nothing changes what is served.

mod answer;
mod base64;
mod execute;
mod fields;
mod grain;
mod model;
mod plan;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use answer::{Answer, ColumnInfo, Stats, timestamp_text, value_type_name};
pub use fields::FieldError;
pub(crate) use grain::interval;
pub use model::{OrderBy, Query};
pub(crate) use plan::Plan;

use crate::{Served, tiers::Tiers};

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
    #[error("the query makes more than {limit} groups: ask fewer dimensions, a coarser grain or a shorter range")]
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
    /// Nobody waits for the answer any more.
    #[error("the query was cancelled")]
    Cancelled,
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

/// Answers `query` from `tiers`, which are `served`'s at one moment (L4). CPU work: call it off the async runtime. Stops
/// soon after `cancelled`.
///
/// # Errors
/// See [`Error`].
pub fn answer(
    served: &Served,
    tiers: &Arc<Tiers>,
    query: &Query,
    cancelled: &CancellationToken,
) -> Result<Answer, Error> {
    let plan = plan::Plan::of(query, served.views())?;
    execute::execute(&plan, tiers, cancelled)
}
