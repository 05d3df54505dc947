//! Recompute: raw files alone make a generation, whatever the last one says.
//!
//! A bounded number of batches is in memory at once, and groups up to the engine's budget, however long history is. If it
//! comes to what the last generation says already, as the Lambda law has it (L1), nothing is published. A long one keeps its
//! finished work in the store (see [`crate::stored`]), and goes on from there if it was killed.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use common::{generation, names::ViewName};

use crate::{
    Batch, Error, Report, Request, Scope, Watch,
    plan::{Plan, Start, TASK_BYTES_MAX},
};

impl Batch {
    /// Recomputes all views of all sources at their heads.
    ///
    /// # Errors
    /// See [`Error`]; nothing of the run is visible then.
    pub async fn recompute(&self, watch: &Watch) -> Result<Report, Error> {
        self.recompute_within(&Scope::default(), watch).await
    }

    /// Recomputes what is in `scope`: some views, of which all else is carried on from the last generation; of a stretch of
    /// time only the chunks that it touches, at the marks of the last generation, from the files that can hold their events.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::NotCovered`] if the last generation does not have what a stretch of time is asked of.
    pub async fn recompute_within(&self, scope: &Scope, watch: &Watch) -> Result<Report, Error> {
        self.run(&Request::Recompute(scope.clone()), watch).await
    }

    /// Recomputes all views in memory and writes nothing: one canonical partial a view, of all time. For an audit.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn recomputed(&self, watch: &Watch) -> Result<BTreeMap<ViewName, RecordBatch>, Error> {
        let newest = generation::latest(&self.store).await?;
        let plan = Plan::new(&self.store, &self.pipeline, Start::Raw, newest.as_ref(), TASK_BYTES_MAX).await?;
        let gathered = self.map_all(&plan, watch).await?;
        let whole = move || {
            let views = gathered.by_size().into_iter();
            views.map(|gathering| Ok((gathering.view().name.clone(), gathering.take()?.whole()?))).collect()
        };
        self.engine.run(whole).await
    }
}
