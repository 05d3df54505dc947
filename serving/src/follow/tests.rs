//! The follower over a real store, dataset and feed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytesize::ByteSize;
use common::{
    clock::SystemClock,
    dataset::Append,
    event::Counts,
    feed::{self, Sender, Standing},
    generation::{Generation, Mark, ViewFiles},
    position::{OffsetRange, Positions},
    telemetry::Telemetry,
    testing::store::FaultyObjects,
};
use tokio::sync::mpsc;
use url::Url;

use super::*;
use crate::{
    query::{self, Query},
    testing::{
        Event, START_US, batch_of, commit, delta, event_at, events_before, fold, merged, name, positions, schema,
        source, standing, views, views_by_name,
    },
    tiers::Layer,
};

/// A store with one dataset, the follower over them, and what was committed.
struct House {
    store: Store,
    dataset: Dataset,
    history: Vec<Positions>,
    generations: u64,
    served: Arc<Served>,
    cache: Option<Arc<Cache>>,
}

impl House {
    async fn new() -> Self {
        Self::over(Store::open(&Url::parse("memory:").unwrap()).unwrap()).await
    }

    async fn over(store: Store) -> Self {
        let dataset = Dataset::open(&store, "test", &source(), Arc::new(schema()), "departed_at").await.unwrap();
        let served = Arc::new(Served::new(views_by_name()));
        Self { store, dataset, history: vec![Positions::new()], generations: 0, served, cache: None }
    }

    fn follow(&self, feed: Option<Listener>) -> tokio::task::JoinHandle<Result<(), Error>> {
        let follower = Follower {
            cache: self.cache.clone(),
            store: self.store.clone(),
            datasets: [(source(), self.dataset.clone())].into(),
            served: Arc::clone(&self.served),
            feed,
            clock: Arc::new(SystemClock),
            metrics: Telemetry::new().serving(),
            poll_interval: Duration::from_millis(5),
        };
        tokio::spawn(follower.run(CancellationToken::new()))
    }

    fn at(&self, version: u64) -> &Positions {
        &self.history[version as usize]
    }

    /// Commits up to `to`, without writing segments: they are folded from the files.
    async fn commit(&mut self, to: &[(u32, u64)]) {
        let (before, after) = (self.history.last().unwrap().clone(), positions(to));
        let mut events: Vec<Event> = Vec::new();
        let mut partitions = BTreeMap::new();
        for (partition, to) in &after {
            let from = before.get(partition).copied().unwrap_or_default();
            events.extend((from.0..to.0).map(|offset| event_at(partition.0, offset)));
            let counts = Counts { events: to.0 - from.0, ..Counts::default() };
            partitions.insert(*partition, (OffsetRange::new(from, *to), counts));
        }
        let append = Append { events: vec![batch_of(&events)], partitions };
        let made = self.dataset.append(append).await.unwrap();
        let mut now = before;
        now.extend(after);
        self.history.push(now);
        assert_eq!(made.version.0, self.history.len() as u64 - 1);
    }

    /// Where the chunk of `view` over `version` is, once it is written: now.
    async fn chunk_of(&self, version: u64, view: &str) -> String {
        let partials = fold(&events_before(self.at(version)));
        let of_view = views().into_iter().zip(partials).find(|(of, _)| of.name.as_str() == view);
        let (view, (_, partial)) = of_view.unwrap();
        let (from_us, to_us) = (START_US - (1 << 40), START_US + (1 << 40));
        let chunk = generation::write_chunk(&self.store, &view, from_us, to_us, &partial).await.unwrap();
        chunk.path
    }

    /// Publishes a generation over `version` with the views named, one chunk each.
    async fn publish(&mut self, version: u64, named: &[&str]) {
        self.generations += 1;
        let mut files = BTreeMap::new();
        for (view, (_, partial)) in views().iter().zip(fold(&events_before(self.at(version)))) {
            if !named.contains(&view.name.as_str()) {
                continue;
            }
            let (from_us, to_us) = (START_US - (1 << 40), START_US + (1 << 40));
            let chunk = generation::write_chunk(&self.store, view, from_us, to_us, &partial).await.unwrap();
            let of_view = ViewFiles {
                id: view.id.clone(),
                source: source(),
                sql: String::new(),
                kept: Default::default(),
                chunks: vec![chunk],
            };
            files.insert(view.name.clone(), of_view);
        }
        let mark = Mark { version: Version(version), positions: self.at(version).clone() };
        let generation = Generation {
            format: generation::FORMAT,
            number: self.generations,
            created_at_us: START_US,
            marks: [(source(), mark)].into(),
            views: files,
        };
        generation::publish(&self.store, &generation).await.unwrap();
    }

