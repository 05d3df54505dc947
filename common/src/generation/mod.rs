//! Generations: the batch views of all views, published together and immutable (L4).

use std::{collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{
    background,
    history::Kept,
    names::{SourceName, ViewName},
    partial,
    position::{Positions, Version},
    store::{self, Listed, Store},
    view::{View, ViewId},
};

/// The format of the manifests that this program writes and reads.
pub const FORMAT: u32 = 1;

const DIRECTORY: &str = "generations";

/// Why a generation could not be read or published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run has published a generation of this number.
    #[error("generation {number} exists already")]
    Exists {
        /// The number.
        number: u64,
    },
    /// A manifest or chunk is not what was written. The batch layer can make it anew from the dataset.
    #[error("{path} {message}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A chunk is not there any more: its generation was removed, so there is a newer one.
    #[error("{path} is gone")]
    Gone {
        /// The object.
        path: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A partial could not be encoded or decoded.
    #[error(transparent)]
    Measure(#[from] crate::measure::Error),
    /// The work on the blocking pool did not finish: it panicked, or the process is going down.
    #[error("coding a chunk did not finish")]
    Unfinished(#[from] tokio::task::JoinError),
}

/// What a generation covers of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The high-water mark: the dataset version covered.
    pub version: Version,
    /// The positions at that version.
    pub positions: Positions,
}

/// One file of a view in a generation: one time chunk or a part of it, a canonical partial. The parts of a chunk have no group
/// in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The object, relative to the store.
    pub path: String,
    /// Start of the chunk's half-open time interval, microseconds since 1970-01-01 UTC.
    pub from_us: i64,
    /// End of the chunk's half-open time interval.
    pub to_us: i64,
    /// Which part of the chunk, from 0. Groups are put in parts by a hash of their dimensions, so a part may be missing.
    pub part: u32,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// XXH3-64 of the bytes, 16 hexadecimal digits.
    pub checksum: String,
}

/// One view in a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewFiles {
    /// The definition that the files are of.
    pub id: ViewId,
    /// The view's source.
    pub source: SourceName,
    /// That definition as SQL, normalised, so that whoever has another one can answer this until the other is computed.
    #[serde(default)]
    pub sql: String,
    /// How much of its history is in them.
    #[serde(default, skip_serializing_if = "Kept::is_whole")]
    pub kept: Kept,
    /// Its chunks, by time.
    pub chunks: Vec<Chunk>,
}

/// A generation's manifest, `generations/<number>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The format of this manifest: [`FORMAT`].
    pub format: u32,
    /// Its number; the first is 1.
    pub number: u64,
    /// When it was made, microseconds since 1970-01-01 UTC.
    pub created_at_us: i64,
    /// What it covers, by source.
    pub marks: BTreeMap<SourceName, Mark>,
    /// Its views by name.
    pub views: BTreeMap<ViewName, ViewFiles>,
}

impl Generation {
    /// The files of the view of this definition. The name does not matter: a view that was only renamed keeps its files.
    #[must_use]
    pub fn of(&self, id: &ViewId) -> Option<&ViewFiles> {
        self.views.values().find(|files| files.id == *id)
    }
}

/// The newest generation in the store, or `None`.
///
/// # Errors
/// [`Error::Store`], [`Error::Corrupt`].
pub async fn latest(store: &Store) -> Result<Option<Generation>, Error> {
    let mut missed = None;
    loop {
        let manifests = store.list_directly(&Path::from(DIRECTORY)).await?;
        let Some(number) = manifests.iter().filter_map(number_of).max() else { return Ok(None) };
        match load(store, number).await? {
            // It was removed since it was listed: there is a newer one.
            None if missed != Some(number) => missed = Some(number),
            found => return Ok(found),
        }
    }
}

/// The manifests of all generations in the store, by number.
///
/// # Errors
/// [`Error::Store`].
pub async fn manifests(store: &Store) -> Result<Vec<(u64, Listed)>, Error> {
    let mut manifests = Vec::new();
    for path in store.list_directly(&Path::from(DIRECTORY)).await? {
        if let (Some(number), Some(object)) = (number_of(&path), store.look(&path).await?) {
            manifests.push((number, object));
        }
    }
    manifests.sort_unstable_by_key(|(number, _)| *number);
    Ok(manifests)
}

/// All chunks in the store, whether a generation names them or not.
///
/// # Errors
/// [`Error::Store`].
pub async fn chunks(store: &Store) -> Result<Vec<Listed>, Error> {
    Ok(store.list_objects(&Path::from_iter([DIRECTORY, "chunks"])).await?)
}

/// The generation with this number, or `None`.
///
/// # Errors
/// [`Error::Store`], [`Error::Corrupt`].
pub async fn load(store: &Store, number: u64) -> Result<Option<Generation>, Error> {
    let path = manifest_path(number);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    let corrupt = |message: String| Error::Corrupt { path: path.to_string(), message };
    let generation: Generation = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if generation.format != FORMAT {
        return Err(corrupt(format!("has format {}, this program reads {FORMAT}", generation.format)));
    }
    if generation.number != number {
        return Err(corrupt(format!("says that it is number {}", generation.number)));
    }
    Ok(Some(generation))
}

