//! The tables that a statement reads: groups of a view, merged from the tiers and finished.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::filter_record_batch,
};
use common::{
    expression::{Expression, exchange},
    fold::GroupTable,
    measure::{Measure, StateSpec},
    pipeline::QueryLimits,
    schema::ColumnType,
    view::View,
};
use polars::prelude::DataFrame;
use tokio_util::sync::CancellationToken;

use crate::{
    query::{Error, key_column},
    tiers::{Layer, Tiers},
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
        let (states, measures) =
            crate::query::project(&self.measures.iter().map(|at| &self.view.measures[*at]).collect::<Vec<_>>());
        let specs: Vec<StateSpec> = states.iter().map(|state| self.view.states[*state].clone()).collect();
        let mut types: Vec<ColumnType> = self.keys.iter().map(|key| key.input.column_type()).collect();
        if types.is_empty() {
            types.push(ColumnType::Int);
        }
        let mut groups = GroupTable::new(&types, &specs);
        let tables = tiers.tables(&self.view.name, Layer::Merged, i64::MIN, i64::MAX);
        let mut merged = 0;
        for table in tables.expect("the statement was checked against the views that are served") {
            if cancelled.is_cancelled() {
                return Err(Error::Cancelled);
            }
            merged += self.merge(table.partial(), &states, &mut groups)?;
            if groups.len() > limits.groups {
                return Err(Error::TooManyGroups { limit: limits.groups });
            }
        }
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
        let frame = DataFrame::new(rows, columns).map_err(|error| Error::Sql(error.to_string()))?;
        Ok((frame, merged))
    }

    fn merge(&self, partial: &RecordBatch, states: &[usize], groups: &mut GroupTable) -> Result<u64, Error> {
        let kept = match &self.filter {
            Some(filter) => filter_record_batch(partial, &filter.matches(partial)?)?,
            None => partial.clone(),
        };
        if kept.num_rows() == 0 {
            return Ok(0);
        }
        let mut keys: Vec<ArrayRef> =
            self.keys.iter().map(|key| key.input.evaluate(&kept)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            keys.push(Arc::new(Int64Array::from(vec![0; kept.num_rows()])));
        }
        let first = 1 + self.view.dimensions.len();
        let states: Vec<ArrayRef> = states.iter().map(|state| Arc::clone(kept.column(first + state))).collect();
        groups.merge(&keys, &states)?;
        Ok(kept.num_rows() as u64)
    }
}
