//! The answer, and how its values stand in JSON: ints as numbers, all 64 bits of them; doubles as numbers, or `"NaN"`,
//! `"Infinity"`, `"-Infinity"`; decimals as strings, since a reader's number would round them; time stamps in RFC 3339;
//! lists as arrays, of objects where their items have fields; bytes in base64.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StructArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    measure::{Measure, StateSpec, ValueType},
    schema::ColumnType,
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use utoipa::ToSchema;

use crate::tiers::Provenance;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The type of its values, see [`value_type_name`].
    #[serde(rename = "type")]
    pub column_type: String,
    /// Whether the values are exact, for a measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// The relative error the values may have, for a measure that is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
    /// The error that counts in the values may have, as a part of all that were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_of_total: Option<f64>,
    /// The type that rows can be ordered and filtered by: lists and bytes have none.
    #[serde(skip)]
    pub(super) scalar: Option<ColumnType>,
}

impl ColumnInfo {
    /// A column of a bucket or of a dimension.
    #[must_use]
    pub fn key(name: &str, column_type: ColumnType) -> Self {
        Self {
            name: name.to_owned(),
            column_type: value_type_name(column_type.into()),
            exact: None,
            relative_error: None,
            error_of_total: None,
            scalar: Some(column_type),
        }
    }

    /// The column of `measure`, of a view with these states.
    #[must_use]
    pub fn of(measure: &Measure, states: &[StateSpec]) -> Self {
        Self {
            name: measure.name.clone(),
            column_type: value_type_name(measure.value_type),
            exact: Some(measure.is_exact(states)),
            relative_error: measure.relative_error(states),
            error_of_total: measure.error_of_total(),
            scalar: measure.value_type.scalar(),
        }
    }

    /// Whether rows can be ordered by it.
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.scalar.is_some()
    }
}

/// The name of a type in answers: `int64`, `float64`, `decimal(38,2)`, `string`, `bool`, `timestamp`; of a list, as
/// `list(value string, count int64)`, the fields of its items, if they have any; `bytes`.
#[must_use]
pub fn value_type_name(value_type: ValueType) -> String {
    let name = |column_type| match column_type {
        ColumnType::Int => "int64".to_owned(),
        ColumnType::Double => "float64".to_owned(),
        other => other.to_string(),
    };
    match value_type {
        ValueType::Scalar(column_type) => name(column_type),
        ValueType::List(item) => format!("list({})", name(item)),
        ValueType::Counts(value) => format!("list(value {}, count int64)", name(value)),
        ValueType::Bins(edge) => format!("list(from {edge}, to {edge}, count int64)", edge = name(edge)),
        ValueType::Bytes => "bytes".to_owned(),
    }
}

/// What answering took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Stats {
    /// Time from plan to answer, microseconds.
    pub elapsed_us: u64,
    /// Rows of partials that were merged.
    pub rows_merged: u64,
    /// Rows that there are without the limit.
    pub groups: usize,
}

/// What a question with `since` is told besides its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changes {
    /// What to ask the next time in `since`.
    pub token: String,
    /// Whether the rows are all there are, since what changed cannot be told: the asker forgets what it has.
    pub reset: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the columns are.
    pub columns: Vec<ColumnInfo>,
    /// The rows, a column each; strings as Utf8.
    pub rows: RecordBatch,
    /// How many of the first columns are times of the calendar: where a bucket starts, and where it ends.
    pub bucket_columns: usize,
    /// The time zone that these are written in; `None` if there are none.
    pub zone: Option<TimeZone>,
    /// The measures of all groups together, in one row, or in none if there are no groups; `None` if not asked.
    pub totals: Option<RecordBatch>,
    /// What changed, if that was asked.
    pub changes: Option<Changes>,
    /// The cursor of the rows after these, if pages were asked and there are any.
    pub next: Option<String>,
    /// Where it comes from (L6).
    pub provenance: Provenance,
    /// What it took.
    pub stats: Stats,
}

impl Answer {
    /// An answer of rows that are neither grouped by time nor paged.
    pub(crate) fn of_rows(columns: Vec<ColumnInfo>, rows: RecordBatch, provenance: Provenance, stats: Stats) -> Self {
        let (bucket_columns, zone) = (0, None);
        Self { columns, rows, bucket_columns, zone, totals: None, changes: None, next: None, provenance, stats }
    }

    /// A row as an object.
    pub(super) fn object(&self, row: usize) -> impl Serialize {
        Object(self, row)
    }

    /// The value of a column in a row.
    pub(super) fn cell(&self, column: usize, row: usize) -> impl Serialize {
        let zone = self.zone.as_ref().filter(|_| column < self.bucket_columns);
        Cell(self.rows.column(column), row, zone)
    }

    /// What decides whether an answer is another: columns, rows and totals.
    pub(crate) fn content(&self) -> Content<'_> {
        Content { columns: &self.columns, rows: Rows(self), totals: self.totals.as_ref().map(Totals) }
    }
}

/// See [`Answer::content`].
#[derive(Serialize)]
pub(crate) struct Content<'a> {
    columns: &'a [ColumnInfo],
    rows: Rows<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals<'a>>,
}

