//! Where each group's number is found by its key: addressed by the key itself where keys are close together, by a hash of it where
//! not.

use crate::measure::records::Records;

/// Keys of at most this many bits may be addressed directly: 1 MiB of page numbers.
const PAGED_BITS_MAX: u32 = 30;

/// The low bits of a key, at most, which say where in its page it is. The first bits of a key are its bucket's: so the pages at hand
/// are few.
const PAGE_BITS_MAX: u32 = 12;

/// Pages have at most this many slots a group.
const PAGED_SLOTS_PER_GROUP: usize = 16;

/// Where there are fewer groups than this, a page would be more than they are worth, unless all keys that there can be are few.
const PAGED_GROUPS_MIN: usize = if cfg!(test) { 1 << 6 } else { 1 << 12 };

/// Slots a group for which all keys that there can be are few.
const WHOLE_SLOTS_PER_GROUP: u64 = 64;

/// Keys whose memory is on its way to the cache while others are looked up.
const AHEAD: usize = 32;

/// Lines of the least segment.
const LINES_MIN: usize = 2;

/// First bits of a key that say in which segment it is.
const SEGMENT_BITS: u32 = 6;

/// The numbers of groups by their keys, which are in the records that the caller keeps, at most 2^32 - 2 of them.
#[derive(Debug)]
pub(super) enum Index {
    Paged(Paged),
    Hashed(Hashed),
}

/// Slots addressed by the key itself, in pages that are made as keys come.
#[derive(Debug, Default)]
pub(super) struct Paged {
    /// The bits of a key.
    bits: u32,
    /// Those of them that say where in its page it is.
    page_bits: u32,
    /// By the first bits of a key, the number of its page plus one, or 0.
    pages: Vec<u32>,
    /// The slots of each page: a group's number plus one, or 0.
    slots: Vec<u32>,
}

/// A hash table of each stretch of the keys' range. The first bits of a key are its bucket's, and most rows of a time are of a
/// few buckets: so what is looked up is close together in memory, however many groups there are.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    /// The bits of a key.
    bits: u32,
    segments: Vec<Segment>,
    /// The bits of a key that are not its segment's.
    shift: u32,
    /// How many groups there are to be when it is asked whether pages are better.
    look_at: usize,
}

#[derive(Debug, Default)]
struct Segment {
    /// At most three quarters of their slots are taken.
    lines: Vec<Line>,
    taken: usize,
}

/// What a search in a segment ends at.
enum Search {
    Found(u32),
    /// A line, and a slot in it.
    Free(usize, usize),
}

/// Slots of a line.
const SLOTS: usize = 8;

/// A line of the cache, which is looked through at once. Its slots are taken from the first on. Tags are a part of the hash of a
/// group's key: so another's key is looked at seldom, and none when a table grows: they are elsewhere in memory.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Line {
    /// 0 where a slot is free.
    tags: [u32; SLOTS],
    /// The groups' numbers plus one.
    groups: [u32; SLOTS],
}

impl Default for Index {
    fn default() -> Self {
        Self::Paged(Paged::default())
    }
}

impl Index {
    /// Appends the number of each of `rows` to `groups`. Keys that are new are appended to `records`. No key has more than
    /// `bits` bits, now or before.
    pub(super) fn find(&mut self, rows: &[u64], bits: u32, records: &mut Records, groups: &mut Vec<u32>) {
        groups.reserve(rows.len());
        self.fit(bits, records);
        let mut rows = rows;
        if let Self::Paged(paged) = self {
            rows = &rows[paged.find(rows, records, groups)..];
            if rows.is_empty() {
                return;
            }
            *self = Self::Hashed(Hashed::new(bits, records));
        }
        if let Self::Hashed(hashed) = self {
            hashed.find(rows, records, groups);
        }
    }

    /// Becomes one of keys of `bits` bits, those of `records`, and of pages if that pays.
    fn fit(&mut self, bits: u32, records: &Records) {
        match self {
            Self::Paged(paged) if paged.bits == bits && !paged.pages.is_empty() => return,
            Self::Hashed(hashed) if hashed.bits == bits && records.len() < hashed.look_at => return,
            _ => {}
        }
        let few = 1 << bits.min(63) <= WHOLE_SLOTS_PER_GROUP * (records.len() as u64).max(1 << 6);
        let pays = few || records.len() >= PAGED_GROUPS_MIN;
        let paged = if pays { Paged::new(bits, records) } else { None };
        *self = paged.map_or_else(|| Self::Hashed(Hashed::new(bits, records)), Self::Paged);
    }

    /// Forgets all keys, which are those of `records`.
    pub(super) fn clear(&mut self, records: &Records) {
        match self {
            Self::Paged(paged) if records.len() < paged.slots.len() / 8 => {
                for key in records.keys() {
                    paged.slot(key, records.len()).into_iter().for_each(|slot| *slot = 0);
                }
            }
            // The next use makes it anew, as large as it needs.
            _ => *self = Self::default(),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Paged(paged) => (paged.pages.capacity() + paged.slots.capacity()) * size_of::<u32>(),
            Self::Hashed(hashed) => {
                let lines: usize = hashed.segments.iter().map(|segment| segment.lines.capacity()).sum();
                lines * size_of::<Line>() + hashed.segments.capacity() * size_of::<Segment>()
            }
        }
    }
}

