//! Events out of a Parquet file of the dataset, whoever wrote it.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{cast, filter_record_batch},
    datatypes::{DECIMAL64_MAX_PRECISION, DataType, Field, Int32Type, Int64Type, Schema as ArrowSchema, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use object_store::path::Path;
use parquet::{
    DecodeResult,
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader},
        push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder, PushBuffers},
    },
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
};

use super::{DataFile, Error};
use crate::{
    limits::DATA_FILE_TAIL_BYTES,
    position::{OffsetRange, Partition},
    schema::{OFFSET, PARTITION, Schema, coded_type},
    store::Store,
};

/// Rows of one batch: large enough that a batch's fixed costs vanish, small enough to stay in the cache.
const BATCH_ROWS: usize = 16_384;

/// Some of the row groups of a file: each is in one of its parts, and one after the other is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Counted from 0.
    pub number: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Part {
    /// All of a file.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// Those of `groups` row groups.
    fn groups(self, groups: usize) -> Range<usize> {
        groups * self.number / self.of..groups * (self.number + 1) / self.of
    }
}

/// The events of one file: of the columns named and no others, a row group at a time.
#[derive(Debug)]
pub struct Events {
    store: Store,
    path: Path,
    decoder: ParquetPushDecoder,
    wanted: SchemaRef,
    held_max: usize,
}

impl Events {
    /// Reads where in `file` its row groups are.
    pub(super) async fn open(
        store: &Store,
        file: &DataFile,
        part: Part,
        schema: &Schema,
        columns: &[String],
    ) -> Result<Self, Error> {
        let path = &file.path;
        let wanted = wanted(schema, columns).map_err(|error| failed(path, &error))?;
        let (metadata, tail) = tail(store, file).await?;
        let tail_bytes = tail.1.len();
        let (decoder, group_max) = decoder(metadata, part, tail, &wanted).map_err(|error| failed(path, &error))?;
        Ok(Self { store: store.clone(), path: path.clone(), decoder, wanted, held_max: tail_bytes + group_max })
    }

    /// Bytes of the file that are held at most while one of its row groups is decoded.
    #[must_use]
    pub fn held_max(&self) -> usize {
        self.held_max
    }

    /// The next row group, of which everything is read that its decoding needs; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Table`], [`Error::Store`].
    pub async fn next(&mut self) -> Result<Option<RowGroup>, Error> {
        let failed = |error| failed(&self.path, &error);
        loop {
            match self.decoder.try_next_reader().map_err(failed)? {
                DecodeResult::NeedsData(ranges) => {
                    let bytes = fetch(&self.store, &self.path, &ranges).await?;
                    self.decoder.push_ranges(ranges, bytes).map_err(failed)?;
                }
                DecodeResult::Data(reader) => {
                    let (path, wanted) = (self.path.clone(), SchemaRef::clone(&self.wanted));
                    return Ok(Some(RowGroup { path, reader, wanted }));
                }
                DecodeResult::Finished => return Ok(None),
            }
        }
    }

    /// The row groups that are left, all of them read, for who cannot wait in between: what they need of the file is held at once.
    ///
    /// # Errors
    /// The same.
    pub async fn rest(mut self) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + Send, Error> {
        let mut groups = Vec::new();
        while let Some(group) = self.next().await? {
            groups.push(group);
        }
        Ok(groups.into_iter().flatten())
    }
}

/// The events of one row group, decoded as they are asked for: a batch at a time is in memory. CPU work.
///
/// Strings are `Dictionary(Int32, Utf8)` and decimals of up to 18 digits `Decimal64`; a column that the file is too old to have is null.
#[derive(Debug)]
pub struct RowGroup {
    path: Path,
    reader: ParquetRecordBatchReader,
    wanted: SchemaRef,
}

impl Iterator for RowGroup {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?.map_err(ParquetError::from);
        Some(batch.and_then(|batch| conform(&batch, &self.wanted)).map_err(|error| failed(&self.path, &error)))
    }
}

fn failed(path: &Path, error: &ParquetError) -> Error {
    Error::table("read a data file")(format!("{path}: {error}"))
}

/// What `file` says of itself at its end, and the end as it was read: all of a small file.
async fn tail(store: &Store, file: &DataFile) -> Result<(ParquetMetaData, (Range<u64>, Bytes)), Error> {
    let DataFile { ref path, bytes, .. } = *file;
    let mut length = bytes.min(DATA_FILE_TAIL_BYTES);
    loop {
        let range = bytes - length..bytes;
        let tail = fetch(store, path, std::slice::from_ref(&range)).await?.swap_remove(0);
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, bytes).and_then(|()| reader.finish()) {
            // At most all that there is, or it is another error.
            Err(ParquetError::NeedMoreData(needed)) => length = needed as u64,
            metadata => return Ok((metadata.map_err(|error| failed(path, &error))?, (range, tail))),
        }
    }
}

/// These ranges of the object at `path`, all of each.
async fn fetch(store: &Store, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
    let read = store.get_ranges(path, ranges).await?.ok_or_else(|| Error::Gone { path: path.clone() })?;
    match ranges.iter().zip(&read).find(|(range, bytes)| range.end - range.start != bytes.len() as u64) {
        Some((range, _)) => Err(failed(path, &ParquetError::EOF(format!("it ends before {}", range.end)))),
        None => Ok(read),
    }
}

/// A decoder of the columns that are wanted, and how many bytes of a row group it needs at most; `tail` is read already.
fn decoder(
    metadata: ParquetMetaData,
    part: Part,
    (range, tail): (Range<u64>, Bytes),
    wanted: &ArrowSchema,
) -> Result<(ParquetPushDecoder, usize), ParquetError> {
    let metadata = Arc::new(metadata);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let there = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options.clone())?;
    let hinted: Vec<Field> = there.schema().fields().iter().map(|field| compact(field)).collect();
    let options = options.with_schema(Arc::new(ArrowSchema::new(hinted)));
    let there = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options)?;
    let roots = wanted.fields().iter().filter_map(|field| there.schema().index_of(field.name()).ok());
    let mask = ProjectionMask::roots(there.parquet_schema(), roots);

    let bytes = |group: &RowGroupMetaData| -> i64 {
        let columns = group.columns().iter().enumerate().filter(|&(leaf, _)| mask.leaf_included(leaf));
        columns.map(|(_, column)| column.compressed_size()).sum()
    };
    let groups = part.groups(metadata.num_row_groups());
    let group_max = metadata.row_groups()[groups.clone()].iter().map(bytes).max().unwrap_or(0);

    let mut read = PushBuffers::default();
    read.push_range(range, tail);
    let decoder = ParquetPushDecoderBuilder::new_with_metadata(there).with_buffers(read);
    let decoder =
        decoder.with_row_groups(groups.collect()).with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    Ok((decoder, usize::try_from(group_max).unwrap_or(0)))
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
