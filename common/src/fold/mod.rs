//! The fold kernel: the one place where events become partials, in both layers (DESIGN §5).
//!
//! Three steps, each in its own files: what a batch is read for (`batch`), which group each row is of (`keys`, with
//! `column`, `steps`, `interner`, `index` and `order`), and the states of the groups, a column each ([`crate::measure`]).
//! [`GroupTable`] puts the last two together. Where many folds make one result, it comes together in [`Shards`] (with
//! `spread` and `scatter`), but for what is `apart` since no other has the same, and is read from there as `settled`. Nothing here may
//! depend on the order or the number of the batches: see L1.

mod apart;
mod batch;
mod column;
mod index;
mod interner;
mod keys;
mod near;
mod order;
mod plan;
mod scatter;
mod settled;
mod shards;
mod spread;
mod steps;
mod table;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use arrow::record_batch::RecordBatch;

pub(crate) use self::keys::order_rows;
use self::{
    batch::{Batch, Reads},
    plan::Plan,
};
pub use self::{
    settled::{Interval, Settled, join},
    shards::Shards,
    spread::SHARDS,
    table::GroupTable,
};
use crate::{measure::Error, view::View};

/// Folds event batches of one source into the partials of all its views, in one pass.
#[derive(Debug)]
pub struct Fold {
    views: Vec<Arc<View>>,
    reads: Reads,
    plans: Vec<Plan>,
}

impl Fold {
    /// A fold of `views`, all of one source.
    #[must_use]
    pub fn new(views: &[Arc<View>]) -> Self {
        let mut reads = Reads::default();
        let plans = views.iter().map(|view| Plan::new(view, &mut reads)).collect();
        Self { views: views.to_vec(), reads, plans }
    }

    /// A fold of the views of `shards`, all of one source, for [`Self::settle`]. It brings to them what is more than
    /// `bytes_max` bytes of a view before.
    #[must_use]
    pub fn onto(shards: Vec<Arc<Shards>>, bytes_max: usize) -> Self {
        let views: Vec<_> = shards.iter().map(|shards| Arc::clone(shards.view())).collect();
        let mut fold = Self::new(&views);
        for (plan, shards) in fold.plans.iter_mut().zip(shards) {
            plan.bring_to(shards, bytes_max);
        }
        fold
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
        self.views.iter().zip(&mut self.plans).try_for_each(|(view, plan)| {
            let named = |source| Error::View { view: view.name.clone(), source: Box::new(source) };
            plan.fold(&batch, events.num_rows()).map_err(named)
        })
    }

    /// Bytes held here: of what was folded and not yet taken or brought to shards.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.plans.iter().map(Plan::bytes).sum()
    }

    /// Brings everything to the shards that this fold was made for, and merges it with what is there. It may go on after.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn settle(&mut self) -> Result<(), Error> {
        self.plans.iter_mut().try_for_each(Plan::settle)
    }

    /// Leaves everything to the shards that this fold was made for: groups stay in the tables that they were folded in, as long as
    /// nobody else has the same.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn leave(mut self) -> Result<(), Error> {
        self.plans.iter_mut().try_for_each(Plan::leave)
    }

    /// Takes what was folded since the last take: one canonical partial a view, maybe of no rows.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take(&mut self) -> Result<Vec<RecordBatch>, Error> {
        self.views.iter().zip(&mut self.plans).map(|(view, plan)| take_partial(view, plan.table())).collect()
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
