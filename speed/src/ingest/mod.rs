//! The loop of one source. It owns the subscription and the lanes, decides when deltas are cut and commits begin, and
//! never waits for anything but the next thing to happen: all work and all I/O run in tasks whose outcomes come back here.
//!
//! It must never move a position other than by a commit (L2), nor keep anything that outlives it (L5): dropped at any
//! await point, it leaves nothing that its next start would not read again.

use std::{collections::BTreeMap, sync::Arc};

use common::{
    clock::Clock,
    limits::{DELTA_INTERVAL, FEED_DRAIN_MAX, OUTBOX_NOTICES_MAX, TAIL_BACKLOG_BYTES_MAX},
    log::{self, EventLog, LogEvent, Subscription},
    position::Partition,
    view::View,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    commit::Committer,
    error::Error,
    feed::Outbox,
    lane::Lane,
    origin::Topic,
    retry::Failures,
    settings::{Parts, Settings},
    start::Locator,
    stats::{Flush, Handle, Stats},
    tail::Recipe,
};

mod outcome;
mod stage;

use outcome::Outcome;
use stage::{Settling, Stage};

/// The ingest of one source.
#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    cores: Arc<Semaphore>,
    recipe: Recipe,
    locator: Locator,
    committer: Committer,

    lanes: BTreeMap<Partition, Lane>,
    /// The epoch given last.
    epoch: u64,
    tasks: JoinSet<Outcome>,
    stage: Stage,
    settling: Settling,
    outbox: Outbox,

    requests: mpsc::Receiver<Flush>,
    /// Flushes that wait for the next commit to begin, and those that wait for the present one to end.
    flushes: Vec<Flush>,
    answering: Vec<Flush>,
    stats: Stats,
    published: watch::Sender<Stats>,

    /// When the open deltas are to be cut; `None` if nothing was read since the last cut.
    delta_due: Option<Instant>,
    /// When the next commit is due; `None` if nothing waits for one.
    commit_due: Option<Instant>,
    /// When the present commit, or else the last one, began.
    commit_began: Instant,
    /// Whether a commit's worth of events was held while the one before was still on its way.
    crowded: bool,
    /// When the lag is to be measured next; `None` while it is being measured.
    lag_due: Option<Instant>,
    /// How many partitions the log had when last asked; 0 before.
    log_partitions: u32,
    /// Whether records are read with their headers: some logs give them only at a cost, and only columns of them and dead letters
    /// need any. So they are left out until the first dead letter, whose partition is read anew then.
    headers: bool,
    /// Until when the log is left alone after a failure.
    read_after: Option<Instant>,
    read_failures: Failures,
    start_failures: Failures,
    stopping: bool,
}

impl Worker {
    /// A worker, and the handle by which others watch and ask it.
    #[must_use]
    pub fn new(settings: Settings, parts: Parts) -> (Self, Handle) {
        let Parts { log, dataset, store, feed, clock, metrics, cores } = parts;
        let views: Arc<[Arc<View>]> = settings.views.clone().into();
        let (source, retry) = (settings.source.clone(), settings.retry);
        let rules = settings.rules.clone();
        let recipe = Recipe { source: source.clone(), rules, views: Arc::clone(&views), metrics };
        let locator = Locator {
            log: Arc::clone(&log),
            dataset,
            retry,
            source: source.clone(),
            store: store.clone(),
            on_gap: settings.on_gap,
            topic: Topic::new(Arc::clone(&log), store.clone(), source.clone(), retry),
        };
        let committer = Committer { source, views, store, cores: Arc::clone(&cores), locator: locator.clone() };
        let (request, requests) = mpsc::channel(1);
        let (published, watched) = watch::channel(Stats::default());
        let worker = Self {
            log,
            clock,
            cores,
            recipe,
            locator,
            committer,
            lanes: BTreeMap::new(),
            epoch: 0,
            tasks: JoinSet::new(),
            stage: Stage::default(),
            settling: Settling::default(),
            outbox: Outbox::new(feed),
            requests,
            flushes: Vec::new(),
            answering: Vec::new(),
            stats: Stats::default(),
            published,
            delta_due: None,
            commit_due: None,
            commit_began: Instant::now(),
            crowded: false,
            lag_due: None,
            log_partitions: 0,
            headers: settings.rules.read_headers(),
            read_after: None,
            read_failures: retry.failures(),
            start_failures: retry.failures(),
            stopping: false,
            settings,
        };
        (worker, Handle { requests: request, stats: watched })
    }

