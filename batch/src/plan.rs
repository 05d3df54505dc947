//! The plan of a run: what each source's head is, which views are carried on from a generation and which are computed from
//! raw files, and the map tasks that follow from it.

use std::{collections::BTreeMap, sync::Arc};

use common::{
    dataset::{Commit, DataFile, Dataset},
    generation::{Chunk, Generation, Mark},
    names::SourceName,
    pipeline::{Pipeline, Source},
    position::Version,
    store::Store,
    view::View,
};

use crate::{Error, chunk};

/// Bytes of raw files that one task is made of, unless a single file is larger: some tenths of a second of folding, beside
/// which a task's own costs vanish, and still many tasks for many cores.
const TASK_BYTES_MAX: u64 = 16 << 20;

/// Files that one task is made of: a task is what is lost when it is stopped and what progress is counted in.
const TASK_FILES_MAX: usize = 64;

/// What a run is to do.
#[derive(Debug)]
pub struct Plan {
    /// By source, in order of name.
    pub sources: Vec<SourcePlan>,
}

/// What a run is to do with one source. All views of a source reach the same mark.
#[derive(Debug)]
pub struct SourcePlan {
    /// The source.
    pub source: SourceName,
    /// The mark of the generation that is carried on, if it has this source.
    pub from: Option<Version>,
    /// The mark to reach: the head when the plan was made.
    pub mark: Mark,
    /// The views and what each starts from.
    pub views: Vec<ViewPlan>,
    /// The map tasks.
    pub tasks: Vec<MapTask>,
}

/// What a run is to do with one view.
#[derive(Debug)]
pub struct ViewPlan {
    /// The view.
    pub view: Arc<View>,
    /// Its files up to the mark that is carried on, by the start of their chunk; `None` if it is computed from raw files.
    pub base: Option<BTreeMap<i64, Vec<Chunk>>>,
}

/// One map task: an immutable input, and the views to be computed from it.
#[derive(Debug, Clone)]
pub struct MapTask {
    /// The dataset of the input.
    pub dataset: Dataset,
    /// The input.
    pub input: Input,
    /// The views, all of the dataset's source.
    pub views: Arc<[Arc<View>]>,
}

/// What one map task reads.
#[derive(Debug, Clone)]
pub enum Input {
    /// Raw files, to be folded: one, or several small ones.
    Files(Vec<DataFile>),
    /// A commit, whose segment is to be read.
    Commit(Commit),
}

impl Plan {
    /// Plans a run to the heads of all sources. Views that `base` has at its marks are carried on from there; all others,
    /// so all views where there is no `base`, are computed from raw files. `newest` is the newest generation, which no
    /// later one may fall behind.
    ///
    /// # Errors
    /// [`Error::BehindMark`], [`Error::Dataset`].
    pub async fn new(
        store: &Store,
        pipeline: &Pipeline,
        base: Option<&Generation>,
        newest: Option<&Generation>,
    ) -> Result<Self, Error> {
        let mut sources = Vec::with_capacity(pipeline.sources.len());
        for source in pipeline.sources.values() {
            let views = pipeline.views_of(&source.name);
            sources.push(plan_source(store, &pipeline.name, source, views, base, newest).await?);
        }
        Ok(Self { sources })
    }

    /// The views of all sources.
    pub fn views(&self) -> impl Iterator<Item = &ViewPlan> {
        self.sources.iter().flat_map(|source| &source.views)
    }

    /// How many map tasks there are.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.sources.iter().map(|s| s.tasks.len()).sum()
    }
}

