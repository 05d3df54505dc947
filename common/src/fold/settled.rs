//! Groups that nothing is brought to any more, and how those of many tables become one canonical partial: each is read once, from
//! where it was folded, in the order in which it will be written.

use std::{collections::BTreeMap, ops::Range, sync::OnceLock};

use arrow::{
    array::{Array, ArrayRef},
    compute::interleave,
    record_batch::RecordBatch,
};

use super::{keys::Keys, scatter::by_shard, spread::SHARDS};
use crate::{
    grain::Grain,
    measure::{
        Error,
        encoded::EncodedStates,
        records::{Place, Records},
        words::Words,
    },
    view::View,
};

/// The groups of a table. They stay where they are; states that are no words are encoded.
#[derive(Debug)]
pub struct Settled {
    pub(super) keys: Keys,
    pub(super) words: Words,
    /// All other states, each with its number, in the order of the groups.
    pub(super) columns: Vec<(usize, Column)>,
    pub(super) own: Own,
}

/// A state of all groups of a table, kept in one way in all tables of a view.
#[derive(Debug)]
pub(super) enum Column {
    Array(ArrayRef),
    Encoded(EncodedStates),
}

impl Column {
    fn bytes(&self) -> usize {
        match self {
            Self::Array(array) => array.get_array_memory_size(),
            Self::Encoded(encoded) => encoded.bytes(),
        }
    }

    /// The state of groups of several tables: the one at `places[i]`, in which of `columns`, in row `i`.
    fn gather(columns: &[&Self], places: &[Place]) -> Result<ArrayRef, Error> {
        let encoded: Option<Vec<&EncodedStates>> = columns.iter().map(|column| column.as_encoded()).collect();
        if let Some(encoded) = encoded {
            return EncodedStates::gather(&encoded, places);
        }
        let arrays: Vec<&dyn Array> = columns.iter().filter_map(|column| column.as_array()).collect();
        debug_assert_eq!(arrays.len(), columns.len());
        let places: Vec<_> = places.iter().map(|&(table, group)| (table as usize, group as usize)).collect();
        Ok(interleave(&arrays, &places)?)
    }

    fn as_encoded(&self) -> Option<&EncodedStates> {
        if let Self::Encoded(encoded) = self { Some(encoded) } else { None }
    }

    fn as_array(&self) -> Option<&dyn Array> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }
}

/// Which groups of a table are its own, and in which shards they are.
#[derive(Debug)]
pub(super) enum Own {
    /// All of them, and they are all in this shard.
    Shard(usize),
    /// All of them, in any shard.
    All,
    /// These, ascending, in any shard; another table has the others.
    Some(Vec<u32>),
}

/// The groups of a table in one interval of time.
#[derive(Debug)]
pub struct Interval {
    groups: Vec<u32>,
    /// The same by shard, since some shards of them were asked for.
    spread: OnceLock<Spread>,
}

/// Groups, those of each shard side by side, and where each shard's end.
#[derive(Debug)]
struct Spread {
    groups: Vec<u32>,
    ends: Vec<u32>,
}

impl Interval {
    fn new(groups: Vec<u32>) -> Self {
        Self { groups, spread: OnceLock::new() }
    }

    /// How many groups there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.groups.len()
    }
}

