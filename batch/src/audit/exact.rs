//! Every group and measure of a view computed by Polars' own aggregations, exactly: no fold kernel, no state, no merge.

use std::collections::BTreeMap;

use common::{
    expression::Expression,
    measure::{Finish, Measure, StateFunction, StateSpec},
    schema::ColumnType,
    view::View,
};
use polars::prelude::{AnyValue, Column, DataFrame, DataType, Expr, LazyFrame, QuantileMethod, col, len, lit};

use super::{
    bucket,
    cell::{self, Cell},
    raw::dtype,
    sum::{exact_sum, ulp},
};
use crate::Error;

/// Half of the unit that doubles are rounded to before they are summed (L1): 2^-65.
const ROUNDING: f64 = 1.0 / ((1_u128 << 65) as f64);

/// A value as it must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected {
    /// The exact value.
    pub(super) value: Cell,
    /// How far an answer may be from it; `None` where it must be equal.
    pub(super) allowed: Option<f64>,
}

/// The groups of `view` over `raw`: bucket and dimensions, then a value a measure.
///
/// # Errors
/// [`Error::Audit`] for a view that the audit cannot compute, [`Error::Polars`].
pub(super) fn groups(view: &View, raw: LazyFrame) -> Result<BTreeMap<Vec<Cell>, Vec<Expected>>, Error> {
    let filtered = match &view.filter {
        Some(filter) => raw.filter(expression(filter)?),
        None => raw,
    };
    let bucket = bucket::start(view.grain, col(view.time_column.as_str())).map_err(|message| wrong(view, message))?;
    let mut keys = vec![bucket.alias("key_0")];
    for (at, dimension) in view.dimensions.iter().enumerate() {
        keys.push(expression(&dimension.input)?.alias(format!("key_{}", at + 1)));
    }
    let mut aggregates = Vec::new();
    for (at, measure) in view.measures.iter().enumerate() {
        let parts = parts(view, measure)?.into_iter().enumerate();
        aggregates.extend(parts.map(|(part, expr)| expr.alias(part_name(at, part))));
    }
    let action = "aggregate raw events";
    let found = filtered.group_by(keys).agg(aggregates).collect().map_err(|source| Error::Polars { action, source })?;
    rows(view, &found).map_err(|message| wrong(view, message))
}

fn wrong(view: &View, message: String) -> Error {
    Error::Audit { view: view.name.to_string(), message }
}

fn part_name(measure: usize, part: usize) -> String {
    format!("measure_{measure}_{part}")
}

/// An expression of a view as Polars reads it itself, in the type that the view says.
fn expression(expression: &Expression) -> Result<Expr, Error> {
    let sql = expression.sql();
    let expr = match expression.columns() {
        // A plain column may be called like a word of SQL.
        [column] if column == sql => col(column.as_str()),
        _ => polars::sql::sql_expr(sql).map_err(|source| Error::Polars { action: "read an expression", source })?,
    };
    Ok(expr.cast(dtype(expression.column_type())))
}

/// The aggregates that the exact value of `measure` is made of; see [`value`].
fn parts(view: &View, measure: &Measure) -> Result<Vec<Expr>, Error> {
    let state = main_state(view, measure);
    let Some(input) = state.input() else {
        return Ok(vec![len().cast(DataType::Int64)]);
    };
    let some = expression(input)?.drop_nulls();
    Ok(match (state.function, input.column_type()) {
        (StateFunction::Count, _) => vec![some.len().cast(DataType::Int64)],
        (StateFunction::Sum, ColumnType::Double) => vec![some.implode(false)],
        (StateFunction::Sum, ColumnType::Int) => vec![some.clone().cast(DataType::Int128).sum(), some.len()],
        (StateFunction::Sum, ColumnType::Decimal { scale, .. }) => {
            vec![some.clone().cast(DataType::Decimal(38, scale.into())).sum(), some.len()]
        }
        (StateFunction::Sum, other) => return Err(wrong(view, format!("{} is a sum of {other}", measure.name))),
        (StateFunction::Min, _) => vec![some.min()],
        (StateFunction::Max, _) => vec![some.max()],
        (StateFunction::Distinct { .. }, _) => vec![some.n_unique().cast(DataType::Int64)],
        (StateFunction::Quantiles { .. }, _) => {
            // Number ceil(q · n) in order, counted from 1, as the sketch and SQL's `percentile_disc` have it. A product that is
            // whole but for its rounding is whole, so q is lowered by more than that and less than any real fraction.
            let quantile = if let Finish::Percentile { quantile, .. } = measure.finish { quantile } else { 0.5 };
            let lowered = lit(quantile * (1.0 - 1e-13));
            vec![some.cast(DataType::Float64).quantile(lowered, QuantileMethod::Equiprobable)]
        }
    })
}

