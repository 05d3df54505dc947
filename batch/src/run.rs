//! A run: plan, map, reduce, publish. The one place that puts the rooms together, for recompute and advance alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytesize::ByteSize;
use common::{
    clock::Clock,
    generation::{self, Chunk, Generation, ViewFiles},
    history::Kept,
    limits::{PUBLISH_ATTEMPTS_MAX, RUN_ATTEMPTS_MAX},
    names::{SourceName, ViewName},
    pipeline::Pipeline,
    store::Store,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, instrument};

use crate::{
    Engine, Error, Phase, Report, Request, Update,
    gather::Gathered,
    map::map,
    plan::{Input, MapTask, Plan, SourcePlan, Start, TASK_BYTES_MAX, ViewPlan, in_parts},
    progress::Counter,
    publish::{Verdict, publish},
    reduce::{self, REDUCED_BYTES, add_base},
    report::{Kind, SourceReport, TaskReport, ViewReport},
};

/// [`Batch::task_bytes`] unless another size is asked for: seconds of folding, beside which starting a process for a task is little,
/// and the most that a kill costs a core.
pub const STORED_TASK_BYTES: ByteSize = ByteSize::mib(128);

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
    /// Bytes of raw files from which on a run keeps its finished tasks in the store, so that a killed one goes on.
    pub resumable_from: ByteSize,
    /// Bytes of raw files that a map task of such a run reads.
    pub task_bytes: ByteSize,
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

/// A generation that is made but not published, and what making it took.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) generation: Generation,
    pub(crate) sources: BTreeMap<SourceName, SourceReport>,
    pub(crate) views: BTreeMap<ViewName, ViewReport>,
    pub(crate) tasks: Option<TaskReport>,
}

impl Batch {
    /// The batch layer of `pipeline` over `store`.
    #[must_use]
    pub fn new(store: Store, pipeline: Arc<Pipeline>, engine: Engine, clock: Arc<dyn Clock>) -> Self {
        let resumable_from = pipeline.batch.resumable_from;
        Self { store, pipeline, engine, clock, resumable_from, task_bytes: STORED_TASK_BYTES }
    }

    /// Makes what `request` asks for and publishes it. Should what it reads be removed meanwhile, as by an erasure, it starts anew.
    #[instrument(name = "batch run", skip_all, fields(kind = ?request.kind()))]
    pub(crate) async fn run(&self, request: &Request, watch: &Watch) -> Result<Report, Error> {
        let started_us = self.clock.now_us();
        for _ in 1..RUN_ATTEMPTS_MAX {
            match self.attempt(request, started_us, watch).await {
                Err(gone) if gone.is_gone() => info!(%gone, "starting anew"),
                ended => return ended,
            }
        }
        self.attempt(request, started_us, watch).await
    }

    /// A run that is too long to be lost is one in the store.
    async fn attempt(&self, request: &Request, started_us: i64, watch: &Watch) -> Result<Report, Error> {
        if let Some(left) = self.left_behind(request).await? {
            return left.finish(started_us, watch).await;
        }
        let newest = generation::latest(&self.store).await?;
        let plan = self.plan(request, newest.as_ref(), TASK_BYTES_MAX).await?;
        if plan.raw_bytes() >= self.resumable_from.as_u64() {
            let stored = self.store_run(request, self.task_bytes.as_u64()).await?;
            return stored.finish(started_us, watch).await;
        }
        info!(?request, tasks = plan.task_count(), "batch run planned");
        let mut made = self.build(&plan, watch).await?;
        made.generation.number = newest.as_ref().map_or(0, |g| g.number) + 1;
        self.publish(request.kind(), made, newest, started_us, watch).await
    }

    /// Keeps as much of the history of views as `kept` says, by a generation at the marks of `newest`.
    pub(crate) async fn age(
        &self,
        kept: &BTreeMap<ViewName, Kept>,
        newest: Generation,
        watch: &Watch,
    ) -> Result<Report, Error> {
        let started_us = self.clock.now_us();
        let start = Start::Aged { base: &newest, kept };
        let plan = Plan::new(&self.store, &self.pipeline, start, Some(&newest), TASK_BYTES_MAX).await?;
        let mut made = self.build(&plan, watch).await?;
        made.generation.number = newest.number + 1;
        self.publish(Kind::Recompute, made, Some(newest), started_us, watch).await
    }

