//! Parquet: each row becomes a JSON object, each column by its own type.
//!
//! Times are written in the format of the source's column (those without a zone are UTC), whole floats as integers where
//! the source has an integer. NaN is null: JSON has none, and it is what pandas writes for a missing number. Columns that
//! cannot become JSON (binary, nested) are left out unless the source has them.

use std::{fs::File, path::PathBuf};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, Field, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        UInt64Type,
    },
    error::ArrowError,
};
use bytes::Bytes;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};

use super::{Error, Place, Reader, json};
use crate::{
    limits::REPLAY_BATCH_ROWS,
    schema::{Column, ColumnType, Schema, TimestampFormat},
};

/// Rows of a Parquet file.
pub(super) struct Parquet {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    columns: Vec<Written>,
    reader: ParquetRecordBatchReader,
    batch: Vec<Bytes>,
    /// How many rows of `batch` were given out.
    given: usize,
    /// How many rows of the file come before `batch`.
    before: u64,
}

/// How one column is written.
struct Written {
    /// Where it stands in the file.
    index: usize,
    /// Its name with quotes and colon, as it stands in every object.
    name: Vec<u8>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Int,
    Unsigned,
    /// `whole`: the source has an integer here.
    Float {
        whole: bool,
    },
    Double {
        whole: bool,
    },
    Decimal,
    Bool,
    Text,
    Time(TimestampFormat),
}

impl Parquet {
    pub(super) fn new(path: PathBuf, file: File, schema: &Schema) -> Result<Self, Error> {
        let unfit = |message: String| Error::Unfit { path: path.clone(), message };
        let metadata =
            ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| unfit(error.to_string()))?;
        let mut columns = Vec::new();
        for (index, field) in metadata.schema().fields().iter().enumerate() {
            let column = schema.member(field.name());
            match (Form::of(field, column), column) {
                (Some(form), _) => columns.push(Written { index, name: json::name(field.name()), form }),
                (None, Some(_)) => {
                    let message =
                        format!("column `{}` is {}, which has no form in JSON", field.name(), field.data_type());
                    return Err(unfit(message));
                }
                (None, None) => tracing::warn!(path = %path.display(), column = field.name(), "column left out"),
            }
        }
        let reader = open(&file, &metadata, &columns, 0).map_err(unfit)?;
        Ok(Self { path, file, metadata, columns, reader, batch: Vec::new(), given: 0, before: 0 })
    }

    /// How many rows the file has.
    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn broken(&self, row: u64, message: String) -> Error {
        Error::Broken { path: self.path.clone(), place: Place::Row(row + 1), message }
    }
}

fn open(
    file: &File,
    metadata: &ArrowReaderMetadata,
    columns: &[Written],
    offset: u64,
) -> Result<ParquetRecordBatchReader, String> {
    let file = file.try_clone().map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().map(|column| column.index));
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let reader = builder.with_projection(mask).with_batch_size(REPLAY_BATCH_ROWS).with_offset(offset).build();
    reader.map_err(|error| error.to_string())
}

impl Reader for Parquet {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.given == self.batch.len() {
            self.before += self.given as u64;
            self.given = 0;
            self.batch.clear();
            let objects = match self.reader.next() {
                None => return Ok(None),
                Some(batch) => batch.and_then(|batch| objects(&batch, &self.columns)),
            };
            self.batch = objects.map_err(|error| self.broken(self.before, error.to_string()))?;
        }
        let object = self.batch.get(self.given).cloned();
        self.given += 1;
        Ok(object)
    }

    fn skip(&mut self, rows: u64) -> Result<(), Error> {
        let row = (self.before + self.given as u64).saturating_add(rows).min(self.rows());
        self.reader =
            open(&self.file, &self.metadata, &self.columns, row).map_err(|message| self.broken(row, message))?;
        self.batch.clear();
        (self.given, self.before) = (0, row);
        Ok(())
    }
}

