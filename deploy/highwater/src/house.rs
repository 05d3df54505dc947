//! What the commands open: the store, the datasets and the logs that a pipeline names.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use common::{
    dataset::Dataset,
    log::{EventLog, embedded::EmbeddedLogs},
    names::SourceName,
    pipeline::{Pipeline, Source},
    store::Store,
};

/// The pipeline's store.
pub(crate) fn store(pipeline: &Pipeline) -> anyhow::Result<Store> {
    Store::open(&pipeline.store).with_context(|| format!("cannot open the store {}", pipeline.store))
}

/// The dataset of one source.
pub(crate) async fn dataset(pipeline: &Pipeline, store: &Store, source: &Source) -> anyhow::Result<Dataset> {
    let rules = &source.rules;
    Dataset::open(store, &pipeline.name, &source.name, Arc::clone(&rules.schema), &rules.event_time)
        .await
        .with_context(|| format!("cannot open the dataset of source `{}`", source.name))
}

/// The datasets of all sources.
pub(crate) async fn datasets(pipeline: &Pipeline, store: &Store) -> anyhow::Result<BTreeMap<SourceName, Dataset>> {
    let mut datasets = BTreeMap::new();
    for source in pipeline.sources.values() {
        datasets.insert(source.name.clone(), dataset(pipeline, store, source).await?);
    }
    Ok(datasets)
}

/// The logs of all sources. One process at a time can have them open.
pub(crate) async fn logs(pipeline: &Pipeline) -> anyhow::Result<BTreeMap<SourceName, Arc<dyn EventLog>>> {
    let directory = &pipeline.log_directory;
    let opened = EmbeddedLogs::open(directory).await;
    let opened = opened.with_context(|| format!("cannot open the log in {}", directory.display()))?;
    let mut logs: BTreeMap<SourceName, Arc<dyn EventLog>> = BTreeMap::new();
    for source in pipeline.sources.values() {
        let topic = opened.topic(source.name.as_str(), source.partitions).await?;
        logs.insert(source.name.clone(), Arc::new(topic));
    }
    Ok(logs)
}
