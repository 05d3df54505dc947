//! An audit of what is answered, over a range: asks, computes the same from raw files in two other ways, and compares.
//!
//! An answer says up to which position of each partition it sees; both ways count just the events before these, whether the
//! dataset has gone on or has yet to get there. So answers that are still moving are audited to the last event.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use common::{
    dataset::{DataFile, Dataset, Snapshot},
    fold::Fold,
    generation,
    names::ViewName,
    pipeline::Source,
    position::{Partition, Position, Positions, Version},
    schema::{OFFSET, PARTITION},
    view::View,
};
use futures::future::BoxFuture;

use super::{AuditReport, Cell, ViewAudit, compare, raw, report::Whence, window::windows};
use crate::{Batch, Error, Phase, Scope, Watch, dates, history, progress::Counter, scope::first_bucket};

/// What was answered for some buckets of a view.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The bucket, the dimensions and the measures, each a column of its name, in any order of rows.
    pub rows: RecordBatch,
    /// The generation it is of.
    pub generation: Option<u64>,
    /// The dataset version that the generation covers for the view.
    pub mark: Option<Version>,
    /// Up to which position of each partition events are in it.
    pub positions: Positions,
}

/// Asks for the buckets of a view that start in a range; an end at [`i64::MIN`] or [`i64::MAX`] is open.
pub type Ask<'a> = dyn Fn(Arc<View>, Range<i64>) -> BoxFuture<'a, Result<Answered, Error>> + Send + Sync + 'a;

/// Of the memory of a run, the part that raw files are read into: unpacked they take some times as much.
const RAW_PART: usize = 32;

/// How often the dataset is looked at while what was answered is not committed, and how often at most.
const COMMIT_LOOK: Duration = Duration::from_millis(250);
const COMMIT_LOOKS_MAX: u32 = 480;

impl Batch {
    /// Audits what `ask` answers in `scope`. Differences are in the report, not errors.
    ///
    /// # Errors
    /// [`Error::Audit`] for a view that the audit cannot compute, and what asking and reading fails with.
    pub async fn audit(&self, scope: &Scope, ask: &Ask<'_>, watch: &Watch) -> Result<AuditReport, Error> {
        let (mut work, mut views_left_out) = (Vec::new(), BTreeMap::<ViewName, i64>::new());
        for source in self.pipeline.sources.values() {
            let views = self.pipeline.views_of(&source.name);
            let views: Vec<_> = views.into_iter().filter(|view| scope.has(&view.name)).collect();
            if views.is_empty() {
                continue;
            }
            let rules = &source.rules;
            let (name, schema) = (&self.pipeline.name, Arc::clone(&rules.schema));
            let dataset = Dataset::open(&self.store, name, &source.name, schema, &rules.event_time).await?;
            let head = dataset.snapshot().await?;
            let files = dataset.files(head.version).await?;
            let raw_since_us = raw_since(&dataset, &head).await?;
            let newest = generation::latest(&self.store).await?;
            for view in views {
                let bytes_max = (self.engine.memory() / RAW_PART) as u64;
                let mut buckets = scope.buckets(&view);
                let raw_us = raw_since_us.map_or(i64::MIN, |us| first_bucket(&view, us));
                let since_us = raw_us.max(history::of(newest.as_ref(), &view).whole_from_us());
                if since_us > buckets.start {
                    buckets.start = since_us;
                    views_left_out.insert(view.name.clone(), since_us);
                    if buckets.is_empty() {
                        continue;
                    }
                }
                for window in windows(&view, &buckets, &files, bytes_max) {
                    let (dataset, archives) = (dataset.clone(), head.archives.len());
                    work.push((Audited { source, dataset, archives, view: Arc::clone(&view) }, window));
                }
            }
        }
        let mut counter = Counter::start(watch.progress.as_ref(), Phase::Audit, work.len(), 0);
        let mut views: BTreeMap<ViewName, ViewAudit> = BTreeMap::new();
        for (audited, mut window) in work {
            let name = &audited.view.name;
            let found = views.entry(name.clone()).or_default();
            while !window.is_empty() {
                watch.check()?;
                match self.audit_window(&audited, &window, ask).await? {
                    Window::Audited(of_window) => {
                        found.add(of_window);
                        break;
                    }
                    // Of what retention has left of it there is another answer to be asked for.
                    Window::Gone { since_us } => {
                        window.start = since_us;
                        let left_out = views_left_out.entry(name.clone()).or_insert(since_us);
                        *left_out = since_us.max(*left_out);
                    }
                }
            }
            counter.done();
        }
        for (view, since_us) in views_left_out {
            views.entry(view).or_default().left_out_before_us = Some(since_us);
        }
        Ok(AuditReport::new(views))
    }