impl Paged {
    /// An index of the keys of `records`; `None` if they are too far from each other.
    fn new(bits: u32, records: &Records) -> Option<Self> {
        if bits > PAGED_BITS_MAX {
            return None;
        }
        let page_bits = bits.min(PAGE_BITS_MAX);
        let mut paged = Self { bits, page_bits, pages: vec![0; 1 << (bits - page_bits)], slots: Vec::new() };
        for (group, key) in (1..).zip(records.keys()) {
            *paged.slot(key, records.len())? = group;
        }
        Some(paged)
    }

    /// Finds the rows, up to one for which there would be too many pages. How many that are.
    fn find(&mut self, rows: &[u64], records: &mut Records, groups: &mut Vec<u32>) -> usize {
        let before = groups.len();
        groups.resize(before + rows.len(), 0);
        for (found, (group, &key)) in groups[before..].iter_mut().zip(rows).enumerate() {
            let Some(slot) = self.slot(key, records.len()) else {
                groups.truncate(before + found);
                return found;
            };
            if *slot == 0 {
                records.push(key);
                *slot = records.len() as u32;
            }
            *group = *slot - 1;
        }
        rows.len()
    }

    /// The slot of a key; `None` if it is not in one of the pages, and there are many for so few groups.
    #[inline(always)]
    fn slot(&mut self, key: u64, groups: usize) -> Option<&mut u32> {
        let page = &mut self.pages[(key >> self.page_bits) as usize];
        if *page == 0 {
            *page = add_page(&mut self.slots, self.page_bits, groups)?;
        }
        let within = key as usize & ((1 << self.page_bits) - 1);
        self.slots.get_mut((*page as usize - 1) << self.page_bits | within)
    }
}

/// Adds a page. How many there are then; `None` if they are many for so few groups.
#[cold]
fn add_page(slots: &mut Vec<u32>, page_bits: u32, groups: usize) -> Option<u32> {
    if slots.len() >= PAGED_SLOTS_PER_GROUP * groups.max(PAGED_GROUPS_MIN) {
        return None;
    }
    slots.resize(slots.len() + (1 << page_bits), 0);
    Some((slots.len() >> page_bits) as u32)
}

impl Hashed {
    fn new(bits: u32, records: &Records) -> Self {
        let look_at = if bits > PAGED_BITS_MAX { usize::MAX } else { PAGED_GROUPS_MIN.max(records.len() * 4) };
        let shift = bits.saturating_sub(SEGMENT_BITS);
        let mut hashed = Self { bits, segments: Vec::new(), shift, look_at };
        hashed.segments.resize_with(1 << SEGMENT_BITS, Segment::default);
        for (group, key) in (1..).zip(records.keys()) {
            let segment = hashed.segment(key);
            if segment.is_full() {
                segment.grow();
            }
            segment.put(tag(key), group);
        }
        hashed
    }

    #[inline(always)]
    fn segment(&mut self, key: u64) -> &mut Segment {
        &mut self.segments[key.unbounded_shr(self.shift) as usize]
    }

    fn find(&mut self, rows: &[u64], records: &mut Records, groups: &mut Vec<u32>) {
        let (mut tags, mut likely) = ([0; AHEAD], [0; AHEAD]);
        for rows in rows.chunks(AHEAD) {
            // These reads do not wait for each other.
            for ((likely, at), &key) in likely.iter_mut().zip(&mut tags).zip(rows) {
                *at = tag(key);
                *likely = self.segment(key).likely(*at);
            }
            // What is read here is not used but for the cache.
            let key_of = |&group: &u32| records.get((group as usize).wrapping_sub(1)).unwrap_or(0);
            std::hint::black_box(likely.iter().map(key_of).fold(0, |touched, key| touched ^ key));
            groups.extend(rows.iter().zip(tags).zip(likely).map(|((&key, tag), likely)| {
                let group = likely.wrapping_sub(1);
                if records.get(group as usize) == Some(key) { group } else { self.number(key, tag, records) }
            }));
        }
    }

    /// The number of a key, new or not.
    fn number(&mut self, key: u64, tag: u32, records: &mut Records) -> u32 {
        let segment = self.segment(key);
        let free = match segment.free(tag) {
            Some(free) => free,
            None => match segment.search(tag, |group| records.key(group as usize) == key) {
                Search::Found(group) => return group,
                Search::Free(at, slot) => (at, slot),
            },
        };
        records.push(key);
        let group = records.len() as u32;
        if segment.is_full() {
            segment.grow();
            segment.put(tag, group);
        } else {
            segment.set(free, tag, group);
        }
        group - 1
    }
}

