//! Groups with their states, and grouping them anew: what `top` and `totals` take. States are merged, so what comes of it is as
//! exact as if the events had been folded so.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array},
    compute::{SortColumn, SortOptions, lexsort_to_indices, nullif},
    row::{OwnedRow, RowConverter, SortField},
};
use common::{
    fold::GroupTable,
    measure::{Measure, StateSpec},
    schema::ColumnType,
};

use super::{Error, answer::plain, plan::Plan};

/// Groups in canonical order: their keys, strings as Utf8, and the states of a plan.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) states: Vec<ArrayRef>,
    pub(super) rows: usize,
}

impl Groups {
    pub(super) fn new(keys: &[ArrayRef], states: Vec<ArrayRef>) -> Result<Self, Error> {
        let rows = keys.first().or(states.first()).map_or(0, |column| column.len());
        Ok(Self { keys: keys.iter().map(plain).collect::<Result<_, _>>()?, states, rows })
    }

    /// The groups that these make under `keys`, a column each of these types.
    fn regrouped(&self, keys: &[ArrayRef], types: &[ColumnType], specs: &[StateSpec]) -> Result<Self, Error> {
        let mut table = GroupTable::new(types, specs);
        if self.rows > 0 {
            table.merge(keys, &self.states)?;
        }
        let (keys, states) = table.take()?;
        Self::new(&keys, states)
    }

    /// All groups as one; none if there are none.
    pub(super) fn total(&self, specs: &[StateSpec]) -> Result<Self, Error> {
        let same: ArrayRef = Arc::new(Int64Array::from(vec![0; self.rows]));
        Ok(Self { keys: Vec::new(), ..self.regrouped(&[same], &[ColumnType::Int], specs)? })
    }
}

/// The values of `keys` as bytes that are equal where the values are, and ordered as they are.
pub(super) fn rows_of(keys: &[ArrayRef]) -> Result<(RowConverter, arrow::row::Rows), Error> {
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(keys)?;
    Ok((converter, rows))
}

/// The dimensions' values that `top` keeps.
#[derive(Debug)]
pub(super) struct Kept<'p> {
    plan: &'p Plan,
    rows: HashSet<OwnedRow>,
}

/// What `top` asks, resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rank {
    pub(super) n: usize,
    /// Index into the plan's measures.
    pub(super) measure: usize,
    pub(super) asc: bool,
}

impl<'p> Kept<'p> {
    /// Those of `groups`, whose keys are `[bucket,] dimensions…`, that rank first over all buckets.
    pub(super) fn of(plan: &'p Plan, rank: Rank, groups: &Groups) -> Result<Self, Error> {
        let types: Vec<ColumnType> = plan.dimension_types().collect();
        let dimensions = &groups.keys[usize::from(plan.grain.is_some())..];
        let whole = groups.regrouped(dimensions, &types, &plan.specs)?;
        let measure: &Measure = &plan.measures[rank.measure];
        let values = measure.finish(&plan.specs, &whole.states)?.values;
        let canonical: ArrayRef = Arc::new(Int64Array::from_iter_values(0..whole.rows as i64));
        let options = SortOptions { descending: !rank.asc, nulls_first: false };
        let sort = [SortColumn { values, options: Some(options) }, SortColumn { values: canonical, options: None }];
        let first = lexsort_to_indices(&sort, Some(rank.n))?;
        let (_, rows) = rows_of(&whole.keys)?;
        Ok(Self { plan, rows: first.values().iter().map(|at| rows.row(*at as usize).owned()).collect() })
    }

    /// `groups` by `[bucket,] other, dimensions…`: the dimensions of all that are not kept are null.
    pub(super) fn regrouped(&self, groups: &Groups) -> Result<Groups, Error> {
        let buckets = usize::from(self.plan.grain.is_some());
        let (bucket, dimensions) = groups.keys.split_at(buckets);
        let (_, rows) = rows_of(dimensions)?;
        let other = BooleanArray::from_iter(rows.iter().map(|row| Some(!self.rows.contains(&row.owned()))));
        let mut keys = bucket.to_vec();
        keys.push(Arc::new(other.clone()));
        for dimension in dimensions {
            keys.push(nullif(dimension, &other)?);
        }
        let bucket = self.plan.grain.map(|_| ColumnType::Timestamp);
        let types: Vec<_> = bucket.into_iter().chain([ColumnType::Bool]).chain(self.plan.dimension_types()).collect();
        groups.regrouped(&keys, &types, &self.plan.specs)
    }
}
