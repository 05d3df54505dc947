//! The answer, and how its values stand in JSON: ints as numbers, all 64 bits of them; doubles as numbers, or `"NaN"`,
//! `"Infinity"`, `"-Infinity"`; decimals as strings, since a reader's number would round them; time stamps in RFC 3339.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};
use common::{
    measure::{Measure, StateSpec},
    schema::ColumnType,
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{
    Serialize, Serializer,
    ser::{SerializeSeq, SerializeStruct},
};

use crate::tiers::Provenance;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The type of its values, see [`column_type_name`].
    #[serde(rename = "type")]
    pub column_type: String,
    /// Whether the values are exact, for a measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// The relative error the values may have, for a measure that is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
}

impl ColumnInfo {
    /// The column of `measure`, of a view with these states.
    #[must_use]
    pub fn of(measure: &Measure, states: &[StateSpec]) -> Self {
        let relative_error = measure.relative_error(states);
        Self {
            name: measure.name.clone(),
            column_type: column_type_name(measure.column_type),
            exact: Some(relative_error.is_none()),
            relative_error,
        }
    }
}

/// The name of a type in answers: `int64`, `float64`, `decimal(38,2)`, `string`, `bool`, `timestamp`.
#[must_use]
pub fn column_type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Int => "int64".to_owned(),
        ColumnType::Double => "float64".to_owned(),
        other => other.to_string(),
    }
}

/// What answering took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Time from plan to answer, microseconds.
    pub elapsed_us: u64,
    /// Rows of partials that were merged.
    pub rows_merged: u64,
    /// Rows that there are without the limit.
    pub groups: usize,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the columns are.
    pub columns: Vec<ColumnInfo>,
    /// The rows, a column each; strings as Utf8.
    pub rows: RecordBatch,
    /// The time zone that bucket starts are written in; `None` if there is no bucket column.
    pub zone: Option<TimeZone>,
    /// Where it comes from (L6).
    pub provenance: Provenance,
    /// What it took.
    pub stats: Stats,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 4)?;
        answer.serialize_field("columns", &self.columns)?;
        answer.serialize_field("rows", &Rows(self))?;
        answer.serialize_field("provenance", &self.provenance)?;
        answer.serialize_field("stats", &self.stats)?;
        answer.end()
    }
}

struct Rows<'a>(&'a Answer);
struct Row<'a>(&'a Answer, usize);
struct Cell<'a>(&'a Answer, usize, usize);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.0.rows.num_rows();
        let mut sequence = serializer.serialize_seq(Some(rows))?;
        (0..rows).try_for_each(|row| sequence.serialize_element(&Row(self.0, row)))?;
        sequence.end()
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.rows.num_columns();
        let mut sequence = serializer.serialize_seq(Some(columns))?;
        (0..columns).try_for_each(|column| sequence.serialize_element(&Cell(self.0, self.1, column)))?;
        sequence.end()
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(answer, row, index) = self;
        let column = answer.rows.column(*index);
        if column.is_null(*row) {
            return serializer.serialize_none();
        }
        match column.data_type() {
            DataType::Int64 => serializer.serialize_i64(column.as_primitive::<Int64Type>().value(*row)),
            DataType::Float64 => double(column.as_primitive::<Float64Type>().value(*row), serializer),
            DataType::Utf8 => serializer.serialize_str(column.as_string::<i32>().value(*row)),
            DataType::Boolean => serializer.serialize_bool(column.as_boolean().value(*row)),
            DataType::Decimal128(_, _) => {
                serializer.serialize_str(&column.as_primitive::<Decimal128Type>().value_as_string(*row))
            }
            DataType::Timestamp(_, _) => {
                let us = column.as_primitive::<TimestampMicrosecondType>().value(*row);
                // Only the bucket, which comes first where there is one, is a time of the calendar.
                let zone = answer.zone.as_ref().filter(|_| *index == 0);
                serializer.serialize_str(&zone.map_or_else(|| timestamp_text(us), |zone| zoned_text(us, zone)))
            }
            other => Err(serde::ser::Error::custom(format!("a column of {other} is not of a column type"))),
        }
    }
}

fn double<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        value if value.is_finite() => serializer.serialize_f64(value),
        value if value.is_nan() => serializer.serialize_str("NaN"),
        value => serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}

/// A time in RFC 3339, UTC, from microseconds since 1970-01-01 UTC.
#[must_use]
pub fn timestamp_text(us: i64) -> String {
    // What no calendar has, a decoder that checks nothing could still have let in.
    Timestamp::from_microsecond(us).map_or_else(|_| format!("{us}us"), |time| time.to_string())
}

/// A time in RFC 3339 with the offset that `zone` has then.
fn zoned_text(us: i64, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(us) {
        Ok(time) if zone == &TimeZone::UTC => time.to_string(),
        Ok(time) => time.display_with_offset(zone.to_offset(time)).to_string(),
        Err(_) => timestamp_text(us),
    }
}

/// A key column without dictionary codes.
pub(super) fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, _) => cast(column, &DataType::Utf8),
        _ => Ok(Arc::clone(column)),
    }
}
