//! The thread that appends. What waits is written in one transaction: all of it is there or none, and a producer's rows
//! together with the number of its next row ([`super::rows`]).
//!
//! Every process that appends to the topic has the same transactional id, so the newest one fences the others: whoever
//! commits has seen every row committed before, which is what makes each row appended once. One that was fenced takes over
//! again with its next append; processes that append in turns are slow, not wrong.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{Cluster, Fault, context::Fates, failed, native, rows};
use crate::{
    limits::{KAFKA_TIMEOUT, KAFKA_VISIBLE_ATTEMPTS_MAX, LOG_GROUP_BYTES_MAX},
    log::{Appended, Error, NewRecord, Placement, ProducerRun, duplicates},
    position::{OffsetRange, Partition, Position},
};

/// What each append of a transaction is answered.
type Answers = Vec<Result<Appended, Error>>;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the writer is asked.
pub(super) enum Command {
    Append { records: Vec<NewRecord>, run: Option<ProducerRun>, reply: Reply<Appended> },
    NextRow { producer: String, reply: Reply<u64> },
}

/// An append that waits for its answer.
struct Append {
    records: Vec<NewRecord>,
    run: Option<ProducerRun>,
    reply: Reply<Appended>,
}

/// Starts the thread; it ends with its last command.
pub(super) fn spawn(cluster: Arc<Cluster>, topic: Arc<str>, commands: mpsc::Receiver<Command>) {
    let writer = Writer { cluster, topic, session: None };
    let spawned = std::thread::Builder::new().name("kafka writer".to_owned()).spawn(move || writer.run(commands));
    if let Err(error) = spawned {
        warn!(%error, "no thread for appends");
    }
}

/// See the module.
struct Writer {
    cluster: Arc<Cluster>,
    topic: Arc<str>,
    session: Option<Session>,
}

/// The time in which no other process has fenced this one.
struct Session {
    producer: BaseProducer<Fates<Deliveries>>,
    /// The next row of each producer, as of the last transaction.
    rows: HashMap<String, u64>,
    has_rows_topic: bool,
    partitions: u32,
    placement: Placement,
}

/// Why a transaction was not made.
enum Failure {
    /// Nothing of it is there.
    Aborted(String),
    /// Nothing of it is there: a record is larger than the topic takes.
    TooLarge,
    /// It may be there: the answer was lost, or another process has taken over meanwhile.
    Unknown(String),
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let (mut waiting, mut bytes) = (Vec::new(), 0);
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::NextRow { producer, reply } => _ = reply.send(self.next_row(&producer)),
                    Command::Append { records, run, reply } => {
                        bytes += records.iter().map(record_bytes).sum::<usize>();
                        waiting.push(Append { records, run, reply });
                    }
                }
                next = if bytes < LOG_GROUP_BYTES_MAX { commands.try_recv().ok() } else { None };
            }
            if !waiting.is_empty() {
                self.append(waiting);
            }
        }
    }

    fn next_row(&mut self, producer: &str) -> Result<u64, Error> {
        let rows = rows::read(&self.cluster, &self.topic);
        let rows = rows.map_err(failed(&self.topic, "read a producer's next row"))?;
        Ok(rows.get(producer).copied().unwrap_or_default())
    }

    /// Appends what waits and answers it.
    fn append(&mut self, appends: Vec<Append>) {
        match self.transact(&appends) {
            Ok(answers) => answers.into_iter().zip(appends).for_each(|(answer, append)| _ = append.reply.send(answer)),
            // One of them: each by itself will show which.
            Err(Failure::TooLarge) if appends.len() > 1 => appends.into_iter().for_each(|one| self.append(vec![one])),
            Err(Failure::TooLarge) => appends.into_iter().for_each(|one| {
                let error = self.too_large(&one.records);
                _ = one.reply.send(Err(error));
            }),
            Err(Failure::Aborted(message) | Failure::Unknown(message)) => {
                for append in appends {
                    _ = append.reply.send(Err(failed(&self.topic, "append")(message.clone())));
                }
            }
        }
    }

    /// One transaction, a second time if another process had fenced this one, where that cannot double a record.
    fn transact(&mut self, appends: &[Append]) -> Result<Answers, Failure> {
        match self.try_transaction(appends) {
            Err((Failure::Aborted(_), true)) => {}
            // Rows that turn out to be there are duplicates.
            Err((Failure::Unknown(_), true)) if appends.iter().all(|append| append.run.is_some()) => {}
            other => return other.map_err(|(failure, _)| failure),
        }
        debug!(topic = %self.topic, "another process has appended, taking over");
        self.try_transaction(appends).map_err(|(failure, _)| failure)
    }

    /// One transaction; if it was not made, whether another process has fenced this one. A session ends with its first
    /// failure: the next one aborts what it left open.
    fn try_transaction(&mut self, appends: &[Append]) -> Result<Answers, (Failure, bool)> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.cluster, &self.topic).map_err(|fault| (aborted(fault), false))?,
        };
        let made = session.transact(&self.cluster, &self.topic, appends);
        let made = made.map_err(|failure| (failure, session.producer.client().fatal_error().is_some()))?;
        self.session = Some(session);
        Ok(made)
    }

    fn too_large(&self, records: &[NewRecord]) -> Error {
        let bytes = records.iter().map(record_bytes).max().unwrap_or_default();
        match self.cluster.record_bytes_max(&self.topic) {
            Ok(Some(allowed)) => Error::TooLarge { topic: self.topic.to_string(), bytes, allowed },
            _ => failed(&self.topic, "append")(format!("a record of {bytes} bytes is more than the topic takes")),
        }
    }
}

