//! Spilling: partials put aside in a temporary file while memory is short, and read back shard by shard.
//!
//! The file has no name: it is gone with its last handle, even after a crash. Nothing here is ever read by another run.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use arrow::record_batch::RecordBatch;
use common::{fold::SHARDS, partial, view::View};

use crate::Error;

/// Partials of the shards of one view, any number of each.
#[derive(Debug)]
pub struct Spill {
    file: File,
    spans: Mutex<Spans>,
}

#[derive(Debug)]
struct Spans {
    end: u64,
    /// Of each shard, where each partial starts and how long it is, in bytes.
    of: Vec<Vec<(u64, usize)>>,
}

impl Spill {
    /// An empty file for what [`Self::put`] brings.
    ///
    /// # Errors
    /// [`Error::Spill`].
    pub fn new() -> Result<Self, Error> {
        let spans = Mutex::new(Spans { end: 0, of: vec![Vec::new(); SHARDS] });
        Ok(Self { file: tempfile::tempfile().map_err(Error::Spill)?, spans })
    }

    /// Writes one more partial of a shard; many may at once. CPU work that waits for a local disk.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn put(&self, shard: usize, partial: &RecordBatch) -> Result<(), Error> {
        if partial.num_rows() == 0 {
            return Ok(());
        }
        let bytes = partial::to_parquet(partial)?;
        let at = {
            let mut spans = self.spans();
            let at = spans.end;
            spans.end += bytes.len() as u64;
            at
        };
        self.file.write_all_at(&bytes, at).map_err(Error::Spill)?;
        self.spans().of[shard].push((at, bytes.len()));
        Ok(())
    }

    /// All partials of a shard.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn read(&self, view: &View, shard: usize) -> Result<Vec<RecordBatch>, Error> {
        let spans = self.spans().of[shard].clone();
        let partial = |(at, length)| {
            let mut bytes = vec![0; length];
            self.file.read_exact_at(&mut bytes, at).map_err(Error::Spill)?;
            Ok(partial::from_parquet(view, bytes.into())?)
        };
        spans.into_iter().map(partial).collect()
    }

    /// Whether there is anything of a shard.
    #[must_use]
    pub fn has(&self, shard: usize) -> bool {
        !self.spans().of[shard].is_empty()
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        // After a panic the run is over; what is in it is not used again.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
