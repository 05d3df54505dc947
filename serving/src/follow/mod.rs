//! The follower: the one task that keeps what is served up to date. It catches up from the store, then listens to the
//! feed, or polls the datasets where there is none; it looks for new generations, reads them beside what is served, and
//! shows each in one step (L4). It writes nothing.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use common::{
    clock::Clock,
    dataset::Dataset,
    feed::{CommitNotice, Heard, Listener, Notice},
    gap,
    generation::{self, Generation},
    limits::{FEED_NOTICES_MAX, VERDICT_INTERVAL},
    names::SourceName,
    position::Version,
    store::Store,
    telemetry, verdict,
};
use tokio::{
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod load;
#[cfg(test)]
mod tests;
mod voices;

use voices::Voices;

use crate::{
    Served,
    chunks::{self, Cache},
    tiers::{Change, Feed, Loaded, Segmented, Tiers},
};

/// Why the follower stopped. What was served last is still right, but will not move any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A dataset failed.
    #[error(transparent)]
    Dataset(#[from] common::dataset::Error),
    /// A segment could not be had.
    #[error(transparent)]
    Segment(#[from] common::segment::Error),
    /// Partials do not merge.
    #[error(transparent)]
    Measure(#[from] common::measure::Error),
    /// A generation could not be read.
    #[error(transparent)]
    Generation(#[from] generation::Error),
    /// A dataset ends before a version that was there: it was replaced, or a generation is of another store.
    #[error("version {known} of dataset {source_name} was covered or committed, but it now ends at {head}")]
    Behind {
        /// The source.
        source_name: SourceName,
        /// The version known of.
        known: Version,
        /// The dataset's head.
        head: Version,
    },
    /// Recorded gaps could not be read.
    #[error(transparent)]
    Store(#[from] common::store::Error),
    /// A task of ours panicked.
    #[error("a task of the follower panicked")]
    Panicked(#[from] JoinError),
}

impl From<chunks::Error> for Error {
    fn from(error: chunks::Error) -> Self {
        match error {
            chunks::Error::Generation(error) => Self::Generation(error),
            chunks::Error::Measure(error) => Self::Measure(error),
            chunks::Error::Directory { .. } => unreachable!("the directory is opened before anything is followed"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    /// Where segments and generations are.
    pub store: Store,
    /// Where chunks of generations are kept, if not in memory.
    pub cache: Option<Arc<Cache>>,
    /// The dataset of every source that has views.
    pub datasets: BTreeMap<SourceName, Dataset>,
    /// What is kept up to date.
    pub served: Arc<Served>,
    /// The feed, where this process has one.
    pub feed: Option<Listener>,
    /// How old records are when answers show them.
    pub clock: Arc<dyn Clock>,
    /// What is measured.
    pub metrics: telemetry::Serving,
    /// How often to look for a new generation and for recorded gaps; and for new commits where there is no feed, or it leaves
    /// something out. Each look is one LIST of `generations/`, one of each source's `gaps/` and one of each dataset's log: at one a
    /// second about 13 $ a month each on S3.
    pub poll_interval: Duration,
}

impl Follower {
    /// Follows until `stop`.
    ///
    /// # Errors
    /// See [`Error`]. The caller stops the process then: what is served would only grow older.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            result = self.follow() => result,
            () = stop.cancelled() => Ok(()),
        }
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let mut tiers = self.catch_up().await?;
        let mut generations = Generations::default();
        let mut warming = JoinSet::new();
        if let Some(cache) = &self.cache {
            warming.spawn(load::warm(Arc::clone(cache), Arc::clone(&tiers)));
        }
        let mut polls = interval(self.poll_interval);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut verdicts = interval(VERDICT_INTERVAL);
        verdicts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Vec::with_capacity(FEED_NOTICES_MAX);
        let mut voices = Voices::default();
        let mut arrived = Arrived::default();
        loop {
            let before = Arc::clone(&tiers);
            tokio::select! {
                count = hear(self.feed.as_mut(), &mut heard) => {
                    arrived.take(&heard);
                    let changes = self.changes(&tiers, &mut heard, &mut voices, count == 0).await?;
                    tiers = apply(tiers, changes).await?;
                }
                _ = polls.tick() => {
                    if let Some(cache) = &self.cache {
                        cache.sweep();
                    }
                    generations.look(self, &tiers);
                    tiers = apply(tiers.clone(), self.new_gaps(&tiers).await?).await?;
                    // A writer that died before it told of its commit, or was fenced by it, leaves its successor's deltas
                    // without what comes before them.
                    if self.feed.is_none() || tiers.sources().any(|(_, source)| source.lacks()) {
                        let changes = self.new_commits(&tiers).await?;
                        tiers = apply(tiers, changes).await?;
                    }
                }
                _ = verdicts.tick() => self.served.judge(verdict::latest(&self.store).await?),
                Some(read) = generations.reading.join_next() => generations.waiting = read??,
                Some(warmed) = warming.join_next() => warmed??,
            }
            if let Some(feed) = &self.feed {
                let changes = voices.changes(&tiers, feed.is_lossy());
                tiers = apply(tiers, changes).await?;
            }
            tiers = self.swap(tiers, &mut generations).await?;
            if !Arc::ptr_eq(&before, &tiers) {
                self.served.show(Arc::clone(&tiers));
                self.metrics.generation(tiers.generation().map_or(0, |g| g.number));
                arrived.shown(self);
            }
        }
    }

    /// Reads everything that is durable: the newest generation, and all commits since.
    async fn catch_up(&self) -> Result<Arc<Tiers>, Error> {
        let feed = match &self.feed {
            None => Feed::Absent,
            Some(feed) if feed.is_lossy() => Feed::Behind,
            Some(_) => Feed::Silent,
        };
        let mut tiers = Arc::new(Tiers::new(self.served.views().values(), feed));
        let starting_at = |newest: &Generation| Arc::new((*tiers).clone().starting_at(&newest.marks));
        if let Some((started, loaded)) =
            load::newest(&self.store, self.cache.as_ref(), &self.datasets, 0, starting_at).await?
        {
            tiers = apply(started, vec![Change::Generation(loaded)]).await?;
        }
        let changes = self.new_commits(&tiers).await?;
        tiers = apply(tiers, changes).await?;
        let changes = self.new_gaps(&tiers).await?;
        tiers = apply(tiers, changes).await?;
        self.served.show(Arc::clone(&tiers));
        for (source, of_source) in tiers.sources() {
            info!(%source, head = %of_source.head(), "caught up");
        }
        Ok(tiers)
    }

    /// Gaps that were recorded since.
    async fn new_gaps(&self, tiers: &Tiers) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for (name, source) in tiers.sources() {
            let gaps = gap::read(&self.store, name).await?;
            if gaps != source.gaps() {
                changes.push(Change::Gaps(name.clone(), gaps));
            }
        }
        Ok(changes)
    }

    /// What was heard changes, and that the feed has ended, if it has. Commits that no notice told of are read.
    async fn changes(
        &mut self,
        tiers: &Tiers,
        heard: &mut Vec<Heard>,
        voices: &mut Voices,
        ended: bool,
    ) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::with_capacity(heard.len());
        let mut known: BTreeMap<SourceName, Version> =
            tiers.sources().map(|(name, tiers)| (name.clone(), tiers.known())).collect();
        for heard in heard.drain(..) {
            let Heard::Notice(notice) = heard else {
                changes.push(Change::UpToDate);
                continue;
            };
            voices.note(&notice);
            match notice {
                Notice::Delta(delta) => changes.push(Change::Delta(delta)),
                Notice::Standing(standing) => {
                    let known = tiers.source(&standing.source).and_then(|of| of.standing_of(standing.partition));
                    if known != Some(&standing) {
                        changes.push(Change::Standing(standing));
                    }
                }
                Notice::Committed(notice) => {
                    let Some(known) = known.get_mut(&notice.source) else { continue };
                    if notice.version > known.next() {
                        changes.extend(self.commits(&notice.source, *known, Version(notice.version.0 - 1)).await?);
                    }
                    *known = notice.version.max(*known);
                    changes.push(committed(notice));
                }
            }
        }
        if ended {
            warn!("the live feed has ended, following the datasets instead");
            self.feed = None;
            changes.push(Change::FeedEnded);
        }
        Ok(changes)
    }

    /// The commits made since the newest that is known.
    async fn new_commits(&self, tiers: &Tiers) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for (source, of_source) in tiers.sources() {
            let Some(dataset) = self.datasets.get(source) else { continue };
            let (known, head) = (of_source.known(), dataset.snapshot().await?.version);
            if head < known {
                return Err(Error::Behind { source_name: source.clone(), known, head });
            }
            changes.extend(self.commits(source, known, head).await?);
        }
        Ok(changes)
    }

    /// The commits of `source` in `(after, up_to]`.
    async fn commits(&self, source: &SourceName, after: Version, up_to: Version) -> Result<Vec<Change>, Error> {
        let Some(dataset) = self.datasets.get(source) else { return Ok(Vec::new()) };
        let views: Vec<_> = self.served.views().values().filter(|v| &v.source == source).cloned().collect();
        let commits = load::commits(&self.store, dataset, &views, after, up_to).await?;
        Ok(commits.into_iter().map(|commit| Change::Commit(source.clone(), commit)).collect())
    }

    /// Shows the generation that was read, once every head has reached its mark.
    async fn swap(&self, mut tiers: Arc<Tiers>, generations: &mut Generations) -> Result<Arc<Tiers>, Error> {
        let Some(loaded) = generations.waiting.take() else { return Ok(tiers) };
        // The batch layer may have read commits that no notice has told of yet.
        for (source, mark) in &loaded.generation.marks {
            let Some(of_source) = tiers.source(source) else { continue };
            let changes = self.commits(source, of_source.known(), mark.version).await?;
            tiers = apply(tiers, changes).await?;
        }
        if !tiers.reaches(&loaded) {
            generations.waiting = Some(loaded);
            return Ok(tiers);
        }
        let number = loaded.generation.number;
        let tiers = apply(tiers, vec![Change::Generation(loaded)]).await?;
        info!(generation = number, "generation shown");
        Ok(tiers)
    }
}

/// The time stamp of the oldest record of each delta that answers do not show yet.
#[derive(Debug, Default)]
struct Arrived(Vec<(SourceName, i64)>);

impl Arrived {
    fn take(&mut self, heard: &[Heard]) {
        let deltas = heard.iter().filter_map(|heard| match heard {
            Heard::Notice(Notice::Delta(delta)) => Some((delta.source.clone(), delta.oldest_us?)),
            _ => None,
        });
        self.0.extend(deltas);
    }

    fn shown(&mut self, follower: &Follower) {
        let now_us = follower.clock.now_us();
        for (source, oldest_us) in mem::take(&mut self.0) {
            let age_us = u64::try_from(now_us.saturating_sub(oldest_us)).unwrap_or(0);
            follower.metrics.visible(&source, Duration::from_micros(age_us));
        }
    }
}

/// A new generation on its way: at most one at a time.
#[derive(Debug, Default)]
struct Generations {
    reading: JoinSet<Result<Option<Loaded>, Error>>,
    waiting: Option<Loaded>,
}

impl Generations {
    /// Looks for a generation newer than the one shown, and reads it, beside the loop; unless one is on its way.
    fn look(&mut self, follower: &Follower, tiers: &Arc<Tiers>) {
        if !self.reading.is_empty() || self.waiting.is_some() {
            return;
        }
        let (store, datasets, tiers) = (follower.store.clone(), follower.datasets.clone(), Arc::clone(tiers));
        let cache = follower.cache.clone();
        self.reading.spawn(async move {
            let shown = tiers.generation().map_or(0, |g| g.number);
            let read = load::newest(&store, cache.as_ref(), &datasets, shown, |_| Arc::clone(&tiers)).await?;
            Ok(read.map(|(_, loaded)| loaded))
        });
    }
}

fn committed(notice: CommitNotice) -> Change {
    let CommitNotice { source, version, positions, segment } = notice;
    Change::Commit(source, Segmented { version, positions, segment })
}

/// Waits for what is to be heard; 0 when the feed has ended. Never returns without a feed.
async fn hear(feed: Option<&mut Listener>, heard: &mut Vec<Heard>) -> usize {
    match feed {
        Some(feed) => feed.hear(heard).await,
        None => std::future::pending().await,
    }
}

/// The tiers after `changes`, made on the blocking pool: merging states is CPU work.
async fn apply(tiers: Arc<Tiers>, changes: Vec<Change>) -> Result<Arc<Tiers>, Error> {
    if changes.is_empty() {
        return Ok(tiers);
    }
    let made = tokio::task::spawn_blocking(move || {
        changes.into_iter().try_fold(Arc::unwrap_or_clone(tiers), |tiers, change| tiers.apply(change))
    });
    Ok(Arc::new(made.await??))
}
