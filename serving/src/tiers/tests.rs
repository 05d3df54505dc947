//! The tiers against a model: whatever the order of deltas, commits, restarts, rival writers, losses and generations, an
//! answer is the exact fold of every event before its positions, and never goes backwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use common::{
    feed::{Delta, Standing},
    position::{Partition, Position, Positions, Version},
};
use proptest::prelude::*;

use super::*;
use crate::testing::{
    commit, delta, events_before, fold, generation, merged, name, positions, source, standing, views,
};

const PARTITIONS: u32 = 2;
const BOTH: [&str; 2] = ["delays", "totals"];

#[track_caller]
fn check_exact(tiers: &Tiers) {
    let of_source = tiers.source(&source()).unwrap();
    let exact = fold(&events_before(&of_source.reach()));
    for (view, (_, exact)) in views().iter().zip(exact) {
        let tables = tiers.partials(&view.name, Layer::Merged).unwrap();
        assert!(merged(view, &tables) == exact, "{} is not exact at {:?}", view.name, of_source.reach());
    }
}

fn heard() -> Tiers {
    let tiers = Tiers::new(&views(), Feed::Silent);
    tiers.apply(Change::Standing(standing(0, 1, 0))).unwrap()
}

fn reach(tiers: &Tiers, partition: u32) -> u64 {
    tiers.source(&source()).unwrap().reach().get(&Partition(partition)).map_or(0, |at| at.0)
}

fn complete(tiers: &Tiers) -> bool {
    tiers.provenance(&name("delays"), Layer::Merged).unwrap().complete
}

/// A speed layer as it could be at its worst, and what serving was told.
struct World {
    tiers: Tiers,
    epochs: BTreeMap<u32, u64>,
    read: BTreeMap<u32, u64>,
    committed: Positions,
    /// The positions at each version, from 0.
    history: Vec<Positions>,
    /// Commits not told of yet.
    untold: BTreeSet<u64>,
    generations: u64,
    mark: u64,
    /// How far anything told of reaches.
    told: BTreeMap<u32, u64>,
}

#[derive(Debug, Clone)]
enum Step {
    Read {
        partition: u32,
        offsets: u64,
        lost: bool,
    },
    Commit {
        told: bool,
    },
    /// The reader of a partition starts again from what is committed.
    Restart {
        partition: u32,
    },
    /// Another writer commits so many offsets of a partition; ours finds out and reads on from there.
    Rival {
        partition: u32,
        offsets: u64,
    },
    /// An old delta is sent again.
    Again {
        partition: u32,
        back: u64,
    },
    /// The reader of a partition says how it stands, which may be all that is heard of what it has told.
    Stand {
        partition: u32,
    },
    /// A generation over one of the versions since the last, with these views.
    Generation {
        versions: u64,
        views: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        6 => (partition.clone(), 1..6_u64, prop::bool::weighted(0.05))
            .prop_map(|(partition, offsets, lost)| Step::Read { partition, offsets, lost }),
        3 => prop::bool::weighted(0.8).prop_map(|told| Step::Commit { told }),
        1 => partition.clone().prop_map(|partition| Step::Restart { partition }),
        1 => (partition.clone(), 1..8_u64).prop_map(|(partition, offsets)| Step::Rival { partition, offsets }),
        1 => (partition.clone(), 1..9_u64).prop_map(|(partition, back)| Step::Again { partition, back }),
        1 => partition.prop_map(|partition| Step::Stand { partition }),
        2 => (0..4_u64, 0..3_usize).prop_map(|(versions, views)| Step::Generation { versions, views }),
    ]
}

impl World {
    fn new() -> Self {
        let zero: BTreeMap<u32, u64> = (0..PARTITIONS).map(|p| (p, 0)).collect();
        Self {
            tiers: heard(),
            epochs: zero.clone(),
            read: zero.clone(),
            committed: Positions::new(),
            history: vec![Positions::new()],
            untold: BTreeSet::new(),
            generations: 0,
            mark: 0,
            told: zero,
        }
    }

    fn committed(&self, partition: u32) -> u64 {
        self.committed.get(&Partition(partition)).map_or(0, |at| at.0)
    }

    fn apply(&mut self, change: Change) {
        self.tiers = self.tiers.clone().apply(change).unwrap();
    }

    fn tell(&mut self, delta: Delta) {
        let told = self.told.get_mut(&delta.partition.0).unwrap();
        *told = (*told).max(delta.range.to.0);
        self.apply(Change::Delta(delta));
    }

