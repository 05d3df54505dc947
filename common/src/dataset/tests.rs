#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Int32Type, Int64Type},
};
use deltalake::DeltaTableBuilder;
use object_store::{ObjectStore, memory::InMemory, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

mod read;
mod rewrite;
mod s3;

use super::*;
use crate::{
    position::Position,
    schema::{Column, ColumnType, OFFSET, PARTITION},
    testing::store::{Fault, FaultyObjects, Operation, Random},
};

const HOUR_US: i64 = 3_600_000_000;
const TOPIC: &str = "departures";

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column { nullable, ..Column::new(name, column_type) }
}

fn columns() -> Vec<Column> {
    vec![
        column("carrier", ColumnType::String, false),
        column("delay", ColumnType::Int, true),
        column("score", ColumnType::Double, true),
        column("fare", ColumnType::Decimal { precision: 10, scale: 2 }, true),
        column("late", ColumnType::Bool, true),
        column("departed_at", ColumnType::Timestamp, true),
    ]
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(columns()))
}

fn source() -> SourceName {
    SourceName::new("departures").unwrap()
}

fn url() -> Url {
    Url::parse("memory:///").unwrap()
}

fn store(objects: impl ObjectStore) -> Store {
    Store::over(Arc::new(objects), url())
}

fn memory() -> Store {
    store(InMemory::new())
}

async fn open(store: &Store) -> Dataset {
    Dataset::open(store, "test", &source(), schema(), "departed_at").await.unwrap()
}

/// The events at `offsets` of `partition`, one every 5 hours. What an event says follows from where it is.
fn events(partition: u32, offsets: std::ops::Range<u64>) -> RecordBatch {
    let offsets: Vec<i64> = offsets.map(|offset| offset as i64).collect();
    let times = offsets.iter().map(|offset| Some(offset * 5 * HOUR_US));
    events_at(partition, &offsets, times.collect())
}

fn events_at(partition: u32, offsets: &[i64], times: Vec<Option<i64>>) -> RecordBatch {
    let rows = offsets.len();
    let carriers: Vec<&str> = offsets.iter().map(|offset| ["UA", "B6", "AA"][*offset as usize % 3]).collect();
    let fares = Decimal128Array::from_iter_values(offsets.iter().map(|&offset| i128::from(offset) * 100));
    let timestamps = || TimestampMicrosecondArray::from_iter_values(offsets.iter().copied()).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(carriers)),
        Arc::new(Int64Array::from_iter(offsets.iter().map(|offset| (offset % 4 != 0).then_some(*offset)))),
        Arc::new(Float64Array::from_iter_values(offsets.iter().map(|offset| *offset as f64 / 2.0))),
        Arc::new(fares.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(BooleanArray::from_iter(offsets.iter().map(|offset| Some(offset % 2 == 0)))),
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![TOPIC; rows])),
        Arc::new(Int32Array::from(vec![partition as i32; rows])),
        Arc::new(Int64Array::from(offsets.to_vec())),
        Arc::new(timestamps()),
        Arc::new(BinaryArray::from(vec![None; rows])),
    ];
    RecordBatch::try_new(schema().event_schema(), columns).unwrap()
}

fn range(from: u64, to: u64) -> OffsetRange {
    OffsetRange::new(Position(from), Position(to))
}

fn counts(events: u64) -> Counts {
    Counts { events, ..Counts::default() }
}

/// All of `[from, to)` of each partition, every record an event.
fn append(partitions: &[(u32, u64, u64)]) -> Append {
    Append {
        events: partitions.iter().map(|&(partition, from, to)| events(partition, from..to)).collect(),
        partitions: partitions
            .iter()
            .map(|&(p, from, to)| (Partition(p), (range(from, to), counts(to - from))))
            .collect(),
    }
}

fn positions(of: &[(u32, u64)]) -> Positions {
    of.iter().map(|&(partition, position)| (Partition(partition), Position(position))).collect()
}

