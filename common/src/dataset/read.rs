//! Events out of a Parquet file of the dataset, whoever wrote it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef},
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
use crate::schema::Schema;

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
    /// The columns named, strings as `Dictionary(Int32, Utf8)`; one that the file is too old to have is null.
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
    let hinted: Vec<Field> = metadata.schema().fields().iter().map(|field| as_dictionary(field)).collect();
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
        field.map(as_dictionary).map_err(|_| ParquetError::General(format!("events have no column {name}")))
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(ArrowSchema::new(fields)))
}

fn as_dictionary(field: &Field) -> Field {
    if field.data_type() != &DataType::Utf8 {
        return field.clone();
    }
    field.clone().with_data_type(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
}

fn conform(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, ParquetError> {
    let columns = wanted.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => ArrayRef::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(wanted), columns.collect(), &options)?)
}
