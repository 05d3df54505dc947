//! A column as the kernel reads it: its type checked once, its hashes made once for all states that need them.

use std::cell::OnceCell;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    buffer::{BooleanBuffer, NullBuffer},
    datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use xxhash_rust::xxh3::xxh3_64;

use super::Error;
use crate::schema::ColumnType;

/// A checked column.
#[derive(Debug)]
pub(crate) struct Input {
    array: ArrayRef,
    column_type: ColumnType,
    nulls: Option<NullBuffer>,
    hashes: OnceCell<Vec<u64>>,
}

/// The values of a column. Those of null rows mean nothing; a code of a null row may be out of range.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Ints, or time stamps in µs.
    Int(&'a [i64]),
    Double(&'a [f64]),
    /// In units of 10^-scale.
    Decimal(&'a [i128]),
    Bool(&'a BooleanBuffer),
    Text(&'a StringArray),
    /// Codes, and the text of each code.
    Coded(&'a [i32], &'a StringArray),
}

impl Input {
    /// The column `array`, called `name()` if it is not of `expected`.
    ///
    /// # Errors
    /// [`Error::Type`].
    pub(crate) fn new(name: impl Fn() -> String, array: ArrayRef, expected: ColumnType) -> Result<Self, Error> {
        let got = array.data_type();
        if *got != expected.arrow() && !(expected == ColumnType::String && is_coded_text(got)) {
            return Err(Error::Type { column: name(), got: got.clone(), expected: expected.arrow() });
        }
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self { array, column_type: expected, nulls, hashes: OnceCell::new() })
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.array.len()
    }

    /// The rows that are null, whether by their own bit or by their code's; `None` if there are none.
    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }

    /// The values.
    pub(crate) fn values(&self) -> Values<'_> {
        match self.column_type {
            ColumnType::Int => Values::Int(self.array.as_primitive::<Int64Type>().values()),
            ColumnType::Timestamp => Values::Int(self.array.as_primitive::<TimestampMicrosecondType>().values()),
            ColumnType::Double => Values::Double(self.array.as_primitive::<Float64Type>().values()),
            ColumnType::Decimal { .. } => Values::Decimal(self.array.as_primitive::<Decimal128Type>().values()),
            ColumnType::Bool => Values::Bool(self.array.as_boolean().values()),
            ColumnType::String => match self.array.as_dictionary_opt::<Int32Type>() {
                Some(coded) => Values::Coded(coded.keys().values(), coded.values().as_string()),
                None => Values::Text(self.array.as_string()),
            },
        }
    }

    /// XXH3-64 of each row's canonical bytes: 8 of an int, a time stamp or a double (see [`canonical`]), 16 of a decimal,
    /// all little-endian; 1 of a bool; the UTF-8 of text. Those of null rows mean nothing.
    pub(crate) fn hashes(&self) -> &[u64] {
        self.hashes.get_or_init(|| match self.values() {
            Values::Int(values) => values.iter().map(|v| xxh3_64(&v.to_le_bytes())).collect(),
            Values::Double(values) => values.iter().map(|&v| xxh3_64(&canonical(v).to_bits().to_le_bytes())).collect(),
            Values::Decimal(values) => values.iter().map(|v| xxh3_64(&v.to_le_bytes())).collect(),
            Values::Bool(values) => values.iter().map(|v| xxh3_64(&[u8::from(v)])).collect(),
            Values::Text(values) => (0..values.len()).map(|row| xxh3_64(text(values, row))).collect(),
            Values::Coded(codes, values) => {
                let of_code: Vec<u64> = (0..values.len()).map(|code| xxh3_64(text(values, code))).collect();
                codes.iter().map(|&code| of_code.get(code as usize).copied().unwrap_or(0)).collect()
            }
        })
    }
}

fn is_coded_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(codes, values) if **codes == DataType::Int32 && **values == DataType::Utf8)
}

/// The bytes of one row; some bytes if the row is null.
#[inline]
pub(crate) fn text(values: &StringArray, row: usize) -> &[u8] {
    values.value(row).as_bytes()
}

/// The one double that stands for all that are equal to `value`: 0.0 for -0.0, one NaN for all NaNs.
#[inline]
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        // -0.0 + 0.0 is 0.0, and adding 0.0 changes nothing else.
        value + 0.0
    }
}

/// A number that orders as doubles do here: by value, NaN greatest, -0.0 being 0.0. [`from_ordered`] takes it back.
#[inline]
pub(crate) fn to_ordered(value: f64) -> i64 {
    flip(canonical(value).to_bits() as i64)
}

/// The canonical double whose [`to_ordered`] is `ordered`.
#[inline]
pub(crate) fn from_ordered(ordered: i64) -> f64 {
    f64::from_bits(flip(ordered) as u64)
}

/// Negative doubles order backwards by their bits below the sign: flips these, and is its own inverse.
#[inline]
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}
