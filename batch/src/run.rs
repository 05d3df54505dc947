//! A run: plan, map, reduce, publish. The one place that puts the rooms together, for recompute and advance alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use common::{
    clock::Clock,
    generation::{self, Chunk, Generation, ViewFiles},
    limits::PUBLISH_ATTEMPTS_MAX,
    names::ViewName,
    pipeline::Pipeline,
    store::Store,
};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    Engine, Error, Outcome, Phase, Report, Update,
    gather::Gathered,
    map::map,
    plan::{Input, Plan, SourcePlan},
    progress::Counter,
    publish::{Verdict, publish},
    reduce::{self, add_base},
    report::{Kind, SourceReport, ViewReport},
};

/// The batch layer of one pipeline over one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where datasets, segments and generations are.
    pub store: Store,
    /// The sources and views.
    pub pipeline: Arc<Pipeline>,
    /// The threads for CPU work.
    pub engine: Engine,
    /// Tells when a generation was made.
    pub clock: Arc<dyn Clock>,
}

/// Who watches a run and may end it. The default is nobody.
#[derive(Clone)]
pub struct Watch {
    /// Is told of every task done.
    pub progress: Arc<dyn Fn(Update) + Send + Sync>,
    /// Ends the run between two tasks, with [`Error::Cancelled`] and nothing published.
    pub cancel: CancellationToken,
}

