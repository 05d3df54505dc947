//! Archives: what is kept of raw events that retention has removed, a partial of each view. Together with the raw events that
//! are left they are the whole history of a view, so that a recompute comes to the same bytes as before (L1, L8).
//!
//! An archive belongs to the commit that removed the events, and counts only if that commit was made.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::path::Path;

use crate::{dataset::ArchiveId, names::SourceName, partial, segment::Error, store::Store, view::View};

/// Writes the partial of `view` in the archive `id`.
///
/// # Errors
/// [`Error::Store`], [`Error::Measure`].
pub async fn write(store: &Store, id: ArchiveId, view: &View, partial: &RecordBatch) -> Result<(), Error> {
    let partial = partial.clone();
    let bytes = tokio::task::spawn_blocking(move || partial::to_parquet(&partial)).await??;
    Ok(store.put(&path(&view.source, id, view), bytes).await?)
}

/// The partial of `view` in the archive `id`; `None` if the view is younger than the archive.
///
/// # Errors
/// [`Error::Store`]; [`Error::Measure`] if it is damaged: unlike a segment it cannot be made again.
pub async fn read(store: &Store, id: ArchiveId, view: &Arc<View>) -> Result<Option<RecordBatch>, Error> {
    let Some(bytes) = store.get(&path(&view.source, id, view)).await? else { return Ok(None) };
    let view = Arc::clone(view);
    Ok(Some(tokio::task::spawn_blocking(move || partial::from_parquet(&view, bytes)).await??))
}

fn path(source: &SourceName, id: ArchiveId, view: &View) -> Path {
    Path::from_iter(["archives", source.as_str(), &id.to_string(), &format!("{}.parquet", view.id)])
}
