//! What an answer must be, given what Polars computed of a measure, and whether it is.

use std::collections::BTreeMap;

use common::{
    measure::{Finish, Measure, StateFunction, StateSpec, TOP_K_VALUES_MAX},
    schema::ColumnType,
    view::View,
};
use polars::prelude::{AnyValue, Series};

use super::{
    cell::{self, Cell},
    sum::{exact_sum, ulp},
};

/// Half of the unit that doubles are rounded to before they are summed (L1): 2^-65.
const ROUNDING: f64 = 1.0 / ((1_u128 << 65) as f64);

/// A value as it must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected {
    /// The exact value; of a measure that is not one value, what can be shown of it.
    pub(super) value: Cell,
    /// Which answers are right.
    pub(super) fit: Fit,
}

/// Which answers are right.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fit {
    /// The exact value only.
    Equal,
    /// What is at most so far from the exact value.
    Within(f64),
    /// A list whose items are each as far from the exact value's.
    EachWithin(Vec<f64>),
    /// Any of these: of `first` and `last`, since raw files do not say which of two events of one time is before the other.
    OneOf(Vec<Cell>),
    /// The most frequent of these values, none less often than it is, nor more often by over `slack`.
    Top {
        /// How often each occurs.
        counts: BTreeMap<Cell, i128>,
        /// How many are answered.
        k: usize,
        /// How much too great a count may be.
        slack: f64,
    },
    /// Bins of these counts.
    Bins(Vec<Cell>),
    /// Anything: bytes that only another program reads. That both layers answer the same is checked all the same.
    Any,
}

impl Fit {
    /// How far from the exact value an answer may be, if there is one such number.
    pub(super) fn allowed(&self) -> Option<f64> {
        match self {
            Self::Within(allowed) => Some(*allowed),
            Self::Top { slack, .. } => Some(*slack),
            _ => None,
        }
    }
}

impl Expected {
    fn equal(value: Cell) -> Self {
        Self { value, fit: Fit::Equal }
    }

    /// Whether `answered` is right.
    pub(super) fn admits(&self, answered: &Cell) -> bool {
        let close = |exact: &Cell, answered: &Cell, allowed: f64| match (exact.as_f64(), answered.as_f64()) {
            (Some(exact), Some(answered)) => (answered - exact).abs() <= allowed || exact == answered,
            _ => exact == answered,
        };
        match (&self.fit, &self.value, answered) {
            (Fit::Any, ..) => true,
            (Fit::Within(allowed), exact, answered) => close(exact, answered, *allowed),
            (Fit::EachWithin(allowed), Cell::List(exact), Cell::List(answered)) => {
                let mut pairs = exact.iter().zip(answered).zip(allowed);
                exact.len() == answered.len()
                    && pairs.all(|((exact, answered), allowed)| close(exact, answered, *allowed))
            }
            (Fit::OneOf(values), _, answered) => {
                values.contains(answered) || (values.is_empty() && *answered == Cell::Null)
            }
            (Fit::Top { counts, k, slack }, _, Cell::List(answered)) => is_top(counts, *k, *slack, answered),
            (Fit::Bins(counts), _, Cell::List(bins)) => {
                let answered = bins.iter().filter_map(|bin| bin.items().last());
                bins.len() == counts.len() && answered.eq(counts)
            }
            (_, exact, answered) => exact == answered,
        }
    }
}

/// Whether `answered`, pairs of a value and its count, are the `k` most frequent of `counts` but for `slack`.
fn is_top(counts: &BTreeMap<Cell, i128>, k: usize, slack: f64, answered: &[Cell]) -> bool {
    let mut greatest: Vec<i128> = counts.values().copied().collect();
    greatest.sort_unstable_by(|a, b| b.cmp(a));
    let pairs: Option<Vec<(i128, i128)>> = answered
        .iter()
        .map(|pair| match pair.items() {
            [value, Cell::Number { units, scale: 0 }] => Some((*counts.get(value)?, *units)),
            _ => None,
        })
        .collect();
    let Some(pairs) = pairs else { return false };
    let distinct = answered.iter().map(|pair| &pair.items()[0]).collect::<std::collections::BTreeSet<_>>();
    pairs.len() == k.min(counts.len())
        && distinct.len() == pairs.len()
        && pairs.is_sorted_by(|a, b| a.1 >= b.1)
        && pairs.iter().all(|&(exact, said)| exact <= said && (said - exact) as f64 <= slack)
        && pairs.iter().zip(&greatest).all(|(&(exact, _), &greatest)| exact as f64 + slack >= greatest as f64)
}

