//! Records of one partition in a few pieces of memory: at a million of them a second, an allocation, a counter and some pointers for
//! each would cost more than half of what it takes to decode it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::Record;
use crate::position::Partition;

/// What a record costs in memory besides its bytes: it also keeps runs of tombstones from counting as nothing.
const ENTRY_BYTES: u64 = size_of::<Entry>() as u64;

/// A header's name and value.
type Header = (String, Bytes);

/// Records of one partition of a topic, in offset order.
#[derive(Clone)]
pub struct Run {
    topic: Arc<str>,
    partition: Partition,
    entries: Vec<Entry>,
    /// Keys and values, one after the other: a piece for each run that was put to this one. There is at least one.
    pieces: Vec<Vec<u8>>,
    /// Of the records that have any: their places, which ascend, and their headers.
    headers: Vec<(usize, Vec<Header>)>,
    headers_bytes: u64,
}

/// What is known of one record.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u64,
    timestamp_us: i64,
    /// In which piece its bytes are. Its key starts here, its value where the key ends.
    piece: u16,
    from: u32,
    key_length: u32,
    value_length: u32,
    has_key: bool,
    has_value: bool,
}

/// One record of a run; the fields are those of [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "see `Record`")]
pub struct RecordRef<'a> {
    pub topic: &'a Arc<str>,
    pub partition: Partition,
    pub offset: u64,
    pub timestamp_us: i64,
    pub key: Option<&'a [u8]>,
    pub headers: &'a [Header],
    pub value: Option<&'a [u8]>,
}

impl RecordRef<'_> {
    /// The record, with bytes of its own.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            topic: Arc::clone(self.topic),
            partition: self.partition,
            offset: self.offset,
            timestamp_us: self.timestamp_us,
            key: self.key.map(Bytes::copy_from_slice),
            headers: self.headers.to_vec(),
            value: self.value.map(Bytes::copy_from_slice),
        }
    }
}

impl Run {
    /// No records yet of `partition`, and room for so many with so many bytes of keys and values.
    #[must_use]
    pub fn with_capacity(topic: Arc<str>, partition: Partition, records: usize, bytes: usize) -> Self {
        let (entries, pieces) = (Vec::with_capacity(records), vec![Vec::with_capacity(bytes)]);
        Self { topic, partition, entries, pieces, headers: Vec::new(), headers_bytes: 0 }
    }

    /// Adds a record, whose bytes are copied.
    ///
    /// # Panics
    /// If keys and values come to 4 GiB: logs give out runs that are far smaller.
    pub fn push(
        &mut self,
        offset: u64,
        timestamp_us: i64,
        key: Option<&[u8]>,
        headers: Vec<Header>,
        value: Option<&[u8]>,
    ) {
        let (has_key, has_value) = (key.is_some(), value.is_some());
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        let piece = piece(self.pieces.len() - 1);
        let bytes = &mut self.pieces[usize::from(piece)];
        let from = place(bytes.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        let _ = place(bytes.len());
        let (key_length, value_length) = (key.len() as u32, value.len() as u32);
        if !headers.is_empty() {
            self.headers_bytes += headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() as u64;
            self.headers.push((self.entries.len(), headers));
        }
        self.entries.push(Entry { offset, timestamp_us, piece, from, key_length, value_length, has_key, has_value });
    }

    /// Adds the records of `next`, which are of the same partition. Keys and values stay where they are.
    ///
    /// # Panics
    /// If it is made of 65,536 pieces then. No run has more than [`LOG_RUN_RECORDS_MAX`](crate::limits::LOG_RUN_RECORDS_MAX)
    /// records, nor have those that are put together, and no piece has none.
    pub fn append(&mut self, next: Self) {
        if next.is_empty() {
            return;
        }
        debug_assert_eq!((&self.topic, self.partition), (&next.topic, next.partition), "a run is of one partition");
        let (base, records) = (self.pieces.len(), self.entries.len());
        let moved = |entry: &Entry| Entry { piece: piece(base + usize::from(entry.piece)), ..*entry };
        self.entries.extend(next.entries.iter().map(moved));
        self.pieces.extend(next.pieces);
        self.headers.extend(next.headers.into_iter().map(|(at, headers)| (records + at, headers)));
        self.headers_bytes += next.headers_bytes;
    }

    /// Of which topic the records are.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Of which partition the records are.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// About how many bytes the records take in memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes() as u64 + self.headers_bytes + self.entries.len() as u64 * ENTRY_BYTES
    }

