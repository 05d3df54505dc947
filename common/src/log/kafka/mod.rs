//! A topic of Apache Kafka as a log: the only code that names rdkafka (DESIGN §5).
//!
//! - **Reading.** A subscription is a member of the source's consumer group, which shares the partitions out among the
//!   workers, cooperatively. The group decides who reads, never from where: a partition is fetched only after
//!   [`Subscription::start`] has named its position, which is the dataset's. Offsets committed to the group follow the dataset
//!   and are for lag tools alone (L2). A worker that lost a partition, asleep or cut off, is fenced by the dataset (L3).
//! - **Offsets have gaps**, by transactions and compaction: a run covers more offsets than it has records, and may have
//!   none. What is beyond the last stable offset is not there yet: records of open or aborted transactions are never seen.
//! - **What is gone is told**: a position before the log's start, or after its end, is [`Error::OutOfRange`], once.
//! - **Appending** is for `replay` and the HTTP endpoint, in transactions ([`writer`]): all or none of an append, and each
//!   row of a producer once.
//!
//! The live feed's topic ([`broadcast`]) has none of this: every process reads all of it.
//!
//! [`poll`] is the thread that reads, [`runs`] copies records out of librdkafka's memory, [`native`] has what its safe
//! wrapper lacks, [`context`] hears what it says.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::warn;

use self::{
    context::{Context, Failure},
    native::Queue,
    poll::Command as Read,
    subscription::{PollerHandle, Reader},
    writer::Command as Write,
};
use super::{Appended, Error, EventLog, NewRecord, ProducerRun, Subscription};
use crate::{
    limits::{KAFKA_ATTEMPT, KAFKA_TIMEOUT, LOG_APPENDS_WAITING_MAX},
    position::{OffsetRange, Partition, Position},
};

mod admin;
pub(crate) mod broadcast;
mod context;
mod instance;
mod native;
mod poll;
mod rows;
mod runs;
mod settings;
mod stream;
mod subscription;
#[cfg(test)]
mod tests;
mod writer;

pub use settings::{Settings, check_property};
pub use stream::{Acknowledged, Progress, Stream};

/// One Kafka cluster. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Kafka {
    cluster: Arc<Cluster>,
}

/// One topic of a [`Kafka`], read by one consumer group. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    topic: Arc<Topic>,
}

/// A connection that questions are asked by.
struct Cluster {
    settings: Settings,
    inquirer: BaseConsumer<Context>,
}

struct Topic {
    name: Arc<str>,
    group: String,
    cluster: Arc<Cluster>,
    /// The thread that reads at present; it is told what to commit to the group.
    poller: Mutex<Option<PollerHandle>>,
    /// Held by the one subscription, until it has left the group: else the next one would share with it.
    only: Arc<Semaphore>,
    writer: OnceLock<mpsc::Sender<Write>>,
}

impl Kafka {
    /// A cluster. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::Io`] if librdkafka refuses the settings, as for a certificate that cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let inquirer = settings.inquirer().create_with_context(Context::default());
        let inquirer = inquirer.map_err(failed(settings.brokers(), "set up the connection"))?;
        Ok(Self { cluster: Arc::new(Cluster { settings, inquirer }) })
    }

    /// The topic `name`, to be read as a member of `group`.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Io`] if no broker answers within [`KAFKA_TIMEOUT`].
    pub async fn topic(&self, name: &str, group: &str) -> Result<KafkaLog, Error> {
        let topic = Topic {
            name: name.into(),
            group: group.to_owned(),
            cluster: Arc::clone(&self.cluster),
            poller: Mutex::default(),
            only: Arc::new(Semaphore::new(1)),
            writer: OnceLock::new(),
        };
        topic.partitions().await?;
        Ok(KafkaLog { topic: Arc::new(topic) })
    }
}

