//! What a measure is: how it is finished from the states of its view, of what type it then is, and how far it may be off.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{
    Error, StateFunction, StateSpec,
    finished::{self, Finished},
    frequent,
    spec::{DISTINCT_PRECISION, QUANTILES_RELATIVE_ERROR},
    value::ValueType,
};
use crate::{expression::Expression, schema::ColumnType};

/// Digits of a sum of decimals: as many as the type can have.
const DECIMAL_SUM_DIGITS: u8 = 38;

/// How a measure is finished from its states; indices are into [`crate::view::View::states`].
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// The state itself: `count`, `sum`, `min`, `max`, `first`, `last`, `arg_min`, `arg_max`, `histogram`.
    State(usize),
    /// `sum / count`, a double, or a time stamp of time stamps; null of none.
    Avg {
        /// The sum.
        sum: usize,
        /// The count of non-null inputs.
        count: usize,
    },
    /// The variance, a double; null of none, and of a sample of one.
    Variance {
        /// The sum of squares.
        squares: usize,
        /// The sum.
        sum: usize,
        /// The count of non-null inputs.
        count: usize,
        /// Whether the inputs are a sample: their squared distances are then divided by one less than there are.
        sample: bool,
        /// Whether its square root is asked: the standard deviation.
        root: bool,
    },
    /// The estimate of a HyperLogLog, an int.
    Distinct(usize),
    /// A HyperLogLog as Apache DataSketches reads it, bytes.
    Sketch(usize),
    /// The value at `quantile` of a DDSketch, a double; null of none.
    Percentile {
        /// The sketch.
        state: usize,
        /// 0 to 1.
        quantile: f64,
    },
    /// The values at several quantiles of a DDSketch, a list of doubles; null of none.
    Percentiles {
        /// The sketch.
        state: usize,
        /// 0 to 1 each.
        quantiles: Arc<[f64]>,
    },
    /// The most frequent values with their counts, a list.
    TopK {
        /// The counts of the values.
        state: usize,
        /// How many values at most.
        k: usize,
    },
}

impl Finish {
    /// The state that the measure is about.
    #[must_use]
    pub fn main_state(&self) -> usize {
        match *self {
            Self::State(state) | Self::Distinct(state) | Self::Sketch(state) => state,
            Self::Percentile { state, .. } | Self::Percentiles { state, .. } | Self::TopK { state, .. } => state,
            Self::Avg { sum, .. } => sum,
            Self::Variance { squares, .. } => squares,
        }
    }

    /// The same with its states numbered by `renumber`.
    #[must_use]
    pub fn renumbered(&self, mut renumber: impl FnMut(usize) -> usize) -> Self {
        let mut finish = self.clone();
        match &mut finish {
            Self::State(state) | Self::Distinct(state) | Self::Sketch(state) => *state = renumber(*state),
            Self::Percentile { state, .. } | Self::Percentiles { state, .. } | Self::TopK { state, .. } => {
                *state = renumber(*state);
            }
            Self::Avg { sum, count } => (*sum, *count) = (renumber(*sum), renumber(*count)),
            Self::Variance { squares, sum, count, .. } => {
                (*squares, *sum, *count) = (renumber(*squares), renumber(*sum), renumber(*count));
            }
        }
        finish
    }

    /// The type of the finished value, given the view's states. A sum of ints is an int, of doubles a double, of decimals
    /// a `decimal(38, scale)`; `min`, `max`, `first` and their like are of their input's type.
    #[must_use]
    pub fn value_type(&self, states: &[StateSpec]) -> ValueType {
        let state = &states[self.main_state()];
        match self {
            Self::State(_) => state_type(state),
            Self::Distinct(_) => ColumnType::Int.into(),
            Self::Sketch(_) => ValueType::Bytes,
            Self::Avg { .. } if state.input_type() == ColumnType::Timestamp => ColumnType::Timestamp.into(),
            Self::Avg { .. } | Self::Variance { .. } | Self::Percentile { .. } => ColumnType::Double.into(),
            Self::Percentiles { .. } => ValueType::List(ColumnType::Double),
            Self::TopK { .. } => ValueType::Counts(state.input_type()),
        }
    }

