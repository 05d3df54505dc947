//! The conformance suite on the embedded log, and what only it promises.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{log::LogEvent, testing::log::conformance::Subject};

mod crash;

struct InDirectory(TempDir);

#[async_trait]
impl Subject for InDirectory {
    async fn open(&self, partitions: u32) -> Arc<dyn EventLog> {
        Arc::new(departures(self.0.path(), partitions).await)
    }
}

crate::event_log_conformance!(InDirectory(TempDir::new().unwrap()));

async fn departures(directory: &Path, partitions: u32) -> EmbeddedLog {
    EmbeddedLogs::open(directory).await.unwrap().topic("departures", partitions).await.unwrap()
}

fn records(count: usize, bytes: usize) -> Vec<NewRecord> {
    let value = Some(Bytes::from(vec![b'x'; bytes]));
    vec![NewRecord { value, ..NewRecord::default() }; count]
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let directory = TempDir::new().unwrap();
    let first = EmbeddedLogs::open(directory.path()).await.unwrap();
    let error = EmbeddedLogs::open(directory.path()).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    drop(first);
    EmbeddedLogs::open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn topics_of_one_database_are_apart() {
    let directory = TempDir::new().unwrap();
    let logs = EmbeddedLogs::open(directory.path()).await.unwrap();
    let (departures, arrivals) = (logs.topic("departures", 1).await.unwrap(), logs.topic("arrivals", 2).await.unwrap());
    let run = || Some(ProducerRun { producer: "p".to_owned(), first_row: 0 });
    departures.append(records(3, 1), run()).await.unwrap();
    assert_eq!(arrivals.next_row("p").await.unwrap(), 0);
    assert_eq!(arrivals.append(records(1, 1), run()).await.unwrap().duplicates, 0);
    assert_eq!(departures.bounds(Partition(0)).await.unwrap().len(), 3);
    assert!(matches!(logs.topic("../up", 1).await, Err(Error::InvalidTopic(_))));
}

#[tokio::test]
async fn partitions_grow_under_readers_and_never_shrink() {
    let directory = TempDir::new().unwrap();
    let logs = EmbeddedLogs::open(directory.path()).await.unwrap();
    let log = logs.topic("departures", 2).await.unwrap();
    let mut reader = log.subscribe().await.unwrap();
    assert_eq!(reader.next().await.unwrap(), LogEvent::Assigned(vec![Partition(0), Partition(1)]));
    let grown = logs.topic("departures", 3).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), LogEvent::Assigned(vec![Partition(2)]));
    reader.start(Partition(2), Position(0)).await.unwrap();
    assert_eq!(log.append(records(3, 1), None).await.unwrap().ranges.len(), 3);
    let LogEvent::Records(run) = reader.next().await.unwrap() else { panic!("records were due") };
    assert_eq!(run.partition, Partition(2));
    assert_eq!(grown.partitions().await.unwrap().len(), 3);
    let error = logs.topic("departures", 2).await.unwrap_err();
    assert_eq!(error.to_string(), "topic departures has 3 partitions, 2 were asked for; the number may only grow");
}

#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn time_stamps_stand_still_while_the_clock_is_behind() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(SetClock(AtomicI64::new(0)));
    for now in [100, 50, 70, 120] {
        clock.0.store(now, Ordering::SeqCst);
        let logs = EmbeddedLogs::open_with(directory.path(), Arc::<SetClock>::clone(&clock)).await.unwrap();
        let log = logs.topic("departures", 1).await.unwrap();
        log.append(records(1, 1), None).await.unwrap();
        // Trimmed away, and yet remembered.
        log.trim(Partition(0), log.bounds(Partition(0)).await.unwrap().to).await.unwrap();
        log.append(records(1, 1), None).await.unwrap();
    }
    let log = departures(directory.path(), 1).await;
    let stored = log.topic.stored(Partition(0));
    let all = OffsetRange::new(Position(0), Position(8));
    let read = stored.read(&"departures".into(), Partition(0), all).unwrap().unwrap();
    let times: Vec<i64> = read.iter().map(|record| record.timestamp_us).collect();
    assert_eq!(times, [100, 100, 100, 100, 100, 100, 120, 120]);
}

#[tokio::test]
async fn a_record_too_large_is_refused_with_its_whole_append() {
    let directory = TempDir::new().unwrap();
    let log = departures(directory.path(), 1).await;
    let mut sent = records(1, 1);
    sent.extend(records(1, LOG_RECORD_BYTES_MAX + 1));
    assert!(matches!(log.append(sent, None).await, Err(Error::TooLarge { .. })));
    assert!(log.bounds(Partition(0)).await.unwrap().is_empty());
}

/// Every moment at which the making of a database can be cut off leaves one of these, and a start makes it anew.
#[tokio::test]
async fn a_database_half_made_is_made_again() {
    for files in [&["lock"][..], &["lock", "0.jnl"], &["lock", "0.jnl", "version"]] {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("keyspaces")).unwrap();
        for file in files {
            std::fs::write(directory.path().join(file), []).unwrap();
        }
        departures(directory.path(), 1).await.append(records(1, 1), None).await.unwrap();
        assert_eq!(departures(directory.path(), 1).await.bounds(Partition(0)).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_database_of_another_layout_is_refused() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(directory.path()).map_err(|_| "closed").unwrap();
    database.put_format(2);
    drop(database);
    let error = EmbeddedLogs::open(directory.path()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the database has layout [02, 00, 00, 00], which this version does not know");
}

/// L2: a trim gives the disk back once it is durable, and what was not trimmed stays.
#[tokio::test]
async fn l2_trimming_gives_the_disk_back() {
    let directory = TempDir::new().unwrap();
    let log = departures(directory.path(), 1).await;
    let tables = || {
        let tables = directory.path().join("keyspaces");
        bytes_below(&tables)
    };
    for _ in 0..6 {
        log.append(records(8, 1 << 20), None).await.unwrap();
        log.topic.stored(Partition(0)).write_table();
    }
    assert!(tables() > 48 << 20, "six tables of 8 MiB are written, not {}", tables());
    log.trim(Partition(0), Position(44)).await.unwrap();
    assert!(tables() < 9 << 20, "one table is to be left, not {} bytes", tables());
    log.trim(Partition(0), Position(48)).await.unwrap();
    assert!(tables() < 9 << 20, "{}", tables());
    drop(log);
    let log = departures(directory.path(), 1).await;
    assert_eq!(log.bounds(Partition(0)).await.unwrap(), OffsetRange::new(Position(48), Position(48)));
    log.append(records(1, 1), None).await.unwrap();
    let mut reader = log.subscribe().await.unwrap();
    reader.next().await.unwrap();
    reader.start(Partition(0), Position(48)).await.unwrap();
    let LogEvent::Records(run) = reader.next().await.unwrap() else { panic!("a record was due") };
    assert_eq!(run.range, OffsetRange::new(Position(48), Position(49)));
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = directory.read_dir().unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => bytes_below(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}