    async fn audit_window(&self, audited: &Audited<'_>, window: &Range<i64>, ask: &Ask<'_>) -> Result<Window, Error> {
        let Audited { source, dataset, archives, view } = audited;
        let answered = ask(Arc::clone(view), window.clone()).await?;
        let snapshot = committed(dataset, view, &answered.positions).await?;
        if snapshot.archives.len() > *archives {
            // Retention has been at work since the audit began.
            let since_us = raw_since(dataset, &snapshot).await?.map_or(i64::MIN, |us| first_bucket(view, us));
            if since_us > window.start {
                return Ok(Window::Gone { since_us });
            }
        }
        let reach = dates::reach(view, window);
        let mut files = dataset.files(snapshot.version).await?;
        files.retain(|file| dates::of(file).is_none_or(|times| dates::overlap(&times, &reach)));
        let before = (snapshot.positions != answered.positions).then_some(&answered.positions);

        let recomputed = self.fold_before(dataset, view, &files, before).await?;
        let mut bytes = Vec::with_capacity(files.len());
        for file in &files {
            let read = self.store.get(&file.path).await?;
            let gone = || Error::Raw { path: file.path.to_string(), message: "is gone".to_owned() };
            bytes.push(read.ok_or_else(gone)?);
        }
        let (rules, before) = (source.rules.clone(), before.cloned());
        let (of, within, merged) = (Arc::clone(view), window.clone(), answered.rows.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let recomputed = super::answer(&of, &within_window(&recomputed, &within))?;
            let events = raw::of_dataset(&rules, &of, bytes, before.as_ref(), &within)?;
            compare(&of, events, &merged, &recomputed)
        });
        let mut audit = compared.await.map_err(|error| failed(view, error.to_string()))??;
        self.explain(dataset, view, &answered, &snapshot, &mut audit).await?;
        Ok(Window::Audited(audit))
    }

    /// The partial of all events of `files` before these positions, by the fold kernel.
    async fn fold_before(
        &self,
        dataset: &Dataset,
        view: &Arc<View>,
        files: &[DataFile],
        before: Option<&Positions>,
    ) -> Result<RecordBatch, Error> {
        let mut fold = Fold::new(std::slice::from_ref(view));
        let mut columns = fold.columns();
        if before.is_some() {
            columns.extend([PARTITION.to_owned(), OFFSET.to_owned()]);
        }
        for file in files {
            let mut events = dataset.events(file, &columns).await?;
            while let Some(group) = events.next().await? {
                let before = before.cloned();
                let folding = self.engine.run(move || {
                    for batch in group {
                        let batch = batch?;
                        let batch = before.as_ref().map_or(Ok(batch.clone()), |before| earlier(&batch, before))?;
                        fold.fold(&batch)?;
                    }
                    Ok::<_, Error>(fold)
                });
                fold = folding.await?;
            }
        }
        let mut partials = self.engine.run(move || fold.take()).await?;
        Ok(partials.remove(0))
    }

    /// Says of each difference where the answer came from.
    async fn explain(
        &self,
        dataset: &Dataset,
        view: &View,
        answered: &Answered,
        snapshot: &Snapshot,
        audit: &mut ViewAudit,
    ) -> Result<(), Error> {
        if audit.differing.is_empty() {
            return Ok(());
        }
        let generation = match answered.generation {
            Some(number) => generation::load(&self.store, number).await?,
            None => None,
        };
        let files = generation.as_ref().and_then(|generation| generation.of(&view.id));
        let chunks = files.map(|files| files.chunks.as_slice()).unwrap_or_default();
        let commits = dataset.commits(answered.mark.unwrap_or_default(), snapshot.version).await?;
        for difference in &mut audit.differing {
            let Some((_, Cell::Time(bucket))) = difference.group.first() else { continue };
            let (start, end) = view.grain.interval(*bucket);
            let of_bucket = |file: &DataFile| dates::of(file).is_none_or(|times| dates::overlap(&times, &(start..end)));
            difference.whence = Some(Whence {
                generation: answered.generation,
                chunks: chunks
                    .iter()
                    .filter(|chunk| chunk.from_us <= start && start < chunk.to_us)
                    .map(|chunk| chunk.path.clone())
                    .collect(),
                commits: commits.iter().filter(|c| c.files.iter().any(of_bucket)).map(|c| c.version).collect(),
            });
        }
        Ok(())
    }
}

