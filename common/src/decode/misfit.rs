//! Why values written by a schema cannot be read into a source's columns.

use std::fmt;

use crate::schema::{Column, ColumnType, TimestampFormat};

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The name of the column; empty if the whole schema is at fault.
    pub(super) name: String,
    message: String,
}

impl Misfit {
    /// The schema has nothing where `column`, which may not be null, stands.
    pub(super) fn nothing(column: &Column) -> Self {
        Self::new(column, "nothing", "a field, since the column may not be null")
    }

    /// The schema has `found` where `column` stands, and `allowed` are others.
    pub(super) fn new(column: &Column, found: &str, allowed: &str) -> Self {
        let message = format!("column {}: found {found} in the schema; allowed is {allowed}", declared(column));
        Self { name: column.name.clone(), message }
    }

    /// The schema cannot be read at all.
    pub(super) fn of_schema(message: String) -> Self {
        Self { name: String::new(), message }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The column as it stands in messages.
fn declared(column: &Column) -> String {
    let Column { name, column_type, path, nullable, .. } = column;
    let nullable = if *nullable { "?" } else { "" };
    let unit = match (column_type, column.timestamp_format) {
        (ColumnType::Timestamp, TimestampFormat::Seconds) => ", in seconds",
        (ColumnType::Timestamp, TimestampFormat::Millis) => ", in milliseconds",
        (ColumnType::Timestamp, TimestampFormat::Micros) => ", in microseconds",
        (ColumnType::Timestamp, TimestampFormat::Nanos) => ", in nanoseconds",
        _ => "",
    };
    format!("{name} {column_type}{nullable} at {path}{unit}")
}

/// The columns as they stand in messages, a line each.
pub(super) fn listed(columns: &[Column]) -> String {
    columns.iter().map(|column| format!("  {}", declared(column))).collect::<Vec<_>>().join("\n")
}
