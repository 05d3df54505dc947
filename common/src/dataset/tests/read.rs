//! Files of several row groups, and files that are not what the table says.

use arrow::datatypes::Decimal64Type;
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ArrowReaderMetadata},
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterPropertiesBuilder},
    },
};

use super::*;
use crate::limits::DATA_FILE_TAIL_BYTES;

const ROWS: usize = 300_000;
const GROUP_ROWS: usize = 100_000;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Events with delays that nothing compresses: more than a megabyte a row group. Most columns are missing.
fn large() -> RecordBatch {
    let mut random = Random::new(7);
    let carriers = StringArray::from_iter_values((0..ROWS).map(|row| ["UA", "B6", "AA"][row % 3]));
    let delays = Int64Array::from_iter_values((0..ROWS).map(|_| random.below(u64::MAX) as i64));
    let fares = Decimal128Array::from_iter_values((0..ROWS).map(|row| row as i128));
    let fares = fares.with_precision_and_scale(10, 2).unwrap();
    let columns: [(&str, ArrayRef); 3] =
        [("carrier", Arc::new(carriers)), ("delay", Arc::new(delays)), ("fare", Arc::new(fares))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_dictionary_enabled(false).set_max_row_group_row_count(Some(GROUP_ROWS))
}

fn encoded(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// A file of these bytes in a store, of which the table says that it has `length`.
async fn file(objects: &FaultyObjects, bytes: Vec<u8>, length: usize) -> (Dataset, DataFile) {
    let store = store(objects.clone());
    let path = Path::from("datasets/departures/event_date=1970-01-01/large.parquet");
    store.put(&path, Bytes::from(bytes)).await.unwrap();
    (open(&store).await, DataFile { path, rows: ROWS as u64, bytes: length as u64 })
}

async fn groups(dataset: &Dataset, file: &DataFile, columns: &[&str]) -> Result<Vec<Vec<RecordBatch>>, Error> {
    let mut events = dataset.events(file, &names(columns)).await?;
    let mut groups = Vec::new();
    while let Some(group) = events.next().await? {
        groups.push(group.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(groups)
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn row_groups_are_read_one_by_one_and_only_what_is_wanted_of_them() {
    let (large, objects) = (large(), FaultyObjects::in_memory());
    let bytes = encoded(&large, properties());
    let length = bytes.len();
    assert!(length as u64 > 2 * DATA_FILE_TAIL_BYTES, "{length} bytes");
    let (dataset, file) = file(&objects, bytes, length).await;

    let before = objects.begun(Operation::Get);
    let mut events = dataset.events(&file, &names(&["carrier"])).await.unwrap();
    let of_group = events.held_max() - DATA_FILE_TAIL_BYTES as usize;
    assert!(of_group < length / 6, "{of_group} of {length} bytes in three row groups");
    assert_eq!(objects.begun(Operation::Get) - before, 1, "the end is read at once");
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(objects.begun(Operation::Get) - before, 2, "so are the columns of a row group");
    assert_eq!(rows(&first.collect::<Result<Vec<_>, _>>().unwrap()), GROUP_ROWS);
    let rest: Vec<_> = events.rest().await.unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows(&rest), ROWS - GROUP_ROWS);

    let groups = groups(&dataset, &file, &["fare", "delay", "late"]).await.unwrap();
    assert_eq!(groups.iter().map(|group| rows(group)).collect::<Vec<_>>(), [GROUP_ROWS; 3]);
    let batches = groups.concat();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(all.column(1), large.column(1));
    let fares = all.column(0).as_primitive::<Decimal64Type>().values();
    assert!(fares.iter().copied().eq(0..ROWS as i64));
    assert_eq!(all.column(2).null_count(), ROWS, "a column that the file does not have");
}

#[tokio::test]
async fn l7_parts_of_a_file_have_each_of_its_rows_once() {
    let (large, objects) = (large(), FaultyObjects::in_memory());
    let bytes = encoded(&large, properties());
    let length = bytes.len();
    let (dataset, file) = file(&objects, bytes, length).await;
    for of in [1, 2, 3, 5] {
        let mut batches = Vec::new();
        for number in 0..of {
            let events = dataset.events_of(&file, Part { number, of }, &names(&["fare"])).await.unwrap();
            let part: Vec<_> = events.rest().await.unwrap().collect::<Result<_, _>>().unwrap();
            let most = 3_usize.div_ceil(of) * GROUP_ROWS;
            assert!(rows(&part) <= most, "part {number} of {of}");
            batches.extend(part);
        }
        let fares = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Decimal64Type>().values().iter());
        assert!(fares.copied().eq(0..ROWS as i64), "{of} parts");
    }
}

#[tokio::test]
async fn a_file_without_any_of_the_columns_still_has_its_rows() {
    let objects = FaultyObjects::in_memory();
    let bytes = encoded(&large(), properties());
    let length = bytes.len();
    let (dataset, file) = file(&objects, bytes, length).await;
    for columns in [&["late", "score"][..], &[]] {
        let groups = groups(&dataset, &file, columns).await.unwrap();
        assert_eq!(rows(&groups.concat()), ROWS);
        assert!(groups.concat().iter().all(|batch| batch.num_columns() == columns.len()));
    }
}

#[tokio::test]
async fn an_end_that_is_longer_than_most_is_read_again() {
    let objects = FaultyObjects::in_memory();
    let batch = large().slice(0, 10);
    let said = "said ".repeat(DATA_FILE_TAIL_BYTES as usize / 4);
    let told = properties().set_key_value_metadata(Some(vec![KeyValue::new("all".to_owned(), said)]));
    let bytes = encoded(&batch, told);
    let length = bytes.len();
    let (dataset, file) = file(&objects, bytes, length).await;
    let found = groups(&dataset, &file, &["delay"]).await.unwrap();
    assert_eq!(found[0][0].column(0), batch.column(1));
}

#[tokio::test]
async fn a_file_that_is_broken_is_named() {
    let (large, none) = (large(), FaultyObjects::in_memory());
    let whole = encoded(&large, properties());
    let length = whole.len();
    let metadata = ArrowReaderMetadata::load(&Bytes::from(whole.clone()), Default::default()).unwrap();
    let page = metadata.metadata().row_group(1).column(1).data_page_offset() as usize;
    let last = metadata.metadata().row_group(2).column(2).data_page_offset() as usize;
    let cut = |to: usize| whole[..to].to_vec();
    let with = |at: usize, bytes: &[u8]| {
        let mut other = whole.clone();
        other[at..at + bytes.len()].copy_from_slice(bytes);
        other
    };
    let missing = [&whole[..last + 1_000], &whole[last + 10_000..]].concat();
    let broken = [
        ("cut", cut(length - 10)),
        ("cut in its middle", cut(length / 2)),
        ("cut to nothing", Vec::new()),
        ("no Parquet", with(length - 4, b"PAR0")),
        ("an end that would be longer than the file", with(length - 8, &u32::MAX.to_le_bytes())),
        ("an end that says nothing", with(length - 200, &[0xff; 150])),
        ("a page in its middle", with(page, &[0xff; 64])),
        ("columns that would go on behind its end", missing.clone()),
    ];
    for (what, bytes) in broken {
        let said = if bytes == missing { missing.len() } else { length };
        let (dataset, file) = file(&none, bytes, said).await;
        let error = groups(&dataset, &file, &["carrier", "delay", "fare"]).await.expect_err(what);
        let told = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(told.contains("large.parquet"), "{what}: {told}");
    }
    let (dataset, file) = file(&none, with(page, &[0xff; 64]), length).await;
    let of_others = groups(&dataset, &file, &["carrier", "fare"]).await.unwrap();
    assert_eq!(rows(&of_others.concat()), ROWS, "what is not wanted is not looked at");
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_read_is_gone() {
    let objects = FaultyObjects::in_memory();
    let bytes = encoded(&large(), properties());
    let length = bytes.len();
    let (dataset, file) = file(&objects, bytes, length).await;
    let mut events = dataset.events(&file, &names(&["delay"])).await.unwrap();
    events.next().await.unwrap().unwrap();
    store(objects).delete(&file.path).await.unwrap();
    let gone = events.next().await;
    assert!(matches!(&gone, Err(Error::Gone { path }) if *path == file.path), "{gone:?}");
}
