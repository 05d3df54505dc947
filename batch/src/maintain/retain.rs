//! Retention: raw events that are older than their source keeps them go, and never before a generation covers them (L8).
//!
//! What goes are whole dates. Before their files leave the table, the events in them are folded into archives, a partial of
//! each view: archives and the raw events that are left are the whole history of a view, so a recompute still comes to the
//! same bytes. An archive is in the store before the commit that removes its files, and counts only with it: a kill in
//! between leaves an archive that nobody names. The files themselves stay until a vacuum.
//!
//! However much goes at once, an archive is made of a bounded number of events: so little is in memory while it is made, and
//! whenever it is read.
//!
//! Views whose history is older than they keep it are rolled up, or cut, in a generation that is made from the last one: so never
//! before a generation covers what goes, and in one step for whoever reads (L4). All later ones go on like that, late events included.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use common::{
    archive,
    dataset::{ArchiveId, DataFile, Dataset, Rewrite, Swap, Why},
    fold::Fold,
    generation::{self, Generation},
    history::Kept,
    limits::ARCHIVE_EVENTS_MAX,
    names::{SourceName, ViewName},
    pipeline::Source,
    view::View,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use tracing::{info, warn};

use crate::{Batch, Error, Watch, plan::group};

/// What retention did with one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Events of dates before this one are too old; `None` if the source keeps everything.
    pub before: Option<String>,
    /// Files that left the table.
    pub files_removed: u64,
    /// Events in them.
    pub events_removed: u64,
    /// Files that are too old and stay, because no generation covers them yet.
    pub files_not_covered: u64,
}

/// What retention did with the history of one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aged {
    /// How much of it is kept now.
    pub kept: Kept,
    /// Groups before and after.
    pub rows_before: u64,
    /// Groups after.
    pub rows: u64,
}

impl Batch {
    /// Removes what is too old from the datasets of all sources that say how long they keep it.
    ///
    /// # Errors
    /// [`Error::Dataset`], [`Error::Measure`], [`Error::Cancelled`]. What was done until then stays done.
    pub async fn retain(&self, watch: &Watch) -> Result<BTreeMap<SourceName, Retained>, Error> {
        let mut done = BTreeMap::new();
        for source in self.pipeline.sources.values() {
            let retained = match source.keep {
                Some(keep) => self.retain_source(source, keep, watch).await?,
                None => Retained::default(),
            };
            done.insert(source.name.clone(), retained);
        }
        Ok(done)
    }

    /// Rolls up or cuts the history of all views that say how long they keep it.
    ///
    /// # Errors
    /// See [`Error`]; nothing of it is visible then.
    pub async fn age_views(&self, watch: &Watch) -> Result<BTreeMap<ViewName, Aged>, Error> {
        let Some(newest) = generation::latest(&self.store).await? else { return Ok(BTreeMap::new()) };
        let (mut kept, mut aged) = (BTreeMap::new(), BTreeMap::new());
        for (name, history) in &self.pipeline.histories {
            let Some(view) = self.pipeline.views.get(name) else { continue };
            let Some(files) = newest.of(&view.id) else { continue };
            let now = files.kept.aged(view, history, self.clock.now_us());
            let rows = files.chunks.iter().map(|chunk| chunk.rows).sum();
            if now != files.kept {
                kept.insert(name.clone(), now.clone());
            }
            aged.insert(name.clone(), Aged { kept: now, rows_before: rows, rows });
        }
        if !kept.is_empty() {
            let report = self.age(&kept, newest, watch).await?;
            for (name, aged) in &mut aged {
                aged.rows = report.views.get(name).map_or(aged.rows, |view| view.rows);
            }
            info!(views = kept.len(), outcome = ?report.outcome, "history of views is kept as they say");
        }
        Ok(aged)
    }

