//! What Polars computes of a measure: one aggregation or several. [`expected`](super::expected) reads them in this order.

use common::{
    measure::{Edges, Finish, Measure, StateFunction, StateSpec},
    schema::ColumnType,
    view::View,
};
use polars::prelude::{DataType, Expr, QuantileMethod, col, len, lit};

use super::exact::{expression, wrong};
use crate::Error;

/// The aggregations that the value of `measure` is made of.
///
/// # Errors
/// [`Error::Audit`] for a measure that the audit cannot compute, [`Error::Polars`].
pub(super) fn parts(view: &View, measure: &Measure) -> Result<Vec<Expr>, Error> {
    let state = &view.states[measure.finish.main_state()];
    let filter = state.filter.as_ref().map(expression).transpose()?;
    let Some(input) = state.input() else {
        let rows = filter.map_or_else(len, |filter| filter.sum());
        return Ok(vec![rows.cast(DataType::Int64)]);
    };
    let input_type = input.column_type();
    let input = expression(input)?;
    let mut counts = input.clone().is_not_null();
    if let Some(filter) = filter {
        counts = counts.and(filter.fill_null(lit(false)));
    }
    let some = input.clone().filter(counts.clone());
    Ok(match (&state.function, input_type) {
        (StateFunction::Count, _) => vec![some.len().cast(DataType::Int64)],
        (StateFunction::Sum, ColumnType::Double) => vec![some.implode(false)],
        (StateFunction::Sum, ColumnType::Int) => vec![some.clone().cast(DataType::Int128).sum(), some.len()],
        (StateFunction::Sum, ColumnType::Timestamp) => {
            vec![some.clone().cast(DataType::Int64).cast(DataType::Int128).sum(), some.len()]
        }
        (StateFunction::Sum, ColumnType::Decimal { scale, .. }) => {
            vec![some.clone().cast(DataType::Decimal(38, scale.into())).sum(), some.len()]
        }
        (StateFunction::Sum, other) => return Err(wrong(view, format!("{} is a sum of {other}", measure.name))),
        (StateFunction::Squares, _) => variance(some.cast(DataType::Float64), measure),
        (StateFunction::Min, _) => vec![some.min()],
        (StateFunction::Max, _) => vec![some.max()],
        (StateFunction::First, _) => {
            vec![at_extreme(input, col(view.time_column.as_str()), counts, false).implode(false)]
        }
        (StateFunction::Last, _) => {
            vec![at_extreme(input, col(view.time_column.as_str()), counts, true).implode(false)]
        }
        (StateFunction::ArgMin, _) => vec![at_extreme(input, order(state)?, counts, false).min()],
        (StateFunction::ArgMax, _) => vec![at_extreme(input, order(state)?, counts, true).max()],
        (StateFunction::Distinct { .. }, _) => vec![some.n_unique().cast(DataType::Int64)],
        (StateFunction::Quantiles { .. }, _) => quantiles(some, measure),
        (StateFunction::TopK, _) => vec![some.implode(false)],
        (StateFunction::Histogram(edges), _) => histogram(&some.cast(DataType::Float64), edges),
    })
}

/// Variance, mean, least, greatest, count: the middle ones tell how exact the first can be.
fn variance(some: Expr, measure: &Measure) -> Vec<Expr> {
    let sample = matches!(measure.finish, Finish::Variance { sample: true, .. });
    vec![some.clone().var(u8::from(sample)), some.clone().mean(), some.clone().min(), some.clone().max(), some.len()]
}

/// What an `arg_min` or `arg_max` is ordered by.
fn order(state: &StateSpec) -> Result<Expr, Error> {
    expression(&state.inputs[1])
}

/// The inputs of the events that count and have the least or greatest `order` of these.
fn at_extreme(input: Expr, order: Expr, counts: Expr, greatest: bool) -> Expr {
    let counts = counts.and(order.clone().is_not_null());
    let orders = order.clone().filter(counts.clone());
    let extreme = if greatest { orders.max() } else { orders.min() };
    input.filter(counts.and(order.eq(extreme)))
}

/// Each quantile, number ceil(q · n) in order, counted from 1, as the sketch and SQL's `percentile_disc` have it. A product that
/// is whole but for its rounding is whole, so q is lowered by more than that and less than any real fraction.
fn quantiles(some: Expr, measure: &Measure) -> Vec<Expr> {
    let asked = match &measure.finish {
        Finish::Percentile { quantile, .. } => vec![*quantile],
        Finish::Percentiles { quantiles, .. } => quantiles.to_vec(),
        _ => vec![0.5],
    };
    let some = some.cast(DataType::Float64);
    let of = |quantile: f64| some.clone().quantile(lit(quantile * (1.0 - 1e-13)), QuantileMethod::Equiprobable);
    asked.into_iter().map(of).collect()
}

/// The count of each bin.
fn histogram(some: &Expr, edges: &Edges) -> Vec<Expr> {
    let edges = edges.to_f64();
    let from = |edge: f64| some.clone().gt_eq(lit(edge));
    let below = |edge: f64| some.clone().lt(lit(edge));
    let first = below(edges[0]);
    let last = from(edges[edges.len() - 1]);
    let between = edges.windows(2).map(|bin| from(bin[0]).and(below(bin[1])));
    std::iter::once(first).chain(between).chain([last]).map(|bin| bin.sum().cast(DataType::Int64)).collect()
}