impl Session {
    /// Fences every other process that appends to the topic, and reads how far its producers have come.
    fn open(cluster: &Arc<Cluster>, topic: &str) -> Result<Self, Fault> {
        let config = cluster.settings.producer(&format!("highwater/{topic}"));
        let producer: BaseProducer<Fates<Deliveries>> =
            cluster.fault(config.create_with_context(Fates::<Deliveries>::default()))?;
        let reason = |error| Fault { error, failure: producer.context().context.take_failure() };
        producer.init_transactions(KAFKA_TIMEOUT).map_err(reason)?;
        let rows = rows::read(cluster, topic)?;
        Ok(Self { producer, rows, has_rows_topic: false, partitions: 0, placement: Placement::default() })
    }

    fn transact(&mut self, cluster: &Arc<Cluster>, topic: &str, appends: &[Append]) -> Result<Answers, Failure> {
        if appends.iter().any(|append| append.run.is_some()) && !self.has_rows_topic {
            rows::create(cluster, topic).map_err(aborted)?;
            self.has_rows_topic = true;
        }
        self.partitions = self.count_partitions(topic)?;
        self.producer.context().kept.take();
        self.producer.begin_transaction().map_err(|error| self.aborted(error))?;
        let mut moved = HashMap::new();
        let mut answers = Vec::with_capacity(appends.len());
        for (index, append) in appends.iter().enumerate() {
            answers.push(self.send(topic, index, append, &mut moved)?);
        }
        for (producer, row) in &moved {
            let (beside, row) = (rows::beside(topic), row.to_string());
            let record = BaseRecord::with_opaque_to(&beside, usize::MAX).partition(0).key(producer).payload(&row);
            self.produce(record)?;
        }
        self.commit()?;
        self.rows.extend(moved);
        let delivered = self.producer.context().kept.take().offsets;
        self.wait_until_visible(cluster, topic, &delivered);
        let appended = |(index, duplicates): (usize, Result<u64, Error>)| {
            duplicates.map(|duplicates| Appended { ranges: ranges(index, &delivered), duplicates })
        };
        Ok(answers.into_iter().enumerate().map(appended).collect())
    }

