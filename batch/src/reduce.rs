//! Reduce: all partials of one view and time chunk become one canonical partial, and that one content-addressed file.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::record_batch::RecordBatch;
use common::{
    generation::{self, Chunk},
    names::ViewName,
    partial,
    store::Store,
    view::View,
};

use crate::{Engine, Error, chunk};

/// Which chunk: the view and the start of its time interval, microseconds since 1970-01-01 UTC.
pub type ChunkKey = (ViewName, i64);

/// Canonical partials of one chunk, each with more than twice the rows of the next.
///
/// So there are few of them whatever came in, they hold at most twice the rows of the merged chunk, and a row is merged
/// only a logarithmic number of times. In which order they were pushed makes no difference to what they merge to (L1).
#[derive(Debug, Default)]
pub struct Runs(Vec<RecordBatch>);

impl Runs {
    /// Adds a canonical partial, merging as many as it takes.
    ///
    /// # Errors
    /// [`Error::Measure`].
    pub fn push(&mut self, view: &View, partial: RecordBatch) -> Result<(), Error> {
        self.0.push(partial);
        while let [.., below, top] = self.0.as_slice()
            && below.num_rows() <= 2 * top.num_rows()
        {
            let merged = partial::merge(view, [below, top])?;
            self.0.truncate(self.0.len() - 2);
            self.0.push(merged);
        }
        Ok(())
    }

    /// The canonical partial of all that was pushed.
    ///
    /// # Errors
    /// [`Error::Measure`].
    pub fn merge(mut self, view: &View) -> Result<RecordBatch, Error> {
        match self.0.len() {
            1 => Ok(self.0.remove(0)),
            _ => Ok(partial::merge(view, &self.0)?),
        }
    }

    fn rows(&self) -> usize {
        self.0.iter().map(RecordBatch::num_rows).sum()
    }
}

/// What the map tasks of a run have made so far, merged as it comes in. Shared by all tasks.
#[derive(Debug, Default)]
pub struct Partials {
    chunks: Mutex<BTreeMap<ChunkKey, Runs>>,
}

impl Partials {
    /// Adds a canonical partial of the chunk of `view` that starts at `from_us`. The merging is done by the calling thread and
    /// without the lock: what others add to the same chunk meanwhile is merged after.
    ///
    /// # Errors
    /// [`Error::Measure`].
    pub fn add(&self, view: &View, from_us: i64, piece: RecordBatch) -> Result<(), Error> {
        let key = (view.name.clone(), from_us);
        let mut ours = Runs(vec![piece]);
        loop {
            let Some(theirs) = self.put_or_take(&key, &mut ours) else { return Ok(()) };
            let (mut larger, smaller) = if theirs.rows() >= ours.rows() { (theirs, ours) } else { (ours, theirs) };
            for partial in smaller.0 {
                larger.push(view, partial)?;
            }
            ours = larger;
        }
    }

    /// Leaves `ours` in the chunk if nothing is there; else takes out what is there.
    fn put_or_take(&self, key: &ChunkKey, ours: &mut Runs) -> Option<Runs> {
        // Only whole runs are put in and taken out under the lock, so a panic elsewhere leaves nothing half done in it.
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = chunks.remove(key);
        if found.is_none() {
            chunks.insert(key.clone(), std::mem::take(ours));
        }
        found
    }

    /// Everything that was added, by view and time.
    #[must_use]
    pub fn take(&self) -> BTreeMap<ChunkKey, Runs> {
        std::mem::take(&mut *self.chunks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Merges `runs`, and the chunk of the last generation if there is one, and writes the chunk's file. The same input always
/// gives the same file under the same name, so this may run twice, and a file that no generation names does no harm.
///
/// # Errors
/// [`Error::Generation`], [`Error::Measure`].
pub async fn reduce(
    store: &Store,
    engine: &Engine,
    view: &Arc<View>,
    from_us: i64,
    mut runs: Runs,
    base: Option<&Chunk>,
) -> Result<Chunk, Error> {
    if let Some(base) = base {
        runs.0.insert(0, generation::read_chunk(store, view, base).await?);
    }
    let merging = Arc::clone(view);
    let merged = engine.run(move || runs.merge(&merging)).await?;
    let (_, to_us) = chunk::of(view).interval(from_us);
    Ok(generation::write_chunk(store, view, from_us, to_us, &merged).await?)
}