    fn commit(&mut self, moved: Positions) {
        self.committed.extend(moved);
        self.history.push(self.committed.clone());
        self.untold.insert(self.history.len() as u64 - 1);
    }

    /// What the follower does when it hears of a version: it reads all before it too.
    fn tell_commits(&mut self) {
        for version in std::mem::take(&mut self.untold) {
            let (before, after) = (&self.history[version as usize - 1], &self.history[version as usize]);
            let change = Change::Commit(source(), commit(version, before, after));
            for (partition, at) in after {
                let told = self.told.get_mut(&partition.0).unwrap();
                *told = (*told).max(at.0);
            }
            self.apply(change);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read { partition, offsets, lost } => {
                let from = self.read[&partition];
                self.read.insert(partition, from + offsets);
                if !lost {
                    self.tell(delta(partition, self.epochs[&partition], from, from + offsets));
                }
            }
            Step::Commit { told } => {
                let moved: Vec<_> = self.read.iter().map(|(p, at)| (*p, *at)).collect();
                self.commit(positions(&moved));
                if told {
                    self.tell_commits();
                }
            }
            Step::Restart { partition } => self.restart(partition),
            Step::Rival { partition, offsets } => {
                self.commit(positions(&[(partition, self.committed(partition) + offsets)]));
                self.restart(partition);
            }
            Step::Again { partition, back } => {
                let to = self.read[&partition];
                let from = to.saturating_sub(back).max(self.committed(partition));
                if from < to {
                    self.tell(delta(partition, self.epochs[&partition], from, to));
                }
            }
            Step::Stand { partition } => {
                let at = self.read[&partition];
                let told = self.told.get_mut(&partition).unwrap();
                *told = (*told).max(at);
                let standing = standing(partition, self.epochs[&partition], at);
                self.apply(Change::Standing(Standing { partitions: PARTITIONS, ..standing }));
            }
            Step::Generation { versions, views } => self.generation(versions, views),
        }
    }

    fn restart(&mut self, partition: u32) {
        *self.epochs.get_mut(&partition).unwrap() += 1;
        self.read.insert(partition, self.committed(partition));
    }

    fn generation(&mut self, versions: u64, named: usize) {
        let head = self.tiers.source(&source()).unwrap().head().0;
        let mark = (self.mark + versions).min(head);
        // A view that was in a generation stays in the next ones: only then are its segments still held.
        let had = views().iter().enumerate().filter(|(i, _)| self.covered(*i) > 0).count();
        let named = &BOTH[..named.max(had)];
        self.generations += 1;
        self.mark = mark;
        let loaded = generation(self.generations, mark, &self.history[mark as usize], named);
        assert!(self.tiers.reaches(&loaded));
        self.apply(Change::Generation(loaded));
    }

