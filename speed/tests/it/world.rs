//! A log, a store and a dataset to work on, records to put in, and one check that everything is there exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use bytes::Bytes;
use common::{
    clock::SystemClock,
    dataset::{Commit, Dataset},
    dead_letter,
    event::Counts,
    feed::{self, CommitNotice, Delta, Notice},
    fold::Fold,
    log::{EventLog, NewRecord, partition_of_key},
    pipeline::Source,
    position::{Partition, Positions, Version},
    schema::{OFFSET, PARTITION},
    store::Store,
    telemetry::Telemetry,
    testing::{departures, log::MemoryLog, store::FaultyObjects, view},
    view::View,
};
use speed::{Error, Handle, Parts, Retry, Settings, Worker};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::tripwire::Tripwire;

/// Partitions of the log.
pub(crate) const PARTITIONS: u32 = 3;

/// A test that waits longer has failed, rather than hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any test: nothing happens by itself.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// What outlives a worker, and what was put in.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) log: MemoryLog,
    pub(crate) objects: FaultyObjects,
    pub(crate) tripwire: Tripwire,
    pub(crate) store: Store,
    pub(crate) source: Source,
    pub(crate) views: Vec<Arc<View>>,
    pub(crate) telemetry: Telemetry,
    /// What became of the records put in, by partition and offset.
    pub(crate) truth: BTreeMap<(Partition, u64), Kind>,
}

/// What a record put in is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Event,
    DeadLetter,
    Tombstone,
}

/// A worker that runs, and who listens to it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) listener: Listener,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

/// The receiving end of the feed, with everything received.
#[derive(Debug)]
pub(crate) struct Listener {
    feed: feed::Receiver,
    pub(crate) notices: Vec<Notice>,
}

impl World {
    pub(crate) fn new() -> Self {
        let objects = FaultyObjects::in_memory();
        let tripwire = Tripwire::over(objects.clone());
        let source = departures();
        Self {
            log: MemoryLog::new("departures", PARTITIONS),
            store: Store::over(Arc::new(tripwire.clone()), Url::parse("memory:///").unwrap()),
            objects,
            tripwire,
            views: views(&source),
            source,
            telemetry: Telemetry::new(),
            truth: BTreeMap::new(),
        }
    }

    pub(crate) async fn dataset(&self) -> Dataset {
        let rules = &self.source.rules;
        Dataset::open(&self.store, "test", &self.source.name, Arc::clone(&rules.schema), &rules.event_time)
            .await
            .unwrap()
    }

    pub(crate) fn settings(&self, commit_interval: Duration, commit_size_bytes: u64) -> Settings {
        Settings {
            source: self.source.name.clone(),
            rules: self.source.rules.clone(),
            on_gap: self.source.on_gap,
            views: self.views.clone(),
            commit_interval,
            commit_size_bytes,
            retry: Retry { attempts_max: 4, backoff: Duration::ZERO },
        }
    }

    pub(crate) async fn worker(&self, settings: Settings) -> (Worker, Handle, Listener) {
        let (sender, receiver) = feed::channel();
        let parts = Parts {
            log: Arc::new(self.log.clone()),
            dataset: self.dataset().await,
            store: self.store.clone(),
            feed: sender,
            clock: Arc::new(SystemClock),
            metrics: self.telemetry.ingest(&self.source.name),
            cores: Arc::new(Semaphore::new(2)),
        };
        let (worker, handle) = Worker::new(settings, parts);
        (worker, handle, Listener { feed: receiver, notices: Vec::new() })
    }

    /// A worker that commits only when asked.
    pub(crate) async fn run(&self) -> Running {
        self.run_with(self.settings(NEVER, u64::MAX / 2)).await
    }

    pub(crate) async fn run_with(&self, settings: Settings) -> Running {
        let (worker, handle, listener) = self.worker(settings).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Running { handle, listener, stop, task }
    }

    /// Appends one record of each of `kinds` to `partition`.
    pub(crate) async fn put(&mut self, partition: u32, kinds: &[Kind]) {
        let records = (self.truth.len()..).zip(kinds).map(|(n, kind)| record(n, partition, *kind)).collect();
        let appended = self.log.append(records, None).await.unwrap();
        let [(partition, range)] = appended.ranges[..] else { panic!("one key, one partition") };
        self.truth.extend((range.from.0..range.to.0).map(|offset| (partition, offset)).zip(kinds.iter().copied()));
    }

    /// The end of the log.
    pub(crate) async fn end(&self) -> Positions {
        end_of(&self.log).await
    }

    pub(crate) async fn commits(&self) -> Vec<Commit> {
        let dataset = self.dataset().await;
        let head = dataset.snapshot().await.unwrap().version;
        dataset.commits(Version(0), head).await.unwrap()
    }

