//! What one column of one event says, in a form that the judge can make too.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};

/// A value, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    /// The bits: doubles that are equal may differ in them.
    Double(u64),
    /// Units of the column's last place.
    Decimal(i128),
    Text(String),
    Bool(bool),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
}

impl Cell {
    /// What stands in a row of a column.
    pub(crate) fn of(column: &ArrayRef, row: usize) -> Self {
        if column.is_null(row) {
            return Self::Null;
        }
        match column.data_type() {
            DataType::Int64 => Self::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Double(column.as_primitive::<Float64Type>().value(row).to_bits()),
            DataType::Decimal128(..) => Self::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
            DataType::Utf8 => Self::Text(column.as_string::<i32>().value(row).to_owned()),
            DataType::Dictionary(..) => {
                let codes = column.as_dictionary::<Int32Type>();
                let code = codes.key(row).expect("it is not null");
                Self::Text(codes.values().as_string::<i32>().value(code).to_owned())
            }
            DataType::Boolean => Self::Bool(column.as_boolean().value(row)),
            DataType::Timestamp(..) => Self::Time(column.as_primitive::<TimestampMicrosecondType>().value(row)),
            other => panic!("no column is {other}"),
        }
    }
}
