//! Finishing a stored run: the tasks that are left, in this process, and one generation of all of them.

use std::collections::{BTreeMap, BTreeSet};

use common::{
    generation::{Chunk, Generation},
    names::ViewName,
};
use futures::{StreamExt, stream};
use tracing::info;

use super::{Stored, reduce::Made, task::TaskKind};
use crate::{
    Error, Phase, Report, Watch,
    plan::{Plan, SourcePlan},
    progress::Counter,
    report::TaskReport,
    run,
};

/// Tasks that an error names.
const NAMED_MAX: usize = 20;

impl Stored {
    /// Does all tasks that are not finished, a bounded number at once, and publishes.
    ///
    /// # Errors
    /// See [`Error`]; finished tasks stay finished.
    pub async fn finish(self, started_us: i64, watch: &Watch) -> Result<Report, Error> {
        let map = self.do_all(TaskKind::Map, watch).await?;
        let reduce = self.do_all(TaskKind::Reduce, watch).await?;
        let tasks = TaskReport {
            run: self.id.clone(),
            map: self.spec.map.len() as u64,
            map_before: map,
            reduce: self.spec.reduce.len() as u64,
            reduce_before: reduce,
        };
        self.publish_with(Some(tasks), started_us, watch).await
    }

    /// Publishes the generation of all tasks, and removes the run's objects.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if some are not finished, [`Error::Removed`] if the run was removed; see [`Error`].
    pub async fn publish(self, watch: &Watch) -> Result<Report, Error> {
        let started_us = self.batch.clock.now_us();
        self.publish_with(None, started_us, watch).await
    }

    async fn publish_with(self, tasks: Option<TaskReport>, started_us: i64, watch: &Watch) -> Result<Report, Error> {
        let mut made = self.or_removed(self.made().await).await?;
        made.tasks = tasks;
        made.generation.number = self.spec.after.unwrap_or(0) + 1;
        let kind = self.spec.request.kind();
        info!(run = self.id, "all tasks are done, publishing");
        let after: Option<Generation> = self.after.clone();
        let report = self.batch.publish(kind, made, after, started_us, watch).await?;
        self.remove().await?;
        Ok(report)
    }

    /// Does the tasks of one kind that are not finished. Returns how many were.
    async fn do_all(&self, kind: TaskKind, watch: &Watch) -> Result<u64, Error> {
        let (phase, total) = match kind {
            TaskKind::Map => (Phase::Map, self.spec.map.len()),
            TaskKind::Reduce => (Phase::Reduce, self.spec.reduce.len()),
        };
        let left = self.left(kind).await?;
        let before = total - left.len();
        info!(run = self.id, phase = phase.as_str(), total, before, "tasks of a stored run");
        let mut counter = Counter::start(watch.progress.as_ref(), phase, total, before);
        let memory = self.batch.engine.memory() / self.batch.engine.in_flight();
        let tasks: Vec<_> = left.into_iter().map(|index| self.do_one(kind, index, memory, watch)).collect();
        let mut running = stream::iter(tasks).buffer_unordered(self.batch.engine.in_flight());
        while let Some(done) = running.next().await {
            done?;
            counter.done();
        }
        Ok(before as u64)
    }

    async fn do_one(&self, kind: TaskKind, index: usize, memory: usize, watch: &Watch) -> Result<(), Error> {
        watch.check()?;
        match kind {
            TaskKind::Map => self.map(index, memory).await.map(drop),
            TaskKind::Reduce => self.reduce(index, memory).await.map(drop),
        }
    }

    /// The numbers of the tasks of one kind that are not finished.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn left(&self, kind: TaskKind) -> Result<Vec<usize>, Error> {
        let (directory, ids): (_, Vec<&str>) = match kind {
            TaskKind::Map => ("map", self.spec.map.iter().map(|task| task.id.as_str()).collect()),
            TaskKind::Reduce => ("reduce", self.spec.reduce.iter().map(|task| task.id.as_str()).collect()),
        };
        let there = self.batch.store.list_directly(&self.path(directory)).await?;
        let done: BTreeSet<&str> = there.iter().filter_map(|p| p.filename()?.strip_suffix(".json")).collect();
        Ok((0..ids.len()).filter(|index| !done.contains(ids[*index])).collect())
    }

    /// The generation that all tasks come to.
    async fn made(&self) -> Result<run::Made, Error> {
        let map = self.left(TaskKind::Map).await?.into_iter().map(|index| format!("m{index}"));
        let reduce = self.left(TaskKind::Reduce).await?.into_iter().map(|index| format!("r{index}"));
        let missing: Vec<String> = map.chain(reduce).collect();
        if !missing.is_empty() {
            return Err(self.unfinished(missing));
        }
        let mut touched: BTreeMap<ViewName, BTreeSet<i64>> =
            self.views.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
        let mut written: BTreeMap<ViewName, Vec<Chunk>> = BTreeMap::new();
        for (index, task) in self.spec.reduce.iter().enumerate().filter(|(_, task)| task.slice == 0) {
            match self.chunk(task, self.batch.engine.memory()).await? {
                None | Some(Made::Slice(_)) => return Err(self.unfinished(vec![format!("r{index}")])),
                Some(Made::Kept) => {}
                Some(Made::Chunks(chunks)) => {
                    touched.entry(task.view.clone()).or_default().insert(task.from_us);
                    written.entry(task.view.clone()).or_default().extend(chunks);
                }
            }
        }
        Ok(self.batch.made(&self.as_plan().await?, &touched, written))
    }

    /// The run as a plan, for its report.
    async fn as_plan(&self) -> Result<Plan, Error> {
        let mut sources = Vec::new();
        for (source, mark) in &self.spec.marks {
            let of_source = |view: &&crate::plan::ViewPlan| view.view.source == *source;
            let views: Vec<_> = self.views.values().filter(of_source).cloned().collect();
            let from = self.after.as_ref().filter(|_| views.iter().any(|view| view.base.is_some()));
            let from = from.and_then(|generation| generation.marks.get(source)).map(|mark| mark.version);
            let mut tasks = Vec::new();
            for task in self.spec.map.iter().filter(|task| task.source == *source) {
                let dataset = self.dataset(source).await?.clone();
                tasks.push(task.as_task(dataset));
            }
            sources.push(SourcePlan { source: source.clone(), from, mark: mark.clone(), views, tasks });
        }
        Ok(Plan { sources })
    }

    pub(super) fn unfinished(&self, mut tasks: Vec<String>) -> Error {
        let count = tasks.len();
        tasks.truncate(NAMED_MAX);
        Error::Unfinished { run: self.id.clone(), tasks, count }
    }
}
