//! The fold kernel: the one place where events become partials, in both layers (DESIGN §5).

use std::sync::Arc;

use arrow::{array::ArrayRef, record_batch::RecordBatch};

use crate::{
    measure::{Error, StateSpec},
    schema::ColumnType,
    view::View,
};

/// Folds event batches of one source into the partials of all its views, in one pass.
#[derive(Debug)]
pub struct Fold {
    views: Vec<Arc<View>>,
}

impl Fold {
    /// A fold of `views`, all of one source.
    #[must_use]
    pub fn new(views: &[Arc<View>]) -> Self {
        Self { views: views.to_vec() }
    }

    /// The views, in the order of [`Self::take`].
    #[must_use]
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// Folds `events`, a batch in the source's event schema (columns that no view reads may be absent; strings may be
    /// `Dictionary(Int32, Utf8)`). After an error the fold is not to be used again.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn fold(&mut self, events: &RecordBatch) -> Result<(), Error> {
        let _ = events;
        unimplemented!("fold helper")
    }

    /// Takes what was folded since the last take: one canonical partial a view, maybe of no rows.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take(&mut self) -> Result<Vec<RecordBatch>, Error> {
        unimplemented!("fold helper")
    }
}

/// A hash table of groups and their states: the core of folding, merging and answering.
#[derive(Debug)]
pub struct GroupTable {
    _keys: Vec<ColumnType>,
}

impl GroupTable {
    /// An empty table with key columns of these types and these states.
    #[must_use]
    pub fn new(keys: &[ColumnType], states: &[StateSpec]) -> Self {
        let _ = states;
        Self { _keys: keys.to_vec() }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        unimplemented!("fold helper")
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Folds rows: `keys` has a column per key, `inputs` one per state (`None` for `count(*)`), all of equal length.
    ///
    /// # Errors
    /// [`Error::Type`].
    pub fn fold(&mut self, keys: &[ArrayRef], inputs: &[Option<ArrayRef>]) -> Result<(), Error> {
        let _ = (keys, inputs);
        unimplemented!("fold helper")
    }

    /// Merges rows of states: `keys` has a column per key, `states` one per state.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::Corrupt`].
    pub fn merge(&mut self, keys: &[ArrayRef], states: &[ArrayRef]) -> Result<(), Error> {
        let _ = (keys, states);
        unimplemented!("fold helper")
    }

    /// Empties the table: the key columns and the state columns, one row a group, in canonical order (see
    /// [`crate::partial`]).
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn take(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        unimplemented!("fold helper")
    }
}
