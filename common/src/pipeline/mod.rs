//! The pipeline: `pipeline.toml` and `views/*.sql`, read, validated and typed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytesize::ByteSize;
use jiff::SignedDuration;
use url::Url;

use crate::{
    decode::Rules,
    generation::Generation,
    history::History,
    log,
    names::{SourceName, ViewName},
    schema,
    view::{self, View},
};

mod batch;
mod diagnostic;
mod format;
mod history;
mod kafka;
mod load;
mod privacy;
mod reader;
mod schemas;
mod scram;
mod secrets;
mod serving;
mod source;
mod store;
mod values;

pub use batch::{Batch, Cron};
pub use diagnostic::Diagnostic;
pub use kafka::KafkaTopic;
pub use scram::Verifier;
pub use serving::{BODY_LIMIT, Cache, LISTEN, QueryLimits, Role, Serving, TlsFiles, Token};

/// `store.url` where the file has none: a directory beside it.
pub const STORE_URL: &str = "file:state/store";

/// `log.directory` where the file has none: a directory beside it.
pub const LOG_DIRECTORY: &str = "state/log";

/// `commit.interval` where the file has none. On an object store, each commit is a handful of puts: at this interval about
/// 8,640 commits a day, about 0.25 $ of put requests a day for each source.
pub const COMMIT_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// `commit.size` where the file has none: events that wait in memory for their commit.
pub const COMMIT_SIZE: ByteSize = ByteSize::mib(64);

/// `partitions` of a source where the file has none.
pub const PARTITIONS: u32 = 4;

/// The sources of a pipeline, by name.
pub type Sources = BTreeMap<SourceName, Source>;

/// What is done when the log has forgotten records that no commit holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnGap {
    /// The source stops: a person must decide.
    #[default]
    Stop,
    /// The gap is recorded, every answer names it, and reading goes on after it.
    Record,
}

/// A source as the pipeline file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name; also the embedded log's topic.
    pub name: SourceName,
    /// The topic of Kafka that its records come from; from the embedded log if `None`.
    pub kafka: Option<KafkaTopic>,
    /// Partitions of the embedded log.
    pub partitions: u32,
    /// What becomes of it when the log has forgotten records before they were read.
    pub on_gap: OnGap,
    /// How long raw events are kept, by event time; for ever if `None`.
    pub keep: Option<SignedDuration>,
    /// The column whose value in the JSON decides the partition; records go round if `None`.
    pub key: Option<String>,
    /// How its records are decoded and validated.
    pub rules: Rules,
}

impl Source {
    /// Where in a record the value stands that decides the partition; `None` if records go round.
    #[must_use]
    pub fn key_path(&self) -> Option<schema::Path> {
        let column = self.key.as_deref().and_then(|key| self.rules.schema.column(key))?;
        Some(column.path.clone())
    }
}

/// The whole pipeline, valid.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The cluster's name: part of the `txn` app ids.
    pub name: String,
    /// Where the store is.
    pub store: Url,
    /// How it is reached, where it is a bucket.
    pub store_options: crate::store::Options,
    /// Where the embedded log is.
    pub log_directory: PathBuf,
    /// How Kafka is reached, if a source needs it.
    pub kafka: Option<log::kafka::Settings>,
    /// The topic of the live feed, if the file names it; see [`Self::feed_topic`].
    pub feed_topic: Option<String>,
    /// The longest time between commits while events arrive.
    pub commit_interval: SignedDuration,
    /// A commit is made earlier when this many bytes of events wait.
    pub commit_size: ByteSize,
    /// How the API is served.
    pub serving: Serving,
    /// What the batch layer does when, and within which bounds.
    pub batch: Batch,
    /// The sources by name.
    pub sources: Sources,
    /// The views by name.
    pub views: BTreeMap<ViewName, Arc<View>>,
    /// What the file says of the history of views; of one that is not here, everything is kept.
    pub histories: BTreeMap<ViewName, History>,
}

impl Pipeline {
    /// Reads `path`, a pipeline file, and the views in `views/*.sql` beside it. `${NAME}` in a string takes the value of
    /// the environment variable `NAME`.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files, in their order; at least one.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(path, &|name| std::env::var(name).ok())
    }

    /// [`Self::load`] with another environment.
    ///
    /// # Errors
    /// See [`Self::load`].
    pub fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Diagnostic>> {
        load::load(path, environment)
    }

    /// The consumer group that reads `source` from Kafka: what the file says, or the names of cluster and source, since every
    /// worker of a source has to be in one group, and no others.
    #[must_use]
    pub fn group(&self, source: &Source) -> String {
        let named = source.kafka.as_ref().and_then(|topic| topic.group.clone());
        named.unwrap_or_else(|| format!("highwater-{}-{}", self.name, source.name))
    }

    /// The topic of Kafka by which speed and serving layers in different processes hear of each other: what the file says, or a name
    /// made of the cluster's. `None` where there is no Kafka: then they are one process.
    #[must_use]
    pub fn feed_topic(&self) -> Option<String> {
        self.kafka.as_ref()?;
        Some(self.feed_topic.clone().unwrap_or_else(|| format!("highwater-{}-live", self.name)))
    }

    /// This pipeline with each view that `generation` has in another definition as it is there: what can be answered until a
    /// generation has them as they are here. `None` if there is no such view. CPU work that must not be done on the async runtime.
    #[must_use]
    pub fn as_in(&self, generation: &Generation) -> Option<Self> {
        let mut views = self.views.clone();
        let mut changed = Vec::new();
        for (name, files) in &generation.views {
            let Some(view) = views.get_mut(name).filter(|view| view.id != files.id) else { continue };
            let sql = format!("CREATE VIEW {name} AS {}", files.sql);
            // Its columns may be gone: then it cannot be answered any more.
            let Ok(before) = view::parse(&sql, name.as_str(), &self.sources) else { continue };
            if before.id == files.id {
                changed.push(name.clone());
                *view = Arc::new(before);
            }
        }
        // What was only renamed, while its old name was given to another: two views of one definition would be one.
        let old: Vec<_> = changed.iter().map(|name| views[name].id.clone()).collect();
        views.retain(|name, view| changed.contains(name) || !old.contains(&view.id));
        (!changed.is_empty()).then(|| Self { views, ..self.clone() })
    }

    /// The views of `source`, by name.
    #[must_use]
    pub fn views_of(&self, source: &SourceName) -> Vec<Arc<View>> {
        self.views.values().filter(|v| &v.source == source).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
