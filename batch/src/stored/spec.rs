//! What a run in the store is, as its `plan.json` says it. The run is named by the hash of that file, each task by the hash of
//! what it does: equal work has an equal name, whoever plans it.

use std::collections::{BTreeMap, BTreeSet};

use common::{
    dataset::{Commit, DataFile, Dataset, Part},
    generation::Mark,
    names::{SourceName, ViewName},
    position::Version,
    view::ViewId,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    Error, Request, chunk, dates,
    plan::{Input, MapTask, Plan, ViewPlan},
};

/// The format of the files of a run, and the rules by which its chunks are cut. Whoever changes either raises it.
pub(super) const FORMAT: u32 = 1;

/// Raw events of a view that is not in a generation yet for which one group is expected.
const EVENTS_PER_GROUP: u64 = 8;

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The format: [`FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub request: Request,
    /// The newest generation when the run was planned: what it is to be published after, and may be carried on from.
    pub after: Option<u64>,
    /// The mark to reach, by source.
    pub marks: BTreeMap<SourceName, Mark>,
    /// The views.
    pub views: BTreeMap<ViewName, ViewId>,
    /// The map tasks.
    pub map: Vec<MapSpec>,
    /// The reduce tasks.
    pub reduce: Vec<ReduceSpec>,
}

/// A map task: its input becomes one file of partials, cut by view, time chunk and slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSpec {
    /// Its name.
    pub id: String,
    /// The source.
    pub source: SourceName,
    /// What is read.
    pub input: InputSpec,
    /// The views to be computed.
    pub views: Vec<ViewName>,
}

impl MapSpec {
    /// The task, of whose views and commits a report has no need.
    pub(super) fn as_task(&self, dataset: Dataset) -> MapTask {
        let input = match &self.input {
            InputSpec::Files(files) => Input::Files(files.iter().map(FileSpec::file).collect()),
            InputSpec::Commit(version) => Input::Commit(Commit { version: *version, ..Commit::default() }),
        };
        MapTask { dataset, input, part: Part::WHOLE, views: [].into() }
    }
}

/// What a map task reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec {
    /// Raw files.
    Files(Vec<FileSpec>),
    /// The segment of a commit.
    Commit(Version),
}

/// A raw file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    path: String,
    rows: u64,
    bytes: u64,
}

impl FileSpec {
    /// The file of the dataset.
    #[must_use]
    pub fn file(&self) -> DataFile {
        DataFile { path: self.path.as_str().into(), rows: self.rows, bytes: self.bytes }
    }
}

/// A reduce task: what all map tasks have of one view, one time chunk and one slice of the groups, by a hash of their
/// dimensions, is merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReduceSpec {
    /// Its name.
    pub id: String,
    /// The view.
    pub view: ViewName,
    /// The start of the chunk.
    pub from_us: i64,
    /// Which slice, from 0.
    pub slice: u32,
    /// How many slices the chunk has: as many as it is expected to have parts. Its files do not depend on it.
    pub slices: u32,
}

impl Spec {
    /// The run of `plan`.
    ///
    /// # Errors
    /// [`Error::Undated`].
    pub fn new(request: &Request, plan: &Plan, after: Option<u64>) -> Result<Self, Error> {
        let mut reduce = Vec::new();
        let mut views = BTreeMap::new();
        for source in &plan.sources {
            for planned in &source.views {
                views.insert(planned.view.name.clone(), planned.view.id.clone());
                reduce.extend(reduces(planned, &source.tasks)?);
            }
        }
        let map = plan.sources.iter().flat_map(|source| source.tasks.iter().map(|task| (&source.source, task)));
        let map = map.map(|(source, task)| map_spec(source, task, &reduce)).collect();
        let marks = plan.sources.iter().map(|source| (source.source.clone(), source.mark.clone())).collect();
        Ok(Self { format: FORMAT, request: request.clone(), after, marks, views, map, reduce })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> String {
        hash(self)
    }

    /// The reduce tasks of one chunk.
    pub fn slices_of(&self, view: &ViewName, from_us: i64) -> impl Iterator<Item = &ReduceSpec> {
        self.reduce.iter().filter(move |task| task.view == *view && task.from_us == from_us)
    }
}

/// The reduce tasks of a view: of each chunk that the input can have groups of.
fn reduces(planned: &ViewPlan, tasks: &[MapTask]) -> Result<Vec<ReduceSpec>, Error> {
    let view = &planned.view;
    let mut events: BTreeMap<i64, u64> = BTreeMap::new();
    let read = tasks.iter().filter(|task| task.views.iter().any(|v| v.name == view.name));
    for file in read.flat_map(|task| task.input.files()) {
        let times = dates::of(file).ok_or_else(|| Error::Undated { path: file.path.to_string() })?;
        for from_us in dates::chunks(view, &planned.history, &times) {
            *events.entry(from_us).or_default() += file.rows;
        }
    }
    events.retain(|from_us, _| planned.writes(*from_us));
    let tasks = events.into_iter().flat_map(|(from_us, events)| {
        let before = planned.base.as_ref().and_then(|base| base.get(&from_us));
        let groups = before.map_or(events / EVENTS_PER_GROUP, |files| files.iter().map(|file| file.rows).sum());
        let slices = chunk::parts(view, groups);
        (0..slices).map(move |slice| {
            let id = hash(&(FORMAT, &view.id, from_us, slice, slices));
            ReduceSpec { id, view: view.name.clone(), from_us, slice, slices }
        })
    });
    Ok(tasks.collect())
}

fn map_spec(source: &SourceName, task: &MapTask, reduce: &[ReduceSpec]) -> MapSpec {
    let views: BTreeSet<&ViewName> = task.views.iter().map(|view| &view.name).collect();
    let input = match &task.input {
        Input::Files(files) => InputSpec::Files(files.iter().map(file_spec).collect()),
        Input::Commit(commit) => InputSpec::Commit(commit.version),
    };
    let cuts: Vec<(i64, u32)> =
        reduce.iter().filter(|r| views.contains(&r.view)).map(|r| (r.from_us, r.slices)).collect();
    let ids: Vec<&ViewId> = task.views.iter().map(|view| &view.id).collect();
    let id = hash(&(FORMAT, source, &input, ids, cuts));
    MapSpec { id, source: source.clone(), input, views: views.into_iter().cloned().collect() }
}

fn file_spec(file: &DataFile) -> FileSpec {
    FileSpec { path: file.path.to_string(), rows: file.rows, bytes: file.bytes }
}

/// XXH3-128 of what `of` is as JSON, 32 hexadecimal digits.
fn hash(of: &impl Serialize) -> String {
    let json = serde_json::to_vec(of).expect("plain data with text keys");
    format!("{:032x}", xxh3_128(&json))
}
