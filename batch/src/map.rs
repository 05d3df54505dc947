//! Map: a few raw files, or one commit, become one partial per view and time chunk.
//!
//! A task reads immutable input and gives the same pieces whenever and wherever it runs, so it may run twice.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::{
    dataset::{DataFile, Dataset},
    fold::Fold,
    segment,
    store::Store,
    view::View,
};

use crate::{
    Engine, Error, chunk,
    plan::{Input, MapTask},
    reduce::Partials,
};

/// Does `task` and adds what comes out to `partials`.
///
/// # Errors
/// [`Error::Dataset`], [`Error::Segment`], [`Error::Measure`].
pub async fn map(store: &Store, engine: &Engine, task: MapTask, partials: Arc<Partials>) -> Result<(), Error> {
    let MapTask { dataset, input, views } = task;
    match input {
        Input::Files(files) => {
            let fold = fold(engine, &dataset, &files, &views).await?;
            engine.run(move || add(&views, &{ fold }.take()?, &partials)).await
        }
        Input::Commit(commit) => {
            let segment = segment::load(store, &dataset, &commit, &views).await?;
            engine.run(move || add(&views, &segment, &partials)).await
        }
    }
}

/// Folds `files`, one after the other, so that the events of one are in memory at once.
async fn fold(engine: &Engine, dataset: &Dataset, files: &[DataFile], views: &[Arc<View>]) -> Result<Fold, Error> {
    let mut fold = Fold::new(views);
    let columns = fold.columns();
    for file in files {
        let events = dataset.read(file, &columns).await?;
        let folding = engine.run(move || {
            events.iter().try_for_each(|batch| fold.fold(batch))?;
            Ok::<_, Error>(fold)
        });
        fold = folding.await?;
    }
    Ok(fold)
}

fn add(views: &[Arc<View>], folded: &[RecordBatch], partials: &Partials) -> Result<(), Error> {
    for (view, partial) in views.iter().zip(folded) {
        for (from_us, piece) in chunk::split(view, partial)? {
            partials.add(view, from_us, piece)?;
        }
    }
    Ok(())
}
