//! Where each group's number is found by its key: addressed by the key itself where keys are few, by a hash of it where not.

/// Keys of at most this many bits may be addressed directly: 4 MiB of slots.
const DENSE_BITS_MAX: u32 = 20;

/// A directly addressed index has at most this many slots a group, so that tables of few groups stay small.
const DENSE_SLOTS_PER_GROUP: u64 = 64;

/// Keys whose memory is brought to the cache before they are looked up.
const AHEAD: usize = 32;

/// The bits of the least index.
const BITS_MIN: u32 = 10;

/// The numbers of groups by their keys, which the caller keeps: `keys[number]`, at most 2^32 - 2 of them.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of them: a group's number plus one, or 0.
    slots: Vec<u32>,
    dense: bool,
}

impl Index {
    /// Appends the number of each of `rows` to `groups`. Keys that are new are appended to `keys`. No key has more than
    /// `bits` bits, now or before.
    pub(super) fn find(&mut self, rows: &[u64], bits: u32, keys: &mut Vec<u64>, groups: &mut Vec<u32>) {
        let affordable = 1 << bits.min(63) <= DENSE_SLOTS_PER_GROUP * (keys.len() as u64).max(1 << 6);
        let dense = bits <= DENSE_BITS_MAX && affordable;
        if dense != self.dense || (dense && self.slots.len() != 1 << bits) || self.slots.is_empty() {
            self.dense = dense;
            self.rebuild(if dense { bits } else { self.bits_for(keys.len()) }, keys);
        }
        groups.reserve(rows.len());
        if dense {
            self.find_dense(rows, keys, groups);
        } else {
            self.find_hashed(rows, keys, groups);
        }
    }

    fn find_dense(&mut self, rows: &[u64], keys: &mut Vec<u64>, groups: &mut Vec<u32>) {
        let slots = &mut self.slots[..];
        groups.extend(rows.iter().map(|&key| {
            let slot = &mut slots[key as usize];
            if *slot == 0 {
                keys.push(key);
                *slot = keys.len() as u32;
            }
            *slot - 1
        }));
    }

    fn find_hashed(&mut self, rows: &[u64], keys: &mut Vec<u64>, groups: &mut Vec<u32>) {
        for rows in rows.chunks(AHEAD) {
            // What is read here is not used but for the cache: these reads do not wait for each other, as those below do.
            let mut first = [0; AHEAD];
            for (slot, &key) in first.iter_mut().zip(rows) {
                *slot = self.slots[self.home(key)];
            }
            let touched = first
                .iter()
                .fold(0, |touched, &slot| touched ^ keys.get((slot as usize).wrapping_sub(1)).copied().unwrap_or(0));
            std::hint::black_box(touched);
            groups.extend(rows.iter().map(|&key| self.number(key, keys)));
        }
    }

    #[inline(always)]
    fn number(&mut self, key: u64, keys: &mut Vec<u64>) -> u32 {
        let mut at = self.home(key);
        loop {
            match self.slots[at] {
                0 => return self.insert(at, key, keys),
                slot if keys[slot as usize - 1] == key => return slot - 1,
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Puts a new key in an empty slot.
    #[cold]
    fn insert(&mut self, at: usize, key: u64, keys: &mut Vec<u64>) -> u32 {
        keys.push(key);
        self.slots[at] = keys.len() as u32;
        // Half full at most: nearly every key is found where it is looked for first.
        if keys.len() * 2 > self.slots.len() {
            self.rebuild(self.bits_for(keys.len()), keys);
        }
        keys.len() as u32 - 1
    }

    fn bits_for(&self, groups: usize) -> u32 {
        (groups.max(1).ilog2() + 2).max(BITS_MIN)
    }

    fn rebuild(&mut self, bits: u32, keys: &[u64]) {
        self.slots.clear();
        self.slots.resize(1 << bits, 0);
        for (group, &key) in (1..).zip(keys) {
            let mut at = self.home(key);
            while self.slots[at] != 0 {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = group;
        }
    }

    /// Where a key is looked for first.
    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        if self.dense { key as usize } else { (mix(key) >> (64 - self.slots.len().ilog2())) as usize }
    }

    /// Forgets all keys, which are `keys`.
    pub(super) fn clear(&mut self, keys: &[u64]) {
        if self.dense && keys.len() < self.slots.len() / 8 {
            keys.iter().for_each(|&key| self.slots[key as usize] = 0);
        } else {
            // The next use makes it anew, as large as it needs.
            self.slots = Vec::new();
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
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
            let (mut index, mut keys, mut groups) = (Index::default(), Vec::new(), Vec::new());
            let mut expected: HashMap<u64, u32> = HashMap::new();
            for rows in batches {
                groups.clear();
                index.find(&rows, bits, &mut keys, &mut groups);
                for (key, group) in rows.iter().zip(&groups) {
                    let next = expected.len() as u32;
                    prop_assert_eq!(expected.entry(*key).or_insert(next), group);
                    prop_assert_eq!(keys[*group as usize], *key);
                }
                if clears {
                    index.clear(&keys);
                    keys.clear();
                    expected.clear();
                }
            }
        }
    }
}
