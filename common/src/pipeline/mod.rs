//! The pipeline: `pipeline.toml` and `views/*.sql`, read, validated and typed.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use bytesize::ByteSize;
use jiff::SignedDuration;
use url::Url;

use crate::{
    decode::Rules,
    names::{SourceName, ViewName},
    view::View,
};

/// A source as the pipeline file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name; also the embedded log's topic.
    pub name: SourceName,
    /// Partitions of the embedded log.
    pub partitions: u32,
    /// How its records are decoded and validated.
    pub rules: Rules,
}

/// The whole pipeline, valid.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The cluster's name: part of the `txn` app ids.
    pub name: String,
    /// Where the store is.
    pub store: Url,
    /// Where the embedded log is.
    pub log_directory: PathBuf,
    /// The longest time between commits while events arrive.
    pub commit_interval: SignedDuration,
    /// A commit is made earlier when this many bytes of events wait.
    pub commit_size: ByteSize,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The largest request body.
    pub body_limit: ByteSize,
    /// Time between batch advances in `highwater run`.
    pub advance_every: SignedDuration,
    /// The sources by name.
    pub sources: BTreeMap<SourceName, Source>,
    /// The views by name.
    pub views: BTreeMap<ViewName, Arc<View>>,
}

impl Pipeline {
    /// The views of `source`, by name.
    #[must_use]
    pub fn views_of(&self, source: &SourceName) -> Vec<Arc<View>> {
        self.views.values().filter(|v| &v.source == source).cloned().collect()
    }
}
