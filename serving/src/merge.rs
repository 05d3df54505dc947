//! Merging: rows of partials, re-keyed to the bucket and dimensions that a query asks, with equal keys' states merged.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    compute::{FilterBuilder, FilterPredicate},
    datatypes::TimestampMicrosecondType,
    error::ArrowError,
};
use common::{fold::GroupTable, measure::StateSpec, schema::ColumnType};

use crate::{
    query::{Error, Plan, Steps},
    tiers::Slice,
};

/// A merge on its way.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    plan: &'a Plan,
    steps: Option<Steps>,
    /// Indices into the view's states.
    states: &'a [usize],
    table: GroupTable,
    rows: u64,
    /// A table needs a key; a query that asks none gets one that is the same for all rows, and is dropped at the end.
    keyless: bool,
}

impl<'a> Merge<'a> {
    /// Nothing merged yet, of all that `plan` needs.
    pub(crate) fn new(plan: &'a Plan, steps: Option<Steps>) -> Self {
        Self::of(plan, steps, &plan.specs, &plan.states)
    }

    /// Nothing merged yet, of these states only.
    pub(crate) fn of(plan: &'a Plan, steps: Option<Steps>, specs: &[StateSpec], states: &'a [usize]) -> Self {
        let mut keys = plan.key_types();
        let keyless = keys.is_empty();
        if keyless {
            keys.push(ColumnType::Int);
        }
        Self { plan, steps, states, table: GroupTable::new(&keys, specs), rows: 0, keyless }
    }

    /// How many rows were merged.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Merges the rows of `slice`, of the plan's view, that the plan's filter holds for.
    pub(crate) fn add(&mut self, slice: &Slice) -> Result<(), Error> {
        let plan = self.plan;
        let rows = Rows::of(&slice.rows, plan)?;
        if rows.count == 0 {
            return Ok(());
        }
        let mut keys: Vec<ArrayRef> = Vec::with_capacity(1 + plan.dimensions.len());
        if let Some(steps) = &mut self.steps {
            keys.push(stepped(steps, &rows.column(0)?)?);
        }
        for dimension in &plan.dimensions {
            keys.push(rows.column(slice.dimension(*dimension))?);
        }
        if self.keyless {
            keys.push(Arc::new(Int64Array::from(vec![0; rows.count])));
        }
        let states = self.states.iter().map(|state| rows.column(slice.state(*state))).collect::<Result<Vec<_>, _>>()?;
        self.table.merge(&keys, &states)?;
        self.rows += rows.count as u64;
        if self.table.len() > plan.limits.groups {
            return Err(Error::TooManyGroups { limit: plan.limits.groups });
        }
        Ok(())
    }

    /// The key columns and the state columns, one row a group, in canonical order.
    pub(crate) fn take(mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let (mut keys, states) = self.table.take()?;
        if self.keyless {
            keys.clear();
        }
        Ok((keys, states))
    }
}

/// The rows of a partial that a filter holds for; columns are filtered when they are read, since few are.
struct Rows<'a> {
    partial: &'a RecordBatch,
    kept: Option<FilterPredicate>,
    count: usize,
}

impl<'a> Rows<'a> {
    fn of(partial: &'a RecordBatch, plan: &Plan) -> Result<Self, Error> {
        let Some(filter) = &plan.filter else { return Ok(Self { partial, kept: None, count: partial.num_rows() }) };
        let kept = FilterBuilder::new(&filter.matches(partial)?).optimize().build();
        let count = kept.count();
        Ok(Self { partial, kept: Some(kept), count })
    }

    fn column(&self, index: usize) -> Result<ArrayRef, ArrowError> {
        let column = self.partial.column(index);
        self.kept.as_ref().map_or_else(|| Ok(Arc::clone(column)), |kept| kept.filter(column))
    }
}

/// The start of the step that each of `buckets` falls in.
fn stepped(steps: &mut Steps, buckets: &ArrayRef) -> Result<ArrayRef, Error> {
    let buckets = buckets.as_primitive::<TimestampMicrosecondType>();
    let starts = buckets.values().iter().map(|bucket| steps.step(*bucket)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(TimestampMicrosecondArray::from(starts).with_timezone("UTC")))
}
