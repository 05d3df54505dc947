//! Records as a log delivers them, and what they become: events, dead letters or tombstones (L7).

mod run;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::run::{RecordRef, Run};
use crate::position::Partition;

/// One message of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic it was read from.
    pub topic: Arc<str>,
    /// The partition it was read from.
    pub partition: Partition,
    /// Its offset in that partition.
    pub offset: u64,
    /// The log's time stamp, microseconds since 1970-01-01 UTC.
    pub timestamp_us: i64,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<(String, Bytes)>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Why a record could not become an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The value is not of the source's format (not JSON, not UTF-8, not an object).
    Malformed,
    /// A column that may not be null is missing or null.
    Missing,
    /// A column's value is of another type, or does not fit it.
    Type,
    /// A column's value is outside the range that the source allows.
    Range,
    /// The event time is further ahead than the source allows.
    TooFarAhead,
    /// The event time is further behind than the source allows.
    TooFarBehind,
    /// The value is larger than a record may be.
    TooLarge,
    /// It names a schema that is not known, or one that does not fit the source's columns.
    Schema,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Missing,
        Self::Type,
        Self::Range,
        Self::TooFarAhead,
        Self::TooFarBehind,
        Self::TooLarge,
        Self::Schema,
    ];

    /// The reason as it stands in the store, in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Range => "range",
            Self::TooFarAhead => "too_far_ahead",
            Self::TooFarBehind => "too_far_behind",
            Self::TooLarge => "too_large",
            Self::Schema => "schema",
        }
    }
}

/// A record that could not become an event, kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record as it was read.
    pub record: Record,
    /// The kind of fault.
    pub reason: Reason,
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// What was found and what is allowed, for a person.
    pub detail: String,
}

/// What a run of records of one partition became. The three counts sum to the records delivered (L7).
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The events, in offset order, in the source's [`event_schema`](crate::schema::Schema::event_schema); any of its strings
    /// may be `Dictionary(Int32, Utf8)`.
    pub events: RecordBatch,
    /// The records that could not become events, in offset order.
    pub dead_letters: Vec<DeadLetter>,
    /// How many records had no value.
    pub tombstones: u64,
}

/// How many records of one partition a commit covers, by what became of them (L7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that became events.
    pub events: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Records without a value.
    pub tombstones: u64,
}

impl Counts {
    /// All records, whatever became of them.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.events + self.dead_letters + self.tombstones
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.dead_letters += other.dead_letters;
        self.tombstones += other.tombstones;
    }
}
