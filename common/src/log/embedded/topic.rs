//! What readers see of one topic: its partitions and what they have, as of the last group that is durable.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::watch;

use super::database::{Fault, Stored};
use crate::{
    event::Run,
    log::{Error, reader::Readable},
    position::{OffsetRange, Partition},
};

/// One topic, shared by its handles, its readers and the writer. Only the writer changes it.
#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    stored: RwLock<Vec<Stored>>,
    bounds: watch::Sender<Vec<OffsetRange>>,
}

impl Topic {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), stored: RwLock::default(), bounds: watch::Sender::new(Vec::new()) }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> u32 {
        u32::try_from(self.bounds.borrow().len()).expect("partitions are counted in u32")
    }

    /// What the log has of `partition`.
    pub(super) fn bounds_of(&self, partition: Partition) -> Result<OffsetRange, Error> {
        self.bounds.borrow().get(partition.0 as usize).copied().ok_or_else(|| self.unknown(partition))
    }

    /// The records of `partition`, which is one of the topic's.
    pub(super) fn stored(&self, partition: Partition) -> Stored {
        self.stored.read().unwrap_or_else(PoisonError::into_inner)[partition.0 as usize].clone()
    }

    /// Tells of more partitions. [`Topic::publish`] follows.
    pub(super) fn grow(&self, stored: Vec<Stored>) {
        self.stored.write().unwrap_or_else(PoisonError::into_inner).extend(stored);
    }

    /// Tells readers what the log has of each partition. All of it is durable.
    pub(super) fn publish(&self, bounds: Vec<OffsetRange>) {
        self.bounds.send_replace(bounds);
    }

    pub(super) fn unknown(&self, partition: Partition) -> Error {
        Error::UnknownPartition { topic: self.name.to_string(), partition }
    }

    pub(super) fn failed(&self, action: &'static str, fault: Fault) -> Error {
        Error::Io { topic: self.name.to_string(), action, source: Box::new(fault) }
    }
}

#[async_trait]
impl Readable for Topic {
    fn topic(&self) -> &str {
        &self.name
    }

    fn bounds(&self) -> watch::Receiver<Vec<OffsetRange>> {
        self.bounds.subscribe()
    }

    async fn read(&self, partition: Partition, range: OffsetRange) -> Result<Option<Run>, Error> {
        let (stored, topic) = (self.stored(partition), Arc::clone(&self.name));
        let read = tokio::task::spawn_blocking(move || stored.read(&topic, partition, range));
        let records = read.await.map_err(Fault::new).flatten().map_err(|fault| self.failed("read", fault))?;
        let bounds = self.bounds_of(partition)?;
        if records.is_none() && bounds.from <= range.from {
            let fault = Fault::new(super::codec::Corrupt::Offset { expected: Some(range.from.0), found: None });
            return Err(self.failed("read", fault));
        }
        Ok(records)
    }
}
