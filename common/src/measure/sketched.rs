//! Sketches as the state of each group: encoded as long as nothing is added to them, counted in bytes, canonical when taken.
//!
//! Most groups get one state when partials are merged. Those are neither decoded nor encoded again. And what is added waits
//! until there is much of it, and is sorted by group first: then a sketch is in the cache while all of its own is added. Events
//! come in about the order of their times: so a sketch that got none of what was added for a while is likely to get no more, and is
//! encoded, which is far less than what it is folded in.

use std::{fmt::Debug, mem};

use arrow::{array::ArrayRef, buffer::NullBuffer};

use super::{Error, by_group::ByGroup, bytes::ByteColumn, distinct::sketches, encoded::EncodedStates, rows::Rows};

/// Items of each group that is open that wait before they are added: lists that get a few at a time grow often. Within bounds, for
/// there may be a table for each of many shards, and many groups.
const WAITING_PER_GROUP: usize = 32;

/// Bytes of items that wait in any case, before they are added.
const WAITING_BYTES_MIN: usize = if cfg!(test) { 512 } else { 1 << 18 };

/// Bytes of items that need not wait for [`WAITING_PER_GROUP`].
const WAITING_BYTES_MAX: usize = if cfg!(test) { 1024 } else { 1 << 20 };

/// Items wait until they are this part of what the sketches hold that got some the last time, if that is more: where these are many,
/// each is out of the caches when its own come.
const WAITING_PART: usize = 4;

/// Rounds of items after which a sketch that got none of them is encoded. Of few rounds, many sketches of few values get none by chance.
const RESTING_ROUNDS: u32 = 4;

/// A kind of sketch. Its default is that of no values.
pub(super) trait Sketch: Debug + Default + Send + Sync + 'static {
    /// What all sketches of one state have in common.
    type Settings: Debug + Send + Sync;
    /// All that a sketch needs to know of a value.
    type Item: Copy + Default + Debug + Send + Sync;

    /// Adds values.
    fn extend(&mut self, items: &[Self::Item], settings: &Self::Settings) -> Result<(), Error>;

    /// Checks that `bytes` are an encoding of a sketch.
    fn check(bytes: &[u8], settings: &Self::Settings) -> Result<(), Error>;

    /// Merges an encoded sketch. Nothing need be right after an error.
    fn merge(&mut self, bytes: &[u8], settings: &Self::Settings) -> Result<(), Error>;

    /// Merges a sketch.
    fn absorb(&mut self, other: Self, settings: &Self::Settings) -> Result<(), Error>;

    /// Appends the encoding; nothing of no values.
    fn encode(self, settings: &Self::Settings, bytes: &mut Vec<u8>);

    /// Bytes held outside the sketch itself.
    fn heap_bytes(&self) -> usize;
}

/// The sketch of one group.
#[derive(Debug)]
enum Held<S> {
    Encoded(Box<[u8]>),
    Open(S),
}

impl<S: Sketch> Default for Held<S> {
    fn default() -> Self {
        Self::Open(S::default())
    }
}

impl<S: Sketch> Held<S> {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Encoded(bytes) => bytes.len(),
            Self::Open(sketch) => sketch.heap_bytes(),
        }
    }

    /// The same, encoded; by way of `bytes`, which may have any.
    fn encoded(self, settings: &S::Settings, bytes: &mut Vec<u8>) -> Self {
        match self {
            Self::Open(sketch) if sketch.heap_bytes() > 0 => {
                bytes.clear();
                sketch.encode(settings, bytes);
                Self::Encoded(bytes.as_slice().into())
            }
            same => same,
        }
    }

    /// Does something with the sketch; by how many bytes it has grown.
    fn change(
        &mut self,
        settings: &S::Settings,
        change: impl FnOnce(&mut S) -> Result<(), Error>,
    ) -> Result<isize, Error> {
        let before = self.heap_bytes();
        let sketch = match self {
            Self::Open(sketch) => sketch,
            encoded @ Self::Encoded(_) => open(encoded, settings),
        };
        change(sketch)?;
        Ok(sketch.heap_bytes().wrapping_sub(before) as isize)
    }
}

/// The sketches of all groups.
#[derive(Debug)]
pub(super) struct Sketches<S: Sketch> {
    name: String,
    settings: S::Settings,
    held: Vec<Held<S>>,
    /// Items that are not added yet, with their groups.
    waiting: Vec<(u32, S::Item)>,
    by_group: ByGroup,
    /// How often items were added.
    rounds: u32,
    /// Of each group the last round that it got items in, or 0 if it got none since it was encoded.
    last_round: Vec<u32>,
    /// The groups of which that is not 0.
    open: Vec<u32>,
    /// Bytes that the sketches hold outside themselves.
    heap_bytes: usize,
    /// Those of them that are held by groups that got items in the last round.
    recent_bytes: usize,
}

