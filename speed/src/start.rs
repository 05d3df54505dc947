//! Where the reading of a partition starts: at the dataset's position, and nowhere else (L2, L5).

use std::{collections::BTreeMap, sync::Arc};

use common::{
    dataset::{Dataset, Snapshot},
    gap::{self, Gap},
    log::{self, EventLog},
    names::SourceName,
    pipeline::OnGap,
    position::{OffsetRange, Partition, Position, Version},
    store::Store,
};
use tracing::{error, info, warn};

use crate::{
    error::Error,
    origin::Topic,
    retry::{Retry, is_transient},
    tail::Start,
};

/// Reads positions.
#[derive(Debug, Clone)]
pub(crate) struct Locator {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) dataset: Dataset,
    pub(crate) retry: Retry,
    pub(crate) source: SourceName,
    /// Where gaps are recorded.
    pub(crate) store: Store,
    pub(crate) on_gap: OnGap,
    pub(crate) topic: Topic,
}

impl Locator {
    /// Where to start each of `partitions` (with its epoch), and the head that says so.
    ///
    /// # Errors
    /// [`Error::OtherTopic`], [`Error::Gap`], [`Error::OtherLog`], [`Error::Dataset`], [`Error::Log`].
    pub(crate) async fn locate(&self, partitions: Vec<(Partition, u64)>) -> Result<(Version, Vec<Start>), Error> {
        let mut snapshot = self.snapshot().await?;
        self.topic.check_noted(!snapshot.positions.is_empty()).await?;
        let mut starts = Vec::with_capacity(partitions.len());
        for (partition, epoch) in partitions {
            let start = |next, committed: Option<Position>| Start {
                partition,
                epoch,
                committed: committed.unwrap_or_default(),
                next,
            };
            let start = loop {
                let committed = snapshot.positions.get(&partition).copied();
                let bounds = self.bounds(partition).await?;
                let Err(error) = self.check(partition, committed, bounds) else {
                    break start(committed.unwrap_or(bounds.from), committed);
                };
                // Between the two readings another worker may have committed and trimmed the log. Only a position that
                // stays where it was is a gap.
                let newer = self.snapshot().await?;
                if newer.positions.get(&partition).copied() == committed {
                    match (self.on_gap, error) {
                        (OnGap::Record, Error::Gap { range, .. }) => {
                            self.record(Gap { partition, range }).await?;
                            break start(range.to, committed);
                        }
                        (_, error) => return Err(error),
                    }
                }
                snapshot = newer;
            };
            self.trim(start.partition, start.committed).await;
            info!(%partition, epoch, position = %start.next, head = %snapshot.version, "partition starts");
            starts.push(start);
        }
        Ok((snapshot.version, starts))
    }

    fn check(&self, partition: Partition, committed: Option<Position>, bounds: OffsetRange) -> Result<(), Error> {
        let topic = self.log.topic().to_owned();
        match committed {
            Some(position) if position < bounds.from => {
                Err(Error::Gap { topic, partition, range: OffsetRange::new(position, bounds.from) })
            }
            Some(position) if position > bounds.to => Err(Error::OtherLog { topic, partition, position, bounds }),
            _ => Ok(()),
        }
    }

    /// Records what is lost, before the position passes it.
    async fn record(&self, gap: Gap) -> Result<(), Error> {
        let Gap { partition, range } = gap;
        error!(source = %self.source, %partition, %range, "records are gone before they were committed, recorded");
        let mut failures = self.retry.failures();
        while let Err(error) = gap::record(&self.store, &self.source, self.log.topic(), gap).await {
            failures.wait("record a gap", error).await?;
        }
        Ok(())
    }

    /// Trims what an earlier worker committed but died before trimming.
    async fn trim(&self, partition: Partition, committed: Position) {
        if let Err(error) = self.log.trim(partition, committed).await {
            warn!(%partition, error = &error as &dyn std::error::Error, "log was not trimmed, the next commit will do it");
        }
    }

    /// The dataset's head, read anew.
    ///
    /// # Errors
    /// [`Error::Dataset`].
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut failures = self.retry.failures();
        loop {
            match self.dataset.snapshot().await {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) if is_transient(&error) => failures.wait("read positions", error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        let mut failures = self.retry.failures();
        loop {
            match self.log.bounds(partition).await {
                Ok(bounds) => return Ok(bounds),
                Err(error @ log::Error::UnknownPartition { .. }) => return Err(error.into()),
                Err(error) => failures.wait("read log bounds", error).await?,
            }
        }
    }

    /// How many records the log holds from each of these positions on.
    ///
    /// # Errors
    /// [`Error::OtherTopic`], [`Error::Log`].
    pub(crate) async fn lag(&self, next: Vec<(Partition, Position)>) -> Result<Lag, Error> {
        self.topic.check_same().await?;
        let partitions = u32::try_from(self.log.partitions().await?.len()).expect("partitions are counted in 32 bits");
        let mut lag = Lag { partitions, ..Lag::default() };
        for (partition, next) in next {
            let bounds = self.log.bounds(partition).await?;
            lag.records.insert(partition, bounds.to.0.saturating_sub(next.max(bounds.from).0));
        }
        Ok(lag)
    }
}

/// How far a log is ahead of its reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lag {
    /// How many partitions the log has, whoever reads them.
    pub(crate) partitions: u32,
    /// Records that were not yet read, by partition.
    pub(crate) records: BTreeMap<Partition, u64>,
}