/// Where each event in the dataset at `version` came from.
async fn events_in(dataset: &Dataset, version: Version) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    for file in dataset.files(version).await.unwrap() {
        let batches = dataset.read(&file, &[PARTITION.to_owned(), OFFSET.to_owned()]).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.rows);
        for batch in &batches {
            let partitions = batch.column(0).as_primitive::<Int32Type>().values();
            let offsets = batch.column(1).as_primitive::<Int64Type>().values();
            found.extend(partitions.iter().zip(offsets).map(|(&p, &offset)| (p as u32, offset as u64)));
        }
    }
    found.sort_unstable();
    found
}

/// L2 and L7 at every version: the events are exactly those before the positions, and the counts say so.
async fn assert_whole(dataset: &Dataset) {
    let head = dataset.snapshot().await.unwrap();
    let commits = dataset.commits(Version(0), head.version).await.unwrap();
    let (mut positions, mut totals) = (Positions::new(), Counts::default());
    for commit in &commits {
        positions.extend(commit.positions.clone());
        commit.counts.values().for_each(|&counts| totals += counts);
        let expected: Vec<(u32, u64)> =
            positions.iter().flat_map(|(p, to)| (0..to.0).map(|offset| (p.0, offset))).collect();
        assert_eq!(events_in(dataset, commit.version).await, expected, "events at version {}", commit.version);
        assert_eq!(totals.events, expected.len() as u64, "counts at version {}", commit.version);
        assert_eq!(commit.files.iter().map(|file| file.rows).sum::<u64>(), {
            commit.counts.values().map(|counts| counts.events).sum::<u64>()
        });
    }
    assert_eq!((head.positions, head.totals), (positions, totals));
}

#[tokio::test]
async fn a_new_dataset_is_version_0_and_empty() {
    let store = memory();
    let made = open(&store).await.snapshot().await.unwrap();
    assert_eq!(made, Snapshot::default());
    assert_eq!(open(&store).await.snapshot().await.unwrap(), made);
    assert_eq!(open(&store).await.files(Version(0)).await.unwrap(), []);
}

#[tokio::test]
async fn a_commit_reads_back_as_it_was_made() {
    let dataset = open(&memory()).await;
    let commit = dataset.append(append(&[(0, 0, 10), (3, 0, 5)])).await.unwrap();
    assert_eq!(commit.version, Version(1));
    assert_eq!(commit.positions, positions(&[(0, 10), (3, 5)]));
    assert_eq!(commit.counts, BTreeMap::from([(Partition(0), counts(10)), (Partition(3), counts(5))]));
    // 10 events, 5 hours apart: on two dates.
    let dates: Vec<&str> = commit.files.iter().map(|file| file.path.as_ref().split('/').nth(2).unwrap()).collect();
    assert_eq!(dates, ["event_date=1970-01-01", "event_date=1970-01-02"]);
    assert_eq!(dataset.commits(Version(0), Version(1)).await.unwrap(), std::slice::from_ref(&commit));
    assert_eq!(dataset.files(Version(1)).await.unwrap(), commit.files);
    let idle = dataset.append(append(&[(0, 10, 10)])).await.unwrap();
    assert_eq!((idle.version, idle.files.len()), (Version(2), 0));
    assert_whole(&dataset).await;
}

#[tokio::test]
async fn events_come_back_as_they_went_in() {
    let dataset = open(&memory()).await;
    let commit = dataset.append(append(&[(1, 0, 4)])).await.unwrap();
    let names: Vec<String> = schema().event_schema().fields().iter().map(|field| field.name().clone()).collect();
    let batches = dataset.read(&commit.files[0], &names).await.unwrap();
    let expected = events(1, 0..4);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for (found, expected) in batches[0].columns().iter().zip(expected.columns()) {
        if expected.data_type() == &DataType::Utf8 {
            assert_eq!(found.data_type(), &dictionary);
        }
        assert_eq!(&arrow::compute::cast(found, expected.data_type()).unwrap(), expected);
    }
    let error = dataset.read(&commit.files[0], &["missing".to_owned()]).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("no column missing"), "{error:?}");
}

