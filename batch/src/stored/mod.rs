//! Runs in the store: MapReduce whose tasks any number of processes do, on any number of machines, and whose finished tasks
//! outlive all of them.
//!
//! | object | what |
//! |---|---|
//! | `runs/<run>/plan.json` | the tasks |
//! | `runs/<run>/map/<task>.parts`, `.json` | partials of one map task, and where in the file each is; the second says that it is finished |
//! | `runs/<run>/reduce/<task>.parquet`, `.json` | the groups of one slice, if its chunk has several; what the task came to |
//! | `runs/<run>/chunks/<task>.json` | the files of a chunk of several slices, under the name of the first |
//!
//! Every object is made by a put-if-absent and is the same whoever makes it, so tasks may be done twice, at the same time too.
//! Nothing here is visible to readers of generations; publishing a run removes its objects.

mod find;
mod map;
mod publish;
mod reduce;
mod spec;
mod task;
mod work;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use common::{
    dataset::Dataset,
    generation::{self, Generation},
    names::{SourceName, ViewName},
    store,
    view::View,
};
use object_store::path::Path;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

pub use self::{
    find::Found,
    map::Mapped,
    reduce::Reduced,
    spec::{InputSpec, MapSpec, ReduceSpec, Spec},
    task::{Task, TaskKind},
    work::Done,
};
use crate::{Batch, Error, Request, history, plan, plan::ViewPlan};

/// The directory of all runs.
const DIRECTORY: &str = "runs";

/// A run in the store that is open here. Shared by the tasks that are done in this process.
#[derive(Debug)]
pub struct Stored {
    batch: Batch,
    id: String,
    spec: Spec,
    views: BTreeMap<ViewName, ViewPlan>,
    after: Option<Generation>,
    datasets: BTreeMap<SourceName, OnceCell<Dataset>>,
    /// What the map tasks made, read once all of them are finished.
    outputs: OnceCell<BTreeMap<String, map::Output>>,
}

impl Batch {
    /// Plans what `request` asks for as a run in the store, with map tasks of about `task_bytes`. Planning the same again is
    /// the same run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn store_run(&self, request: &Request, task_bytes: u64) -> Result<Stored, Error> {
        let newest = generation::latest(&self.store).await?;
        let plan = self.plan(request, newest.as_ref(), task_bytes).await?;
        let spec = Spec::new(request, &plan, newest.as_ref().map(|g| g.number))?;
        let id = spec.id();
        let stored = Stored::new(self.clone(), id, spec, newest)?;
        stored.put_json(&stored.path("plan.json"), &stored.spec).await?;
        tracing::info!(run = stored.id, map = stored.spec.map.len(), reduce = stored.spec.reduce.len(), "run stored");
        Ok(stored)
    }

    /// The run of this name.
    ///
    /// # Errors
    /// [`Error::Run`] if there is none, or if it is not one of this pipeline and this program.
    pub async fn stored(&self, id: &str) -> Result<Stored, Error> {
        let wrong = |message: String| Error::Run { run: id.to_owned(), message };
        let spec = find::spec(&self.store, id).await?.ok_or_else(|| {
            wrong("there is none of this name; it may have been published or cleaned away".to_owned())
        })?;
        let after = match spec.after {
            Some(number) => generation::load(&self.store, number).await?,
            None => None,
        };
        Stored::new(self.clone(), id.to_owned(), spec, after)
    }
}

impl Stored {
    fn new(batch: Batch, id: String, spec: Spec, after: Option<Generation>) -> Result<Self, Error> {
        let wrong = |message: String| Error::Run { run: id.clone(), message };
        if spec.format != spec::FORMAT {
            return Err(wrong(format!("it has format {}, this program has {}", spec.format, spec::FORMAT)));
        }
        if spec.after != after.as_ref().map(|generation| generation.number) {
            return Err(wrong(format!("generation {:?}, which it goes on from, is gone", spec.after)));
        }
        let mut views = BTreeMap::new();
        for (name, view_id) in &spec.views {
            let view = batch.pipeline.views.get(name).filter(|view| view.id == *view_id);
            let view = view.ok_or_else(|| wrong(format!("the pipeline has no view {name} of definition {view_id}")))?;
            views.insert(name.clone(), planned(&spec.request, view, after.as_ref()));
        }
        let datasets = spec.marks.keys().map(|source| (source.clone(), OnceCell::new())).collect();
        Ok(Self { batch, id, spec, views, after, datasets, outputs: OnceCell::new() })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    fn view(&self, name: &ViewName) -> Result<&ViewPlan, Error> {
        self.views.get(name).ok_or_else(|| self.wrong(format!("it names view {name} without its definition")))
    }

    fn wrong(&self, message: String) -> Error {
        Error::Run { run: self.id.clone(), message }
    }

    async fn dataset(&self, source: &SourceName) -> Result<&Dataset, Error> {
        let settings = self.batch.pipeline.sources.get(source);
        let settings = settings.ok_or_else(|| self.wrong(format!("the pipeline has no source {source}")))?;
        let cell = self.datasets.get(source).ok_or_else(|| self.wrong(format!("it has no mark of source {source}")))?;
        let open = || async {
            let (rules, name) = (&settings.rules, &self.batch.pipeline.name);
            Dataset::open(&self.batch.store, name, source, Arc::clone(&rules.schema), &rules.event_time).await
        };
        Ok(cell.get_or_try_init(open).await?)
    }

    /// An object of this run.
    fn path(&self, name: &str) -> Path {
        Path::from(format!("{DIRECTORY}/{}/{name}", self.id))
    }

    /// Writes an object that whoever writes it makes the same.
    async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        match self.batch.store.put_if_absent(path, bytes).await {
            Ok(()) | Err(store::Error::Exists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_json(&self, path: &Path, value: &impl Serialize) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec(value).expect("plain data with text keys");
        bytes.push(b'\n');
        self.put(path, bytes.into()).await
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        let Some(bytes) = self.batch.store.get(path).await? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        Ok(Some(parsed.map_err(|error| self.wrong(format!("{path} is damaged: {error}")))?))
    }
}

/// What a run of `request` on top of `after` does with `view`: the same as when it was planned.
fn planned(request: &Request, view: &Arc<View>, after: Option<&Generation>) -> ViewPlan {
    let base = after.and_then(|generation| plan::base_of(generation, view));
    let kept = history::of(after, view);
    let planned = ViewPlan { base, history: kept, ..ViewPlan::raw(Arc::clone(view)) };
    match request {
        Request::Advance => planned,
        Request::Recompute(scope) if scope.is_ranged() => {
            let anew = scope.has(&view.name).then(|| history::anew(scope, view, &planned.history));
            ViewPlan { anew, ..planned }
        }
        Request::Recompute(scope) if scope.has(&view.name) => ViewPlan { base: None, ..planned },
        Request::Recompute(_) => planned,
    }
}