    /// Ingests until `stop` is cancelled; then reads no further, commits what was read, and returns when that is durable and
    /// told. Dropping the future instead is as a crash: nothing is lost, nothing is doubled.
    ///
    /// # Errors
    /// See [`Error`]. Nothing uncommitted counts as done: the next start reads it again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let result = self.ingest(stop).await;
        let source = &self.settings.source;
        match &result {
            Ok(()) => info!(%source, stats = ?self.stats, "ingesting stopped"),
            Err(error) => {
                let error = error as &dyn std::error::Error;
                error!(%source, error, "ingesting stopped, nothing beyond the last commit counts as done");
            }
        }
        result
    }

    async fn ingest(&mut self, stop: CancellationToken) -> Result<(), Error> {
        self.check_schemas().await?;
        let mut subscription = self.subscribe().await?;
        loop {
            self.begin_commit();
            self.launch();
            self.publish();
            if self.stopping && self.is_finished() {
                break;
            }
            let (due, may_read) = (self.due(), self.may_read());
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.stopping => self.stopping = true,
                Some(outcome) = self.tasks.join_next() => {
                    self.conclude(crate::commit::joined(outcome), subscription.as_mut()).await?;
                }
                Some(answer) = self.requests.recv() => self.flushes.push(answer),
                () = self.outbox.send_next(), if !self.outbox.is_empty() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tick(),
                event = subscription.next(), if may_read => match event {
                    Err(ended @ log::Error::Ended { .. }) => {
                        subscription.close().await;
                        subscription = self.subscribe_anew(ended).await?;
                    }
                    event => self.take(event)?,
                }
            }
        }
        subscription.close().await;
        self.farewell().await;
        Ok(())
    }

    /// What new records are written by must fit before any is read.
    async fn check_schemas(&self) -> Result<(), Error> {
        let mut failures = self.settings.retry.failures();
        loop {
            match self.settings.rules.check_newest().await {
                Err(error) if error.is_transient() => failures.wait("look at the newest schema", error).await?,
                checked => return Ok(checked?),
            }
        }
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        let mut failures = self.settings.retry.failures();
        loop {
            match self.log.subscribe().await {
                Ok(subscription) => return Ok(subscription),
                Err(error) => failures.wait("subscribe to the log", error).await?,
            }
        }
    }

    /// Subscribes after a subscription has ended, which had all partitions: each is read from its position.
    async fn subscribe_anew(&mut self, ended: log::Error) -> Result<Box<dyn Subscription>, Error> {
        self.revoke_all(self.lanes.keys().copied().collect());
        self.read_failures.wait("read the log", ended).await?;
        self.subscribe().await
    }

    /// Sends what the listener has not taken yet; one that does not listen cannot keep the process alive.
    async fn farewell(&mut self) {
        if timeout(FEED_DRAIN_MAX, self.outbox.drain()).await.is_err() {
            warn!(notices = self.outbox.len(), "the live feed's listener does not take the last notices");
        }
    }

    /// Takes an event of the log.
    fn take(&mut self, event: Result<LogEvent, log::Error>) -> Result<(), Error> {
        match event {
            Ok(event) => {
                self.read_failures.reset();
                match event {
                    LogEvent::Assigned(partitions) => {
                        partitions.iter().for_each(|p| self.recipe.metrics.assigned(*p));
                        partitions.into_iter().for_each(|p| self.assign(p));
                    }
                    LogEvent::Revoked(partitions) => self.revoke_all(partitions),
                    LogEvent::Records(run) => self.read(run)?,
                }
            }
            // Another worker may have committed and trimmed what this one was reading: its position says whether this is
            // a gap.
            Err(log::Error::OutOfRange { partition, position, bounds, .. }) => {
                warn!(%partition, %position, %bounds, "the log has moved on, reading the position anew");
                self.assign(partition);
            }
            Err(error @ log::Error::Io { .. }) => {
                self.read_after = Some(Instant::now() + self.read_failures.count("read the log", error)?);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(&mut self, run: log::Records) -> Result<(), Error> {
        // Runs of a partition that is not started are what the log had under way when its reader was fenced.
        let Some(lane) = self.lanes.get_mut(&run.partition).filter(|lane| lane.is_started()) else { return Ok(()) };
        lane.push(run)?;
        if lane.is_unsealed() {
            let now = Instant::now();
            self.delta_due.get_or_insert(now + DELTA_INTERVAL);
            self.commit_due.get_or_insert(now + self.settings.commit_interval);
        }
        Ok(())
    }

    /// Begins a term of `partition`, whatever was before: its position is read anew.
    fn assign(&mut self, partition: Partition) {
        self.revoke(partition);
        // There is no durable state to count terms in (L5), so the clock counts them across restarts.
        self.epoch = (self.epoch + 1).max(self.clock.now_us().unsigned_abs());
        self.lanes.insert(partition, Lane::new(self.epoch));
    }

    fn revoke_all(&mut self, partitions: Vec<Partition>) {
        partitions.iter().for_each(|p| self.recipe.metrics.revoked(*p));
        partitions.into_iter().for_each(|p| self.revoke(p));
    }

    /// Drops what is held of `partition`; its next reader starts from its position.
    fn revoke(&mut self, partition: Partition) {
        self.lanes.remove(&partition);
        self.stats.partitions.remove(&partition);
        self.stage.forget(partition);
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        let is_due = |due: Option<Instant>| due.is_some_and(|at| at <= now);
        if is_due(self.delta_due) {
            self.delta_due = None;
            self.lanes.values_mut().for_each(Lane::cut);
        }
        // [`Self::begin_commit`] comes next if anything still waits for it; what waited may have been revoked or fenced.
        if is_due(self.commit_due) && !self.waits_for_commit() {
            self.commit_due = None;
        }
        if is_due(self.read_after) {
            self.read_after = None;
        }
        if is_due(self.lag_due) {
            self.lag_due = None;
            self.measure_lag();
        }
    }

    /// When [`Self::tick`] or [`Self::begin_commit`] has something to do next.
    fn due(&self) -> Option<Instant> {
        let commit_due = self.commit_due.filter(|_| self.may_commit());
        let lag_due = self.lag_due.filter(|_| !self.stopping);
        [self.delta_due, commit_due, lag_due, self.read_after].into_iter().flatten().min()
    }

    /// Whether the log may be asked for more: not when too much is in memory already (back-pressure), nor when stopping.
    fn may_read(&self) -> bool {
        let backlog_bytes: u64 = self.lanes.values().map(Lane::backlog_bytes).sum();
        let waiting_bytes = backlog_bytes + self.held_bytes() + self.stage.bytes();
        !self.stopping
            && self.read_after.is_none()
            && backlog_bytes < TAIL_BACKLOG_BYTES_MAX
            && waiting_bytes < self.settings.commit_size_bytes.saturating_mul(2)
            && self.outbox.len() < OUTBOX_NOTICES_MAX
    }

    fn held_bytes(&self) -> u64 {
        self.lanes.values().map(Lane::held_bytes).sum()
    }

    /// Begins a commit if one is due and none is under way, and moves one along whose lanes have all answered.
    fn begin_commit(&mut self) {
        self.crowded |= !self.may_commit() && self.held_bytes() >= self.settings.commit_size_bytes;
        if self.may_commit() && self.wants_commit() {
            self.commit_due = None;
            self.commit_began = Instant::now();
            self.answering.append(&mut self.flushes);
            let awaiting = self.lanes.iter_mut().filter_map(|(p, lane)| lane.seal().then_some(*p)).collect();
            self.stage = Stage::Sealing { awaiting, parts: Vec::new() };
        }
        match self.stage.write() {
            Some(parts) if parts.is_empty() => {
                self.stage = Stage::Idle;
                self.answer();
            }
            Some(parts) => self.write(parts),
            None => {}
        }
    }

    /// Whether a commit may begin: while one is being written the log is read on, and the next one waits.
    fn may_commit(&self) -> bool {
        self.stage.is_idle() && self.settling.has_room()
    }

    fn wants_commit(&self) -> bool {
        // Where there is nothing to commit, the answer says that all is through that was committed before, segments and all.
        let may_answer = self.waits_for_commit() || self.settling.is_idle();
        let asked = !self.flushes.is_empty() && self.stats.version.is_some() && may_answer;
        let due = self.stopping
            || self.commit_due.is_some_and(|at| at <= Instant::now())
            || self.held_bytes() >= self.settings.commit_size_bytes;
        asked || due && self.waits_for_commit()
    }

    fn waits_for_commit(&self) -> bool {
        self.lanes.values().any(Lane::is_unsealed)
    }

    /// Whether nothing is left to do when stopping.
    fn is_finished(&self) -> bool {
        let is_idle = self.stage.is_idle() && self.settling.is_idle();
        is_idle && !self.waits_for_commit() && !self.lanes.values().any(Lane::is_working)
    }

    fn publish(&mut self) {
        self.published.send_if_modified(|published| {
            let modified = *published != self.stats;
            if modified {
                published.clone_from(&self.stats);
            }
            modified
        });
    }

    /// Tells those that asked for the commit that is through.
    fn answer(&mut self) {
        self.publish();
        if let Some(version) = self.stats.version {
            // Whoever asked may have gone away.
            self.answering.drain(..).for_each(|answer| _ = answer.send(version));
        }
    }
}
