//! Groups and their states: keys become group numbers, and over those states are folded, as words of the groups' records where that
//! can be, else as a column each.

use std::{borrow::Cow, sync::Arc};

use arrow::array::{Array, ArrayRef};

use super::{
    keys::Keys,
    settled::{Column, Own, Settled},
};
use crate::{
    grain::Grain,
    measure::{Error, StateSpec, accumulator::States, input::Input, rows::Rows, words::Words},
    schema::ColumnType,
    view::View,
};

/// A hash table of groups and their states: the core of folding, merging and answering. After an error it is not to be
/// used again.
#[derive(Debug)]
pub struct GroupTable {
    keys: Keys,
    /// The states that are in the records of the keys.
    words: Words,
    /// All others.
    states: States,
    /// The group of each row of the batch at hand; kept for its memory.
    groups: Vec<u32>,
}

/// Makes columns of the states that are words; only the first `groups` groups have any yet.
fn unpack(words: &mut Words, keys: &mut Keys, states: &mut States, groups: usize) -> Result<(), Error> {
    if !words.is_empty() {
        states.extend(words.unpack(keys.records_mut(), groups)?);
    }
    Ok(())
}

/// What is folded of a batch, besides its keys.
#[derive(Debug)]
pub(super) struct Events<'a> {
    /// How many there are.
    pub(super) rows: usize,
    /// The view's own, ascending; all if `None`.
    pub(super) selected: Option<&'a [u32]>,
    /// One a state.
    pub(super) states: Vec<StateReads<'a>>,
    /// The rows that each filter of a state holds for, ascending, the view's own or not.
    pub(super) filters: Vec<&'a [u32]>,
}

/// What one state reads of a batch.
#[derive(Debug)]
pub(super) struct StateReads<'a> {
    /// Its inputs.
    pub(super) inputs: Vec<&'a Input>,
    /// Which of [`Events::filters`]; none if `None`.
    pub(super) filter: Option<usize>,
}

/// The view's own rows that a state's filter holds for, with their groups.
struct Kept<'a> {
    groups: Vec<u32>,
    rows: Cow<'a, [u32]>,
}

impl<'a> Kept<'a> {
    /// `groups[i]` is the group of row `selected[i]`, or of row `i`.
    fn new(groups: &[u32], selected: Option<&[u32]>, filter: &'a [u32]) -> Self {
        let Some(selected) = selected else {
            return Self { groups: filter.iter().map(|&row| groups[row as usize]).collect(), rows: filter.into() };
        };
        let mut filter = filter.iter().copied().peekable();
        let own = selected.iter().zip(groups).filter(|&(&row, _)| {
            while filter.next_if(|&kept| kept < row).is_some() {}
            filter.next_if_eq(&row).is_some()
        });
        let (rows, groups): (Vec<u32>, Vec<u32>) = own.unzip();
        Self { groups, rows: rows.into() }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::filtered(&self.groups, &self.rows)
    }
}

/// A table whose groups are handed over to others.
#[derive(Debug)]
pub(super) struct Handed {
    table: GroupTable,
    /// Of those states of the table that are no words, those that can only be handed over encoded: in the order of the groups.
    columns: Vec<Option<ArrayRef>>,
}

impl Handed {
    pub(super) fn new(table: GroupTable) -> Self {
        let columns = vec![None; table.states.len()];
        Self { table, columns }
    }

    /// The groups, of which there will be no more: those that are its `own`, the others were handed over.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn settled(self, own: Own) -> Result<Settled, Error> {
        let GroupTable { mut keys, words, states, .. } = self.table;
        keys.rest();
        let all: Vec<u32> = (0..keys.len() as u32).collect();
        let columns = states.into_iter().zip(self.columns).map(|((at, mut state), column)| {
            let column = if let Some(column) = column {
                Column::Array(column)
            } else if let Some(encoded) = state.take_encoded() {
                Column::Encoded(encoded?)
            } else {
                Column::Array(state.take(&all)?)
            };
            Ok((at, column))
        });
        let columns = columns.collect::<Result<_, Error>>()?;
        Ok(Settled { keys, words, columns, own })
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The hash of the dimensions of each of `groups`, as [`spread`](super::spread) defines it.
    pub(super) fn hashes(&self, groups: &[u32]) -> Vec<u64> {
        self.table.keys.hashes(groups)
    }

    fn encode(&mut self, at: usize) -> Result<(), Error> {
        let order: Vec<u32> = (0..self.table.len() as u32).collect();
        self.columns[at] = Some(self.table.states[at].1.take(&order)?);
        Ok(())
    }

    /// Hands no state over as a word any more.
    fn unpack(&mut self) -> Result<(), Error> {
        let groups = self.len();
        let GroupTable { words, keys, states, .. } = &mut self.table;
        unpack(words, keys, states, groups)?;
        self.columns.resize(self.table.states.len(), None);
        Ok(())
    }
}

impl GroupTable {
    /// An empty table with key columns of these types and these states.
    #[must_use]
    pub fn new(keys: &[ColumnType], states: &[StateSpec]) -> Self {
        Self::with(keys, None, states)
    }

