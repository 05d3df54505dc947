//! Generations: the batch views of all views, published together and immutable (L4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    names::{SourceName, ViewName},
    position::{Positions, Version},
    store::{Error, Store},
    view::ViewId,
};

/// What a generation covers of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The high-water mark: the dataset version covered.
    pub version: Version,
    /// The positions at that version.
    pub positions: Positions,
}

/// One file of a view in a generation: one time chunk, a canonical partial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The object, relative to the store.
    pub path: String,
    /// Start of the chunk's half-open time interval, microseconds since 1970-01-01 UTC.
    pub from_us: i64,
    /// End of the chunk's half-open time interval.
    pub to_us: i64,
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
    /// Its chunks, by time.
    pub chunks: Vec<Chunk>,
}

/// A generation's manifest, `generations/<number>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The format of this manifest: 1.
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

/// The newest generation in the store, or `None`.
///
/// # Errors
/// [`Error::Io`].
pub async fn latest(store: &Store) -> Result<Option<Generation>, Error> {
    let _ = store;
    unimplemented!("dataset helper")
}

/// Publishes `generation` by one put-if-absent: all its views appear together, or none (L4).
///
/// # Errors
/// [`Error::Exists`] when another run has published this number: nothing of ours is visible then.
pub async fn publish(store: &Store, generation: &Generation) -> Result<(), Error> {
    let _ = (store, generation);
    unimplemented!("dataset helper")
}