impl<S: Sketch> Sketches<S> {
    pub(super) fn new(name: String, settings: S::Settings) -> Self {
        let (held, waiting, by_group) = (Vec::new(), Vec::new(), ByGroup::default());
        let (last_round, open) = (Vec::new(), Vec::new());
        Self { name, settings, held, waiting, by_group, rounds: 0, last_round, open, heap_bytes: 0, recent_bytes: 0 }
    }

    pub(super) fn settings(&self) -> &S::Settings {
        &self.settings
    }

    /// Adds `item(row)` of each row to its group.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        item: impl Fn(usize) -> S::Item,
    ) -> Result<(), Error> {
        self.held.resize_with(groups, Held::default);
        match rows.dense(nulls) {
            Some((first, groups)) => {
                let rows = first..first + groups.len();
                self.waiting.extend(groups.iter().zip(rows).map(|(&group, row)| (group, item(row))));
            }
            None => {
                self.waiting.reserve(rows.len());
                let waiting = &mut self.waiting;
                rows.for_each(nulls, |row, group| waiting.push((group as u32, item(row))));
            }
        }
        let of_open = self.open.len() * size_of::<(u32, S::Item)>();
        let enough = (of_open * WAITING_PER_GROUP).clamp(WAITING_BYTES_MIN, WAITING_BYTES_MAX);
        // At least one for each that is open, or some would rest that are only waiting for their next.
        let enough = enough.max(self.recent_bytes / WAITING_PART).max(of_open);
        if size_of_val(&self.waiting[..]) >= enough { self.settle() } else { Ok(()) }
    }

    /// Adds what waits.
    fn settle(&mut self) -> Result<(), Error> {
        let waiting = mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let sorted = self.by_group.sort(&waiting, self.held.len());
        (self.rounds, self.recent_bytes) = (self.rounds + 1, 0);
        self.last_round.resize(self.held.len(), 0);
        let mut start = 0;
        for (group, end) in sorted.groups {
            let (items, held) = (&sorted.items[start..end as usize], &mut self.held[group as usize]);
            start = end as usize;
            let grown = held.change(&self.settings, |sketch| sketch.extend(items, &self.settings))?;
            self.heap_bytes = self.heap_bytes.wrapping_add_signed(grown);
            self.recent_bytes += held.heap_bytes();
            if mem::replace(&mut self.last_round[group as usize], self.rounds) == 0 {
                self.open.push(group);
            }
        }
        if self.rounds.is_multiple_of(RESTING_ROUNDS) {
            self.encode_resting();
        }
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }

    /// Encodes those that got nothing for some rounds.
    fn encode_resting(&mut self) {
        let Self { settings, held, rounds, last_round, open, heap_bytes, .. } = self;
        let mut encoded = Vec::new();
        open.retain(|&group| {
            let last = &mut last_round[group as usize];
            if *rounds - *last < RESTING_ROUNDS {
                return true;
            }
            let held = &mut held[group as usize];
            *heap_bytes -= held.heap_bytes();
            *held = mem::take(held).encoded(settings, &mut encoded);
            *heap_bytes += held.heap_bytes();
            *last = 0;
            false
        });
    }

    /// Merges the sketches of `from` into the groups of `rows`, which are its groups.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut Self) -> Result<(), Error> {
        from.settle()?;
        self.held.resize_with(groups, Held::default);
        let mut result = Ok(());
        let mut encoded = Vec::new();
        rows.for_each(None, |row, group| {
            let theirs = mem::take(&mut from.held[row]);
            let bytes = theirs.heap_bytes();
            from.heap_bytes -= bytes;
            let merged = match theirs {
                // Nothing is held where there is nothing yet. Most groups never get more: so they are kept as they will be written,
                // which is far less than what they are folded in.
                theirs if self.held[group].heap_bytes() == 0 => {
                    self.held[group] = theirs.encoded(&self.settings, &mut encoded);
                    self.heap_bytes += self.held[group].heap_bytes();
                    Ok(())
                }
                Held::Encoded(bytes) => self.merge_one(group, &bytes),
                Held::Open(theirs) => {
                    self.held[group].change(&self.settings, |ours| ours.absorb(theirs, &self.settings)).map(|grown| {
                        self.heap_bytes = self.heap_bytes.wrapping_add_signed(grown);
                    })
                }
            };
            if merged.is_err() {
                result = merged;
            }
        });
        result
    }

    /// Merges a column of encoded sketches.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::Null`], [`Error::Corrupt`], [`Error::Overflow`].
    pub(super) fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sketches(&self.name, states)?;
        let new = self.held.len();
        self.held.resize_with(groups, Held::default);
        let mut fresh = vec![true; groups - new];
        let mut result = Ok(());
        rows.for_each(None, |row, group| {
            let bytes = states.value(row);
            // Only a group that is new in this very merge is known to have nothing yet.
            let first = group >= new && mem::take(&mut fresh[group - new]);
            let merged = if first { self.keep(group, bytes) } else { self.merge_one(group, bytes) };
            if merged.is_err() {
                result = merged;
            }
        });
        result
    }

    fn keep(&mut self, group: usize, bytes: &[u8]) -> Result<(), Error> {
        S::check(bytes, &self.settings)?;
        if !bytes.is_empty() {
            self.heap_bytes += bytes.len();
            self.held[group] = Held::Encoded(bytes.into());
        }
        Ok(())
    }

    fn merge_one(&mut self, group: usize, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let grown = self.held[group].change(&self.settings, |sketch| sketch.merge(bytes, &self.settings))?;
        self.heap_bytes = self.heap_bytes.wrapping_add_signed(grown);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let waiting = self.waiting.capacity() * size_of::<(u32, S::Item)>();
        let rounds = (self.last_round.capacity() + self.open.capacity()) * size_of::<u32>();
        self.held.capacity() * size_of::<Held<S>>() + self.heap_bytes + waiting + self.by_group.bytes() + rounds
    }

    /// Takes the sketches of all groups, encoded, where they are.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn take_encoded(&mut self) -> Result<EncodedStates, Error> {
        self.settle()?;
        let (held, mut encoded) = (mem::take(&mut self.held), Vec::new());
        let states = held.into_iter().map(|held| match held.encoded(&self.settings, &mut encoded) {
            Held::Encoded(state) => state,
            Held::Open(_) => Box::default(),
        });
        let states = EncodedStates::new(self.name.clone(), states.collect());
        self.forget();
        Ok(states)
    }

    pub(super) fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        self.settle()?;
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            match mem::take(&mut self.held[group as usize]) {
                Held::Encoded(encoded) => column.push(|bytes| bytes.extend_from_slice(&encoded))?,
                Held::Open(sketch) => column.push(|bytes| sketch.encode(&self.settings, bytes))?,
            }
        }
        let column = column.finish().into_binary();
        self.forget();
        column
    }

    /// Forgets the groups, of which all was taken.
    fn forget(&mut self) {
        self.held.clear();
        self.last_round.clear();
        self.open.clear();
        (self.heap_bytes, self.recent_bytes) = (0, 0);
    }
}

