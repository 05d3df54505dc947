//! Events as the Parquet files of one commit: one file an event date. Equal events give equal bytes.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{cast, take_record_batch},
    datatypes::{
        DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
    },
    error::ArrowError,
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowWriterOptions, compute_leaves},
    },
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::{DEFAULT_MAX_ROW_GROUP_ROW_COUNT, EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use rayon::prelude::*;

use super::{Append, coded, stats::stats};
use crate::{
    event::Counts,
    position::Partition,
    schema::{OFFSET, PARTITION, coded_type},
};

const DAY_US: i64 = 86_400_000_000;

/// One file to be written.
#[derive(Debug)]
pub(super) struct NewFile {
    /// The UTC date of all its events; `None` if they have no time, or one that no calendar has.
    pub(super) date: Option<String>,
    pub(super) bytes: Bytes,
    /// The statistics of its `add` action, as JSON.
    pub(super) stats: String,
}

/// Why `append`, whose events are `events` in the schema of an event, cannot be committed: its counts must agree with its
/// events and its ranges (L7).
pub(super) fn contradiction(append: &Append, events: &[RecordBatch]) -> Option<String> {
    if append.partitions.is_empty() {
        return Some("it moves no position".to_owned());
    }
    let mut rows: BTreeMap<Partition, u64> = BTreeMap::new();
    for batch in events {
        let conformed = "the batch has the columns of an event";
        let partitions = batch.column_by_name(PARTITION).expect(conformed).as_primitive::<Int32Type>();
        let offsets = batch.column_by_name(OFFSET).expect(conformed).as_primitive::<Int64Type>();
        let mut offsets = offsets.values().as_ref();
        // Events come by stretches of one partition.
        for stretch in partitions.values().chunk_by(|a, b| a == b) {
            let partition = Partition(stretch[0] as u32);
            let of_stretch = offsets.split_off(..stretch.len()).expect("a row has an offset");
            let covered = append.partitions.get(&partition).map_or(0..0, |(range, _)| range.from.0..range.to.0);
            if let Some(offset) = of_stretch.iter().find(|&&offset| !covered.contains(&(offset as u64))) {
                return Some(format!(
                    "it has an event at offset {offset} of partition {partition}, which it does not cover"
                ));
            }
            *rows.entry(partition).or_default() += stretch.len() as u64;
        }
    }
    append.partitions.iter().find_map(|(partition, &(range, counts))| {
        let Counts { events, .. } = counts;
        let rows = rows.get(partition).copied().unwrap_or_default();
        if rows != events {
            return Some(format!("it has {rows} events of partition {partition} and counts {events}"));
        }
        let records = counts.records();
        (records > range.len()).then(|| format!("it counts {records} records of partition {partition} in {range}"))
    })
}

/// `events` with the columns of `schema`, in its order; strings may come as dictionaries, and stay so.
pub(super) fn conform(events: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| {
        let column = events.column_by_name(field.name());
        let column = column.ok_or_else(|| ArrowError::SchemaError(format!("no column {}", field.name())))?;
        match column.data_type() {
            there if there == field.data_type() => Ok(ArrayRef::clone(column)),
            there if *there == coded_type() && *field.data_type() == DataType::Utf8 => Ok(ArrayRef::clone(column)),
            DataType::Dictionary(..) => cast(column, field.data_type()),
            there => Err(ArrowError::SchemaError(format!("{} is {there}, not {}", field.name(), field.data_type()))),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let fields = schema.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<Field>>())), columns)
}

/// `batches` of `schema` in one schema, as the writer needs them: strings are dictionaries where they are in all of them, since
/// only their codes have to be looked at then.
fn alike(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let fields = schema.fields().iter().enumerate().map(|(index, field)| {
        let is_coded = batches.iter().all(|batch| *batch.column(index).data_type() == coded_type());
        let data_type = if is_coded { coded_type() } else { field.data_type().clone() };
        field.as_ref().clone().with_data_type(data_type)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    let columns = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(schema.fields());
        // A cast to the type that a column has gives the column.
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, _>>()?)
    };
    let batches = batches.iter().map(columns).collect::<Result<_, _>>()?;
    Ok((schema, batches))
}

/// The files of `events`, by date; all batches have the schema of an event. CPU work.
pub(super) fn files(
    schema: &SchemaRef,
    event_time: &str,
    events: &[RecordBatch],
) -> Result<Vec<NewFile>, ParquetError> {
    let mut dates: BTreeMap<Option<String>, Vec<RecordBatch>> = BTreeMap::new();
    for batch in events {
        for (date, part) in by_date(batch, event_time)? {
            dates.entry(date).or_default().push(part);
        }
    }
    dates.into_iter().map(|(date, batches)| file(schema, date, &batches)).collect()
}

fn by_date(events: &RecordBatch, event_time: &str) -> Result<Vec<(Option<String>, RecordBatch)>, ParquetError> {
    let times = events.column_by_name(event_time);
    let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| ParquetError::General(format!("{event_time} is not a timestamp")))?;
    let days = times.iter().map(|time| time.map(|time_us| time_us.div_euclid(DAY_US)));
    let Some(first) = days.clone().next() else { return Ok(Vec::new()) };
    if days.clone().all(|day| day == first) {
        return Ok(vec![(first.and_then(date), events.clone())]);
    }
    let mut rows: BTreeMap<Option<i64>, Vec<u32>> = BTreeMap::new();
    (0..).zip(days).for_each(|(row, day)| rows.entry(day).or_default().push(row));
    let part = |(day, rows): (Option<i64>, Vec<u32>)| {
        Ok((day.and_then(date), take_record_batch(events, &UInt32Array::from(rows))?))
    };
    rows.into_iter().map(part).collect()
}