    /// How many partitions the topic has: the producer itself must know, to send to all of them.
    fn count_partitions(&self, topic: &str) -> Result<u32, Failure> {
        let metadata = self.producer.client().fetch_metadata(Some(topic), KAFKA_TIMEOUT);
        let metadata = metadata.map_err(|error| self.aborted(error))?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        match u32::try_from(count) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Failure::Aborted(format!("the brokers have no topic {topic}"))),
        }
    }

    /// Sends what is new of an append, and says how much is not. `moved` has the rows that this transaction moves.
    fn send(
        &mut self,
        topic: &str,
        index: usize,
        append: &Append,
        moved: &mut HashMap<String, u64>,
    ) -> Result<Result<u64, Error>, Failure> {
        let count = append.records.len();
        let known = match &append.run {
            None => 0,
            Some(run) => {
                let due =
                    moved.get(&run.producer).or_else(|| self.rows.get(&run.producer)).copied().unwrap_or_default();
                match duplicates(run, count, due) {
                    Ok(known) => {
                        if known < count {
                            moved.insert(run.producer.clone(), run.first_row + count as u64);
                        }
                        known
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        for record in &append.records[known..] {
            let partition = match &record.key {
                Some(key) => native::partition_of_key(key, self.partitions),
                None => self.placement.place(None, self.partitions),
            };
            let mut sent = BaseRecord::with_opaque_to(topic, index).partition(partition.0 as i32);
            sent.key = record.key.as_deref();
            sent.payload = record.value.as_deref();
            if !record.headers.is_empty() {
                sent = sent.headers(headers(record));
            }
            self.produce(sent)?;
        }
        Ok(Ok(known as u64))
    }

    /// Hands a record to librdkafka, waiting while its queue is full.
    fn produce<K: rdkafka::message::ToBytes + ?Sized, V: rdkafka::message::ToBytes + ?Sized>(
        &self,
        mut record: BaseRecord<'_, K, V, usize>,
    ) -> Result<(), Failure> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), unsent)) => record = unsent,
                Err((error, _)) => return Err(self.aborted(error)),
            }
            self.producer.poll(Duration::from_millis(10));
        }
    }

    /// Commits; a record that could not be delivered makes it fail with nothing done.
    fn commit(&self) -> Result<(), Failure> {
        // Its own flush polls for a tenth of a second at least. Every record is delivered or given up in time.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
        if let Some(error) = self.producer.context().kept.take_error() {
            return Err(self.aborted(error));
        }
        loop {
            match self.producer.commit_transaction(KAFKA_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(self.aborted(KafkaError::Transaction(error)));
                }
                Err(error) => return Err(Failure::Unknown(self.fault(error))),
            }
        }
    }

    /// An append is answered when its records and the rows of its producers can be read: the markers of a commit are written
    /// after its answer, in each partition by itself. Else whoever asks for the next row right after would be told of an old one.
    fn wait_until_visible(&self, cluster: &Cluster, topic: &str, delivered: &[(usize, Partition, u64)]) {
        let beside = rows::beside(topic);
        let mut last: BTreeMap<(&str, Partition), u64> = BTreeMap::new();
        for (index, partition, offset) in delivered {
            let topic = if *index == usize::MAX { &beside } else { topic };
            let newest = last.entry((topic, *partition)).or_default();
            *newest = (*newest).max(*offset);
        }
        for ((topic, partition), offset) in last {
            let visible = |_: &u32| cluster.bounds(topic, partition).is_ok_and(|bounds| bounds.to.0 > offset);
            if (0..KAFKA_VISIBLE_ATTEMPTS_MAX).find(visible).is_none() {
                warn!(topic, %partition, offset, "appended, but cannot be read yet: is another transaction open?");
            }
        }
    }

    fn aborted(&self, error: KafkaError) -> Failure {
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => Failure::TooLarge,
            _ => Failure::Aborted(self.fault(error)),
        }
    }

    fn fault(&self, error: KafkaError) -> String {
        Fault { error, failure: self.producer.context().context.take_failure() }.to_string()
    }
}

fn aborted(fault: Fault) -> Failure {
    Failure::Aborted(fault.to_string())
}

/// The ranges of append number `index`, by partition. In between may be offsets of other producers.
fn ranges(index: usize, delivered: &[(usize, Partition, u64)]) -> Vec<(Partition, OffsetRange)> {
    let mut ranges: BTreeMap<Partition, OffsetRange> = BTreeMap::new();
    for (_, partition, offset) in delivered.iter().filter(|(of, ..)| *of == index) {
        let one = OffsetRange::new(Position(*offset), Position(offset + 1));
        let range = ranges.entry(*partition).or_insert(one);
        *range = OffsetRange::new(range.from.min(one.from), range.to.max(one.to));
    }
    ranges.into_iter().collect()
}

fn headers(record: &NewRecord) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record.headers.iter().fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(&value[..]) }))
}

fn record_bytes(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.as_ref().map_or(0, bytes::Bytes::len) + record.value.as_ref().map_or(0, bytes::Bytes::len) + headers
}

/// What became of the records of the present transaction.
#[derive(Debug, Default)]
struct Deliveries(Mutex<Delivered>);

#[derive(Debug, Default)]
struct Delivered {
    /// Append, partition and offset of each record; the rows of producers are of append [`usize::MAX`].
    offsets: Vec<(usize, Partition, u64)>,
    error: Option<KafkaError>,
}

impl Deliveries {
    fn take(&self) -> Delivered {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_error(&self) -> Option<KafkaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error.take()
    }
}

impl ProducerContext for Fates<Deliveries> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, append: usize) {
        let mut delivered = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(record) => {
                let partition = u32::try_from(record.partition()).expect("a delivered record has a partition");
                let offset = u64::try_from(record.offset()).expect("a delivered record has an offset");
                delivered.offsets.push((append, Partition(partition), offset));
            }
            // The first is the cause, the rest are given up for its sake.
            Err((error, _)) => _ = delivered.error.get_or_insert_with(|| error.clone()),
        }
    }
}
