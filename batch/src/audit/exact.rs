//! Every group and measure of a view computed by Polars' own aggregations, exactly: no fold kernel, no state, no merge.
//!
//! This file makes the groups; [`aggregate`](super::aggregate) says what Polars computes of a measure, and
//! [`expected`](super::expected) what an answer must then be.

use std::collections::BTreeMap;

use common::{
    expression::{Derived, Expression, How},
    schema::ColumnType,
    view::View,
};
use polars::prelude::{AnyValue, Column, DataFrame, DataType, Expr, LazyFrame, TimeUnit, col};

use super::{
    aggregate, bucket,
    cell::{self, Cell},
    expected::{self, Expected},
    raw::dtype,
};
use crate::Error;

/// The groups of `view` over `raw`: bucket and dimensions, then a value a measure.
///
/// # Errors
/// [`Error::Audit`] for a view that the audit cannot compute, [`Error::Polars`].
pub(super) fn groups(view: &View, raw: LazyFrame) -> Result<BTreeMap<Vec<Cell>, Vec<Expected>>, Error> {
    let raw = without_zones(raw)?.with_columns(derived(view)?);
    let filtered = match &view.filter {
        Some(filter) => raw.filter(expression(filter)?),
        None => raw,
    };
    let bucket = bucket::start(view.grain, col(view.time_column.as_str())).map_err(|message| wrong(view, message))?;
    let mut keys = vec![bucket.alias("key_0")];
    for (at, dimension) in view.dimensions.iter().enumerate() {
        keys.push(expression(&dimension.input)?.alias(format!("key_{}", at + 1)));
    }
    let (mut aggregates, mut parts) = (Vec::new(), Vec::new());
    for (at, measure) in view.measures.iter().enumerate() {
        let computed = aggregate::parts(view, measure)?;
        parts.push(computed.len());
        aggregates.extend(computed.into_iter().enumerate().map(|(part, expr)| expr.alias(part_name(at, part))));
    }
    let action = "aggregate raw events";
    let found = filtered.group_by(keys).agg(aggregates).collect().map_err(|source| Error::Polars { action, source })?;
    rows(view, &found, &parts).map_err(|message| wrong(view, message))
}

pub(super) fn wrong(view: &View, message: String) -> Error {
    Error::Audit { view: view.name.to_string(), message }
}

fn part_name(measure: usize, part: usize) -> String {
    format!("measure_{measure}_{part}")
}

/// `raw` with its times as expressions see them: UTC, but Polars is not told, so that they compare with literals.
fn without_zones(mut raw: LazyFrame) -> Result<LazyFrame, Error> {
    let schema =
        raw.collect_schema().map_err(|source| Error::Polars { action: "find the types of raw events", source })?;
    let zoned = schema.iter().filter(|(_, dtype)| matches!(dtype, DataType::Datetime(_, Some(_))));
    let plain: Vec<Expr> = zoned.map(|(name, _)| bucket::without_zone(col(name.clone()))).collect();
    Ok(raw.with_columns(plain))
}

/// The columns that the view's expressions read and Polars' SQL has no words for, each once.
fn derived(view: &View) -> Result<Vec<Expr>, Error> {
    let named: BTreeMap<String, &Derived> =
        view.expressions().flat_map(|expression| expression.evaluated().1).map(|d| (d.name(), d)).collect();
    let exprs = named.into_iter().map(|(name, derived)| {
        let time = col(derived.column.as_str());
        let expr = match derived.how {
            How::Bucket(grain) => bucket::start(grain, time),
            How::Clock(zone) => bucket::shown(zone, time),
        };
        Ok(expr.map_err(|message| wrong(view, message))?.alias(name))
    });
    exprs.collect()
}

/// An expression of a view as Polars reads it itself, in the type that the view says.
pub(super) fn expression(expression: &Expression) -> Result<Expr, Error> {
    let expr = match expression.as_column() {
        // A plain column may be called like a word of SQL.
        Some(column) => col(column),
        None => polars::sql::sql_expr(expression.evaluated().0)
            .map_err(|source| Error::Polars { action: "read an expression", source })?,
    };
    Ok(expr.cast(match expression.column_type() {
        ColumnType::Timestamp => DataType::Datetime(TimeUnit::Microseconds, None),
        other => dtype(other),
    }))
}

/// The rows of `found`, whose measures have so many `parts` each.
fn rows(view: &View, found: &DataFrame, parts: &[usize]) -> Result<BTreeMap<Vec<Cell>, Vec<Expected>>, String> {
    let column = |name: &str| found.column(name).map_err(|error| error.to_string());
    let keys: Vec<&Column> =
        (0..=view.dimensions.len()).map(|at| column(&format!("key_{at}"))).collect::<Result<_, _>>()?;
    let mut measures = Vec::with_capacity(view.measures.len());
    for ((at, measure), parts) in view.measures.iter().enumerate().zip(parts) {
        let parts: Vec<&Column> = (0..*parts).map(|part| column(&part_name(at, part))).collect::<Result<_, _>>()?;
        measures.push((measure, parts));
    }
    let get =
        |column: &Column, row: usize| column.get(row).map_err(|error| error.to_string()).map(AnyValue::into_static);
    (0..found.height())
        .map(|row| {
            let key = keys.iter().map(|column| cell::from_polars(&get(column, row)?)).collect::<Result<Vec<_>, _>>()?;
            let values = measures.iter().map(|(measure, parts)| {
                let parts = parts.iter().map(|part| get(part, row)).collect::<Result<Vec<_>, _>>()?;
                expected::value(view, measure, &parts)
            });
            Ok((key, values.collect::<Result<_, String>>()?))
        })
        .collect()
}
