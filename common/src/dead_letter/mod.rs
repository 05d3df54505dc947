//! Dead letters in the store: kept whole, with reason and position, before the commit that passes them (L7).
//!
//! One Parquet object per run, `dead-letters/<source>/<partition>/<first offset>-<last offset>.parquet`. A crash between
//! this write and the commit leaves letters that will be written again: readers tell letters apart by partition and offset
//! and leave out those the dataset's position has not reached.
//!
//! Nothing here is ever deleted or decided: a writer that was replaced may still commit what it wrote (L3), so its letters
//! must stay. The price: if the rules change between a crash and the commit, a record may be shown as a dead letter that
//! was accepted the second time. The counts of the commits are the truth about how many there are.

mod file;
mod json;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::path::Path;

pub use json::to_json;

use crate::{
    event::DeadLetter,
    names::SourceName,
    position::{Partition, Positions},
    store::Store,
};

/// Why dead letters could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A file is not one of dead letters.
    #[error("dead letters at {path}: {message}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// Writes the dead letters of one partition, in offset order. Does nothing for none. The same letters give the same bytes
/// at the same path, so writing them again changes nothing.
///
/// # Errors
/// [`Error::Store`].
pub async fn write(store: &Store, source: &SourceName, letters: &[DeadLetter]) -> Result<(), Error> {
    let (Some(first), Some(last)) = (letters.first(), letters.last()) else {
        return Ok(());
    };
    debug_assert!(letters.iter().all(|l| l.record.partition == first.record.partition), "letters of one partition");
    debug_assert!(letters.is_sorted_by_key(|l| l.record.offset), "letters in offset order");
    let run = Run { partition: first.record.partition, first: first.record.offset, last: last.record.offset };
    let letters = letters.to_vec();
    let bytes = blocking(move || file::encode(&letters)).await;
    Ok(store.put(&run.path(source), bytes).await?)
}

/// The dead letters of `source` before `positions`, each once, in the order in which the log got them: by time stamp,
/// partition and offset. If there are more than `limit`, the newest.
///
/// # Errors
/// See [`Error`].
pub async fn read(
    store: &Store,
    source: &SourceName,
    positions: &Positions,
    limit: usize,
) -> Result<Vec<DeadLetter>, Error> {
    let mut runs: BTreeMap<Partition, Vec<Run>> = BTreeMap::new();
    for path in store.list(&directory(source)).await? {
        let run =
            Run::parse(&path).ok_or_else(|| corrupt(&path, "the name is not <partition>/<first>-<last>.parquet"))?;
        runs.entry(run.partition).or_default().push(run);
    }
    let mut letters = Vec::new();
    for (partition, runs) in runs {
        if let Some(position) = positions.get(&partition) {
            letters.extend(newest(store, source, runs, position.0, limit).await?);
        }
    }
    letters.sort_by_key(|l| (l.record.timestamp_us, l.record.partition, l.record.offset));
    Ok(letters.split_off(letters.len().saturating_sub(limit)))
}

/// Removes the letters of `source` for which `keep` does not hold, whether positions have reached them or not. Returns the
/// objects that were changed or removed, with how many letters each has lost.
///
/// # Errors
/// See [`Error`]. What was removed until then stays removed.
pub async fn retain(
    store: &Store,
    source: &SourceName,
    keep: impl Fn(&DeadLetter) -> bool,
) -> Result<Vec<(Path, u64)>, Error> {
    let mut changed = Vec::new();
    for path in store.list(&directory(source)).await? {
        let Some(bytes) = store.get(&path).await? else { continue };
        let (kept, lost): (Vec<_>, Vec<_>) = decode(&path, bytes).await?.into_iter().partition(&keep);
        if lost.is_empty() {
            continue;
        }
        if kept.is_empty() {
            store.delete(&path).await?;
        } else {
            store.put(&path, blocking(move || file::encode(&kept)).await).await?;
        }
        changed.push((path, lost.len() as u64));
    }
    Ok(changed)
}

/// The last `limit` letters before offset `before` in `runs`, all of one partition. Reads the last runs first, and none
/// that cannot matter.
async fn newest(
    store: &Store,
    source: &SourceName,
    mut runs: Vec<Run>,
    before: u64,
    limit: usize,
) -> Result<impl Iterator<Item = DeadLetter>, Error> {
    let mut letters = BTreeMap::new();
    runs.retain(|run| run.first < before);
    runs.sort_by_key(|run| std::cmp::Reverse((run.last, run.first)));
    for run in runs {
        let enough = letters.len() >= limit && letters.first_key_value().is_none_or(|(&oldest, _)| run.last < oldest);
        if enough {
            break;
        }
        let path = run.path(source);
        let bytes = store.get(&path).await?.ok_or_else(|| corrupt(&path, "it was listed, but is not there"))?;
        for letter in decode(&path, bytes).await? {
            if letter.record.offset < before {
                letters.entry(letter.record.offset).or_insert(letter);
            }
        }
        while letters.len() > limit {
            letters.pop_first();
        }
    }
    Ok(letters.into_values())
}

async fn decode(path: &Path, bytes: Bytes) -> Result<Vec<DeadLetter>, Error> {
    blocking(move || file::decode(bytes)).await.map_err(|error| corrupt(path, error))
}

/// Parquet is CPU work, which has no place on the async runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn corrupt(path: &Path, message: impl ToString) -> Error {
    Error::Corrupt { path: path.to_string(), message: message.to_string() }
}

fn directory(source: &SourceName) -> Path {
    Path::from_iter(["dead-letters", source.as_str()])
}

/// What one object holds: letters of `partition` with offsets `first` to `last`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    partition: Partition,
    first: u64,
    last: u64,
}

impl Run {
    fn path(self, source: &SourceName) -> Path {
        // 20 digits hold every offset, so that paths sort as offsets do.
        let name = format!("{:020}-{:020}.parquet", self.first, self.last);
        directory(source).join(self.partition.to_string()).join(name)
    }

    fn parse(path: &Path) -> Option<Self> {
        let mut parts = path.parts().collect::<Vec<_>>().into_iter().rev();
        let (name, partition) = (parts.next()?, parts.next()?);
        let (first, last) = name.as_ref().strip_suffix(".parquet")?.split_once('-')?;
        Some(Self {
            partition: Partition(partition.as_ref().parse().ok()?),
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        })
    }
}
