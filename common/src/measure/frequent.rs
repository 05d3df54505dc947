//! How often each value of a group occurs: exactly while there are few, then a sketch of the counts and a sample of the values.
//!
//! While a group has at most [`VALUES_MAX`] distinct values, all of them are kept with their counts. Of more there are kept:
//!
//! - a Count-Min sketch of all values (Cormode, Muthukrishnan 2005, "An improved data stream summary: the count-min sketch and
//!   its applications"), [`DEPTH`] rows of [`WIDTH`] counters, which merge by addition. A value's count is the least of its
//!   counters: never less than the true one and, by theorem 1 there, more by over e / [`WIDTH`] of all counts (0.13 %) for at most
//!   one value in e^[`DEPTH`] (1.8 %);
//! - [`VALUES_MAX`] candidates for the answer. Every event has a number, a hash of its partition and offset; a value's number is
//!   the least of its events'; the candidates are the values of the least numbers. This is a bottom-k sample (Cohen 1997,
//!   "Size-estimation framework with applications to transitive closure and reachability"), merged by the least number of each
//!   value. The events of the least numbers are a uniform sample without repetition, at least [`VALUES_MAX`] of them belong to
//!   candidates, so a value of a share f of the events is missed with a probability of at most (1 - f)^[`VALUES_MAX`]: one in
//!   29,000 at 1 %.
//!
//! Both are functions of the events alone, and so is which of the two forms a state has (L1): the ways of Misra-Gries or
//! SpaceSaving are not, since what they forget depends on the order of merging.
//!
//! Encoding: nothing of no values. Else [`EXACT`], then the values in order of their bytes: its length and its count (LEB128), its
//! number (8 bytes, little-endian) and its bytes (see [`ordered`](super::ordered)); or [`SKETCH`], then all counters row by row
//! (LEB128), then the candidates as before but without counts.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Error,
    leb128::{read_number, write_number},
    ordered,
};
use crate::schema::ColumnType;

/// Most values that an `approx_top_k` keeps, and so counts exactly.
pub const VALUES_MAX: usize = 1024;

/// Counters in a row of the sketch, a power of two.
const WIDTH: usize = 2048;

/// Rows of counters.
const DEPTH: usize = 4;

/// How much more than its true count a value's may be, as a part of all counts: e / [`WIDTH`].
pub(super) const ERROR_OF_TOTAL: f64 = std::f64::consts::E / WIDTH as f64;

const EXACT: u8 = 0;
const SKETCH: u8 = 1;

/// One value that is kept.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    hash: u64,
    bytes: Box<[u8]>,
    /// The least number of its events.
    number: u64,
    /// How many events; of a candidate, meaningless.
    count: u64,
}

impl Entry {
    /// What decides which candidates stay: distinct for distinct values.
    fn rank(&self) -> (u64, &[u8]) {
        (self.number, &self.bytes)
    }
}

/// Values by their bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries(HashTable<Entry>);

impl Entries {
    /// The entry of a value, which is made with no count and the greatest number if there is none.
    #[inline]
    fn entry(&mut self, hash: u64, bytes: &[u8]) -> &mut Entry {
        let entry = self.0.entry(hash, |entry| entry.hash == hash && *entry.bytes == *bytes, |entry| entry.hash);
        let new = || Entry { hash, bytes: bytes.into(), number: u64::MAX, count: 0 };
        entry.or_insert_with(new).into_mut()
    }

    fn sorted(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.0.iter().collect();
        entries.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
        entries
    }
}

/// A sketch of counts and a sample of values.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    counters: Box<[u64]>,
    candidates: Entries,
    /// No value of a greater number can become a candidate.
    bar: u64,
}

/// A count is past 64 bits.
pub(super) struct CountOverflow;

impl Sketch {
    fn new() -> Self {
        Self { counters: vec![0; DEPTH * WIDTH].into(), candidates: Entries::default(), bar: u64::MAX }
    }

    #[inline]
    fn count(&mut self, hash: u64, count: u64) -> Result<(), CountOverflow> {
        for at in counters_of(hash) {
            self.counters[at] = self.counters[at].checked_add(count).ok_or(CountOverflow)?;
        }
        Ok(())
    }

    #[inline]
    fn offer(&mut self, hash: u64, bytes: &[u8], number: u64) {
        if number > self.bar {
            return;
        }
        let entry = self.candidates.entry(hash, bytes);
        entry.number = entry.number.min(number);
        // Twice as many as are kept are let in before the worst are put out: so that is done seldom.
        if self.candidates.0.len() >= 2 * VALUES_MAX {
            self.prune();
        }
    }

