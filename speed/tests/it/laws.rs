//! The invariants, one by one (DESIGN §2).

use std::collections::BTreeSet;

use common::{
    event::Counts,
    feed::Notice,
    log::EventLog,
    partial,
    position::{Partition, Position, Version},
    segment,
    testing::store::{Fault, Operation},
};
use object_store::path::Path;

use crate::world::{Kind::*, PARTITIONS, World};

#[tokio::test]
async fn l1_deltas_sum_to_the_segment_and_the_segment_to_the_commit() {
    let mut world = World::new();
    let mut running = world.run().await;
    for round in 0..4_u32 {
        for partition in 0..PARTITIONS {
            world.put(partition, &[Event, Event, DeadLetter, Event]).await;
            // A delta each, so that several make one commit.
            running.read_all(&world).await;
            running.listener.until(|n| matches!(n, Notice::Delta(d) if d.partition == Partition(partition))).await;
        }
        let version = running.catch_up(&world).await;
        assert_eq!(version, Version(u64::from(round) + 1));
    }
    let dataset = world.dataset().await;
    let listener = running.stop().await;
    assert_eq!(listener.commits().count(), 4);

    let mut from = std::collections::BTreeMap::new();
    for (notice, commit) in listener.commits().zip(world.commits().await) {
        let refolded = world.refolded(&commit).await;
        let stored = segment::load(&world.store, &dataset, &commit, &world.views).await.unwrap();
        assert_eq!(stored, refolded, "L1: the segment in the store is the fold of the commit's files");
        for (view, refolded) in world.views.iter().zip(&refolded) {
            let told = notice.segment.iter().find(|(id, _)| *id == view.id).map(|(_, partial)| partial);
            assert_eq!(told, Some(refolded).filter(|p| p.num_rows() > 0), "L1: the segment told");
            let inside =
                |p: Partition, to: Position| from.get(&p).is_none_or(|at| to > *at) && to <= notice.positions[&p];
            let deltas = listener.deltas().filter(|d| inside(d.partition, d.range.to));
            let partials: Vec<_> =
                deltas.flat_map(|d| &d.partials).filter(|(id, _)| *id == view.id).map(|(_, p)| p).collect();
            assert_eq!(&partial::merge(view, partials).unwrap(), refolded, "L1: the deltas");
        }
        from.extend(notice.positions.clone());
    }
}

#[tokio::test]
async fn l2_positions_move_only_with_their_events() {
    let mut world = World::new();
    world.put(0, &[Event, Tombstone, Event]).await;
    world.put(1, &[DeadLetter]).await;
    let running = world.run().await;
    running.read_all(&world).await;
    let before = world.dataset().await.snapshot().await.unwrap();
    assert!(before.positions.is_empty(), "L2: reading and folding moves no position");
    assert_eq!(
        world.log.bounds(Partition(0)).await.unwrap().from,
        Position(0),
        "L2: nothing is trimmed before a commit"
    );

    assert_eq!(running.catch_up(&world).await, Version(1));
    let after = world.dataset().await.snapshot().await.unwrap();
    assert_eq!(after.positions, [(Partition(0), Position(3)), (Partition(1), Position(1))].into());
    running.stop().await;
    assert_eq!(world.log.bounds(Partition(0)).await.unwrap().from, Position(3), "what is committed is trimmed");
    world.check_all().await;
}

#[tokio::test]
async fn l2_a_store_that_fails_moves_nothing_and_stops_the_worker() {
    let mut world = World::new();
    world.put(0, &[Event, DeadLetter]).await;
    let running = world.run().await;
    running.read_all(&world).await;
    for nth in 0..1_000 {
        world.objects.fail(Operation::Put, nth, Fault::OutOfSpace);
    }
    assert!(running.handle.flush().await.is_err());
    let error = running.fails().await;
    assert!(matches!(error, speed::Error::DeadLetters(_)), "{error}");
    world.objects.calm();
    assert_eq!(world.dataset().await.snapshot().await.unwrap().version, Version(0));
    assert_eq!(world.log.bounds(Partition(0)).await.unwrap().from, Position(0));

    let next = world.run().await;
    world.ends_well(next).await;
}