    /// The aggregate as normalised SQL: it parses to an equal one.
    pub(crate) fn sql(&self, states: &[StateSpec]) -> String {
        let state = &states[self.main_state()];
        let input = state.input().map_or("*", Expression::sql);
        let call = match self {
            Self::State(_) => return state.name(),
            Self::Avg { .. } => format!("avg({input})"),
            Self::Variance { sample, root, .. } => {
                let function = if *root { "stddev" } else { "var" };
                format!("{function}_{}({input})", if *sample { "samp" } else { "pop" })
            }
            Self::Distinct(_) => format!("approx_distinct({input}{})", optional(state)),
            Self::Sketch(_) => format!("hll_sketch({input}{})", optional(state)),
            Self::Percentile { quantile, .. } => format!("approx_percentile({input}, {quantile}{})", optional(state)),
            Self::Percentiles { quantiles, .. } => {
                let quantiles: Vec<String> = quantiles.iter().map(f64::to_string).collect();
                format!("approx_percentile({input}, [{}]{})", quantiles.join(", "), optional(state))
            }
            Self::TopK { k, .. } => format!("approx_top_k({input}, {k})"),
        };
        call + &state.filter_sql()
    }
}

/// The last argument of a sketch, where it is not what it is by default.
fn optional(state: &StateSpec) -> String {
    match state.function {
        StateFunction::Distinct { precision } if precision != DISTINCT_PRECISION => format!(", {precision}"),
        StateFunction::Quantiles { relative_error } if relative_error != QUANTILES_RELATIVE_ERROR => {
            format!(", {relative_error}")
        }
        _ => String::new(),
    }
}

/// The type of a state finished as it is.
pub(super) fn state_type(state: &StateSpec) -> ValueType {
    use StateFunction as F;
    match (&state.function, state.input_type()) {
        (F::Sum, ColumnType::Decimal { scale, .. }) => {
            ColumnType::Decimal { precision: DECIMAL_SUM_DIGITS, scale }.into()
        }
        (F::Sum, ColumnType::Timestamp) | (F::Count | F::Distinct { .. }, _) => ColumnType::Int.into(),
        (F::Sum | F::Min | F::Max | F::First | F::Last | F::ArgMin | F::ArgMax, input) => input.into(),
        (F::Squares | F::Quantiles { .. }, _) => ColumnType::Double.into(),
        (F::TopK, input) => ValueType::Counts(input),
        (F::Histogram(_), input) => ValueType::Bins(input),
    }
}

/// A named aggregate of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name in queries and answers.
    pub name: String,
    /// How it is finished.
    pub finish: Finish,
    /// The type of the finished value: [`Finish::value_type`].
    pub value_type: ValueType,
}

impl Measure {
    /// The measure called `name` of a view with these states.
    #[must_use]
    pub fn new(name: &str, finish: Finish, states: &[StateSpec]) -> Self {
        Self { name: name.to_owned(), value_type: finish.value_type(states), finish }
    }

    /// The relative error that the value may have: `None` where it is exact, and where the error is not relative to the value.
    /// For a HyperLogLog, its relative standard error.
    #[must_use]
    pub fn relative_error(&self, states: &[StateSpec]) -> Option<f64> {
        match states[self.finish.main_state()].function {
            // Flajolet et al. 2007, "HyperLogLog", theorem 1.
            StateFunction::Distinct { precision } => Some(1.04 / f64::from(1_u32 << precision).sqrt()),
            StateFunction::Quantiles { relative_error } => Some(relative_error),
            _ => None,
        }
    }

    /// The error that the counts of an `approx_top_k` may have, as a part of all that were counted: they may be too great by it,
    /// never too small. `None` of other measures. See `frequent` for how sure that is, and when counts are exact.
    #[must_use]
    pub fn error_of_total(&self) -> Option<f64> {
        matches!(self.finish, Finish::TopK { .. }).then_some(frequent::ERROR_OF_TOTAL)
    }

    /// Whether the value is exact, but for one rounding of a double.
    #[must_use]
    pub fn is_exact(&self, states: &[StateSpec]) -> bool {
        self.relative_error(states).is_none() && self.error_of_total().is_none()
    }

    /// The finished values, one a row of `states` (all state columns of the view, in the view's order).
    ///
    /// # Errors
    /// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Type`], [`Error::Null`].
    pub fn finish(&self, specs: &[StateSpec], states: &[ArrayRef]) -> Result<Finished, Error> {
        finished::finish(&self.finish, specs, states)
    }
}
