//! Cells: single values from Arrow and from Polars in one form, so that they can be compared whatever type carried them.

use std::{cmp::Ordering, fmt};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StructArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit as ArrowUnit, TimestampMicrosecondType},
};
use polars::prelude::{AnyValue, TimeUnit};
use serde::{Serialize, Serializer};

/// One value. Ints and decimals are one kind: `12` equals `12.00`. `-0.0` equals `0.0`, and NaN equals itself and is greatest.
#[derive(Debug, Clone)]
pub enum Cell {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// `units / 10^scale`, with the least scale that holds it.
    Number {
        /// The digits.
        units: i128,
        /// How many of them are after the point.
        scale: u32,
    },
    /// A double.
    Double(f64),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
    /// Text.
    Text(String),
    /// Values in order: a list, or the fields of an item of one.
    List(Vec<Cell>),
    /// Bytes that another program reads.
    Bytes(Vec<u8>),
}

impl Cell {
    /// The number `units / 10^scale`.
    #[must_use]
    pub fn number(mut units: i128, mut scale: u32) -> Self {
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Self::Number { units, scale }
    }

    /// The nearest double, if it is a number of some kind.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number { units, scale: 0 } => Some(*units as f64),
            // The text of a decimal is exact, and reading it rounds once.
            Self::Number { .. } => self.to_string().parse().ok(),
            Self::Double(value) => Some(*value),
            Self::Null | Self::Bool(_) | Self::Time(_) | Self::Text(_) | Self::List(_) | Self::Bytes(_) => None,
        }
    }

    /// The items of a list; of anything else none.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number { .. } => 2,
            Self::Double(_) => 3,
            Self::Time(_) => 4,
            Self::Text(_) => 5,
            Self::List(_) => 6,
            Self::Bytes(_) => 7,
        }
    }
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            // Some total order is all that is needed: scales are the least ones, so equal numbers have equal parts.
            (Self::Number { units: a, scale: s }, Self::Number { units: b, scale: t }) => (s, a).cmp(&(t, b)),
            (Self::Double(a), Self::Double(b)) => canonical(*a).total_cmp(&canonical(*b)),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cell {}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number { units, scale: 0 } => units.fmt(f),
            Self::Number { units, scale } => {
                let (sign, digits) = (if *units < 0 { "-" } else { "" }, units.unsigned_abs().to_string());
                let scale = *scale as usize;
                let digits = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(f, "{sign}{whole}.{fraction}")
            }
            Self::Double(value) => value.fmt(f),
            Self::Time(us) => match jiff::Timestamp::from_microsecond(*us) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{us} us"),
            },
            Self::Text(value) => f.write_str(value),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Bytes(bytes) => write!(f, "{} bytes, FNV-1a {:016x}", bytes.len(), fnv1a(bytes)),
        }
    }
}

/// Enough to tell long bytes apart in a report.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Null, booleans, doubles and 64-bit ints as what they are in JSON; everything else as text, which loses no digit.
impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Double(value) => serializer.serialize_f64(*value),
            Self::Number { units, scale: 0 } if i64::try_from(*units).is_ok() => {
                serializer.serialize_i64(*units as i64)
            }
            Self::List(items) => items.serialize(serializer),
            Self::Number { .. } | Self::Time(_) | Self::Text(_) | Self::Bytes(_) => serializer.collect_str(self),
        }
    }
}