impl Cluster {
    /// How many partitions `topic` has; `None` if there is no such topic. Blocks.
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Fault> {
        let metadata = self.answer(|timeout| self.inquirer.fetch_metadata(Some(topic), timeout))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error() {
            None => Ok(u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
            Some(error) => self.fault(Err(KafkaError::MetadataFetch(error.into()))),
        }
    }

    /// The id of `topic`; `None` if the brokers give topics none. Blocks.
    fn topic_id(&self, topic: &str) -> Result<Option<String>, Fault> {
        self.answer(|timeout| native::topic_id(&self.inquirer, topic, timeout))
    }

    /// From the oldest record to the last stable offset. Blocks.
    fn bounds(&self, topic: &str, partition: Partition) -> Result<OffsetRange, Fault> {
        let number = i32::try_from(partition.0).unwrap_or(i32::MAX);
        let (low, high) = self.answer(|timeout| self.inquirer.fetch_watermarks(topic, number, timeout))?;
        let offset = |watermark: i64| Position(watermark.max(0).unsigned_abs());
        Ok(OffsetRange::new(offset(low), offset(high.max(low))))
    }

    /// Asks until there is an answer, at most for [`KAFKA_TIMEOUT`], and not when it is of no use. Blocks.
    fn answer<T>(&self, ask: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, Fault> {
        let mut attempts_left = KAFKA_TIMEOUT.as_secs() / KAFKA_ATTEMPT.as_secs();
        loop {
            let answer = self.fault(ask(KAFKA_ATTEMPT));
            attempts_left -= 1;
            match &answer {
                Err(fault) if attempts_left > 0 && fault.is_of_time() => {}
                _ => return answer,
            }
        }
    }

    /// The answer, or why there is none: librdkafka says only that it waited too long, and the rest in what it tells.
    fn fault<T>(&self, answer: Result<T, KafkaError>) -> Result<T, Fault> {
        let told = Queue::told(&self.inquirer);
        while !told.is_empty() {
            // Says nothing of a log line, of which there are often two before the error.
            self.inquirer.poll(Duration::ZERO);
        }
        answer.map_err(|error| Fault { error, failure: self.inquirer.context().take_failure() })
    }
}

/// An error of librdkafka, with what it told besides.
#[derive(Debug)]
struct Fault {
    error: KafkaError,
    failure: Option<Failure>,
}

impl Fault {
    /// Whether the broker may only need time.
    fn is_of_time(&self) -> bool {
        let is_refused = self.failure.as_ref().is_some_and(|failure| failure.is_refusal);
        let code = self.error.rdkafka_error_code();
        !is_refused
            && matches!(code, Some(Code::OperationTimedOut | Code::BrokerTransportFailure | Code::AllBrokersDown))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Some(failure) => write!(f, "{}: {}", self.error, failure.reason),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    topic: &str,
    action: &'static str,
) -> impl FnOnce(E) -> Error + use<E> {
    let topic = topic.to_owned();
    move |source| Error::Io { topic, action, source: source.into() }
}

impl Topic {
    fn name(&self) -> &str {
        &self.name
    }

    fn name_shared(&self) -> &Arc<str> {
        &self.name
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn settings(&self) -> &Settings {
        &self.cluster.settings
    }

    fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        action: &'static str,
    ) -> impl FnOnce(E) -> Error + use<E> {
        failed(&self.name, action)
    }

    /// The right to read. Waits until the subscription before has left the group.
    async fn only(&self) -> OwnedSemaphorePermit {
        loop {
            let only = Arc::clone(&self.only).acquire_owned();
            match tokio::time::timeout(KAFKA_TIMEOUT, only).await {
                Ok(only) => return only.expect("it is never closed"),
                Err(_) => {
                    warn!(topic = self.name(), "reading starts when the reader before has ended, which takes long")
                }
            }
        }
    }

    fn read_by(&self, poller: PollerHandle) {
        *self.poller.lock().unwrap_or_else(PoisonError::into_inner) = Some(poller);
    }

    /// Asks the cluster, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        question: impl FnOnce(&Cluster, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Result<T, Fault>, Error> {
        let (cluster, name) = (Arc::clone(&self.cluster), Arc::clone(&self.name));
        let asked = tokio::task::spawn_blocking(move || question(&cluster, &name)).await;
        asked.map_err(self.failed(action))
    }

    async fn partitions(&self) -> Result<u32, Error> {
        let action = "list the partitions";
        let count = self.ask(action, Cluster::partitions).await?.map_err(self.failed(action))?;
        count.ok_or_else(|| Error::UnknownTopic { topic: self.name.to_string() })
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        let action = "read the bounds";
        match self.ask(action, move |cluster, topic| cluster.bounds(topic, partition)).await? {
            Ok(bounds) => Ok(bounds),
            Err(fault) => {
                use Code::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
                let code = fault.error.rdkafka_error_code();
                if matches!(code, Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition)) {
                    self.check(partition).await?;
                }
                Err(self.failed(action)(fault))
            }
        }
    }

    /// Whether the topic has this partition.
    async fn check(&self, partition: Partition) -> Result<(), Error> {
        if partition.0 < self.partitions().await? {
            return Ok(());
        }
        Err(Error::UnknownPartition { topic: self.name.to_string(), partition })
    }

    /// Sends a command to the writer, whose thread starts now if this is the first.
    async fn write<T>(
        &self,
        action: &'static str,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Write,
    ) -> Result<T, Error> {
        let writer = self.writer.get_or_init(|| {
            let (sender, commands) = mpsc::channel(LOG_APPENDS_WAITING_MAX);
            writer::spawn(Arc::clone(&self.cluster), Arc::clone(&self.name), commands);
            sender
        });
        let stopped = || self.failed(action)("the log's writer has stopped");
        let (reply, answer) = oneshot::channel();
        writer.send(command(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl KafkaLog {
    fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn topic(&self) -> &str {
        self.topic.name()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        Ok((0..self.topic.partitions().await?).map(Partition).collect())
    }

    /// The id that the brokers gave the topic; brokers before 2.8 give none.
    async fn identity(&self) -> Result<Option<String>, Error> {
        let action = "read the topic's id";
        self.topic.ask(action, Cluster::topic_id).await?.map_err(self.topic.failed(action))
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        self.topic.bounds(partition).await
    }

    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error> {
        self.topic.write("append", |reply| Write::Append { records, run, reply }).await
    }

    async fn next_row(&self, producer: &str) -> Result<u64, Error> {
        let producer = producer.to_owned();
        self.topic.write("read a producer's next row", |reply| Write::NextRow { producer, reply }).await
    }

    /// One subscription at a time: waits until the one before has left the group.
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        let only = self.topic.only().await;
        let log = self.clone();
        let opened = tokio::task::spawn_blocking(move || Reader::open(&log, only)).await;
        let reader = opened.map_err(self.topic.failed("subscribe"))??;
        Ok(Box::new(reader))
    }

    /// Tells the group, for lag tools. The topic keeps its records as long as it is configured to.
    async fn trim(&self, partition: Partition, position: Position) -> Result<(), Error> {
        self.topic.check(partition).await?;
        let poller = self.topic.poller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(poller) = &*poller {
            poller.tell(Read::Commit(partition, position));
        }
        Ok(())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}
