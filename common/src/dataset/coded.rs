//! Columns of values that repeat, as Parquet has them: a page of the values, then pages of their codes.
//!
//! The parquet crate looks up each value by its hash, also where Arrow has codes already, which was half the cost of a commit's files.
//! Here a code leads to a code, and ints that are close to each other have a place each. Readers see no difference: codes are given
//! in the order that values first occur in, so equal columns give equal bytes, whatever their batches and codes were (L1).

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, GenericByteArray},
    compute::{max, min},
    datatypes::{BinaryType, ByteArrayType, DataType, Int32Type, Int64Type, Utf8Type},
};
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::{
    basic::{Compression, Encoding, EncodingMask, PageType},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats},
        properties::{DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT, DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, WriterProperties},
        writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

/// The code of no value.
const NULL: u32 = u32::MAX;

/// Ints have a place each if there are no more between the least and the greatest.
const PLACES_MAX: usize = 1 << 16;

/// A column of a row group, encoded.
pub(super) struct Chunk {
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl Chunk {
    /// Puts it into the file as the next column of `group`.
    pub(super) fn append_to(self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        group.append_column(&self.bytes, self.close)
    }
}

/// The chunk of `arrays`, which are of one type; `None` if it is not to have a dictionary, or another encoding suits it better.
pub(super) fn chunk(
    column: &ColumnDescPtr,
    properties: &WriterProperties,
    arrays: &[&ArrayRef],
) -> Result<Option<Chunk>, ParquetError> {
    let compression = properties.compression(column.path());
    let Compression::ZSTD(level) = compression else { return Ok(None) };
    if !properties.dictionary_enabled(column.path()) {
        return Ok(None);
    }
    let coded = match arrays.first().map(|array| array.data_type()) {
        Some(DataType::Dictionary(..)) => Codes::of_codes(arrays),
        Some(DataType::Utf8) => Codes::of_bytes::<Utf8Type>(arrays),
        Some(DataType::Binary) => Codes::of_bytes::<BinaryType>(arrays),
        Some(DataType::Int32) => Codes::of_ints::<Int32Type>(arrays),
        Some(DataType::Int64) => Codes::of_ints::<Int64Type>(arrays),
        _ => None,
    };
    let levels = column.max_def_level();
    match coded {
        Some(coded) if levels <= 1 && coded.fits() && (levels == 1 || !coded.codes.contains(&NULL)) => {
            coded.write(column, compression, &mut Compressor::new(level.compression_level())?).map(Some)
        }
        _ => Ok(None),
    }
}

/// The codes of a column's values.
#[derive(Default)]
struct Codes {
    /// The values, in the order of their codes, as a dictionary page has them.
    values: Vec<u8>,
    count: u32,
    /// The code of each row, or [`NULL`].
    codes: Vec<u32>,
}

impl Codes {
    fn with_rows(arrays: &[&ArrayRef]) -> Self {
        Self { codes: Vec::with_capacity(arrays.iter().map(|array| array.len()).sum()), ..Self::default() }
    }

    /// The code of a value that is new.
    fn add(&mut self, value: &[u8]) -> u32 {
        self.values.extend_from_slice(value);
        self.count += 1;
        self.count - 1
    }

    fn add_bytes(&mut self, value: &[u8]) -> u32 {
        self.values.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.add(value)
    }

    /// Of texts that have codes, in each array others. `None` if they are no texts, or a code stands for null.
    fn of_codes(arrays: &[&ArrayRef]) -> Option<Self> {
        let mut coded = Self::with_rows(arrays);
        let mut found: HashMap<&str, u32> = HashMap::new();
        for array in arrays {
            let array = array.as_dictionary_opt::<Int32Type>()?;
            let texts = array.values().as_string_opt::<i32>().filter(|texts| texts.null_count() == 0)?;
            let mut known = vec![NULL; texts.len()];
            for key in array.keys() {
                let code = key.map(|key| {
                    let known = &mut known[key as usize];
                    if *known == NULL {
                        let text = texts.value(key as usize);
                        *known = *found.entry(text).or_insert_with(|| coded.add_bytes(text.as_bytes()));
                    }
                    *known
                });
                coded.codes.push(code.unwrap_or(NULL));
            }
        }
        Some(coded)
    }

    /// Of texts and other bytes.
    fn of_bytes<T: ByteArrayType>(arrays: &[&ArrayRef]) -> Option<Self> {
        let mut coded = Self::with_rows(arrays);
        let mut found: HashMap<&[u8], u32> = HashMap::new();
        for array in arrays {
            let array: &GenericByteArray<T> = array.as_bytes_opt::<T>()?;
            for value in array {
                let code = value.map(|value| {
                    let value: &[u8] = value.as_ref();
                    *found.entry(value).or_insert_with(|| coded.add_bytes(value))
                });
                coded.codes.push(code.unwrap_or(NULL));
            }
        }
        Some(coded)
    }

