//! The cache: a directory of this process alone, with a budget. What was asked for longest ago goes first. It may be empty, or gone, at
//! any start: all that is in it can be read from the store again.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use bytesize::ByteSize;
use common::{
    generation,
    store::Store,
    telemetry::{self, LoadedFrom},
};
use tokio::runtime::Handle;
use tracing::warn;

use super::{Cached, Error, UNFINISHED, file};
use crate::tiers::coded;

/// The extension of whole files.
const WHOLE: &str = "arrow";

/// Held as long as the process uses the directory.
const LOCK: &str = "lock";

/// See the module.
pub struct Cache {
    directory: PathBuf,
    budget: u64,
    store: Store,
    /// Where the store is asked: those who want rows are on threads of their own.
    runtime: Handle,
    turns: AtomicU64,
    files: Mutex<Files>,
    metrics: telemetry::Serving,
    _lock: File,
}

/// The files there are.
#[derive(Debug, Default)]
struct Files {
    by_name: HashMap<String, Held>,
    bytes: u64,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    /// The chunk, if anything shows it.
    chunk: Weak<Cached>,
}

impl Held {
    /// When it was asked for last; 0 of what nothing shows.
    fn used(&self) -> u64 {
        self.chunk.upgrade().map_or(0, |chunk| chunk.used.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("directory", &self.directory)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// The cache of chunks of `store` in `directory`, which is made if need be, with at most `budget` bytes of files; one chunk is
    /// kept whatever it takes. Called within a runtime.
    ///
    /// # Errors
    /// [`Error::Directory`], also if another process uses it.
    pub fn open(
        directory: &Path,
        budget: ByteSize,
        store: &Store,
        metrics: telemetry::Serving,
    ) -> Result<Arc<Self>, Error> {
        let unusable = |reason: String| Error::Directory { directory: directory.to_owned(), reason };
        let failed = |error: std::io::Error| unusable(error.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = File::create(directory.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|_| unusable("another process uses it; each needs its own".to_owned()))?;
        let files = found(directory).map_err(failed)?;
        let cache = Self {
            directory: directory.to_owned(),
            budget: budget.as_u64(),
            store: store.clone(),
            runtime: Handle::current(),
            turns: AtomicU64::default(),
            files: Mutex::new(files),
            metrics,
            _lock: lock,
        };
        cache.evict(&mut cache.files(), None);
        Ok(Arc::new(cache))
    }

    /// Whether as many bytes can be held as chunks so far have had at most, without evicting one.
    pub(crate) fn has_room(&self) -> bool {
        let files = self.files();
        let largest = files.by_name.values().map(|held| held.bytes).max().unwrap_or_default();
        files.bytes + largest <= self.budget
    }

    /// Keeps the file of `chunk`, if there is one, as long as anything shows the chunk.
    pub(super) fn claim(&self, chunk: &Arc<Cached>) {
        if let Some(held) = self.files().by_name.get_mut(&chunk.name()) {
            held.chunk = Arc::downgrade(chunk);
        }
    }

    /// Removes the files of chunks that nothing shows any more: what was erased has to go from here too.
    pub(crate) fn sweep(&self) {
        let mut files = self.files();
        let left = files.by_name.iter().filter(|(_, held)| held.chunk.strong_count() == 0);
        let left: Vec<String> = left.map(|(name, _)| name.clone()).collect();
        left.iter().for_each(|name| self.remove(&mut files, name));
        self.metrics.cached_bytes(files.bytes);
    }

    /// Counts who asks.
    pub(super) fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Maps the rows of `chunk`, which nobody else is about to. Blocks.
    pub(super) fn map(&self, chunk: &Arc<Cached>) -> Result<RecordBatch, Error> {
        let name = chunk.name();
        let path = self.directory.join(&name).with_extension(WHOLE);
        let (rows, bytes) = match file::open(&path) {
            Ok(found) => {
                self.metrics.chunk_loaded(LoadedFrom::Disk);
                found
            }
            Err(fault) => {
                if !matches!(fault, file::Fault::Missing) {
                    warn!(path = %path.display(), %fault, "a file of the cache is made anew");
                }
                let rows = self.read(chunk)?;
                self.metrics.chunk_loaded(LoadedFrom::Store);
                match file::write(&path, &rows).and_then(|()| file::open(&path)) {
                    Ok(found) => found,
                    Err(fault) => {
                        // A full disk makes answers slow, not wrong.
                        warn!(path = %path.display(), %fault, "a chunk is not kept in the cache");
                        return Ok(rows);
                    }
                }
            }
        };
        *chunk.slot() = Some(rows.clone());
        let mut files = self.files();
        let held = Held { bytes, chunk: Arc::downgrade(chunk) };
        let before = files.by_name.insert(name.clone(), held).map_or(0, |held| held.bytes);
        files.bytes = files.bytes - before + bytes;
        self.evict(&mut files, Some(&name));
        Ok(rows)
    }

    /// Reads a chunk from the store.
    fn read(&self, chunk: &Cached) -> Result<RecordBatch, Error> {
        let partial = self.runtime.block_on(generation::read_chunk(&self.store, &chunk.view, &chunk.chunk))?;
        Ok(coded(&chunk.view, &partial)?)
    }

    /// Removes what was asked for longest ago until the rest is within the budget; never `newest`.
    fn evict(&self, files: &mut Files, newest: Option<&str>) {
        while files.bytes > self.budget {
            let others = files.by_name.iter().filter(|(name, _)| Some(name.as_str()) != newest);
            let Some(name) = others.min_by_key(|(_, held)| held.used()).map(|(name, _)| name.clone()) else { break };
            self.remove(files, &name);
            self.metrics.chunk_evicted();
        }
        self.metrics.cached_bytes(files.bytes);
    }

    /// Removes the file of a chunk: its name now, and the mapping with the last who has the rows.
    fn remove(&self, files: &mut Files, name: &str) {
        let Some(held) = files.by_name.remove(name) else { return };
        files.bytes -= held.bytes;
        if let Err(error) = fs::remove_file(self.directory.join(name).with_extension(WHOLE))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(name, %error, "a file of the cache cannot be removed");
        }
        if let Some(chunk) = held.chunk.upgrade() {
            *chunk.slot() = None;
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // Counts and names are changed together, without anything in between that could fail.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole files in `directory`; what an earlier process did not finish is removed.
fn found(directory: &Path) -> std::io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(UNFINISHED) => fs::remove_file(&path)?,
            Some(WHOLE) => {
                let (bytes, name) = (entry.metadata()?.len(), path.file_stem().unwrap_or_default());
                files.by_name.insert(name.to_string_lossy().into_owned(), Held { bytes, chunk: Weak::new() });
                files.bytes += bytes;
            }
            _ => {}
        }
    }
    Ok(files)
}
