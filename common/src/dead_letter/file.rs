//! Dead letters as Parquet that any reader opens: topic, partition, offset, timestamp, key, headers, value, reason, column,
//! detail. Equal letters give equal bytes.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, Int32Array, Int64Array, LargeBinaryArray, ListBuilder, StringArray,
        StringBuilder, StructBuilder, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
    error::ArrowError,
    record_batch::RecordBatch,
};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    event::{DeadLetter, Reason, Record},
    position::Partition,
    schema::timestamp_type,
};

/// Letters between two looks at the size of a page: values may be megabytes each, and a page must stay below 2 GiB.
const LETTERS_PER_WRITE: usize = 64;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", timestamp_type(), false),
        Field::new("key", DataType::LargeBinary, true),
        Field::new("headers", DataType::List(Arc::new(header_field())), false),
        Field::new("value", DataType::LargeBinary, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("column", DataType::Utf8, true),
        Field::new("detail", DataType::Utf8, false),
    ]))
}

fn header_field() -> Field {
    Field::new("header", DataType::Struct(header_fields()), false)
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, false)])
}

/// The file of `letters`.
pub(super) fn encode(letters: &[DeadLetter]) -> Bytes {
    let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_write_batch_size(LETTERS_PER_WRITE)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema(), Some(properties))
        .expect("Parquet can hold every column of the schema");
    writer.write(&batch(letters)).expect("writing to memory does not fail");
    writer.close().expect("writing to memory does not fail");
    file.into()
}

fn batch(letters: &[DeadLetter]) -> RecordBatch {
    let records = || letters.iter().map(|letter| &letter.record);
    let timestamps =
        TimestampMicrosecondArray::from_iter_values(records().map(|r| r.timestamp_us)).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(records().map(|r| &r.topic))),
        Arc::new(Int32Array::from_iter_values(records().map(|r| r.partition.0 as i32))),
        Arc::new(Int64Array::from_iter_values(records().map(|r| r.offset as i64))),
        Arc::new(timestamps),
        Arc::new(LargeBinaryArray::from_iter(records().map(|r| r.key.as_deref()))),
        headers(records()),
        Arc::new(LargeBinaryArray::from_iter(records().map(|r| r.value.as_deref()))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|l| l.reason.as_str()))),
        Arc::new(StringArray::from_iter(letters.iter().map(|l| l.column.as_deref()))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|l| &l.detail))),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns are built by the schema")
}

fn headers<'a>(records: impl Iterator<Item = &'a Record>) -> ArrayRef {
    let fields =
        StructBuilder::new(header_fields(), vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let mut lists = ListBuilder::new(fields).with_field(header_field());
    for record in records {
        for (name, value) in &record.headers {
            let header = lists.values();
            header.field_builder::<StringBuilder>(0).expect("the first field is text").append_value(name);
            header.field_builder::<BinaryBuilder>(1).expect("the second field is binary").append_value(value);
            header.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// The letters in `file`.
///
/// # Errors
/// If it is not a file that [`encode`] made.
pub(super) fn decode(file: Bytes) -> Result<Vec<DeadLetter>, ArrowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let mut letters = Vec::new();
    for batch in reader {
        let batch = batch?;
        let found: Vec<_> = batch.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        let needed: Vec<_> = schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        if found != needed {
            return Err(ArrowError::SchemaError(format!("its columns are {found:?}, not {needed:?}")));
        }
        for row in 0..batch.num_rows() {
            letters.push(letter(&batch, row)?);
        }
    }
    Ok(letters)
}

/// The letter in `row` of `batch`, which has the columns of [`schema`].
fn letter(batch: &RecordBatch, row: usize) -> Result<DeadLetter, ArrowError> {
    let column = |at: usize| batch.column(at);
    let text = |at: usize| column(at).as_string::<i32>().value(row);
    let binary = |at: usize| {
        let values = column(at).as_binary::<i64>();
        values.is_valid(row).then(|| Bytes::copy_from_slice(values.value(row)))
    };
    let reason = text(7);
    let reason = Reason::ALL.into_iter().find(|r| r.as_str() == reason);
    let record = Record {
        topic: text(0).into(),
        partition: Partition(column(1).as_primitive::<Int32Type>().value(row) as u32),
        offset: column(2).as_primitive::<Int64Type>().value(row) as u64,
        timestamp_us: column(3).as_primitive::<TimestampMicrosecondType>().value(row),
        key: binary(4),
        headers: headers_of(column(5), row),
        value: binary(6),
    };
    Ok(DeadLetter {
        record,
        reason: reason.ok_or_else(|| ArrowError::ParseError(format!("`{}` is no reason", text(7))))?,
        column: column(8).is_valid(row).then(|| text(8).to_owned()),
        detail: text(9).to_owned(),
    })
}

fn headers_of(column: &ArrayRef, row: usize) -> Vec<(String, Bytes)> {
    let headers = column.as_list::<i32>().value(row);
    let (names, values) = (headers.as_struct().column(0), headers.as_struct().column(1));
    let (names, values) = (names.as_string::<i32>(), values.as_binary::<i32>());
    let header = |at: usize| (names.value(at).to_owned(), Bytes::copy_from_slice(values.value(at)));
    (0..headers.len()).map(header).collect()
}
