//! The live feed, from the speed layer to serving: deltas of the tails, commit notices, and how far each reader is (DESIGN §5).
//!
//! Within one process it is a channel. Between processes it is a topic of Kafka ([`topic`]), on which notices travel as
//! [`wire`] says. Either way serving hears the same, and merges by positions: what is lost, late, doubled or out of order on the
//! way makes a tail incomplete, and never an answer wrong.

use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use crate::{
    limits::FEED_NOTICES_MAX,
    names::SourceName,
    position::{OffsetRange, Partition, Position, Positions, Version},
    view::ViewId,
};

mod parts;
pub mod topic;
pub mod wire;

/// The partials of `[from, to)` of one partition, one per view. Deltas of an epoch chain without a gap from the position
/// the epoch started from, and none straddles a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The source.
    pub source: SourceName,
    /// The partition.
    pub partition: Partition,
    /// The reader's term of this partition: greater after every restart or rebalance.
    pub epoch: u64,
    /// What the partials cover.
    pub range: OffsetRange,
    /// The newest record time stamp covered, microseconds since 1970-01-01 UTC; `None` if no record was covered.
    pub as_of_us: Option<i64>,
    /// The oldest record time stamp covered, likewise.
    pub oldest_us: Option<i64>,
    /// The partials by view; views that nothing fell into are absent.
    pub partials: Vec<(ViewId, RecordBatch)>,
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitNotice {
    /// The source.
    pub source: SourceName,
    /// The version of the dataset.
    pub version: Version,
    /// The positions it moved, as they stand now.
    pub positions: Positions,
    /// The commit's segment by view, so that a listener need not read it; views that nothing fell into are absent.
    pub segment: Vec<(ViewId, RecordBatch)>,
}

/// How the reader of one partition stands. Said again and again: a listener that hears nothing knows that something is amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The source.
    pub source: SourceName,
    /// The partition.
    pub partition: Partition,
    /// The reader's term of it.
    pub epoch: u64,
    /// How far the deltas of this term reach; where it started if there were none.
    pub told: Position,
    /// How many records the log holds that were not yet read; `None` if the log did not say.
    pub lag_records: Option<u64>,
    /// How many partitions the log has: each has a reader, or should have.
    pub partitions: u32,
}

/// One message of the live feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Events were folded.
    Delta(Delta),
    /// Events were committed.
    Committed(CommitNotice),
    /// A partition is being read.
    Standing(Standing),
}

impl Notice {
    /// The source that it is of.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        match self {
            Self::Delta(delta) => &delta.source,
            Self::Committed(commit) => &commit.source,
            Self::Standing(standing) => &standing.source,
        }
    }
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A notice, maybe one that it has heard before.
    Notice(Notice),
    /// Everything that was told before the listener came, as far back as it asked for.
    UpToDate,
}

/// Where workers tell. Sending waits when the other end is behind: back-pressure.
pub type Sender = mpsc::Sender<Notice>;

/// What workers of this process have told.
pub type Receiver = mpsc::Receiver<Notice>;

/// A feed within one process.
#[must_use]
pub fn channel() -> (Sender, Receiver) {
    mpsc::channel(FEED_NOTICES_MAX)
}

/// The listening end of a feed.
#[derive(Debug)]
pub enum Listener {
    /// The workers are in this process: nothing is lost, and it ends when they do.
    Local(Receiver),
    /// The workers are anywhere. Notices may be lost, and that nobody speaks says nothing.
    Topic(mpsc::Receiver<Heard>),
}

impl Listener {
    /// Puts what was heard into `heard`, waiting if there is nothing; how much that was, and 0 when the feed has ended. Safe to
    /// cancel.
    pub async fn hear(&mut self, heard: &mut Vec<Heard>) -> usize {
        match self {
            Self::Local(receiver) => {
                let mut notices = Vec::new();
                let count = receiver.recv_many(&mut notices, FEED_NOTICES_MAX).await;
                heard.extend(notices.into_iter().map(Heard::Notice));
                count
            }
            Self::Topic(receiver) => receiver.recv_many(heard, FEED_NOTICES_MAX).await,
        }
    }

    /// Whether notices may be lost on the way, and those who tell go away without a word.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Topic(_))
    }
}

#[cfg(test)]
mod tests;