async fn plan_source(
    store: &Store,
    cluster: &str,
    source: &Source,
    views: Vec<Arc<View>>,
    base: Option<&Generation>,
    newest: Option<&Generation>,
) -> Result<SourcePlan, Error> {
    let rules = &source.rules;
    let dataset = Dataset::open(store, cluster, &source.name, Arc::clone(&rules.schema), &rules.event_time).await?;
    let head = dataset.snapshot().await?;
    let mark = Mark { version: head.version, positions: head.positions };
    for generation in base.iter().chain(newest.iter()) {
        check_mark(generation, &source.name, mark.version)?;
    }
    let from = base.and_then(|g| g.marks.get(&source.name)).map(|m| m.version);
    // What was computed before an erasure still has what was erased.
    let base = base.filter(|base| base.marks.get(&source.name).is_none_or(|mark| mark.version >= head.erased));
    let views: Vec<_> = views.into_iter().map(|view| ViewPlan { base: base_of(base, &view), view }).collect();

    let (carried, raw): (Vec<&ViewPlan>, Vec<&ViewPlan>) = views.iter().partition(|v| v.base.is_some());
    let mut tasks = Vec::new();
    if !raw.is_empty() {
        let inputs = group(dataset.files(mark.version).await?).into_iter().map(Input::Files);
        tasks.extend(tasks_of(&dataset, &raw, inputs));
    }
    if let Some(from) = from
        && !carried.is_empty()
    {
        let commits = dataset.commits(from, mark.version).await?;
        let inputs = commits.into_iter().filter(|c| !c.files.is_empty()).map(Input::Commit);
        tasks.extend(tasks_of(&dataset, &carried, inputs));
    }
    Ok(SourcePlan { source: source.name.clone(), from, mark, views, tasks })
}

fn check_mark(generation: &Generation, source: &SourceName, head: Version) -> Result<(), Error> {
    match generation.marks.get(source) {
        Some(mark) if mark.version > head => Err(Error::BehindMark {
            source_name: source.clone(),
            head,
            mark: mark.version,
            generation: generation.number,
        }),
        _ => Ok(()),
    }
}

/// The chunks of `view` in `base`, if it has them of this very definition, up to a mark and cut as they are cut today.
/// The name does not matter: a view that was only renamed keeps its files.
fn base_of(base: Option<&Generation>, view: &View) -> Option<BTreeMap<i64, Vec<Chunk>>> {
    let base = base?;
    let files = base.views.values().find(|files| files.id == view.id)?;
    let usable =
        base.marks.contains_key(&view.source) && files.source == view.source && chunk::fits(view, &files.chunks);
    usable.then(|| {
        let mut chunks: BTreeMap<i64, Vec<Chunk>> = BTreeMap::new();
        files.chunks.iter().for_each(|file| chunks.entry(file.from_us).or_default().push(file.clone()));
        chunks
    })
}

/// Puts neighbouring files together until there is enough for a task of its own to be worth it.
fn group(files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let fits = bytes + file.bytes <= TASK_BYTES_MAX;
        match groups.last_mut() {
            Some(last) if fits && last.len() < TASK_FILES_MAX => {
                bytes += file.bytes;
                last.push(file);
            }
            _ => {
                bytes = file.bytes;
                groups.push(vec![file]);
            }
        }
    }
    groups
}

fn tasks_of<'a>(
    dataset: &'a Dataset,
    views: &[&ViewPlan],
    inputs: impl Iterator<Item = Input> + 'a,
) -> impl Iterator<Item = MapTask> + 'a {
    let views: Arc<[Arc<View>]> = views.iter().map(|v| Arc::clone(&v.view)).collect();
    inputs.map(move |input| MapTask { dataset: dataset.clone(), input, views: Arc::clone(&views) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_share_a_task_and_large_ones_have_their_own() {
        let file = |bytes| DataFile { path: "file".into(), rows: 1, bytes };
        let sizes = |bytes: &[u64]| {
            let groups = group(bytes.iter().map(|b| file(*b)).collect());
            groups.iter().map(|g| g.iter().map(|f| f.bytes).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let large = TASK_BYTES_MAX;
        assert_eq!(
            sizes(&[1, 2, large, 3, large + 1, large + 2]),
            [vec![1, 2], vec![large], vec![3], vec![large + 1], vec![large + 2]]
        );
        assert_eq!(group(vec![file(1); 2 * TASK_FILES_MAX + 1]).len(), 3);
        assert!(group(Vec::new()).is_empty());
    }
}
