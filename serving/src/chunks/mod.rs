//! The chunks of generations: in memory, or in files of a local cache that are mapped when they are asked for. So views may be larger
//! than memory, which then is the kernel's page cache. Nothing here decides which chunks are shown.
//!
//! A chunk never changes and is named by its content, so a file of the cache is right or damaged, never old; generations share those
//! that did not change. Whoever has the rows of a chunk keeps them, whether or not it is evicted meanwhile.

mod cache;
mod file;
mod map;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use common::{generation, view::View};

pub use cache::Cache;

/// The extension of files that are being written.
const UNFINISHED: &str = "unfinished";

/// Why a chunk has no rows, or there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not have the chunk, or failed.
    #[error(transparent)]
    Generation(#[from] generation::Error),
    /// Its rows do not merge.
    #[error(transparent)]
    Measure(#[from] common::measure::Error),
    /// The directory cannot be used.
    #[error("the cache (`serving.cache`) cannot be kept in {}: {reason}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What is in the way.
        reason: String,
    },
}

/// A chunk whose rows are in the store, and maybe in the cache.
#[derive(Debug)]
pub(crate) struct Cached {
    cache: Arc<Cache>,
    view: Arc<View>,
    chunk: generation::Chunk,
    /// The rows, while they are mapped.
    mapped: Mutex<Option<RecordBatch>>,
    /// Held by the one that maps them.
    mapping: Mutex<()>,
    /// When they were asked for last, by the cache's count.
    used: AtomicU64,
}

impl Cached {
    /// `chunk` of `view`, of which nothing is read until it is asked for.
    pub(crate) fn new(cache: &Arc<Cache>, view: &Arc<View>, chunk: &generation::Chunk) -> Arc<Self> {
        let chunk = Arc::new(Self {
            cache: Arc::clone(cache),
            view: Arc::clone(view),
            chunk: chunk.clone(),
            mapped: Mutex::default(),
            mapping: Mutex::default(),
            used: AtomicU64::default(),
        });
        cache.claim(&chunk);
        chunk
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.chunk.rows).unwrap_or(usize::MAX)
    }

    /// Whether any of its buckets may start in `[from_us, to_us)`.
    pub(crate) fn reaches_into(&self, from_us: i64, to_us: i64) -> bool {
        self.chunk.from_us < to_us && from_us < self.chunk.to_us
    }

    /// Whether the rows are mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        self.slot().is_some()
    }

    /// The rows, which are read and mapped if need be. Blocks: never call it on the async runtime.
    pub(crate) fn rows(self: &Arc<Self>) -> Result<RecordBatch, Error> {
        self.used.store(self.cache.turn(), Ordering::Relaxed);
        let mapped = self.slot().clone();
        if let Some(rows) = mapped {
            return Ok(rows);
        }
        // Whoever else wants them waits, and does not read them too.
        let _mapping = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = self.slot().clone();
        mapped.map_or_else(|| self.cache.map(self), Ok)
    }

    /// The name of the chunk's file in the cache: the view, the chunk's time and its checksum.
    fn name(&self) -> String {
        let parts: Vec<&str> = self.chunk.path.trim_end_matches(".parquet").rsplit('/').take(2).collect();
        parts.iter().rev().copied().collect::<Vec<_>>().join("_")
    }

    fn slot(&self) -> MutexGuard<'_, Option<RecordBatch>> {
        // It is whole at any moment.
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
