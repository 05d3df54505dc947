//! How Kafka is reached: the brokers, and librdkafka's own properties as the pipeline file has them.
//!
//! Every property may be set but those that exactly-once depends on. Values are secrets until proven otherwise: they are
//! never printed.

use std::{collections::BTreeMap, fmt};

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    error::KafkaError,
    types::RDKafkaConfRes::{RD_KAFKA_CONF_INVALID, RD_KAFKA_CONF_UNKNOWN},
};

use crate::limits::{FEED_NOTICE_AGE_MAX, FEED_QUEUE_KIB_MAX, KAFKA_QUEUE_KIB_MAX, LOG_RECORD_BYTES_MAX};

/// Properties that are ours to set, with the reason.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "`kafka.brokers` names the brokers"),
    ("metadata.broker.list", "`kafka.brokers` names the brokers"),
    ("group.id", "`group` of a source names its consumer group"),
    ("group.protocol", "partitions move between workers by the classic protocol, cooperatively"),
    ("group.remote.assignor", "partitions move between workers by the classic protocol, cooperatively"),
    ("partition.assignment.strategy", "partitions move between workers cooperatively (cooperative-sticky)"),
    ("enable.auto.commit", "a position moves only in the commit that makes its events durable"),
    ("auto.commit.enable", "a position moves only in the commit that makes its events durable"),
    ("enable.auto.offset.store", "a position moves only in the commit that makes its events durable"),
    ("auto.offset.reset", "reading starts where the dataset stands, and what is gone is never passed over silently"),
    ("isolation.level", "records of aborted transactions are no events"),
    ("enable.partition.eof", "the end of a partition tells how far its last gap reaches"),
    ("transactional.id", "what is appended over HTTP is appended in transactions, each row once"),
    ("enable.idempotence", "what is appended over HTTP is appended in transactions, each row once"),
    ("acks", "what is appended over HTTP is appended in transactions, each row once"),
    ("request.required.acks", "what is appended over HTTP is appended in transactions, each row once"),
    ("partitioner", "a key's partition is the one that Java's clients choose (murmur2)"),
];

/// What we set unless the pipeline file does.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "highwater"),
    // New partitions of a topic are found by asking for its metadata.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
];

/// What we set besides for those who read records. A fetch that brings what just came brings hardly anything: at 100,000 records a
/// second brokers and readers would spend most of their time on hundreds of fetches of a few records. Deltas wait for longer.
const READER: &[(&str, &str)] = &[("fetch.min.bytes", "262144"), ("fetch.wait.max.ms", "20")];

