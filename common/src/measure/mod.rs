//! The algebra: measures, the mergeable states they are finished from, and their canonical encodings (L1).
//!
//! A state is a commutative monoid: merging is associative and commutative and has an identity, and equal states have
//! equal bytes. A file per kind of state.

use std::fmt::Debug;

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, Field},
};

use crate::{expression::Expression, schema::ColumnType};

/// Why a state could not be folded, merged or finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sum is outside what its type can hold. An error, never a wrap (DESIGN §2).
    #[error("the {state} overflows {limit}")]
    Overflow {
        /// The state, as `sum(delay_minutes)`.
        state: String,
        /// What it must fit.
        limit: &'static str,
    },
    /// Bytes that are not the canonical encoding of a state.
    #[error("not a {state} state: {message}")]
    Corrupt {
        /// The kind of state.
        state: &'static str,
        /// What is wrong with the bytes.
        message: String,
    },
    /// A column is not of the type that the view says.
    #[error("column {column} is {got}, the view needs {expected}")]
    Type {
        /// Which column.
        column: String,
        /// The type it has.
        got: DataType,
        /// The type it must have.
        expected: DataType,
    },
    /// An expression failed.
    #[error(transparent)]
    Expression(#[from] crate::expression::Error),
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

/// The kinds of state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StateFunction {
    /// How many rows, or how many non-null inputs.
    Count,
    /// The exact sum of the non-null inputs; null of none.
    Sum,
    /// The least non-null input.
    Min,
    /// The greatest non-null input.
    Max,
    /// HyperLogLog of the non-null inputs with 2^`precision` registers.
    Distinct {
        /// 4 to 16; the relative standard error is 1.04 / sqrt(2^precision).
        precision: u8,
    },
    /// DDSketch of the non-null inputs.
    Quantiles {
        /// The relative error bound, more than 0 and less than 1.
        relative_error: f64,
    },
}

/// One state column of a view: a function and its input.
#[derive(Debug, Clone, PartialEq)]
pub struct StateSpec {
    /// What is kept.
    pub function: StateFunction,
    /// Of what; `None` is `count(*)`.
    pub input: Option<Expression>,
}

impl StateSpec {
    /// The name of the state's column in a partial, as `sum(delay_minutes)`.
    #[must_use]
    pub fn name(&self) -> String {
        unimplemented!("measures helper")
    }

    /// The Arrow field of the state's column in a partial.
    #[must_use]
    pub fn field(&self) -> Field {
        unimplemented!("measures helper")
    }
}

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

/// A named aggregate of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name in queries and answers.
    pub name: String,
    /// How it is finished.
    pub finish: Finish,
    /// The type of the finished value; a sum of decimals is `decimal(38, scale)`.
    pub column_type: ColumnType,
}

impl Measure {
    /// The relative error that the value may have: `None` where it is exact. For a HyperLogLog, its relative standard error.
    #[must_use]
    pub fn relative_error(&self, states: &[StateSpec]) -> Option<f64> {
        let _ = states;
        unimplemented!("measures helper")
    }

    /// The finished values, one a row of `states` (all state columns of the view, in the view's order), in the Arrow type
    /// of [`Self::column_type`], null where there is no value.
    ///
    /// # Errors
    /// [`Error::Overflow`], [`Error::Corrupt`].
    pub fn finish(&self, specs: &[StateSpec], states: &[ArrayRef]) -> Result<ArrayRef, Error> {
        let _ = (specs, states);
        unimplemented!("measures helper")
    }
}