    async fn shown(&self, wanted: impl Fn(&Tiers) -> bool) -> Arc<Tiers> {
        tokio::time::timeout(Duration::from_secs(60), self.served.wait_until(wanted)).await.unwrap()
    }

    async fn head(&self, version: u64) -> Arc<Tiers> {
        self.shown(|tiers| tiers.source(&source()).unwrap().head() == Version(version)).await
    }

    async fn generation(&self, number: u64) -> Arc<Tiers> {
        self.shown(|tiers| tiers.generation().is_some_and(|g| g.number == number)).await
    }
}

#[track_caller]
fn check_exact(tiers: &Arc<Tiers>, reach: &Positions) {
    assert_eq!(&tiers.source(&source()).unwrap().reach(), reach);
    for (view, (_, exact)) in views().iter().zip(fold(&events_before(reach))) {
        let tables = tiers.partials(&view.name, Layer::Merged).unwrap();
        assert!(merged(view, &tables) == exact, "{} is not exact", view.name);
    }
}

fn covered(tiers: &Tiers, view: usize) -> Option<u64> {
    tiers.source(&source()).unwrap().batch(view).mark.map(|version| version.0)
}

async fn tell(feed: &Sender, version: u64, before: &Positions, after: &Positions) {
    let Segmented { version, positions, segment } = commit(version, before, after);
    feed.send(Notice::Committed(CommitNotice { source: source(), version, positions, segment })).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_everything_served_is_read_from_the_store_alone() {
    let mut house = House::new().await;
    house.commit(&[(0, 10), (1, 4)]).await;
    house.commit(&[(0, 15)]).await;
    house.publish(1, &["totals"]).await;
    house.commit(&[(1, 9)]).await;
    let following = house.follow(None);
    let tiers = house.head(3).await;
    check_exact(&tiers, &positions(&[(0, 15), (1, 9)]));
    // A view that the generation does not have counts all commits; the other those since the mark.
    assert_eq!((covered(&tiers, 0), covered(&tiers, 1)), (None, Some(1)));
    let provenance = tiers.provenance(&name("totals"), Layer::Merged).unwrap();
    assert!(!provenance.complete && provenance.warnings[0].contains("no live feed"), "{provenance:?}");
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_feed_commits_and_generations_are_found_by_looking() {
    let mut house = House::new().await;
    let following = house.follow(None);
    house.head(0).await;
    house.commit(&[(0, 10)]).await;
    check_exact(&house.head(1).await, house.at(1));
    house.publish(1, &["delays", "totals"]).await;
    house.commit(&[(0, 12)]).await;
    house.head(2).await;
    check_exact(&house.generation(1).await, house.at(2));
    // The next generation has one view less: its segments are read again.
    house.publish(2, &["delays"]).await;
    let tiers = house.generation(2).await;
    assert_eq!((covered(&tiers, 0), covered(&tiers, 1)), (Some(2), None));
    check_exact(&tiers, house.at(2));
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_notice_told_of_is_read() {
    let mut house = House::new().await;
    let (feed, receiver) = feed::channel();
    let following = house.follow(Some(Listener::Local(receiver)));
    house.head(0).await;
    house.commit(&[(0, 3)]).await;
    house.commit(&[(0, 5)]).await;
    house.commit(&[(0, 8)]).await;
    tell(&feed, 3, house.at(2), house.at(3)).await;
    check_exact(&house.head(3).await, house.at(3));
    tell(&feed, 2, house.at(1), house.at(2)).await;
    feed.send(Notice::Delta(delta(0, 1, 8, 11))).await.unwrap();
    let reached = |tiers: &Tiers| tiers.source(&source()).unwrap().reach() == positions(&[(0, 11)]);
    check_exact(&house.shown(reached).await, &positions(&[(0, 11)]));
    // When the feed ends, commits are found by looking.
    drop(feed);
    house.commit(&[(0, 11)]).await;
    let tiers = house.head(4).await;
    check_exact(&tiers, house.at(4));
    assert!(!tiers.provenance(&name("totals"), Layer::Merged).unwrap().complete);
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_that_follow_a_commit_nobody_told_of_are_shown() {
    let mut house = House::new().await;
    let (feed, receiver) = feed::channel();
    let following = house.follow(Some(Listener::Local(receiver)));
    house.head(0).await;
    feed.send(Notice::Delta(delta(0, 1, 0, 2))).await.unwrap();
    // The writer dies between its commit and the notice; the next one reads on from there.
    house.commit(&[(0, 5)]).await;
    feed.send(Notice::Delta(delta(0, 2, 5, 7))).await.unwrap();
    let reached = |tiers: &Tiers| tiers.source(&source()).unwrap().reach() == positions(&[(0, 7)]);
    let tiers = house.shown(reached).await;
    check_exact(&tiers, &positions(&[(0, 7)]));
    assert_eq!(tiers.source(&source()).unwrap().head(), Version(1));
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_of_commits_not_told_of_yet_waits_for_them() {
    let mut house = House::new().await;
    let (feed, receiver) = feed::channel();
    let following = house.follow(Some(Listener::Local(receiver)));
    house.head(0).await;
    feed.send(Notice::Delta(delta(0, 1, 0, 4))).await.unwrap();
    house.commit(&[(0, 4)]).await;
    house.publish(1, &["delays", "totals"]).await;
    let tiers = house.generation(1).await;
    check_exact(&tiers, &positions(&[(0, 4)]));
    assert_eq!(covered(&tiers, 0), Some(1));
    tell(&feed, 1, house.at(0), house.at(1)).await;
    feed.send(Notice::Delta(delta(0, 1, 4, 6))).await.unwrap();
    let reached = |tiers: &Tiers| tiers.source(&source()).unwrap().reach() == positions(&[(0, 6)]);
    check_exact(&house.shown(reached).await, &positions(&[(0, 6)]));
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_not_what_its_manifest_says_stops_the_follower() {
    let mut house = House::new().await;
    house.commit(&[(0, 10)]).await;
    house.publish(1, &["totals"]).await;
    let chunks = house.store.list(&"generations/chunks".into()).await.unwrap();
    house.store.put(&chunks[0], "rotten".into()).await.unwrap();
    let error = house.follow(None).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Generation(generation::Error::Corrupt { .. })), "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
}

/// An erasure makes a new generation and removes the one that is being read, when serving starts (`shown` before it is none) and later.
#[tokio::test(flavor = "multi_thread")]
async fn l4_a_generation_that_is_removed_while_it_is_read_gives_way_to_the_next() {
    for starting in [true, false] {
        let objects = FaultyObjects::in_memory();
        let mut house = House::over(Store::over(Arc::new(objects.clone()), Url::parse("memory:").unwrap())).await;
        house.commit(&[(0, 10)]).await;
        let following = if starting { None } else { Some(house.follow(None)) };
        if following.is_some() {
            house.head(1).await;
        }
        // Nothing is to be published as long as the chunk is not held: it would be read at once.
        let chunk = house.chunk_of(1, "totals").await;
        let held = objects.hold(&chunk.as_str().into());
        house.publish(1, &["totals"]).await;
        let following = following.unwrap_or_else(|| house.follow(None));
        held.reached().await;
        house.commit(&[(0, 12)]).await;
        house.publish(2, &["totals", "delays"]).await;
        house.store.delete(&chunk.as_str().into()).await.unwrap();
        house.store.delete(&"generations/00000000000000000001.json".into()).await.unwrap();
        held.let_go();
        check_exact(&house.generation(2).await, house.at(2));
        assert!(!following.is_finished());
        following.abort();
    }
}

/// How many events the answer to `view` counts, and how many there are before its positions.
fn counted(served: &Served, tiers: &Arc<Tiers>, view: &str) -> (i64, u64) {
    let query = Query { view: view.to_owned(), measures: Some(vec!["departures".to_owned()]), ..Query::default() };
    let answer = query::answer(served, tiers, &query, &CancellationToken::new()).unwrap();
    let rows = serde_json::to_value(&answer).unwrap()["rows"].clone();
    let events = answer.provenance.positions[&source()].values().map(|position| position.0).sum();
    (rows[0][0].as_i64().unwrap_or(0), events)
}

/// Two views that must agree are asked on while deltas, commits and generations come in: every answer is exact for the
/// positions that it names, so none has a part of one generation and a part of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l4_no_answer_mixes_generations() {
    let mut house = House::new().await;
    let (feed, receiver) = feed::channel();
    let following = house.follow(Some(Listener::Local(receiver)));
    house.head(0).await;
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let askers: Vec<_> = (0..2)
        .map(|_| {
            let (served, done, asked) = (Arc::clone(&house.served), Arc::clone(&done), Arc::clone(&asked));
            tokio::task::spawn_blocking(move || {
                while !done.load(Ordering::Relaxed) {
                    let tiers = served.tiers().unwrap();
                    let (hours, events) = counted(&served, &tiers, "delays");
                    assert_eq!(hours, events as i64, "delays at {:?}", tiers.generation().map(|g| g.number));
                    let (days, _) = counted(&served, &tiers, "totals");
                    assert_eq!(days, hours, "totals at {:?}", tiers.generation().map(|g| g.number));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 1..=12_u64 {
        let (from, to) = ((round - 1) * 6, round * 6);
        for (from, to) in [(from, from + 2), (from + 2, to)] {
            feed.send(Notice::Delta(delta(0, 1, from, to))).await.unwrap();
        }
        house.commit(&[(0, to)]).await;
        tell(&feed, round, house.at(round - 1), house.at(round)).await;
        if round % 2 == 0 {
            house.publish(round - 1, &["delays", "totals"]).await;
            house.generation(round / 2).await;
            let seen = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) == seen && !askers.iter().any(|asker| asker.is_finished()) {
                tokio::task::yield_now().await;
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }
    check_exact(&house.served.tiers().unwrap(), &positions(&[(0, 72)]));
    following.abort();
}

/// Over a feed between processes: what was told before is heard first, a reader that says nothing any more is missed, and commits
/// are found in the store then.
#[tokio::test(flavor = "multi_thread")]
async fn l6_a_voice_that_is_not_heard_any_more_is_missed() {
    let mut house = House::new().await;
    let (told, heard) = mpsc::channel(16);
    let following = house.follow(Some(Listener::Topic(heard)));
    house.head(0).await;
    let tell = async |heard| told.send(heard).await.unwrap();
    let of = |partition, to| Notice::Standing(Standing { partitions: 2, ..standing(partition, 1, to) });
    tell(Heard::Notice(Notice::Delta(delta(0, 1, 0, 4)))).await;
    let warns = |tiers: &Tiers, of: &str| {
        tiers.provenance(&name("totals"), Layer::Merged).unwrap().warnings.iter().any(|w| w.contains(of))
    };
    house
        .shown(|tiers| {
            tiers.source(&source()).unwrap().reach() == positions(&[(0, 4)]) && warns(tiers, "still being read")
        })
        .await;
    tell(Heard::Notice(of(0, 4))).await;
    tell(Heard::UpToDate).await;
    house.shown(|tiers| warns(tiers, "partitions 1 at present")).await;
    tell(Heard::Notice(of(1, 0))).await;
    let complete = |tiers: &Tiers| tiers.provenance(&name("totals"), Layer::Merged).unwrap().complete;
    check_exact(&house.shown(complete).await, &positions(&[(0, 4)]));
    // Then nothing is heard for longer than there may be nothing.
    house.shown(|tiers| warns(tiers, "partitions 0, 1 at present")).await;
    house.commit(&[(0, 6), (1, 3)]).await;
    check_exact(&house.head(1).await, house.at(1));
    following.abort();
}

#[test]
fn l6_as_long_as_nothing_was_read_nothing_is_shown() {
    assert!(Served::new(views_by_name()).tiers().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l4_generations_share_the_chunks_that_did_not_change_and_read_the_others_before_they_are_shown() {
    let (directory, telemetry) = (tempfile::tempdir().unwrap(), Telemetry::new());
    let loads = || {
        let text = telemetry.text();
        let lines = text.lines().filter(|line| line.starts_with("highwater_cache_loads_total"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    // Where the rows of the chunks lie, which are mapped if they were not.
    let mapped = async |tiers: &Arc<Tiers>| {
        let tables: Vec<_> =
            (0..2).map(|view| tiers.source(&source()).unwrap().batch(view).chunks[0].table.clone()).collect();
        let places =
            || tables.iter().map(|table| table.partial().unwrap().column(0).to_data().buffers()[0].as_ptr() as usize);
        let places: Vec<usize> = tokio::task::block_in_place(|| places().collect());
        places
    };
    let mut house = House::new().await;
    house.cache = Some(Cache::open(directory.path(), ByteSize::mib(64), &house.store, telemetry.serving()).unwrap());
    house.commit(&[(0, 40)]).await;
    house.publish(1, &["delays", "totals"]).await;
    let following = house.follow(None);
    let number = |wanted: u64| move |tiers: &Tiers| tiers.generation().is_some_and(|shown| shown.number == wanted);
    let first = mapped(&house.shown(number(1)).await).await;
    assert_eq!(loads(), 2, "a chunk of each of two views");
    house.publish(1, &["delays", "totals"]).await;
    assert_eq!(mapped(&house.shown(number(2)).await).await, first);
    assert_eq!(loads(), 2);
    house.commit(&[(0, 90)]).await;
    house.publish(2, &["delays", "totals"]).await;
    let third = house.shown(number(3)).await;
    assert_eq!(loads(), 4, "what takes the place of chunks that were asked for is there when it is shown");
    assert_ne!(mapped(&third).await, first);
    // Nothing shows the first two any more: what an erasure takes from generations is not left in the cache.
    let files = || {
        std::fs::read_dir(directory.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    };
    while files() > 2 {
        tokio::task::yield_now().await;
    }
    following.abort();
}
