//! What the commands open: the store, the datasets and the logs that a pipeline names.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use common::{
    clock::SystemClock,
    dataset::Dataset,
    feed::{
        topic::FeedTopic,
        wire::{FeedSource, FeedSources},
    },
    log::{EventLog, embedded::EmbeddedLogs, kafka::Kafka},
    names::SourceName,
    pipeline::{Pipeline, Source},
    store::Store,
    telemetry,
};
use serving::chunks::Cache;

/// The pipeline's store.
pub(crate) fn store(pipeline: &Pipeline) -> anyhow::Result<Store> {
    Store::open_with(&pipeline.store, &pipeline.store_options)
        .with_context(|| format!("cannot open the store {}", pipeline.store))
}

/// Where the chunks of generations are kept, if not in memory.
pub(crate) fn cache(
    pipeline: &Pipeline,
    store: &Store,
    metrics: telemetry::Serving,
) -> anyhow::Result<Option<Arc<Cache>>> {
    let Some(settings) = &pipeline.serving.cache else { return Ok(None) };
    Ok(Some(Cache::open(&settings.directory, settings.size, store, metrics)?))
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

/// The logs of all sources. One process at a time can have embedded ones open; topics of Kafka are for any number.
pub(crate) async fn logs(pipeline: &Pipeline) -> anyhow::Result<BTreeMap<SourceName, Arc<dyn EventLog>>> {
    let mut logs: BTreeMap<SourceName, Arc<dyn EventLog>> = BTreeMap::new();
    let directory = &pipeline.log_directory;
    let mut embedded: Option<EmbeddedLogs> = None;
    let kafka = pipeline.kafka.clone().map(Kafka::new).transpose()?;
    for source in pipeline.sources.values() {
        let log: Arc<dyn EventLog> = match (&source.kafka, &kafka) {
            (Some(topic), Some(kafka)) => {
                let opened = kafka.topic(&topic.name, &pipeline.group(source)).await;
                Arc::new(opened.with_context(|| format!("cannot open the topic of source `{}`", source.name))?)
            }
            _ => {
                if embedded.is_none() {
                    let opened = EmbeddedLogs::open(directory).await;
                    embedded = Some(opened.with_context(|| format!("cannot open the log in {}", directory.display()))?);
                }
                let logs = embedded.as_ref().expect("it was opened above");
                Arc::new(logs.topic(source.name.as_str(), source.partitions).await?)
            }
        };
        logs.insert(source.name.clone(), log);
    }
    Ok(logs)
}

/// The source `name`, or all sources.
pub(crate) fn chosen<'a>(pipeline: &'a Pipeline, name: Option<&SourceName>) -> anyhow::Result<Vec<&'a Source>> {
    let Some(name) = name else {
        return Ok(pipeline.sources.values().collect());
    };
    let names = || pipeline.sources.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let source = pipeline.sources.get(name).with_context(|| format!("no source `{name}`; there are: {}", names()))?;
    Ok(vec![source])
}

/// The live feed between processes; `None` where there is no Kafka.
pub(crate) fn feed(pipeline: &Pipeline, datasets: &BTreeMap<SourceName, Dataset>) -> anyhow::Result<Option<FeedTopic>> {
    let (Some(settings), Some(topic)) = (&pipeline.kafka, pipeline.feed_topic()) else { return Ok(None) };
    let of = |source: &SourceName| {
        let dataset = datasets.get(source)?.id().into();
        Some((source.clone(), FeedSource { dataset, views: pipeline.views_of(source) }))
    };
    let sources: FeedSources = pipeline.sources.keys().filter_map(of).collect();
    let kafka = Kafka::new(settings.clone())?;
    Ok(Some(FeedTopic::new(kafka, &topic, sources, Arc::new(SystemClock))))
}
