//! Partials: the table `bucket, dimensions…, states…` of one view over some set of events, and its file format.
//!
//! A canonical partial has one row per group and is sorted by bucket, then by the dimensions in order (nulls first, text
//! by bytes); so equal sets of events give equal bytes (L1). Nothing that differs between two runs may get into a file: no
//! time, no host, no random number.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    compute::concat_batches,
    datatypes::{DataType, SchemaRef},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion},
    schema::types::ColumnPath,
};

use crate::{
    fold::{GroupTable, take_partial},
    measure::Error,
    view::View,
};

/// Who the files say made them; a version here would make equal partials differ between releases.
const CREATED_BY: &str = "highwater";

/// A level that costs little to write: the encodings have done most of the work.
const ZSTD_LEVEL: i32 = 3;

/// Rows that are read at a time. Nearly all partials have fewer, and then nothing is copied.
const READ_ROWS_MAX: usize = 1 << 20;

/// Merges partials of `view` into one canonical partial.
///
/// # Errors
/// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Null`], [`Error::Type`].
pub fn merge<'a>(view: &View, partials: impl IntoIterator<Item = &'a RecordBatch>) -> Result<RecordBatch, Error> {
    let schema = view.partial_schema();
    let keys = 1 + view.dimensions.len();
    let mut table = GroupTable::new(&view.key_types(), &view.states);
    for partial in partials {
        let columns = columns(&schema, partial)?;
        table.merge(&columns[..keys], &columns[keys..])?;
    }
    take_partial(view, &mut table)
}

/// The columns of `partial`, if they are those of `schema`.
fn columns<'a>(schema: &SchemaRef, partial: &'a RecordBatch) -> Result<&'a [ArrayRef], Error> {
    for (at, expected) in schema.fields().iter().enumerate() {
        let got = partial.columns().get(at).filter(|_| partial.schema_ref().field(at).name() == expected.name());
        let got = got.map_or(&DataType::Null, |column| column.data_type());
        if got != expected.data_type() {
            let (column, expected) = (expected.name().clone(), expected.data_type().clone());
            return Err(Error::Type { column, got: got.clone(), expected });
        }
        if !expected.is_nullable() && partial.column(at).null_count() > 0 {
            return Err(Error::Null { column: expected.name().clone() });
        }
    }
    if let Some(more) = partial.schema_ref().fields().get(schema.fields().len()) {
        let (column, got) = (more.name().clone(), more.data_type().clone());
        return Err(Error::Type { column, got, expected: DataType::Null });
    }
    Ok(partial.columns())
}

/// The Parquet file of a canonical partial. Equal partials give equal bytes.
///
/// # Errors
/// [`Error::Arrow`].
pub fn to_parquet(partial: &RecordBatch) -> Result<Bytes, Error> {
    let properties = partial.schema_ref().fields().iter().fold(
        WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true),
        |properties, field| encode(properties, ColumnPath::from(field.name().as_str()), field.data_type()),
    );
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, partial.schema(), Some(properties.build())).map_err(failed)?;
    writer.write(partial).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(file.into())
}

/// How a column of this type is written.
fn encode(properties: WriterPropertiesBuilder, column: ColumnPath, data_type: &DataType) -> WriterPropertiesBuilder {
    let encoding = match data_type {
        // Few distinct values: a dictionary, which is the default.
        DataType::Utf8 | DataType::Boolean | DataType::Decimal128(..) | DataType::Float64 => return properties,
        // Buckets rise in small steps, counts are small.
        DataType::Timestamp(..) | DataType::Int64 => Encoding::DELTA_BINARY_PACKED,
        // The high bytes of sums are nearly all alike.
        DataType::FixedSizeBinary(_) => Encoding::BYTE_STREAM_SPLIT,
        // Sketches, each unlike the others.
        _ => Encoding::PLAIN,
    };
    let properties = properties.set_column_dictionary_enabled(column.clone(), false);
    let properties = match data_type {
        DataType::Binary | DataType::FixedSizeBinary(_) => {
            properties.set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
        }
        _ => properties,
    };
    properties.set_column_encoding(column, encoding)
}

/// The partial in a Parquet file made by [`to_parquet`] for `view`.
///
/// # Errors
/// [`Error::Arrow`], [`Error::Type`] if the file is of another view.
pub fn from_parquet(view: &View, file: Bytes) -> Result<RecordBatch, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0).clamp(1, READ_ROWS_MAX);
    let written = Arc::clone(reader.schema());
    let batches = reader.with_batch_size(rows).build().map_err(failed)?.collect::<Result<Vec<_>, _>>()?;
    let partial = concat_batches(&written, &batches)?;
    let schema = view.partial_schema();
    columns(&schema, &partial)?;
    Ok(RecordBatch::try_new(schema, partial.columns().to_vec())?)
}

fn failed(error: ParquetError) -> Error {
    Error::Arrow(error.into())
}
