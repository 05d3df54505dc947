//! Map: a few raw files, or one commit, are brought to the groups of their views.
//!
//! A task reads immutable input and brings the same whenever and wherever it runs.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::{
    archive,
    dataset::{ArchiveId, DataFile, Dataset, Part},
    segment,
    store::Store,
    view::View,
};

use crate::{
    Engine, Error,
    gather::{Folding, Gathered},
    plan::{Input, MapTask},
};

/// Does `task` and adds what comes out to `gathered`, which is to be [finished](Gathered::finish) after the last one.
///
/// # Errors
/// [`Error::Dataset`], [`Error::Segment`], [`Error::Measure`], [`Error::Spill`].
pub async fn map(store: &Store, engine: &Engine, task: MapTask, gathered: Arc<Gathered>) -> Result<(), Error> {
    let MapTask { dataset, input, part, views } = task;
    match input {
        Input::Files(files) => fold(engine, &dataset, (&files, part), &views, &gathered).await,
        Input::Commit(commit) => {
            let partials = match commit.archive {
                Some(archive) => archived(store, archive, &views).await?,
                None => segment::load(store, &dataset, &commit, &views).await?.into_iter().map(Some).collect(),
            };
            let held: usize = partials.iter().flatten().map(RecordBatch::get_array_memory_size).sum();
            let claim = gathered.claim().of(held);
            let merge = move || {
                for (view, partial) in views.iter().zip(partials) {
                    if let Some(partial) = partial {
                        gathered.of(view).shards.merge(&partial)?;
                    }
                }
                drop(claim);
                gathered.make_room()
            };
            engine.run(merge).await
        }
    }
}

/// What is kept of events that are raw files no more; nothing for views that came later.
async fn archived(store: &Store, id: ArchiveId, views: &[Arc<View>]) -> Result<Vec<Option<RecordBatch>>, Error> {
    let mut partials = Vec::with_capacity(views.len());
    for view in views {
        partials.push(archive::read(store, id, view).await?);
    }
    Ok(partials)
}

/// Folds `files`, one after the other, so that what is read of one row group and a batch of its events are in memory at once.
async fn fold(
    engine: &Engine,
    dataset: &Dataset,
    (files, part): (&[DataFile], Part),
    views: &[Arc<View>],
    gathered: &Arc<Gathered>,
) -> Result<(), Error> {
    let mut folding = gathered.folding(views);
    let columns = folding.fold.columns();
    for file in files {
        let mut events = dataset.events_of(file, part, &columns).await?;
        let read_max = events.held_max();
        folding.claim.set(read_max + folding.fold.bytes());
        while let Some(group) = events.next().await? {
            let gathered = Arc::clone(gathered);
            let folded = engine.run(move || {
                let Folding { fold, claim } = &mut folding;
                for batch in group {
                    let batch = batch?;
                    fold.fold(&batch)?;
                    claim.set(read_max + batch.get_array_memory_size() + fold.bytes());
                    if gathered.is_short() {
                        fold.settle()?;
                        claim.set(read_max + batch.get_array_memory_size() + fold.bytes());
                        gathered.make_room()?;
                    }
                }
                claim.set(read_max + fold.bytes());
                Ok::<_, Error>(folding)
            });
            folding = folded.await?;
        }
        folding.claim.set(folding.fold.bytes());
    }
    gathered.put_back(folding);
    Ok(())
}
