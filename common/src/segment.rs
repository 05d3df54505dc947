//! Segments: the partials of exactly one commit, kept beside the table and named by version. They are a cache: a segment
//! that is missing or damaged is folded again from that commit's files.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::path::Path;

use crate::{
    background,
    dataset::{Commit, Dataset},
    fold::Fold,
    names::SourceName,
    partial,
    position::Version,
    store::{Listed, Store},
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
    let bytes = background::run(move || partial::to_parquet(&partial)).await?;
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

/// All segments of `source` that there are: the view's definition, the version, and the object.
///
/// # Errors
/// [`Error::Store`].
pub async fn list(store: &Store, source: &SourceName) -> Result<Vec<(String, Version, Listed)>, Error> {
    let listed = store.list_objects(&Path::from_iter(["segments", source.as_str()])).await?;
    let segment = |object: Listed| {
        let mut parts: Vec<_> = object.path.parts().collect();
        let version = parts.pop()?.as_ref().strip_suffix(".parquet")?.parse().ok()?;
        Some((parts.pop()?.as_ref().to_owned(), Version(version), object))
    };
    Ok(listed.into_iter().filter_map(segment).collect())
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
        let events = dataset.read_of_commit(commit, file, &columns).await?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array};
    use url::Url;

    use super::*;
    use crate::{
        dataset::Append,
        event::Counts,
        position::{OffsetRange, Partition, Position},
        schema::{OFFSET, PARTITION, TIMESTAMP, TOPIC},
        testing,
    };

    const HOUR_US: i64 = 3_600_000_000;

    // Polars, which evaluates expressions, refuses to work under a runtime of one thread: hence the flavor of the tests.
    fn views() -> Vec<Arc<View>> {
        let source = testing::departures();
        let by_hour = "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, \
                       count(*) AS departures, sum(delay_minutes) AS delay FROM departures GROUP BY hour, carrier";
        let late = "CREATE VIEW late AS SELECT date_trunc('day', departed_at) AS day, count(*) AS departures \
                    FROM departures WHERE delay_minutes > 3 GROUP BY day";
        vec![testing::view(by_hour, &source), testing::view(late, &source)]
    }

    fn events(offsets: std::ops::Range<i64>) -> RecordBatch {
        let schema = testing::departures().rules.schema.event_schema();
        let offsets: Vec<i64> = offsets.collect();
        let times = || TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| o * HOUR_US / 2));
        let column = |name: &str, data_type| -> ArrayRef {
            match name {
                "carrier" => Arc::new(StringArray::from_iter(offsets.iter().map(|o| (o % 3 > 0).then_some("UA")))),
                "delay_minutes" => Arc::new(Int64Array::from(offsets.clone())),
                "departed_at" | TIMESTAMP => Arc::new(times().with_timezone("UTC")),
                TOPIC => Arc::new(StringArray::from(vec!["departures"; offsets.len()])),
                PARTITION => Arc::new(Int32Array::from(vec![0; offsets.len()])),
                OFFSET => Arc::new(Int64Array::from(offsets.clone())),
                _ => new_null_array(data_type, offsets.len()),
            }
        };
        let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    }

    async fn dataset(store: &Store) -> Dataset {
        let source = testing::departures();
        Dataset::open(store, "test", &source.name, source.rules.schema, "departed_at").await.unwrap()
    }

    async fn commit(dataset: &Dataset, offsets: std::ops::Range<i64>) -> Commit {
        let range = OffsetRange::new(Position(offsets.start as u64), Position(offsets.end as u64));
        let counts = Counts { events: range.len(), ..Counts::default() };
        let partitions = BTreeMap::from([(Partition(0), (range, counts))]);
        dataset.append(Append { events: vec![events(offsets)], partitions }).await.unwrap()
    }

    fn folded(offsets: std::ops::Range<i64>) -> Vec<RecordBatch> {
        let mut fold = Fold::new(&views());
        fold.fold(&events(offsets)).unwrap();
        fold.take().unwrap()
    }

    fn memory() -> Store {
        Store::open(&Url::parse("memory:").unwrap()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_missing_segment_is_folded_and_kept() {
        let store = memory();
        let dataset = dataset(&store).await;
        // 100 half hours: files of three dates.
        let made = commit(&dataset, 0..100).await;
        assert_eq!(load(&store, &dataset, &made, &views()).await.unwrap(), folded(0..100));
        for file in &made.files {
            store.delete(&file.path).await.unwrap();
        }
        assert_eq!(load(&store, &dataset, &made, &views()).await.unwrap(), folded(0..100));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_damaged_segment_is_folded_again() {
        let store = memory();
        let dataset = dataset(&store).await;
        let made = commit(&dataset, 0..10).await;
        let views = views();
        write(&store, &views[0].source, made.version, &views[0], &folded(0..10)[0]).await.unwrap();
        let kept = store.get(&path(&views[0].source, made.version, &views[0])).await.unwrap().unwrap();
        store.put(&path(&views[0].source, made.version, &views[0]), kept.slice(..kept.len() - 20)).await.unwrap();
        assert_eq!(load(&store, &dataset, &made, &views).await.unwrap(), folded(0..10));
        let mended = store.get(&path(&views[0].source, made.version, &views[0])).await.unwrap().unwrap();
        assert_eq!(mended, kept);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_commit_of_no_events_has_empty_segments() {
        let store = memory();
        let dataset = dataset(&store).await;
        let made = commit(&dataset, 0..0).await;
        let segments = load(&store, &dataset, &made, &views()).await.unwrap();
        assert_eq!(segments.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(store.list(&Path::from("segments")).await.unwrap(), []);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn l1_segments_merge_to_the_partial_of_all_commits() {
        let store = memory();
        let dataset = dataset(&store).await;
        let commits = [commit(&dataset, 0..7).await, commit(&dataset, 7..50).await, commit(&dataset, 50..60).await];
        let mut segments = Vec::new();
        for commit in commits.iter().rev() {
            segments.push(load(&store, &dataset, commit, &views()).await.unwrap());
        }
        for (index, (view, whole)) in views().iter().zip(folded(0..60)).enumerate() {
            let merged = partial::merge(view, segments.iter().map(|segment| &segment[index])).unwrap();
            assert_eq!(merged, whole);
        }
    }
}