/// The value of `measure` from what [`aggregate`](super::aggregate) has Polars compute.
pub(super) fn value(view: &View, measure: &Measure, parts: &[AnyValue<'_>]) -> Result<Expected, String> {
    let state = &view.states[measure.finish.main_state()];
    let cells = || parts.iter().map(cell::from_polars).collect::<Result<Vec<_>, _>>();
    match (&state.function, &measure.finish) {
        (StateFunction::Sum, finish) => sum(state, matches!(finish, Finish::Avg { .. }), parts),
        (StateFunction::Squares, Finish::Variance { sample, root, .. }) => variance(&cells()?, *sample, *root),
        (StateFunction::First | StateFunction::Last, _) => {
            let values = items(&parts[0])?;
            let value = values.first().cloned().unwrap_or(Cell::Null);
            Ok(Expected { value, fit: Fit::OneOf(values) })
        }
        (StateFunction::Distinct { .. }, Finish::Sketch(_)) => Ok(Expected { value: Cell::Null, fit: Fit::Any }),
        (StateFunction::Distinct { precision }, _) => {
            let value = cell::from_polars(&parts[0])?;
            let bound = value.as_f64().map_or(0.0, |exact| distinct_bound(exact, *precision));
            Ok(Expected { value, fit: Fit::Within(bound) })
        }
        (StateFunction::Quantiles { relative_error }, finish) => {
            let (values, bound) = (cells()?, |value: &Cell| quantile_bound(value, *relative_error));
            Ok(match finish {
                Finish::Percentiles { .. } if values.contains(&Cell::Null) => Expected::equal(Cell::Null),
                Finish::Percentiles { .. } => {
                    let fit = Fit::EachWithin(values.iter().map(bound).collect());
                    Expected { value: Cell::List(values), fit }
                }
                _ => Expected { fit: Fit::Within(bound(&values[0])), value: values[0].clone() },
            })
        }
        (StateFunction::TopK, finish) => top(&items(&parts[0])?, finish, measure.error_of_total().unwrap_or(0.0)),
        (StateFunction::Histogram(_), _) => {
            let counts = cells()?;
            Ok(Expected { value: Cell::List(counts.clone()), fit: Fit::Bins(counts) })
        }
        _ => Ok(Expected::equal(cell::from_polars(&parts[0])?)),
    }
}

/// The values of a list.
fn items(list: &AnyValue<'_>) -> Result<Vec<Cell>, String> {
    match list {
        AnyValue::List(values) => values.iter().map(|value| cell::from_polars(&value)).collect(),
        other => Err(format!("{other} where a list was computed")),
    }
}

/// How many values a part says there are.
fn count(part: &AnyValue<'_>) -> Result<u64, String> {
    part.try_extract::<u64>().map_err(|error| error.to_string())
}

/// A sum or a mean.
fn sum(state: &StateSpec, averaged: bool, parts: &[AnyValue<'_>]) -> Result<Expected, String> {
    if let AnyValue::List(values) = &parts[0] {
        return Ok(of_doubles(&doubles(values)?, averaged));
    }
    let n = count(&parts[1])?;
    if n == 0 {
        return Ok(Expected::equal(Cell::Null));
    }
    match (averaged, cell::from_polars(&parts[0])?) {
        (true, Cell::Number { units, .. })
            if state.input().is_some_and(|x| x.column_type() == ColumnType::Timestamp) =>
        {
            let mean = i64::try_from(units.div_euclid(n.into())).map_err(|error| error.to_string())?;
            Ok(Expected::equal(Cell::Time(mean)))
        }
        (true, Cell::Number { units, scale }) => mean(units, scale, n),
        (_, exact) => Ok(Expected::equal(exact)),
    }
}

fn doubles(values: &Series) -> Result<Vec<f64>, String> {
    Ok(values.f64().map_err(|error| error.to_string())?.into_no_null_iter().collect())
}

/// The mean of ints or decimals. One division rounds once, as the answer does; numbers past 2^53 are rounded before it.
fn mean(units: i128, scale: u32, count: u64) -> Result<Expected, String> {
    const EXACT: u128 = 1 << 53;
    let divisor = 10_u128.checked_pow(scale).and_then(|unit| unit.checked_mul(count.into()));
    let divisor = divisor.ok_or_else(|| format!("a mean of {count} decimals of scale {scale}"))?;
    let mean = units as f64 / divisor as f64;
    let rounded_once = units.unsigned_abs() <= EXACT && divisor <= EXACT;
    let fit = if rounded_once { Fit::Equal } else { Fit::Within(2.0 * ulp(mean)) };
    Ok(Expected { value: Cell::Double(mean), fit })
}

/// Sum or mean of doubles. The answer rounds each input to a multiple of 2^-64 and the end once; NaN, infinities and what is
/// outside ±2^63 leave it without a value (DESIGN §2).
fn of_doubles(values: &[f64], averaged: bool) -> Expected {
    if values.is_empty() || !values.iter().all(|&value| has_fixed_point(value)) {
        return Expected::equal(Cell::Null);
    }
    let count = values.len() as f64;
    let sum = exact_sum(values.iter().copied());
    let (value, allowed) = if averaged {
        let mean = sum / count;
        (mean, 2.0 * ulp(mean) + ROUNDING)
    } else {
        (sum, ulp(sum) + count * ROUNDING)
    };
    Expected { value: Cell::Double(value), fit: Fit::Within(allowed) }
}

fn has_fixed_point(value: f64) -> bool {
    value.abs() < 2_f64.powi(63)
}

/// A variance or its root. The answer is exact; Polars' own has the errors of sums of doubles: 10^-9 of it, and 10^-13 of what
/// the mean's own digits make, are more than it was ever seen to be off.
fn variance(parts: &[Cell], sample: bool, root: bool) -> Result<Expected, String> {
    let [variance, mean, least, greatest, Cell::Number { units: count, .. }] = parts else {
        return Err(format!("{} parts of a variance", parts.len()));
    };
    let fixed = [mean, least, greatest].map(|cell| cell.as_f64().is_some_and(has_fixed_point));
    if *count <= i128::from(sample) || fixed != [true; 3] {
        return Ok(Expected::equal(Cell::Null));
    }
    let (Some(variance), Some(mean)) = (variance.as_f64(), mean.as_f64()) else {
        return Err("no variance of some values".to_owned());
    };
    let allowed = 1e-9 * variance + 1e-13 * mean * mean;
    let (value, allowed) = if root {
        let root = variance.max(0.0).sqrt();
        // Whichever bounds |√a - √b| better: |a - b| / √a, or √|a - b|.
        (root, if root > 0.0 { (allowed / root).min(allowed.sqrt()) } else { allowed.sqrt() })
    } else {
        (variance, allowed)
    };
    Ok(Expected { value: Cell::Double(value), fit: Fit::Within(allowed) })
}

/// How far a HyperLogLog's estimate may be from `exact`: five standard errors, and two for registers that values of small
/// groups share by chance.
fn distinct_bound(exact: f64, precision: u8) -> f64 {
    let standard_error = 1.04 / f64::from(1_u32 << precision).sqrt();
    5.0 * standard_error * exact + 2.0
}

fn quantile_bound(exact: &Cell, relative_error: f64) -> f64 {
    exact.as_f64().map_or(0.0, |exact| relative_error * exact.abs() + 4.0 * ulp(exact))
}

/// The most frequent values. Up to the number that the state keeps they are exact; beyond, a count is too great by more than the
/// stated part of all for one value in 55 only, and by more than three times that hardly ever.
fn top(values: &[Cell], finish: &Finish, error_of_total: f64) -> Result<Expected, String> {
    let Finish::TopK { k, .. } = *finish else { return Err("a top k that is finished otherwise".to_owned()) };
    let mut counts = BTreeMap::new();
    values.iter().for_each(|value| *counts.entry(value.clone()).or_insert(0) += 1);
    let slack = if counts.len() <= TOP_K_VALUES_MAX { 0.0 } else { 3.0 * error_of_total * values.len() as f64 };
    let mut shown: Vec<(&Cell, &i128)> = counts.iter().collect();
    shown.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let shown =
        shown.into_iter().take(k).map(|(value, &count)| Cell::List(vec![value.clone(), Cell::number(count, 0)]));
    let value = Cell::List(shown.collect());
    Ok(Expected { value, fit: Fit::Top { counts, k, slack } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(value: &str, count: i128) -> Cell {
        Cell::List(vec![Cell::Text(value.to_owned()), Cell::number(count, 0)])
    }

    #[test]
    fn a_top_is_right_only_with_the_most_frequent_values_and_their_counts() {
        let counts: BTreeMap<Cell, i128> =
            [("a", 5), ("b", 3), ("c", 3), ("d", 1)].map(|(v, n)| (Cell::Text(v.to_owned()), n)).into();
        let is = |slack, answered: &[Cell]| is_top(&counts, 2, slack, answered);
        assert!(is(0.0, &[pair("a", 5), pair("b", 3)]));
        assert!(is(0.0, &[pair("a", 5), pair("c", 3)]));
        assert!(!is(0.0, &[pair("a", 5), pair("d", 1)]));
        assert!(!is(0.0, &[pair("a", 5), pair("b", 4)]));
        assert!(!is(0.0, &[pair("a", 4), pair("b", 3)]));
        assert!(!is(0.0, &[pair("b", 3), pair("a", 5)]));
        assert!(!is(0.0, &[pair("a", 5), pair("a", 5)]));
        assert!(!is(0.0, &[pair("a", 5)]));
        assert!(!is(0.0, &[pair("a", 5), pair("x", 3)]));
        assert!(is(1.0, &[pair("a", 6), pair("b", 4)]));
        assert!(!is(1.0, &[pair("a", 7), pair("b", 4)]));
    }
}
