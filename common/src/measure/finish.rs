//! Finishing: from the states of a group to the value that a query answers.

use arrow::array::ArrayRef;

use super::{Error, StateFunction, StateSpec};
use crate::schema::ColumnType;

/// Digits of a sum of decimals: as many as the type can have.
const DECIMAL_SUM_DIGITS: u8 = 38;

/// How a measure is finished from its states; indices are into [`crate::view::View::states`].
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// The state itself: `count`, `sum`, `min`, `max`.
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
        (StateFunction::Count | StateFunction::Distinct { .. } | StateFunction::Quantiles { .. }, _) => ColumnType::Int,
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
    /// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Type`].
    pub fn finish(&self, specs: &[StateSpec], states: &[ArrayRef]) -> Result<Finished, Error> {
        let _ = (specs, states);
        unimplemented!("kernel helper")
    }
}