    /// Keeps the candidates of the least numbers.
    fn prune(&mut self) {
        if self.candidates.0.len() <= VALUES_MAX {
            return;
        }
        let mut entries: Vec<Entry> = std::mem::take(&mut self.candidates.0).into_iter().collect();
        let (_, last, _) = entries.select_nth_unstable_by(VALUES_MAX - 1, |a, b| a.rank().cmp(&b.rank()));
        self.bar = last.number;
        entries.truncate(VALUES_MAX);
        entries.into_iter().for_each(|entry| {
            self.candidates.0.insert_unique(entry.hash, entry, |entry| entry.hash);
        });
    }
}

/// A value's counter in each row.
#[inline]
fn counters_of(hash: u64) -> [usize; DEPTH] {
    std::array::from_fn(|row| row * WIDTH + (hash >> (16 * row)) as usize % WIDTH)
}

/// What is kept of one group.
#[derive(Debug, Clone)]
pub(super) enum Counts {
    Exact(Entries),
    Sketch(Box<Sketch>),
}

impl Default for Counts {
    fn default() -> Self {
        Self::Exact(Entries::default())
    }
}

impl Counts {
    /// Adds `count` events of a value, `number` being their least.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, bytes: &[u8], number: u64, count: u64) -> Result<(), CountOverflow> {
        match self {
            Self::Exact(entries) => {
                let entry = entries.entry(hash, bytes);
                entry.number = entry.number.min(number);
                entry.count = entry.count.checked_add(count).ok_or(CountOverflow)?;
                if entries.0.len() > VALUES_MAX {
                    self.sketch()?;
                }
                Ok(())
            }
            Self::Sketch(sketch) => {
                sketch.offer(hash, bytes, number);
                sketch.count(hash, count)
            }
        }
    }

    /// Bytes held, about: most values have no more than an entry itself.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        let entries = |entries: &Entries| entries.0.capacity() * 2 * size_of::<Entry>();
        match self {
            Self::Exact(values) => entries(values),
            Self::Sketch(sketch) => size_of_val(&*sketch.counters) + entries(&sketch.candidates),
        }
    }

    #[cold]
    fn sketch(&mut self) -> Result<&mut Sketch, CountOverflow> {
        if let Self::Exact(entries) = self {
            let mut sketch = Sketch::new();
            for entry in std::mem::take(&mut entries.0) {
                sketch.offer(entry.hash, &entry.bytes, entry.number);
                sketch.count(entry.hash, entry.count)?;
            }
            *self = Self::Sketch(Box::new(sketch));
        }
        match self {
            Self::Sketch(sketch) => Ok(sketch),
            Self::Exact(_) => unreachable!("it was just made a sketch"),
        }
    }

    /// Merges another state.
    pub(super) fn merge(&mut self, theirs: &Encoded<'_>) -> Result<(), CountOverflow> {
        if let Some(counters) = &theirs.counters {
            for (ours, theirs) in self.sketch()?.counters.iter_mut().zip(counters) {
                *ours = ours.checked_add(*theirs).ok_or(CountOverflow)?;
            }
        }
        // A candidate's count is in the counters, and here 0.
        theirs.values.iter().try_for_each(|v| self.add(xxh3_64(v.bytes), v.bytes, v.number, v.count))
    }

    /// Appends the encoding.
    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Exact(entries) if entries.0.is_empty() => {}
            Self::Exact(entries) => {
                bytes.push(EXACT);
                for entry in entries.sorted() {
                    write_number(bytes, entry.bytes.len() as u64);
                    write_number(bytes, entry.count);
                    bytes.extend_from_slice(&entry.number.to_le_bytes());
                    bytes.extend_from_slice(&entry.bytes);
                }
            }
            Self::Sketch(mut sketch) => {
                sketch.prune();
                bytes.push(SKETCH);
                sketch.counters.iter().for_each(|&counter| write_number(bytes, counter));
                for entry in sketch.candidates.sorted() {
                    write_number(bytes, entry.bytes.len() as u64);
                    bytes.extend_from_slice(&entry.number.to_le_bytes());
                    bytes.extend_from_slice(&entry.bytes);
                }
            }
        }
    }
}

/// An encoded state, found canonical.
pub(super) struct Encoded<'a> {
    /// Of a sketch.
    counters: Option<Vec<u64>>,
    values: Vec<EncodedValue<'a>>,
}

