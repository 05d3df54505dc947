//! The engine: the threads that CPU work of a run is done on, within a budget of cores and of memory.
//!
//! Reading and writing waits on the async runtime; folding, merging and encoding never run there.

use std::{num::NonZeroUsize, sync::Arc};

use bytesize::ByteSize;
use common::{background, pipeline};

use crate::Error;

/// A pool of threads. Cheap to clone; the pool ends with its last clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pool: Arc<rayon::ThreadPool>,
    cores: NonZeroUsize,
    memory: usize,
}

impl Engine {
    /// An engine of `cores` threads.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn new(cores: NonZeroUsize) -> Result<Self, Error> {
        Self::on(cores, || {})
    }

    /// The same for a process that has more urgent work: its threads are as those of [`background`].
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn in_background(cores: NonZeroUsize) -> Result<Self, Error> {
        Self::on(cores, background::lower)
    }

    fn on(cores: NonZeroUsize, begin: fn()) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.get())
            .thread_name(|thread| format!("batch-{thread}"))
            .start_handler(move |_| begin())
            .build()?;
        Ok(Self { pool: Arc::new(pool), cores, memory: bytes(pipeline::Batch::default().memory) })
    }

    /// The same engine with a budget of `memory`; groups that it has no room for are put aside in temporary files.
    #[must_use]
    pub fn with_memory(self, memory: ByteSize) -> Self {
        Self { memory: bytes(memory), ..self }
    }

    /// Bytes that a run may hold.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// How many tasks are worth having in flight: one on each core, and one more that waits for the store meanwhile. It
    /// bounds the memory of a run, since each holds what it reads of one row group.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.cores.get() + 1
    }

    /// Does `work` on a thread of the pool. A panic in `work` goes on in the caller. If the caller stops waiting, `work`
    /// still runs to its end and what it made is dropped.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        background::run_on(&self.pool, work).await
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_the_pool_and_panics_reach_the_caller() {
        let engine = Engine::new(NonZeroUsize::MIN).expect("one thread");
        let name = engine.run(|| std::thread::current().name().map(str::to_owned)).await;
        assert_eq!(name.as_deref(), Some("batch-0"));

        let failing = engine.clone();
        let joined = tokio::spawn(async move { failing.run(|| panic!("on purpose")).await }).await;
        assert!(joined.expect_err("the panic goes on").is_panic());
        assert_eq!(engine.run(|| 7).await, 7, "the pool outlives a panic");
    }
}
