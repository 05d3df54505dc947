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
    /// Those of `records` but for the ones at the places `others`, which ascend.
    pub(super) fn around(records: &[Record], others: impl Iterator<Item = usize>) -> Self {
        let mut envelopes = Self::with_capacity(records.len());
        let mut from = 0;
        for other in others {
            envelopes.append(&records[from..other]);
            from = other + 1;
        }
        envelopes.append(&records[from..]);
        envelopes
    }

    fn with_capacity(rows: usize) -> Self {
        Self {
            topics: Vec::new(),
            topic_codes: Vec::with_capacity(rows),
            partitions: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            keys: BinaryBuilder::with_capacity(rows, 0),
        }
    }

    /// Adds the rows of `records`: column by column, which costs less than row by row.
    fn append(&mut self, records: &[Record]) {
        for Record { topic, .. } in records {
            if !self.topics.last().is_some_and(|last| Arc::ptr_eq(last, topic) || last == topic) {
                self.topics.push(Arc::clone(topic));
            }
            self.topic_codes.push(self.topics.len() as i32 - 1);
        }
        let partition =
            |record: &Record| i32::try_from(record.partition.0).expect("logs have fewer than 2^31 partitions");
        self.partitions.extend(records.iter().map(partition));
        let offset = |record: &Record| i64::try_from(record.offset).expect("logs have fewer than 2^63 records");
        self.offsets.extend(records.iter().map(offset));
        self.timestamps.extend(records.iter().map(|record| record.timestamp_us));
        match records.iter().all(|record| record.key.is_none()) {
            true => self.keys.append_nulls(records.len()),
            false => records.iter().for_each(|record| self.keys.append_option(record.key.as_deref())),
        }
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
