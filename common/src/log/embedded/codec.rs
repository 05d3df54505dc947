//! The bytes of the embedded log's database: records, the state of a partition, and the keys of both.
//!
//! A record is, in this order (integers little-endian, lengths as LEB128):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this encoding, 1 |
//! | 1 | flags: 1 has a key, 2 has a value |
//! | 8 | time stamp, microseconds since 1970-01-01 UTC, signed |
//! | length, bytes | the key, if it has one |
//! | count, then per header: length, name, length, value | the headers |
//! | length, bytes | the value, if it has one |
//!
//! Topic, partition and offset are not repeated: they are where the record stands. What is read is checked to its last byte.
//! (fjall keeps checksums of its blocks and journals.)

use bytes::Bytes;

use crate::{
    event::Run,
    log::NewRecord,
    position::{OffsetRange, Position},
};

const VERSION: u8 = 1;
const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;

/// Bytes in the database that this encoding did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Corrupt {
    #[error("a record of encoding version {0} was found, {VERSION} is known")]
    Version(u8),
    #[error("a record ends too early")]
    Short,
    #[error("a record goes on after its end")]
    Long,
    #[error("a record has unknown flags {0:#04x}")]
    Flags(u8),
    #[error("the name of a header is not UTF-8")]
    HeaderName,
    #[error("the state of a partition is not valid")]
    Partition,
    #[error("the next row of a producer is not valid")]
    Producer,
    #[error("the key of a record is not an offset")]
    Key,
    #[error("offset {expected:?} was due in the database, {found:?} was found")]
    Offset { expected: Option<u64>, found: Option<u64> },
    #[error("the database has layout {0:02x?}, which this version does not know")]
    Format(Vec<u8>),
}

/// The bytes of `record` with this time stamp.
pub(super) fn encode_record(record: &NewRecord, timestamp_us: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(record_bytes(record) + 32);
    let flags = if record.key.is_some() { HAS_KEY } else { 0 } | if record.value.is_some() { HAS_VALUE } else { 0 };
    out.extend([VERSION, flags]);
    out.extend(timestamp_us.to_le_bytes());
    if let Some(key) = &record.key {
        put_bytes(&mut out, key);
    }
    put_length(&mut out, record.headers.len());
    for (name, value) in &record.headers {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value);
    }
    if let Some(value) = &record.value {
        put_bytes(&mut out, value);
    }
    out
}

/// Bytes of a record's key, headers and value.
pub(super) fn record_bytes(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    headers + record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

/// Adds the record in `bytes` to `run`; nothing, if it is corrupt.
pub(super) fn decode_record(run: &mut Run, offset: u64, mut bytes: &[u8]) -> Result<(), Corrupt> {
    let head = take(&mut bytes, 2)?;
    let (version, flags) = (head[0], head[1]);
    if version != VERSION {
        return Err(Corrupt::Version(version));
    }
    if flags & !(HAS_KEY | HAS_VALUE) != 0 {
        return Err(Corrupt::Flags(flags));
    }
    let timestamp = take(&mut bytes, 8)?;
    let timestamp_us = i64::from_le_bytes(timestamp.try_into().expect("eight bytes were taken"));
    let key = if flags & HAS_KEY != 0 { Some(take_bytes(&mut bytes)?) } else { None };
    let count = take_length(&mut bytes)?;
    // A header has two bytes or more, so a corrupt count cannot ask for more memory than the record has.
    let mut headers = Vec::with_capacity(count.min(bytes.len() / 2));
    for _ in 0..count {
        let name = str::from_utf8(take_bytes(&mut bytes)?).map_err(|_| Corrupt::HeaderName)?;
        headers.push((name.to_owned(), Bytes::copy_from_slice(take_bytes(&mut bytes)?)));
    }
    let value = if flags & HAS_VALUE != 0 { Some(take_bytes(&mut bytes)?) } else { None };
    if !bytes.is_empty() {
        return Err(Corrupt::Long);
    }
    run.push(offset, timestamp_us, key, headers, value);
    Ok(())
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Corrupt> {
    bytes.split_off(..length).ok_or(Corrupt::Short)
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, Corrupt> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = take(bytes, 1)?[0];
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(length).map_err(|_| Corrupt::Short);
        }
    }
    Err(Corrupt::Short)
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Corrupt> {
    let length = take_length(bytes)?;
    take(bytes, length)
}

/// What is known of a partition, written together with every change of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartitionState {
    /// The oldest offset that is not trimmed.
    pub(super) start: u64,
    /// The offset of the next record.
    pub(super) next: u64,
    /// The time stamp of the newest record, microseconds since 1970-01-01 UTC. None is older than an earlier one.
    pub(super) newest_us: i64,
}