#[tokio::test]
async fn equal_events_give_equal_bytes() {
    let mut written = Vec::new();
    for _ in 0..2 {
        let store = memory();
        let commit = open(&store).await.append(append(&[(0, 0, 300)])).await.unwrap();
        let mut bytes = Vec::new();
        for file in &commit.files {
            bytes.push(store.get(&file.path).await.unwrap().unwrap());
        }
        written.push(bytes);
    }
    assert_eq!(written[0], written[1]);
}

/// The same with its texts as codes, of dictionaries that have one text more than occurs.
fn coded(batch: &RecordBatch) -> RecordBatch {
    let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        let Some(texts) = column.as_string_opt::<i32>() else { return (field.name(), Arc::clone(column)) };
        let more = arrow::compute::concat(&[&StringArray::from(vec!["0 occurs nowhere"]), texts]).unwrap();
        (field.name(), arrow::compute::cast(&more, &coded).unwrap().slice(1, batch.num_rows()))
    });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn texts_give_equal_bytes_and_bounds_with_and_without_codes() {
    let (schema, plain) = (schema().event_schema(), events(0, 0..300));
    let written = |batches: &[&RecordBatch]| {
        let batches: Vec<_> = batches.iter().map(|batch| write::conform(batch, &schema).unwrap()).collect();
        let files = write::files(&schema, "departed_at", &batches).unwrap();
        files.into_iter().map(|file| (file.date, file.bytes, file.stats)).collect::<Vec<_>>()
    };
    let (more, coded) = (events(0, 300..600), coded(&plain));
    assert_eq!(written(&[&coded]), written(&[&plain]));
    assert!(
        written(&[&coded])[0].2.contains(r#""carrier":"AA""#),
        "the least that occurs: {:?}",
        written(&[&coded])[0].2
    );
    assert_eq!(written(&[&coded, &more]), written(&[&plain, &more]), "codes of some batches only");
}

#[test]
fn rows_that_a_row_group_has_no_room_for_are_in_the_next() {
    let batch = |rows| RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]);
    let groups = write::row_groups(&[batch(700_000).unwrap(), batch(0).unwrap(), batch(700_000).unwrap()]);
    let rows: Vec<Vec<usize>> = groups.iter().map(|group| group.iter().map(RecordBatch::num_rows).collect()).collect();
    assert_eq!(rows, [vec![700_000, 348_576], vec![351_424]]);
    let second = groups[1][0].column(0).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(second.value(0), 348_576, "it goes on where the first ends");
    assert!(write::row_groups(&[batch(0).unwrap()]).is_empty());
}

#[tokio::test]
async fn events_without_a_date_are_kept() {
    let dataset = open(&memory()).await;
    let batch = events_at(0, &[0, 1, 2], vec![None, Some(i64::MAX), Some(-HOUR_US)]);
    let partitions = BTreeMap::from([(Partition(0), (range(0, 3), counts(3)))]);
    let commit = dataset.append(Append { events: vec![batch], partitions }).await.unwrap();
    let dates: Vec<&str> = commit.files.iter().map(|file| file.path.as_ref().split('/').nth(2).unwrap()).collect();
    assert_eq!(dates, ["event_date=__HIVE_DEFAULT_PARTITION__", "event_date=1969-12-31"]);
    assert_whole(&dataset).await;
}

#[tokio::test]
async fn l2_a_commit_that_fails_moves_nothing_and_shows_nothing() {
    let objects = FaultyObjects::in_memory();
    let store = store(objects.clone());
    let dataset = open(&store).await;
    dataset.append(append(&[(0, 0, 4)])).await.unwrap();
    // One data file, then the entry: refuse all tries of the entry.
    for attempt in 0..u64::from(crate::limits::STORE_ATTEMPTS_MAX) {
        objects.fail(Operation::Put, 1 + attempt, Fault::Refused);
    }
    let failed = dataset.append(append(&[(0, 4, 6)])).await;
    assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    for dataset in [open(&store).await, dataset] {
        assert_eq!(dataset.snapshot().await.unwrap().positions, positions(&[(0, 4)]));
        assert_whole(&dataset).await;
    }
}

