//! Segments: the partials of exactly one commit, kept beside the table and named by version. They are a cache: a segment
//! that is missing or damaged is folded again from that commit's files.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::path::Path;

use crate::{
    dataset::{Commit, Dataset},
    fold::Fold,
    names::SourceName,
    partial,
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
    /// The work on the blocking pool did not finish: it panicked, or the process is going down.
    #[error("folding a segment did not finish")]
    Unfinished(#[from] tokio::task::JoinError),
}

/// Writes the segment of `version` for one view. A segment that is there already is replaced: it can only be the same.
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
    let partial = partial.clone();
    let bytes = tokio::task::spawn_blocking(move || partial::to_parquet(&partial)).await??;
    Ok(store.put(&path(source, version, view), bytes).await?)
}

/// The segment of `commit` for each of `views`, in their order: read from the store, or folded from the commit's files. What
/// had to be folded is written, so that the next reader need not.
///
/// # Errors
/// See [`Error`].
pub async fn load(
    store: &Store,
    dataset: &Dataset,
    commit: &Commit,
    views: &[Arc<View>],
) -> Result<Vec<RecordBatch>, Error> {
    let mut partials = Vec::with_capacity(views.len());
    for view in views {
        // A commit of no files has empty segments, which nobody writes.
        let stored = if commit.files.is_empty() { None } else { read(store, commit.version, view).await? };
        partials.push(stored);
    }
    let missing: Vec<Arc<View>> = views
        .iter()
        .zip(&partials)
        .filter(|(_, partial)| partial.is_none())
        .map(|(view, _)| Arc::clone(view))
        .collect();
    let mut folded = if missing.is_empty() { Vec::new() } else { fold(dataset, commit, &missing).await? }.into_iter();
    if !commit.files.is_empty() {
        for (view, partial) in missing.iter().zip(folded.as_slice()) {
            if let Err(error) = write(store, &view.source, commit.version, view, partial).await {
                tracing::warn!(view = %view.name, version = %commit.version, %error, "segment could not be kept");
            }
        }
    }
    let one_each = "one partial was folded for each view that had none";
    Ok(partials.into_iter().map(|partial| partial.unwrap_or_else(|| folded.next().expect(one_each))).collect())
}

async fn read(store: &Store, version: Version, view: &Arc<View>) -> Result<Option<RecordBatch>, Error> {
    let path = path(&view.source, version, view);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    let view = Arc::clone(view);
    match tokio::task::spawn_blocking(move || partial::from_parquet(&view, bytes)).await? {
        Ok(partial) => Ok(Some(partial)),
        Err(error) => {
            tracing::warn!(%path, %error, "segment is damaged, folding it again");
            Ok(None)
        }
    }
}

/// Folds the events of `commit` into the partials of `views`.
async fn fold(dataset: &Dataset, commit: &Commit, views: &[Arc<View>]) -> Result<Vec<RecordBatch>, Error> {
    let mut fold = Fold::new(views);
    let columns = fold.columns();
    for file in &commit.files {
        let events = dataset.read(file, &columns).await?;
        fold = tokio::task::spawn_blocking(move || {
            events.iter().try_for_each(|batch| fold.fold(batch))?;
            Ok::<_, Error>(fold)
        })
        .await??;
    }
    Ok(tokio::task::spawn_blocking(move || fold.take()).await??)
}

fn path(source: &SourceName, version: Version, view: &View) -> Path {
    Path::from_iter(["segments", source.as_str(), view.id.as_str(), &format!("{:020}.parquet", version.0)])
}
