//! Metrics of the speed layer: records and what became of them, lag, rebalances, commits.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{OfSource, durations};
use crate::{
    event::{Counts, Reason},
    names::SourceName,
    position::Partition,
};

type Seconds = Counter<f64, AtomicU64>;

/// The metrics of one source's ingest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {
    source: String,
    families: Families,
}

/// A run of records of one partition that was decoded and folded.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// What became of the records.
    pub counts: Counts,
    /// Their size, about, in bytes: keys, headers and values.
    pub bytes: u64,
    /// Why the dead letters are none, one for each.
    pub dead_letters: &'a [Reason],
    /// How long a core decoded them.
    pub decoding: Duration,
    /// How long a core folded them.
    pub folding: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct Families {
    records: Family<OfOutcome, Counter>,
    bytes: Family<OfPartition, Counter>,
    decoding: Family<OfSource, Seconds>,
    folding: Family<OfSource, Seconds>,
    dead_letters: Family<OfReason, Counter>,
    lag_records: Family<OfPartition, Gauge>,
    lag_seconds: Family<OfPartition, Gauge<f64, AtomicU64>>,
    rebalances: Family<OfChange, Counter>,
    fences: Family<OfSource, Counter>,
    commits: Family<OfSource, Counter>,
    committed: Family<OfSource, Counter>,
    committing: Family<OfSource, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPartition {
    source: String,
    partition: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    source: String,
    partition: u32,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    source: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfChange {
    source: String,
    change: &'static str,
}

impl Families {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let families = Self {
            records: Family::default(),
            bytes: Family::default(),
            decoding: Family::default(),
            folding: Family::default(),
            dead_letters: Family::default(),
            lag_records: Family::default(),
            lag_seconds: Family::default(),
            rebalances: Family::default(),
            fences: Family::default(),
            commits: Family::default(),
            committed: Family::default(),
            committing: Family::new_with_constructor(durations),
        };
        let all = families.clone();
        registry.register("records", "Records read, by what became of them", all.records);
        registry.register_with_unit("read", "Keys, headers and values of records read", Unit::Bytes, all.bytes);
        registry.register_with_unit("decode", "Time that cores spent decoding records", Unit::Seconds, all.decoding);
        registry.register_with_unit("fold", "Time that cores spent folding events", Unit::Seconds, all.folding);
        registry.register("dead_letters", "Records that could not become events, by reason", all.dead_letters);
        registry.register("lag_records", "Records in the log that were not read yet", all.lag_records);
        let help = "Age of the newest record read, 0 where none waits to be read";
        registry.register_with_unit("lag", help, Unit::Seconds, all.lag_seconds);
        let help = "Partitions that were assigned to this worker or revoked from it";
        registry.register("rebalanced_partitions", help, all.rebalances);
        registry.register("fences", "Partitions lost because another worker had committed", all.fences);
        registry.register("commits", "Commits made", all.commits);
        registry.register("committed_records", "Records that the commits cover", all.committed);
        let help = "Time from the begin of a commit until it was durable";
        registry.register_with_unit("commit", help, Unit::Seconds, all.committing);
        families
    }
}

impl Ingest {
    pub(super) fn new(source: &SourceName, families: Families) -> Self {
        let ingest = Self { source: source.as_str().to_owned(), families };
        // So that what has not happened yet reads 0, and rates are right from the first time on.
        let of_source = ingest.of_source();
        let families = &ingest.families;
        let counters = [&families.fences, &families.commits, &families.committed];
        counters.iter().for_each(|family| drop(family.get_or_create(&of_source)));
        drop(families.committing.get_or_create(&of_source));
        ingest
    }

    /// Records of `partition` were decoded and folded.
    pub fn read(&self, partition: Partition, read: &Read<'_>) {
        let families = &self.families;
        let Counts { events, dead_letters, tombstones } = read.counts;
        for (outcome, count) in [("event", events), ("dead_letter", dead_letters), ("tombstone", tombstones)] {
            let labels = OfOutcome { source: self.source.clone(), partition: partition.0, outcome };
            families.records.get_or_create(&labels).inc_by(count);
        }
        families.bytes.get_or_create(&self.of(partition)).inc_by(read.bytes);
        families.decoding.get_or_create(&self.of_source()).inc_by(read.decoding.as_secs_f64());
        families.folding.get_or_create(&self.of_source()).inc_by(read.folding.as_secs_f64());
        for reason in read.dead_letters {
            let labels = OfReason { source: self.source.clone(), reason: reason.as_str() };
            families.dead_letters.get_or_create(&labels).inc();
        }
    }

    /// `records` of `partition` were not read yet, and the newest that was read is of `age`.
    pub fn lag(&self, partition: Partition, records: u64, age: Duration) {
        let labels = self.of(partition);
        self.families.lag_records.get_or_create(&labels).set(i64::try_from(records).unwrap_or(i64::MAX));
        self.families.lag_seconds.get_or_create(&labels).set(if records == 0 { 0.0 } else { age.as_secs_f64() });
    }

    /// `partition` is this worker's now.
    pub fn assigned(&self, _: Partition) {
        self.rebalanced("assigned");
    }

    /// `partition` is another's now, and so is its lag.
    pub fn revoked(&self, partition: Partition) {
        self.rebalanced("revoked");
        let labels = self.of(partition);
        self.families.lag_records.remove(&labels);
        self.families.lag_seconds.remove(&labels);
    }

    /// A partition was lost to another worker's commit (L3).
    pub fn fenced(&self) {
        self.families.fences.get_or_create(&self.of_source()).inc();
    }

    /// A commit of `records` was made durable within `elapsed`.
    pub fn committed(&self, records: u64, elapsed: Duration) {
        let of_source = self.of_source();
        self.families.commits.get_or_create(&of_source).inc();
        self.families.committed.get_or_create(&of_source).inc_by(records);
        self.families.committing.get_or_create(&of_source).observe(elapsed.as_secs_f64());
    }

    fn rebalanced(&self, change: &'static str) {
        self.families.rebalances.get_or_create(&OfChange { source: self.source.clone(), change }).inc();
    }

    fn of_source(&self) -> OfSource {
        OfSource { source: self.source.clone() }
    }

    fn of(&self, partition: Partition) -> OfPartition {
        OfPartition { source: self.source.clone(), partition: partition.0 }
    }
}
