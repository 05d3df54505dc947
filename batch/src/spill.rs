//! Spilling: partials put aside in a temporary file while memory is short, and read back shard by shard.
//!
//! The file has no name: it is gone with its last handle, even after a crash. Nothing here is ever read by another run.

use std::{fs::File, io::Write, os::unix::fs::FileExt};

use arrow::record_batch::RecordBatch;
use common::{partial, view::View};

use crate::Error;

/// One partial of each shard of one view.
#[derive(Debug)]
pub struct Spill {
    file: File,
    /// Where each partial starts and how long it is, in bytes; of an empty one, nothing is written.
    spans: Vec<(u64, usize)>,
}

impl Spill {
    /// An empty file for what [`Self::push`] brings.
    ///
    /// # Errors
    /// [`Error::Spill`].
    pub fn new() -> Result<Self, Error> {
        Ok(Self { file: tempfile::tempfile().map_err(Error::Spill)?, spans: Vec::new() })
    }

    /// Writes the partial of the next shard.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn push(&mut self, partial: &RecordBatch) -> Result<(), Error> {
        let at = self.spans.last().map_or(0, |&(at, bytes)| at + bytes as u64);
        if partial.num_rows() == 0 {
            self.spans.push((at, 0));
            return Ok(());
        }
        let bytes = partial::to_parquet(partial)?;
        self.file.write_all(&bytes).map_err(Error::Spill)?;
        self.spans.push((at, bytes.len()));
        Ok(())
    }

    /// The partial of a shard.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn read(&self, view: &View, shard: usize) -> Result<RecordBatch, Error> {
        let (at, length) = self.spans[shard];
        if length == 0 {
            return Ok(RecordBatch::new_empty(view.partial_schema()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).map_err(Error::Spill)?;
        Ok(partial::from_parquet(view, bytes.into())?)
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.spans.len()
    }
}