#[tokio::test]
async fn l2_a_commit_whose_answer_is_lost_is_made_once() {
    for fault in [Fault::AnswerLost, Fault::Late] {
        let objects = FaultyObjects::in_memory();
        let dataset = open(&store(objects.clone())).await;
        objects.fail(Operation::Put, 1, fault);
        let commit = dataset.append(append(&[(0, 0, 4)])).await.unwrap();
        assert_eq!((commit.version, objects.injected()), (Version(1), 1));
        assert_whole(&dataset).await;
    }
}

#[tokio::test]
async fn l3_a_commit_that_arrives_after_it_was_given_up_fences_the_next_try() {
    let objects = FaultyObjects::in_memory();
    let dataset = open(&store(objects.clone())).await;
    // One data file, then the tries of the entry, of which the last is on its way when the writer gives up.
    let last = u64::from(crate::limits::STORE_ATTEMPTS_MAX);
    (1..last).for_each(|nth| objects.fail(Operation::Put, nth, Fault::Refused));
    objects.fail(Operation::Put, last, Fault::Late);
    let given_up = dataset.append(append(&[(0, 0, 4)])).await;
    assert!(matches!(given_up, Err(Error::Store(_))), "{given_up:?}");
    let again = dataset.append(append(&[(0, 0, 4)])).await;
    assert!(matches!(again, Err(Error::Fenced { actual: Some(Position(4)), .. })), "{again:?}");
    assert_whole(&dataset).await;
}

#[tokio::test]
async fn l3_a_commit_that_arrives_late_does_not_replace_another() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyObjects::over(Arc::clone(&objects));
    let (slow, fast) = (open(&store(faulty.clone())).await, open(&Store::over(objects, url())).await);
    let last = u64::from(crate::limits::STORE_ATTEMPTS_MAX);
    (1..last).for_each(|nth| faulty.fail(Operation::Put, nth, Fault::Refused));
    faulty.fail(Operation::Put, last, Fault::Late);
    assert!(slow.append(append(&[(0, 0, 4)])).await.is_err());
    let commit = fast.append(append(&[(1, 0, 4)])).await.unwrap();
    // The late one arrives while the slow writer reads what happened.
    assert_eq!(slow.append(append(&[(0, 0, 4)])).await.unwrap().version, Version(2));
    assert_kept(&slow, vec![commit]).await;
}

#[tokio::test]
async fn l3_a_zombie_cannot_commit() {
    let store = memory();
    let (zombie, heir) = (open(&store).await, open(&store).await);
    zombie.append(append(&[(0, 0, 4), (1, 0, 4)])).await.unwrap();
    heir.append(append(&[(0, 4, 8)])).await.unwrap();
    let before = store.list(&Path::from("datasets")).await.unwrap();
    let refused = zombie.append(append(&[(0, 4, 6), (1, 4, 6)])).await.unwrap_err();
    let (partition, expected, actual) = match refused {
        Error::Fenced { partition, expected, actual } => (partition, expected, actual),
        other => panic!("{other:?}"),
    };
    assert_eq!((partition, expected, actual), (Partition(0), Position(4), Some(Position(8))));
    assert_eq!(store.list(&Path::from("datasets")).await.unwrap(), before, "nothing of the refused commit stays");
    // What it still owns it may commit, after another partition's writer.
    zombie.append(append(&[(1, 4, 6)])).await.unwrap();
    assert_whole(&zombie).await;
}

