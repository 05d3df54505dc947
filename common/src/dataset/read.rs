//! Events out of a Parquet file of the dataset, whoever wrote it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{cast, filter_record_batch},
    datatypes::{DECIMAL64_MAX_PRECISION, DataType, Field, Int32Type, Int64Type, Schema as ArrowSchema, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use object_store::path::Path;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
};

use super::Error;
use crate::{
    position::{OffsetRange, Partition},
    schema::{OFFSET, PARTITION, Schema, coded_type},
};

/// Rows of one batch: large enough that a batch's fixed costs vanish, small enough to stay in the cache.
const BATCH_ROWS: usize = 16_384;

/// The events of one file, decoded as they are asked for: a batch at a time is in memory. CPU work.
#[derive(Debug)]
pub struct Events {
    path: Path,
    reader: ParquetRecordBatchReader,
    wanted: SchemaRef,
}

impl Events {
    /// The columns named, strings as `Dictionary(Int32, Utf8)` and decimals of up to 18 digits as `Decimal64`; one that the
    /// file is too old to have is null.
    pub(super) fn new(path: &Path, file: Bytes, schema: &Schema, columns: &[String]) -> Result<Self, Error> {
        let opened = open(file, schema, columns);
        let (reader, wanted) = opened.map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.clone(), reader, wanted })
    }
}

impl Iterator for Events {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?.map_err(ParquetError::from);
        Some(batch.and_then(|batch| conform(&batch, &self.wanted)).map_err(|error| failed(&self.path, &error)))
    }
}

fn failed(path: &Path, error: &ParquetError) -> Error {
    Error::table("read a data file")(format!("{path}: {error}"))
}

fn open(
    file: Bytes,
    schema: &Schema,
    columns: &[String],
) -> Result<(ParquetRecordBatchReader, SchemaRef), ParquetError> {
    let wanted = wanted(schema, columns)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options.clone())?;
    let hinted: Vec<Field> = metadata.schema().fields().iter().map(|field| compact(field)).collect();
    let options = options.with_schema(Arc::new(ArrowSchema::new(hinted)));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
    let there = metadata.schema();
    let roots: Vec<usize> = wanted.fields().iter().filter_map(|field| there.index_of(field.name()).ok()).collect();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_projection(mask);
    Ok((reader.with_batch_size(BATCH_ROWS).build()?, wanted))
}

/// The schema of the batches to return.
fn wanted(schema: &Schema, columns: &[String]) -> Result<SchemaRef, ParquetError> {
    let event_schema = schema.event_schema();
    let field = |name: &String| {
        let field = event_schema.field_with_name(name);
        field.map(compact).map_err(|_| ParquetError::General(format!("events have no column {name}")))
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(ArrowSchema::new(fields)))
}

/// The field in the form that is read and folded fastest: what Parquet has, not what it stands for.
fn compact(field: &Field) -> Field {
    let data_type = match *field.data_type() {
        DataType::Utf8 => coded_type(),
        DataType::Decimal128(precision, scale) if precision <= DECIMAL64_MAX_PRECISION => {
            DataType::Decimal64(precision, scale)
        }
        _ => return field.clone(),
    };
    field.clone().with_data_type(data_type)
}

/// `batch` with decimals in the type that events have them in.
pub(super) fn widened(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let data_type = match *field.data_type() {
            DataType::Decimal64(precision, scale) => DataType::Decimal128(precision, scale),
            ref other => other.clone(),
        };
        columns.push(cast(column, &data_type)?);
        fields.push(field.as_ref().clone().with_data_type(data_type));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
}

/// The events of `batch` whose offsets are in these ranges of their partitions.
pub(super) fn within(
    batch: &RecordBatch,
    ranges: &BTreeMap<Partition, OffsetRange>,
) -> Result<RecordBatch, ArrowError> {
    let column = |name| {
        batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("events without the column {name}")))
    };
    let partitions = column(PARTITION)?.as_primitive::<Int32Type>().values();
    let offsets = column(OFFSET)?.as_primitive::<Int64Type>().values();
    let inside = partitions.iter().zip(offsets).map(|(&partition, &offset)| {
        let range = ranges.get(&Partition(partition as u32));
        range.is_some_and(|range| (range.from.0..range.to.0).contains(&(offset as u64)))
    });
    filter_record_batch(batch, &BooleanArray::from_iter(inside.map(Some)))
}

fn conform(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, ParquetError> {
    let columns = wanted.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => ArrayRef::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(wanted), columns.collect(), &options)?)
}
