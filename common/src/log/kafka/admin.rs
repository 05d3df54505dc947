//! Topics made, widened and removed: what appends need beside the source's topic, and what tests do to topics.

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigEntry, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
        TopicResult,
    },
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{Cluster, Fault, Kafka, context::Context, failed};
use crate::{limits::KAFKA_TIMEOUT, log::Error};

impl Cluster {
    pub(super) fn admin(&self) -> Result<AdminClient<Context>, Fault> {
        self.fault(self.settings.inquirer().create_with_context(Context::default()))
    }

    /// Makes a topic with these settings, replicated as the cluster does by default; it may be there already. Blocks.
    pub(super) fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<(), Fault> {
        let mut topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(-1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin = self.admin()?;
        let made = futures::executor::block_on(admin.create_topics([&topic], &options()));
        match self.fault(made)?.pop() {
            Some(Err((_, error))) if error != Code::TopicAlreadyExists => self.fault(Err(KafkaError::AdminOp(error))),
            _ => Ok(()),
        }
    }

    /// The largest batch of records that `topic` takes, in bytes. Blocks.
    pub(super) fn record_bytes_max(&self, topic: &str) -> Result<Option<usize>, Fault> {
        let admin = self.admin()?;
        let (of_topic, options) = (ResourceSpecifier::Topic(topic), options());
        let asked = admin.describe_configs([&of_topic], &options);
        let configs = self.fault(futures::executor::block_on(asked))?.pop();
        let entry = configs.and_then(Result::ok).and_then(|config| config.get("max.message.bytes").and_then(number));
        Ok(entry)
    }
}

fn number(entry: &ConfigEntry) -> Option<usize> {
    entry.value.as_ref()?.parse().ok()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(KAFKA_TIMEOUT)).operation_timeout(Some(KAFKA_TIMEOUT))
}

impl Kafka {
    /// Makes a topic with these settings of Kafka, replicated as the cluster does by default. It may be there already.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<(), Error> {
        let action = "create the topic";
        let (cluster, topic) = (self.cluster.clone(), name.to_owned());
        let settings: Vec<(String, String)> =
            settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let made = tokio::task::spawn_blocking(move || {
            let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            cluster.create_topic(&topic, partitions, &settings)
        });
        made.await.map_err(failed(name, action))?.map_err(failed(name, action))
    }

    /// Makes the number of partitions of a topic larger.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn grow_topic(&self, name: &str, partitions: u32) -> Result<(), Error> {
        let action = "add partitions";
        let admin = self.cluster.admin().map_err(failed(name, action))?;
        let grown = admin.create_partitions([&NewPartitions::new(name, partitions as usize)], &options()).await;
        one(grown).map_err(failed(name, action))
    }

    /// Removes a topic with all its records.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let action = "delete the topic";
        let admin = self.cluster.admin().map_err(failed(name, action))?;
        one(admin.delete_topics(&[name], &options()).await).map_err(failed(name, action))
    }
}

/// The outcome for the one topic that was asked for.
fn one(answers: Result<Vec<TopicResult>, KafkaError>) -> Result<(), KafkaError> {
    match answers?.pop() {
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        _ => Ok(()),
    }
}