    fn covered(&self, index: usize) -> u64 {
        self.tiers.source(&source()).unwrap().batch(index).covered().0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn l4_l6_every_answer_is_an_exact_prefix_and_never_goes_backwards(steps in prop::collection::vec(step(), 1..32)) {
        let mut world = World::new();
        // Once everything is committed and told of, nothing may be left over.
        let last = Step::Commit { told: true };
        for step in steps.iter().chain([&last]) {
            let before: Vec<u64> = (0..PARTITIONS).map(|p| reach(&world.tiers, p)).collect();
            world.step(step);
            check_exact(&world.tiers);
            let missing = (0..PARTITIONS).any(|p| reach(&world.tiers, p) < world.told[&p]);
            prop_assert!(!missing || !complete(&world.tiers), "something told of is missing, and the answer does not say so");
            for partition in 0..PARTITIONS {
                prop_assert!(reach(&world.tiers, partition) >= before[partition as usize], "went backwards at {step:?}");
            }
        }
        prop_assert_eq!(world.tiers.source(&source()).unwrap().known().0, world.history.len() as u64 - 1);
    }
}

#[test]
fn a_commit_trims_the_tail_and_adds_its_segment_in_one_step() {
    let tiers = heard().apply(Change::Delta(delta(0, 1, 0, 5))).unwrap();
    let tiers = tiers.apply(Change::Delta(delta(0, 1, 5, 9))).unwrap();
    let (none, five) = (positions(&[]), positions(&[(0, 5)]));
    let committed = tiers.clone().apply(Change::Commit(source(), commit(1, &none, &five))).unwrap();
    assert_eq!((committed.source(&source()).unwrap().head().0, reach(&committed, 0)), (1, 9));
    check_exact(&committed);
    check_exact(&tiers);
}

#[test]
fn a_new_epoch_is_shown_only_once_it_has_reached_as_far() {
    let tiers = heard().apply(Change::Delta(delta(0, 1, 0, 10))).unwrap();
    let tiers = tiers.apply(Change::Delta(delta(0, 2, 0, 4))).unwrap();
    assert_eq!((reach(&tiers, 0), complete(&tiers)), (10, true));
    let ahead = tiers.clone().apply(Change::Delta(delta(0, 3, 20, 30))).unwrap();
    let provenance = ahead.provenance(&name("delays"), Layer::Merged).unwrap();
    assert_eq!(provenance.as_of.unwrap(), "2013-02-01T00:00:00.00001Z", "what is not shown does not count");
    // A commit inside the old delta waits for the new chain.
    let waiting = tiers.apply(Change::Commit(source(), commit(1, &positions(&[]), &positions(&[(0, 4)])))).unwrap();
    assert_eq!((waiting.source(&source()).unwrap().head().0, waiting.source(&source()).unwrap().waiting()), (0, 1));
    check_exact(&waiting);
    let shown = waiting.apply(Change::Delta(delta(0, 2, 4, 11))).unwrap();
    assert_eq!((shown.source(&source()).unwrap().head().0, reach(&shown, 0)), (1, 11));
    check_exact(&shown);
    // What the replaced reader still sends is passed over.
    let zombie = shown.apply(Change::Delta(delta(0, 1, 10, 30))).unwrap();
    assert_eq!(reach(&zombie, 0), 11);
}

#[test]
fn l6_a_gap_in_a_tail_is_named_and_closed_by_the_commit() {
    let tiers = heard().apply(Change::Delta(delta(0, 1, 0, 5))).unwrap();
    let tiers = tiers.apply(Change::Delta(delta(0, 1, 8, 12))).unwrap();
    let provenance = tiers.provenance(&name("delays"), Layer::Merged).unwrap();
    assert!(!provenance.complete);
    assert!(provenance.warnings[0].contains("departures partition 0 has a gap: offsets [5, 12)"), "{provenance:?}");
    assert_eq!(reach(&tiers, 0), 5);
    let closed = tiers.apply(Change::Commit(source(), commit(1, &positions(&[]), &positions(&[(0, 8)])))).unwrap();
    assert_eq!((reach(&closed, 0), complete(&closed)), (12, true));
    check_exact(&closed);
}

#[test]
fn l6_provenance_names_what_each_layer_says_and_misses() {
    let (three, five) = (positions(&[(0, 3)]), positions(&[(0, 5)]));
    let mut tiers = Tiers::new(&views(), Feed::Absent);
    let changes = [
        Change::Commit(source(), commit(1, &positions(&[]), &three)),
        Change::Commit(source(), commit(2, &three, &five)),
        Change::Generation(generation(7, 1, &three, &["totals"])),
    ];
    for change in changes {
        tiers = tiers.apply(change).unwrap();
    }
    let provenance = |view: &str, layer| tiers.provenance(&name(view), layer).unwrap();
    let merged = provenance("totals", Layer::Merged);
    assert_eq!((merged.generation, merged.mark[&source()], merged.head[&source()].0), (Some(7), Some(Version(1)), 2));
    assert_eq!((merged.positions[&source()][&Partition(0)], merged.complete), (Position(5), false));
    assert!(merged.warnings[0].contains("no live feed"), "{merged:?}");
    assert!(merged.warnings[0].contains("version 2"), "{merged:?}");
    let batch = provenance("totals", Layer::Batch);
    assert_eq!((batch.positions[&source()][&Partition(0)], batch.complete), (Position(3), true));
    let absent = provenance("delays", Layer::Batch);
    assert_eq!((absent.mark[&source()], absent.complete), (None, false));
    assert!(absent.warnings[0].contains("generation 7 does not have view delays"), "{absent:?}");
    check_exact(&tiers);
}

#[test]
fn l6_a_feed_that_is_silent_or_has_ended_makes_answers_incomplete() {
    let silent = Tiers::new(&views(), Feed::Silent);
    assert!(!complete(&silent));
    let heard = heard();
    assert!(complete(&heard));
    let ended = heard.clone().apply(Change::FeedEnded).unwrap();
    assert!(ended.provenance(&name("delays"), Layer::Merged).unwrap().warnings[0].contains("has ended"));
}

#[test]
fn l6_recorded_gaps_are_named_in_every_answer() {
    let tiers = heard();
    assert!(complete(&tiers));
    let range = common::position::OffsetRange::new(Position(4), Position(7));
    let gap = common::gap::Gap { partition: Partition(1), range };
    let tiers = tiers.apply(Change::Gaps(source(), vec![gap])).unwrap();
    let provenance = tiers.provenance(&name("delays"), Layer::Merged).unwrap();
    assert!(!provenance.complete);
    assert!(provenance.warnings[0].contains("offsets [4, 7) of departures partition 1 were gone"), "{provenance:?}");
}

#[test]
fn l6_what_a_reader_has_told_and_was_not_heard_is_missing() {
    let tiers = heard().apply(Change::Delta(delta(0, 1, 0, 5))).unwrap();
    let tiers = tiers.apply(Change::Standing(standing(0, 1, 5))).unwrap();
    assert!(complete(&tiers));
    let tiers = tiers.apply(Change::Standing(standing(0, 1, 9))).unwrap();
    let provenance = tiers.provenance(&name("delays"), Layer::Merged).unwrap();
    assert!(provenance.warnings[0].contains("offsets [5, 9)"), "{provenance:?}");
    let tiers = tiers.apply(Change::Delta(delta(0, 1, 5, 9))).unwrap();
    assert!(complete(&tiers));
    // Of a partition that nothing at all was heard of.
    let tiers = tiers.apply(Change::Standing(standing(1, 1, 2))).unwrap();
    assert_eq!((reach(&tiers, 1), complete(&tiers)), (0, false));
}

/// Epochs are told apart by clocks, and a new reader's may be behind: it is ignored only as long as it brings nothing new.
#[test]
fn a_reader_whose_clock_is_behind_takes_over_with_its_next_commit() {
    let told = [(9, 0, 10), (5, 0, 4), (5, 4, 8), (5, 8, 12), (5, 12, 14)];
    let told = told.map(|(epoch, from, to)| Change::Delta(delta(0, epoch, from, to)));
    let tiers = told.into_iter().fold(heard(), |tiers, change| tiers.apply(change).unwrap());
    assert_eq!((reach(&tiers, 0), complete(&tiers)), (10, false));
    let committed = commit(1, &positions(&[]), &positions(&[(0, 12)]));
    let tiers = tiers.apply(Change::Commit(source(), committed)).unwrap();
    assert_eq!((reach(&tiers, 0), complete(&tiers)), (14, true));
    check_exact(&tiers);
    let tiers = tiers.apply(Change::Delta(delta(0, 5, 14, 20))).unwrap();
    assert_eq!(reach(&tiers, 0), 20);
    check_exact(&tiers);
}

#[test]
fn l6_before_all_that_was_told_is_heard_answers_are_not_complete() {
    let tiers = Tiers::new(&views(), Feed::Behind).apply(Change::Delta(delta(0, 1, 0, 5))).unwrap();
    assert_eq!((reach(&tiers, 0), complete(&tiers)), (5, false));
    let tiers = tiers.apply(Change::UpToDate).unwrap();
    assert!(complete(&tiers));
    let nothing = Tiers::new(&views(), Feed::Behind).apply(Change::UpToDate).unwrap();
    assert!(!complete(&nothing));
}

#[test]
fn the_lag_is_known_when_every_partition_has_said() {
    let of =
        |partition, lag| Change::Standing(Standing { lag_records: lag, partitions: 2, ..standing(partition, 1, 0) });
    let lag = |tiers: &Tiers| tiers.provenance(&name("delays"), Layer::Merged).unwrap().lag_records;
    let tiers = Tiers::new(&views(), Feed::Silent).apply(of(0, Some(3))).unwrap();
    assert_eq!(lag(&tiers), None);
    let tiers = tiers.apply(of(1, Some(4))).unwrap();
    assert_eq!(lag(&tiers), Some(7));
    assert_eq!(lag(&tiers.clone().apply(of(1, None)).unwrap()), None);
    let silent = tiers.apply(Change::Silent(source(), [Partition(1)].into())).unwrap();
    assert_eq!((lag(&silent), complete(&silent)), (None, false));
}

#[test]
fn l6_nobody_is_waited_for_to_tell_of_what_was_loaded() {
    let load = common::dataset::LOADS_FROM.0;
    let loaded = commit(1, &positions(&[]), &positions(&[(load, 5)]));
    let tiers = heard().apply(Change::Commit(source(), loaded)).unwrap();
    let of_source = tiers.source(&source()).unwrap();
    assert_eq!(of_source.partitions(), [Partition(0)].into());
    assert_eq!((reach(&tiers, load), of_source.lag_records()), (5, Some(0)));
}
