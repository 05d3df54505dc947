//! One column of events under construction: a value is converted to the column's type, checked and appended, or refused.
//! A row that fails is taken back with [`ColumnBuilder::truncate`], so that columns never differ in length for long.

use std::{borrow::Cow, ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, NullBufferBuilder, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
};

use super::{
    number,
    scan::{Kind, Raw, unescape},
    time,
};
use crate::{
    event::Reason,
    schema::{Column, ColumnType, Range, TimestampFormat},
};

/// The values of a column, in the form that Arrow takes them over without a copy. Null rows hold a default.
#[derive(Debug)]
enum Values {
    Int {
        values: Vec<i64>,
        allowed: RangeInclusive<i64>,
    },
    Double {
        values: Vec<f64>,
        allowed: RangeInclusive<f64>,
    },
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    /// `offsets` starts with 0 and has where each row ends.
    String {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    Bool(Vec<bool>),
    Timestamp {
        values: Vec<i64>,
        format: TimestampFormat,
    },
}

/// Builds one column.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    nullable: bool,
    values: Values,
    nulls: NullBufferBuilder,
}

impl ColumnBuilder {
    /// An empty column. One that is `required` takes no null, whatever `column` says.
    pub(super) fn new(column: &Column, required: bool) -> Self {
        let values = match column.column_type {
            ColumnType::Int => {
                let allowed = match column.range {
                    Some(Range::Int { min, max }) => min..=max,
                    _ => i64::MIN..=i64::MAX,
                };
                Values::Int { values: Vec::new(), allowed }
            }
            ColumnType::Double => {
                let allowed = match column.range {
                    Some(Range::Double { min, max }) => min..=max,
                    _ => f64::NEG_INFINITY..=f64::INFINITY,
                };
                Values::Double { values: Vec::new(), allowed }
            }
            ColumnType::Decimal { precision, scale } => Values::Decimal { values: Vec::new(), precision, scale },
            ColumnType::String => Values::String { offsets: vec![0], bytes: Vec::new() },
            ColumnType::Bool => Values::Bool(Vec::new()),
            ColumnType::Timestamp => Values::Timestamp { values: Vec::new(), format: column.timestamp_format },
        };
        Self { nullable: column.nullable && !required, values, nulls: NullBufferBuilder::new(0) }
    }

    /// Makes room for `rows` more.
    pub(super) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Int { values, .. } | Values::Timestamp { values, .. } => values.reserve(rows),
            Values::Double { values, .. } => values.reserve(rows),
            Values::Decimal { values, .. } => values.reserve(rows),
            Values::String { offsets, bytes } => {
                offsets.reserve(rows);
                bytes.reserve(rows * 8);
            }
            Values::Bool(values) => values.reserve(rows),
        }
    }

    /// Appends `value`, which lies in `text`; `None` is one that is not there, the same as a null.
    ///
    /// # Errors
    /// [`Reason::Missing`], [`Reason::Type`], [`Reason::Range`]: then nothing was appended.
    #[inline]
    pub(super) fn append(&mut self, value: Option<Raw>, text: &str) -> Result<(), Reason> {
        match value {
            Some(raw) if raw.kind != Kind::Null => {
                self.values.append(raw, text)?;
                self.nulls.append_non_null();
            }
            _ if self.nullable => {
                self.values.append_default();
                self.nulls.append_null();
            }
            _ => return Err(Reason::Missing),
        }
        Ok(())
    }

    /// Takes back all rows from row `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Int { values, .. } | Values::Timestamp { values, .. } => values.truncate(rows),
            Values::Double { values, .. } => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::String { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
            Values::Bool(values) => values.truncate(rows),
        }
        self.nulls.truncate(rows);
    }

    /// The newest row of a timestamp column, microseconds since 1970-01-01 UTC.
    pub(super) fn last_timestamp(&self) -> Option<i64> {
        match &self.values {
            Values::Timestamp { values, .. } => values.last().copied(),
            _ => None,
        }
    }

    /// Takes the rows out, as an array of the column's Arrow type.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Int { values, .. } => Arc::new(Int64Array::new(take(values), nulls)),
            Values::Double { values, .. } => Arc::new(Float64Array::new(take(values), nulls)),
            Values::Decimal { values, precision, scale } => {
                let array = Decimal128Array::new(take(values), nulls);
                Arc::new(
                    array.with_precision_and_scale(*precision, *scale as i8).expect("the schema's decimals are valid"),
                )
            }
            Values::String { offsets, bytes } => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                Arc::new(StringArray::new(offsets, Buffer::from_vec(std::mem::take(bytes)), nulls))
            }
            Values::Bool(values) => Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls)),
            Values::Timestamp { values, .. } => {
                Arc::new(TimestampMicrosecondArray::new(take(values), nulls).with_timezone("UTC"))
            }
        }
    }
}