/// Commits a few events of some partitions after the other until each stands at `until`, and reads the positions anew whenever
/// it was fenced or the store failed for longer than it is tried. Returns what it was told that it has committed.
async fn write_until(dataset: Dataset, until: u64, partitions: u32, seed: u64) -> Vec<Commit> {
    let mut random = Random::new(seed);
    let mut committed = Vec::new();
    loop {
        let Ok(head) = dataset.snapshot().await else { continue };
        let at = |p: u32| head.positions.get(&Partition(p)).copied().unwrap_or_default().0;
        let open: Vec<u32> = (0..partitions).filter(|&p| at(p) < until).collect();
        if open.is_empty() {
            return committed;
        }
        let mut chosen = Vec::new();
        for p in open {
            if random.below(2) == 0 {
                chosen.push((p, at(p), (at(p) + 1 + random.below(3)).min(until)));
            }
        }
        if chosen.is_empty() {
            continue;
        }
        match dataset.append(append(&chosen)).await {
            Ok(commit) => committed.push(commit),
            Err(error) => assert!(!matches!(error, Error::Contradiction { .. } | Error::Schema { .. }), "{error:?}"),
        }
    }
}

/// The dataset is whole, and every commit that a writer was told of is in it.
async fn assert_kept(dataset: &Dataset, committed: Vec<Commit>) {
    assert_whole(dataset).await;
    for commit in committed {
        let before = Version(commit.version.0 - 1);
        assert_eq!(dataset.commits(before, commit.version).await.unwrap(), [commit]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_racing_writers_commit_each_event_once() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writers = tokio::task::JoinSet::new();
    for seed in 0..3 {
        let dataset = open(&Store::over(Arc::clone(&objects), url())).await;
        writers.spawn(write_until(dataset, 20, 2, seed));
    }
    let committed = writers.join_all().await.concat();
    assert_kept(&open(&Store::over(objects, url())).await, committed).await;
}

/// L2, L3 and L7 with two writers over a store that fails at random: each event is there exactly once, the positions say so.
#[tokio::test]
async fn l7_each_event_is_kept_once_whatever_the_store_does() {
    let mut injected = 0;
    for seed in (0..8).chain([std::process::id().into()]) {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut faults = Vec::new();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..2 {
            let faulty = FaultyObjects::over(Arc::clone(&objects));
            let dataset = open(&store(faulty.clone())).await;
            faulty.fail_randomly(seed * 2 + writer, 300);
            faults.push(faulty);
            writers.spawn(write_until(dataset, 8, 2, seed + writer));
        }
        let committed = writers.join_all().await.concat();
        injected += faults.iter().map(FaultyObjects::injected).sum::<u64>();
        assert_kept(&open(&Store::over(objects, url())).await, committed).await;
    }
    assert!(injected > 0);
}

#[tokio::test]
async fn l7_counts_that_do_not_agree_are_refused() {
    let dataset = open(&memory()).await;
    let with = |range: OffsetRange, counts: Counts| Append {
        events: vec![events(0, 0..4)],
        partitions: BTreeMap::from([(Partition(0), (range, counts))]),
    };
    let too_few = with(range(0, 4), counts(3));
    let too_many = with(range(0, 4), Counts { events: 4, dead_letters: 1, tombstones: 0 });
    let outside = with(range(1, 5), counts(4));
    let elsewhere = Append { events: vec![events(1, 0..4)], ..with(range(0, 4), counts(4)) };
    let nothing = Append { events: vec![], partitions: BTreeMap::new() };
    for wrong in [too_few, too_many, outside, elsewhere, nothing] {
        let refused = dataset.append(wrong).await;
        assert!(matches!(refused, Err(Error::Contradiction { .. })), "{refused:?}");
    }
    assert_eq!(dataset.snapshot().await.unwrap(), Snapshot::default());
}

#[tokio::test]
async fn l7_totals_outlive_checkpoints_and_entries() {
    let store = memory();
    let dataset = open(&store).await;
    let every = CHECKPOINT_EVERY;
    for version in 0..every + 3 {
        let counts = Counts { events: 2, dead_letters: 1, tombstones: 1 };
        let from = version * 5;
        let partitions = BTreeMap::from([(Partition(version as u32 % 7), (range(from, from + 5), counts))]);
        let batch = events(version as u32 % 7, from..from + 2);
        // Partitions start anywhere, and each goes on where it stood.
        let at = dataset.snapshot().await.unwrap().positions.get(&Partition(version as u32 % 7)).copied();
        let partitions = partitions
            .into_iter()
            .map(|(p, (range, counts))| (p, (OffsetRange::new(at.unwrap_or(range.from), range.to), counts)));
        dataset.append(Append { events: vec![batch], partitions: partitions.collect() }).await.unwrap();
    }
    let head = dataset.snapshot().await.unwrap();
    let commits = every + 3;
    assert_eq!(head.totals, Counts { events: 2 * commits, dead_letters: commits, tombstones: commits });
    let log = Path::from("datasets/departures/_delta_log");
    assert!(store.contains(&log.clone().join(format!("{every:020}.checkpoint.parquet"))).await.unwrap());
    for version in 0..every {
        store.delete(&log.clone().join(format!("{version:020}.json"))).await.unwrap();
    }
    let reopened = open(&store).await;
    assert_eq!(reopened.snapshot().await.unwrap(), head);
    assert_eq!(events_in(&reopened, head.version).await.len() as u64, 2 * commits);
    let gone = reopened.commits(Version(every - 2), head.version).await.unwrap_err();
    assert!(matches!(gone, Error::NoEntry { version: Version(99), .. }), "{gone:?}");
}

#[tokio::test]
async fn l3_the_place_of_a_cleaned_entry_is_not_taken() {
    let store = memory();
    let (asleep, awake) = (open(&store).await, open(&store).await);
    let every = CHECKPOINT_EVERY;
    for version in 0..every + 1 {
        awake.append(append(&[(0, version, version + 1)])).await.unwrap();
    }
    for version in 0..every {
        let entry = Path::from(format!("datasets/departures/_delta_log/{version:020}.json"));
        store.delete(&entry).await.unwrap();
    }
    // To the sleeper, version 0 was the head; the place of version 1 is free.
    let refused = asleep.append(append(&[(0, 0, 1)])).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(asleep.snapshot().await.unwrap(), awake.snapshot().await.unwrap());
}

#[tokio::test]
async fn columns_that_may_be_null_are_added() {
    let store = memory();
    let old = open(&store).await.append(append(&[(0, 0, 4)])).await.unwrap();
    let running = open(&store).await;
    let mut wider = columns();
    wider.insert(0, column("origin", ColumnType::String, true));
    wider.push(column("seats", ColumnType::Int, true));
    let wider = Arc::new(Schema::new(wider));
    let dataset = Dataset::open(&store, "test", &source(), Arc::clone(&wider), "departed_at").await.unwrap();
    assert_eq!(dataset.snapshot().await.unwrap().version, Version(2));
    let batches = dataset.read(&old.files[0], &["seats".to_owned(), "origin".to_owned()]).await.unwrap();
    assert_eq!((batches[0].num_rows(), batches[0].column(0).null_count()), (4, 4));
    assert_eq!(batches[0].column(1).logical_null_count(), 4);
    let narrow = events(0, 4..6);
    let wide_schema = wider.event_schema();
    let wide = wide_schema.fields().iter().map(|field| match narrow.column_by_name(field.name()) {
        Some(column) => ArrayRef::clone(column),
        None => arrow::array::new_null_array(field.data_type(), 2),
    });
    let wide = RecordBatch::try_new(Arc::clone(&wide_schema), wide.collect()).unwrap();
    let partitions = BTreeMap::from([(Partition(0), (range(4, 6), counts(2)))]);
    dataset.append(Append { events: vec![wide], partitions }).await.unwrap();
    assert_whole(&dataset).await;
    // A process that still has the old schema must not go on: it would write files without the columns.
    let stopped = running.append(append(&[(0, 6, 7)])).await.unwrap_err();
    assert!(stopped.to_string().contains("origin is in the table, not in the source"), "{stopped}");
}

#[tokio::test]
async fn columns_that_differ_are_named() {
    let store = memory();
    open(&store).await;
    let mut other = columns();
    other[1] = column("delay", ColumnType::Double, true);
    other[4] = column("cancelled", ColumnType::Bool, false);
    let schema = Arc::new(Schema::new(other));
    let refused = Dataset::open(&store, "test", &source(), schema, "departed_at").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "dataset of departures: delay is long or null in the table, double or null in the source; late is in the table, \
         not in the source; cancelled is in the source, not in the table, and may not be null"
    );
}

#[tokio::test]
async fn a_compaction_by_another_program_is_followed() {
    let store = memory();
    let dataset = open(&store).await;
    let commit = dataset.append(append(&[(0, 0, 4)])).await.unwrap();
    let root = Path::from("datasets/departures");
    let compacted = "event_date=1970-01-01/compacted.parquet";
    let bytes = store.get(&commit.files[0].path).await.unwrap().unwrap();
    store.put(&Path::from(format!("{root}/{compacted}")), bytes).await.unwrap();
    let removed = commit.files[0].path.as_ref().strip_prefix("datasets/departures/").unwrap();
    let entry = [
        serde_json::json!({"commitInfo": {"operation": "OPTIMIZE", "timestamp": 0}}),
        serde_json::json!({"remove": {"path": removed, "dataChange": false, "deletionTimestamp": 0}}),
        serde_json::json!({"add": {"path": compacted, "size": commit.files[0].bytes, "modificationTime": 0,
            "dataChange": false, "partitionValues": {"event_date": "1970-01-01"}, "stats": "{\"numRecords\":4}"}}),
    ];
    let entry = entry.map(|action| action.to_string()).join("\n");
    store.put_if_absent(&log::entry_path(&root, Version(2)), entry.into()).await.unwrap();
    assert_eq!(dataset.append(append(&[(0, 4, 6)])).await.unwrap().version, Version(3));
    assert_eq!(dataset.commits(Version(1), Version(2)).await.unwrap()[0].files, []);
    let files: BTreeSet<String> =
        dataset.files(Version(2)).await.unwrap().into_iter().map(|file| file.path.to_string()).collect();
    assert_eq!(files, BTreeSet::from([format!("{root}/{compacted}")]));
    assert_eq!(events_in(&dataset, Version(3)).await.len(), 6);
}

#[tokio::test]
async fn a_table_that_needs_more_than_this_program_knows_is_refused() {
    let store = memory();
    let dataset = open(&store).await;
    let protocol = serde_json::json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}});
    let root = Path::from("datasets/departures");
    store.put_if_absent(&log::entry_path(&root, Version(1)), protocol.to_string().into()).await.unwrap();
    let refused = dataset.append(append(&[(0, 0, 4)])).await.unwrap_err();
    assert!(refused.to_string().contains("deletionVectors"), "{refused}");
}

