//! The tasks that the loop starts, and what it does with their outcomes.

use std::{sync::Arc, time::Duration};

use common::{
    feed::{Notice, Standing},
    limits::{LAG_INTERVAL, OUTBOX_NOTICES_MAX, TAIL_BACKLOG_BYTES_MAX, TAIL_TURN_BYTES},
    log::{self, Subscription},
    position::Version,
};
use tokio::{task, time::Instant};
use tracing::{debug, warn};

use super::{Stage, Worker};
use crate::{
    commit::{self, joined},
    error::Error,
    retry::Retry,
    start::Lag,
    stats::PartitionStats,
    tail::{Done, Job, Part, Start, Tail},
};

/// How a task ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A core did the jobs of a lane and gives the tail back.
    Worked { tail: Box<Tail>, done: Result<Vec<Done>, Error> },
    /// Positions were read.
    Located(Result<(Version, Vec<Start>), Error>),
    /// A commit was made, or not.
    Written(Result<commit::Outcome, Error>),
    /// The last steps of a commit are done.
    Settled,
    /// The lag was measured.
    Lag(Result<Lag, Error>),
}

impl Worker {
    /// Starts the work that can be started: lanes with jobs, partitions whose position is to be read.
    pub(super) fn launch(&mut self) {
        if let Some((commit, segment)) = self.settling.take() {
            let committer = self.committer.clone();
            self.tasks.spawn(async move {
                committer.settle(commit, segment).await;
                Outcome::Settled
            });
        }
        // However many partitions there are: when reading stops because too much waits, some of it is worth a core's while.
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX).max(1);
        let waiting_bytes_max = TAIL_BACKLOG_BYTES_MAX.min(self.settings.commit_size_bytes);
        let turn_bytes = TAIL_TURN_BYTES.min(waiting_bytes_max / 2 / lanes);
        for lane in self.lanes.values_mut() {
            if let Some((mut tail, jobs)) = lane.take_work(turn_bytes) {
                let (cores, retry) = (Arc::clone(&self.cores), self.settings.retry);
                self.tasks.spawn(async move {
                    if let Err(error) = prepare(&mut tail, &jobs, retry).await {
                        return Outcome::Worked { tail, done: Err(error) };
                    }
                    let permit = cores.acquire_owned().await.expect("the semaphore of cores is never closed");
                    joined(task::spawn_blocking(move || work(tail, jobs, permit)).await)
                });
            }
        }
        if self.stopping {
            return;
        }
        // While a part of the partition is being written its position may move at any moment; a reader started from the
        // old one would read for nothing and be fenced by its own commit.
        let mut fresh = Vec::new();
        for (partition, lane) in &mut self.lanes {
            if lane.is_unlocated() && !self.stage.is_writing(*partition) {
                lane.locate();
                fresh.push((*partition, lane.epoch()));
            }
        }
        if !fresh.is_empty() {
            let locator = self.locator.clone();
            self.tasks.spawn(async move { Outcome::Located(locator.locate(fresh).await) });
        }
    }

    pub(super) fn write(&mut self, parts: Vec<Part>) {
        let (committer, urgent) = (self.committer.clone(), std::mem::take(&mut self.crowded));
        self.tasks.spawn(async move { Outcome::Written(committer.commit(parts, urgent).await) });
    }

    pub(super) fn measure_lag(&mut self) {
        let started = self.lanes.iter().filter(|(_, lane)| lane.is_started());
        let next: Vec<_> = started.map(|(partition, lane)| (*partition, lane.next())).collect();
        if next.is_empty() {
            return;
        }
        let locator = self.locator.clone();
        self.tasks.spawn(async move { Outcome::Lag(locator.lag(next).await) });
    }

    /// Takes the outcome of a task.
    pub(super) async fn conclude(
        &mut self,
        outcome: Outcome,
        subscription: &mut dyn Subscription,
    ) -> Result<(), Error> {
        match outcome {
            Outcome::Worked { tail, done } => self.worked(tail, done)?,
            Outcome::Located(located) => {
                let (version, starts) = located?;
                self.stats.version = self.stats.version.max(Some(version));
                for start in starts {
                    self.start(start, subscription).await?;
                }
            }
            Outcome::Written(outcome) => self.written(outcome?),
            Outcome::Settled => self.settling.done(),
            Outcome::Lag(lag) => self.lag_measured(lag)?,
        }
        Ok(())
    }

    fn worked(&mut self, tail: Box<Tail>, done: Result<Vec<Done>, Error>) -> Result<(), Error> {
        let partition = tail.partition();
        // A tail of an earlier epoch was dropped while a core was at work on it.
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.epoch() == tail.epoch()) else {
            return Ok(());
        };
        let done = match done {
            Err(Error::Headless { .. }) => {
                debug!(%partition, "the first dead letter, reading again with headers");
                self.headers = true;
                self.assign(partition);
                return Ok(());
            }
            done => done?,
        };
        for done in done {
            match done {
                Done::Read { to, delivered, counts, newest_us } => {
                    self.stats.delivered += delivered;
                    self.stats.folded += counts;
                    let stats = self.stats.partitions.entry(partition).or_default();
                    stats.read = to;
                    stats.newest_us = stats.newest_us.max(newest_us);
                }
                Done::Delta(delta) => {
                    lane.tell(delta.range.to);
                    self.outbox.push(Notice::Delta(delta));
                }
                Done::Part(part) => self.stage.add(part),
            }
        }
        lane.rest(tail);
        Ok(())
    }

    /// Starts a partition whose position was read, if it still is this worker's.
    async fn start(&mut self, start: Start, subscription: &mut dyn Subscription) -> Result<(), Error> {
        let partition = start.partition;
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.epoch() == start.epoch) else {
            return Ok(());
        };
        let mut failures = self.settings.retry.failures();
        let headers = subscription.want_headers(self.headers);
        loop {
            match subscription.start(partition, start.next).await {
                Ok(()) => break,
                // Trimmed since the position was read: it has moved, or there is a gap.
                Err(error @ log::Error::OutOfRange { .. }) => {
                    self.start_failures.count("start where the log was just trimmed", error)?;
                    lane.unlocate();
                    return Ok(());
                }
                Err(error @ log::Error::Io { .. }) => failures.wait("start a partition", error).await?,
                Err(error) => return Err(error.into()),
            }
        }
        self.start_failures.reset();
        lane.start(Tail::new(&self.recipe, start, headers), start.committed, start.next);
        let stats = PartitionStats { read: start.next, committed: start.committed, newest_us: None };
        self.stats.partitions.insert(partition, stats);
        self.lag_due = Some(Instant::now());
        Ok(())
    }

    fn written(&mut self, outcome: commit::Outcome) {
        self.stage = Stage::Idle;
        for (partition, epoch) in outcome.fenced {
            self.stats.fences += 1;
            self.recipe.metrics.fenced();
            if self.lanes.get(&partition).is_some_and(|lane| lane.epoch() == epoch) {
                self.assign(partition);
            }
        }
        if let Some(made) = outcome.made {
            self.stats.commits += 1;
            self.recipe.metrics.committed(made.counts.records(), self.commit_began.elapsed());
            self.stats.committed += made.counts;
            self.stats.version = self.stats.version.max(Some(made.commit.version));
            for (partition, position) in &made.commit.positions {
                if let Some(stats) = self.stats.partitions.get_mut(partition) {
                    stats.committed = stats.committed.max(*position);
                }
            }
            self.outbox.push(Notice::Committed(self.committer.notice(&made)));
            self.settling.push(made.commit, made.segment);
        }
        self.answer();
    }

    fn lag_measured(&mut self, lag: Result<Lag, Error>) -> Result<(), Error> {
        self.lag_due = Some(Instant::now() + LAG_INTERVAL);
        match lag {
            Ok(lag) => {
                for (partition, records) in &lag.records {
                    // A partition that was revoked meanwhile is another's to tell of.
                    let Some(stats) = self.stats.partitions.get(partition) else { continue };
                    let age_us = stats.newest_us.map_or(0, |newest| self.clock.now_us().saturating_sub(newest));
                    let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0));
                    self.recipe.metrics.lag(*partition, *records, age);
                }
                self.stats.lag_records = Some(lag.records.values().sum());
                self.log_partitions = lag.partitions;
                self.tell_standing(&lag);
            }
            Err(error @ Error::OtherTopic { .. }) => return Err(error),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "lag not measured");
                let unknown = Lag { partitions: self.log_partitions, ..Lag::default() };
                self.tell_standing(&unknown);
            }
        }
        Ok(())
    }

    /// Tells how every partition stands, unless the listener is behind: the next time says more.
    fn tell_standing(&mut self, lag: &Lag) {
        if self.outbox.len() > OUTBOX_NOTICES_MAX / 2 || lag.partitions == 0 {
            return;
        }
        for (partition, lane) in self.lanes.iter().filter(|(_, lane)| lane.is_started()) {
            self.outbox.push(Notice::Standing(Standing {
                source: self.settings.source.clone(),
                partition: *partition,
                epoch: lane.epoch(),
                told: lane.told(),
                lag_records: lag.records.get(partition).copied(),
                partitions: lag.partitions,
            }));
        }
    }
}

/// Makes the tail ready for its jobs. No core is held meanwhile.
async fn prepare(tail: &mut Tail, jobs: &[Job], retry: Retry) -> Result<(), Error> {
    let mut failures = retry.failures();
    loop {
        match tail.prepare(jobs).await {
            Err(error) if error.is_transient() => failures.wait("learn a schema", error).await?,
            prepared => return Ok(prepared?),
        }
    }
}

fn work(mut tail: Box<Tail>, jobs: Vec<Job>, _permit: tokio::sync::OwnedSemaphorePermit) -> Outcome {
    let done = tail.work(jobs);
    Outcome::Worked { tail, done }
}