fn take<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    std::mem::take(values).into()
}

impl Values {
    #[inline]
    fn append(&mut self, raw: Raw, text: &str) -> Result<(), Reason> {
        match self {
            Self::Int { values, allowed } => {
                let value = whole(raw, text).ok_or(Reason::Type)?;
                if !allowed.contains(&value) {
                    return Err(Reason::Range);
                }
                values.push(value);
            }
            Self::Double { values, allowed } => {
                let value = double(raw, text).ok_or(Reason::Type)?;
                if !allowed.contains(&value) {
                    return Err(Reason::Range);
                }
                values.push(value);
            }
            Self::Decimal { values, precision, scale } => {
                values.push(decimal(raw, text, *precision, *scale).ok_or(Reason::Type)?);
            }
            Self::String { offsets, bytes } => {
                match raw.kind {
                    Kind::String => bytes.extend_from_slice(raw.text(text).as_bytes()),
                    Kind::EscapedString => unescape(raw.text(text), bytes),
                    _ => return Err(Reason::Type),
                }
                offsets.push(end(bytes));
            }
            Self::Bool(values) => match raw.kind {
                Kind::Bool(value) => values.push(value),
                _ => return Err(Reason::Type),
            },
            Self::Timestamp { values, format: TimestampFormat::Rfc3339 } => {
                let instant = string(raw, text).and_then(|text| time::rfc3339(&text));
                values.push(instant.ok_or(Reason::Type)?);
            }
            Self::Timestamp { values, format } => {
                let instant = whole(raw, text).and_then(|count| time::epoch(count, *format));
                values.push(instant.ok_or(Reason::Type)?);
            }
        }
        Ok(())
    }

    fn append_default(&mut self) {
        match self {
            Self::Int { values, .. } | Self::Timestamp { values, .. } => values.push(0),
            Self::Double { values, .. } => values.push(0.0),
            Self::Decimal { values, .. } => values.push(0),
            Self::String { offsets, bytes } => offsets.push(end(bytes)),
            Self::Bool(values) => values.push(false),
        }
    }
}

fn end(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("a run of records is far below 2 GiB")
}

#[inline]
fn whole(raw: Raw, text: &str) -> Option<i64> {
    match raw.kind {
        Kind::Integer => number::integer(raw.text(text)).ok(),
        Kind::Number => number::whole(raw.text(text)).ok(),
        _ => None,
    }
}

#[inline]
fn double(raw: Raw, text: &str) -> Option<f64> {
    match raw.kind {
        Kind::Integer | Kind::Number => number::double(raw.text(text)).ok(),
        _ => None,
    }
}

fn decimal(raw: Raw, text: &str, precision: u8, scale: u8) -> Option<i128> {
    let digits = match raw.kind {
        Kind::Integer | Kind::Number => Cow::Borrowed(raw.text(text)),
        _ => string(raw, text).filter(|digits| number::is_number(digits))?,
    };
    number::decimal(&digits, precision, scale).ok()
}

/// The text of a string, its escapes resolved: some writers escape the `+` of a time's offset.
#[inline]
fn string(raw: Raw, text: &str) -> Option<Cow<'_, str>> {
    match raw.kind {
        Kind::String => Some(Cow::Borrowed(raw.text(text))),
        Kind::EscapedString => {
            let mut bytes = Vec::new();
            unescape(raw.text(text), &mut bytes);
            Some(Cow::Owned(String::from_utf8(bytes).expect("escapes of valid text stand for valid text")))
        }
        _ => None,
    }
}