#[tokio::test]
async fn other_readers_of_delta_and_parquet_see_every_event() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Url::from_directory_path(directory.path()).unwrap()).unwrap();
    let dataset = open(&store).await;
    dataset.append(append(&[(0, 0, 10), (1, 0, 10)])).await.unwrap();
    dataset.append(append(&[(0, 10, 12)])).await.unwrap();
    let path = directory.path().join("datasets/departures").canonicalize().unwrap();
    let table = DeltaTableBuilder::from_url(Url::from_directory_path(&path).unwrap()).unwrap().load().await.unwrap();
    assert_eq!(table.version(), Some(2));
    let log_store = table.log_store();
    let transaction = table.snapshot().unwrap().transaction_version(&log_store, "highwater/test/departures/0");
    assert_eq!(transaction.await.unwrap(), Some(12));
    let (mut rows, mut seen) = (0, BTreeSet::new());
    for uri in table.get_file_uris().unwrap() {
        let file = std::fs::File::open(uri).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.schema().fields(), schema().event_schema().fields());
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            rows += batch.num_rows();
            let partitions = batch.column_by_name(PARTITION).unwrap().as_primitive::<Int32Type>().clone();
            let offsets = batch.column_by_name(OFFSET).unwrap().as_primitive::<Int64Type>().clone();
            seen.extend(partitions.values().to_vec().into_iter().zip(offsets.values().to_vec()));
        }
    }
    assert_eq!((rows, seen.len()), (22, 22));
}