/// The state that a measure is about.
fn main_state<'a>(view: &'a View, measure: &Measure) -> &'a StateSpec {
    let (Finish::State(at) | Finish::Avg { sum: at, .. } | Finish::Distinct(at) | Finish::Percentile { state: at, .. }) =
        measure.finish;
    &view.states[at]
}

fn rows(view: &View, found: &DataFrame) -> Result<BTreeMap<Vec<Cell>, Vec<Expected>>, String> {
    let column = |name: &str| found.column(name).map_err(|error| error.to_string());
    let keys: Vec<&Column> =
        (0..=view.dimensions.len()).map(|at| column(&format!("key_{at}"))).collect::<Result<_, _>>()?;
    let mut measures = Vec::with_capacity(view.measures.len());
    for (at, measure) in view.measures.iter().enumerate() {
        measures.push((measure, column(&part_name(at, 0))?, found.column(&part_name(at, 1)).ok()));
    }
    let get =
        |column: &Column, row: usize| column.get(row).map_err(|error| error.to_string()).map(AnyValue::into_static);
    (0..found.height())
        .map(|row| {
            let key = keys.iter().map(|column| cell::from_polars(&get(column, row)?)).collect::<Result<Vec<_>, _>>()?;
            let values = measures.iter().map(|(measure, first, count)| {
                let count =
                    count.map(|count| get(count, row)?.try_extract::<u64>().map_err(|e| e.to_string())).transpose()?;
                value(view, measure, &get(first, row)?, count)
            });
            Ok((key, values.collect::<Result<_, String>>()?))
        })
        .collect()
}

/// The exact value of `measure` from its aggregates, and how far an answer may be from it.
fn value(view: &View, measure: &Measure, first: &AnyValue<'_>, count: Option<u64>) -> Result<Expected, String> {
    let averaged = matches!(measure.finish, Finish::Avg { .. });
    if let AnyValue::List(values) = first {
        let values = values.f64().map_err(|error| error.to_string())?;
        return Ok(of_doubles(&values.into_no_null_iter().collect::<Vec<_>>(), averaged));
    }
    let exact = if count == Some(0) { Cell::Null } else { cell::from_polars(first)? };
    if let (true, Cell::Number { units, scale }, Some(count)) = (averaged, &exact, count) {
        return mean(*units, *scale, count);
    }
    let allowed = match main_state(view, measure).function {
        StateFunction::Distinct { precision } => exact.as_f64().map(|exact| distinct_bound(exact, precision)),
        StateFunction::Quantiles { relative_error } => {
            exact.as_f64().map(|exact| relative_error * exact.abs() + 4.0 * ulp(exact))
        }
        _ => None,
    };
    Ok(Expected { value: exact, allowed })
}

/// The mean of ints or decimals. One division rounds once, as the answer does; numbers past 2^53 are rounded before it.
fn mean(units: i128, scale: u32, count: u64) -> Result<Expected, String> {
    const EXACT: u128 = 1 << 53;
    let divisor = 10_u128.checked_pow(scale).and_then(|unit| unit.checked_mul(count.into()));
    let divisor = divisor.ok_or_else(|| format!("a mean of {count} decimals of scale {scale}"))?;
    let mean = units as f64 / divisor as f64;
    let rounded_once = units.unsigned_abs() <= EXACT && divisor <= EXACT;
    Ok(Expected { value: Cell::Double(mean), allowed: (!rounded_once).then(|| 2.0 * ulp(mean)) })
}

/// Sum or mean of doubles. The answer rounds each input to a multiple of 2^-64 and the end once; NaN, infinities and what is
/// outside ±2^63 leave it without a value (DESIGN §2).
fn of_doubles(values: &[f64], averaged: bool) -> Expected {
    let limit = 2_f64.powi(63);
    if values.is_empty() || !values.iter().all(|value| value.abs() < limit) {
        return Expected { value: Cell::Null, allowed: None };
    }
    let count = values.len() as f64;
    let sum = exact_sum(values.iter().copied());
    if averaged {
        let mean = sum / count;
        return Expected { value: Cell::Double(mean), allowed: Some(2.0 * ulp(mean) + ROUNDING) };
    }
    Expected { value: Cell::Double(sum), allowed: Some(ulp(sum) + count * ROUNDING) }
}

/// How far a HyperLogLog's estimate may be from `exact`: five standard errors, and two for registers that values of small
/// groups share by chance.
fn distinct_bound(exact: f64, precision: u8) -> f64 {
    let standard_error = 1.04 / f64::from(1_u32 << precision).sqrt();
    5.0 * standard_error * exact + 2.0
}
