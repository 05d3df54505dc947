//! What a worker has done so far, and the handle by which others watch it and ask it for a commit.

use std::collections::BTreeMap;

use common::{
    event::Counts,
    position::{Partition, Position, Positions, Version},
};
use tokio::sync::{mpsc, oneshot, watch};

/// What a worker has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that the log delivered and that were folded. Records read anew after a fence count again.
    pub delivered: u64,
    /// What became of them; sums to `delivered` (L7).
    pub folded: Counts,
    /// What this worker's commits cover.
    pub committed: Counts,
    /// Commits that this worker made.
    pub commits: u64,
    /// How often a partition was taken from this worker by another's commit (L3).
    pub fences: u64,
    /// The newest version of the dataset that the worker knows of; `None` before it has read one.
    pub version: Option<Version>,
    /// The partitions that are this worker's and whose position is known.
    pub partitions: BTreeMap<Partition, PartitionStats>,
    /// Records in the log that were not yet read, when last asked; `None` before.
    pub lag_records: Option<u64>,
}

/// How far a worker is with one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// The next offset to read.
    pub read: Position,
    /// The dataset's position.
    pub committed: Position,
    /// The newest time stamp of a record read, microseconds since 1970-01-01 UTC; `None` before there was one.
    pub newest_us: Option<i64>,
}

/// Asks a worker to commit what was read; answered with the version.
pub(crate) type Flush = oneshot::Sender<Version>;

/// The worker has stopped, so it can do nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ingesting has stopped")]
pub struct Stopped;

/// Watches and asks a worker that runs elsewhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Flush>,
    pub(crate) stats: watch::Receiver<Stats>,
}

impl Handle {
    /// What the worker has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.borrow().clone()
    }

    /// A receiver of every change of the stats (of the newest only, if the reader is slow).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Stats> {
        self.stats.clone()
    }

    /// Commits everything that was read when the worker heard of it, and returns the dataset's version then. Where nothing
    /// was read there is no commit, and the answer comes when the segments of those before are written.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn flush(&self) -> Result<Version, Stopped> {
        let (answer, version) = oneshot::channel();
        self.requests.send(answer).await.map_err(|_| Stopped)?;
        version.await.map_err(|_| Stopped)
    }

    /// Waits until every record before `positions` is committed, asking for commits as soon as it is read, and returns the
    /// dataset's version then.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn flush_to(&self, positions: &Positions) -> Result<Version, Stopped> {
        let mut stats = self.watch();
        loop {
            stats.wait_for(|s| s.all(positions, |p| p.read)).await.map_err(|_| Stopped)?;
            let version = self.flush().await?;
            if stats.borrow_and_update().all(positions, |p| p.committed) {
                return Ok(version);
            }
        }
    }
}

impl Stats {
    /// Whether every partition of `positions` has come as far as it says.
    fn all(&self, positions: &Positions, reached: impl Fn(&PartitionStats) -> Position) -> bool {
        positions.iter().all(|(partition, position)| {
            position.0 == 0 || self.partitions.get(partition).is_some_and(|p| reached(p) >= *position)
        })
    }
}
