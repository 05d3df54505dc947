//! The live feed, from the speed layer to serving: deltas of the tails, and commit notices (DESIGN §5).

use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use crate::{
    names::SourceName,
    position::{OffsetRange, Partition, Positions, Version},
    view::ViewId,
};

/// The partials of `[from, to)` of one partition, one per view. Deltas of an epoch chain without a gap from the position
/// the epoch started from, and none straddles a commit.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct CommitNotice {
    /// The source.
    pub source: SourceName,
    /// The version of the dataset.
    pub version: Version,
    /// The positions it moved, as they stand now.
    pub positions: Positions,
    /// The commit's segment by view, so that a listener in the same process need not read it; views that nothing fell into
    /// are absent.
    pub segment: Vec<(ViewId, RecordBatch)>,
}

/// One message of the live feed.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Events were folded.
    Delta(Delta),
    /// Events were committed.
    Committed(CommitNotice),
    /// How many records the log holds that were not yet read, over all partitions of the source.
    Lag {
        /// The source.
        source: SourceName,
        /// Records.
        records: u64,
    },
}

/// The sending end of the feed within one process. Sending waits when the listener is behind: back-pressure.
pub type Sender = mpsc::Sender<Notice>;

/// The receiving end of the feed within one process.
pub type Receiver = mpsc::Receiver<Notice>;

/// A feed within one process.
#[must_use]
pub fn channel() -> (Sender, Receiver) {
    mpsc::channel(crate::limits::FEED_NOTICES_MAX)
}