/// An answer: columns, rows, and where they come from.
#[derive(Serialize, ToSchema)]
#[schema(as = Answer)]
pub(crate) struct Whole<'a> {
    #[schema(value_type = Vec<ColumnInfo>)]
    columns: &'a [ColumnInfo],
    /// A value a column each.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    rows: Rows<'a>,
    /// The measures of all groups together; null if there are no groups.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals<'a>>,
    #[schema(value_type = Option<Changes>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: &'a Option<Changes>,
    /// The cursor of the rows after these.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    next: &'a Option<String>,
    #[schema(value_type = Provenance)]
    provenance: &'a Provenance,
    #[schema(value_type = Stats)]
    stats: &'a Stats,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Content { columns, rows, totals } = self.content();
        let Self { changes, next, provenance, stats, .. } = self;
        Whole { columns, rows, totals, changes, next, provenance, stats }.serialize(serializer)
    }
}

/// The one row of a table, as an object; null of none.
struct Totals<'a>(&'a RecordBatch);

impl Serialize for Totals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.num_rows() == 0 {
            return serializer.serialize_none();
        }
        let mut map = serializer.serialize_map(Some(self.0.num_columns()))?;
        for (field, column) in self.0.schema_ref().fields().iter().zip(self.0.columns()) {
            map.serialize_entry(field.name(), &Cell(column, 0, None))?;
        }
        map.end()
    }
}

struct Rows<'a>(&'a Answer);
struct Object<'a>(&'a Answer, usize);
struct Row<'a>(&'a Answer, usize);

/// A value: its column, its row, and the time zone that it is written in, if it is a time of the calendar.
struct Cell<'a>(&'a ArrayRef, usize, Option<&'a TimeZone>);

/// An item of a list that has fields.
struct Item<'a>(&'a StructArray, usize);

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
        (0..columns).try_for_each(|column| sequence.serialize_element(&self.0.cell(column, self.1)))?;
        sequence.end()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.rows.num_columns()))?;
        for (column, info) in self.0.columns.iter().enumerate() {
            map.serialize_entry(&info.name, &self.0.cell(column, self.1))?;
        }
        map.end()
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(column, row, zone) = *self;
        if column.is_null(row) {
            return serializer.serialize_none();
        }
        match column.data_type() {
            DataType::Int64 => serializer.serialize_i64(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row), serializer),
            DataType::Utf8 => serializer.serialize_str(column.as_string::<i32>().value(row)),
            DataType::Boolean => serializer.serialize_bool(column.as_boolean().value(row)),
            DataType::Decimal128(_, _) => {
                serializer.serialize_str(&column.as_primitive::<Decimal128Type>().value_as_string(row))
            }
            DataType::Timestamp(_, _) => {
                let us = column.as_primitive::<TimestampMicrosecondType>().value(row);
                serializer.serialize_str(&zone.map_or_else(|| timestamp_text(us), |zone| zoned_text(us, zone)))
            }
            DataType::Binary => serializer.serialize_str(&STANDARD.encode(column.as_binary::<i32>().value(row))),
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for row in 0..items.len() {
                    match items.as_struct_opt() {
                        Some(items) => sequence.serialize_element(&Item(items, row))?,
                        None => sequence.serialize_element(&Cell(&items, row, None))?,
                    }
                }
                sequence.end()
            }
            other => Err(serde::ser::Error::custom(format!("a column of {other} is not of a value's type"))),
        }
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.num_columns()))?;
        for (field, column) in self.0.fields().iter().zip(self.0.columns()) {
            map.serialize_entry(field.name(), &Cell(column, self.1, None))?;
        }
        map.end()
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
pub(crate) fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, _) => cast(column, &DataType::Utf8),
        _ => Ok(Arc::clone(column)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, ListArray};
    use common::measure::ValueType;
    use serde_json::{Value, json};

    use super::*;

    fn written(column: impl Array + 'static) -> Value {
        let column: ArrayRef = Arc::new(column);
        (0..column.len()).map(|row| serde_json::to_value(Cell(&column, row, None)).unwrap()).collect()
    }

    #[test]
    fn lists_and_bytes_have_their_json() {
        let doubles = [Some(vec![Some(1.5), Some(f64::INFINITY)]), None, Some(Vec::new())];
        let doubles = ListArray::from_iter_primitive::<Float64Type, _, _>(doubles);
        assert_eq!(written(doubles), json!([[1.5, "Infinity"], null, []]));
        assert_eq!(written(BinaryArray::from(vec![Some(b"foob".as_slice()), None])), json!(["Zm9vYg==", null]));

        let DataType::List(item) = ValueType::Bins(ColumnType::Int).arrow() else { panic!("bins are a list") };
        let DataType::Struct(fields) = item.data_type() else { panic!("a bin is a struct") };
        let ints = |ints: [Option<i64>; 2]| -> ArrayRef { Arc::new(Int64Array::from_iter(ints)) };
        let columns = vec![ints([None, Some(60)]), ints([Some(60), None]), ints([Some(4), Some(0)])];
        let bins = StructArray::new(fields.clone(), columns, None);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
        let expected = json!([[{"from": null, "to": 60, "count": 4}, {"from": 60, "to": null, "count": 0}]]);
        assert_eq!(written(ListArray::new(item, offsets, Arc::new(bins), None)), expected);
    }

    #[test]
    fn types_have_the_names_of_the_api() {
        for (value_type, name) in [
            (ColumnType::Int.into(), "int64"),
            (ValueType::List(ColumnType::Double), "list(float64)"),
            (ValueType::Counts(ColumnType::String), "list(value string, count int64)"),
            (ValueType::Bins(ColumnType::Double), "list(from float64, to float64, count int64)"),
            (ValueType::Bytes, "bytes"),
        ] {
            assert_eq!(value_type_name(value_type), name);
        }
    }
}
