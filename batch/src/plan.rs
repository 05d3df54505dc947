//! The plan of a run: what each source's head is, which views are carried on from a generation and which are computed from
//! raw files, and the map tasks that follow from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use common::{
    dataset::{Commit, DataFile, Dataset, Part},
    generation::{Chunk, Generation, Mark},
    history::Kept,
    names::{SourceName, ViewName},
    pipeline::{Pipeline, Source},
    position::Version,
    store::Store,
    view::View,
};

use crate::{Error, Scope, chunk, dates, history};

/// Bytes of raw files that one task is made of, unless a single file is larger: some tenths of a second of folding, beside
/// which a task's own costs vanish, and still many tasks for many cores.
pub const TASK_BYTES_MAX: u64 = 16 << 20;

/// Files that one task is made of: a task is what is lost when it is stopped and what progress is counted in.
const TASK_FILES_MAX: usize = 64;

/// What a run starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Raw files, up to the heads.
    Raw,
    /// A generation, carried on to the heads, but for views that are made anew from raw files.
    Carried {
        /// The generation.
        base: &'a Generation,
        /// The views.
        anew: &'a BTreeSet<ViewName>,
    },
    /// A generation, of whose history so much is to be kept, at its own marks.
    Aged {
        /// The generation.
        base: &'a Generation,
        /// How much of each view.
        kept: &'a BTreeMap<ViewName, Kept>,
    },
    /// A generation, of whose chunks some are made anew from raw files at its own marks.
    Repair {
        /// The generation.
        base: &'a Generation,
        /// Which chunks.
        scope: &'a Scope,
    },
}

impl<'a> Start<'a> {
    /// The generation that it starts from, if any.
    #[must_use]
    pub fn base(self) -> Option<&'a Generation> {
        match self {
            Self::Raw => None,
            Self::Carried { base, .. } | Self::Aged { base, .. } | Self::Repair { base, .. } => Some(base),
        }
    }
}

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
    /// The mark to reach: the head when the plan was made, or that of the generation that is repaired.
    pub mark: Mark,
    /// The views and what each starts from.
    pub views: Vec<ViewPlan>,
    /// The map tasks.
    pub tasks: Vec<MapTask>,
}

/// What a run is to do with one view.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// The view.
    pub view: Arc<View>,
    /// Its files up to the mark that is carried on, by the start of their chunk; `None` if it is computed from raw files.
    pub base: Option<BTreeMap<i64, Vec<Chunk>>>,
    /// The starts of the chunks that are computed from raw files all the same, and no others are touched.
    pub anew: Option<Range<i64>>,
    /// How much of its history is kept.
    pub history: Kept,
    /// The starts of the chunks that are made anew since less of the history is kept than before.
    pub aged: BTreeSet<i64>,
}

/// One map task: an immutable input, and the views to be computed from it.
#[derive(Debug, Clone)]
pub struct MapTask {
    /// The dataset of the input.
    pub dataset: Dataset,
    /// The input.
    pub input: Input,
    /// Which part of each of its files.
    pub part: Part,
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

impl Input {
    /// Into which parts its files may be taken: more than one of a large file.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let of = match self {
            Self::Files(files) if files.len() == 1 => files[0].bytes.div_ceil(TASK_BYTES_MAX).max(1) as usize,
            Self::Files(_) | Self::Commit(_) => 1,
        };
        (0..of).map(move |number| Part { number, of })
    }

    /// Bytes of raw files that are folded.
    fn bytes(&self) -> u64 {
        match self {
            Self::Files(files) => files.iter().map(|file| file.bytes).sum(),
            Self::Commit(_) => 0,
        }
    }

    /// The raw files that it is about.
    #[must_use]
    pub fn files(&self) -> &[DataFile] {
        match self {
            Self::Files(files) => files,
            Self::Commit(commit) => &commit.files,
        }
    }
}

impl ViewPlan {
    /// `view`, computed from raw files.
    #[must_use]
    pub fn raw(view: Arc<View>) -> Self {
        Self { view, base: None, anew: None, history: Kept::default(), aged: BTreeSet::new() }
    }

