//! A topic that every process reads whole, by itself and in no group: what one says, all hear. The live feed travels on one.
//!
//! A [`Speaker`] never waits for the brokers: what they do not take in time is lost, and it says how much. A [`Listener`] starts a
//! while back, and knows when it has heard all that was there when it came.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::{
    Cluster, Fault, Kafka,
    context::{Context, Fates},
    failed, native,
};
use crate::{
    limits::{FEED_MESSAGE_BYTES_MAX, FEED_PARTITIONS, FEED_RETENTION, KAFKA_TIMEOUT, KAFKA_VISIBLE_ATTEMPTS_MAX},
    log::Error,
};

/// What a batch of one message has around it, at most.
const BATCH_OVERHEAD: usize = 1 << 10;

/// Says things on a topic.
pub(crate) struct Speaker {
    producer: BaseProducer<Fates<Lost>>,
    topic: String,
    partitions: u32,
    bytes_max: usize,
}

/// How many messages were not delivered.
#[derive(Debug, Default)]
struct Lost(AtomicU64);

impl Speaker {
    /// A speaker on `topic`, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`], as when no broker answers or the topic may not be made.
    pub(crate) fn open(kafka: &Kafka, topic: &str) -> Result<Self, Error> {
        let cluster = &kafka.cluster;
        let partitions = make(cluster, topic).map_err(failed(topic, "make the live feed's topic"))?;
        // Who may not ask takes what every broker takes.
        let allowed = cluster.record_bytes_max(topic).ok().flatten().unwrap_or(FEED_MESSAGE_BYTES_MAX);
        let allowed = allowed.min(FEED_MESSAGE_BYTES_MAX);
        let config = cluster.settings.speaker(allowed);
        let producer = cluster.fault(config.create_with_context(Fates::<Lost>::default()));
        let producer = producer.map_err(failed(topic, "open the live feed"))?;
        let bytes_max = allowed.saturating_sub(BATCH_OVERHEAD);
        Ok(Self { producer, topic: topic.to_owned(), partitions, bytes_max })
    }

    /// The largest message that the topic takes, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Says `message`, after all that was said with the same key. False if there is no room for it any more. Never waits.
    pub(crate) fn say(&self, key: &str, message: &[u8]) -> bool {
        self.producer.poll(Duration::ZERO);
        let partition = native::partition_of_key(key.as_bytes(), self.partitions).0 as i32;
        let record = BaseRecord::<str, [u8]>::to(&self.topic).partition(partition).key(key).payload(message);
        self.producer.send(record).is_ok()
    }

    /// How many messages were lost since this was last asked.
    pub(crate) fn take_lost(&self) -> u64 {
        self.producer.context().kept.0.swap(0, Ordering::Relaxed)
    }

    /// Whether it can say nothing any more, and has to be opened anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }

    /// Waits until all is said, or given up.
    pub(crate) fn finish(&self, wait: Duration) {
        // What is not said by then is lost, which listeners find out.
        _ = self.producer.flush(wait);
    }
}

impl ProducerContext for Fates<Lost> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.kept.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a listener hears.
#[derive(Debug)]
pub(crate) enum Said {
    /// A message, and in which partition of the topic it came.
    Message(u32, Vec<u8>),
    /// All that was there when the listener came was heard.
    UpToDate,
    /// Nothing new.
    Nothing,
}

/// Hears what is said on a topic.
pub(crate) struct Listener {
    consumer: BaseConsumer<Context>,
    topic: String,
    /// Where each partition ended when the listener came, if it has not heard all before it.
    behind: BTreeMap<i32, i64>,
    was_told: bool,
}

impl Listener {
    /// A listener to `topic`, which is made if it is not there, from `since_ms` on (milliseconds since 1970-01-01 UTC). Blocks.
    ///
    /// # Errors
    /// [`Error::Io`], as when no broker answers or the topic may not be made.
    pub(crate) fn open(kafka: &Kafka, topic: &str, since_ms: i64) -> Result<Self, Error> {
        let action = "listen to the live feed";
        let cluster = &kafka.cluster;
        let partitions = make(cluster, topic).map_err(failed(topic, action))?;
        // There are no members: the name is needed by librdkafka, which asks nobody about it.
        let mut config = cluster.settings.member(topic, None);
        config.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(failed(topic, action))?;
        let behind = start(&consumer, topic, partitions, since_ms).map_err(failed(topic, action))?;
        Ok(Self { consumer, topic: topic.to_owned(), behind, was_told: false })
    }

