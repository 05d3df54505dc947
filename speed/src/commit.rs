//! One commit: what the lanes have sealed becomes durable, positions and events in one step (L2).
//!
//! The steps, and what a `kill -9` before, within or after each leaves behind:
//!
//! 1. **Dead letters** are written to the store. Killed here, the dataset's positions have not moved: the next start reads
//!    the same records again and writes the same letters again. Readers of dead letters tell them apart by partition and
//!    offset and leave out those that the positions have not reached, so none shows twice or too early. They come first
//!    because letters written after the positions moved could be lost (L7).
//! 2. **[`Dataset::append`](common::dataset::Dataset::append)** writes the event files and then makes one table commit
//!    with the files, the positions and the counts. Killed before the table commit, the files belong to no version and
//!    nobody sees them: everything is read again. Killed after it, everything counts and the next start reads on from the
//!    new positions. There is nothing in between.
//! 3. The **[`CommitNotice`]** goes out on the live feed. Killed before it, the listener learns of the version from the
//!    dataset, as after every start: the tails it held were never durable and are built anew (L5).
//! 4. **Segments** are written. Killed before or within, the missing ones are folded from the commit's files by whoever needs
//!    them. For the same reason a failure is a warning only.
//! 5. The **log is trimmed** up to the positions that the table commit made durable, and never before it. Killed before it,
//!    the log keeps a little too much until the next start ([`crate::start`]) or commit trims it.
//!
//! An append whose answer is lost may have been made all the same. It is tried again, finds the positions moved, and is
//! fenced like any other latecomer (L3): the partitions are read anew from where they stand. So nothing is doubled.

use std::{collections::BTreeSet, sync::Arc};

use arrow::record_batch::RecordBatch;
use common::{
    dataset::{self, Append, Commit},
    dead_letter,
    event::Counts,
    feed::CommitNotice,
    measure,
    names::SourceName,
    partial,
    position::Partition,
    segment,
    store::Store,
    view::View,
};
use tokio::{sync::Semaphore, task};
use tracing::{info, instrument, warn};

use crate::{error::Error, retry::is_transient, start::Locator, tail::Part};

/// Makes the commits of one source.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    pub(crate) source: SourceName,
    pub(crate) views: Arc<[Arc<View>]>,
    pub(crate) store: Store,
    pub(crate) cores: Arc<Semaphore>,
    /// Knows the log, the dataset, and how patient to be with them.
    pub(crate) locator: Locator,
}

/// What became of the parts given to a commit.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was committed; `None` if every part was fenced.
    pub(crate) made: Option<Made>,
    /// The partitions (with the epoch of their part) that another worker has committed since: their parts are dropped, and
    /// their positions have to be read anew (L3).
    pub(crate) fenced: Vec<(Partition, u64)>,
}

/// A commit that is durable.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) commit: Commit,
    pub(crate) counts: Counts,
    /// The segment: one partial a view, in the order of the views, maybe of no rows.
    pub(crate) segment: Vec<RecordBatch>,
}

