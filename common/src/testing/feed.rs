//! What every live feed must do, one named check each: within a process and between processes.
//!
//! What is told is a function of where it stands, so that what is heard can be compared with it.

use std::{collections::BTreeMap, future::Future, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{departures, view};
use crate::{
    decode::Decoder,
    event::Record,
    feed::{
        CommitNotice, Delta, Heard, Listener, Notice, Sender, Standing,
        wire::{FeedSource, FeedSources},
    },
    fold::Fold,
    position::{OffsetRange, Partition, Position, Version},
    view::View,
};

/// A feed under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// An end to tell at: a worker of its own where there are several.
    fn teller(&self) -> Sender;

    /// The listening end; of a feed between processes, one more.
    async fn listener(&self) -> Listener;

    /// Whether there may be several listeners, and they hear what was told before they came.
    fn remembers(&self) -> bool;
}

/// Runs one check; fails instead of waiting for ever.
///
/// # Panics
/// If the check fails or does not end within a minute.
pub async fn run<S: Subject, F: Future<Output = ()>>(subject: S, check: impl FnOnce(Arc<S>) -> F) {
    let checked = tokio::time::timeout(Duration::from_secs(60), check(Arc::new(subject))).await;
    assert!(checked.is_ok(), "the feed keeps the check waiting");
}

/// Makes a test of each check. `$subject` is an expression that makes a fresh [`Subject`], or `None` if there cannot be one here.
#[macro_export]
macro_rules! feed_conformance {
    ($subject:expr) => {
        $crate::feed_conformance! { $subject;
            notices_come_as_they_were_told, l6_deltas_of_a_partition_chain, epochs_follow_each_other, a_gap_stays_a_gap,
            large_notices_come_whole, a_late_listener_hears_what_was_told, every_listener_hears_all
        }
    };
    ($subject:expr; $($check:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let Some(subject) = $subject else { return };
            $crate::testing::feed::run(subject, $crate::testing::feed::$check).await;
        }
    )*};
}

/// Every kind of notice is heard as it was told, to the bit of its partials.
pub async fn notices_come_as_they_were_told<S: Subject>(subject: Arc<S>) {
    let mut ear = Ear::new(&*subject).await;
    let told = [
        Notice::Standing(standing(0, 7, 0)),
        Notice::Delta(delta(0, 7, 0..9)),
        // Nothing but tombstones.
        Notice::Delta(Delta { partials: Vec::new(), as_of_us: None, oldest_us: None, ..delta(0, 7, 9..12) }),
        Notice::Standing(Standing { lag_records: None, ..standing(0, 7, 12) }),
        Notice::Committed(commit(1, 0, 0..12)),
    ];
    tell(&subject.teller(), &told).await;
    let mut heard = ear.hear(told.len()).await;
    // A commit has a key of its own.
    heard.sort_by_key(|notice| matches!(notice, Notice::Committed(_)));
    assert_eq!(heard, told);
}

/// L6: the deltas of a partition are heard in their order, whatever others are told in between, so that they chain.
pub async fn l6_deltas_of_a_partition_chain<S: Subject>(subject: Arc<S>) {
    let mut ear = Ear::new(&*subject).await;
    let rounds = 0..40_u64;
    let told: Vec<Notice> =
        rounds.flat_map(|round| (0..3).map(move |p| Notice::Delta(delta(p, 1, round * 2..round * 2 + 2)))).collect();
    tell(&subject.teller(), &told).await;
    let mut ends = BTreeMap::new();
    for notice in ear.hear(told.len()).await {
        let Notice::Delta(heard) = notice else { panic!("only deltas were told") };
        let end = ends.insert(heard.partition, heard.range.to).unwrap_or_default();
        assert_eq!(heard.range.from, end, "deltas of partition {} do not chain", heard.partition);
        assert_eq!(heard, delta(heard.partition.0, 1, heard.range.from.0..heard.range.to.0));
    }
    assert!((0..3).all(|p| ends[&Partition(p)] == Position(80)), "{ends:?}");
}

