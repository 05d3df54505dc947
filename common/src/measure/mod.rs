//! The algebra: measures, the mergeable states they are finished from, and their canonical encodings (L1).
//!
//! A state is a commutative monoid: merging is associative and commutative and has an identity, and equal states have
//! equal bytes. A file per kind of state. Nothing here knows groups' keys, time or files.

pub(crate) mod names;
mod spec;

pub(crate) mod bytes;
pub(crate) mod input;
pub(crate) mod records;
pub(crate) mod rows;

pub(crate) mod accumulator;
mod big;
mod by_group;
mod count;
mod datasketches;
mod ddsketch;
mod distinct;
pub(crate) mod encoded;
mod extreme;
mod frequent;
mod histogram;
mod hyperloglog;
mod leb128;
mod murmur;
mod ordered;
mod pick;
mod quantiles;
mod seen;
mod sketched;
mod squares;
mod sum;
mod top_k;
mod variance;
mod wide;
mod widening;
pub(crate) mod words;

mod finish;
mod finished;
mod value;

use arrow::datatypes::DataType;

pub use finish::{Finish, Measure};
pub use finished::Finished;
pub use frequent::VALUES_MAX as TOP_K_VALUES_MAX;
pub use histogram::Edges;
pub(crate) use spec::{DISTINCT_PRECISION, QUANTILES_RELATIVE_ERROR};
use spec::{NARROW_SUM, WIDE_SUM};
pub use spec::{StateFunction, StateSpec};
pub use value::ValueType;

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
    /// Folding a view failed.
    #[error("folding view {view} failed")]
    View {
        /// The view.
        view: crate::names::ViewName,
        /// The cause.
        #[source]
        source: Box<Self>,
    },
    /// An expression failed.
    #[error(transparent)]
    Expression(#[from] crate::expression::Error),
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}
