//! The schedule of the batch layer in a process that runs: advances, compactions and clean-ups again and again; recomputes and audits by
//! the clock.
//!
//! A turn that fails is tried again at the next one: what is published stays true meanwhile. A turn that finds another process
//! at the same work leaves it to that.

use std::{sync::Arc, time::Duration};

use batch::{
    Batch, Error, Request, Scope, Watch,
    lease::{Lease, Owner},
};
use common::pipeline;
use serving::Served;
use tokio::time::MissedTickBehavior;
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

/// Advances every `batch.advance_every`, until `stop`.
pub(crate) async fn advances(batch: Batch, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.clone(), ..Watch::default() };
    let mut turns = turns(batch.pipeline.batch.advance_every.unsigned_abs());
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        told("advance", leased(&batch, &Request::Advance, &watch).await);
    }
}

/// Puts the small files of a date together where there are `batch.compact_from` of them or more, until `stop`.
pub(crate) async fn compactions(batch: Batch, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.clone(), ..Watch::default() };
    let mut turns = turns(COMPACT_EVERY);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        told("compact", compacted(&batch, &watch).await);
    }
}

/// One look for small files, while no other process does the like.
async fn compacted(batch: &Batch, watch: &Watch) -> Result<(), Error> {
    let lease = Lease::take(&batch.store, &batch.clock, "compact", Owner::this_process()).await?;
    let watch = Watch { cancel: watch.cancel.child_token(), ..watch.clone() };
    let least = usize::try_from(batch.pipeline.batch.compact_from).unwrap_or(usize::MAX);
    lease.during(&watch.cancel, batch.compact(least, &watch)).await.map(drop)
}

/// Removes raw events that are too old, and what nothing needs any more, until `stop`.
pub(crate) async fn cleaning(batch: Batch, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.clone(), ..Watch::default() };
    let mut turns = turns(CLEAN_EVERY);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        told("retain", batch.retain(&watch).await);
        told("retain views", batch.age_views(&watch).await);
        told("vacuum", batch.vacuum(batch.pipeline.batch.leftovers_kept.unsigned_abs()).await);
    }
}

/// Recomputes when `batch.recompute` says, until `stop`.
pub(crate) async fn recomputes(batch: Batch, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.clone(), ..Watch::default() };
    let Some(cron) = batch.pipeline.batch.recompute.clone() else { return Ok(()) };
    while due(&batch, &cron, &stop).await {
        told("recompute", leased(&batch, &Request::Recompute(Scope::default()), &watch).await);
    }
    Ok(())
}

/// Audits what `served` answers when `batch.audit` says, until `stop`.
pub(crate) async fn audits(batch: Batch, served: Arc<Served>, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.clone(), ..Watch::default() };
    let Some(cron) = batch.pipeline.batch.audit.clone() else { return Ok(()) };
    while due(&batch, &cron, &stop).await {
        let asked = Asked::Here(Arc::clone(&served));
        if let Some(report) = told("audit", audit::audit(&batch, &Scope::default(), &asked, &watch).await) {
            let views = report.views.iter().filter(|(_, view)| !view.is_equal());
            for (view, audit) in views {
                error!(%view, differences = audit.differences, "answers differ from the raw files");
            }
            info!(equal = report.equal, "audit ended");
        }
    }
    Ok(())
}

fn turns(every: Duration) -> tokio::time::Interval {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.reset();
    turns
}

/// Waits for the next time of `cron`. False if it is over: stopped, or an expression that names no further time.
async fn due(batch: &Batch, cron: &pipeline::Cron, stop: &CancellationToken) -> bool {
    let Some(due_us) = batch.pipeline.batch.next_us(cron, batch.clock.now_us()) else { return false };
    loop {
        let left_us = u64::try_from(due_us - batch.clock.now_us()).unwrap_or(0);
        if left_us == 0 {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_micros(left_us).min(WAIT_MAX)) => {}
            () = stop.cancelled() => return false,
        }
    }
}

/// What a turn came to, or a line about why it did not.
fn told<T>(job: &str, ended: Result<T, Error>) -> Option<T> {
    match ended {
        Ok(done) => return Some(done),
        Err(Error::Cancelled) => {}
        Err(Error::Busy { host, pid, .. }) => info!(job, host, pid, "another process is at it"),
        Err(error) if error.is_transient() => {
            warn!(job, error = &error as &dyn std::error::Error, "the store failed, the next turn tries again");
        }
        Err(error) => error!(job, error = &error as &dyn std::error::Error, "failed, the next turn tries again"),
    }
    None
}