    /// What is next; waits for it, at most so long.
    ///
    /// # Errors
    /// [`Error::Io`] for what librdkafka does not mend by itself: the listener has to be opened anew.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Said, Error> {
        if self.behind.is_empty() && !self.was_told {
            self.was_told = true;
            return Ok(Said::UpToDate);
        }
        match self.consumer.poll(wait) {
            None => Ok(Said::Nothing),
            Some(Ok(message)) => {
                let (partition, next) = (message.partition(), message.offset() + 1);
                let said = Said::Message(partition.unsigned_abs(), message.payload().unwrap_or_default().to_vec());
                if self.behind.get(&partition).is_some_and(|end| *end <= next) {
                    self.behind.remove(&partition);
                }
                Ok(said)
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.behind.remove(&partition);
                Ok(Said::Nothing)
            }
            Some(Err(error)) if is_lasting(&error) => Err(failed(&self.topic, "listen to the live feed")(error)),
            Some(Err(error)) => {
                tracing::debug!(%error, topic = self.topic, "kafka has trouble, listening goes on when it is over");
                Ok(Said::Nothing)
            }
        }
    }
}

fn is_lasting(error: &KafkaError) -> bool {
    use Code::{Fatal, TopicAuthorizationFailed, UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let lasting = [Fatal, TopicAuthorizationFailed, UnknownPartition, UnknownTopic, UnknownTopicOrPartition];
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code().is_some_and(|code| lasting.contains(&code))
}

/// Starts to read all partitions from `since_ms` on; where each ends, of those that have something to read before that.
fn start(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: u32,
    since_ms: i64,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let (mut asked, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in 0..partitions as i32 {
        // Before the time is looked up: what comes in between is not to be missed.
        let (_, end) = consumer.fetch_watermarks(topic, partition, KAFKA_TIMEOUT)?;
        ends.insert(partition, end);
        asked.add_partition_offset(topic, partition, Offset::Offset(since_ms.max(0)))?;
    }
    let found = consumer.offsets_for_times(asked, KAFKA_TIMEOUT)?;
    let mut all = TopicPartitionList::new();
    for (partition, end) in &mut ends {
        let first = found.find_partition(topic, *partition).map(|element| element.offset());
        let first = if let Some(Offset::Offset(first)) = first { first } else { *end };
        all.add_partition_offset(topic, *partition, Offset::Offset(first))?;
        *end = if first < *end { *end } else { 0 };
    }
    consumer.assign(&all)?;
    ends.retain(|_, end| *end > 0);
    Ok(ends)
}

/// Makes `topic` if it is not there; how many partitions it has.
fn make(cluster: &Arc<Cluster>, topic: &str) -> Result<u32, Fault> {
    if let Some(partitions) = cluster.partitions(topic)? {
        return Ok(partitions);
    }
    let retention_ms = FEED_RETENTION.as_millis();
    let (retention, segment) = (retention_ms.to_string(), (retention_ms / 6).to_string());
    let settings = [
        ("cleanup.policy", "delete"),
        ("retention.ms", retention.as_str()),
        // Only what is in a closed segment is ever deleted.
        ("segment.ms", segment.as_str()),
        // Listeners ask for what was told since a time: the broker's clock tells.
        ("message.timestamp.type", "LogAppendTime"),
    ];
    cluster.create_topic(topic, FEED_PARTITIONS, &settings)?;
    // Who asks right after may be told that there is none.
    for _ in 0..KAFKA_VISIBLE_ATTEMPTS_MAX {
        if let Some(partitions) = cluster.partitions(topic)? {
            return Ok(partitions);
        }
    }
    cluster.fault(Err(KafkaError::MetadataFetch(Code::UnknownTopic)))
}