    async fn retain_source(&self, source: &Source, keep: SignedDuration, watch: &Watch) -> Result<Retained, Error> {
        let before = first_date_kept(self.clock.now_us(), keep);
        let dataset = self.dataset(source).await?;
        let views = self.pipeline.views_of(&source.name);
        let head = dataset.snapshot().await?.version;
        let old = |file: &DataFile| file.date().is_some_and(|date| date < before.as_str());
        let files: Vec<DataFile> = dataset.files(head).await?.into_iter().filter(old).collect();
        let covered = covered(&dataset, generation::latest(&self.store).await?.as_ref(), source, &views).await?;
        let (removed, waiting): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| covered.contains(&file.path));
        let mut retained = Retained { files_not_covered: waiting.len() as u64, ..Retained::default() };
        if !waiting.is_empty() {
            warn!(source = %source.name, files = waiting.len(), "raw files are too old, and no generation covers them yet");
        }
        let archived = stream::iter(group(removed, ARCHIVE_EVENTS_MAX, |file| file.rows)).map(|files| async {
            let archive = self.archive(&dataset, &files, &views, watch).await?;
            Ok::<_, Error>((files, archive))
        });
        let mut archived = archived.buffered(self.engine.in_flight());
        while let Some((removed, archive)) = archived.try_next().await? {
            watch.check()?;
            let (files, events) = (removed.len() as u64, removed.iter().map(|file| file.rows).sum::<u64>());
            let swaps = vec![Swap { removed, added: Vec::new() }];
            let rewrite = Rewrite { why: Why::Retention, swaps, archive: Some(archive) };
            if dataset.rewrite(rewrite).await?.is_some() {
                retained.files_removed += files;
                retained.events_removed += events;
            }
        }
        let Retained { files_removed: files, events_removed: events, .. } = retained;
        if files > 0 {
            info!(source = %source.name, before, files, events, "retention removed raw events");
        }
        retained.before = Some(before);
        Ok(retained)
    }

    /// Writes the partials of the events in `files`.
    async fn archive(
        &self,
        dataset: &Dataset,
        files: &[DataFile],
        views: &[Arc<View>],
        watch: &Watch,
    ) -> Result<ArchiveId, Error> {
        let id = ArchiveId::fresh();
        let mut fold = Fold::new(views);
        let columns = fold.columns();
        for file in files {
            watch.check()?;
            let mut events = dataset.events(file, &columns).await?;
            while let Some(group) = events.next().await? {
                let folding = move || {
                    for batch in group {
                        fold.fold(&batch?)?;
                    }
                    Ok::<_, Error>(fold)
                };
                fold = self.engine.run(folding).await?;
            }
        }
        let partials = self.engine.run(move || fold.take()).await?;
        for (view, partial) in views.iter().zip(&partials) {
            archive::write(&self.store, id, view, partial).await?;
        }
        Ok(id)
    }
}

/// The first UTC date of which events are kept: those of the whole day that is `keep` ago are.
fn first_date_kept(now_us: i64, keep: SignedDuration) -> String {
    let keep_us = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_microsecond(now_us.saturating_sub(keep_us)).unwrap_or(Timestamp::MIN);
    since.to_zoned(TimeZone::UTC).date().to_string()
}

/// The files that `generation` covers with all of `views`; none if it lacks one in its present definition, since that view
/// is yet to be computed from raw files.
async fn covered(
    dataset: &Dataset,
    generation: Option<&Generation>,
    source: &Source,
    views: &[Arc<View>],
) -> Result<BTreeSet<object_store::path::Path>, Error> {
    let Some(generation) = generation else { return Ok(BTreeSet::new()) };
    let has = |view: &Arc<View>| generation.of(&view.id).is_some();
    let mark = generation.marks.get(&source.name).filter(|_| views.iter().all(has));
    let Some(mark) = mark else { return Ok(BTreeSet::new()) };
    Ok(dataset.files(mark.version).await?.into_iter().map(|file| file.path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_are_kept() {
        let noon_us = 1_357_560_000_000_000; // 2013-01-07T12:00:00Z
        assert_eq!(first_date_kept(noon_us, SignedDuration::from_hours(24)), "2013-01-06");
        assert_eq!(first_date_kept(noon_us, SignedDuration::from_hours(13)), "2013-01-06");
        assert_eq!(first_date_kept(noon_us, SignedDuration::from_hours(1)), "2013-01-07");
        assert!(first_date_kept(noon_us, SignedDuration::MAX).starts_with('-'));
    }
}
