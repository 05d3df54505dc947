//! Merging: rows of partials, re-keyed to the bucket and dimensions that a query asks, with equal keys' states merged.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    compute::filter_record_batch,
    datatypes::TimestampMicrosecondType,
};
use common::{fold::GroupTable, limits::QUERY_GROUPS_MAX, schema::ColumnType};

use crate::query::{Error, Grained, Plan};

/// A merge on its way.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    plan: &'a Plan,
    table: GroupTable,
    rows: u64,
    /// A table needs a key; a query that asks none gets one that is the same for all rows, and is dropped at the end.
    keyless: bool,
}

impl<'a> Merge<'a> {
    /// Nothing merged yet.
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let mut keys = plan.key_types();
        let keyless = keys.is_empty();
        if keyless {
            keys.push(ColumnType::Int);
        }
        Self { plan, table: GroupTable::new(&keys, &plan.specs), rows: 0, keyless }
    }

    /// How many rows were merged.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Merges the rows of `partial`, a canonical partial of the plan's view, that the plan's filter holds for.
    pub(crate) fn add(&mut self, partial: &RecordBatch) -> Result<(), Error> {
        let plan = self.plan;
        let kept = match &plan.filter {
            Some(filter) => {
                let holds = filter.matches(partial)?;
                &filter_record_batch(partial, &holds)?
            }
            None => partial,
        };
        if kept.num_rows() == 0 {
            return Ok(());
        }
        let first_state = 1 + plan.view.dimensions.len();
        let mut keys: Vec<ArrayRef> = Vec::with_capacity(1 + plan.dimensions.len());
        if let Some(grain) = &plan.grain {
            keys.push(steps(grain, kept.column(0), plan)?);
        }
        keys.extend(plan.dimensions.iter().map(|index| Arc::clone(kept.column(1 + index))));
        if self.keyless {
            keys.push(Arc::new(Int64Array::from(vec![0; kept.num_rows()])));
        }
        let states: Vec<ArrayRef> = plan.states.iter().map(|i| Arc::clone(kept.column(first_state + i))).collect();
        self.table.merge(&keys, &states)?;
        self.rows += kept.num_rows() as u64;
        if self.table.len() > QUERY_GROUPS_MAX {
            return Err(Error::TooManyGroups { limit: QUERY_GROUPS_MAX });
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

/// The start of the step that each of `buckets` falls in. They are sorted, so the step before is nearly always the one.
fn steps(grain: &Grained, buckets: &ArrayRef, plan: &Plan) -> Result<ArrayRef, Error> {
    let buckets = buckets.as_primitive::<TimestampMicrosecondType>();
    let mut step = (0, 0);
    let mut starts = Vec::with_capacity(buckets.len());
    for bucket in buckets.values() {
        if !(step.0..step.1).contains(bucket) {
            let interval = grain.step.interval(*bucket, plan.view.grain);
            step = interval.map_err(|e| e.at_timezone(&grain.name, &grain.zone_name, plan.view.grain))?;
        }
        starts.push(step.0);
    }
    Ok(Arc::new(TimestampMicrosecondArray::from(starts).with_timezone("UTC")))
}
