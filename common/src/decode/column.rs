//! One column of events under construction: a value is converted to the column's type, checked and appended, or refused.
//! A row that fails is taken back with [`ColumnBuilder::truncate`], so that columns never differ in length for long.

mod run;
mod typed;

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, Float64Array, Int64Array,
        TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, ScalarBuffer},
};

pub(super) use self::typed::Typed;
use super::{
    dictionary::Key,
    number,
    scan::{Kind, Value, unescape},
    strings::Strings,
    time,
};
use crate::{
    event::Reason,
    schema::{Column, ColumnType, Range, TimestampFormat},
};

/// The values of a column, in the form that Arrow takes them over without a copy. Null rows hold a default.
#[derive(Debug)]
#[repr(u8)]
enum Values {
    Int {
        values: Vec<i64>,
        min: i64,
        max: i64,
    },
    Double {
        values: Vec<f64>,
        min: f64,
        max: f64,
    },
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
        /// The least magnitude that has more than `precision` digits.
        beyond: u128,
    },
    String(Strings),
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
    rows: usize,
    /// The rows that are null.
    nulls: Vec<usize>,
}

impl ColumnBuilder {
    /// An empty column. One that is `required` takes no null, whatever `column` says.
    pub(super) fn new(column: &Column, required: bool) -> Self {
        let values = match (column.column_type, column.range) {
            (ColumnType::Int, Some(Range::Int { min, max })) => Values::Int { values: Vec::new(), min, max },
            (ColumnType::Int, _) => Values::Int { values: Vec::new(), min: i64::MIN, max: i64::MAX },
            (ColumnType::Double, Some(Range::Double { min, max })) => Values::Double { values: Vec::new(), min, max },
            (ColumnType::Double, _) => {
                Values::Double { values: Vec::new(), min: f64::NEG_INFINITY, max: f64::INFINITY }
            }
            (ColumnType::Decimal { precision, scale }, _) => {
                Values::Decimal { values: Vec::new(), precision, scale, beyond: 10_u128.pow(precision.into()) }
            }
            (ColumnType::String, _) => Values::String(Strings::default()),
            (ColumnType::Bool, _) => Values::Bool(Vec::new()),
            (ColumnType::Timestamp, _) => Values::Timestamp { values: Vec::new(), format: column.timestamp_format },
        };
        Self { nullable: column.nullable && !required, values, rows: 0, nulls: Vec::new() }
    }

    /// Makes room for `rows` more.
    pub(super) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Int { values, .. } | Values::Timestamp { values, .. } => values.reserve(rows),
            Values::Double { values, .. } => values.reserve(rows),
            Values::Decimal { values, .. } => values.reserve(rows),
            Values::String(strings) => strings.reserve(rows),
            Values::Bool(values) => values.reserve(rows),
        }
    }

    /// Appends `value`; `None` is one that is not there, the same as a null.
    ///
    /// # Errors
    /// [`Reason::Missing`], [`Reason::Type`], [`Reason::Range`]: then nothing was appended.
    pub(super) fn append(&mut self, value: Option<Value<'_>>) -> Result<(), Reason> {
        match value {
            Some(value) if value.kind != Kind::Null => {
                self.values.append(value)?;
                self.rows += 1;
            }
            _ if self.nullable => self.push_nulls(1),
            _ => return Err(Reason::Missing),
        }
        Ok(())
    }

    fn push_nulls(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.values.append_defaults(count);
        self.nulls.extend(self.rows..self.rows + count);
        self.rows += count;
    }

    /// Takes back all rows from row `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        if self.rows <= rows {
            return;
        }
        match &mut self.values {
            Values::Int { values, .. } | Values::Timestamp { values, .. } => values.truncate(rows),
            Values::Double { values, .. } => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::String(strings) => strings.truncate(rows),
            Values::Bool(values) => values.truncate(rows),
        }
        self.rows = rows;
        while self.nulls.last().is_some_and(|&row| row >= rows) {
            self.nulls.pop();
        }
    }

    /// A row of a timestamp column, microseconds since 1970-01-01 UTC.
    pub(super) fn timestamp(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Timestamp { values, .. } => values.get(row).copied(),
            _ => None,
        }
    }

    /// The newest row of a timestamp column, likewise.
    pub(super) fn last_timestamp(&self) -> Option<i64> {
        self.timestamp(self.rows.checked_sub(1)?)
    }

    /// Takes the rows out, as an array of the column's Arrow type; strings may be a dictionary.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let nulls = self.finish_nulls();
        match &mut self.values {
            Values::Int { values, .. } => Arc::new(Int64Array::new(take(values), nulls)),
            Values::Double { values, .. } => Arc::new(Float64Array::new(take(values), nulls)),
            Values::Decimal { values, precision, scale, .. } => {
                let array = Decimal128Array::new(take(values), nulls);
                Arc::new(
                    array.with_precision_and_scale(*precision, *scale as i8).expect("the schema's decimals are valid"),
                )
            }
            Values::String(strings) => strings.finish(nulls),
            Values::Bool(values) => Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls)),
            Values::Timestamp { values, .. } => {
                Arc::new(TimestampMicrosecondArray::new(take(values), nulls).with_timezone("UTC"))
            }
        }
    }

    fn finish_nulls(&mut self) -> Option<NullBuffer> {
        let rows = std::mem::take(&mut self.rows);
        if self.nulls.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        self.nulls.drain(..).for_each(|row| valid.set_bit(row, false));
        Some(NullBuffer::new(valid.finish()))
    }
}