// Without a branch: all slots are compared at once.
impl Line {
    /// The number plus one of the group that has this tag; 0 if there is none. Two of the same tag make nonsense.
    #[inline(always)]
    fn likely(&self, tag: u32) -> u32 {
        let number = |(&of, &group): (&u32, &u32)| if of == tag { group } else { 0 };
        self.tags.iter().zip(&self.groups).map(number).fold(0, |found, group| found | group)
    }

    /// How many slots are taken.
    #[inline(always)]
    fn taken(&self) -> usize {
        self.tags.iter().map(|&tag| u32::from(tag != 0)).sum::<u32>() as usize
    }
}

impl Segment {
    /// The number plus one of the group that has this tag in the line where it is looked for first; 0 if there is none.
    #[inline(always)]
    fn likely(&self, tag: u32) -> u32 {
        self.lines.get(home(tag, self.lines.len())).map_or(0, |line| line.likely(tag))
    }

    /// The slot for this tag in the line where it is looked for first, if no group there has it and there is room: then it is new.
    #[inline(always)]
    fn free(&self, tag: u32) -> Option<(usize, usize)> {
        let at = home(tag, self.lines.len());
        let line = self.lines.get(at)?;
        let taken = line.taken();
        (taken < SLOTS && line.likely(tag) == 0).then_some((at, taken))
    }

    /// The group with this tag that is the one, or where it would be.
    fn search(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Search {
        let mut at = home(tag, self.lines.len());
        while let Some(line) = self.lines.get(at) {
            for (slot, (&of, &group)) in line.tags.iter().zip(&line.groups).enumerate() {
                if of == 0 {
                    return Search::Free(at, slot);
                }
                if of == tag && is_it(group - 1) {
                    return Search::Found(group - 1);
                }
            }
            at = self.after(at);
        }
        // There are no lines yet.
        Search::Free(0, 0)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.lines.len() { 0 } else { at + 1 }
    }

    /// Whether there is no room for one more.
    #[inline(always)]
    fn is_full(&self) -> bool {
        (self.taken + 1) * 4 > self.lines.len() * SLOTS * 3
    }

    #[cold]
    fn grow(&mut self) {
        let lines = vec![Line::default(); (self.lines.len() * 2).max(LINES_MIN)];
        self.taken = 0;
        for line in std::mem::replace(&mut self.lines, lines) {
            let taken = line.tags.into_iter().zip(line.groups).take_while(|(tag, _)| *tag != 0);
            taken.for_each(|(tag, group)| self.put(tag, group));
        }
    }

    /// Puts the number plus one of a group in the first free slot from where it is looked for.
    #[inline(always)]
    fn put(&mut self, tag: u32, group: u32) {
        let mut at = home(tag, self.lines.len());
        let free = loop {
            match self.lines[at].taken() {
                SLOTS => at = self.after(at),
                free => break free,
            }
        };
        self.set((at, free), tag, group);
    }

    /// Puts the number plus one of a group in a slot of a line.
    #[inline(always)]
    fn set(&mut self, (at, slot): (usize, usize), tag: u32, group: u32) {
        let line = &mut self.lines[at];
        (line.tags[slot], line.groups[slot]) = (tag, group);
        self.taken += 1;
    }
}

/// The tag of a key: never 0.
#[inline(always)]
fn tag(key: u64) -> u32 {
    (mix(key) >> 32) as u32 | 1
}

/// The line of so many where a tag is looked for first.
#[inline(always)]
fn home(tag: u32, lines: usize) -> usize {
    ((u64::from(tag) * lines as u64) >> 32) as usize
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

    #[test]
    fn pages_are_given_up_in_the_middle_of_a_batch_where_they_are_too_many() {
        let (mut index, mut records) = (Index::default(), Records::default());
        let mut find = |keys: Vec<u64>| {
            let mut groups = Vec::new();
            index.find(&keys, 24, &mut records, &mut groups);
            (groups, matches!(index, Index::Paged(_)))
        };
        assert_eq!(find((0..300).collect()), ((0..300).collect(), false));
        assert_eq!(find((200..400).collect()), ((200..400).collect(), true));
        let far = (390..400).chain((1..50).map(|page| page << PAGE_BITS_MAX)).chain(0..10).collect();
        assert_eq!(find(far), ((390..449).chain(0..10).collect(), false));
    }

    proptest! {
        #[test]
        fn every_key_has_one_number(
            batches in prop::collection::vec(prop::collection::vec(0..5_000_u64, 0..3_000), 0..6),
            bits in 13..64_u32,
            far in any::<bool>(),
            clears in any::<bool>(),
        ) {
            let (mut index, mut records, mut groups) = (Index::default(), Records::default(), Vec::new());
            let mut expected: HashMap<u64, u32> = HashMap::new();
            for mut rows in batches {
                if far {
                    rows.iter_mut().for_each(|row| *row <<= bits - 13);
                }
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