    /// The events of `commit`.
    pub(crate) async fn events(&self, commit: &Commit) -> Vec<RecordBatch> {
        let dataset = self.dataset().await;
        let columns: Vec<String> =
            self.source.rules.schema.event_schema().fields().iter().map(|f| f.name().clone()).collect();
        let mut batches = Vec::new();
        for file in &commit.files {
            batches.extend(dataset.read(file, &columns).await.unwrap());
        }
        batches
    }

    /// The partials of `commit`, folded from its files by one fold.
    pub(crate) async fn refolded(&self, commit: &Commit) -> Vec<RecordBatch> {
        let (events, mut fold) = (self.events(commit).await, Fold::new(&self.views));
        let folded = tokio::task::spawn_blocking(move || {
            events.iter().for_each(|batch| fold.fold(batch).unwrap());
            fold.take().unwrap()
        });
        folded.await.unwrap()
    }

    /// Checks what must hold at every moment, whatever crashed: each commit moves positions by exactly the records that
    /// it accounts for (L2, L7), no event stands twice (L3), and the log still has what is not committed (L2).
    pub(crate) async fn check(&self) {
        let mut positions = Positions::new();
        let mut found = BTreeMap::new();
        for commit in self.commits().await {
            let mut events: BTreeMap<Partition, BTreeSet<u64>> = BTreeMap::new();
            for (partition, offset) in self.events(&commit).await.iter().flat_map(origins) {
                assert!(
                    events.entry(partition).or_default().insert(offset),
                    "{partition}:{offset} twice in one commit"
                );
                let before = found.insert((partition, offset), commit.version);
                assert_eq!(before, None, "L3: {partition}:{offset} is in two commits");
            }
            for (partition, to) in &commit.positions {
                let from = positions.insert(*partition, *to).unwrap_or_default();
                let covered = from.0..to.0;
                let counts = commit.counts[partition];
                assert_eq!(
                    counts,
                    self.expected(*partition, covered.clone()),
                    "L7: counts of {partition}: {covered:?}"
                );
                let events = events.remove(partition).unwrap_or_default();
                assert_eq!(events.len() as u64, counts.events, "L2: events of {partition}: {covered:?}");
                assert!(events.iter().all(|offset| covered.contains(offset)), "L2: events outside {covered:?}");
            }
            assert!(events.is_empty(), "L2: events of partitions that did not move: {events:?}");
        }
        for (partition, end) in self.end().await {
            let bounds = self.log.bounds(partition).await.unwrap();
            let position = positions.get(&partition).copied().unwrap_or_default();
            assert!(bounds.from <= position && position <= end, "L2: log {bounds} was trimmed beyond {position}");
        }
    }

    /// Lets `running` commit everything there is, stops it, and checks what is there then.
    pub(crate) async fn ends_well(&self, running: Running) {
        running.catch_up(self).await;
        running.stop().await;
        self.check_all().await;
    }

    /// [`Self::check`], and that everything put in is committed, the dead letters whole (L7).
    pub(crate) async fn check_all(&self) {
        self.check().await;
        let positions = self.dataset().await.snapshot().await.unwrap().positions;
        let committed = |p: &Partition| positions.get(p).copied().unwrap_or_default();
        assert!(self.end().await.iter().all(|(p, end)| committed(p) == *end), "not all is committed: {positions:?}");
        let letters = dead_letter::read(&self.store, &self.source.name, &positions, usize::MAX).await.unwrap();
        assert!(letters.iter().all(|letter| letter.record.headers == headers()), "L7: dead letters are whole");
        let mut letters: Vec<_> = letters.iter().map(|d| (d.record.partition, d.record.offset)).collect();
        letters.sort_unstable();
        let expected = self.truth.iter().filter(|(_, kind)| **kind == Kind::DeadLetter).map(|(at, _)| *at);
        assert_eq!(letters, expected.collect::<Vec<_>>(), "L7: dead letters");
    }

    /// What the records of `partition` in `offsets` are to become.
    pub(crate) fn expected(&self, partition: Partition, offsets: std::ops::Range<u64>) -> Counts {
        let mut counts = Counts::default();
        for (_, kind) in self.truth.range((partition, offsets.start)..(partition, offsets.end)) {
            match kind {
                Kind::Event => counts.events += 1,
                Kind::DeadLetter => counts.dead_letters += 1,
                Kind::Tombstone => counts.tombstones += 1,
            }
        }
        counts
    }
}

impl Running {
    /// Lets the worker commit everything there is.
    pub(crate) async fn catch_up(&self, world: &World) -> Version {
        in_time(self.handle.flush_to(&world.end().await)).await.unwrap()
    }

    /// Waits until everything there is was read.
    pub(crate) async fn read_all(&self, world: &World) {
        let end = world.end().await;
        let mut stats = self.handle.watch();
        let read =
            |stats: &speed::Stats| end.iter().all(|(p, end)| stats.partitions.get(p).is_some_and(|s| s.read == *end));
        in_time(stats.wait_for(read)).await.unwrap();
    }

