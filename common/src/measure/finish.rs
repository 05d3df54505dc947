//! Finishing: from the states of a group to the value that a query answers.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array},
    datatypes::DataType,
};

use super::{
    Error, StateFunction, StateSpec, WIDE_SUM,
    big::quotient,
    count, distinct, hyperloglog,
    quantiles::Percentile,
    spec::sum_width,
    sum,
    wide::{FIXED_POINT, Wide},
};
use crate::schema::ColumnType;

/// The quantile of a sketch that is finished without one.
const MEDIAN: f64 = 0.5;

/// Digits of a sum of decimals: as many as the type can have.
const DECIMAL_SUM_DIGITS: u8 = 38;

/// How a measure is finished from its states; indices are into [`crate::view::View::states`].
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// The state itself: `count`, `sum`, `min`, `max`; of a HyperLogLog its estimate, of a DDSketch its median.
    State(usize),
    /// `sum / count`, a double; null of none.
    Avg {
        /// The sum.
        sum: usize,
        /// The count of non-null inputs.
        count: usize,
    },
    /// The estimate of a HyperLogLog, an int.
    Distinct(usize),
    /// The value at `quantile` of a DDSketch, a double; null of none.
    Percentile {
        /// The sketch.
        state: usize,
        /// 0 to 1.
        quantile: f64,
    },
}

impl Finish {
    /// The type of the finished value, given the view's states. A sum of ints is an int, of doubles a double, of decimals
    /// a `decimal(38, scale)`; `min` and `max` are of their input's type.
    #[must_use]
    pub fn column_type(&self, states: &[StateSpec]) -> ColumnType {
        match *self {
            Self::State(state) => state_type(&states[state]),
            Self::Distinct(_) => ColumnType::Int,
            Self::Avg { .. } | Self::Percentile { .. } => ColumnType::Double,
        }
    }
}

fn state_type(state: &StateSpec) -> ColumnType {
    match (state.function, state.input_type()) {
        (StateFunction::Sum, ColumnType::Decimal { scale, .. }) => {
            ColumnType::Decimal { precision: DECIMAL_SUM_DIGITS, scale }
        }
        (StateFunction::Sum | StateFunction::Min | StateFunction::Max, input) => input,
        (StateFunction::Count | StateFunction::Distinct { .. }, _) => ColumnType::Int,
        (StateFunction::Quantiles { .. }, _) => ColumnType::Double,
    }
}

/// A named aggregate of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name in queries and answers.
    pub name: String,
    /// How it is finished.
    pub finish: Finish,
    /// The type of the finished value: [`Finish::column_type`].
    pub column_type: ColumnType,
}

/// The finished values of a measure.
#[derive(Debug, Clone)]
pub struct Finished {
    /// One value a row of states, in the Arrow type of the measure's [`column_type`](Measure::column_type), null where
    /// there is none.
    pub values: ArrayRef,
    /// How many of the values are null only because an input was NaN, infinite or outside ±2^63, so that its sum is
    /// poisoned. An answer must warn of them.
    pub poisoned: usize,
}

impl Measure {
    /// The relative error that the value may have: `None` where it is exact. For a HyperLogLog, its relative standard error.
    #[must_use]
    pub fn relative_error(&self, states: &[StateSpec]) -> Option<f64> {
        let (Finish::State(state) | Finish::Distinct(state) | Finish::Percentile { state, .. }) = self.finish else {
            return None;
        };
        match states[state].function {
            // Flajolet et al. 2007, "HyperLogLog", theorem 1.
            StateFunction::Distinct { precision } => Some(1.04 / f64::from(1_u32 << precision).sqrt()),
            StateFunction::Quantiles { relative_error } => Some(relative_error),
            StateFunction::Count | StateFunction::Sum | StateFunction::Min | StateFunction::Max => None,
        }
    }

    /// The finished values, one a row of `states` (all state columns of the view, in the view's order).
    ///
    /// # Errors
    /// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Type`], [`Error::Null`].
    pub fn finish(&self, specs: &[StateSpec], states: &[ArrayRef]) -> Result<Finished, Error> {
        match self.finish {
            Finish::State(state) | Finish::Distinct(state) => finish_state(&specs[state], &states[state]),
            Finish::Avg { sum, count } => {
                let counts = count::counts(&specs[count].name(), &states[count])?;
                average(&specs[sum], &states[sum], counts)
            }
            Finish::Percentile { state, quantile } => percentile(&specs[state], &states[state], quantile),
        }
    }
}

fn exact(values: ArrayRef) -> Finished {
    Finished { values, poisoned: 0 }
}