/// The values of an Arrow column of any type that a view's key or measure can have.
///
/// # Errors
/// The type, in words, if it is none of these.
pub(super) fn from_arrow(column: &ArrayRef) -> Result<Vec<Cell>, String> {
    let plain = match column.data_type() {
        DataType::Dictionary(_, _) | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    };
    let column = cast(column, &plain).map_err(|error| error.to_string())?;
    let cell: Box<dyn Fn(usize) -> Cell> = match column.data_type() {
        DataType::Boolean => Box::new(|row| Cell::Bool(column.as_boolean().value(row))),
        DataType::Int64 => Box::new(|row| Cell::number(column.as_primitive::<Int64Type>().value(row).into(), 0)),
        DataType::Float64 => Box::new(|row| Cell::Double(column.as_primitive::<Float64Type>().value(row))),
        DataType::Decimal128(_, scale) => {
            let scale = u32::try_from(*scale).map_err(|_| format!("decimal of negative scale {scale}"))?;
            let values = column.as_primitive::<Decimal128Type>();
            Box::new(move |row| Cell::number(values.value(row), scale))
        }
        DataType::Utf8 => Box::new(|row| Cell::Text(column.as_string::<i32>().value(row).to_owned())),
        DataType::Timestamp(ArrowUnit::Microsecond, _) => {
            Box::new(|row| Cell::Time(column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Binary => Box::new(|row| Cell::Bytes(column.as_binary::<i32>().value(row).to_vec())),
        DataType::List(_) => return lists(column.as_list()),
        DataType::Struct(_) => return structs(column.as_struct()),
        other => return Err(format!("a column of type {other}, which no view has")),
    };
    Ok((0..column.len()).map(|row| if column.is_null(row) { Cell::Null } else { cell(row) }).collect())
}

fn lists(lists: &ListArray) -> Result<Vec<Cell>, String> {
    let list = |items: Option<ArrayRef>| items.map_or(Ok(Cell::Null), |items| from_arrow(&items).map(Cell::List));
    lists.iter().map(list).collect()
}

fn structs(structs: &StructArray) -> Result<Vec<Cell>, String> {
    let fields = structs.columns().iter().map(from_arrow).collect::<Result<Vec<_>, _>>()?;
    Ok((0..structs.len()).map(|row| Cell::List(fields.iter().map(|field| field[row].clone()).collect())).collect())
}

/// A Polars value of any type that the audit's own aggregations can have.
///
/// # Errors
/// The value, in words, if it is none of these.
pub(super) fn from_polars(value: &AnyValue<'_>) -> Result<Cell, String> {
    Ok(match value {
        AnyValue::Null => Cell::Null,
        AnyValue::Boolean(value) => Cell::Bool(*value),
        AnyValue::UInt32(value) => Cell::number((*value).into(), 0),
        AnyValue::UInt64(value) => Cell::number((*value).into(), 0),
        AnyValue::Int32(value) => Cell::number((*value).into(), 0),
        AnyValue::Int64(value) => Cell::number((*value).into(), 0),
        AnyValue::Int128(value) => Cell::number(*value, 0),
        AnyValue::Decimal(units, _, scale) => Cell::number(*units, *scale as u32),
        AnyValue::Float64(value) => Cell::Double(*value),
        AnyValue::String(value) => Cell::Text((*value).to_owned()),
        AnyValue::StringOwned(value) => Cell::Text(value.to_string()),
        AnyValue::Datetime(us, TimeUnit::Microseconds, _) | AnyValue::DatetimeOwned(us, TimeUnit::Microseconds, _) => {
            Cell::Time(*us)
        }
        other => return Err(format!("{other} of type {}, which no view has", other.dtype())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_whatever_their_scale() {
        assert_eq!(Cell::number(1200, 2), Cell::number(12, 0));
        assert_ne!(Cell::number(1201, 2), Cell::number(12, 0));
        assert_eq!(Cell::Double(-0.0), Cell::Double(0.0));
        assert_eq!(Cell::Double(f64::NAN), Cell::Double(-f64::NAN));
    }

    #[test]
    fn numbers_are_written_with_every_digit() {
        assert_eq!(Cell::number(-5, 2).to_string(), "-0.05");
        assert_eq!(Cell::number(12345, 2).to_string(), "123.45");
        assert_eq!(Cell::number(i128::MAX, 0).to_string(), i128::MAX.to_string());
        assert_eq!(Cell::number(12345, 2).as_f64(), Some(123.45));
    }
}
