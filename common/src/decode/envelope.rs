//! The columns that every event has from its record: where it was read from, when the log got it, under which key.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};

use crate::event::Record;

/// Builds `_topic`, `_partition`, `_offset`, `_timestamp` and `_key`.
#[derive(Debug)]
pub(super) struct Envelopes {
    topics: StringBuilder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    timestamps: TimestampMicrosecondBuilder,
    keys: BinaryBuilder,
}

impl Envelopes {
    /// None yet, with room for `rows`.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            topics: StringBuilder::with_capacity(rows, rows * 8),
            partitions: Int32Builder::with_capacity(rows),
            offsets: Int64Builder::with_capacity(rows),
            timestamps: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            keys: BinaryBuilder::with_capacity(rows, rows * 8),
        }
    }

    /// Adds the row of `record`.
    pub(super) fn append(&mut self, record: &Record) {
        self.topics.append_value(&record.topic);
        self.partitions.append_value(i32::try_from(record.partition.0).expect("logs have fewer than 2^31 partitions"));
        self.offsets.append_value(i64::try_from(record.offset).expect("logs have fewer than 2^63 records"));
        self.timestamps.append_value(record.timestamp_us);
        self.keys.append_option(record.key.as_deref());
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.values_slice().len()
    }

    /// The columns, in the order of the event schema.
    pub(super) fn finish(mut self) -> [ArrayRef; 5] {
        [
            Arc::new(self.topics.finish()),
            Arc::new(self.partitions.finish()),
            Arc::new(self.offsets.finish()),
            Arc::new(self.timestamps.finish()),
            Arc::new(self.keys.finish()),
        ]
    }
}
