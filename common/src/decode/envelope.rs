//! The columns that every event has from its record: where it was read from, when the log got it, under which key.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, DictionaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use crate::event::Record;

/// Builds `_topic`, `_partition`, `_offset`, `_timestamp` and `_key`.
#[derive(Debug)]
pub(super) struct Envelopes {
    topics: Vec<Arc<str>>,
    topic_codes: Vec<i32>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
}

impl Envelopes {
    /// None yet, with room for `rows`.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            topics: Vec::new(),
            topic_codes: Vec::with_capacity(rows),
            partitions: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            keys: BinaryBuilder::with_capacity(rows, 0),
        }
    }

    /// Adds the row of `record`.
    #[inline]
    pub(super) fn append(&mut self, record: &Record) {
        if !self.topics.last().is_some_and(|last| Arc::ptr_eq(last, &record.topic) || *last == record.topic) {
            self.topics.push(Arc::clone(&record.topic));
        }
        self.topic_codes.push(self.topics.len() as i32 - 1);
        self.partitions.push(i32::try_from(record.partition.0).expect("logs have fewer than 2^31 partitions"));
        self.offsets.push(i64::try_from(record.offset).expect("logs have fewer than 2^63 records"));
        self.timestamps.push(record.timestamp_us);
        self.keys.append_option(record.key.as_deref());
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The columns, in the order of the event schema; the topic as a dictionary.
    pub(super) fn finish(mut self) -> [ArrayRef; 5] {
        let topics: StringArray = self.topics.iter().map(|topic| Some(&**topic)).collect();
        [
            Arc::new(DictionaryArray::new(Int32Array::from(self.topic_codes), Arc::new(topics))),
            Arc::new(Int32Array::from(self.partitions)),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(TimestampMicrosecondArray::from(self.timestamps).with_timezone("UTC")),
            Arc::new(self.keys.finish()),
        ]
    }
}