    /// Stops the worker in good order, and hears all it has to say.
    pub(crate) async fn stop(self) -> Listener {
        self.stop.cancel();
        let mut listener = self.listener;
        let (stopped, ()) = in_time(async { tokio::join!(self.task, listener.rest()) }).await;
        stopped.unwrap().unwrap();
        listener
    }

    /// Why the worker stops by itself.
    pub(crate) async fn fails(self) -> Error {
        in_time(self.task).await.unwrap().unwrap_err()
    }

    /// Ends the worker without a chance to do anything, as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

impl Listener {
    /// Receives up to the notice for which `found` holds.
    pub(crate) async fn until(&mut self, found: impl Fn(&Notice) -> bool) {
        loop {
            let notice = in_time(self.feed.recv()).await.expect("the worker went away");
            let is_found = found(&notice);
            self.notices.push(notice);
            if is_found {
                return;
            }
        }
    }

    /// Receives all there is, until the worker has gone.
    pub(crate) async fn rest(&mut self) {
        while let Some(notice) = self.feed.recv().await {
            self.notices.push(notice);
        }
    }

    pub(crate) fn deltas(&self) -> impl Iterator<Item = &Delta> {
        self.notices.iter().filter_map(|notice| match notice {
            Notice::Delta(delta) => Some(delta),
            _ => None,
        })
    }

    pub(crate) fn commits(&self) -> impl Iterator<Item = &CommitNotice> {
        self.notices.iter().filter_map(|notice| match notice {
            Notice::Committed(commit) => Some(commit),
            _ => None,
        })
    }
}

/// The `n`th record of all.
fn record(n: usize, partition: u32, kind: Kind) -> NewRecord {
    let value = match kind {
        Kind::Event => Some(format!(
            r#"{{"carrier":"{}","tail_number":"N{n}","delay_minutes":{},"distance":{}.25,"departed_at":"2013-01-{:02}T{:02}:17:00Z"}}"#,
            ["UA", "B6", "AA"][n % 3],
            n % 90,
            n * 7,
            1 + n % 3,
            n % 24,
        )),
        Kind::DeadLetter => Some(format!(r#"{{"carrier":"UA","delay_minutes":"{n} minutes"}}"#)),
        Kind::Tombstone => None,
    };
    NewRecord { key: Some(key_of(partition)), value: value.map(Bytes::from), headers: headers() }
}

/// What each record has.
fn headers() -> Vec<(String, Bytes)> {
    vec![("trace".to_owned(), Bytes::from_static(b"7"))]
}

/// A view of every kind of state by several keys, and one with a filter.
fn views(source: &Source) -> Vec<Arc<View>> {
    let hourly = "CREATE VIEW delays AS SELECT date_trunc('hour', departed_at) AS hour, carrier, \
                  count(*) AS departures, sum(delay_minutes) AS total, avg(distance) AS mean_distance, \
                  approx_distinct(tail_number) AS aircraft, approx_percentile(delay_minutes, 0.5) AS median \
                  FROM departures GROUP BY hour, carrier";
    let daily = "CREATE VIEW late AS SELECT date_trunc('day', departed_at) AS day, max(delay_minutes) AS worst \
                 FROM departures WHERE delay_minutes > 50 GROUP BY day";
    // Polars types the filter, and will not do so on a thread that runs async tasks.
    std::thread::scope(|scope| {
        let parse = || vec![view(hourly, source), view(daily, source)];
        scope.spawn(parse).join().unwrap()
    })
}

/// What `awaited` comes to, if it does so before patience ends.
pub(crate) async fn in_time<F: Future>(awaited: F) -> F::Output {
    tokio::time::timeout(PATIENCE, awaited).await.expect("waited too long")
}

/// The end of `log`.
pub(crate) async fn end_of(log: &MemoryLog) -> Positions {
    let mut end = Positions::new();
    for partition in log.partitions().await.unwrap() {
        end.insert(partition, log.bounds(partition).await.unwrap().to);
    }
    end
}

/// Partition and offset of each event.
fn origins(batch: &RecordBatch) -> Vec<(Partition, u64)> {
    let partitions = batch.column_by_name(PARTITION).unwrap().as_primitive::<Int32Type>();
    let offsets = batch.column_by_name(OFFSET).unwrap().as_primitive::<Int64Type>();
    let partition = |p: &i32| Partition(u32::try_from(*p).unwrap());
    let offset = |o: &i64| u64::try_from(*o).unwrap();
    partitions.values().iter().map(partition).zip(offsets.values().iter().map(offset)).collect()
}

/// A key whose records go to `partition`.
fn key_of(partition: u32) -> Bytes {
    let keys = (0..u64::MAX).map(|n| Bytes::from(n.to_string()));
    keys.into_iter().find(|key| partition_of_key(key, PARTITIONS) == Partition(partition)).unwrap()
}
