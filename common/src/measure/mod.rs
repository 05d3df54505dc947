//! The algebra: measures, the mergeable states they are finished from, and their canonical encodings (L1).
//!
//! A state is a commutative monoid: merging is associative and commutative and has an identity, and equal states have
//! equal bytes. A file per kind of state. Nothing here knows groups' keys, time or files.

mod spec;

pub(crate) mod bytes;
pub(crate) mod input;
pub(crate) mod rows;

pub(crate) mod accumulator;
mod big;
mod count;
mod ddsketch;
mod distinct;
mod extreme;
mod hyperloglog;
mod leb128;
mod murmur;
mod quantiles;
mod sum;
mod wide;

mod finish;

use arrow::datatypes::DataType;

pub use finish::{Finish, Finished, Measure};
use spec::{NARROW_SUM, WIDE_SUM};
pub use spec::{StateFunction, StateSpec};

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
        /// The type it has; `Null` if there is no such column.
        got: DataType,
        /// The type it must have.
        expected: DataType,
    },
    /// A column that must have a value in every row has none in some: the event time, a bucket, a count.
    #[error("column {column} has a null where none may be")]
    Null {
        /// Which column.
        column: String,
    },
    /// An expression failed.
    #[error(transparent)]
    Expression(#[from] crate::expression::Error),
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}