    /// The record at place `at`.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    #[inline]
    pub fn at(&self, at: usize) -> RecordRef<'_> {
        let Entry { offset, timestamp_us, has_key, .. } = self.entries[at];
        let key = has_key.then(|| self.key_bytes(at));
        let headers = match self.headers.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(found) => self.headers[found].1.as_slice(),
            Err(_) => &[],
        };
        let (topic, partition) = (&self.topic, self.partition);
        RecordRef { topic, partition, offset, timestamp_us, key, headers, value: self.value(at) }
    }

    /// The value of the record at place `at`; `None` is a tombstone.
    #[must_use]
    #[inline]
    pub fn value(&self, at: usize) -> Option<&[u8]> {
        let Entry { piece, from, key_length, value_length, has_value, .. } = self.entries[at];
        let from = from as usize + key_length as usize;
        has_value.then(|| &self.pieces[usize::from(piece)][from..from + value_length as usize])
    }

    /// The key of the record at place `at`, if it has one.
    #[must_use]
    #[inline]
    pub fn key(&self, at: usize) -> Option<&[u8]> {
        self.entries[at].has_key.then(|| self.key_bytes(at))
    }

    fn key_bytes(&self, at: usize) -> &[u8] {
        let Entry { piece, from, key_length, .. } = self.entries[at];
        &self.pieces[usize::from(piece)][from as usize..from as usize + key_length as usize]
    }

    /// The offsets.
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = u64> {
        self.entries.iter().map(|entry| entry.offset)
    }

    /// The time stamps, microseconds since 1970-01-01 UTC.
    pub fn timestamps_us(&self) -> impl ExactSizeIterator<Item = i64> {
        self.entries.iter().map(|entry| entry.timestamp_us)
    }

    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        (0..self.len()).map(|at| self.at(at))
    }

    /// The records, each with bytes of its own.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        self.iter().map(|record| record.to_record()).collect()
    }
}

fn place(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a run has less than 4 GiB of keys and values")
}

fn piece(number: usize) -> u16 {
    u16::try_from(number).expect("a run is made of fewer than 65,536")
}

/// Of no records, it is of no topic.
impl FromIterator<Record> for Run {
    /// # Panics
    /// If the records are of more than one partition.
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut records = records.into_iter().peekable();
        let first = records.peek().map(|record| (Arc::clone(&record.topic), record.partition));
        let (topic, partition) = first.unwrap_or_else(|| ("".into(), Partition(0)));
        let mut run = Self::with_capacity(topic, partition, records.size_hint().0, 0);
        for record in records {
            assert_eq!((&record.topic, record.partition), (&run.topic, partition), "a run is of one partition");
            run.push(
                record.offset,
                record.timestamp_us,
                record.key.as_deref(),
                record.headers,
                record.value.as_deref(),
            );
        }
        run
    }
}

impl IntoIterator for Run {
    type Item = Record;
    type IntoIter = std::vec::IntoIter<Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.to_records().into_iter()
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

impl Eq for Run {}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64, key: Option<&'static str>, value: Option<&'static str>) -> Record {
        let headers =
            if offset.is_multiple_of(3) { vec![("h".to_owned(), Bytes::from_static(b"v"))] } else { Vec::new() };
        let bytes = |text: Option<&'static str>| text.map(Bytes::from);
        let (key, value) = (bytes(key), bytes(value));
        Record { topic: "t".into(), partition: Partition(1), offset, timestamp_us: -7, key, headers, value }
    }

    fn records(offsets: std::ops::Range<u64>) -> Vec<Record> {
        let parts = [(Some("key"), Some("value")), (None, Some("")), (Some(""), None), (None, None)];
        offsets.map(|offset| record(offset, parts[offset as usize % 4].0, parts[offset as usize % 4].1)).collect()
    }

    #[test]
    fn l7_records_come_out_as_they_went_in_also_of_runs_put_together() {
        let mut run: Run = records(0..50).into_iter().collect();
        assert_eq!(run.to_records(), records(0..50));
        run.append(records(50..70).into_iter().collect());
        run.append(records(70..70).into_iter().collect());
        let mut rest: Run = records(70..80).into_iter().collect();
        rest.append(records(80..90).into_iter().collect());
        run.append(rest);
        records(90..99).into_iter().for_each(|record| {
            run.push(record.offset, -7, record.key.as_deref(), record.headers, record.value.as_deref());
        });
        assert_eq!(run.to_records(), records(0..99));
        assert_eq!(run.size(), Run::from_iter(records(0..99)).size());
        assert_eq!(run, records(0..99).into_iter().collect());
        assert_ne!(run, records(1..100).into_iter().collect());
        for at in 0..run.len() {
            assert_eq!((run.at(at).key, run.at(at).value), (run.key(at), run.value(at)));
        }
        assert!(run.offsets().eq(0..99) && run.timestamps_us().all(|us| us == -7));
    }

    #[test]
    fn tombstones_take_memory_too() {
        let tombstones: Run = (0..10).map(|offset| record(3 * offset + 1, None, None)).collect();
        assert_eq!(tombstones.size(), 10 * ENTRY_BYTES);
        let one: Run = [record(0, Some("key"), Some("value"))].into_iter().collect();
        assert_eq!(one.size(), ENTRY_BYTES + 10, "with its header of two bytes");
    }
}
