//! Audit: the views computed two other ways, by a recompute from raw files and by Polars' own aggregations, and compared with
//! what is answered, group by group and measure by measure.
//!
//! Exact measures must be equal; sums and means of doubles must be within the rounding that is stated; sketches must be
//! within their stated error, with the exact value beside. All of it is CPU work: call it off the async runtime (a Polars
//! `collect` must never run there).

mod aggregate;
mod bucket;
mod cell;
mod compare;
mod exact;
mod expected;
pub mod range;
pub mod raw;
mod report;
pub mod sum;
mod window;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::{
    array::ArrayRef,
    datatypes::{Field, Schema},
    record_batch::RecordBatch,
};
use common::{
    names::{SourceName, ViewName},
    pipeline::Pipeline,
    view::View,
};

pub use cell::Cell;
pub use compare::compare;
pub use range::{Answered, Ask};
pub use report::{AuditReport, Difference, SketchReport, ViewAudit, Whence};

use crate::Error;

/// What was answered for a view, at its own grain and by all its dimensions: the bucket, the dimensions and the measures,
/// each a column of its name, in any order of rows.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The merged answer, as serving gives it.
    pub merged: RecordBatch,
    /// The answer from a recompute alone, as [`answer`] makes it from a partial.
    pub recomputed: RecordBatch,
}

/// Compares `answers` of every view of `pipeline` with each other and with totals from `raw`, the files that were replayed
/// into each source. Differences are in the report, not errors.
///
/// # Errors
/// [`Error::Audit`] if a view has no answers or cannot be audited, [`Error::Raw`], [`Error::Polars`].
pub fn verify(
    pipeline: &Pipeline,
    raw: &BTreeMap<SourceName, Vec<PathBuf>>,
    answers: &BTreeMap<ViewName, Answers>,
) -> Result<AuditReport, Error> {
    let mut views = BTreeMap::new();
    for (name, view) in &pipeline.views {
        let wrong = |message: String| Error::Audit { view: name.to_string(), message };
        let source = pipeline.sources.get(&view.source).ok_or_else(|| wrong(format!("no source {}", view.source)))?;
        let Answers { merged, recomputed } =
            answers.get(name).ok_or_else(|| wrong("it was not answered".to_owned()))?;
        let files = raw.get(&view.source).map(Vec::as_slice).unwrap_or_default();
        let events = raw::scan(&source.rules, files)?;
        views.insert(name.clone(), compare(view, events, merged, recomputed)?);
    }
    Ok(AuditReport::new(views))
}

/// The answer that a partial of `view` gives by itself: the bucket, the dimensions and the finished measures.
///
/// # Errors
/// [`Error::Measure`], [`Error::Arrow`].
pub fn answer(view: &View, partial: &RecordBatch) -> Result<RecordBatch, Error> {
    let keys = 1 + view.dimensions.len();
    let schema = partial.schema();
    let mut fields: Vec<Field> = schema.fields()[..keys].iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = partial.columns()[..keys].to_vec();
    for measure in &view.measures {
        let values = measure.finish(&view.states, &partial.columns()[keys..])?.values;
        fields.push(Field::new(&measure.name, values.data_type().clone(), true));
        columns.push(values);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