/// The deltas of a new reader of a partition come after those of the old one, which had told them before.
pub async fn epochs_follow_each_other<S: Subject>(subject: Arc<S>) {
    let mut ear = Ear::new(&*subject).await;
    let (old, new) = (subject.teller(), subject.teller());
    let before = [Notice::Delta(delta(0, 1, 0..4)), Notice::Delta(delta(0, 1, 4..8))];
    tell(&old, &before).await;
    assert_eq!(ear.hear(2).await, before);
    let after = [Notice::Delta(delta(0, 2, 0..6)), Notice::Delta(delta(0, 2, 6..9))];
    tell(&new, &after).await;
    assert_eq!(ear.hear(2).await, after);
}

/// What was never told does not come; what comes after it says where it stands.
pub async fn a_gap_stays_a_gap<S: Subject>(subject: Arc<S>) {
    let mut ear = Ear::new(&*subject).await;
    let told =
        [Notice::Delta(delta(0, 1, 0..4)), Notice::Delta(delta(0, 1, 6..8)), Notice::Standing(standing(0, 1, 9))];
    tell(&subject.teller(), &told).await;
    assert_eq!(ear.hear(3).await, told);
}

/// A notice that is larger than what travels at once.
pub async fn large_notices_come_whole<S: Subject>(subject: Arc<S>) {
    let mut ear = Ear::new(&*subject).await;
    let large = delta(0, 1, 0..40_000);
    let bytes: usize = large.partials.iter().map(|(_, partial)| partial.get_array_memory_size()).sum();
    assert!(bytes > 2 << 20, "{bytes} bytes are not large");
    let told = [Notice::Delta(large), Notice::Delta(delta(0, 1, 40_000..40_001))];
    tell(&subject.teller(), &told).await;
    assert!(ear.hear(2).await == told, "a large notice is not what it was");
}

/// One that comes late hears what was told before, and then that it is up to date.
pub async fn a_late_listener_hears_what_was_told<S: Subject>(subject: Arc<S>) {
    if !subject.remembers() {
        return;
    }
    let teller = subject.teller();
    let told: Vec<Notice> =
        (0..30).map(|at| Notice::Delta(delta(at % 3, 1, u64::from(at / 3)..u64::from(at / 3) + 1))).collect();
    tell(&teller, &told).await;
    // Somebody has heard all: it is there.
    Ear::new(&*subject).await.hear(told.len()).await;
    let mut late = Ear::new(&*subject).await;
    let heard = late.hear_up_to_date().await;
    assert_eq!(heard.len(), told.len());
    assert!(told.iter().all(|notice| heard.contains(notice)));
    tell(&teller, &[Notice::Standing(standing(2, 1, 10))]).await;
    assert_eq!(late.hear(1).await, [Notice::Standing(standing(2, 1, 10))]);
}

/// Listeners take nothing from each other.
pub async fn every_listener_hears_all<S: Subject>(subject: Arc<S>) {
    if !subject.remembers() {
        return;
    }
    let mut ears = [Ear::new(&*subject).await, Ear::new(&*subject).await, Ear::new(&*subject).await];
    let told: Vec<Notice> = (0..20).map(|at| Notice::Delta(delta(0, 1, at..at + 1))).collect();
    tell(&subject.teller(), &told).await;
    for ear in &mut ears {
        assert_eq!(ear.hear(told.len()).await, told);
    }
}

/// A listener, and what it has heard and not been asked for.
pub struct Ear {
    listener: Listener,
    heard: Vec<Heard>,
}

impl Ear {
    /// One more listener of `subject`.
    pub async fn new<S: Subject>(subject: &S) -> Self {
        Self { listener: subject.listener().await, heard: Vec::new() }
    }

    /// The next so many notices.
    ///
    /// # Panics
    /// If the feed ends before.
    pub async fn hear(&mut self, count: usize) -> Vec<Notice> {
        let mut notices = Vec::new();
        while notices.len() < count {
            if self.heard.is_empty() {
                assert!(self.listener.hear(&mut self.heard).await > 0, "the feed has ended");
            }
            if let Heard::Notice(notice) = self.heard.remove(0) {
                notices.push(notice);
            }
        }
        notices
    }

