//! The tables that a statement reads: groups of a view, merged from the tiers and finished.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array},
    compute::filter_record_batch,
};
use common::{
    expression::{Expression, exchange},
    fold::GroupTable,
    grain::Grain,
    measure::{Measure, StateSpec},
    pipeline::QueryLimits,
    schema::ColumnType,
    view::View,
};
use polars::prelude::DataFrame;
use tokio_util::sync::CancellationToken;

use super::range::Range;
use crate::{
    query::{Error, key_column},
    tiers::{Layer, RollUp, Slice, Tiers, Wanted as RollUps},
};

/// What a statement may read of its views.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// Names of columns, of whichever view.
    pub(super) names: HashSet<String>,
    /// Whether it asks for all columns of something.
    pub(super) all: bool,
}

impl Reads {
    fn has(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|read| read.eq_ignore_ascii_case(name))
    }
}

/// A key of the groups.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) input: Expression,
}

/// A table that a statement reads.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What the statement calls it.
    pub(super) table: String,
    pub(super) view: Arc<View>,
    /// Which buckets of the view it has.
    pub(super) range: Range,
    /// Which groups of the view it has: a condition over bucket and dimensions.
    pub(super) filter: Option<Expression>,
    /// What its rows are grouped by.
    pub(super) keys: Vec<Column>,
    /// Indices into the view's measures.
    pub(super) measures: Vec<usize>,
}

impl Wanted {
    /// The view itself: a row for each of its groups that `filter` holds for, with the columns that are read.
    pub(super) fn whole(view: &Arc<View>, reads: &Reads, filter: Option<Expression>) -> Self {
        let column =
            |name: &str, column_type| Column { name: name.to_owned(), input: Expression::column(name, column_type) };
        let bucket = column(&view.bucket_name, ColumnType::Timestamp);
        let dimensions = view.dimensions.iter().map(|d| column(&d.name, d.column_type()));
        let read = |measure: &Measure| measure.value_type.scalar().is_some() && reads.has(&measure.name);
        let measures = view.measures.iter().enumerate().filter(|(_, measure)| read(measure)).map(|(at, _)| at);
        Self {
            table: String::new(),
            view: Arc::clone(view),
            range: Range::ALL,
            filter,
            keys: std::iter::once(bucket).chain(dimensions).collect(),
            measures: measures.collect(),
        }
    }

    /// The rows of the table, and how many rows of partials were merged for it.
    pub(super) fn rows(
        &self,
        tiers: &Tiers,
        limits: QueryLimits,
        cancelled: &CancellationToken,
    ) -> Result<(DataFrame, u64), Error> {
        let mut groups = self.groups();
        let Range { from_us, to_us } = self.range;
        let tables = tiers.tables(&self.view.name, Layer::Merged, from_us, to_us);
        let (wanted, mut merged) = (self.roll_ups(), 0);
        for table in tables.expect("the statement was checked against the views that are served") {
            for slice in table.slices(&self.view, &wanted, from_us, to_us)? {
                if cancelled.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                merged += self.merge(&slice, &mut groups)?;
                if groups.len() > limits.groups {
                    return Err(Error::TooManyGroups { limit: limits.groups });
                }
            }
        }
        Ok((self.finished(groups)?, merged))
    }

    /// The table without rows: its columns and their types.
    pub(super) fn empty(&self) -> Result<DataFrame, Error> {
        self.finished(self.groups())
    }

    /// The states that the measures are finished from, and the measures by these.
    fn projected(&self) -> (Vec<usize>, Vec<Measure>) {
        crate::query::project(&self.measures.iter().map(|at| &self.view.measures[*at]).collect::<Vec<_>>())
    }

    fn specs(&self, states: &[usize]) -> Vec<StateSpec> {
        states.iter().map(|state| self.view.states[*state].clone()).collect()
    }

    /// No groups yet.
    fn groups(&self) -> GroupTable {
        let mut types: Vec<ColumnType> = self.keys.iter().map(|key| key.input.column_type()).collect();
        if types.is_empty() {
            types.push(ColumnType::Int);
        }
        GroupTable::new(&types, &self.specs(&self.projected().0))
    }

    /// The roll-ups that give the same as all rows do.
    fn roll_ups(&self) -> RollUps {
        let view = &self.view;
        let read: Vec<&str> = self
            .keys
            .iter()
            .map(|key| &key.input)
            .chain(&self.filter)
            .flat_map(Expression::columns)
            .map(String::as_str)
            .collect();
        let dimensions =
            view.dimensions.iter().enumerate().filter(|(_, dimension)| read.contains(&dimension.name.as_str()));
        let dimensions: Vec<usize> = dimensions.map(|(at, _)| at).collect();
        let mut states = self.projected().0;
        states.sort_unstable();
        let roll_up = |grain| RollUp { grain, dimensions: dimensions.clone(), states: states.clone() };
        let day = view.grain.zone().map_or(Grain::DAY, |zone| Grain::DAY.in_zone(zone));
        let day = view.grain.coarsened(day).filter(|day| day.nominal_us() > view.grain.nominal_us());
        let coarse = day.filter(|_| !read.contains(&view.bucket_name.as_str())).map(roll_up);
        let fewer = dimensions.len() < view.dimensions.len();
        RollUps { coarse, fine: fewer.then(|| roll_up(view.grain)) }
    }

    fn finished(&self, mut groups: GroupTable) -> Result<DataFrame, Error> {
        let (states, measures) = self.projected();
        let specs = self.specs(&states);
        let (keys, states) = groups.take()?;
        let rows = keys.first().map_or(0, |key| key.len());
        let mut columns = Vec::with_capacity(self.keys.len() + measures.len());
        for (key, values) in self.keys.iter().zip(&keys) {
            columns.push(exchange::to_polars(&key.name, &key_column(values)?, key.input.column_type())?);
        }
        for measure in &measures {
            let values = measure.finish(&specs, &states)?.values;
            let column_type = measure.value_type.scalar().expect("only measures of one value are columns");
            columns.push(exchange::to_polars(&measure.name, &values, column_type)?);
        }
        DataFrame::new(rows, columns).map_err(|error| Error::Sql(error.to_string()))
    }

    fn merge(&self, slice: &Slice, groups: &mut GroupTable) -> Result<u64, Error> {
        let kept = match &self.filter {
            Some(filter) => filter_record_batch(&slice.rows, &filter.matches(&slice.rows)?)?,
            None => slice.rows.clone(),
        };
        if kept.num_rows() == 0 {
            return Ok(0);
        }
        let mut keys: Vec<ArrayRef> =
            self.keys.iter().map(|key| key.input.evaluate(&kept)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            keys.push(Arc::new(Int64Array::from(vec![0; kept.num_rows()])));
        }
        let states = self.projected().0;
        let states: Vec<ArrayRef> = states.iter().map(|state| Arc::clone(kept.column(slice.state(*state)))).collect();
        groups.merge(&keys, &states)?;
        Ok(kept.num_rows() as u64)
    }
}
