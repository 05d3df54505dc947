//! Where one is: partitions, positions, half-open ranges of offsets, dataset versions.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A partition of a topic, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

/// The next offset to read of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// The version of a dataset: the number of one commit. Version 0 is the empty dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// The position of each partition of one source.
pub type Positions = BTreeMap<Partition, Position>;

/// The half-open interval `[from, to)` of offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first offset inside.
    pub from: Position,
    /// The first offset after.
    pub to: Position,
}

impl OffsetRange {
    /// The range `[from, to)`; `from` may equal `to`.
    ///
    /// # Panics
    /// If `to` is before `from`, which no reader can cause.
    #[must_use]
    pub fn new(from: Position, to: Position) -> Self {
        assert!(from <= to, "an offset range ends before it starts: [{from}, {to})");
        Self { from, to }
    }

    /// How many offsets are inside (not how many records: logs may have gaps).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.to.0 - self.from.0
    }

    /// Whether nothing is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

macro_rules! display {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display!(Partition, Position, Version);

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.from, self.to)
    }
}
