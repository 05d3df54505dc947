//! Keeping: history is loaded, small files are put together, what is old or to be forgotten goes.
//!
//! Everything here may be killed at any moment and run again, beside ingest and batch runs: what it changes of a dataset is
//! one commit at a time, and what it deletes is named by nothing any more.

pub mod compact;
pub mod erase;
pub mod export;
pub mod load;
mod mentions;
pub mod retain;
mod swaps;
pub mod vacuum;

use std::sync::Arc;

use common::{dataset::Dataset, pipeline::Source};

use crate::{Batch, Error};

impl Batch {
    /// The dataset of `source`, opened.
    pub(crate) async fn dataset(&self, source: &Source) -> Result<Dataset, Error> {
        let rules = &source.rules;
        let opened =
            Dataset::open(&self.store, &self.pipeline.name, &source.name, Arc::clone(&rules.schema), &rules.event_time);
        Ok(opened.await?)
    }
}
