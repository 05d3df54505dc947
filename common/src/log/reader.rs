//! The subscription that all logs of our own share: which partition is read next, from where, and what to wait for.
//!
//! It never skips an offset: a position moves only together with the return of the records before it, so dropping a
//! waiting [`Subscription::next`] loses nothing.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Error, LogEvent, Records, Subscription};
use crate::{
    event::Run,
    position::{OffsetRange, Partition, Position},
};

/// What a [`Reader`] reads from.
#[async_trait]
pub(crate) trait Readable: Send + Sync + 'static {
    /// The topic's name.
    fn topic(&self) -> &str;

    /// What the log has of each partition; changes after each append, trim and growth, once it is durable.
    fn bounds(&self) -> watch::Receiver<Vec<OffsetRange>>;

    /// Records from the start of `range` on, without a gap, at most to its end and within [`crate::limits`]; at least one.
    /// `None` when the first one was trimmed meanwhile.
    async fn read(&self, partition: Partition, range: OffsetRange) -> Result<Option<Run>, Error>;
}

/// One reader's stream of a [`Readable`] log. Every partition is assigned to it.
pub(crate) struct Reader<R> {
    log: Arc<R>,
    bounds: watch::Receiver<Vec<OffsetRange>>,
    /// The position of each assigned partition, by its number; `None` until it is started.
    positions: Vec<Option<Position>>,
    /// The partition whose turn it is: after a run the next one comes first, so that none starves.
    turn: usize,
}

impl<R: Readable> Reader<R> {
    /// A reader that has said nothing yet.
    pub(crate) fn new(log: Arc<R>) -> Self {
        let bounds = log.bounds();
        Self { log, bounds, positions: Vec::new(), turn: 0 }
    }

    /// Partitions that the reader has not been told of, which are now its own.
    fn assign(&mut self, partitions: usize) -> Option<LogEvent> {
        let known = self.positions.len();
        if partitions <= known {
            return None;
        }
        self.positions.resize(partitions, None);
        Some(LogEvent::Assigned((known..partitions).map(partition).collect()))
    }

    /// The first partition in turn that has something to read, and what. One whose position is gone is said to be once,
    /// and then not read until it is started again: a reader that is told over and over could do nothing else.
    fn due(&mut self, bounds: &[OffsetRange]) -> Result<Option<(usize, OffsetRange)>, Error> {
        let count = self.positions.len();
        for index in (0..count).map(|i| (self.turn + i) % count) {
            let Some(position) = self.positions[index] else { continue };
            if let Err(gone) = self.check(partition(index), position, bounds[index]) {
                self.positions[index] = None;
                return Err(gone);
            }
            if position < bounds[index].to {
                return Ok(Some((index, OffsetRange::new(position, bounds[index].to))));
            }
        }
        Ok(None)
    }

    fn check(&self, partition: Partition, position: Position, bounds: OffsetRange) -> Result<(), Error> {
        if bounds.from <= position && position <= bounds.to {
            return Ok(());
        }
        Err(Error::OutOfRange { topic: self.log.topic().to_owned(), partition, position, bounds })
    }
}

fn partition(index: usize) -> Partition {
    Partition(u32::try_from(index).expect("partitions are counted in u32"))
}

#[async_trait]
impl<R: Readable> Subscription for Reader<R> {
    async fn next(&mut self) -> Result<LogEvent, Error> {
        loop {
            let bounds = self.bounds.borrow_and_update().clone();
            if let Some(assigned) = self.assign(bounds.len()) {
                return Ok(assigned);
            }
            let Some((index, range)) = self.due(&bounds)? else {
                // The sender lives in `self.log`, so this cannot fail while we wait.
                let _ = self.bounds.changed().await;
                continue;
            };
            let Some(records) = self.log.read(partition(index), range).await? else { continue };
            let last = records.offsets().last().expect("a read returns at least one record");
            let to = Position(last + 1);
            self.positions[index] = Some(to);
            self.turn = (index + 1) % self.positions.len();
            let range = OffsetRange::new(range.from, to);
            return Ok(LogEvent::Records(Records { partition: partition(index), range, records }));
        }
    }

    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error> {
        let index = partition.0 as usize;
        let bounds = self.bounds.borrow().get(index).copied();
        let (Some(bounds), true) = (bounds, index < self.positions.len()) else {
            return Err(Error::UnknownPartition { topic: self.log.topic().to_owned(), partition });
        };
        self.check(partition, position, bounds)?;
        self.positions[index] = Some(position);
        Ok(())
    }
}
