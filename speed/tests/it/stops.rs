//! When a worker stops, and what it leaves.

use common::{
    gap::{self, Gap},
    log::EventLog,
    pipeline::OnGap,
    position::{OffsetRange, Partition, Position, Version},
    testing::log::MemoryLog,
};
use speed::Error;

use crate::world::{Kind::*, PARTITIONS, World};

#[tokio::test]
async fn a_graceful_stop_commits_what_was_read() {
    let mut world = World::new();
    world.put(0, &[Event, DeadLetter]).await;
    world.put(2, &[Event]).await;
    let running = world.run().await;
    running.read_all(&world).await;
    let listener = running.stop().await;
    assert_eq!(listener.commits().map(|c| c.version).collect::<Vec<_>>(), [Version(1)]);
    world.check_all().await;
}

#[tokio::test]
async fn a_stop_with_nothing_read_commits_nothing() {
    let world = World::new();
    let running = world.run().await;
    running.read_all(&world).await;
    assert_eq!(running.handle.flush().await, Ok(Version(0)));
    running.stop().await;
    assert_eq!(world.dataset().await.snapshot().await.unwrap().version, Version(0));
}

#[tokio::test]
async fn a_gap_stops_with_topic_partition_and_range() {
    let mut world = World::new();
    world.put(1, &[Event; 4]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    world.put(1, &[Event; 6]).await;
    world.log.trim(Partition(1), Position(7)).await.unwrap();
    let error = world.run().await.fails().await;
    let Error::Gap { topic, partition, range } = &error else { panic!("{error}") };
    assert_eq!((topic.as_str(), *partition), ("departures", Partition(1)));
    assert_eq!(*range, OffsetRange::new(Position(4), Position(7)));
}

/// Reading goes on after the gap, whose offsets the next commit covers without records (L7).
#[tokio::test]
async fn l7_a_gap_is_recorded_where_the_source_says_so() {
    let mut world = World::new();
    world.source.on_gap = OnGap::Record;
    world.put(1, &[Event; 4]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    world.put(1, &[Event; 6]).await;
    world.log.trim(Partition(1), Position(7)).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    let snapshot = world.dataset().await.snapshot().await.unwrap();
    assert_eq!((snapshot.positions[&Partition(1)], snapshot.totals.events), (Position(10), 7));
    let gap = Gap { partition: Partition(1), range: OffsetRange::new(Position(4), Position(7)) };
    assert_eq!(gap::read(&world.store, &world.source.name).await.unwrap(), [gap]);
}

#[tokio::test]
async fn another_log_than_the_datasets_stops() {
    let mut world = World::new();
    world.put(1, &[Event; 4]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    world.log = MemoryLog::new("departures", PARTITIONS);
    world.put(1, &[Event]).await;
    let error = world.run().await.fails().await;
    assert!(matches!(error, Error::OtherLog { position: Position(4), .. }), "{error}");
}

/// A topic of the same name that has grown beyond the position of the one before it.
#[tokio::test]
async fn l7_another_topic_of_the_same_name_stops() {
    let mut world = World::new();
    world.log.identify("one");
    world.put(1, &[Event; 4]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    // Deleted and made anew while it is read, and while it is not.
    world.log.identify("two");
    let is_other =
        |error: &Error| matches!(error, Error::OtherTopic { known, found } if known.id == "one" && found.id == "two");
    let error = running.fails().await;
    assert!(is_other(&error), "{error}");
    let error = world.run().await.fails().await;
    assert!(is_other(&error), "{error}");
    // A person has seen that the offsets are the same, as after moving to another cluster.
    world.store.delete(&common::origin::path(&world.source.name)).await.unwrap();
    let running = world.run().await;
    world.put(1, &[Event]).await;
    world.ends_well(running).await;
}

/// Nothing was committed of it, so there is nothing to mistake.
#[tokio::test]
async fn another_topic_is_read_where_nothing_was_committed() {
    let mut world = World::new();
    world.log.identify("one");
    world.run().await.stop().await;
    world.log.identify("two");
    world.put(1, &[Event]).await;
    let running = world.run().await;
    world.ends_well(running).await;
}

#[tokio::test]
async fn a_new_dataset_starts_where_the_log_starts() {
    let mut world = World::new();
    world.put(0, &[Event; 5]).await;
    world.log.trim(Partition(0), Position(3)).await.unwrap();
    world.truth.retain(|(_, offset), _| *offset >= 3);
    let running = world.run().await;
    running.catch_up(&world).await;
    world.put(0, &[Event]).await;
    running.catch_up(&world).await;
    assert_eq!(running.handle.stats().fences, 0);
    running.stop().await;
    world.check_all().await;
}

#[tokio::test]
async fn a_failing_log_is_read_again_within_bounds() {
    let mut world = World::new();
    let running = world.run().await;
    for _ in 0..5 {
        world.log.fail_read(1);
        world.put(0, &[Event]).await;
        running.read_all(&world).await;
    }
    world.log.fail_trim(1);
    world.ends_well(running).await;
}