fn finish_state(spec: &StateSpec, states: &ArrayRef) -> Result<Finished, Error> {
    match spec.function {
        StateFunction::Count | StateFunction::Min | StateFunction::Max => {
            let expected = spec.field().data_type().clone();
            if *states.data_type() != expected {
                return Err(Error::Type { column: spec.name(), got: states.data_type().clone(), expected });
            }
            Ok(exact(Arc::clone(states)))
        }
        StateFunction::Sum => finish_sum(spec, states),
        StateFunction::Distinct { precision } => {
            let sketches = distinct::sketches(&spec.name(), states)?;
            let estimate = |bytes| {
                let estimate = hyperloglog::estimate(bytes, precision)?;
                i64::try_from(estimate).map_err(|_| overflow(spec, "int"))
            };
            let estimates = sketches.iter().map(|bytes| estimate(bytes.unwrap_or_default()));
            Ok(exact(Arc::new(Int64Array::from(estimates.collect::<Result<Vec<_>, _>>()?))))
        }
        StateFunction::Quantiles { .. } => percentile(spec, states, MEDIAN),
    }
}

fn overflow(spec: &StateSpec, limit: &'static str) -> Error {
    Error::Overflow { state: spec.name(), limit }
}

/// The sums of a column, in units of the input's last digit (2^-64 of doubles); `None` of no inputs.
fn sums(spec: &StateSpec, states: &ArrayRef) -> Result<Vec<Option<Wide>>, Error> {
    let width = sum_width(spec.input_type());
    let sums = sum::sums(&spec.name(), states, width)?;
    let wide = |row| if width == WIDE_SUM { sum::wide_sum(sums, row) } else { sum::narrow_sum(sums, row).into() };
    Ok((0..sums.len()).map(|row| sums.is_valid(row).then(|| wide(row))).collect())
}

fn finish_sum(spec: &StateSpec, states: &ArrayRef) -> Result<Finished, Error> {
    let sums = sums(spec, states)?.into_iter();
    match state_type(spec) {
        ColumnType::Double => Ok(doubles(sums.map(|sum| sum.map(|sum| (sum, 1))), 1, -FIXED_POINT)),
        ColumnType::Decimal { precision, scale } => {
            let limit = 10_i128.pow(u32::from(precision));
            let fits = |sum: Wide| sum.to_i128().filter(|sum| sum.unsigned_abs() < limit.unsigned_abs());
            let values = sums.map(|sum| sum.map(|s| fits(s).ok_or_else(|| overflow(spec, "decimal(38)"))).transpose());
            let values: Decimal128Array = values.collect::<Result<_, _>>()?;
            Ok(exact(Arc::new(values.with_data_type(ColumnType::Decimal { precision, scale }.arrow()))))
        }
        _ => {
            let fits = |sum: Wide| sum.to_i128().and_then(|sum| i64::try_from(sum).ok());
            let values = sums.map(|sum| sum.map(|s| fits(s).ok_or_else(|| overflow(spec, "int"))).transpose());
            Ok(exact(Arc::new(values.collect::<Result<Int64Array, _>>()?)))
        }
    }
}

fn average(spec: &StateSpec, states: &ArrayRef, counts: &[i64]) -> Result<Finished, Error> {
    let (scale, exponent) = match spec.input_type() {
        ColumnType::Double => (1, -FIXED_POINT),
        ColumnType::Decimal { scale, .. } => (10_u128.pow(u32::from(scale)), 0),
        _ => (1, 0),
    };
    let count = |count: i64| {
        let negative = || Error::Corrupt { state: "count", message: format!("{count} beside a sum") };
        u64::try_from(count).ok().filter(|&count| count > 0).ok_or_else(negative)
    };
    let pairs = sums(spec, states)?.into_iter().zip(counts);
    let pairs = pairs.map(|(sum, &n)| sum.map(|sum| count(n).map(|n| (sum, n))).transpose());
    Ok(doubles(pairs.collect::<Result<Vec<_>, _>>()?.into_iter(), scale, exponent))
}

/// `sum / (count · scale) · 2^exponent` of each, rounded once; null of none and of poison.
fn doubles(sums: impl Iterator<Item = Option<(Wide, u64)>>, scale: u128, exponent: i32) -> Finished {
    let mut poisoned = 0;
    let values: Float64Array = sums
        .map(|sum| {
            let (sum, count) = sum?;
            if sum == Wide::POISON {
                poisoned += 1;
                return None;
            }
            Some(quotient(sum, count, scale, exponent))
        })
        .collect();
    Finished { values: Arc::new(values), poisoned }
}

fn percentile(spec: &StateSpec, states: &ArrayRef, quantile: f64) -> Result<Finished, Error> {
    let StateFunction::Quantiles { relative_error } = spec.function else {
        return Err(Error::Type { column: spec.name(), got: states.data_type().clone(), expected: DataType::Binary });
    };
    let sketches = distinct::sketches(&spec.name(), states)?;
    let mut percentile = Percentile::new(spec.name(), relative_error, quantile);
    let values = sketches.iter().map(|bytes| percentile.of(bytes.unwrap_or_default()));
    Ok(exact(Arc::new(values.collect::<Result<Float64Array, _>>()?)))
}