/// A view of which some windows are audited.
struct Audited<'s> {
    source: &'s Source,
    dataset: Dataset,
    /// How many archives there were when the audit began.
    archives: usize,
    view: Arc<View>,
}

/// What became of the audit of one window.
enum Window {
    Audited(ViewAudit),
    /// Raw events of buckets before this one are there no more.
    Gone {
        since_us: i64,
    },
}

/// The end of the last date of which retention has removed raw events; `None` if it never has.
async fn raw_since(dataset: &Dataset, head: &Snapshot) -> Result<Option<i64>, Error> {
    let removals = dataset.removals(head, head.version).await?;
    let removed = removals.iter().flat_map(|commit| &commit.removed);
    Ok(removed.filter_map(dates::of_path).map(|times| times.end).max())
}

/// Waits until everything before `positions` is committed.
async fn committed(dataset: &Dataset, view: &View, positions: &Positions) -> Result<Snapshot, Error> {
    for _ in 0..COMMIT_LOOKS_MAX {
        let snapshot = dataset.snapshot().await?;
        if positions.iter().all(|(partition, at)| at.0 == 0 || snapshot.positions.get(partition) >= Some(at)) {
            return Ok(snapshot);
        }
        tokio::time::sleep(COMMIT_LOOK).await;
    }
    Err(failed(view, "the answer has events that were not committed for minutes, so no raw file has them".to_owned()))
}

fn failed(view: &View, message: String) -> Error {
    Error::Audit { view: view.name.to_string(), message }
}

/// The events before these positions.
fn earlier(events: &RecordBatch, before: &Positions) -> Result<RecordBatch, Error> {
    let read = "the columns were asked for";
    let partitions = events.column_by_name(PARTITION).expect(read).as_primitive::<Int32Type>();
    let offsets = events.column_by_name(OFFSET).expect(read).as_primitive::<Int64Type>();
    let is_before = |(partition, offset): (&i32, &i64)| {
        let end = before.get(&Partition(*partition as u32)).copied().unwrap_or(Position(0));
        (*offset as u64) < end.0
    };
    let keep: BooleanArray = partitions.values().iter().zip(offsets.values()).map(is_before).map(Some).collect();
    Ok(filter_record_batch(events, &keep)?)
}

/// The groups of a canonical partial whose buckets start in `window`.
fn within_window(partial: &RecordBatch, window: &Range<i64>) -> RecordBatch {
    let buckets = partial.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let from = buckets.partition_point(|bucket| *bucket < window.start);
    let to = buckets.partition_point(|bucket| *bucket < window.end);
    partial.slice(from, to.max(from) - from)
}
