//! The embedded log: durable, partitioned, append-only, group-committed with fsync, on fjall.
//!
//! An append is answered after the fsync of the batch that holds its records, their offsets, the partition's time stamp
//! and the producer's next row: after a crash either all of it is there or none. What is in memory moves only after the
//! disk has. A record is read only once it is durable.
//!
//! On a power failure an unanswered append may leave a torn batch at the end of fjall's journal. fjall cuts it off, unless
//! its pages reached the disk out of order: then opening fails, loudly, and nothing that was answered is lost, but a
//! person must act.

use std::{
    path::Path,
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use self::{
    codec::record_bytes,
    database::{Database, Fault, OpenFault},
    topic::Topic,
    writer::{Command, Reply, Writer},
};
use super::{Appended, Error, EventLog, NewRecord, ProducerRun, Subscription, reader::Reader};
use crate::{
    clock::{Clock, SystemClock},
    limits::{LOG_APPENDS_WAITING_MAX, LOG_RECORD_BYTES_MAX},
    names::SourceName,
    position::{OffsetRange, Partition, Position},
};

mod codec;
mod database;
#[cfg(test)]
mod tests;
mod topic;
mod writer;

/// All embedded logs of one process: one database, one topic a source. Clones are handles to the same logs; the database
/// is closed when the last of them and of their [`EmbeddedLog`]s is dropped.
#[derive(Debug, Clone)]
pub struct EmbeddedLogs {
    shared: Arc<Shared>,
}

/// One topic of [`EmbeddedLogs`].
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    topic: Arc<Topic>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    /// `None` only while dropping.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedLogs {
    /// Opens the database in `directory`, making it if it is not there. One process at a time.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Open`].
    pub async fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with(directory, Arc::new(SystemClock)).await
    }

    /// As [`EmbeddedLogs::open`]; `clock` gives records their time stamps.
    ///
    /// # Errors
    /// As [`EmbeddedLogs::open`].
    pub async fn open_with(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let path = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Shared::open(&path, clock)).await;
        let opened = opened.map_err(|panic| OpenFault::Fault(Fault::new(panic))).flatten();
        let directory = directory.to_owned();
        match opened {
            Ok(shared) => Ok(Self { shared: Arc::new(shared) }),
            Err(OpenFault::Locked) => Err(Error::Locked { directory }),
            Err(OpenFault::Fault(fault)) => Err(Error::Open { directory, source: Box::new(fault) }),
        }
    }

    /// The topic `name` with this many partitions; made if it is not there. The number may grow, never shrink: readers that
    /// run are assigned the new partitions.
    ///
    /// # Errors
    /// [`Error::FewerPartitions`], [`Error::InvalidTopic`], [`Error::Io`].
    pub async fn topic(&self, name: &str, partitions: u32) -> Result<EmbeddedLog, Error> {
        SourceName::new(name)?;
        let open = |reply| Command::Open { topic: name.to_owned(), partitions: partitions.max(1), reply };
        let topic = self.shared.ask(name, "open the topic", open).await?;
        Ok(EmbeddedLog { shared: Arc::clone(&self.shared), topic })
    }
}

impl Shared {
    fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenFault> {
        let database = Database::open(directory)?;
        let (sender, commands) = mpsc::channel(LOG_APPENDS_WAITING_MAX);
        let writer = Writer::new(database.clone(), clock);
        let writer = Builder::new().name("log writer".to_owned()).spawn(move || writer.run(commands));
        Ok(Self { database, commands: Some(sender), writer: Some(writer.map_err(Fault::new)?) })
    }

    /// Sends a command to the writer and waits for its answer.
    async fn ask<T>(
        &self,
        topic: &str,
        action: &'static str,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().expect("it is there until the logs are dropped");
        let stopped = || Error::Io { topic: topic.to_owned(), action, source: "the log's writer has stopped".into() };
        commands.send(command(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Shared {
    /// Lets the writer finish what it was given (nobody waits for more), so that the directory can be opened again.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the embedded log's writer panicked");
        }
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn topic(&self) -> &str {
        self.topic.name()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        Ok((0..self.topic.partitions()).map(Partition).collect())
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        self.topic.bounds_of(partition)
    }

    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error> {
        if let Some(bytes) = records.iter().map(record_bytes).find(|bytes| *bytes > LOG_RECORD_BYTES_MAX) {
            let topic = self.topic.name().to_string();
            return Err(Error::TooLarge { topic, bytes, allowed: LOG_RECORD_BYTES_MAX });
        }
        let topic = Arc::clone(&self.topic);
        let append = |reply| Command::Append { topic, records, run, reply };
        self.shared.ask(self.topic.name(), "append", append).await
    }

    async fn next_row(&self, producer: &str) -> Result<u64, Error> {
        let (database, topic) = (self.shared.database.clone(), Arc::clone(self.topic.name()));
        let producer = producer.to_owned();
        let row = tokio::task::spawn_blocking(move || database.next_row(&topic, &producer)).await;
        row.map_err(Fault::new).flatten().map_err(|fault| self.topic.failed("read a producer's next row", fault))
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        Ok(Box::new(Reader::new(Arc::clone(&self.topic))))
    }

    /// The trim is durable before space is given back, a table at a time
    /// ([`LOG_TABLE_BYTES`](crate::limits::LOG_TABLE_BYTES)).
    async fn trim(&self, partition: Partition, position: Position) -> Result<(), Error> {
        let topic = Arc::clone(&self.topic);
        let trim = |reply| Command::Trim { topic, partition, position, reply };
        let state = self.shared.ask(self.topic.name(), "trim", trim).await?;
        let stored = self.topic.stored(partition);
        let dropped = tokio::task::spawn_blocking(move || stored.drop_trimmed(state)).await;
        dropped.map_err(Fault::new).flatten().map_err(|fault| self.topic.failed("give back space after a trim", fault))
    }
}