    /// The plan of what `request` asks for.
    pub(crate) async fn plan(
        &self,
        request: &Request,
        newest: Option<&Generation>,
        task_bytes: u64,
    ) -> Result<Plan, Error> {
        let none = BTreeSet::new();
        let start = match (request, newest) {
            (Request::Recompute(scope), Some(base)) if scope.is_ranged() => Start::Repair { base, scope },
            (Request::Recompute(scope), Some(base)) if !scope.is_whole() => Start::Carried { base, anew: &scope.views },
            (Request::Advance, Some(base)) => Start::Carried { base, anew: &none },
            _ => Start::Raw,
        };
        Plan::new(&self.store, &self.pipeline, start, newest, task_bytes).await
    }

    /// Publishes what was made on top of `newest`, or what it comes to when others publish meanwhile.
    pub(crate) async fn publish(
        &self,
        kind: Kind,
        mut made: Made,
        mut newest: Option<Generation>,
        started_us: i64,
        watch: &Watch,
    ) -> Result<Report, Error> {
        for _ in 0..PUBLISH_ATTEMPTS_MAX {
            watch.check()?;
            let overtaken = match publish(&self.store, kind, &made.generation, newest.as_ref()).await? {
                Verdict::Overtaken(overtaken) => overtaken,
                Verdict::Ended(outcome) => {
                    let elapsed_ms = u64::try_from((self.clock.now_us() - started_us) / 1000).unwrap_or(0);
                    info!(?kind, ?outcome, elapsed_ms, "batch run ended");
                    let Made { sources, views, tasks, .. } = made;
                    return Ok(Report { kind, outcome, sources, views, tasks, elapsed_ms });
                }
            };
            // What we have is true at its marks. Carried on to the heads of now, it cannot be behind theirs.
            let none = BTreeSet::new();
            let start = Start::Carried { base: &made.generation, anew: &none };
            let plan = Plan::new(&self.store, &self.pipeline, start, Some(&overtaken), TASK_BYTES_MAX).await?;
            let carried_on = self.build(&plan, watch).await?;
            made = Made { tasks: made.tasks, ..carried_on };
            made.generation.number = overtaken.number + 1;
            newest = Some(overtaken);
        }
        Err(Error::Contended { attempts: PUBLISH_ATTEMPTS_MAX })
    }

    /// Maps and reduces all that `plan` says, and writes the chunk files. Nothing names them yet.
    async fn build(&self, plan: &Plan, watch: &Watch) -> Result<Made, Error> {
        let gathered = self.map_all(plan, watch).await?;
        let (peak, memory) = (ByteSize::b(gathered.peak() as u64), ByteSize::b(self.engine.memory() as u64));
        info!(%peak, %memory, "mapped");
        let mut touched = BTreeMap::new();
        for planned in plan.views() {
            watch.check()?;
            let chunks = add_base(&self.store, &self.engine, planned, &gathered).await?;
            touched.insert(planned.view.name.clone(), chunks);
        }
        // Nothing more is brought; what is written needs room, too.
        let reducing = (self.engine.in_flight() * REDUCED_BYTES).min(self.engine.memory() / 8);
        let _reducing = gathered.claim().of(reducing);
        let short = Arc::clone(&gathered);
        let resting = move || {
            short.rest();
            short.make_room()
        };
        self.engine.run(resting).await?;
        let written = self.reduce_all(&gathered, &touched, watch).await?;
        Ok(self.made(plan, &touched, written))
    }