struct EncodedValue<'a> {
    bytes: &'a [u8],
    number: u64,
    /// 0 of a candidate.
    count: u64,
}

impl<'a> Encoded<'a> {
    /// Reads a state of values of this type.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn read(state: &'a [u8], column_type: ColumnType) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt { state: "top_k", message: format!("{} bytes, not canonical", state.len()) };
        let Some((&form, mut rest)) = state.split_first() else {
            return Ok(Self { counters: None, values: Vec::new() });
        };
        let counters = match form {
            EXACT => None,
            SKETCH => {
                Some((0..DEPTH * WIDTH).map(|_| read_number(&mut rest)).collect::<Option<_>>().ok_or_else(corrupt)?)
            }
            _ => return Err(corrupt()),
        };
        let mut values = Vec::new();
        while !rest.is_empty() {
            let value = EncodedValue::read(&mut rest, form == EXACT).ok_or_else(corrupt)?;
            if !ordered::is_canonical(column_type, value.bytes) {
                return Err(corrupt());
            }
            values.push(value);
        }
        let few = if form == EXACT { (1..=VALUES_MAX).contains(&values.len()) } else { values.len() == VALUES_MAX };
        if !few || !values.is_sorted_by(|a, b| a.bytes < b.bytes) {
            return Err(corrupt());
        }
        Ok(Self { counters, values })
    }

    /// Each kept value with its count.
    fn counts(&self) -> impl Iterator<Item = (&'a [u8], u64)> {
        self.values.iter().map(|value| match &self.counters {
            None => (value.bytes, value.count),
            Some(counters) => {
                let least = counters_of(xxh3_64(value.bytes)).into_iter().map(|at| counters[at]).min();
                (value.bytes, least.unwrap_or(0))
            }
        })
    }
}

impl<'a> EncodedValue<'a> {
    fn read(rest: &mut &'a [u8], counted: bool) -> Option<Self> {
        let length = usize::try_from(read_number(rest)?).ok()?;
        let count = if counted { read_number(rest).filter(|&count| count > 0)? } else { 0 };
        let (number, after) = rest.split_first_chunk()?;
        let bytes;
        (bytes, *rest) = after.split_at_checked(length)?;
        Some(Self { bytes, number: u64::from_le_bytes(*number), count })
    }
}

/// The number of the event at this position.
#[inline]
pub(super) fn number_of(partition: i64, offset: i64) -> u64 {
    let mut position = [0; 16];
    position[..8].copy_from_slice(&partition.to_le_bytes());
    position[8..].copy_from_slice(&offset.to_le_bytes());
    xxh3_64(&position)
}

