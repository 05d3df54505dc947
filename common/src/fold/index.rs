//! Where each group's number is found by its key: addressed by the key itself where keys are few, by a hash of it where not.

use crate::measure::records::Records;

/// Keys of at most this many bits may be addressed directly: 16 MiB of slots.
const DENSE_BITS_MAX: u32 = 22;

/// A directly addressed index has at most this many slots a group, so that tables of few groups stay small.
const DENSE_SLOTS_PER_GROUP: u64 = 64;

/// Keys whose memory is on its way to the cache while others are looked up.
const AHEAD: usize = 32;

/// Slots of the least segment.
const SLOTS_MIN: usize = 16;

/// First bits of a key that say in which segment it is.
const SEGMENT_BITS: u32 = 6;

/// The numbers of groups by their keys, which are in the records that the caller keeps, at most 2^32 - 2 of them.
#[derive(Debug)]
pub(super) enum Index {
    /// Addressed by the key itself: a group's number plus one, or 0.
    Dense(Vec<u32>),
    Hashed(Hashed),
}

/// A hash table of each stretch of the keys' range. The first bits of a key are its bucket's, and most rows of a time are of a
/// few buckets: so what is looked up is close together in memory, however many groups there are.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    segments: Vec<Segment>,
    /// The bits of a key that are not its segment's.
    shift: u32,
    /// Slots in all segments.
    slots: usize,
}

/// A part of the hash of a group's key, and below it the group's number plus one; or 0. So another's key is looked at seldom, and
/// none when a table grows: they are elsewhere in memory.
type Slot = u64;

#[derive(Debug, Default)]
struct Segment {
    /// A power of two of them, at most three quarters taken, or none.
    slots: Vec<Slot>,
    taken: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

impl Index {
    /// Appends the number of each of `rows` to `groups`. Keys that are new are appended to `records`. No key has more than
    /// `bits` bits, now or before.
    pub(super) fn find(&mut self, rows: &[u64], bits: u32, records: &mut Records, groups: &mut Vec<u32>) {
        let affordable = 1 << bits.min(63) <= DENSE_SLOTS_PER_GROUP * (records.len() as u64).max(1 << 6);
        let shift = bits.saturating_sub(SEGMENT_BITS);
        groups.reserve(rows.len());
        if bits <= DENSE_BITS_MAX && affordable {
            if !matches!(self, Self::Dense(slots) if slots.len() == 1 << bits) {
                *self = Self::Dense(dense(bits, records));
            }
        } else if !matches!(self, Self::Hashed(hashed) if hashed.shift == shift) {
            *self = Self::Hashed(Hashed::new(shift, records));
        }
        match self {
            Self::Dense(slots) => find_dense(slots, rows, records, groups),
            Self::Hashed(hashed) => hashed.find(rows, records, groups),
        }
    }

    /// Forgets all keys, which are those of `records`.
    pub(super) fn clear(&mut self, records: &Records) {
        match self {
            Self::Dense(slots) if records.len() < slots.len() / 8 => {
                records.keys().for_each(|key| slots[key as usize] = 0);
            }
            // The next use makes it anew, as large as it needs.
            _ => *self = Self::default(),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Dense(slots) => slots.capacity() * size_of::<u32>(),
            Self::Hashed(hashed) => {
                hashed.slots * size_of::<Slot>() + hashed.segments.capacity() * size_of::<Segment>()
            }
        }
    }
}

fn dense(bits: u32, records: &Records) -> Vec<u32> {
    let mut slots = vec![0; 1 << bits];
    for (group, key) in (1..).zip(records.keys()) {
        slots[key as usize] = group;
    }
    slots
}

fn find_dense(slots: &mut [u32], rows: &[u64], records: &mut Records, groups: &mut Vec<u32>) {
    groups.extend(rows.iter().map(|&key| {
        let slot = &mut slots[key as usize];
        if *slot == 0 {
            records.push(key);
            *slot = records.len() as u32;
        }
        *slot - 1
    }));
}

impl Hashed {
    fn new(shift: u32, records: &Records) -> Self {
        let mut hashed = Self { segments: Vec::new(), shift, slots: 0 };
        hashed.segments.resize_with(1 << SEGMENT_BITS, Segment::default);
        for (group, key) in (1..).zip(records.keys()) {
            let segment = hashed.segment(key);
            segment.make_room();
            segment.put(slot(mix(key), group));
        }
        hashed.slots = hashed.segments.iter().map(|segment| segment.slots.len()).sum();
        hashed
    }