    /// The generation of `written`, the files of the chunks that were `touched`, and of what else `plan` carries on.
    pub(crate) fn made(
        &self,
        plan: &Plan,
        touched: &BTreeMap<ViewName, BTreeSet<i64>>,
        mut written: BTreeMap<ViewName, Vec<Chunk>>,
    ) -> Made {
        let mut generation = Generation {
            format: generation::FORMAT,
            number: 0,
            created_at_us: self.clock.now_us(),
            marks: BTreeMap::new(),
            views: BTreeMap::new(),
        };
        let mut views = BTreeMap::new();
        for source in &plan.sources {
            generation.marks.insert(source.source.clone(), source.mark.clone());
            for planned in &source.views {
                let (name, view) = (&planned.view.name, &planned.view);
                let mut chunks: Vec<Chunk> = planned.kept(&touched[name]).cloned().collect();
                chunks.extend(written.remove(name).unwrap_or_default());
                chunks.sort_by_key(|chunk| (chunk.from_us, chunk.part));
                let kept = planned.history.clone();
                let (id, source, sql) = (view.id.clone(), view.source.clone(), view.sql.clone());
                let files = ViewFiles { id, source, sql, kept, chunks };
                views.insert(name.clone(), view_report(planned, &files));
                generation.views.insert(name.clone(), files);
            }
        }
        let sources = plan.sources.iter().map(|s| (s.source.clone(), source_report(s))).collect();
        Made { generation, sources, views, tasks: None }
    }

    /// Does all map tasks of `plan`, a bounded number at once.
    pub(crate) async fn map_all(&self, plan: &Plan, watch: &Watch) -> Result<Arc<Gathered>, Error> {
        let views = plan.views().map(|planned| (Arc::clone(&planned.view), planned.history.clone()));
        let gathered = Arc::new(Gathered::new(views, self.engine.memory()));
        let tasks: Vec<&MapTask> = plan.sources.iter().flat_map(|s| &s.tasks).collect();
        let inputs: Vec<&Input> = tasks.iter().map(|task| &task.input).collect();
        let parts = in_parts(&inputs, self.engine.in_flight());
        let tasks: Vec<MapTask> = parts.map(|(at, part)| MapTask { part, ..tasks[at].clone() }).collect();
        let mut counter = Counter::start(watch.progress.as_ref(), Phase::Map, tasks.len(), 0);
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
        let mapped = Arc::clone(&gathered);
        self.engine.run(move || mapped.finish()).await?;
        Ok(gathered)
    }

    /// Writes the chunks of `gathered` that were `touched`, a bounded number of files at once. Returns the files by view.
    async fn reduce_all(
        &self,
        gathered: &Gathered,
        touched: &BTreeMap<ViewName, BTreeSet<i64>>,
        watch: &Watch,
    ) -> Result<BTreeMap<ViewName, Vec<Chunk>>, Error> {
        let chunks = touched.values().map(BTreeSet::len).sum();
        let mut counter = Counter::start(watch.progress.as_ref(), Phase::Reduce, chunks, 0);
        let mut written: BTreeMap<_, Vec<_>> = BTreeMap::new();
        // The largest view last: then the others are written, but for what is in flight.
        let mut running = stream::iter(gathered.by_size())
            .then(|gathering| async {
                watch.check()?;
                let touched = &touched[&gathering.view().name];
                reduce::plan(&self.engine, gathering, |from_us| touched.contains(&from_us)).await
            })
            .map_ok(|tasks| stream::iter(tasks.into_iter().map(Ok::<_, Error>)))
            .try_flatten()
            .map_ok(|task| async {
                watch.check()?;
                let last = task.is_last();
                Ok((last, reduce::reduce(&self.store, &self.engine, task).await?))
            })
            .try_buffer_unordered(self.engine.in_flight())
            .boxed();
        while let Some((last, made)) = running.try_next().await? {
            if last {
                counter.done();
            }
            let Some((name, chunk)) = made else { continue };
            debug!(view = %name, path = chunk.path, rows = chunk.rows, bytes = chunk.bytes, "chunk written");
            written.entry(name).or_default().push(chunk);
        }
        Ok(written)
    }
}

fn view_report(planned: &ViewPlan, files: &ViewFiles) -> ViewReport {
    let is_kept = |chunk: &&Chunk| {
        planned.base.as_ref().is_some_and(|b| b.get(&chunk.from_us).is_some_and(|b| b.contains(chunk)))
    };
    let kept = files.chunks.iter().filter(is_kept).count() as u64;
    ViewReport {
        id: files.id.clone(),
        from_raw: planned.from_raw(),
        chunks_written: files.chunks.len() as u64 - kept,
        chunks_kept: kept,
        rows: files.chunks.iter().map(|c| c.rows).sum(),
        bytes: files.chunks.iter().map(|c| c.bytes).sum(),
    }
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