#[tokio::test]
async fn l3_a_zombie_cannot_commit() {
    let mut world = World::new();
    world.put(0, &[Event, Event, DeadLetter]).await;
    let (zombie, heir) = (world.run().await, world.run().await);
    zombie.read_all(&world).await;
    heir.read_all(&world).await;
    assert_eq!(heir.catch_up(&world).await, Version(1));

    // Both hold the same records; the zombie also holds records of a partition that nobody else has committed.
    heir.stop().await;
    world.put(1, &[Event, Event]).await;
    zombie.read_all(&world).await;
    assert_eq!(zombie.catch_up(&world).await, Version(2));
    let stats = zombie.handle.stats();
    assert_eq!((stats.fences, stats.commits), (1, 1), "fenced off partition 0, yet not off partition 1");
    assert_eq!(stats.committed, Counts { events: 2, ..Counts::default() });
    let listener = zombie.stop().await;
    let epochs: Vec<u64> = listener.deltas().filter(|d| d.partition == Partition(0)).map(|d| d.epoch).collect();
    assert!(epochs.is_sorted());
    world.check_all().await;
}

#[tokio::test]
async fn l3_a_fenced_worker_reads_on_from_the_new_position() {
    let mut world = World::new();
    world.put(0, &[Event; 5]).await;
    let (zombie, heir) = (world.run().await, world.run().await);
    zombie.read_all(&world).await;
    heir.catch_up(&world).await;
    heir.stop().await;
    zombie.handle.flush().await.unwrap();
    assert_eq!(zombie.handle.stats().fences, 1);
    world.put(0, &[Event, Tombstone]).await;
    assert_eq!(zombie.catch_up(&world).await, Version(2));
    let listener = zombie.stop().await;
    let deltas: Vec<_> = listener.deltas().map(|d| (d.epoch, d.range.from, d.range.to)).collect();
    let [(first, ..), .., (last, from, to)] = deltas[..] else { panic!("{deltas:?}") };
    assert!(first < last, "a new epoch");
    assert_eq!((from, to), (Position(5), Position(7)));
    world.check_all().await;
}

/// What was read and not committed is read again, in a new epoch; what is there after is read by the new subscription.
#[tokio::test]
async fn l3_a_worker_whose_subscription_has_ended_subscribes_anew() {
    let mut world = World::new();
    world.put(0, &[Event, DeadLetter]).await;
    let worker = world.run().await;
    assert_eq!(worker.catch_up(&world).await, Version(1));
    for end in 2..6 {
        world.put(0, &[Event; 3]).await;
        worker.read_all(&world).await;
        world.log.end_subscriptions();
        world.put(1, &[Event, Tombstone]).await;
        assert_eq!(worker.catch_up(&world).await, Version(end), "as often as it ends, if it read something in between");
    }
    world.ends_well(worker).await;
}

#[tokio::test]
async fn l5_rebuilt_from_dataset_and_log() {
    let mut world = World::new();
    world.put(0, &[Event, Event]).await;
    let mut first = world.run().await;
    first.catch_up(&world).await;
    // Answered only when the commit before it is through, segments and all.
    first.handle.flush().await.unwrap();
    let root = Path::default();
    let stored = world.store.list(&root).await.unwrap();
    let segments = Path::from("segments");
    let known = [Path::from("datasets"), segments.clone()];
    let state: Vec<_> = stored.iter().filter(|path| !known.iter().any(|known| path.prefix_matches(known))).collect();
    assert!(state.is_empty(), "L5: neither dataset nor segments: {state:?}");

    world.put(0, &[Event, DeadLetter, Event]).await;
    first.read_all(&world).await;
    first.listener.until(|n| matches!(n, Notice::Delta(d) if d.range.to == Position(5))).await;
    let told = first.listener.deltas().last().unwrap().clone();
    first.crash().await;
    assert_eq!(world.store.list(&root).await.unwrap(), stored, "L5: nothing uncommitted is in the store");

    // Segments are a cache: without them nothing is missing.
    for path in world.store.list(&segments).await.unwrap() {
        world.store.delete(&path).await.unwrap();
    }
    let mut second = world.run().await;
    second.listener.until(|n| matches!(n, Notice::Delta(_))).await;
    let mut rebuilt = second.listener.deltas().last().unwrap().clone();
    assert!(rebuilt.epoch > told.epoch, "a restart is a new epoch");
    rebuilt.epoch = told.epoch;
    assert_eq!(format!("{rebuilt:?}"), format!("{told:?}"), "L5: the tail is what it was");
    world.ends_well(second).await;
}

