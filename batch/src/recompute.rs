//! Recompute: raw files alone make a generation, whatever the last one says.
//!
//! A bounded number of batches is in memory at once, and groups up to the engine's budget, however long history is. If it
//! comes to what the last generation says already, as the Lambda law has it (L1), nothing is published.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use common::{generation, names::ViewName};

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
        let gathered = self.map_all(&plan, watch).await?;
        let whole = move || {
            let views = gathered.by_size().into_iter();
            views.map(|gathering| Ok((gathering.view().name.clone(), gathering.take()?.whole()?))).collect()
        };
        self.engine.run(whole).await
    }
}