    /// All notices before it is up to date.
    ///
    /// # Panics
    /// If the feed ends before.
    pub async fn hear_up_to_date(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        loop {
            if self.heard.is_empty() {
                assert!(self.listener.hear(&mut self.heard).await > 0, "the feed has ended");
            }
            match self.heard.remove(0) {
                Heard::Notice(notice) => notices.push(notice),
                Heard::UpToDate => return notices,
            }
        }
    }
}

/// Tells `notices` one after the other.
///
/// # Panics
/// If nobody takes them.
pub async fn tell(teller: &Sender, notices: &[Notice]) {
    for notice in notices {
        teller.send(notice.clone()).await.expect("somebody takes what is told");
    }
}

/// The source told of, and its views: one of a row a plane, and one of few rows.
#[must_use]
pub fn sources() -> FeedSources {
    let source = departures();
    let name = source.name.clone();
    [(name, FeedSource { dataset: "dataset-1".into(), views: views() })].into()
}

fn views() -> Vec<Arc<View>> {
    let by_plane = "CREATE VIEW planes AS SELECT date_trunc('hour', departed_at) AS hour, tail_number, count(*) AS flights, \
                    sum(delay_minutes) AS delay, approx_distinct(carrier) AS carriers FROM departures GROUP BY hour, tail_number";
    let by_day = "CREATE VIEW days AS SELECT date_trunc('day', departed_at) AS day, count(*) AS flights FROM departures GROUP BY day";
    // Polars types expressions, and will not do so on a thread that runs async tasks.
    std::thread::scope(|scope| {
        let views = || [by_plane, by_day].map(|sql| view(sql, &departures())).to_vec();
        scope.spawn(views).join().expect("the views are valid")
    })
}

/// The delta of these offsets.
///
/// # Panics
/// Never.
#[must_use]
pub fn delta(partition: u32, epoch: u64, offsets: Range<u64>) -> Delta {
    let (source, range) = (departures(), OffsetRange::new(Position(offsets.start), Position(offsets.end)));
    let record = |offset: u64| Record {
        topic: "departures".into(),
        partition: Partition(partition),
        offset,
        timestamp_us: 1_700_000_000_000_000 + offset as i64,
        key: None,
        headers: Vec::new(),
        value: Some(Bytes::from(format!(
            r#"{{"carrier":"UA","tail_number":"N{partition}-{offset}","delay_minutes":{},"departed_at":"2013-01-01T00:17:00Z"}}"#,
            offset % 90
        ))),
    };
    let events = Decoder::new(source.rules).decode(&offsets.map(record).collect()).events;
    let views = views();
    let mut fold = Fold::new(&views);
    fold.fold(&events).expect("the events are the source's");
    let partials = views.iter().map(|view| view.id.clone()).zip(fold.take().expect("nothing overflows")).collect();
    let oldest_us = Some(1_700_000_000_000_000 + range.from.0 as i64);
    let as_of_us = Some(1_700_000_000_000_000 + range.to.0 as i64);
    Delta { source: source.name, partition: Partition(partition), epoch, range, as_of_us, oldest_us, partials }
}

/// The commit of these offsets of one partition.
#[must_use]
pub fn commit(version: u64, partition: u32, offsets: Range<u64>) -> CommitNotice {
    let Delta { source, partition, range, partials, .. } = delta(partition, 0, offsets);
    CommitNotice { source, version: Version(version), positions: [(partition, range.to)].into(), segment: partials }
}

/// How the reader of a partition stands.
#[must_use]
pub fn standing(partition: u32, epoch: u64, told: u64) -> Standing {
    Standing {
        source: departures().name,
        partition: Partition(partition),
        epoch,
        told: Position(told),
        lag_records: Some(3),
        partitions: 3,
    }
}
