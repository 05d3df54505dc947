//! The log that records are read from: a Kafka topic, the embedded log, or files.
//!
//! One conformance suite ([`crate::testing::log`]) says what every implementation must do.

use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    event::Run,
    limits::PRODUCER_LENGTH_MAX,
    names::InvalidName,
    position::{OffsetRange, Partition, Position},
};

mod append;
pub mod embedded;
pub mod files;
pub mod kafka;
pub(crate) mod reader;
pub mod records;

pub use append::partition_of_key;
pub(crate) use append::{Placement, duplicates};

/// Why a log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic asked.
        topic: String,
        /// The partition asked for.
        partition: Partition,
    },
    /// A position is outside what the log still has. Reading on would lose records (DESIGN §5).
    #[error("topic {topic} partition {partition}: position {position} is outside the log's {bounds}")]
    OutOfRange {
        /// The topic asked.
        topic: String,
        /// The partition asked for.
        partition: Partition,
        /// The position asked for.
        position: Position,
        /// What the log has.
        bounds: OffsetRange,
    },
    /// The brokers have lost records that were read, as by an unclean election of a leader, and others may stand in their
    /// place: what follows is not what would have followed. A person must look; the next start reads on.
    #[error("topic {topic} partition {partition}: the brokers have lost records before position {position}")]
    Truncated {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// How far it was read.
        position: Position,
    },
    /// A producer's run of rows starts after the rows it has had accepted: rows in between would be lost.
    #[error("producer {producer} sent row {got}, the next one due is {due}")]
    OutOfSequence {
        /// The producer's name.
        producer: String,
        /// The row number sent.
        got: u64,
        /// The row number due.
        due: u64,
    },
    /// A producer's name is empty or too long.
    #[error("a producer's name has {length} bytes; 1 to {PRODUCER_LENGTH_MAX} are allowed")]
    InvalidProducer {
        /// The length of the name, in bytes.
        length: usize,
    },
    /// A topic cannot have this name.
    #[error(transparent)]
    InvalidTopic(#[from] InvalidName),
    /// A topic has more partitions than it was opened with. Their records would not be read.
    #[error("topic {topic} has {had} partitions, {asked} were asked for; the number may only grow")]
    FewerPartitions {
        /// The topic.
        topic: String,
        /// The number asked for.
        asked: u32,
        /// The number it has.
        had: u32,
    },
    /// The brokers have no such topic.
    #[error("there is no topic {topic}")]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
    },
    /// A record is larger than the log takes. Nothing of the call was appended.
    #[error("topic {topic}: a record has {bytes} bytes; {allowed} are allowed")]
    TooLarge {
        /// The topic.
        topic: String,
        /// The size of its key, headers and value.
        bytes: usize,
        /// The size allowed; a broker's limit is of a record as it is sent, compressed and with a few bytes around it.
        allowed: usize,
    },
    /// A subscription has ended for good, as when the group has another member of its name. A new one reads on.
    #[error("reading topic {topic} has ended")]
    Ended {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The embedded log is open in another process (or in this one).
    #[error("the log in {} is in use by another process", directory.display())]
    Locked {
        /// Where the log is.
        directory: PathBuf,
    },
    /// The embedded log could not be opened.
    #[error("the log in {} could not be opened", directory.display())]
    Open {
        /// Where the log is.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk or the broker failed. Nothing of the call counts as done; it may be tried again.
    #[error("log of topic {topic} failed to {action}")]
    Io {
        /// The topic.
        topic: String,
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A record to append. The log gives it partition, offset and time stamp.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Decides the partition, if there is one; else records go round.
    pub key: Option<Bytes>,
    /// Headers, in order.
    pub headers: Vec<(String, Bytes)>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// The numbering of rows by a producer that wants each row appended once, however often it sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRun {
    /// The producer's name, the same across restarts.
    pub producer: String,
    /// The number of the first record of this append; the rest follow by one.
    pub first_row: u64,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The range of offsets written per partition, by partition.
    pub ranges: Vec<(Partition, OffsetRange)>,
    /// How many records had been appended before and were not again.
    pub duplicates: u64,
}

/// A run of records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The partition.
    pub partition: Partition,
    /// What this run covers: runs of a partition chain without a gap. May hold more offsets than records.
    pub range: OffsetRange,
    /// The records, in offset order.
    pub records: Run,
}

/// What a subscription says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// These partitions are now this reader's; each waits for [`Subscription::start`].
    Assigned(Vec<Partition>),
    /// These partitions are no longer this reader's; no record of them follows.
    Revoked(Vec<Partition>),
    /// Records of a started partition.
    Records(Records),
}

/// A durable, partitioned, append-only log of records: one topic.
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// The topic's name.
    fn topic(&self) -> &str;

    /// All partitions, ascending.
    ///
    /// # Errors
    /// [`Error::Io`].
    async fn partitions(&self) -> Result<Vec<Partition>, Error>;

    /// What tells this topic from every other, one of the same name too that is made after this was deleted; `None` if the log
    /// cannot say.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Io`].
    async fn identity(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// What the log has of `partition`: from its oldest record to the next one to come.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::Io`].
    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error>;

    /// Appends `records`, all or none, and returns when they are durable. With a `run`, rows that the same producer has
    /// had appended before are passed over and counted as duplicates.
    ///
    /// Dropping the future leaves open whether the records were appended; a `run` makes it safe to send them again.
    ///
    /// # Errors
    /// [`Error::OutOfSequence`], [`Error::InvalidProducer`], [`Error::TooLarge`], [`Error::Io`]. After the last the
    /// records may still turn up when the log is opened again: the disk failed before it could say.
    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error>;

    /// The number of the next row due from `producer`; 0 for one never heard of.
    ///
    /// # Errors
    /// [`Error::Io`].
    async fn next_row(&self, producer: &str) -> Result<u64, Error>;

    /// Starts to read. The first event is [`LogEvent::Assigned`]. Of logs that share partitions out among their readers, one
    /// handle has one subscription at a time.
    ///
    /// # Errors
    /// [`Error::Io`].
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error>;

    /// Lets the log forget records before `position`, which a commit has made durable elsewhere (L2). Does nothing when they
    /// are forgotten already. The log may keep them for other readers: what is read is for positions to say.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::OutOfRange`] for a position beyond the end, [`Error::Io`].
    async fn trim(&self, partition: Partition, position: Position) -> Result<(), Error>;
}

/// One reader's stream of a log.
#[async_trait]
pub trait Subscription: Send {
    /// The next event; waits until there is one. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when a started position is gone: said once, the partition is not read until it is started
    /// again. [`Error::Ended`], after which nothing comes. [`Error::Io`].
    async fn next(&mut self) -> Result<LogEvent, Error>;

    /// Reads `partition` from `position` on; also to go back on a partition that runs already.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::OutOfRange`], [`Error::Io`].
    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error>;

    /// Says whether the records of partitions started from now on need their headers. Whether they have them: a log to which they
    /// cost nothing gives them always, and every log does until it is told otherwise.
    fn want_headers(&mut self, _wanted: bool) -> bool {
        true
    }

    /// Ends in good order: other readers are given the partitions at once. Dropping is as a crash, which they notice later.
    async fn close(self: Box<Self>) {}
}