#[cold]
fn open<'a, S: Sketch>(held: &'a mut Held<S>, settings: &S::Settings) -> &'a mut S {
    if let Held::Encoded(bytes) = held {
        let mut sketch = S::default();
        sketch.merge(bytes, settings).expect("its bytes were checked when they came");
        *held = Held::Open(sketch);
    }
    match held {
        Held::Open(sketch) => sketch,
        Held::Encoded(_) => unreachable!("it was just opened"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::measure::hyperloglog::{Registers, coupon};

    #[test]
    fn a_sketch_that_gets_nothing_for_a_while_is_encoded_and_goes_on_from_there() {
        let precision = 12;
        let coupons = |of: std::ops::Range<u64>| of.map(|n| coupon([n * 77, n << 40])).collect::<Vec<_>>();
        // A batch of a group, which is enough for it to be added at once.
        let add = |sketches: &mut Sketches<Registers>, group: u32, items: &[u32]| {
            assert!(size_of_val(items) * 2 >= WAITING_BYTES_MIN);
            sketches.add(2, Rows::all(&vec![group; items.len()]), None, |row| items[row]).unwrap();
        };
        let mut sketches = Sketches::new("users".to_owned(), precision);
        let is_encoded = |sketches: &Sketches<Registers>| -> Vec<bool> {
            sketches.held.iter().map(|held| matches!(held, Held::Encoded(_))).collect()
        };
        let [a, b, c] = [coupons(0..100), coupons(50..150), coupons(200..300)];
        let mut seen: Vec<Vec<bool>> = Vec::new();
        // Eight rounds: the first group rests after the first, the second one after the fourth.
        for (group, items) in [(0, &a), (1, &b), (1, &c), (1, &a), (0, &c), (0, &b), (0, &c), (0, &a)] {
            add(&mut sketches, group, items);
            let held: usize = sketches.held.iter().map(Held::heap_bytes).sum();
            assert_eq!(sketches.heap_bytes, held);
            seen.push(is_encoded(&sketches));
        }
        assert_eq!(seen.iter().map(|seen| seen[0]).collect::<Vec<_>>(), [false; 8]);
        assert_eq!(seen.iter().map(|seen| seen[1]).collect::<Vec<_>>(), [[false; 7].as_slice(), &[true]].concat());
        for round in 0..4 {
            add(&mut sketches, 1, &c);
            assert_eq!(is_encoded(&sketches), [round == 3, false]);
        }
        add(&mut sketches, 0, &a);

        let mut once = Sketches::new("users".to_owned(), precision);
        add(&mut once, 1, &[&a[..], &b, &c].concat());
        add(&mut once, 0, &[a, b, c].concat());
        assert_eq!(&sketches.take(&[0, 1]).unwrap(), &once.take(&[0, 1]).unwrap());
    }
}
