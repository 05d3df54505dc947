//! Groups and their states: keys become group numbers, and each state is folded as a column over those.

use std::{borrow::Cow, sync::Arc};

use arrow::array::{Array, ArrayRef};

use super::keys::Keys;
use crate::{
    measure::{Error, StateSpec, accumulator::Accumulator, input::Input, rows::Rows},
    schema::ColumnType,
    view::View,
};

/// A hash table of groups and their states: the core of folding, merging and answering. After an error it is not to be
/// used again.
#[derive(Debug)]
pub struct GroupTable {
    keys: Keys,
    states: Vec<Box<dyn Accumulator>>,
    /// The group of each row of the batch at hand; kept for its memory.
    groups: Vec<u32>,
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
    /// The states, in the order of the groups, of those that can only be handed over encoded.
    columns: Vec<Option<ArrayRef>>,
}

impl Handed {
    pub(super) fn new(table: GroupTable) -> Self {
        let columns = vec![None; table.states.len()];
        Self { table, columns }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The hash of each group's dimensions, as [`spread`](super::spread) defines it.
    pub(super) fn hashes(&self) -> Vec<u64> {
        self.table.keys.hashes()
    }

    fn encode(&mut self, state: usize) -> Result<(), Error> {
        let order: Vec<u32> = (0..self.table.len() as u32).collect();
        self.columns[state] = Some(self.table.states[state].take(&order)?);
        Ok(())
    }
}

impl GroupTable {
    /// An empty table with key columns of these types and these states.
    #[must_use]
    pub fn new(keys: &[ColumnType], states: &[StateSpec]) -> Self {
        Self::with(Keys::new(keys, None), states)
    }

    /// An empty table of the groups of `view`.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self::with(Keys::new(&view.key_types(), Some(view.grain)), &view.states)
    }

    fn with(keys: Keys, states: &[StateSpec]) -> Self {
        Self { keys, states: states.iter().map(StateSpec::accumulator).collect(), groups: Vec::new() }
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
        self.groups.clear();
        self.keys.resolve(keys, events.rows, events.selected, &mut self.groups)?;
        let all = match events.selected {
            None => Rows::all(&self.groups),
            Some(selected) => Rows::selected(&self.groups, selected),
        };
        let filtered: Vec<Kept<'_>> =
            events.filters.iter().map(|filter| Kept::new(&self.groups, events.selected, filter)).collect();
        let groups = self.keys.len();
        for (state, reads) in self.states.iter_mut().zip(&events.states) {
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
        self.groups.clear();
        self.keys.resolve(&keys, rows, None, &mut self.groups)?;
        let groups = self.keys.len();
        for (state, column) in self.states.iter_mut().zip(states) {
            state.merge(groups, Rows::all(&self.groups), column)?;
        }
        Ok(())
    }

    /// Merges groups of another table of the same keys and states.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn absorb(&mut self, from: &mut Handed, which: &[u32]) -> Result<(), Error> {
        self.groups.clear();
        self.keys.resolve_groups(&from.table.keys, which, &mut self.groups)?;
        let (groups, rows) = (self.keys.len(), Rows::selected(&self.groups, which));
        for (at, state) in self.states.iter_mut().enumerate() {
            if from.columns[at].is_none() {
                match state.absorb(groups, rows, &mut *from.table.states[at]) {
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
        let states = self.states.iter_mut().map(|state| state.take(order)).collect::<Result<_, _>>()?;
        Ok((self.keys.take(order)?, states))
    }

    /// The values of the first key, which is of time stamps, each once or more often.
    pub(super) fn buckets(&self) -> Vec<i64> {
        self.keys.buckets()
    }

    /// Gives back the memory of what only folding and merging need. It is made anew if more come.
    pub(super) fn rest(&mut self) {
        self.keys.rest();
        self.groups = Vec::new();
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let states = self.states.iter().map(|state| state.bytes());
        self.keys.bytes() + self.groups.capacity() * size_of::<u32>() + states.sum::<usize>()
    }

    fn check_keys(&self, keys: &[ArrayRef]) -> Result<Vec<Input>, Error> {
        let check = |(at, (array, expected)): (usize, (&ArrayRef, ColumnType))| {
            Input::new(|| format!("key {at}"), Arc::clone(array), expected)
        };
        keys.iter().zip(self.keys.types()).enumerate().map(check).collect()
    }
}
