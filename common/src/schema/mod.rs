//! The typed columns of a source, and the Arrow schema of its events.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

mod path;

pub use path::{Path, Step};

/// The topic a record came from, in every event.
pub const TOPIC: &str = "_topic";
/// The partition a record came from, in every event.
pub const PARTITION: &str = "_partition";
/// The offset of the record, in every event.
pub const OFFSET: &str = "_offset";
/// The log's time stamp of the record, in every event.
pub const TIMESTAMP: &str = "_timestamp";
/// The key of the record, in every event; null where it has none.
pub const KEY: &str = "_key";

/// The type of a column, of a dimension, or of a measure's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// 64-bit signed integer.
    Int,
    /// IEEE 754 binary64.
    Double,
    /// Exact decimal of `precision` digits (1 to 38), `scale` of them after the point.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// UTF-8 text.
    String,
    /// True or false.
    Bool,
    /// Microseconds since 1970-01-01 UTC.
    Timestamp,
}

impl ColumnType {
    /// The Arrow type of a column of this type. Strings may also arrive as [`coded_type`].
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
            Self::String => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Timestamp => timestamp_type(),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Bool => f.write_str("bool"),
            Self::Timestamp => f.write_str("timestamp"),
        }
    }
}

/// How a timestamp is written in a record's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// Text as RFC 3339 has it, with an offset: `2013-01-01T05:17:00Z`.
    #[default]
    Rfc3339,
    /// A whole number of seconds since 1970-01-01 UTC.
    Seconds,
    /// A whole number of milliseconds since 1970-01-01 UTC.
    Millis,
    /// A whole number of microseconds since 1970-01-01 UTC.
    Micros,
    /// A whole number of nanoseconds since 1970-01-01 UTC; what is finer than a microsecond is cut off.
    Nanos,
}

impl TimestampFormat {
    /// The time as a count of this format's unit; `None` if it is no whole number of them, or the format has none.
    #[must_use]
    pub fn count(self, time_us: i64) -> Option<i128> {
        let whole = |unit_us: i64| (time_us % unit_us == 0).then(|| i128::from(time_us / unit_us));
        match self {
            Self::Rfc3339 => None,
            Self::Seconds => whole(1_000_000),
            Self::Millis => whole(1_000),
            Self::Micros => whole(1),
            Self::Nanos => Some(i128::from(time_us) * 1_000),
        }
    }
}

/// What part of its record a column is taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The value, where the column's path leads.
    #[default]
    Value,
    /// The key: where the path leads, or all of it if keys are plain text.
    Key,
    /// The last header of this name, as text.
    Header(String),
    /// The name of the topic.
    Topic,
    /// The number of the partition.
    Partition,
    /// The offset.
    Offset,
    /// The log's time stamp.
    Timestamp,
}

/// One column of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name in events and views.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// The part of the record that it is taken from.
    pub origin: Origin,
    /// Where it stands in that part, if that is the value or the key.
    pub path: Path,
    /// How it is written, if it is a timestamp.
    pub timestamp_format: TimestampFormat,
    /// Whether it may be null or missing.
    pub nullable: bool,
    /// The values allowed, if it is an `Int` or a `Double`; all if `None`.
    pub range: Option<Range>,
}

impl Column {
    /// A column that stands under its own name, is never null, and takes every value of its type; a timestamp as RFC 3339.
    #[must_use]
    pub fn new(name: &str, column_type: ColumnType) -> Self {
        Self {
            name: name.to_owned(),
            column_type,
            origin: Origin::default(),
            path: Path::member(name),
            timestamp_format: TimestampFormat::default(),
            nullable: false,
            range: None,
        }
    }
}

/// An interval of numbers, both ends inclusive. An end that the pipeline file leaves open is the least or greatest number
/// there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Of an `Int` column: exact beyond 2^53.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Of a `Double` column; never NaN.
    Double {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
}

/// The columns of a source, in the order of the pipeline file.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    columns: Vec<Column>,
    event_schema: SchemaRef,
}

impl Schema {
    /// A schema of these columns. Names are unique and do not start with `_`: the pipeline file has checked that.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        let own = columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow(), c.nullable));
        let fields: Vec<Field> = own.chain(system_fields()).collect();
        let event_schema = Arc::new(ArrowSchema::new(fields));
        Self { columns, event_schema }
    }

    /// The source's own columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The columns taken from this part of a record.
    pub fn columns_of(&self, origin: &Origin) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |c| c.origin == *origin)
    }

    /// The column that stands at the member `name` of the record's value itself.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Column> {
        self.columns_of(&Origin::Value).find(|c| c.path.is_member(name))
    }

    /// The first column that lies deeper in the record's value than its members.
    #[must_use]
    pub fn nested(&self) -> Option<&Column> {
        self.columns_of(&Origin::Value).find(|c| c.path.steps().len() > 1)
    }

    /// The Arrow schema of an event batch: the source's own columns, then `_topic` (Utf8), `_partition` (Int32),
    /// `_offset` (Int64), `_timestamp` (µs, UTC) and `_key` (Binary, nullable).
    #[must_use]
    pub fn event_schema(&self) -> SchemaRef {
        Arc::clone(&self.event_schema)
    }
}

fn system_fields() -> [Field; 5] {
    [
        Field::new(TOPIC, DataType::Utf8, false),
        Field::new(PARTITION, DataType::Int32, false),
        Field::new(OFFSET, DataType::Int64, false),
        Field::new(TIMESTAMP, timestamp_type(), false),
        Field::new(KEY, DataType::Binary, true),
    ]
}

/// The one Arrow type of texts that are written once each and named by codes.
#[must_use]
pub fn coded_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The one Arrow type of timestamps: microseconds, UTC.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
