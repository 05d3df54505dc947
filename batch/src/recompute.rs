//! Recompute: raw files alone make a generation, whatever the last one says.
//!
//! A bounded number of files is in memory at once, and partials are merged as they come, so a recompute needs the memory of
//! the views it makes and of a few files, however long history is. If it comes to what the last generation says already,
//! as the Lambda law has it (L1), nothing is published.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use common::{generation, names::ViewName, partial};

use crate::{Batch, Error, Report, Watch, plan::Plan, report::Kind};

impl Batch {
    /// Recomputes all views of all sources at their heads.
    ///
    /// # Errors
    /// See [`Error`]; nothing of the run is visible then.
    pub async fn recompute(&self, watch: &Watch) -> Result<Report, Error> {
        self.run(Kind::Recompute, watch).await
    }

    /// Recomputes all views in memory and writes nothing: one canonical partial a view, of all time. For an audit.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn recomputed(&self, watch: &Watch) -> Result<BTreeMap<ViewName, RecordBatch>, Error> {
        let newest = generation::latest(&self.store).await?;
        let plan = Plan::new(&self.store, &self.pipeline, None, newest.as_ref()).await?;
        let partials = self.map_all(&plan, watch).await?;
        let views = self.pipeline.views.clone();
        self.engine
            .run(move || {
                let mut chunks: BTreeMap<ViewName, Vec<RecordBatch>> = BTreeMap::new();
                for ((name, _), runs) in partials.take() {
                    let merged = runs.merge(&views[&name])?;
                    chunks.entry(name).or_default().push(merged);
                }
                let whole = views.into_iter().map(|(name, view)| {
                    let chunks = chunks.remove(&name).unwrap_or_default();
                    Ok((name, partial::merge(&view, &chunks)?))
                });
                whole.collect()
            })
            .await
    }
}
