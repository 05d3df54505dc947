//! The schedule of the batch layer in a process that runs: advances, compactions and clean-ups again and again; recomputes and audits by
//! the clock.
//!
//! Each job goes its own way: none waits for another. A turn that fails is tried again at the next one: what is published stays true
//! meanwhile. A turn that finds another process at the same work leaves it to that.

use std::{fmt, sync::Arc, time::Duration};

use batch::{
    Batch, Error, Request, Scope, Watch,
    lease::{Lease, Owner},
};
use common::{clock::Timer, pipeline::Cron};
use serving::Served;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::job::{
    audit::{self, Asked},
    leased,
};

/// How long a turn by the clock is waited for at once: a machine that slept, or whose clock was set, is noticed after it.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Time between two looks for small files: a listing of the files of each dataset.
const COMPACT_EVERY: Duration = Duration::from_secs(600);

/// Time between two clean-ups.
const CLEAN_EVERY: Duration = Duration::from_secs(6 * 3600);

/// What is done by the clock. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) batch: Batch,
    /// Whose answers are audited.
    pub(crate) served: Arc<Served>,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Advance,
    /// Puts the small files of a date together where there are `batch.compact_from` of them or more.
    Compact,
    /// Removes raw events and history that are too old, and what nothing needs any more.
    Clean,
    Recompute,
    Audit,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advance => "advance",
            Self::Compact => "compact",
            Self::Clean => "clean",
            Self::Recompute => "recompute",
            Self::Audit => "audit",
        })
    }
}

/// When a job has its turns.
#[derive(Debug, Clone)]
enum When {
    /// So long after the last one began, the first so long after the start; at once if that one took longer.
    Every(Duration),
    /// When the expression says, by the clock of `batch.timezone`.
    By(Box<Cron>),
}

impl Schedule {
    /// Has every job wait for its turns, until the stop.
    pub(crate) fn start(self, tasks: &mut JoinSet<anyhow::Result<()>>) {
        for (job, when) in self.jobs() {
            let schedule = self.clone();
            tasks.spawn(async move {
                match when {
                    When::Every(time) => schedule.again(job, time).await,
                    When::By(cron) => schedule.by(job, &cron).await,
                }
                Ok(())
            });
        }
    }

    fn jobs(&self) -> Vec<(Job, When)> {
        let settings = &self.batch.pipeline.batch;
        let mut jobs = vec![
            (Job::Advance, When::Every(settings.advance_every.unsigned_abs())),
            (Job::Compact, When::Every(COMPACT_EVERY)),
            (Job::Clean, When::Every(CLEAN_EVERY)),
        ];
        let by_cron = [(Job::Recompute, &settings.recompute), (Job::Audit, &settings.audit)];
        jobs.extend(by_cron.into_iter().filter_map(|(job, cron)| Some((job, When::By(Box::new(cron.clone()?))))));
        jobs
    }

    async fn again(&self, job: Job, every: Duration) {
        let mut next = self.timer.sleep(every);
        loop {
            tokio::select! {
                () = next => {}
                () = self.stop.cancelled() => return,
            }
            next = self.timer.sleep(every);
            self.turn(job).await;
        }
    }

    async fn by(&self, job: Job, cron: &Cron) {
        while self.is_due(cron).await {
            self.turn(job).await;
        }
    }

    /// Waits for the next time of `cron`. False if it is over: stopped, or an expression that names no further time.
    async fn is_due(&self, cron: &Cron) -> bool {
        let next_us = self.batch.pipeline.batch.next_us(cron, self.timer.now_us());
        let Some(due_us) = next_us else { return false };
        loop {
            let left_us = u64::try_from(due_us - self.timer.now_us()).unwrap_or(0);
            if left_us == 0 {
                return true;
            }
            tokio::select! {
                () = self.timer.sleep(Duration::from_micros(left_us).min(WAIT_MAX)) => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// One turn, or a line about why it did not go well.
    async fn turn(&self, job: Job) {
        match self.work(job).await {
            Ok(()) | Err(Error::Cancelled) => {}
            Err(Error::Busy { host, pid, .. }) => info!(%job, host, pid, "another process is at it"),
            Err(error) if error.is_transient() => {
                let error = &error as &dyn std::error::Error;
                warn!(%job, error, "the store failed, the next turn tries again");
            }
            Err(error) => error!(%job, error = &error as &dyn std::error::Error, "failed, the next turn tries again"),
        }
    }

    async fn work(&self, job: Job) -> Result<(), Error> {
        let watch = Watch { cancel: self.stop.clone(), ..Watch::default() };
        match job {
            Job::Advance => leased(&self.batch, &Request::Advance, &watch).await.map(drop),
            Job::Recompute => leased(&self.batch, &Request::Recompute(Scope::default()), &watch).await.map(drop),
            Job::Compact => self.compact(job, watch).await,
            Job::Clean => self.clean(job, watch).await,
            Job::Audit => self.audit(&watch).await,
        }
    }

    async fn compact(&self, job: Job, watch: Watch) -> Result<(), Error> {
        let least = usize::try_from(self.batch.pipeline.batch.compact_from).unwrap_or(usize::MAX);
        let (lease, watch) = self.lease(job, watch).await?;
        lease.during(&watch.cancel, self.batch.compact(least, &watch)).await.map(drop)
    }

    async fn clean(&self, job: Job, watch: Watch) -> Result<(), Error> {
        let (lease, watch) = self.lease(job, watch).await?;
        let work = async {
            // One that fails does not keep the others from their work.
            let retained = self.batch.retain(&watch).await.map(drop);
            let aged = self.batch.age_views(&watch).await.map(drop);
            let kept = self.batch.pipeline.batch.leftovers_kept.unsigned_abs();
            let vacuumed = self.batch.vacuum(kept).await.map(drop);
            retained.and(aged).and(vacuumed)
        };
        lease.during(&watch.cancel, work).await
    }

    async fn audit(&self, watch: &Watch) -> Result<(), Error> {
        let asked = Asked::Here(Arc::clone(&self.served));
        let report = audit::audit(&self.batch, &Scope::default(), &asked, watch).await?;
        let views = report.views.iter().filter(|(_, view)| !view.is_equal());
        for (view, audit) in views {
            error!(%view, differences = audit.differences, "answers differ from the raw files");
        }
        info!(equal = report.equal, "audit ended");
        Ok(())
    }

    /// The lease of `job`, and who watches the work under it: of its own, so that a lost lease ends this turn only.
    async fn lease(&self, job: Job, watch: Watch) -> Result<(Lease, Watch), Error> {
        let lease = Lease::take(&self.batch.store, &self.batch.clock, &job.to_string(), Owner::this_process()).await?;
        Ok((lease, Watch { cancel: watch.cancel.child_token(), ..watch }))
    }
}

#[cfg(test)]
mod tests;
