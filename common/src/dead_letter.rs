//! Dead letters in the store: kept whole, with reason and position, before the commit that passes them (L7).
//!
//! One Parquet object per run, `dead-letters/<source>/<partition>/<first offset>-<last offset>.parquet`. A crash between
//! this write and the commit leaves letters that will be written again: readers tell letters apart by partition and offset
//! and leave out those the dataset's position has not reached.

use crate::{event::DeadLetter, names::SourceName, position::Positions, store::Store};

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

/// Writes the dead letters of one partition, in offset order. Does nothing for none.
///
/// # Errors
/// [`Error::Store`].
pub async fn write(store: &Store, source: &SourceName, letters: &[DeadLetter]) -> Result<(), Error> {
    let _ = (store, source, letters);
    unimplemented!("decode helper")
}

/// All dead letters of `source` before `positions`, by partition and offset, each once.
///
/// # Errors
/// See [`Error`].
pub async fn read(store: &Store, source: &SourceName, positions: &Positions) -> Result<Vec<DeadLetter>, Error> {
    let _ = (store, source, positions);
    unimplemented!("decode helper")
}
