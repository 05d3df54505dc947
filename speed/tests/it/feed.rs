//! What is told on the live feed.

use std::{collections::BTreeMap, time::Duration};

use common::{
    feed::Notice,
    position::{Partition, Position, Version},
};

use crate::{
    tripwire::Side,
    world::{Kind::*, NEVER, PARTITIONS, World},
};

#[tokio::test]
async fn deltas_chain_without_a_gap_and_none_straddles_a_commit() {
    let mut world = World::new();
    let running = world.run_with(world.settings(NEVER, 2_000)).await;
    for round in 0..30 {
        world.put(round % PARTITIONS, &[Event, Event, DeadLetter, Tombstone]).await;
        running.read_all(&world).await;
    }
    running.catch_up(&world).await;
    let listener = running.stop().await;
    assert!(listener.commits().count() > 3, "commits by size");

    let mut ends: BTreeMap<(Partition, u64), Position> = BTreeMap::new();
    let mut committed: BTreeMap<Partition, Position> = BTreeMap::new();
    for notice in &listener.notices {
        match notice {
            Notice::Delta(delta) => {
                let end = ends.entry((delta.partition, delta.epoch)).or_default();
                assert_eq!(delta.range.from, *end, "deltas of an epoch chain");
                assert!(delta.as_of_us.is_some());
                *end = delta.range.to;
            }
            Notice::Committed(commit) => {
                for (partition, to) in &commit.positions {
                    let delta = listener.deltas().find(|d| d.partition == *partition && d.range.to == *to);
                    assert!(delta.is_some(), "a commit ends where a delta ends");
                    let told = ends.iter().any(|((p, _), end)| p == partition && end >= to);
                    assert!(told, "the deltas of a commit are told before it");
                    committed.insert(*partition, *to);
                }
            }
            Notice::Standing(standing) => {
                let end = ends.get(&(standing.partition, standing.epoch)).copied().unwrap_or_default();
                assert_eq!(standing.told, end, "what was told is what was told of");
            }
        }
    }
    assert_eq!(committed, world.end().await);
    world.check_all().await;
}

#[tokio::test]
async fn a_partition_without_events_moves_all_the_same() {
    let mut world = World::new();
    world.put(1, &[Tombstone, DeadLetter, Tombstone]).await;
    let mut running = world.run().await;
    running.listener.until(|n| matches!(n, Notice::Delta(_))).await;
    let delta = running.listener.deltas().next().unwrap();
    assert_eq!((delta.partition, delta.range.to, delta.partials.len()), (Partition(1), Position(3), 0));
    world.ends_well(running).await;
}

#[tokio::test]
async fn deltas_are_told_while_a_commit_is_being_written() {
    let mut world = World::new();
    world.put(0, &[Event]).await;
    let mut running = world.run().await;
    running.read_all(&world).await;
    world.tripwire.arm(0, Side::Before);
    let asking = running.handle.clone();
    let flush = tokio::spawn(async move { asking.flush().await });
    world.tripwire.tripped().await;

    for to in 2..=4 {
        world.put(0, &[Event]).await;
        running.listener.until(|n| matches!(n, Notice::Delta(delta) if delta.range.to == Position(to))).await;
    }
    assert_eq!(running.listener.commits().count(), 0, "the commit's first object is never written");
    running.crash().await;
    assert!(flush.await.unwrap().is_err(), "nobody says that it was committed");

    world.tripwire.disarm();
    let running = world.run().await;
    world.ends_well(running).await;
}

#[tokio::test]
async fn commits_come_by_interval() {
    let mut world = World::new();
    let mut running = world.run_with(world.settings(Duration::from_millis(5), u64::MAX / 2)).await;
    for version in 1..=3 {
        world.put(0, &[Event]).await;
        running.listener.until(|n| matches!(n, Notice::Committed(c) if c.version == Version(version))).await;
    }
    running.stop().await;
    world.check_all().await;
}

#[tokio::test]
async fn a_listener_that_does_not_listen_holds_up_no_commit() {
    let mut world = World::new();
    let running = world.run().await;
    // Three deltas and a commit each: more than the feed holds, less than makes the worker stop reading.
    let rounds = common::limits::FEED_NOTICES_MAX / 4 + 20;
    for _ in 0..rounds {
        for partition in 0..PARTITIONS {
            world.put(partition, &[Event]).await;
        }
        running.catch_up(&world).await;
    }
    let listener = running.stop().await;
    assert_eq!(listener.commits().count(), rounds, "in the end it hears all");
    world.check_all().await;
}

#[tokio::test]
async fn without_a_listener_ingest_goes_on() {
    let mut world = World::new();
    let (worker, handle, listener) = world.worker(world.settings(NEVER, u64::MAX / 2)).await;
    drop(listener);
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    world.put(0, &[Event, Event]).await;
    handle.flush_to(&world.end().await).await.unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
    world.check_all().await;
}

#[tokio::test]
async fn the_lag_is_told() {
    let mut world = World::new();
    world.put(0, &[Event; 3]).await;
    let mut running = world.run().await;
    running.listener.until(|n| matches!(n, Notice::Standing(s) if s.told == Position(3))).await;
    let is_started =
        |n: &Notice| matches!(n, Notice::Standing(s) if s.partitions == PARTITIONS && s.lag_records == Some(0));
    running.listener.until(is_started).await;
    running.stop().await;
}