    #[inline(always)]
    fn segment(&mut self, key: u64) -> &mut Segment {
        &mut self.segments[key.unbounded_shr(self.shift) as usize]
    }

    fn find(&mut self, rows: &[u64], records: &mut Records, groups: &mut Vec<u32>) {
        let mut hashes = [0; AHEAD];
        for rows in rows.chunks(AHEAD) {
            // What is read here is not used but for the cache: these reads do not wait for each other, as those below do.
            let mut slots = [0; AHEAD];
            for ((slot, hash), &key) in slots.iter_mut().zip(&mut hashes).zip(rows) {
                *hash = mix(key);
                *slot = self.segment(key).first(*hash);
            }
            let key_of = |&slot: &Slot| records.get((slot as u32 as usize).wrapping_sub(1)).unwrap_or(0);
            std::hint::black_box(slots.iter().map(key_of).fold(0, |touched, key| touched ^ key));
            groups.extend(rows.iter().zip(hashes).map(|(&key, hash)| self.number(key, hash, records)));
        }
    }

    #[inline(always)]
    fn number(&mut self, key: u64, hash: u64, records: &mut Records) -> u32 {
        let slots = &self.segment(key).slots[..];
        if !slots.is_empty() {
            let mut at = home(hash, slots.len());
            loop {
                match slots[at] {
                    0 => break,
                    slot if tag(slot) == tag(hash) && records.key(group(slot)) == key => return group(slot) as u32,
                    _ => at = (at + 1) & (slots.len() - 1),
                }
            }
        }
        self.insert(key, hash, records)
    }

    /// Gives a new key a number.
    fn insert(&mut self, key: u64, hash: u64, records: &mut Records) -> u32 {
        let segment = self.segment(key);
        let before = segment.slots.len();
        segment.make_room();
        let grown = segment.slots.len() - before;
        records.push(key);
        segment.put(slot(hash, records.len() as u32));
        self.slots += grown;
        records.len() as u32 - 1
    }
}

impl Segment {
    /// What is where a key with this hash is looked for first.
    #[inline(always)]
    fn first(&self, hash: u64) -> Slot {
        if self.slots.is_empty() { 0 } else { self.slots[home(hash, self.slots.len())] }
    }

    /// Makes room for one more.
    #[inline(always)]
    fn make_room(&mut self) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![0; (self.slots.len() * 2).max(SLOTS_MIN)];
        self.taken = 0;
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot > 0 {
                self.put(slot);
            }
        }
    }

    /// Puts a group in the first empty slot from where its key is looked for.
    #[inline(always)]
    fn put(&mut self, slot: Slot) {
        let mut at = home(slot, self.slots.len());
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
        self.taken += 1;
    }
}

/// The slot of a group, by the hash of its key and its number plus one.
#[inline(always)]
fn slot(hash: u64, group: u32) -> Slot {
    tag(hash) << 32 | u64::from(group)
}

/// What a slot has of a hash, its first bits.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    hash >> 32
}

/// The number of the group in a slot that is taken.
#[inline(always)]
fn group(slot: Slot) -> usize {
    slot as u32 as usize - 1
}

/// Where a key with this hash, or with this in its slot, is looked for first in `slots` slots: by the tag alone.
#[inline(always)]
fn home(hash: u64, slots: usize) -> usize {
    // At most 2^33 slots, of which half is 32 bits.
    ((tag(hash) * (slots as u64 / 2)) >> 31) as usize
}

/// Spreads a word over 64 bits.
#[inline(always)]
pub(super) fn mix(word: u64) -> u64 {
    // Folded multiplication, as in wyhash; the constants are its own.
    let product = u128::from(word ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_has_one_number(
            batches in prop::collection::vec(prop::collection::vec(0..5_000_u64, 0..3_000), 0..6),
            bits in 13..64_u32,
            clears in any::<bool>(),
        ) {
            let (mut index, mut records, mut groups) = (Index::default(), Records::default(), Vec::new());
            let mut expected: HashMap<u64, u32> = HashMap::new();
            for rows in batches {
                groups.clear();
                index.find(&rows, bits, &mut records, &mut groups);
                for (key, group) in rows.iter().zip(&groups) {
                    let next = expected.len() as u32;
                    prop_assert_eq!(expected.entry(*key).or_insert(next), group);
                    prop_assert_eq!(records.key(*group as usize), *key);
                }
                if clears {
                    index.clear(&records);
                    records.clear();
                    expected.clear();
                }
            }
        }
    }
}
