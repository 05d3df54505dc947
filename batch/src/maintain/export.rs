//! Export: a view as the newest generation has it, its measures finished, becomes a Delta table that other tools read.

use std::sync::Arc;

use arrow::{
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use common::{
    dataset::Export,
    generation::{self, Mark},
    position::Version,
    store::Store,
    view::View,
};
use serde::Serialize;

use crate::{Batch, Error, Watch};

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The generation.
    pub generation: u64,
    /// What it covers of the view's source.
    pub mark: Mark,
    /// Rows of the table.
    pub rows: u64,
    /// The version of the table that has them.
    pub version: Version,
}

impl Batch {
    /// Writes `view` to the root of `to`, in place of what an earlier export wrote there. One chunk of the view is in memory at
    /// once.
    ///
    /// # Errors
    /// [`Error::NotCovered`] if no generation has the view, [`Error::Dataset`] if there is another table, and others.
    pub async fn export(&self, view: &Arc<View>, to: &Store, watch: &Watch) -> Result<Exported, Error> {
        let newest = generation::latest(&self.store).await?;
        let number = newest.as_ref().map_or(0, |newest| newest.number);
        let not_covered = || Error::NotCovered { view: view.name.clone(), generation: number };
        let newest = newest.ok_or_else(not_covered)?;
        let files = newest.of(&view.id).ok_or_else(not_covered)?;
        let mark = newest.marks.get(&view.source).ok_or_else(not_covered)?.clone();
        let schema = finished_schema(view);
        let mut export = Export::new(to, view.name.as_str(), &schema);
        let mut rows = 0;
        for chunk in &files.chunks {
            watch.check()?;
            let partial = generation::read_chunk(&self.store, view, chunk).await?;
            rows += partial.num_rows() as u64;
            let (view, schema) = (Arc::clone(view), SchemaRef::clone(&schema));
            export.write(self.engine.run(move || finished(&view, &schema, &partial)).await?).await?;
        }
        let version = export.finish().await?;
        Ok(Exported { generation: number, mark, rows, version })
    }
}

/// The columns of an exported view: the bucket, the dimensions, the measures.
fn finished_schema(view: &View) -> SchemaRef {
    let partial = view.partial_schema();
    let keys = partial.fields().iter().take(1 + view.dimensions.len()).map(|field| field.as_ref().clone());
    let measures = view.measures.iter().map(|measure| Field::new(&measure.name, measure.value_type.arrow(), true));
    Arc::new(Schema::new(keys.chain(measures).collect::<Vec<_>>()))
}

fn finished(view: &View, schema: &SchemaRef, partial: &RecordBatch) -> Result<RecordBatch, Error> {
    let (keys, states) = partial.columns().split_at(1 + view.dimensions.len());
    let mut columns = keys.to_vec();
    for measure in &view.measures {
        columns.push(measure.finish(&view.states, states)?.values);
    }
    Ok(RecordBatch::try_new(SchemaRef::clone(schema), columns)?)
}
