//! Groups and their states: keys become group numbers, and each state is folded as a column over those.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use super::keys::Keys;
use crate::{
    measure::{Error, StateSpec, accumulator::Accumulator, input::Input, rows::Rows},
    schema::ColumnType,
};

/// A hash table of groups and their states: the core of folding, merging and answering. After an error it is not to be
/// used again.
#[derive(Debug)]
pub struct GroupTable {
    keys: Keys,
    specs: Vec<StateSpec>,
    states: Vec<Box<dyn Accumulator>>,
    /// The group of each row of the batch at hand; kept for its memory.
    groups: Vec<u32>,
}

impl GroupTable {
    /// An empty table with key columns of these types, at most 64, and these states.
    #[must_use]
    pub fn new(keys: &[ColumnType], states: &[StateSpec]) -> Self {
        assert!(keys.len() <= u64::BITS as usize, "a key column has a bit in a mask");
        Self {
            keys: Keys::new(keys),
            specs: states.to_vec(),
            states: states.iter().map(StateSpec::accumulator).collect(),
            groups: Vec::new(),
        }
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

    /// Folds rows: `keys` has a column per key, `inputs` one per state (`None` for `count(*)`), all of equal length.
    /// Text may be `Dictionary(Int32, Utf8)`. With no key there is one group.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::Overflow`].
    pub fn fold(&mut self, keys: &[ArrayRef], inputs: &[Option<ArrayRef>]) -> Result<(), Error> {
        let keys = self.check_keys(keys)?;
        let check = |(spec, input): (&StateSpec, &Option<ArrayRef>)| {
            let input = input.as_ref().map(|array| Input::new(|| spec.name(), Arc::clone(array), spec.input_type()));
            input.transpose()
        };
        let inputs = self.specs.iter().zip(inputs).map(check).collect::<Result<Vec<_>, _>>()?;
        let columns = keys.iter().chain(inputs.iter().flatten());
        let rows = columns.map(Input::len).next().unwrap_or(0);
        let keys: Vec<&Input> = keys.iter().collect();
        let inputs: Vec<Option<&Input>> = inputs.iter().map(Option::as_ref).collect();
        self.fold_rows(&keys, &inputs, rows, None)
    }

    /// Folds the `selected` of `rows` rows, or all.
    pub(super) fn fold_rows(
        &mut self,
        keys: &[&Input],
        inputs: &[Option<&Input>],
        rows: usize,
        selected: Option<&[u32]>,
    ) -> Result<(), Error> {
        self.groups.clear();
        self.keys.resolve(keys, rows, selected, &mut self.groups)?;
        let rows = match selected {
            None => Rows::all(&self.groups),
            Some(selected) => Rows::selected(&self.groups, selected),
        };
        let groups = self.keys.len();
        for (state, input) in self.states.iter_mut().zip(inputs) {
            state.update(groups, rows, *input)?;
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

    /// Empties the table: the key columns and the state columns, one row a group, in canonical order (see
    /// [`crate::partial`]).
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn take(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let order = self.keys.order();
        let states = self.states.iter_mut().map(|state| state.take(&order)).collect::<Result<_, _>>()?;
        Ok((self.keys.take(&order)?, states))
    }

    fn check_keys(&self, keys: &[ArrayRef]) -> Result<Vec<Input>, Error> {
        let check = |(at, (array, expected)): (usize, (&ArrayRef, ColumnType))| {
            Input::new(|| format!("key {at}"), Arc::clone(array), expected)
        };
        keys.iter().zip(self.keys.types()).enumerate().map(check).collect()
    }
}