    /// Whether it is computed from raw files, in whole or in part.
    #[must_use]
    pub fn from_raw(&self) -> bool {
        self.base.is_none() || self.anew.is_some()
    }

    /// Whether the chunk that starts at `from_us` is one that the run may write.
    #[must_use]
    pub fn writes(&self, from_us: i64) -> bool {
        self.anew.as_ref().is_none_or(|anew| anew.contains(&from_us))
    }

    /// The files that new groups of the chunk that starts at `from_us` are merged with, or that stay if there are none.
    #[must_use]
    pub fn carried(&self, from_us: i64) -> &[Chunk] {
        let carried = self.base.as_ref().filter(|_| self.anew.is_none() || !self.writes(from_us));
        carried.and_then(|base| base.get(&from_us)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The files of all chunks but `touched`, and those that are made anew.
    pub fn kept<'a>(&'a self, touched: &'a BTreeSet<i64>) -> impl Iterator<Item = &'a Chunk> {
        let starts = self.base.iter().flat_map(BTreeMap::keys).filter(|from_us| !touched.contains(from_us));
        starts.flat_map(|from_us| self.carried(*from_us))
    }

    /// Whether events of a file are needed that can hold those of `times`.
    fn reads(&self, times: Option<&Range<i64>>) -> bool {
        match (&self.anew, times) {
            (Some(anew), Some(times)) => dates::overlap(&dates::reach(&self.view, anew), times),
            _ => true,
        }
    }
}

impl Plan {
    /// Plans a run from `start`. Views that its generation does not have at its marks are computed from raw files. `newest` is
    /// the newest generation, which no later one may fall behind. A task reads about `task_bytes`.
    ///
    /// # Errors
    /// [`Error::BehindMark`], [`Error::NotCovered`], [`Error::Dataset`].
    pub async fn new(
        store: &Store,
        pipeline: &Pipeline,
        start: Start<'_>,
        newest: Option<&Generation>,
        task_bytes: u64,
    ) -> Result<Self, Error> {
        let mut sources = Vec::with_capacity(pipeline.sources.len());
        for source in pipeline.sources.values() {
            let views = pipeline.views_of(&source.name);
            sources.extend(plan_source(store, &pipeline.name, source, views, start, newest, task_bytes).await?);
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

    /// Bytes of raw files that are folded.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.sources.iter().flat_map(|source| &source.tasks).map(|task| task.input.bytes()).sum()
    }
}

/// `None` if the generation that is repaired does not have the source.
async fn plan_source(
    store: &Store,
    cluster: &str,
    source: &Source,
    views: Vec<Arc<View>>,
    start: Start<'_>,
    newest: Option<&Generation>,
    task_bytes: u64,
) -> Result<Option<SourcePlan>, Error> {
    let rules = &source.rules;
    let dataset = Dataset::open(store, cluster, &source.name, Arc::clone(&rules.schema), &rules.event_time).await?;
    let head = dataset.snapshot().await?;
    for generation in start.base().iter().copied().chain(newest) {
        check_mark(generation, &source.name, head.version)?;
    }
    let covered = start.base().and_then(|base| base.marks.get(&source.name));
    let from = covered.map(|mark| mark.version);
    let mark = match (start, covered) {
        (Start::Repair { .. } | Start::Aged { .. }, None) => return Ok(None),
        (Start::Repair { .. } | Start::Aged { .. }, Some(mark)) => mark.clone(),
        _ => Mark { version: head.version, positions: head.positions.clone() },
    };
    // What was computed before an erasure still has what was erased.
    let usable = covered.is_none_or(|mark| mark.version >= head.erased);
    let views = views.into_iter().map(|view| plan_view(view, start, newest, usable)).filter_map(Result::transpose);
    let views = views.collect::<Result<Vec<_>, _>>()?;

    let mut tasks = Vec::new();
    let raw: Vec<&ViewPlan> = views.iter().filter(|view| view.from_raw()).collect();
    if !raw.is_empty() {
        for (read, files) in by_readers(&raw, dataset.files(mark.version).await?) {
            let readers: Vec<&ViewPlan> = read.into_iter().map(|at| raw[at]).collect();
            let groups = group(files, task_bytes, |file| file.bytes);
            tasks.extend(tasks_of(&dataset, &readers, groups.into_iter().map(Input::Files)));
        }
        // The history whose raw files are gone.
        let removals = dataset.removals(&head, mark.version).await?;
        tasks.extend(tasks_of(&dataset, &raw, removals.into_iter().map(Input::Commit)));
    }
    let carried: Vec<&ViewPlan> = views.iter().filter(|view| view.base.is_some()).collect();
    if let Some(from) = from
        && !carried.is_empty()
    {
        let commits = dataset.commits(from, mark.version).await?;
        let inputs = commits.into_iter().filter(|c| !c.files.is_empty()).map(Input::Commit);
        tasks.extend(tasks_of(&dataset, &carried, inputs));
    }
    Ok(Some(SourcePlan { source: source.name.clone(), from, mark, views, tasks }))
}

/// `None` for a view that is not asked for and that the generation to be repaired does not have. Unless its generation is
/// `usable`, nothing is carried on.
fn plan_view(
    view: Arc<View>,
    start: Start<'_>,
    newest: Option<&Generation>,
    usable: bool,
) -> Result<Option<ViewPlan>, Error> {
    let base_of = |base: &Generation, view: &View| base_of(base, view).filter(|_| usable);
    // What a run computes anew is cut as what it takes the place of.
    let history = history::of(start.base().or(newest), &view);
    let planned = ViewPlan { history, ..ViewPlan::raw(view) };
    let view = Arc::clone(&planned.view);
    Ok(match start {
        Start::Raw => Some(planned),
        Start::Carried { base, anew } => {
            let base = base_of(base, &view).filter(|_| !anew.contains(&view.name));
            Some(ViewPlan { base, ..planned })
        }
        Start::Aged { base, kept } => base_of(base, &view).map(|chunks| {
            let history = kept.get(&view.name).unwrap_or(&planned.history).clone();
            let aged = history::aged(&view, &chunks, &planned.history, &history);
            ViewPlan { base: Some(chunks), history, aged, ..planned }
        }),
        Start::Repair { base: generation, scope } => match (base_of(generation, &view), scope.has(&view.name)) {
            (None, true) => return Err(Error::NotCovered { view: view.name.clone(), generation: generation.number }),
            (None, false) => None,
            (base, asked) => {
                let anew = asked.then(|| history::anew(scope, &view, &planned.history));
                Some(ViewPlan { base, anew, ..planned })
            }
        },
    })
}

/// `files` by which of `views` read them.
fn by_readers(views: &[&ViewPlan], files: Vec<DataFile>) -> BTreeMap<Vec<usize>, Vec<DataFile>> {
    let mut by_readers: BTreeMap<Vec<usize>, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        let times = dates::of(&file);
        let readers: Vec<usize> = (0..views.len()).filter(|at| views[*at].reads(times.as_ref())).collect();
        if !readers.is_empty() {
            by_readers.entry(readers).or_default().push(file);
        }
    }
    by_readers
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
pub(crate) fn base_of(base: &Generation, view: &View) -> Option<BTreeMap<i64, Vec<Chunk>>> {
    let files = base.of(&view.id)?;
    let usable =
        base.marks.contains_key(&view.source) && files.source == view.source && chunk::fits(view, &files.chunks);
    usable.then(|| {
        let mut chunks: BTreeMap<i64, Vec<Chunk>> = BTreeMap::new();
        files.chunks.iter().for_each(|file| chunks.entry(file.from_us).or_default().push(file.clone()));
        chunks
    })
}

/// Puts neighbouring files together until there is enough for a task of its own to be worth it: of all their sizes at most `most`,
/// unless one alone has more.
pub(crate) fn group(files: Vec<DataFile>, most: u64, size_of: impl Fn(&DataFile) -> u64) -> Vec<Vec<DataFile>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let mut size = 0;
    for file in files {
        let fits = size + size_of(&file) <= most;
        match groups.last_mut() {
            Some(last) if fits && last.len() < TASK_FILES_MAX => {
                size += size_of(&file);
                last.push(file);
            }
            _ => {
                size = size_of(&file);
                groups.push(vec![file]);
            }
        }
    }
    groups
}

/// The tasks of `inputs`, of which so many are in flight, in their order and by their numbers: a large file is taken in parts if so
/// little comes after it that the others would be done long before.
pub(crate) fn in_parts(inputs: &[&Input], in_flight: usize) -> impl Iterator<Item = (usize, Part)> {
    let mut left: u64 = inputs.iter().map(|input| input.bytes()).sum();
    inputs.iter().enumerate().flat_map(move |(at, input)| {
        let bytes = input.bytes();
        left -= bytes;
        let is_last = left < bytes.saturating_mul(in_flight as u64);
        let parts = if is_last { input.parts().collect() } else { vec![Part::WHOLE] };
        parts.into_iter().map(move |part| (at, part))
    })
}

fn tasks_of<'a>(
    dataset: &'a Dataset,
    views: &[&ViewPlan],
    inputs: impl Iterator<Item = Input> + 'a,
) -> impl Iterator<Item = MapTask> + 'a {
    let views: Arc<[Arc<View>]> = views.iter().map(|v| Arc::clone(&v.view)).collect();
    inputs.map(move |input| MapTask { dataset: dataset.clone(), input, part: Part::WHOLE, views: Arc::clone(&views) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_share_a_task_and_large_ones_have_their_own() {
        let file = |bytes| DataFile { path: "file".into(), rows: 1, bytes };
        let sizes = |bytes: &[u64]| {
            let files = bytes.iter().map(|b| file(*b)).collect();
            let groups = group(files, TASK_BYTES_MAX, |file| file.bytes);
            groups.iter().map(|g| g.iter().map(|f| f.bytes).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let large = TASK_BYTES_MAX;
        assert_eq!(
            sizes(&[1, 2, large, 3, large + 1, large + 2]),
            [vec![1, 2], vec![large], vec![3], vec![large + 1], vec![large + 2]]
        );
        assert_eq!(group(vec![file(1); 2 * TASK_FILES_MAX + 1], TASK_BYTES_MAX, |file| file.bytes).len(), 3);
        assert!(group(Vec::new(), TASK_BYTES_MAX, |file| file.bytes).is_empty());
    }

    fn files(bytes: &[u64]) -> Input {
        let file = |&bytes: &u64| DataFile { path: "file".into(), rows: 1, bytes };
        Input::Files(bytes.iter().map(file).collect())
    }

    #[test]
    fn a_large_file_has_several_parts_and_small_ones_have_not() {
        let parts = |bytes: &[u64]| files(bytes).parts().map(|part| (part.number, part.of)).collect::<Vec<_>>();
        assert_eq!(parts(&[0]), [(0, 1)]);
        assert_eq!(parts(&[TASK_BYTES_MAX]), [(0, 1)]);
        assert_eq!(parts(&[2 * TASK_BYTES_MAX + 1]), [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(parts(&[2 * TASK_BYTES_MAX, 1]), [(0, 1)]);
    }

    #[test]
    fn l7_files_after_which_too_little_is_left_for_the_other_cores_are_taken_in_parts() {
        let large = 2 * TASK_BYTES_MAX;
        let of =
            |inputs: &[&Input]| in_parts(inputs, 2).map(|(at, part)| (at, part.number, part.of)).collect::<Vec<_>>();
        let (one, two) = (files(&[large]), files(&[large / 2, large / 2]));
        let commit = Input::Commit(Commit::default());
        assert_eq!(of(&[&one]), [(0, 0, 2), (0, 1, 2)]);
        assert_eq!(of(&[&one, &commit, &commit]), [(0, 0, 2), (0, 1, 2), (1, 0, 1), (2, 0, 1)]);
        assert_eq!(of(&[&one, &two]), [(0, 0, 2), (0, 1, 2), (1, 0, 1)]);
        assert_eq!(of(&[&one, &two, &two]), [(0, 0, 1), (1, 0, 1), (2, 0, 1)]);
    }
}