impl Settled {
    /// Bytes held, and of what [`Self::intervals`] returns.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let columns = self.columns.iter().map(|(_, column)| column.bytes());
        // Their numbers by interval, and maybe once more by shard.
        self.keys.bytes() + columns.sum::<usize>() + self.keys.len() * 2 * size_of::<u32>()
    }

    /// The groups of each interval of `grain` that buckets start in, by its start.
    #[must_use]
    pub fn intervals(&self, grain: Grain) -> BTreeMap<i64, Interval> {
        let groups = match &self.own {
            Own::Some(own) => self.by_interval(grain, own.iter().copied()),
            Own::All | Own::Shard(_) => self.by_interval(grain, 0..self.keys.len() as u32),
        };
        groups.into_iter().map(|(start, groups)| (start, Interval::new(groups))).collect()
    }

    /// The groups of some shards in `interval`, which is of this table.
    pub fn of<'a>(&self, interval: &'a Interval, shards: &Range<usize>) -> &'a [u32] {
        match self.own {
            Own::Shard(shard) if shards.contains(&shard) => return &interval.groups,
            Own::Shard(_) => return &[],
            Own::All | Own::Some(_) if *shards == (0..SHARDS) => return &interval.groups,
            Own::All | Own::Some(_) => {}
        }
        let Spread { groups, ends } = interval.spread.get_or_init(|| {
            let (groups, ends) = by_shard(&interval.groups, &self.keys.hashes(&interval.groups));
            Spread { groups, ends }
        });
        let end_of = |shards: usize| if shards == 0 { 0 } else { ends[shards - 1] as usize };
        &groups[end_of(shards.start)..end_of(shards.end)]
    }

    fn by_interval(&self, grain: Grain, own: impl Iterator<Item = u32>) -> BTreeMap<i64, Vec<u32>> {
        let mut groups: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        // Groups come in about the order of their buckets, so the next one is nearly always of the same interval.
        let (mut interval, mut run) = ((0, 0), Vec::new());
        for group in own {
            let bucket = self.keys.bucket(group as usize);
            if !(interval.0..interval.1).contains(&bucket) {
                groups.entry(interval.0).or_default().append(&mut run);
                interval = grain.interval(bucket);
            }
            run.push(group);
        }
        groups.entry(interval.0).or_default().append(&mut run);
        groups.retain(|_, groups| !groups.is_empty());
        groups
    }

    /// Makes columns of words.
    fn unpack(&mut self) {
        let all: Vec<u32> = (0..self.keys.len() as u32).collect();
        let words = self.words.columns(self.keys.records(), &all).into_iter();
        self.columns.extend(words.map(|(state, column)| (state, Column::Array(column))));
        self.words = Words::default();
    }
}

/// All of `tables`, which are of one view, with the same states as words: either all or none.
pub(super) fn alike(mut tables: Vec<Settled>) -> Vec<Settled> {
    if tables.iter().any(|table| table.words.is_empty()) {
        tables.iter_mut().for_each(Settled::unpack);
    }
    tables
}

/// The canonical partial of these groups of tables that were taken together from [`Shards`](super::Shards) of `view`. No group
/// may be there twice.
///
/// # Errors
/// [`Error::Overflow`], [`Error::Arrow`].
pub fn join(view: &View, tables: &[(&Settled, &[u32])]) -> Result<RecordBatch, Error> {
    if tables.is_empty() {
        return Ok(RecordBatch::new_empty(view.partial_schema()));
    }
    let mut keys = Keys::of(view, Records::default());
    let mut places = Vec::with_capacity(tables.iter().map(|(_, groups)| groups.len()).sum());
    for (at, (table, groups)) in tables.iter().enumerate() {
        keys.append(&table.keys, groups)?;
        places.extend(groups.iter().map(|&group| (at as u32, group)));
    }
    let (order, mut columns) = keys.sorted()?;
    drop(keys);
    let places: Vec<Place> = order.iter().map(|&row| places[row as usize]).collect();
    drop(order);
    columns.extend(states(tables, &places)?);
    Ok(RecordBatch::try_new(view.partial_schema(), columns)?)
}

/// The states of the groups at `places`.
fn states(tables: &[(&Settled, &[u32])], places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
    let (first, _) = tables[0];
    let mut states = Vec::new();
    if !first.words.is_empty() {
        let records: Vec<&Records> = tables.iter().map(|(table, _)| table.keys.records()).collect();
        states = first.words.gather(&records, places);
    }
    for (at, (state, _)) in first.columns.iter().enumerate() {
        let columns: Vec<&Column> = tables.iter().map(|(table, _)| &table.columns[at].1).collect();
        states.push((*state, Column::gather(&columns, places)?));
    }
    states.sort_by_key(|(state, _)| *state);
    Ok(states.into_iter().map(|(_, column)| column).collect())
}