impl PartitionState {
    pub(super) fn bounds(&self) -> OffsetRange {
        OffsetRange::new(Position(self.start), Position(self.next))
    }

    pub(super) fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.start.to_le_bytes());
        out[8..16].copy_from_slice(&self.next.to_le_bytes());
        out[16..].copy_from_slice(&self.newest_us.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let bytes: &[u8; 24] = bytes.try_into().map_err(|_| Corrupt::Partition)?;
        let word = |i: usize| -> [u8; 8] { bytes[i..i + 8].try_into().expect("a slice of eight bytes") };
        let state = Self {
            start: u64::from_le_bytes(word(0)),
            next: u64::from_le_bytes(word(8)),
            newest_us: i64::from_le_bytes(word(16)),
        };
        if state.start > state.next { Err(Corrupt::Partition) } else { Ok(state) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::{event::Record, position::Partition};

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
    }

    fn record() -> impl Strategy<Value = NewRecord> {
        let headers = prop::collection::vec((".{0,20}", bytes()), 0..4);
        (prop::option::of(bytes()), headers, prop::option::of(bytes())).prop_map(|(key, headers, value)| NewRecord {
            key,
            headers,
            value,
        })
    }

    fn decode(bytes: Vec<u8>) -> Result<Record, Corrupt> {
        let mut run = Run::with_capacity("t".into(), Partition(1), 0, 0);
        decode_record(&mut run, 2, &bytes).map(|()| run.at(0).to_record())
    }

    proptest! {
        #[test]
        fn records_survive_their_encoding(new in record(), timestamp_us: i64) {
            let NewRecord { key, headers, value } = new.clone();
            let record = Record { topic: "t".into(), partition: Partition(1), offset: 2, timestamp_us, key, headers, value };
            prop_assert_eq!(decode(encode_record(&new, timestamp_us)), Ok(record));
        }

        #[test]
        fn a_record_cut_short_or_made_longer_is_corrupt(new in record(), cut: prop::sample::Index) {
            let mut encoded = encode_record(&new, 0);
            prop_assert!(decode(encoded[..cut.index(encoded.len())].to_vec()).is_err());
            encoded.push(0);
            prop_assert!(decode(encoded).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode([vec![VERSION, 3], bytes].concat());
        }
    }

    /// Golden: logs on disk must be readable by every later build.
    #[test]
    fn the_encoding_never_changes() {
        let record = NewRecord {
            key: Some(Bytes::from_static(b"k")),
            headers: vec![("h".to_owned(), Bytes::from_static(b"12"))],
            value: Some(Bytes::from_static(&[7; 130])),
        };
        let head = [1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'k', 1, 1, b'h', 2, b'1', b'2', 0x82, 1];
        assert_eq!(encode_record(&record, 1), [&head[..], &[7; 130]].concat());
        assert_eq!(encode_record(&NewRecord::default(), -1), [&[1, 0][..], &[0xff; 8], &[0]].concat());
    }

    #[test]
    fn other_versions_and_flags_are_refused() {
        let mut encoded = encode_record(&NewRecord::default(), 0);
        encoded[1] = 4;
        assert_eq!(decode(encoded.clone()), Err(Corrupt::Flags(4)));
        encoded[0] = 2;
        assert_eq!(decode(encoded).unwrap_err().to_string(), "a record of encoding version 2 was found, 1 is known");
    }

    #[test]
    fn a_length_beyond_the_record_is_refused() {
        let endless = [vec![VERSION, HAS_VALUE], vec![0; 8], vec![0], vec![0xff; 9]].concat();
        assert_eq!(decode(endless), Err(Corrupt::Short));
    }

    #[test]
    fn partition_states_survive_their_encoding() {
        let state = PartitionState { start: 1, next: u64::MAX, newest_us: i64::MIN };
        assert_eq!(PartitionState::decode(&state.encode()), Ok(state));
        assert_eq!(PartitionState::decode(&[0; 23]), Err(Corrupt::Partition));
        let backwards = PartitionState { start: 2, next: 1, newest_us: 0 };
        assert_eq!(PartitionState::decode(&backwards.encode()), Err(Corrupt::Partition));
    }
}
