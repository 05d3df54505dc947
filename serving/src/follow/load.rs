//! Reading what is durable: the commits of a dataset with their segments, and the chunks of a generation.

use std::{collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use common::{
    background,
    dataset::{Commit, Dataset},
    generation::{self, Generation, ViewFiles},
    limits::STORE_CONCURRENCY_MAX,
    names::SourceName,
    position::Version,
    segment,
    store::Store,
    view::View,
};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::Error;
use crate::{
    chunks::{self, Cache, Cached},
    tiers::{Batch, BatchOf, Chunk, Loaded, Segmented, Table, Tiers, coded},
};

/// Chunks that are mapped at the same time before a generation is shown: each is in memory as it is read.
const MAPPED_AT_ONCE: usize = 2;

/// The commits in `(after, up_to]`, ascending, with their segments of `views`.
pub(super) async fn commits(
    store: &Store,
    dataset: &Dataset,
    views: &[Arc<View>],
    after: Version,
    up_to: Version,
) -> Result<Vec<Segmented>, Error> {
    if up_to <= after {
        return Ok(Vec::new());
    }
    let commits = dataset.commits(after, up_to).await?;
    let mut read = Vec::with_capacity(commits.len());
    for commit in commits {
        read.push(segmented(store, dataset, views, commit));
    }
    stream::iter(read).buffered(STORE_CONCURRENCY_MAX).try_collect().await
}

async fn segmented(store: &Store, dataset: &Dataset, views: &[Arc<View>], commit: Commit) -> Result<Segmented, Error> {
    let partials = segment::load(store, dataset, &commit, views).await?;
    let segment = views.iter().map(|view| view.id.clone()).zip(partials).collect();
    Ok(Segmented { version: commit.version, positions: commit.positions, segment })
}

/// The newest generation after number `shown`, read beside the tiers that `beside` gives for it; `None` if there is none. One that is
/// removed while it is read, as by an erasure, is passed over: there is a newer one then.
pub(super) async fn newest(
    store: &Store,
    cache: Option<&Arc<Cache>>,
    datasets: &BTreeMap<SourceName, Dataset>,
    shown: u64,
    beside: impl Fn(&Generation) -> Arc<Tiers>,
) -> Result<Option<(Arc<Tiers>, Loaded)>, Error> {
    let mut gone = shown;
    loop {
        let newest = generation::latest(store).await?.filter(|newest| newest.number > shown);
        let Some(newest) = newest else { return Ok(None) };
        let (number, tiers) = (newest.number, beside(&newest));
        if redefines(&newest, &tiers) {
            return Ok(None);
        }
        match generation(store, cache, datasets, Arc::new(newest), &tiers).await {
            Err(Error::Generation(generation::Error::Gone { path })) if number > gone => {
                info!(generation = number, path, "a generation was removed while it was read, looking for a newer one");
                gone = number;
            }
            read => return Ok(Some((tiers, read?))),
        }
    }
}

/// Whether `newest` has another definition of a view that is shown from a generation. What is shown stays then, with all commits since:
/// in the new generation it would have to be made from all commits that there ever were.
fn redefines(newest: &Generation, shown: &Tiers) -> bool {
    shown.sources().any(|(_, source)| {
        let mut views = source.views().iter().enumerate().filter(|(index, _)| source.batch(*index).mark.is_some());
        views.any(|(_, view)| newest.views.get(&view.name).is_some_and(|files| files.id != view.id))
    })
}

/// Reads what `generation` has of the views served. Chunks that `shown` has already are shared, not read again; with a cache, those that
/// nothing was asked of are not read at all.
pub(super) async fn generation(
    store: &Store,
    cache: Option<&Arc<Cache>>,
    datasets: &BTreeMap<SourceName, Dataset>,
    generation: Arc<Generation>,
    shown: &Tiers,
) -> Result<Loaded, Error> {
    let mut sources = BTreeMap::new();
    for (name, tiers) in shown.sources() {
        let mut views = Vec::with_capacity(tiers.views().len());
        for (index, view) in tiers.views().iter().enumerate() {
            let before = tiers.batch(index);
            let batch = batch(store, cache, &generation, view, before).await?;
            let earlier = match datasets.get(name) {
                Some(dataset) => earlier(store, dataset, view, batch.covered(), before.covered()).await?,
                None => Vec::new(),
            };
            views.push(BatchOf { view: view.id.clone(), batch, earlier });
        }
        sources.insert(name.clone(), views);
    }
    Ok(Loaded { generation, sources })
}

/// The segments of `view` in `(after, up_to]`: none, unless a generation covers less of the view than the one before it.
async fn earlier(
    store: &Store,
    dataset: &Dataset,
    view: &Arc<View>,
    after: Version,
    up_to: Version,
) -> Result<Vec<(Version, RecordBatch)>, Error> {
    let commits = commits(store, dataset, std::slice::from_ref(view), after, up_to).await?;
    let of_view = |commit: Segmented| commit.segment.into_iter().map(move |(_, partial)| (commit.version, partial));
    Ok(commits.into_iter().flat_map(of_view).collect())
}

async fn batch(
    store: &Store,
    cache: Option<&Arc<Cache>>,
    generation: &Generation,
    view: &Arc<View>,
    before: &Batch,
) -> Result<Batch, Error> {
    let files = generation.views.get(&view.name).filter(|files| files.id == view.id);
    let mark = generation.marks.get(&view.source);
    let (Some(files), Some(mark)) = (files, mark) else { return Ok(Batch::default()) };
    let chunks = chunks(store, cache, view, files, before).await?;
    Ok(Batch { mark: Some(mark.version), chunks: chunks.into(), kept: files.kept.clone() })
}

async fn chunks(
    store: &Store,
    cache: Option<&Arc<Cache>>,
    view: &Arc<View>,
    files: &ViewFiles,
    before: &Batch,
) -> Result<Vec<Chunk>, Error> {
    let mut read = Vec::with_capacity(files.chunks.len());
    for file in &files.chunks {
        read.push(chunk(store, cache, view, file, before));
    }
    let at_once = if cache.is_some() { MAPPED_AT_ONCE } else { STORE_CONCURRENCY_MAX };
    stream::iter(read).buffered(at_once).try_collect().await
}

async fn chunk(
    store: &Store,
    cache: Option<&Arc<Cache>>,
    view: &Arc<View>,
    file: &generation::Chunk,
    before: &Batch,
) -> Result<Chunk, Error> {
    if let Some(chunk) = before.chunks.iter().find(|chunk| chunk.path == file.path) {
        return Ok(chunk.clone());
    }
    // Nobody is answered from the first ones until they are all there.
    let urgent = before.chunks.is_empty();
    let before = before.chunks.iter().filter(|chunk| (chunk.from_us, chunk.to_us) == (file.from_us, file.to_us));
    let before: Vec<&Table> = before.map(|chunk| &chunk.table).collect();
    let table = match cache {
        Some(cache) => Table::from(Cached::new(cache, view, file)),
        None => {
            let (partial, view) = (generation::read_chunk_or_wait(store, view, file, urgent).await?, Arc::clone(view));
            background::run_or_hurry(urgent, move || coded(&view, &partial)).await?.into()
        }
    };
    // What was asked of the chunk that this one takes the place of will be asked of it.
    if before.iter().any(|before| before.is_warm()) {
        let wanted: Vec<_> = before.iter().flat_map(|before| before.rolled()).collect();
        let (view, table) = (Arc::clone(view), table.clone());
        background::run(move || table.warm(&view, wanted)).await?;
    }
    Ok(Chunk { path: file.path.clone(), from_us: file.from_us, to_us: file.to_us, table })
}

/// Maps the chunks shown, the newest first, as long as the cache has room: so that who asks first need not wait for them.
pub(super) async fn warm(cache: Arc<Cache>, tiers: Arc<Tiers>) -> Result<(), Error> {
    let batches = tiers.sources().flat_map(|(_, source)| (0..source.views().len()).map(|view| source.batch(view)));
    let mut chunks: Vec<&Chunk> = batches.flat_map(|batch| batch.chunks.iter()).collect();
    chunks.sort_by_key(|chunk| std::cmp::Reverse(chunk.from_us));
    for chunk in chunks {
        if !cache.has_room() {
            break;
        }
        let table = chunk.table.clone();
        match background::run(move || table.partial().map(drop)).await {
            // A newer generation is there.
            Err(chunks::Error::Generation(generation::Error::Gone { .. })) => break,
            mapped => mapped?,
        }
    }
    Ok(())
}