    /// Of ints. `None` if they are too far from each other.
    fn of_ints<T: ArrowPrimitiveType<Native: Into<i64> + Ord>>(arrays: &[&ArrayRef]) -> Option<Self> {
        let arrays_of_ints = arrays.iter().map(|array| array.as_primitive_opt::<T>()).collect::<Option<Vec<_>>>()?;
        let least: i64 = arrays_of_ints.iter().filter_map(|array| min(array)).min()?.into();
        let greatest: i64 = arrays_of_ints.iter().filter_map(|array| max(array)).max()?.into();
        let place = |value: i64| usize::try_from(value.checked_sub(least)?).ok();
        let places = place(greatest).filter(|last| *last < PLACES_MAX)? + 1;
        let (mut coded, mut known) = (Self::with_rows(arrays), vec![NULL; places]);
        for array in arrays_of_ints {
            for value in array {
                let code = value.map(|value| {
                    let value: i64 = value.into();
                    let known = &mut known[(value - least) as usize];
                    if *known == NULL {
                        *known = coded.add(&value.to_le_bytes()[..size_of::<T::Native>()]);
                    }
                    *known
                });
                coded.codes.push(code.unwrap_or(NULL));
            }
        }
        Some(coded)
    }

    /// Whether there are values, but not more than a dictionary may have.
    fn fits(&self) -> bool {
        self.count > 0 && self.values.len() <= DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT
    }

    fn write(
        self,
        column: &ColumnDescPtr,
        compression: Compression,
        compressor: &mut Compressor<'_>,
    ) -> Result<Chunk, ParquetError> {
        let mut bytes = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut bytes);
        let dictionary = Page::DictionaryPage {
            buf: compressor.compress(&self.values)?.into(),
            num_values: self.count,
            encoding: Encoding::PLAIN_DICTIONARY,
            is_sorted: false,
        };
        let written = pages.write_page(CompressedPage::new(dictionary, self.values.len()))?;
        let (mut compressed, mut uncompressed) = (written.compressed_size, written.uncompressed_size);
        let data_from = written.bytes_written;
        let width = u32::BITS - (self.count - 1).leading_zeros();
        let (mut index, mut count) = (OffsetIndexBuilder::new(), 0);
        for rows in self.codes.chunks(DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT) {
            let page = page(rows, width, column.max_def_level() == 1);
            let data = Page::DataPage {
                buf: compressor.compress(&page)?.into(),
                num_values: rows.len() as u32,
                encoding: Encoding::RLE_DICTIONARY,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let written = pages.write_page(CompressedPage::new(data, page.len()))?;
            index.append_row_count(rows.len() as i64);
            index.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
            compressed += written.compressed_size;
            uncompressed += written.uncompressed_size;
            count += 1;
        }
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let encodings = [Encoding::PLAIN_DICTIONARY, Encoding::RLE, Encoding::RLE_DICTIONARY];
        let metadata = ColumnChunkMetaData::builder(ColumnDescPtr::clone(column))
            .set_compression(compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
            .set_page_encoding_stats(vec![
                stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN_DICTIONARY, 1),
                stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, count),
            ])
            .set_total_compressed_size(compressed as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(self.codes.len() as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(data_from as i64)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: compressed as u64,
            rows_written: self.codes.len() as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(index.build()),
        };
        Ok(Chunk { bytes: bytes.into_inner()?.into(), close })
    }
}

/// A data page of `codes`, each of `width` bits, before it is compressed: which rows have a value, if that is said, and the codes of
/// those that have one.
fn page(codes: &[u32], width: u32, says_nulls: bool) -> Vec<u8> {
    let mut page = Vec::new();
    let mut values = codes;
    let present: Vec<u32>;
    if says_nulls {
        let levels: Vec<u32> = codes.iter().map(|code| u32::from(*code != NULL)).collect();
        page.extend_from_slice(&[0; 4]);
        run(&levels, 1, &mut page);
        let length = page.len() as u32 - 4;
        page[..4].copy_from_slice(&length.to_le_bytes());
        present = codes.iter().copied().filter(|code| *code != NULL).collect();
        values = &present;
    }
    page.push(width as u8);
    run(values, width, &mut page);
    page
}

/// Appends `values`, each of `width` bits, as one run of Parquet's hybrid encoding: one value so many times, or packed bits.
fn run(values: &[u32], width: u32, into: &mut Vec<u8>) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value == first) {
        varint((values.len() as u64) << 1, into);
        into.extend_from_slice(&first.to_le_bytes()[..width.div_ceil(8) as usize]);
        return;
    }
    // Values are packed by the eight.
    let groups = values.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, into);
    let end = into.len() + groups * width as usize;
    into.reserve(end - into.len() + 8);
    let (mut waiting, mut bits) = (0_u64, 0);
    for value in values {
        waiting |= u64::from(*value) << bits;
        bits += width;
        if bits >= 32 {
            into.extend_from_slice(&(waiting as u32).to_le_bytes());
            waiting >>= 32;
            bits -= 32;
        }
    }
    into.extend_from_slice(&waiting.to_le_bytes());
    into.resize(end, 0);
}