/// Publishes `generation` by one put-if-absent: all its views appear together, or none (L4). Its chunks are in the store
/// before this is called.
///
/// # Errors
/// [`Error::Exists`] when another run has published this number: nothing of ours is visible then. [`Error::Store`] when
/// the store failed: whether the generation was published is not known; [`latest`] tells.
pub async fn publish(store: &Store, generation: &Generation) -> Result<(), Error> {
    let mut manifest = serde_json::to_vec_pretty(generation).expect("a manifest is plain data with text keys");
    manifest.push(b'\n');
    match store.put_if_absent(&manifest_path(generation.number), manifest.into()).await {
        Ok(()) => Ok(()),
        Err(store::Error::Exists { .. }) => Err(Error::Exists { number: generation.number }),
        Err(error) => Err(Error::Store(error)),
    }
}

/// Writes `partial`, a canonical partial of `view` whose buckets start in `[from_us, to_us)`, as a chunk in one part. The
/// chunk is named by its content: writing it again changes nothing.
///
/// # Errors
/// [`Error::Store`], [`Error::Measure`].
pub async fn write_chunk(
    store: &Store,
    view: &Arc<View>,
    from_us: i64,
    to_us: i64,
    partial: &RecordBatch,
) -> Result<Chunk, Error> {
    let (view, partial) = (Arc::clone(view), partial.clone());
    let encode = move || encode_chunk(&view, from_us, to_us, 0, &partial);
    let (chunk, bytes) = tokio::task::spawn_blocking(encode).await??;
    put_chunk(store, &chunk, bytes).await?;
    Ok(chunk)
}

/// The file of `partial`, a canonical partial of `view` with the groups of part `part` of the chunk `[from_us, to_us)`. CPU
/// work.
///
/// # Errors
/// [`Error::Measure`].
pub fn encode_chunk(
    view: &View,
    from_us: i64,
    to_us: i64,
    part: u32,
    partial: &RecordBatch,
) -> Result<(Chunk, Bytes), Error> {
    let bytes = partial::to_parquet(partial)?;
    let checksum = checksum(&bytes);
    let path = format!("{DIRECTORY}/chunks/{}/{from_us}-{to_us}-{checksum}.parquet", view.id);
    let rows = partial.num_rows() as u64;
    Ok((Chunk { path, from_us, to_us, part, rows, bytes: bytes.len() as u64, checksum }, bytes))
}

/// Writes the file of a chunk. Writing it again changes nothing.
///
/// # Errors
/// [`Error::Store`].
pub async fn put_chunk(store: &Store, chunk: &Chunk, bytes: Bytes) -> Result<(), Error> {
    Ok(store.put(&chunk_path(chunk)?, bytes).await?)
}

/// The partial of `view` in `chunk`, after its bytes were found to be those that were written.
///
/// # Errors
/// [`Error::Gone`], [`Error::Corrupt`] if the chunk is damaged, [`Error::Store`], [`Error::Measure`].
pub async fn read_chunk(store: &Store, view: &Arc<View>, chunk: &Chunk) -> Result<RecordBatch, Error> {
    read_chunk_or_wait(store, view, chunk, true).await
}

/// As [`read_chunk`]; unless it is `urgent`, in the [background](crate::background).
///
/// # Errors
/// The same.
pub async fn read_chunk_or_wait(
    store: &Store,
    view: &Arc<View>,
    chunk: &Chunk,
    urgent: bool,
) -> Result<RecordBatch, Error> {
    let bytes = store.get(&chunk_path(chunk)?).await?.ok_or_else(|| Error::Gone { path: chunk.path.clone() })?;
    let (view, chunk) = (Arc::clone(view), chunk.clone());
    background::run_or_hurry(urgent, move || {
        let (length, found) = (bytes.len(), checksum(&bytes));
        if found != chunk.checksum {
            let Chunk { path, bytes, checksum, .. } = chunk;
            let message = format!("has {length} bytes with checksum {found}, not {bytes} with {checksum}");
            return Err(Error::Corrupt { path, message });
        }
        Ok(partial::from_parquet(&view, bytes)?)
    })
    .await
}

fn manifest_path(number: u64) -> Path {
    Path::from_iter([DIRECTORY, &format!("{number:020}.json")])
}

fn number_of(manifest: &Path) -> Option<u64> {
    manifest.filename()?.strip_suffix(".json")?.parse().ok()
}

fn chunk_path(chunk: &Chunk) -> Result<Path, Error> {
    Path::parse(&chunk.path).map_err(|error| Error::Corrupt { path: chunk.path.clone(), message: error.to_string() })
}

/// XXH3-64 of `bytes`, 16 hexadecimal digits.
fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}

#[cfg(test)]
mod tests;
