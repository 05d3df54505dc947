//! The columns that every event has from its record: where it was read from, when the log got it, under which key.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, DictionaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use crate::event::Run;

/// Builds `_topic`, `_partition`, `_offset`, `_timestamp` and `_key`.
#[derive(Debug)]
pub(super) struct Envelopes<'a> {
    records: &'a Run,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
}

impl<'a> Envelopes<'a> {
    /// Those of `records` but for the ones at the places `others`, which ascend.
    pub(super) fn around(records: &'a Run, others: impl Iterator<Item = usize>) -> Self {
        let rows = records.len();
        let (offsets, timestamps) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut envelopes = Self { records, offsets, timestamps, keys: BinaryBuilder::with_capacity(rows, 0) };
        let mut from = 0;
        for other in others {
            envelopes.append(from, other);
            from = other + 1;
        }
        envelopes.append(from, rows);
        envelopes
    }

    /// Adds the rows of the records at places `[from, to)`: column by column, which costs less than row by row.
    fn append(&mut self, from: usize, to: usize) {
        let (records, count) = (self.records, to - from);
        let offset = |offset| i64::try_from(offset).expect("logs have fewer than 2^63 records");
        self.offsets.extend(records.offsets().skip(from).take(count).map(offset));
        self.timestamps.extend(records.timestamps_us().skip(from).take(count));
        match (from..to).all(|at| records.key(at).is_none()) {
            true => self.keys.append_nulls(count),
            false => (from..to).for_each(|at| self.keys.append_option(records.key(at))),
        }
    }

    /// The columns, in the order of the event schema; the topic as a dictionary.
    pub(super) fn finish(mut self) -> [ArrayRef; 5] {
        let rows = self.offsets.len();
        let partition = i32::try_from(self.records.partition().0).expect("logs have fewer than 2^31 partitions");
        let topic = StringArray::from(vec![&**self.records.topic()]);
        [
            Arc::new(DictionaryArray::new(Int32Array::from(vec![0; rows]), Arc::new(topic))),
            Arc::new(Int32Array::from(vec![partition; rows])),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(TimestampMicrosecondArray::from(self.timestamps).with_timezone("UTC")),
            Arc::new(self.keys.finish()),
        ]
    }
}