impl Committer {
    /// Steps 1 and 2: makes `parts` durable, all but the fenced ones in one commit. Done when it is durable. It is `urgent` if the next
    /// one waits for it.
    ///
    /// # Errors
    /// [`Error::DeadLetters`], [`Error::Dataset`] when no try is left: no part counts as committed. [`Error::Segment`].
    #[instrument(name = "commit", skip_all, fields(source = %self.source))]
    pub(crate) async fn commit(&self, mut parts: Vec<Part>, urgent: bool) -> Result<Outcome, Error> {
        self.write_dead_letters(&parts).await?;
        let mut failures = self.locator.retry.failures();
        let mut fenced = Vec::new();
        while !parts.is_empty() {
            match self.locator.dataset.append_or_hurry(append(&parts), urgent).await {
                Ok(commit) => return Ok(Outcome { made: Some(self.made(commit, parts).await?), fenced }),
                Err(dataset::Error::Fenced { partition, expected, actual }) => {
                    warn!(source = %self.source, %partition, %expected, ?actual, "fenced, another worker has committed");
                    let moved = self.moved(&parts, partition).await?;
                    let (lost, kept) = parts.into_iter().partition(|part| moved.contains(&part.partition));
                    let lost: Vec<Part> = lost;
                    fenced.extend(lost.iter().map(|part| (part.partition, part.epoch)));
                    parts = kept;
                }
                Err(error) if is_transient(&error) => failures.wait("append to the dataset", error).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Outcome { made: None, fenced })
    }

    async fn write_dead_letters(&self, parts: &[Part]) -> Result<(), Error> {
        for part in parts.iter().filter(|part| !part.dead_letters.is_empty()) {
            let mut failures = self.locator.retry.failures();
            while let Err(error) = dead_letter::write(&self.store, &self.source, &part.dead_letters).await {
                failures.wait("write dead letters", error).await?;
            }
        }
        Ok(())
    }

    /// The partitions of `parts` whose position is not what their part starts from; `named` is one in any case, so that
    /// every fence takes at least one part away and the commit comes to an end.
    async fn moved(&self, parts: &[Part], named: Partition) -> Result<BTreeSet<Partition>, Error> {
        let positions = self.locator.snapshot().await?.positions;
        let moved = |part: &&Part| positions.get(&part.partition).copied().unwrap_or_default() != part.range.from;
        Ok(parts.iter().filter(moved).map(|part| part.partition).chain([named]).collect())
    }

    async fn made(&self, commit: Commit, parts: Vec<Part>) -> Result<Made, Error> {
        let mut counts = Counts::default();
        for part in &parts {
            counts += part.counts;
        }
        let views = Arc::clone(&self.views);
        let permit = Arc::clone(&self.cores).acquire_owned().await.expect("the semaphore of cores is never closed");
        let merged = task::spawn_blocking(move || {
            let _permit = permit;
            merge(&views, &parts)
        });
        let segment = joined(merged.await).map_err(Error::Segment)?;
        info!(source = %self.source, version = %commit.version, ?counts, "committed");
        Ok(Made { commit, counts, segment })
    }

    /// Steps 4 and 5, after the notice: writes the segments and trims the log. Failures are only warnings.
    pub(crate) async fn settle(&self, commit: Commit, segment: Vec<RecordBatch>) {
        // A commit of no files has empty segments, which nobody reads.
        let segment = if commit.files.is_empty() { Vec::new() } else { segment };
        for (view, partial) in self.views.iter().zip(&segment) {
            if let Err(error) = segment::write(&self.store, &self.source, commit.version, view, partial).await {
                let error = &error as &dyn std::error::Error;
                warn!(version = %commit.version, view = %view.name, error, "segment not written, its readers will fold it");
            }
        }
        for (partition, position) in &commit.positions {
            if let Err(error) = self.locator.log.trim(*partition, *position).await {
                let error = &error as &dyn std::error::Error;
                warn!(%partition, error, "log was not trimmed, the next commit will do it");
            }
        }
    }

    /// What a listener is told of a commit.
    pub(crate) fn notice(&self, made: &Made) -> CommitNotice {
        let ids = self.views.iter().map(|view| view.id.clone());
        let segment = ids.zip(made.segment.iter().cloned()).filter(|(_, partial)| partial.num_rows() > 0).collect();
        CommitNotice {
            source: self.source.clone(),
            version: made.commit.version,
            positions: made.commit.positions.clone(),
            segment,
        }
    }
}

fn append(parts: &[Part]) -> Append {
    Append {
        events: parts.iter().flat_map(|part| part.events.iter().cloned()).collect(),
        partitions: parts.iter().map(|part| (part.partition, (part.range, part.counts))).collect(),
    }
}

/// The segment of a commit: the deltas of all its parts merged, one partial a view (L1 makes it equal the fold of the
/// commit's files).
fn merge(views: &[Arc<View>], parts: &[Part]) -> Result<Vec<RecordBatch>, measure::Error> {
    let of = |view: &Arc<View>| {
        let deltas = parts.iter().flat_map(|part| &part.partials);
        partial::merge(view, deltas.filter(|(id, _)| *id == view.id).map(|(_, partial)| partial))
    };
    views.iter().map(of).collect()
}

/// The result of a task that is never cancelled on its own; a panic in it is a panic here.
pub(crate) fn joined<T>(result: Result<T, task::JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
