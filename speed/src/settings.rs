//! How a worker is told what to do, and with what.

use std::{sync::Arc, time::Duration};

use common::{
    clock::Clock,
    dataset::Dataset,
    decode::Rules,
    feed,
    log::EventLog,
    names::SourceName,
    pipeline::{self, OnGap, Pipeline},
    store::Store,
    telemetry::Ingest,
    view::View,
};
use tokio::sync::Semaphore;

use crate::retry::Retry;

/// How one source is ingested.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source.
    pub source: SourceName,
    /// How its records are decoded.
    pub rules: Rules,
    /// What to do about records that are gone before they were read.
    pub on_gap: OnGap,
    /// Its views.
    pub views: Vec<Arc<View>>,
    /// The longest time between commits while events arrive.
    pub commit_interval: Duration,
    /// A commit is made earlier when this many bytes of events wait. When twice as many are in memory, the log is not
    /// read on until a commit is through.
    pub commit_size_bytes: u64,
    /// How often what fails is tried again.
    pub retry: Retry,
}

impl Settings {
    /// What `pipeline` says of `source`.
    #[must_use]
    pub fn new(pipeline: &Pipeline, source: &pipeline::Source) -> Self {
        Self {
            source: source.name.clone(),
            rules: source.rules.clone(),
            on_gap: source.on_gap,
            views: pipeline.views_of(&source.name),
            commit_interval: pipeline.commit_interval.unsigned_abs(),
            commit_size_bytes: pipeline.commit_size.as_u64(),
            retry: Retry::default(),
        }
    }
}

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where records come from.
    pub log: Arc<dyn EventLog>,
    /// Where events go.
    pub dataset: Dataset,
    /// Where dead letters and segments go.
    pub store: Store,
    /// Who is told.
    pub feed: feed::Sender,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Ingest,
    /// How many cores may decode, fold and merge at the same time: one budget for all sources of the process.
    pub cores: Arc<Semaphore>,
}
