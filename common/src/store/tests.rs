#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use object_store::{MultipartUpload, PutPayload};
use tempfile::TempDir;

use super::*;
use crate::testing::store::{Fault, FaultyObjects, Operation};

fn path(path: &str) -> Path {
    Path::from(path)
}

fn local() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path().join("made/by/open")).unwrap();
    let store = Store::open(&url).unwrap();
    (directory, store)
}

fn faulty() -> (FaultyObjects, Store) {
    let objects = FaultyObjects::in_memory();
    let store = Store::over(Arc::new(objects.clone()), Url::parse("memory:///").unwrap());
    (objects, store)
}

/// What every store does.
pub(super) async fn conforms(store: &Store) {
    assert_eq!(store.get(&path("a/1")).await.unwrap(), None);
    assert_eq!(store.list(&path("a")).await.unwrap(), []);
    store.put(&path("a/1"), Bytes::from_static(b"one")).await.unwrap();
    store.put(&path("a/1"), Bytes::from_static(b"uno")).await.unwrap();
    assert_eq!(store.get(&path("a/1")).await.unwrap().unwrap(), "uno");
    assert_eq!(store.get_ranges(&path("a/1"), &[1..3, 0..1]).await.unwrap().unwrap(), ["no", "u"]);
    assert_eq!(store.get_ranges(&path("a/2"), &[0..1, 2..3]).await.unwrap(), None);
    let exists = store.put_if_absent(&path("a/1"), Bytes::from_static(b"due")).await;
    assert!(matches!(&exists, Err(Error::Exists { path }) if path.as_ref() == "a/1"), "{exists:?}");
    store.put_if_absent(&path("a/b/0"), Bytes::new()).await.unwrap();
    store.put_if_absent(&path("a/0"), Bytes::from_static(b"zero")).await.unwrap();
    assert_eq!(store.list(&path("a")).await.unwrap(), [path("a/0"), path("a/1"), path("a/b/0")]);
    assert_eq!(store.list_directly(&path("a")).await.unwrap(), [path("a/0"), path("a/1")]);
    assert!(store.contains(&path("a/0")).await.unwrap());
    store.delete(&path("a/0")).await.unwrap();
    store.delete(&path("a/0")).await.unwrap();
    assert!(!store.contains(&path("a/0")).await.unwrap());
    store.settle(&path("a")).await.unwrap();
    store.settle(&path("not/there/yet")).await.unwrap();
}

#[tokio::test]
async fn every_store_conforms() {
    conforms(&Store::open(&Url::parse("memory:").unwrap()).unwrap()).await;
    conforms(&local().1).await;
    conforms(&faulty().1).await;
}

#[test]
fn unknown_urls_are_refused_with_what_is_allowed() {
    let refused = |url: &str| Store::open(&Url::parse(url).unwrap()).unwrap_err().to_string();
    assert_eq!(
        refused("ftp://host/x"),
        "store url ftp://host/x: `ftp:` is not a store that is known; use file:, s3:, gs:, az:, abfss: or memory:"
    );
    assert!(refused("file://host/x").contains("absolute path and no host"), "{}", refused("file://host/x"));
}

#[tokio::test]
async fn what_a_crash_leaves_staged_is_no_object() {
    let (_directory, store) = local();
    store.put(&path("a/1"), Bytes::from_static(b"one")).await.unwrap();
    let root = store.url().to_file_path().unwrap();
    std::fs::write(root.join("a/1#12345"), "on").unwrap();
    std::fs::write(root.join("a/2#67890"), "tw").unwrap();
    assert_eq!(store.list(&path("a")).await.unwrap(), [path("a/1")]);
    store.put_if_absent(&path("a/2"), Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(store.list(&path("a")).await.unwrap(), [path("a/1"), path("a/2")]);
    assert_eq!(store.get(&path("a/2")).await.unwrap().unwrap(), "two");
}

#[tokio::test]
async fn puts_leave_nothing_staged() {
    let (_directory, store) = local();
    for _ in 0..2 {
        store.put(&path("a/1"), Bytes::from_static(b"one")).await.unwrap();
        let _exists = store.put_if_absent(&path("a/1"), Bytes::from_static(b"two")).await;
    }
    let root = store.url().to_file_path().unwrap();
    let names: Vec<_> = root.join("a").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["1"]);
}