impl Form {
    /// How a field of the file is written, given the source's column of that name.
    fn of(field: &Field, column: Option<&Column>) -> Option<Self> {
        let whole = column.is_some_and(|c| c.column_type == ColumnType::Int);
        let format = column.filter(|c| c.column_type == ColumnType::Timestamp).map(|c| c.timestamp_format);
        let data_type = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        Some(match data_type {
            DataType::Null => Self::Null,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Int,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Self::Unsigned,
            DataType::Float16 | DataType::Float32 => Self::Float { whole },
            DataType::Float64 => Self::Double { whole },
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => Self::Decimal,
            DataType::Boolean => Self::Bool,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 | DataType::Date64 if format.is_none() => Self::Text,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Time(format.unwrap_or_default()),
            _ => return None,
        })
    }

    /// The one Arrow type that fields of this form are written from.
    fn arrow(self, from: &DataType) -> DataType {
        let value_type = match from {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        match self {
            Self::Null => DataType::Null,
            Self::Int => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Float { .. } => DataType::Float32,
            Self::Double { .. } => DataType::Float64,
            Self::Decimal => match value_type {
                DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                    DataType::Decimal128(*p, *s)
                }
                other => other.clone(),
            },
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    fn write(self, out: &mut Vec<u8>, values: &ArrayRef, row: usize) {
        if values.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Int => display(out, values.as_primitive::<Int64Type>().value(row)),
            Self::Unsigned => display(out, values.as_primitive::<UInt64Type>().value(row)),
            Self::Float { whole } => {
                let value = values.as_primitive::<Float32Type>().value(row);
                double(out, value.into(), whole, value);
            }
            Self::Double { whole } => {
                let value = values.as_primitive::<Float64Type>().value(row);
                double(out, value, whole, value);
            }
            Self::Decimal => display(out, values.as_primitive::<Decimal128Type>().value_as_string(row)),
            Self::Bool => display(out, values.as_boolean().value(row)),
            Self::Text => json::string(out, values.as_string::<i32>().value(row)),
            Self::Time(format) => json::time(out, values.as_primitive::<TimestampMicrosecondType>().value(row), format),
        }
    }
}

/// The rows of `batch` as JSON objects, slices of one allocation.
fn objects(batch: &RecordBatch, columns: &[Written]) -> Result<Vec<Bytes>, ArrowError> {
    let arrays: Result<Vec<ArrayRef>, ArrowError> = columns
        .iter()
        .zip(batch.columns())
        .map(|(column, array)| match column.form.arrow(array.data_type()) {
            DataType::Null => Ok(array.clone()),
            data_type => cast(&without_zone(array)?, &data_type),
        })
        .collect();
    let arrays = arrays?;
    let mut out = Vec::new();
    let mut ends = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        for (separator, (column, array)) in json::separators().zip(columns.iter().zip(&arrays)) {
            out.push(separator);
            out.extend_from_slice(&column.name);
            column.form.write(&mut out, array, row);
        }
        out.extend_from_slice(if columns.is_empty() { b"{}" } else { b"}" });
        ends.push(out.len());
    }
    let out = Bytes::from(out);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    Ok(starts.zip(ends.iter().copied()).map(|(start, end)| out.slice(start..end)).collect())
}

/// Times with a zone are instants already; a cast would turn them into that zone's local time.
fn without_zone(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(array, &DataType::Timestamp(*unit, Some("+00:00".into()))),
        _ => Ok(array.clone()),
    }
}

fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Writes `shown`, whose value is `value`, with the fewest digits that tell it from its neighbours.
fn double(out: &mut Vec<u8>, value: f64, whole: bool, shown: impl serde::Serialize) {
    // 2^53: up to there doubles are integers exactly.
    if whole && value.trunc() == value && value.abs() <= 9_007_199_254_740_992.0 {
        #[allow(clippy::cast_possible_truncation, reason = "a whole number of 53 bits")]
        display(out, value as i64);
    } else {
        // serde_json writes NaN and infinities as null.
        serde_json::to_writer(out, &shown).expect("writing a number to memory cannot fail");
    }
}