/// The date as Delta and Hive write it, if the calendar has it.
fn date(day: i64) -> Option<String> {
    let midnight = jiff::Timestamp::from_microsecond(day.checked_mul(DAY_US)?).ok()?;
    Some(midnight.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

/// The file of `batches`, all events of `date`. CPU work.
pub(super) fn file(schema: &SchemaRef, date: Option<String>, batches: &[RecordBatch]) -> Result<NewFile, ParquetError> {
    // Without Arrow's own schema in the footer, every reader sees the same Parquet types.
    let options =
        ArrowWriterOptions::new().with_properties(properties(schema, batches)?).with_skip_arrow_metadata(true);
    let (written, alike) = alike(schema, batches)?;
    let writer = ArrowWriter::try_new_with_options(Vec::new(), SchemaRef::clone(&written), options)?;
    let (mut file, columns) = writer.into_serialized_writer()?;
    let (properties, leaves) = (Arc::clone(file.properties()), file.schema_descr().columns().to_vec());
    for (number, group) in row_groups(&alike).iter().enumerate() {
        let columns: Vec<ArrowColumnWriter> = columns.create_column_writers(number)?;
        // Each column by itself: they have nothing in common but the number of their rows.
        let chunks = columns.into_par_iter().enumerate().map(|(index, column)| {
            let arrays: Vec<&ArrayRef> = group.iter().map(|batch| batch.column(index)).collect();
            match coded::chunk(&leaves[index], &properties, &arrays)? {
                Some(coded) => Ok(Chunk::Coded(coded)),
                None => uncoded(column, written.field(index), &arrays).map(Chunk::Uncoded),
            }
        });
        let chunks: Vec<Chunk> = chunks.collect::<Result<_, ParquetError>>()?;
        let mut group = file.next_row_group()?;
        for chunk in chunks {
            match chunk {
                Chunk::Coded(chunk) => chunk.append_to(&mut group)?,
                Chunk::Uncoded(chunk) => chunk.append_to_row_group(&mut group)?,
            }
        }
        group.close()?;
    }
    let bytes = Bytes::from(file.into_inner()?);
    Ok(NewFile { date, bytes, stats: stats(schema, batches) })
}

/// A column of a row group, encoded.
enum Chunk {
    Coded(coded::Chunk),
    Uncoded(ArrowColumnChunk),
}

/// The chunk of `arrays` as the parquet crate encodes it.
fn uncoded(
    mut column: ArrowColumnWriter,
    field: &Field,
    arrays: &[&ArrayRef],
) -> Result<ArrowColumnChunk, ParquetError> {
    for array in arrays {
        compute_leaves(field, array)?.iter().try_for_each(|leaf| column.write(leaf))?;
    }
    column.close()
}

/// `batches` as the row groups of a file.
pub(super) fn row_groups(batches: &[RecordBatch]) -> Vec<Vec<RecordBatch>> {
    let mut groups = Vec::new();
    let mut room = 0;
    for batch in batches {
        let mut at = 0;
        while at < batch.num_rows() {
            if room == 0 {
                groups.push(Vec::new());
                room = DEFAULT_MAX_ROW_GROUP_ROW_COUNT;
            }
            let rows = room.min(batch.num_rows() - at);
            groups.last_mut().expect("a group has room").push(batch.slice(at, rows));
            at += rows;
            room -= rows;
        }
    }
    groups
}

/// Time stamps and offsets climb in small steps, so their differences are packed; values that repeat get a dictionary while it
/// is small, those that hardly do are plain; zstd does the rest, at the level that costs a third of the default's time for some per
/// cent of size. The log has the bounds of a file: in the file itself only those of what climbs could let a reader skip something.
fn properties(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None);
    for (index, field) in schema.fields().iter().enumerate() {
        let climbs = field.name() == OFFSET || matches!(field.data_type(), DataType::Timestamp(..));
        let column = ColumnPath::from(vec![field.name().clone()]);
        if climbs {
            properties = properties
                .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_statistics_enabled(column.clone(), EnabledStatistics::Chunk);
        }
        if climbs || batches.first().is_some_and(|batch| hardly_repeats(batch.column(index))) {
            properties = properties.set_column_dictionary_enabled(column, false);
        }
    }
    Ok(properties.build())
}

/// Values that are looked at to see whether values repeat.
const SAMPLE_ROWS: usize = 4_096;

/// Whether of the first values more than half are unlike all others. A dictionary of such a column would grow until it is given
/// up, and then have cost its writing and every reading.
fn hardly_repeats(column: &ArrayRef) -> bool {
    let sample = column.slice(0, column.len().min(SAMPLE_ROWS));
    let distinct = match sample.data_type() {
        DataType::Int64 => distinct(sample.as_primitive::<Int64Type>().iter()),
        DataType::Float64 => distinct(sample.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits))),
        DataType::Decimal128(..) => distinct(sample.as_primitive::<Decimal128Type>().iter()),
        DataType::Utf8 => distinct(sample.as_string::<i32>().iter()),
        DataType::Dictionary(..) => {
            sample.as_dictionary_opt::<Int32Type>().map_or(0, |coded| distinct(coded.keys().iter()))
        }
        _ => return false,
    };
    let there = sample.len() - sample.null_count();
    there == SAMPLE_ROWS && distinct > there / 2
}

fn distinct<T: Hash + Eq>(values: impl Iterator<Item = Option<T>>) -> usize {
    values.flatten().collect::<HashSet<T>>().len()
}