/// Appends `value` by groups of seven bits, the lowest first (LEB128).
fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value > 0x7f {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BinaryArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray},
        compute::{cast, concat_batches},
        datatypes::{Field, Schema, SchemaRef},
    };
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::{dataset::write, schema::coded_type};

    /// A number is a value of each column, which is null where there is none; texts have codes of their own.
    fn batch(rows: &[Option<u8>]) -> RecordBatch {
        let texts: StringArray = rows.iter().map(|row| row.map(|value| "text".repeat(value as usize % 5))).collect();
        let ints = || rows.iter().map(|row| row.map(|value| i64::from(value) * 300 - 40_000));
        let columns: [(&str, ArrayRef); 5] = [
            ("coded", cast(&texts, &coded_type()).unwrap()),
            ("text", Arc::new(texts)),
            ("key", Arc::new(rows.iter().map(|row| row.map(|value| vec![value; 2])).collect::<BinaryArray>())),
            ("int", Arc::new(ints().collect::<Int64Array>())),
            ("small", Arc::new(ints().map(|int| int.map(|int| int as i32 / 256)).collect::<Int32Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn plain() -> SchemaRef {
        let schema = batch(&[]).schema();
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Dictionary(..) => field.as_ref().clone().with_data_type(DataType::Utf8),
            _ => field.as_ref().clone(),
        });
        Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
    }

    fn written(batches: &[RecordBatch]) -> Bytes {
        write::file(&plain(), None, batches).unwrap().bytes
    }

    /// What Parquet's own reader finds, as one batch.
    fn read(bytes: Bytes) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        concat_batches(&plain(), &reader.map(Result::unwrap).collect::<Vec<_>>()).unwrap()
    }

    fn of(rows: &[Option<u8>]) -> RecordBatch {
        let (batch, plain) = (batch(rows), plain());
        let columns = batch.columns().iter().zip(plain.fields()).map(|(c, f)| cast(c, f.data_type()).unwrap());
        RecordBatch::try_new(SchemaRef::clone(&plain), columns.collect()).unwrap()
    }

    proptest! {
        #[test]
        fn l1_columns_read_back_and_do_not_depend_on_their_batches_and_codes(
            rows in prop::collection::vec(prop::option::weighted(0.8, any::<u8>()), 1..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = rows.split_at(cut.index(rows.len()));
            let together = written(&[batch(&rows)]);
            prop_assert_eq!(&written(&[batch(first), batch(second)]), &together);
            prop_assert_eq!(&written(&[of(&rows)]), &together, "texts without codes");
            prop_assert_eq!(read(together), of(&rows));
        }
    }

    #[test]
    fn columns_of_many_pages_read_back() {
        let rows: Vec<Option<u8>> = (0..50_001_u32).map(|row| (row % 7 > 0).then_some((row % 251) as u8)).collect();
        let stretches: Vec<Option<u8>> = (0..50_001).map(|row| Some((row / 20_000) as u8)).collect();
        for rows in [rows, stretches] {
            assert_eq!(read(written(&[batch(&rows)])), of(&rows));
        }
    }

    fn is_coded(column: impl Array + 'static, nullable: bool) -> bool {
        let column: ArrayRef = Arc::new(column);
        let schema = Schema::new(vec![Field::new("x", column.data_type().clone(), nullable)]);
        let leaves = parquet::arrow::ArrowSchemaConverter::new().convert(&schema).unwrap();
        let zstd = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
        chunk(&leaves.column(0), &zstd, &[&column]).unwrap().is_some()
    }

    #[test]
    fn what_a_dictionary_does_not_suit_is_left_to_parquet() {
        assert!(is_coded(Int64Array::from(vec![-1, 65_534]), false));
        assert!(!is_coded(Int64Array::from(vec![-1, 65_535]), false), "too far from each other");
        assert!(!is_coded(Int64Array::from(vec![i64::MIN, i64::MAX]), false), "farther than ints reach");
        assert!(!is_coded(Int64Array::from(vec![None, None]), true), "no value");
        assert!(!is_coded(Int64Array::from(vec![Some(1), None]), false), "null where none may be");
        assert!(!is_coded(StringArray::from(vec!["x".repeat(DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT)]), false), "too long");
        let null_text = StringArray::from(vec![None, Some("x")]);
        let codes = Int32Array::from(vec![0, 1]);
        assert!(!is_coded(DictionaryArray::new(codes, Arc::new(null_text)), true), "a code that stands for null");
    }
}