/// How Kafka is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Settings {
    /// Brokers as `host:port, host:port`, and librdkafka's properties, each of which passes [`check_property`].
    #[must_use]
    pub fn new(brokers: impl Into<String>, properties: BTreeMap<String, String>) -> Self {
        Self { brokers: brokers.into(), properties }
    }

    /// The brokers as they were given.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The same at other brokers.
    #[must_use]
    pub fn at(self, brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), ..self }
    }

    /// The same with one property more.
    #[must_use]
    pub fn with(mut self, property: &str, value: &str) -> Self {
        self.properties.insert(property.to_owned(), value.to_owned());
        self
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        DEFAULTS.iter().for_each(|(property, value)| _ = config.set(*property, *value));
        if self.uses_tls() && !self.properties.keys().any(|property| property.starts_with("ssl.ca.")) {
            // OpenSSL is linked in, and does not know where this machine keeps its certificates.
            config.set("ssl.ca.location", "probe");
        }
        config.set("bootstrap.servers", &self.brokers).set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn uses_tls(&self) -> bool {
        self.properties.get("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().contains("ssl"))
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        self.properties.iter().for_each(|(property, value)| _ = config.set(property, value));
        config
    }

    /// For a client that only asks questions.
    pub(super) fn inquirer(&self) -> ClientConfig {
        let mut config = self.with_properties(self.client());
        config.set("isolation.level", "read_committed");
        config
    }

    /// Whether the properties say who a member is, so that we need not.
    pub(super) fn names_instance(&self) -> bool {
        self.properties.contains_key("group.instance.id")
    }

    /// For the member of `group` that reads the records of a source.
    pub(super) fn reader(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let mut config = self.client();
        READER.iter().for_each(|(property, value)| _ = config.set(*property, *value));
        self.member_of(config, group, instance)
    }

    /// For a member of `group`, which is called `instance` there.
    pub(super) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        self.member_of(self.client(), group, instance)
    }

    fn member_of(&self, mut config: ClientConfig, group: &str, instance: Option<&str>) -> ClientConfig {
        instance.iter().for_each(|instance| _ = config.set("group.instance.id", *instance));
        config
            .set("queued.max.messages.kbytes", KAFKA_QUEUE_KIB_MAX.to_string())
            // What waits longer after the queue was full leaves cores idle.
            .set("fetch.queue.backoff.ms", "5");
        let mut config = self.with_properties(config);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        config
    }

    /// For a plain producer.
    pub(super) fn streamer(&self) -> ClientConfig {
        let mut config = self.client();
        // What is asked of every producer of ours, and what makes few requests of many records.
        config.set("compression.type", "lz4").set("linger.ms", "5").set("batch.num.messages", "100000");
        self.with_properties(config)
    }

    /// For the producer of transactions that this identity fences.
    pub(super) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("compression.type", "lz4")
            // The topic's own limit decides, and the broker says so.
            .set("message.max.bytes", (LOG_RECORD_BYTES_MAX + (1 << 20)).to_string());
        let mut config = self.with_properties(config);
        config.set("transactional.id", transactional_id);
        config
    }

    /// For one who tells what may be lost, but keeps its order: of messages with at most so many bytes.
    pub(super) fn speaker(&self, message_bytes_max: usize) -> ClientConfig {
        let mut config = self.client();
        config.set("compression.type", "lz4");
        let mut config = self.with_properties(config);
        config
            .set("enable.idempotence", "true")
            .set("message.max.bytes", message_bytes_max.to_string())
            .set("message.timeout.ms", FEED_NOTICE_AGE_MAX.as_millis().to_string())
            .set("queue.buffering.max.kbytes", FEED_QUEUE_KIB_MAX.to_string());
        config
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Settings").field("brokers", &self.brokers).field("properties", &properties).finish()
    }
}

/// Whether `property` of librdkafka may be set to `value`.
///
/// # Errors
/// Why not, for a person: it is ours, it is not known, or the value is not allowed. The value is not in the text.
pub fn check_property(property: &str, value: &str) -> Result<(), String> {
    if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == property) {
        return Err(format!("`{property}` is not yours to set: {reason}"));
    }
    match ClientConfig::new().set(property, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(format!("librdkafka has no property `{property}`"))
        }
        Err(KafkaError::ClientConfig(RD_KAFKA_CONF_INVALID, reason, ..))
            if !value.is_empty() && !reason.contains(value) =>
        {
            Err(format!("librdkafka refuses the value of `{property}`: {reason}"))
        }
        Err(_) => Err(format!("librdkafka refuses the value of `{property}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exactly_once_depends_on_is_ours() {
        let error = check_property("isolation.level", "read_uncommitted").expect_err("it is ours");
        assert_eq!(error, "`isolation.level` is not yours to set: records of aborted transactions are no events");
        assert!(check_property("group.instance.id", "worker-1").is_ok());
    }

    #[test]
    fn unknown_properties_and_wrong_values_are_told() {
        assert!(check_property("fetch.wait.max.mss", "1").expect_err("it is misspelt").contains("no property"));
        let error = check_property("fetch.wait.max.ms", "soon").expect_err("it is no number");
        assert!(error.contains("`fetch.wait.max.ms`"), "{error}");
        assert!(!check_property("security.protocol", "hunter2").expect_err("it is none").contains("hunter2"));
    }

    #[test]
    fn no_value_is_ever_printed() {
        let settings = Settings::new("localhost:9092", BTreeMap::new()).with("sasl.password", "hunter2");
        let printed = format!("{settings:?}");
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn every_owned_property_is_one_of_librdkafka() {
        for (property, _) in OWNED {
            let known = ClientConfig::new().set(*property, "").create_native_config();
            let unknown = matches!(known, Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)));
            assert!(!unknown, "{property}");
        }
    }
}
