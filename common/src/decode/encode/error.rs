//! Why events cannot be written as records, and what would allow it.

use std::fmt;

use arrow::error::ArrowError;

use super::super::Error;
use crate::schema::Column;

/// What is known of the records that no column says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'g> {
    /// The column that is the key of an event that has none: one that was loaded.
    pub key: Option<&'g str>,
    /// The id of a registered schema that stands before each value of framed JSON. Which one an event was of is not kept.
    pub schema_id: Option<u32>,
    /// Whether columns that say where and when the log has a record may become others, which the log gives.
    pub anew: bool,
}

/// What cannot be written truly, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// What is wrong, for people.
    pub why: String,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column `{column}` cannot be written: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl Unwritable {
    pub(in crate::decode) fn column(column: &Column, why: impl Into<String>) -> Self {
        Self { column: Some(column.name.clone()), why: why.into() }
    }

    pub(in crate::decode) fn other(why: impl Into<String>) -> Self {
        Self { column: None, why: why.into() }
    }
}

/// Why events cannot be written as records.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// No event of the source can.
    #[error("{0}")]
    Source(Unwritable),
    /// No event of the source can without [`Given::schema_id`].
    #[error("{0}")]
    NoSchemaId(Unwritable),
    /// No event of the source can unless [`Given::anew`] allows it.
    #[error("{0}")]
    NotAnew(Unwritable),
    /// This one of a batch cannot, counted from 0.
    #[error("event {row}: {what}")]
    Event {
        /// Which event.
        row: usize,
        /// What of it.
        what: Unwritable,
    },
    /// The registry could not be asked, or its newest schema does not fit.
    #[error(transparent)]
    Schema(#[from] Error),
    /// A batch does not have the source's columns.
    #[error(transparent)]
    Batch(#[from] ArrowError),
}
