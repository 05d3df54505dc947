//! The types of finished values: those of columns, and the few that only answers have.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields};

use crate::schema::ColumnType;

/// The type of a finished value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// One value of a column's type.
    Scalar(ColumnType),
    /// A list of such values: of several quantiles.
    List(ColumnType),
    /// A list of `{value, count}`, the most frequent value of this type first.
    Counts(ColumnType),
    /// A list of `{from, to, count}`, each bin of a histogram of values of this type.
    Bins(ColumnType),
    /// Bytes: a sketch for other programs to read.
    Bytes,
}

impl ValueType {
    /// The Arrow type of a column of such values.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Scalar(column_type) => column_type.arrow(),
            Self::List(column_type) => list(column_type.arrow()),
            Self::Counts(column_type) => {
                list(DataType::Struct(Fields::from(vec![field("value", column_type, false), count()])))
            }
            Self::Bins(column_type) => {
                let edges = [field("from", column_type, true), field("to", column_type, true)];
                list(DataType::Struct(edges.into_iter().chain([count()]).collect()))
            }
            Self::Bytes => DataType::Binary,
        }
    }

    /// The type, if it is one that a column can have: only such values have an order.
    #[must_use]
    pub fn scalar(self) -> Option<ColumnType> {
        match self {
            Self::Scalar(column_type) => Some(column_type),
            _ => None,
        }
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn field(name: &str, column_type: ColumnType, nullable: bool) -> Field {
    Field::new(name, column_type.arrow(), nullable)
}

fn count() -> Field {
    field("count", ColumnType::Int, false)
}

impl From<ColumnType> for ValueType {
    fn from(column_type: ColumnType) -> Self {
        Self::Scalar(column_type)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(column_type) => column_type.fmt(f),
            Self::List(column_type) => write!(f, "list({column_type})"),
            Self::Counts(column_type) => write!(f, "list(value {column_type}, count int)"),
            Self::Bins(column_type) => write!(f, "list(from {column_type}, to {column_type}, count int)"),
            Self::Bytes => f.write_str("bytes"),
        }
    }
}
