//! Events out of a Parquet file of the dataset, whoever wrote it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef},
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
};

use crate::schema::Schema;

/// Rows of one batch: large enough that a batch's fixed costs vanish, small enough to stay in the cache.
const BATCH_ROWS: usize = 16_384;

/// The columns named, strings as `Dictionary(Int32, Utf8)`; one that the file is too old to have is null. CPU work.
pub(super) fn decode(file: Bytes, schema: &Schema, columns: &[String]) -> Result<Vec<RecordBatch>, ParquetError> {
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
    let reader = reader.with_batch_size(BATCH_ROWS).build()?;
    reader.map(|batch| conform(&batch?, &wanted)).collect()
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
