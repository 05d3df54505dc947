//! The Parquet file of a partial: canonical, so equal partials give equal bytes.
//!
//! Columns are as in the partial but for sums, whose 64-bit words are columns of ints, least first: `sum(x)[0]`, `sum(x)[1]`…
//! A word after the first is written as its difference from what the sign of the one before makes it expect, which is nearly
//! always 0.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array},
    buffer::{Buffer, NullBuffer},
    compute::concat_batches,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion},
    schema::types::ColumnPath,
};

use super::columns;
use crate::{measure::Error, view::View};

/// Who the files say made them; a version here would make equal partials differ between releases.
const CREATED_BY: &str = "highwater";

/// A level that costs little to write: the encodings have done most of the work.
const ZSTD_LEVEL: i32 = 1;

/// Rows that are read at a time. Nearly all partials have fewer, and then nothing is copied.
const READ_ROWS_MAX: usize = 1 << 20;

/// Bytes of a word of a sum.
const WORD: usize = size_of::<i64>();

/// The widest sum; what is wider, histograms, stays bytes.
const SUM_WORDS_MAX: usize = 5;

/// How many words a sum of so many bytes has, if it is one.
fn words(width: i32) -> Option<usize> {
    let words = usize::try_from(width).ok()? / WORD;
    (1..=SUM_WORDS_MAX).contains(&words).then_some(words)
}

/// The Parquet file of a canonical partial. Equal partials give equal bytes.
///
/// # Errors
/// [`Error::Arrow`].
pub fn to_parquet(partial: &RecordBatch) -> Result<Bytes, Error> {
    let written = split_sums(partial)?;
    let properties = written.schema_ref().fields().iter().fold(
        WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?))
            // Whoever prunes knows a chunk's time from the manifest.
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true),
        |properties, field| encode(properties, ColumnPath::from(field.name().as_str()), field),
    );
    // Without Arrow's own schema in the footer, every reader sees the same Parquet types.
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), written.schema(), options).map_err(failed)?;
    writer.write(&written).map_err(failed)?;
    Ok(writer.into_inner().map_err(failed)?.into())
}

/// How a column is written.
fn encode(properties: WriterPropertiesBuilder, column: ColumnPath, field: &Field) -> WriterPropertiesBuilder {
    let (encoding, compressed) = match field.data_type() {
        // Few distinct values: a dictionary, which is the default.
        DataType::Utf8 | DataType::Boolean | DataType::Decimal128(..) | DataType::Float64 => return properties,
        // Buckets rise in small steps and are mostly the same for long.
        DataType::Timestamp(..) => (Encoding::DELTA_BINARY_PACKED, true),
        // Packed as tightly as they can be, and nothing for zstd to find.
        DataType::Int64 => (Encoding::DELTA_BINARY_PACKED, false),
        // The high bytes of counts are nearly all alike.
        DataType::FixedSizeBinary(_) => (Encoding::BYTE_STREAM_SPLIT, true),
        // Sketches, each unlike the others.
        _ => (Encoding::PLAIN, true),
    };
    let properties =
        properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column.clone(), encoding);
    if compressed { properties } else { properties.set_column_compression(column, Compression::UNCOMPRESSED) }
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
    let whole = concat_batches(&written, &batches)?;
    let schema = view.partial_schema();
    let partial = join_sums(&schema, &whole)?;
    columns(&schema, &partial)?;
    Ok(RecordBatch::try_new(schema, partial.columns().to_vec())?)
}

fn failed(error: ParquetError) -> Error {
    Error::Arrow(error.into())
}

/// The name of the column of a sum's word.
fn word_name(sum: &str, word: usize) -> String {
    format!("{sum}[{word}]")
}

/// `partial` with the words of sums as columns of ints.
fn split_sums(partial: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut fields: Vec<Field> = Vec::with_capacity(partial.num_columns());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(partial.num_columns());
    for (field, array) in partial.schema_ref().fields().iter().zip(partial.columns()) {
        let words = if let DataType::FixedSizeBinary(width) = *field.data_type() { words(width) } else { None };
        let Some(words) = words else {
            fields.push(field.as_ref().clone());
            arrays.push(Arc::clone(array));
            continue;
        };
        let sums = array.as_fixed_size_binary();
        for word in 0..words {
            fields.push(Field::new(word_name(field.name(), word), DataType::Int64, field.is_nullable()));
            arrays.push(Arc::new(word_of(sums, word)));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn word_of(sums: &FixedSizeBinaryArray, word: usize) -> Int64Array {
    let width = sums.value_length() as usize;
    let read = |sum: &[u8], word: usize| {
        i64::from_le_bytes(sum[word * WORD..][..WORD].try_into().expect("a word has eight bytes"))
    };
    let of = |sum: &[u8]| match word {
        0 => read(sum, 0),
        _ => read(sum, word).wrapping_sub(read(sum, word - 1) >> 63),
    };
    let words: Vec<i64> = sums.value_data()[..sums.len() * width].chunks_exact(width).map(of).collect();
    Int64Array::new(words.into(), sums.nulls().cloned())
}

/// A batch of `schema` from one whose sums are words; columns that are not there are left out.
fn join_sums(schema: &SchemaRef, written: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut names = written.schema_ref().fields().iter().zip(written.columns()).peekable();
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let count = if let DataType::FixedSizeBinary(width) = *field.data_type() { words(width) } else { None };
        if let Some(count) = count {
            let mut words: Vec<&Int64Array> = Vec::new();
            while let Some((_, array)) =
                names.next_if(|(there, _)| *there.name() == word_name(field.name(), words.len()))
            {
                words.extend(array.as_primitive_opt::<Int64Type>());
            }
            if words.len() == count {
                arrays.push(Arc::new(sums_of(&words)));
                fields.push(field.as_ref().clone());
            }
        } else if let Some((there, array)) = names.next() {
            fields.push(there.as_ref().clone());
            arrays.push(Arc::clone(array));
        }
    }
    names.for_each(|(there, array)| {
        fields.push(there.as_ref().clone());
        arrays.push(Arc::clone(array));
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn sums_of(words: &[&Int64Array]) -> FixedSizeBinaryArray {
    let rows = words[0].len();
    let nulls: Option<NullBuffer> = words[0].nulls().cloned();
    let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut bytes = Vec::with_capacity(rows * words.len() * WORD);
    for row in 0..rows {
        let mut sign = 0;
        for column in words {
            let word = if null(row) { 0 } else { column.value(row).wrapping_add(sign) };
            bytes.extend_from_slice(&word.to_le_bytes());
            sign = word >> 63;
        }
    }
    FixedSizeBinaryArray::new((words.len() * WORD) as i32, Buffer::from_vec(bytes), nulls)
}