impl Default for Watch {
    fn default() -> Self {
        Self { progress: Arc::new(|_| ()), cancel: CancellationToken::new() }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl Batch {
    /// Runs until a generation covers the heads that were there at the start: ours, or that of a faster run.
    pub(crate) async fn run(&self, kind: Kind, watch: &Watch) -> Result<Report, Error> {
        let started_us = self.clock.now_us();
        let mut newest = generation::latest(&self.store).await?;
        let mut base = match kind {
            Kind::Advance => newest.clone(),
            Kind::Recompute => None,
        };
        for _ in 0..PUBLISH_ATTEMPTS_MAX {
            let plan = Plan::new(&self.store, &self.pipeline, base.as_ref(), newest.as_ref()).await?;
            info!(?kind, tasks = plan.task_count(), on = base.as_ref().map(|g| g.number), "batch run planned");
            let number = newest.as_ref().map_or(0, |g| g.number) + 1;
            let ours = self.build(&plan, number, watch).await?;
            watch.check()?;
            let outcome = match publish(&self.store, &ours, newest.as_ref()).await? {
                Verdict::Ended(outcome) => outcome,
                Verdict::Overtaken(overtaken) => {
                    // What we have is true at its marks. Carried on to the heads of now, it cannot be behind theirs.
                    newest = Some(overtaken);
                    base = Some(ours);
                    continue;
                }
            };
            let elapsed_us = self.clock.now_us().saturating_sub(started_us);
            let report = report(kind, outcome, &plan, &ours, elapsed_us);
            info!(?kind, ?outcome, elapsed_ms = report.elapsed_ms, "batch run ended");
            return Ok(report);
        }
        Err(Error::Contended { attempts: PUBLISH_ATTEMPTS_MAX })
    }

    /// Maps and reduces all that `plan` says, and writes the chunk files. Nothing names them yet.
    async fn build(&self, plan: &Plan, number: u64, watch: &Watch) -> Result<Generation, Error> {
        let gathered = self.map_all(plan, watch).await?;
        let mut touched = BTreeMap::new();
        for planned in plan.views() {
            watch.check()?;
            let chunks = add_base(&self.store, &self.engine, planned, &gathered).await?;
            touched.insert(planned.view.name.clone(), chunks);
        }
        let chunks = touched.values().map(BTreeSet::len).sum();
        let mut written = self.reduce_all(&gathered, chunks, watch).await?;
        let mut generation = Generation {
            format: generation::FORMAT,
            number,
            created_at_us: self.clock.now_us(),
            marks: BTreeMap::new(),
            views: BTreeMap::new(),
        };
        for source in &plan.sources {
            generation.marks.insert(source.source.clone(), source.mark.clone());
            for planned in &source.views {
                let view = &planned.view;
                let kept = planned.base.iter().flatten().filter(|(from_us, _)| !touched[&view.name].contains(from_us));
                let mut chunks: Vec<Chunk> = kept.flat_map(|(_, files)| files).cloned().collect();
                chunks.extend(written.remove(&view.name).unwrap_or_default());
                chunks.sort_by_key(|chunk| (chunk.from_us, chunk.part));
                let files = ViewFiles { id: view.id.clone(), source: view.source.clone(), chunks };
                generation.views.insert(view.name.clone(), files);
            }
        }
        Ok(generation)
    }

    /// Does all map tasks of `plan`, a bounded number at once.
    pub(crate) async fn map_all(&self, plan: &Plan, watch: &Watch) -> Result<Arc<Gathered>, Error> {
        let views = plan.views().map(|planned| Arc::clone(&planned.view));
        let gathered = Arc::new(Gathered::new(views, self.engine.memory()));
        let mut counter = Counter::start(watch.progress.as_ref(), Phase::Map, plan.task_count());
        let tasks: Vec<_> = plan.sources.iter().flat_map(|s| &s.tasks).cloned().collect();
        let mut running = stream::iter(tasks)
            .map(|task| async {
                watch.check()?;
                map(&self.store, &self.engine, task, Arc::clone(&gathered)).await
            })
            .buffer_unordered(self.engine.in_flight());
        while let Some(done) = running.next().await {
            done?;
            counter.done();
        }
        drop(running);
        Ok(gathered)
    }

    /// Writes everything in `gathered`, of `chunks` chunks, a bounded number of files at once. Returns the files by view.
    async fn reduce_all(
        &self,
        gathered: &Gathered,
        chunks: usize,
        watch: &Watch,
    ) -> Result<BTreeMap<ViewName, Vec<Chunk>>, Error> {
        let mut counter = Counter::start(watch.progress.as_ref(), Phase::Reduce, chunks);
        let mut written: BTreeMap<_, Vec<_>> = BTreeMap::new();
        // The largest view last, when the memory of the others is free.
        for gathering in gathered.by_size() {
            watch.check()?;
            let tasks = reduce::plan(&self.engine, gathering).await?;
            let mut running = stream::iter(tasks)
                .map(|task| async {
                    watch.check()?;
                    let last = task.is_last();
                    Ok::<_, Error>((last, reduce::reduce(&self.store, &self.engine, task).await?))
                })
                .buffer_unordered(self.engine.in_flight());
            while let Some(done) = running.next().await {
                let (last, made) = done?;
                if last {
                    counter.done();
                }
                let Some((name, chunk)) = made else { continue };
                debug!(view = %name, path = chunk.path, rows = chunk.rows, bytes = chunk.bytes, "chunk written");
                written.entry(name).or_default().push(chunk);
            }
        }
        Ok(written)
    }
}

fn report(kind: Kind, outcome: Outcome, plan: &Plan, ours: &Generation, elapsed_us: i64) -> Report {
    let sources = plan.sources.iter().map(|s| (s.source.clone(), source_report(s))).collect();
    let planned = plan.sources.iter().flat_map(|s| &s.views);
    let views = planned.map(|p| {
        let files = &ours.views[&p.view.name];
        let base = p.base.as_ref();
        let kept = files
            .chunks
            .iter()
            .filter(|c| base.is_some_and(|b| b.get(&c.from_us).is_some_and(|b| b.contains(c))))
            .count() as u64;
        let report = ViewReport {
            id: files.id.clone(),
            from_raw: p.base.is_none(),
            chunks_written: files.chunks.len() as u64 - kept,
            chunks_kept: kept,
            rows: files.chunks.iter().map(|c| c.rows).sum(),
            bytes: files.chunks.iter().map(|c| c.bytes).sum(),
        };
        (p.view.name.clone(), report)
    });
    let elapsed_ms = u64::try_from(elapsed_us / 1000).unwrap_or(0);
    Report { kind, outcome, sources, views: views.collect(), elapsed_ms }
}

fn source_report(source: &SourcePlan) -> SourceReport {
    let mut report = SourceReport { from: source.from, to: source.mark.version, ..SourceReport::default() };
    for task in &source.tasks {
        match &task.input {
            Input::Files(files) => {
                report.files += files.len() as u64;
                report.events += files.iter().map(|file| file.rows).sum::<u64>();
            }
            Input::Commit(_) => report.commits += 1,
        }
    }
    report
}
