//! Advance: the last generation and the commits since make the next one.
//!
//! Costs grow with the new events, not with history: only chunks that a new event fell into are written again, all others
//! are named again. A view that the last generation does not have, because it is new or changed, is computed from raw
//! files in the same run; one that the pipeline no longer has is left out. With no generation at all, that makes an advance
//! a recompute.

use crate::{Batch, Error, Report, Request, Watch};

impl Batch {
    /// Advances to the heads of all sources. Where nothing is new, nothing is published.
    ///
    /// # Errors
    /// See [`Error`]; nothing of the run is visible then.
    pub async fn advance(&self, watch: &Watch) -> Result<Report, Error> {
        self.run(&Request::Advance, watch).await
    }
}