#[tokio::test]
async fn l5_a_log_that_keeps_what_is_committed_is_read_from_the_position() {
    let mut world = World::new();
    world.log.keep();
    world.put(0, &[Event, DeadLetter, Event]).await;
    world.put(1, &[Event]).await;
    let first = world.run().await;
    first.catch_up(&world).await;
    first.crash().await;
    assert_eq!(world.log.bounds(Partition(0)).await.unwrap().from, Position(0), "committed, and still in the log");

    world.put(0, &[Tombstone, Event]).await;
    let second = world.run().await;
    assert_eq!(second.catch_up(&world).await, Version(2));
    let listener = second.stop().await;
    let read: Vec<_> = listener.deltas().map(|d| (d.partition, d.range.from)).collect();
    assert_eq!(read, [(Partition(0), Position(3))], "L5: read from the dataset's position on, and nothing else");
    world.check_all().await;
}

#[tokio::test]
async fn l7_dead_letters_are_whole_where_headers_are_left_out_until_there_is_one() {
    let mut world = World::new();
    world.log.save_headers();
    world.put(0, &[Event, Event]).await;
    world.put(1, &[Event, Tombstone]).await;
    let running = world.run().await;
    running.read_all(&world).await;
    world.put(0, &[DeadLetter, Event]).await;
    world.put(1, &[Event]).await;
    running.catch_up(&world).await;
    world.put(0, &[DeadLetter]).await;
    running.catch_up(&world).await;
    let listener = running.stop().await;
    let epochs = |partition| listener.deltas().filter(move |d| d.partition == Partition(partition)).map(|d| d.epoch);
    assert_eq!(
        [0, 1].map(|partition| epochs(partition).collect::<BTreeSet<_>>().len()),
        [2, 1],
        "one was read anew, once"
    );
    world.check_all().await;
}

#[tokio::test]
async fn l7_counts_sum_to_records_delivered() {
    let mut world = World::new();
    world.put(0, &[Event, DeadLetter, Tombstone, Event, Event]).await;
    world.put(1, &[Tombstone, Tombstone]).await;
    world.put(2, &[DeadLetter, DeadLetter, DeadLetter]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    let stats = running.handle.stats();
    assert_eq!(stats.delivered, 10);
    assert_eq!(stats.folded, Counts { events: 3, dead_letters: 4, tombstones: 3 });
    assert_eq!(stats.folded.records(), stats.delivered, "L7");
    assert_eq!(stats.committed, stats.folded);
    running.stop().await;
    world.check_all().await;
    let [commit] = &world.commits().await[..] else { panic!("one commit") };
    assert_eq!(commit.counts[&Partition(1)], Counts { tombstones: 2, ..Counts::default() });
    assert_eq!(commit.counts[&Partition(2)], Counts { dead_letters: 3, ..Counts::default() });
}

#[tokio::test]
async fn l7_metrics_count_what_the_commits_count() {
    let mut world = World::new();
    world.put(0, &[Event, Tombstone, Event]).await;
    world.put(1, &[DeadLetter, Event]).await;
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    let text = world.telemetry.text();
    let value = |metric: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("highwater_")?.strip_prefix(metric));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let source = "source=\"departures\"";
    assert_eq!(value(&format!("committed_records_total{{{source}}}")), 5);
    let outcome = |partition, outcome| {
        value(&format!("records_total{{{source},partition=\"{partition}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!(
        [outcome(0, "event"), outcome(0, "tombstone"), outcome(1, "event"), outcome(1, "dead_letter")],
        [2, 1, 1, 1]
    );
    assert_eq!(value(&format!("commits_total{{{source}}}")), 1);
    assert_eq!(value(&format!("rebalanced_partitions_total{{{source},change=\"assigned\"}}")), u64::from(PARTITIONS));
}