#[tokio::test]
async fn one_of_many_puts_if_absent_wins() {
    let (_directory, store) = local();
    let mut puts = tokio::task::JoinSet::new();
    for writer in 0..16_u8 {
        let store = store.clone();
        puts.spawn(async move { (writer, store.put_if_absent(&path("x/y/z"), vec![writer; 4_096].into()).await) });
    }
    let winners: Vec<u8> = puts.join_all().await.into_iter().filter(|(_, put)| put.is_ok()).map(|(w, _)| w).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get(&path("x/y/z")).await.unwrap().unwrap(), vec![winners[0]; 4_096]);
}

#[tokio::test]
async fn an_upload_in_parts_is_one_object_when_complete() {
    let (_directory, store) = local();
    let objects = store.objects();
    let mut upload = objects.put_multipart_opts(&path("u"), Default::default()).await.unwrap();
    let (first, second) =
        (upload.put_part(PutPayload::from_static(b"ab")), upload.put_part(PutPayload::from_static(b"cd")));
    second.await.unwrap();
    first.await.unwrap();
    assert_eq!(store.list(&Path::default()).await.unwrap(), []);
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path("u")).await.unwrap().unwrap(), "abcd");
    let mut aborted = objects.put_multipart_opts(&path("v"), Default::default()).await.unwrap();
    aborted.put_part(PutPayload::from_static(b"ab")).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(aborted.complete().await.is_err());
    assert_eq!(store.list(&Path::default()).await.unwrap(), [path("u")]);
}

#[tokio::test]
async fn a_failure_is_tried_again_and_then_told() {
    let (objects, store) = faulty();
    for (operation, fault) in [(Operation::Put, Fault::Refused), (Operation::Put, Fault::OutOfSpace)] {
        objects.fail(operation, 0, fault);
        store.put(&path("a"), Bytes::from_static(b"a")).await.unwrap();
    }
    objects.fail(Operation::Get, 0, Fault::Refused);
    assert_eq!(store.get(&path("a")).await.unwrap().unwrap(), "a");
    objects.fail(Operation::List, 0, Fault::Refused);
    assert_eq!(store.list(&Path::default()).await.unwrap(), [path("a")]);
    objects.fail(Operation::Delete, 0, Fault::AnswerLost);
    store.delete(&path("a")).await.unwrap();
    let tries = u64::from(limits::STORE_ATTEMPTS_MAX);
    let before = objects.injected();
    for nth in 0..tries + 1 {
        objects.fail(Operation::Put, nth, Fault::OutOfSpace);
    }
    let full = store.put(&path("b"), Bytes::from_static(b"b")).await;
    assert!(matches!(full, Err(Error::Io { action: "write", .. })), "{full:?}");
    assert_eq!(objects.injected() - before, tries);
}

#[tokio::test]
async fn a_put_if_absent_whose_answer_was_lost_knows_its_own_object() {
    let (objects, store) = faulty();
    objects.fail(Operation::Put, 0, Fault::AnswerLost);
    store.put_if_absent(&path("a"), Bytes::from_static(b"mine")).await.unwrap();
    store.put_if_absent(&path("b"), Bytes::from_static(b"theirs")).await.unwrap();
    objects.fail(Operation::Put, 0, Fault::AnswerLost);
    let exists = store.put_if_absent(&path("b"), Bytes::from_static(b"mine")).await;
    assert!(matches!(exists, Err(Error::Exists { .. })), "{exists:?}");
    // Without a failure before it, the same bytes are another's: whoever put them first has won.
    let exists = store.put_if_absent(&path("a"), Bytes::from_static(b"mine")).await;
    assert!(matches!(exists, Err(Error::Exists { .. })), "{exists:?}");
}

#[tokio::test]
async fn what_a_killed_put_left_is_removed_once_it_is_old_and_nothing_else() {
    let (directory, store) = local();
    store.put(&path("a/1"), Bytes::from_static(b"one")).await.unwrap();
    let root = directory.path().join("made/by/open");
    std::fs::write(root.join("a/1#4711"), "half").unwrap();
    std::fs::write(root.join("a/no#number"), "whole").unwrap();
    assert_eq!(store.remove_staged(0).await.unwrap(), 0);
    assert_eq!(store.remove_staged(i64::MAX).await.unwrap(), 1);
    assert!(!root.join("a/1#4711").exists() && root.join("a/no#number").exists());
    assert!(store.contains(&path("a/1")).await.unwrap());
    assert_eq!(faulty().1.remove_staged(i64::MAX).await.unwrap(), 0);
}
