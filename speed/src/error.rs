//! Why a worker stopped. Whatever the reason, nothing it held counts as done: its next start reads it again.

use common::{
    dataset, dead_letter, decode, log, measure,
    origin::Origin,
    position::{OffsetRange, Partition, Position},
    store,
};

/// Why ingesting a source stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log has forgotten records that no commit holds. Reading on would lose them silently: a person must decide.
    #[error("topic {topic} partition {partition}: records {range} are gone from the log before they were committed")]
    Gap {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offsets that are lost.
        range: OffsetRange,
    },
    /// The log ends before the dataset's position, so it is not the log that the dataset was made from. Reading on would
    /// skip the records that are to come up to that position.
    #[error(
        "topic {topic} partition {partition}: the dataset stands at {position}, but the log holds only {bounds}: \
         this is not the log that the dataset was made from"
    )]
    OtherLog {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// Where the dataset stands.
        position: Position,
        /// What the log has.
        bounds: OffsetRange,
    },
    /// The dataset's positions are of another topic, maybe one of the same name that was deleted since. Offsets of the one say
    /// nothing of the other: reading on would skip records, or read some twice.
    #[error(
        "the dataset's positions are of topic {} with id {}, not of topic {} with id {}: it was deleted and made anew, or is \
         another cluster's",
        known.topic, known.id, found.topic, found.id
    )]
    OtherTopic {
        /// What the positions are of.
        known: Box<Origin>,
        /// What is there.
        found: Box<Origin>,
    },
    /// The log delivered a run that does not follow the one before: a defect of the log, caught before it loses records (L7).
    #[error("partition {partition}: the log delivered {got} where {expected} was due")]
    Unchained {
        /// The partition.
        partition: Partition,
        /// The position that was due.
        expected: Position,
        /// The run that came.
        got: OffsetRange,
    },
    /// Events, dead letters and tombstones do not sum to the records delivered: a defect of the decoder, caught before
    /// it loses records (L7).
    #[error("partition {partition}: of {delivered} records in {range} only {accounted} are accounted for")]
    Unaccounted {
        /// The partition.
        partition: Partition,
        /// The run.
        range: OffsetRange,
        /// Records that the log delivered.
        delivered: u64,
        /// Events, dead letters and tombstones.
        accounted: u64,
    },
    /// A record of a run becomes a dead letter, which is kept whole, and the log had been told to leave headers out: the partition has to
    /// be read anew with them. No worker ever stops by this.
    #[error("partition {partition}: a record in {range} has to be read with its headers")]
    Headless {
        /// The partition.
        partition: Partition,
        /// The run.
        range: OffsetRange,
    },
    /// The events of a run could not be folded, or a delta not be taken.
    #[error("partition {partition}: folding {range} failed")]
    Fold {
        /// The partition.
        partition: Partition,
        /// The run, or the delta.
        range: OffsetRange,
        /// The cause.
        #[source]
        source: measure::Error,
    },
    /// The deltas of a commit could not be merged into its segment. The commit itself is made.
    #[error("merging the deltas of a commit failed")]
    Segment(#[source] measure::Error),
    /// Records are written by a schema that does not fit the source's columns, or whose registry failed, as often as
    /// [`Retry`](crate::Retry) allows. Reading on would lose them.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// A gap, or which topic is read, could not be recorded, as often as [`Retry`](crate::Retry) allows.
    #[error("a gap, or which topic is read, could not be recorded")]
    Record(#[from] store::Error),
    /// The log failed, as often as [`Retry`](crate::Retry) allows.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The dataset failed, as often as [`Retry`](crate::Retry) allows, or is of another schema.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Dead letters could not be written, as often as [`Retry`](crate::Retry) allows.
    #[error(transparent)]
    DeadLetters(#[from] dead_letter::Error),
}