/// The `k` most frequent values of a state with their counts, the most frequent first, the least of equally frequent ones.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Overflow`] if a count is past 63 bits.
pub(super) fn top<'a>(
    name: &str,
    state: &'a [u8],
    column_type: ColumnType,
    k: usize,
) -> Result<Vec<(&'a [u8], i64)>, Error> {
    let mut counts: Vec<(&[u8], u64)> = Encoded::read(state, column_type)?.counts().collect();
    // They are in the order of the values.
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counts.truncate(k);
    let int = |count: u64| i64::try_from(count).map_err(|_| Error::Overflow { state: name.to_owned(), limit: "int" });
    counts.into_iter().map(|(value, count)| Ok((value, int(count)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// An event: its value, and an offset that no other has.
    type Event = (u32, i64);

    fn state_of(events: &[Event]) -> Vec<u8> {
        let mut counts = Counts::default();
        for &(value, offset) in events {
            let bytes = value.to_be_bytes();
            assert!(counts.add(xxh3_64(&bytes), &bytes, number_of(0, offset), 1).is_ok());
        }
        let mut state = Vec::new();
        counts.encode(&mut state);
        state
    }

    fn merged<'a>(states: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
        let mut merged = Counts::default();
        for state in states {
            assert!(merged.merge(&Encoded::read(state, ColumnType::String).unwrap()).is_ok());
        }
        let mut state = Vec::new();
        merged.encode(&mut state);
        state
    }

    fn top(state: &[u8], k: usize) -> Vec<(u32, i64)> {
        let top = super::top("top_k", state, ColumnType::String, k).unwrap();
        top.into_iter().map(|(value, count)| (u32::from_be_bytes(value.try_into().unwrap()), count)).collect()
    }

    /// Four bytes of text for a number below 2^16.
    fn text_of(number: u32) -> u32 {
        let digit = |shift: u32| 0x30 + (number >> shift & 0xf);
        digit(12) << 24 | digit(8) << 16 | digit(4) << 8 | digit(0)
    }

    /// The event at `at`, where the share of the value of rank v falls as 1 / v.
    fn skewed(at: u64, values: f64) -> Event {
        let uniform = (xxh3_64(&at.to_le_bytes()) >> 11) as f64 / (1_u64 << 53) as f64;
        (text_of(values.powf(uniform) as u32), at as i64)
    }

    fn exact(events: &[Event]) -> BTreeMap<u32, i64> {
        let mut counts = BTreeMap::new();
        events.iter().for_each(|&(value, _)| *counts.entry(value).or_default() += 1);
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// From values that all fit, over just as many as do, to many more.
        #[test]
        fn l1_any_split_and_order_gives_the_same_bytes(
            values in prop::sample::select(vec![100.0, 900.0, 3_000.0, 20_000.0]),
            ends in prop::collection::vec(0..6_000_usize, 0..4),
            turns in 0..6_000_usize,
        ) {
            let mut events: Vec<Event> = (0..6_000).map(|at| skewed(at, values)).collect();
            let whole = state_of(&events);
            events.rotate_left(turns);
            events.reverse();
            let mut ends = ends;
            ends.extend([0, events.len()]);
            ends.sort_unstable();
            let parts: Vec<Vec<u8>> = ends.windows(2).map(|ends| state_of(&events[ends[0]..ends[1]])).collect();
            prop_assert_eq!(&merged(&parts), &whole);
            prop_assert_eq!(&merged(parts.iter().rev()), &whole);
            let halves = parts.split_at(parts.len() / 2);
            let (left, right) = (merged(halves.0), merged(halves.1));
            prop_assert_eq!(&merged([&right, &left]), &whole);
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        for values in [2.0, 10.0, 1_000.0] {
            let events: Vec<Event> = (0..20_000).map(|at| skewed(at, values)).collect();
            let mut expected: Vec<(u32, i64)> = exact(&events).into_iter().collect();
            expected.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
            expected.truncate(100);
            assert_eq!(top(&state_of(&events), 100), expected);
        }
    }

    #[test]
    fn the_frequent_of_many_values_are_found_within_the_bound() {
        for n in [3_000, 200_000] {
            let events: Vec<Event> = (0..n).map(|at| skewed(at, 60_000.0)).collect();
            let exact = exact(&events);
            assert!(exact.len() > VALUES_MAX);
            let top = top(&state_of(&events), 100);
            let found: BTreeMap<u32, i64> = top.iter().copied().collect();
            let bound = ERROR_OF_TOTAL * n as f64;
            let over = top.iter().filter(|(value, count)| (count - exact[value]) as f64 > bound).count();
            assert!(over <= 2, "{over} of 100 are over the bound");
            assert!(top.iter().all(|(value, count)| *count >= exact[value]));
            // Of a share of 1 % one in 29,000 is missed; there are some ten here.
            assert!(
                exact.iter().filter(|&(_, &count)| count >= n as i64 / 100).all(|(value, _)| found.contains_key(value))
            );
        }
    }

    #[test]
    fn of_values_that_all_occur_once_any_are_right() {
        let events: Vec<Event> = (0..9_000).map(|at| (text_of(at), i64::from(at))).collect();
        let top = top(&state_of(&events), 10);
        assert_eq!(top.len(), 10);
        let bound = (ERROR_OF_TOTAL * 9_000.0) as i64;
        assert!(top.iter().all(|&(_, count)| (1..=3 * bound).contains(&count)), "{top:?}");
    }

    #[test]
    fn a_count_past_64_bits_is_an_error() {
        let full = [&[EXACT, 1][..], &[0xff; 9], &[1], &[0; 8], b"a"].concat();
        let state = Encoded::read(&full, ColumnType::String).unwrap();
        assert_eq!(state.counts().next(), Some((b"a".as_slice(), u64::MAX)));
        let mut counts = Counts::default();
        assert!(counts.merge(&state).is_ok());
        assert!(counts.merge(&state).is_err());
        assert!(matches!(super::top("top_k", &full, ColumnType::String, 1), Err(Error::Overflow { .. })));
    }

    #[test]
    fn nothing_has_no_top() {
        assert_eq!(top(&[], 10), []);
        assert!(state_of(&[]).is_empty());
    }
}