    /// An empty table of the groups of `view`.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self::with(&view.key_types(), Some(view.grain), &view.states)
    }

    fn with(keys: &[ColumnType], grain: Option<Grain>, states: &[StateSpec]) -> Self {
        let (words, records) = Words::of(states);
        let others = (0..states.len()).filter(|state| !words.states().any(|word| word == *state));
        let states = others.map(|state| (state, states[state].accumulator())).collect();
        Self { keys: Keys::new(keys, grain, records), words, states, groups: Vec::new() }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Folds events: `keys` has a column per key.
    pub(super) fn fold(&mut self, keys: &[&Input], events: &Events<'_>) -> Result<(), Error> {
        let before = self.len();
        self.groups.clear();
        self.keys.resolve(keys, events.rows, events.selected, &mut self.groups)?;
        let all = match events.selected {
            None => Rows::all(&self.groups),
            Some(selected) => Rows::selected(&self.groups, selected),
        };
        let filtered: Vec<Kept<'_>> =
            events.filters.iter().map(|filter| Kept::new(&self.groups, events.selected, filter)).collect();
        let inputs = |state: usize| &*events.states[state].inputs;
        if self.keys.is_wide() || !self.words.update(self.keys.records_mut(), all, inputs) {
            unpack(&mut self.words, &mut self.keys, &mut self.states, before)?;
        }
        let groups = self.keys.len();
        for (at, state) in &mut self.states {
            let reads = &events.states[*at];
            let rows = reads.filter.map_or(all, |filter| filtered[filter].rows());
            state.update(groups, rows, &reads.inputs)?;
        }
        Ok(())
    }

    /// Merges rows of states: `keys` has a column per key, `states` one per state.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::Corrupt`], [`Error::Null`], [`Error::Overflow`].
    pub fn merge(&mut self, keys: &[ArrayRef], states: &[ArrayRef]) -> Result<(), Error> {
        let keys = self.check_keys(keys)?;
        let rows = keys.first().map(Input::len).or_else(|| states.first().map(|state| state.len())).unwrap_or(0);
        let keys: Vec<&Input> = keys.iter().collect();
        let before = self.len();
        self.groups.clear();
        self.keys.resolve(&keys, rows, None, &mut self.groups)?;
        let rows = Rows::all(&self.groups);
        if self.keys.is_wide() || !self.words.merge(self.keys.records_mut(), rows, states) {
            unpack(&mut self.words, &mut self.keys, &mut self.states, before)?;
        }
        let groups = self.keys.len();
        for (at, state) in &mut self.states {
            state.merge(groups, Rows::all(&self.groups), &states[*at])?;
        }
        Ok(())
    }

    /// Merges groups of another table of the same keys and states.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn absorb(&mut self, from: &mut Handed, which: &[u32]) -> Result<(), Error> {
        let before = self.len();
        self.groups.clear();
        self.keys.resolve_groups(&from.table.keys, which, &mut self.groups)?;
        let both = !self.keys.is_wide() && !self.words.is_empty() && !from.table.words.is_empty();
        let rows = Rows::selected(&self.groups, which);
        if !both || !self.words.absorb(self.keys.records_mut(), rows, from.table.keys.records()) {
            unpack(&mut self.words, &mut self.keys, &mut self.states, before)?;
            from.unpack()?;
        }
        let (groups, rows) = (self.keys.len(), Rows::selected(&self.groups, which));
        // What both had as words comes last, in the same order.
        for (at, (_, state)) in self.states.iter_mut().enumerate() {
            if from.columns[at].is_none() {
                match state.absorb(groups, rows, &mut *from.table.states[at].1) {
                    Some(absorbed) => {
                        absorbed?;
                        continue;
                    }
                    None => from.encode(at)?,
                }
            }
            if let Some(column) = &from.columns[at] {
                state.merge(groups, rows, column)?;
            }
        }
        Ok(())
    }

    /// Empties the table: the key columns and the state columns, one row a group, in canonical order (see
    /// [`crate::partial`]).
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn take(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        self.take_in(&self.keys.order())
    }

    /// As [`Self::take`], but ordered by bucket only.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn take_by_bucket(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        self.take_in(&self.keys.order_by_bucket())
    }

    fn take_in(&mut self, order: &[u32]) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let mut states = self.words.columns(self.keys.records(), order);
        for (at, state) in &mut self.states {
            states.push((*at, state.take(order)?));
        }
        states.sort_by_key(|(at, _)| *at);
        let keys = self.keys.arrays(order)?;
        self.keys.clear();
        Ok((keys, states.into_iter().map(|(_, column)| column).collect()))
    }

    /// The values of the first key, which is of time stamps, each once or more often.
    pub(super) fn buckets(&self) -> Vec<i64> {
        self.keys.buckets()
    }

    /// The value of the first key of a group.
    pub(super) fn bucket(&self, group: u32) -> i64 {
        self.keys.bucket(group as usize)
    }

    /// Gives back the memory of what only folding and merging need. It is made anew if more come.
    pub(super) fn rest(&mut self) {
        self.keys.rest();
        self.groups = Vec::new();
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let states = self.states.iter().map(|(_, state)| state.bytes());
        self.keys.bytes() + self.groups.capacity() * size_of::<u32>() + states.sum::<usize>()
    }

    fn check_keys(&self, keys: &[ArrayRef]) -> Result<Vec<Input>, Error> {
        let check = |(at, (array, expected)): (usize, (&ArrayRef, ColumnType))| {
            Input::new(|| format!("key {at}"), Arc::clone(array), expected)
        };
        keys.iter().zip(self.keys.types()).enumerate().map(check).collect()
    }
}