fn take<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    std::mem::take(values).into()
}

impl Values {
    fn append(&mut self, value: Value<'_>) -> Result<(), Reason> {
        match self {
            Self::Int { values, min, max } => {
                let value = whole(value).ok_or(Reason::Type)?;
                if value < *min || value > *max {
                    return Err(Reason::Range);
                }
                values.push(value);
            }
            Self::Double { values, min, max } => {
                let value = double(value).ok_or(Reason::Type)?;
                if value < *min || value > *max {
                    return Err(Reason::Range);
                }
                values.push(value);
            }
            Self::Decimal { values, precision, scale, .. } => {
                values.push(decimal(value, *precision, *scale).ok_or(Reason::Type)?);
            }
            Self::String(strings) => {
                let text = string(value).ok_or(Reason::Type)?;
                strings.push(&Key::new(text.as_bytes()));
            }
            Self::Bool(values) => match value.kind {
                Kind::Bool(value) => values.push(value),
                _ => return Err(Reason::Type),
            },
            Self::Timestamp { values, format: TimestampFormat::Rfc3339 } => {
                let instant = string(value).and_then(|text| time::rfc3339(text.as_bytes()));
                values.push(instant.ok_or(Reason::Type)?);
            }
            Self::Timestamp { values, format } => {
                let instant = whole(value).and_then(|count| time::epoch(count, *format));
                values.push(instant.ok_or(Reason::Type)?);
            }
        }
        Ok(())
    }

    fn append_defaults(&mut self, count: usize) {
        match self {
            Self::Int { values, .. } | Self::Timestamp { values, .. } => append_defaults(values, count),
            Self::Double { values, .. } => append_defaults(values, count),
            Self::Decimal { values, .. } => append_defaults(values, count),
            Self::String(strings) => strings.push_nulls(count),
            Self::Bool(values) => append_defaults(values, count),
        }
    }
}

fn append_defaults<T: Clone + Default>(values: &mut Vec<T>, count: usize) {
    values.resize(values.len() + count, T::default());
}

fn whole(value: Value<'_>) -> Option<i64> {
    match value.kind {
        Kind::Integer => number::integer(value.text).ok(),
        Kind::Number => number::whole(value.text).ok(),
        _ => None,
    }
}

fn double(value: Value<'_>) -> Option<f64> {
    match value.kind {
        Kind::Integer | Kind::Number => number::double(value.text).ok(),
        _ => None,
    }
}

fn decimal(value: Value<'_>, precision: u8, scale: u8) -> Option<i128> {
    let digits = match value.kind {
        Kind::Integer | Kind::Number => Cow::Borrowed(value.text),
        _ => string(value).filter(|digits| number::is_number(digits))?,
    };
    number::decimal(&digits, precision, scale).ok()
}

/// The text of a string, its escapes resolved: some writers escape the `+` of a time's offset.
fn string(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind {
        Kind::String => Some(Cow::Borrowed(value.text)),
        Kind::EscapedString => {
            let mut bytes = Vec::with_capacity(value.text.len());
            unescape(value.text.as_bytes(), &mut bytes);
            Some(Cow::Owned(String::from_utf8(bytes).expect("escapes of valid text stand for valid text")))
        }
        _ => None,
    }
}
