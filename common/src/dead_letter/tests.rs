#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::{
    event::{Reason, Record},
    position::Position,
};

fn store() -> Store {
    Store::over(Arc::new(InMemory::new()), "memory:".parse().unwrap())
}

fn source() -> SourceName {
    SourceName::new("departures").unwrap()
}

fn letter(partition: u32, offset: u64) -> DeadLetter {
    let record = Record {
        topic: "departures".into(),
        partition: Partition(partition),
        offset,
        timestamp_us: 1_357_041_600_000_000 + offset as i64,
        key: (offset.is_multiple_of(2)).then(|| Bytes::from_static(b"N14228")),
        headers: (0..offset % 3).map(|n| (format!("header {n}"), Bytes::from_static(b"\xFF"))).collect(),
        value: Some(Bytes::from(format!("{{\"flight\":\"{offset}\"}}"))),
    };
    let reason = Reason::ALL[offset as usize % Reason::ALL.len()];
    let column = (offset.is_multiple_of(5)).then(|| "flight".to_owned());
    DeadLetter { record, reason, column, detail: format!("column flight: found \"{offset}\"") }
}

fn letters(partition: u32, offsets: impl IntoIterator<Item = u64>) -> Vec<DeadLetter> {
    offsets.into_iter().map(|offset| letter(partition, offset)).collect()
}

fn positions(positions: &[(u32, u64)]) -> Positions {
    positions.iter().map(|&(partition, position)| (Partition(partition), Position(position))).collect()
}

fn places(letters: &[DeadLetter]) -> Vec<(u32, u64)> {
    letters.iter().map(|letter| (letter.record.partition.0, letter.record.offset)).collect()
}

#[tokio::test]
async fn l7_a_dead_letter_is_kept_whole() {
    let (store, source) = (store(), source());
    let written = letters(3, 0..200);
    write(&store, &source, &written).await.unwrap();
    assert_eq!(read(&store, &source, &positions(&[(3, 200)]), usize::MAX).await.unwrap(), written);
}

#[tokio::test]
async fn nothing_is_written_for_no_letters() {
    let (store, source) = (store(), source());
    write(&store, &source, &[]).await.unwrap();
    assert_eq!(store.list(&directory(&source)).await.unwrap(), []);
}

#[tokio::test]
async fn each_letter_is_read_once_however_often_it_was_written() {
    let (store, source) = (store(), source());
    // A crash came after the first write and before its commit; the second time the run ends elsewhere.
    for offsets in [vec![3, 5, 9], vec![3, 5, 9], vec![3, 5], vec![9, 11]] {
        write(&store, &source, &letters(0, offsets)).await.unwrap();
    }
    let read = read(&store, &source, &positions(&[(0, 12)]), usize::MAX).await.unwrap();
    assert_eq!(places(&read), [(0, 3), (0, 5), (0, 9), (0, 11)]);
}

#[tokio::test]
async fn letters_that_no_commit_has_passed_are_left_out() {
    let (store, source) = (store(), source());
    write(&store, &source, &letters(0, [1, 4])).await.unwrap();
    write(&store, &source, &letters(0, [7])).await.unwrap();
    write(&store, &source, &letters(1, [2])).await.unwrap();
    let read = |at: &'static [(u32, u64)]| {
        let (store, source) = (store.clone(), source.clone());
        async move { places(&read(&store, &source, &positions(at), usize::MAX).await.unwrap()) }
    };
    assert_eq!(read(&[]).await, []);
    assert_eq!(read(&[(0, 4)]).await, [(0, 1)]);
    assert_eq!(read(&[(0, 5), (1, 2)]).await, [(0, 1), (0, 4)]);
    assert_eq!(read(&[(0, 8), (1, 3)]).await, [(0, 1), (1, 2), (0, 4), (0, 7)]);
}

#[tokio::test]
async fn a_limit_keeps_the_newest() {
    let (store, source) = (store(), source());
    // The run that starts last does not end last: one of the two was left by a crash.
    for (partition, offsets) in [(0, vec![1, 2]), (0, vec![3, 20]), (0, vec![5, 9]), (1, vec![8, 30])] {
        write(&store, &source, &letters(partition, offsets)).await.unwrap();
    }
    let at = positions(&[(0, 100), (1, 100)]);
    for (limit, expected) in [
        (0, vec![]),
        (1, vec![(1, 30)]),
        (2, vec![(0, 20), (1, 30)]),
        (4, vec![(1, 8), (0, 9), (0, 20), (1, 30)]),
        (99, vec![(0, 1), (0, 2), (0, 3), (0, 5), (1, 8), (0, 9), (0, 20), (1, 30)]),
    ] {
        assert_eq!(places(&read(&store, &source, &at, limit).await.unwrap()), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn what_is_no_file_of_dead_letters_is_named() {
    let (store, source) = (store(), source());
    write(&store, &source, &letters(0, [1])).await.unwrap();
    let path = directory(&source).join("0").join("00000000000000000002-00000000000000000002.parquet");
    store.put(&path, Bytes::from_static(b"not Parquet")).await.unwrap();
    let error = read(&store, &source, &positions(&[(0, 9)]), usize::MAX).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("dead letters at {path}: ")), "{error}");
}

#[test]
fn equal_letters_give_equal_bytes() {
    assert_eq!(file::encode(&letters(0, 0..50)), file::encode(&letters(0, 0..50)));
}

#[test]
fn json_shows_text_as_text_and_other_bytes_in_hexadecimal() {
    let mut letter = letter(2, 10);
    let expected = serde_json::json!({
        "topic": "departures", "partition": 2, "offset": 10, "timestamp": "2013-01-01T12:00:00.00001Z", "key": "N14228",
        "headers": [{"name": "header 0", "value_hex": "ff"}], "value": "{\"flight\":\"10\"}",
        "reason": "type", "column": "flight", "detail": "column flight: found \"10\"",
    });
    assert_eq!(to_json(&letter), expected);
    letter.record.key = None;
    letter.record.value = Some(Bytes::from_static(b"\xC3\x28"));
    let json = to_json(&letter);
    assert_eq!((&json["key"], &json["value_hex"]), (&serde_json::Value::Null, &"c328".into()));
    assert_eq!(json.get("value"), None);
}
