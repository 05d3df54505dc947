//! A plain producer: each record is acknowledged by itself and in its own time, as the producers of others do it. For load
//! generators; what must be there exactly once goes through [`EventLog::append`](crate::log::EventLog::append).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    util::Timeout,
};

use super::{Kafka, KafkaLog, context::Fates, failed, native};
use crate::{
    log::Error,
    position::{Partition, Position},
};

/// How long to wait for room in the producer's queue before looking again.
const ROOM: Duration = Duration::from_millis(10);

/// See the module. Its calls block; acknowledgements are taken by a thread of its own.
pub struct Stream {
    topic: String,
    partitions: u32,
    producer: ThreadedProducer<Fates<Mutex<Progress>>>,
}

/// A record that the brokers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub position: Position,
    /// Its time stamp, microseconds since 1970-01-01 UTC.
    pub timestamp_us: i64,
}

/// What became of the records sent so far.
#[derive(Debug, Default, Clone)]
pub struct Progress {
    /// Records that the brokers have.
    pub acknowledged: u64,
    /// Records that were given up.
    pub failed: u64,
    /// Why the first of these was.
    pub failure: Option<String>,
    /// Those acknowledged since this was last asked that were to be watched.
    pub watched: Vec<Acknowledged>,
    /// The last record of each partition, unless it was watched.
    pub last: BTreeMap<Partition, Acknowledged>,
}

impl Progress {
    /// The brokers have `record` and all before it in its partition; it was to be `watched`, or not.
    pub fn note(&mut self, record: Acknowledged, watched: bool) {
        if watched {
            self.last.remove(&record.partition);
            self.watched.push(record);
        } else {
            self.last.insert(record.partition, record);
        }
    }

    /// What there is to tell: all counts, and of those watched what is new since this was last asked.
    pub fn news(&mut self) -> Self {
        let watched = std::mem::take(&mut self.watched);
        Self { watched, ..self.clone() }
    }
}

impl Kafka {
    /// A producer to `log`'s topic. It compresses by lz4 and gathers records for 5 ms unless properties say otherwise.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn stream(&self, log: &KafkaLog) -> Result<Stream, Error> {
        let topic = log.topic.name().to_owned();
        let partitions = log.topic.partitions().await?;
        let config = self.cluster.settings.streamer();
        let producer = config.create_with_context(Fates::<Mutex<Progress>>::default());
        let producer = producer.map_err(failed(&topic, "set up a producer"))?;
        Ok(Stream { topic, partitions, producer })
    }
}

impl Stream {
    /// Sends a record of now, or waits until there is room. A record without a key goes to any partition.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn send(&self, key: Option<&[u8]>, value: &[u8], watched: bool) -> Result<(), Error> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, usize::from(watched));
        record = record.payload(value);
        if let Some(key) = key {
            let partition = native::partition_of_key(key, self.partitions);
            record = record.key(key).partition(partition.0 as i32);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), unsent)) => record = unsent,
                Err((error, _)) => return Err(failed(&self.topic, "send a record")(error)),
            }
            self.producer.poll(ROOM);
        }
    }

    /// Waits until each record is acknowledged or given up.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self) -> Result<(), Error> {
        self.producer.flush(Timeout::Never).map_err(failed(&self.topic, "finish sending"))
    }

    /// What became of the records so far; of those watched, what is new.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.producer.context().kept.lock().unwrap_or_else(PoisonError::into_inner).news()
    }
}

impl ProducerContext for Fates<Mutex<Progress>> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, watched: usize) {
        let mut progress = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(record) => {
                progress.acknowledged += 1;
                let partition =
                    Partition(u32::try_from(record.partition()).expect("a delivered record has a partition"));
                let offset = u64::try_from(record.offset()).expect("a delivered record has an offset");
                let timestamp_us = record.timestamp().to_millis().unwrap_or_default() * 1000;
                progress.note(Acknowledged { partition, position: Position(offset), timestamp_us }, watched != 0);
            }
            Err((error, _)) => {
                progress.failed += 1;
                progress.failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}
