//! The fold kernel: the one place where events become partials, in both layers (DESIGN §5).
//!
//! Three steps, each in its own files: what a batch is read for (`batch`), which group each row is of (`keys`, with
//! `interner` and `order`), and the states of the groups, a column each ([`crate::measure`]). [`GroupTable`] puts the last
//! two together. Nothing here may depend on the order or the number of the batches: see L1.

mod batch;
mod interner;
mod keys;
mod order;
mod table;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use arrow::record_batch::RecordBatch;

pub use self::table::GroupTable;
use self::{
    batch::{Batch, Reads},
    table::{Events, StateReads},
};
use crate::{measure::Error, view::View};

/// Folds event batches of one source into the partials of all its views, in one pass.
#[derive(Debug)]
pub struct Fold {
    views: Vec<Arc<View>>,
    reads: Reads,
    plans: Vec<Plan>,
}

/// What one view reads, by the numbers that [`Reads`] gave, and where it is folded.
#[derive(Debug)]
struct Plan {
    filter: Option<usize>,
    bucket: usize,
    dimensions: Vec<usize>,
    states: Vec<StatePlan>,
    /// The filters of states, each once.
    state_filters: Vec<usize>,
    table: GroupTable,
}

/// What one state reads.
#[derive(Debug)]
struct StatePlan {
    inputs: Vec<usize>,
    /// An index into the plan's `state_filters`.
    filter: Option<usize>,
}

impl Fold {
    /// A fold of `views`, all of one source.
    #[must_use]
    pub fn new(views: &[Arc<View>]) -> Self {
        let mut reads = Reads::default();
        let plans = views.iter().map(|view| Plan::new(view, &mut reads)).collect();
        Self { views: views.to_vec(), reads, plans }
    }

    /// The views, in the order of [`Self::take`].
    #[must_use]
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// The event columns that the views read, by name: all that [`Self::fold`] needs.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let columns: BTreeSet<&str> = self.views().iter().flat_map(|view| view.columns()).collect();
        columns.into_iter().map(str::to_owned).collect()
    }

    /// Folds `events`, a batch in the source's event schema (columns that no view reads may be absent; strings may be
    /// `Dictionary(Int32, Utf8)`). After an error the fold is not to be used again.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn fold(&mut self, events: &RecordBatch) -> Result<(), Error> {
        if events.num_rows() == 0 {
            return Ok(());
        }
        let batch = Batch::new(&self.reads, events);
        self.plans.iter_mut().try_for_each(|plan| plan.fold(&batch, events.num_rows()))
    }

    /// Takes what was folded since the last take: one canonical partial a view, maybe of no rows.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take(&mut self) -> Result<Vec<RecordBatch>, Error> {
        self.views.iter().zip(&mut self.plans).map(|(view, plan)| take_partial(view, &mut plan.table)).collect()
    }
}

impl Plan {
    fn new(view: &View, reads: &mut Reads) -> Self {
        let mut state_filters = Vec::new();
        let states = view.states.iter().map(|state| StatePlan {
            inputs: state.inputs.iter().map(|input| reads.column(input)).collect(),
            filter: state.filter.as_ref().map(|filter| batch::number(&mut state_filters, &reads.filter(filter))),
        });
        Self {
            states: states.collect(),
            filter: view.filter.as_ref().map(|filter| reads.filter(filter)),
            bucket: reads.bucket(&view.time_column, view.grain),
            dimensions: view.dimensions.iter().map(|d| reads.column(&d.input)).collect(),
            state_filters,
            table: GroupTable::new(&view.key_types(), &view.states),
        }
    }

    fn fold(&mut self, batch: &Batch<'_>, rows: usize) -> Result<(), Error> {
        let selected = self.filter.map(|filter| batch.selected(filter)).transpose()?;
        let mut keys = vec![batch.bucket(self.bucket)?];
        for &dimension in &self.dimensions {
            keys.push(batch.column(dimension)?);
        }
        let filters = self.state_filters.iter().map(|&filter| batch.selected(filter)).collect::<Result<Vec<_>, _>>()?;
        let mut states = Vec::with_capacity(self.states.len());
        for state in &self.states {
            let inputs = state.inputs.iter().map(|&input| batch.column(input)).collect::<Result<_, _>>()?;
            states.push(StateReads { inputs, filter: state.filter });
        }
        self.table.fold(&keys, &Events { rows, selected, states, filters })
    }
}

/// Takes the canonical partial of `view` from a table with its keys and states.
///
/// # Errors
/// [`Error::Overflow`].
pub(crate) fn take_partial(view: &View, table: &mut GroupTable) -> Result<RecordBatch, Error> {
    let (mut columns, states) = table.take()?;
    columns.extend(states);
    Ok(RecordBatch::try_new(view.partial_schema(), columns)?)
}
