//! Partials: the table `bucket, dimensions…, states…` of one view over some set of events, and its file format.
//!
//! A canonical partial has one row per group and is sorted by bucket, then by the dimensions in order (nulls first, text
//! by bytes); so equal sets of events give equal bytes (L1).

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::{measure::Error, view::View};

/// Merges partials of `view` into one canonical partial.
///
/// # Errors
/// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Type`].
pub fn merge<'a>(view: &View, partials: impl IntoIterator<Item = &'a RecordBatch>) -> Result<RecordBatch, Error> {
    let _ = (view, partials.into_iter().count());
    unimplemented!("fold helper")
}

/// The Parquet file of a canonical partial. Equal partials give equal bytes.
///
/// # Errors
/// [`Error::Arrow`].
pub fn to_parquet(partial: &RecordBatch) -> Result<Bytes, Error> {
    let _ = partial;
    unimplemented!("fold helper")
}

/// The partial in a Parquet file made by [`to_parquet`] for `view`.
///
/// # Errors
/// [`Error::Arrow`], [`Error::Type`] if the file is of another view.
pub fn from_parquet(view: &View, file: Bytes) -> Result<RecordBatch, Error> {
    let _ = (view, file);
    unimplemented!("fold helper")
}
