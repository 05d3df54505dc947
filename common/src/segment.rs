//! Segments: the partials of exactly one commit, kept beside the table and named by version. They are a cache: a segment
//! that is missing is folded again from that commit's files.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::{
    dataset::{Commit, Dataset},
    names::SourceName,
    position::Version,
    store::Store,
    view::View,
};

/// Why a segment could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The dataset failed.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::Error),
    /// Folding or decoding failed.
    #[error(transparent)]
    Measure(#[from] crate::measure::Error),
}

/// Writes the segment of `version` for one view.
///
/// # Errors
/// [`Error::Store`], [`Error::Measure`].
pub async fn write(
    store: &Store,
    source: &SourceName,
    version: Version,
    view: &View,
    partial: &RecordBatch,
) -> Result<(), Error> {
    let _ = (store, source, version, view, partial);
    unimplemented!("dataset helper")
}

/// The segment of `commit` for each of `views`, in their order: read from the store, or folded from the commit's files.
///
/// # Errors
/// See [`Error`].
pub async fn load(
    store: &Store,
    dataset: &Dataset,
    commit: &Commit,
    views: &[Arc<View>],
) -> Result<Vec<RecordBatch>, Error> {
    let _ = (store, dataset, commit, views);
    unimplemented!("dataset helper")
}
