//! The tiers of one source: what its views show of the generation, the commits since and the tails, cut at one place.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use arrow::record_batch::RecordBatch;
use common::{
    dataset::LOADS_FROM,
    feed::{Delta, Standing},
    gap::Gap,
    generation::Mark,
    history::Kept,
    measure::Error,
    names::SourceName,
    position::{OffsetRange, Partition, Position, Positions, Version},
    view::{View, ViewId},
};

use super::{
    Table,
    stack::Stack,
    tail::{Choice, Tail, base},
};

/// A commit with its segment by view; views that nothing fell into may be absent.
#[derive(Debug, Clone)]
pub struct Segmented {
    /// The version it made.
    pub version: Version,
    /// The positions it moved.
    pub positions: Positions,
    /// Its segment.
    pub segment: Vec<(ViewId, RecordBatch)>,
}

/// One chunk of a view in a generation, read.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The object it was read from: content-addressed, so equal paths are equal chunks.
    pub path: String,
    /// Start of its half-open time interval, microseconds since 1970-01-01 UTC.
    pub from_us: i64,
    /// End of its half-open time interval.
    pub to_us: i64,
    /// Its canonical partial.
    pub table: Table,
}

/// What a generation has of one view.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Up to which version; `None` if the view (in its present definition) is not in the generation: all commits count
    /// as segments then.
    pub mark: Option<Version>,
    /// Its chunks, by time.
    pub chunks: Arc<[Chunk]>,
    /// How much of the view's history is in them.
    pub kept: Kept,
}

impl Batch {
    /// The version after which segments count.
    #[must_use]
    pub fn covered(&self) -> Version {
        self.mark.unwrap_or_default()
    }
}

/// Whether the events after the head are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// This process listens to no feed: a `serve` role beside a store.
    Absent,
    /// There is a feed, and what was told on it before this process listened is being read.
    Behind,
    /// There is a feed, and nothing was heard of this source yet.
    Silent,
    /// The source was heard of.
    Heard,
    /// The feed has ended.
    Ended,
}

/// The newest version shown, and its positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) positions: Positions,
}

/// One view's part of what a generation brings to a source.
#[derive(Debug, Clone)]
pub(crate) struct BatchOf {
    pub(crate) view: ViewId,
    pub(crate) batch: Batch,
    /// Segments that the view held no longer and now needs again, because the new generation covers less of it.
    pub(crate) earlier: Vec<(Version, RecordBatch)>,
}

/// See the module. Cheap to clone: everything large is shared.
#[derive(Debug, Clone)]
pub struct SourceTiers {
    pub(super) name: SourceName,
    pub(super) views: Arc<[Arc<View>]>,
    pub(super) mark: Option<Mark>,
    pub(super) batch: Vec<Batch>,
    pub(super) head: Head,
    pub(super) segments: Vec<Stack>,
    pub(super) tails: BTreeMap<Partition, Tail>,
    /// Commits made but not shown yet: a tail's chain cannot be cut at them, and its successor has not reached as far.
    waiting: VecDeque<Segmented>,
    pub(super) feed: Feed,
    /// How the reader of each partition said last that it stands.
    standings: BTreeMap<Partition, Standing>,
    /// Partitions of which nothing was heard for too long.
    pub(super) silent: BTreeSet<Partition>,
    /// What the log had forgotten before it was read.
    pub(super) gaps: Vec<Gap>,
    pub(super) as_of_us: Option<i64>,
}

impl SourceTiers {
    /// The tiers of a source of which nothing is known: the empty dataset.
    pub(super) fn new(name: &SourceName, views: Vec<Arc<View>>, feed: Feed) -> Self {
        Self {
            name: name.clone(),
            mark: None,
            batch: views.iter().map(|_| Batch::default()).collect(),
            head: Head::default(),
            segments: views.iter().map(Stack::new).collect(),
            tails: BTreeMap::new(),
            waiting: VecDeque::new(),
            feed,
            standings: BTreeMap::new(),
            silent: BTreeSet::new(),
            gaps: Vec::new(),
            as_of_us: None,
            views: views.into(),
        }
    }

    pub(super) fn start_at(&mut self, mark: &Mark) {
        self.head = Head { version: mark.version, positions: mark.positions.clone() };
        for batch in &mut self.batch {
            batch.mark = Some(mark.version);
        }
    }

    /// The source's views.
    #[must_use]
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// The newest version shown.
    #[must_use]
    pub fn head(&self) -> Version {
        self.head.version
    }

    /// The newest version known of, shown or not: the one before the next commit due.
    #[must_use]
    pub fn known(&self) -> Version {
        self.waiting.back().map_or(self.head.version, |commit| commit.version)
    }

    /// How many commits are known but not shown yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the generation shown has of view number `index`.
    #[must_use]
    pub fn batch(&self, index: usize) -> &Batch {
        &self.batch[index]
    }

    /// How far answers from all layers see, by partition.
    #[must_use]
    pub fn reach(&self) -> Positions {
        let mut reach = self.head.positions.clone();
        reach.extend(self.tails.iter().map(|(partition, tail)| (*partition, tail.reach())));
        reach
    }

    /// What the log had forgotten before it was read, as far as is known.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Whether deltas were heard of that cannot be shown, because something before them is missing.
    #[must_use]
    pub fn withholds(&self) -> bool {
        self.tails.values().any(|tail| tail.withheld().is_some())
    }

    /// Whether something is missing that the store may have: what cannot be shown, or was not heard of.
    #[must_use]
    pub fn lacks(&self) -> bool {
        self.withholds() || self.feed != Feed::Heard || !self.silent.is_empty()
    }

    /// What waiting commits have that answers do not see.
    pub(super) fn held_back(&self) -> Vec<(Partition, OffsetRange)> {
        let mut committed = Positions::new();
        for commit in &self.waiting {
            committed.extend(commit.positions.iter().map(|(partition, at)| (*partition, *at)));
        }
        let reach = self.reach();
        let seen = |partition| reach.get(&partition).copied().unwrap_or_default();
        let beyond = committed.into_iter().filter(|(partition, at)| seen(*partition) < *at);
        beyond.map(|(partition, at)| (partition, OffsetRange::new(seen(partition), at))).collect()
    }

    /// The partitions of the log that are known of, by those who read, from commits or from tails. Loads have no reader.
    pub(crate) fn partitions(&self) -> BTreeSet<Partition> {
        let counted = self.standings.values().map(|standing| standing.partitions).max().unwrap_or_default();
        let known = self.head.positions.keys().chain(self.tails.keys()).copied();
        (0..counted).map(Partition).chain(known).filter(|partition| *partition < LOADS_FROM).collect()
    }

    /// How the reader of `partition` said last that it stands.
    pub(crate) fn standing_of(&self, partition: Partition) -> Option<&Standing> {
        self.standings.get(&partition)
    }

    /// Partitions of which nothing was heard for too long.
    pub(crate) fn silent(&self) -> &BTreeSet<Partition> {
        &self.silent
    }

    /// Records that the log holds and that were not read yet; `None` unless every partition's reader has said.
    pub(super) fn lag_records(&self) -> Option<u64> {
        let of = |partition| self.standings.get(&partition).and_then(|standing| standing.lag_records);
        if self.feed != Feed::Heard || self.standings.is_empty() || !self.silent.is_empty() {
            return None;
        }
        self.partitions().into_iter().map(of).sum()
    }

    pub(super) fn heard(&mut self) {
        if self.feed != Feed::Behind {
            self.feed = Feed::Heard;
        }
    }

    pub(super) fn up_to_date(&mut self) {
        if self.feed == Feed::Behind {
            self.feed = if self.standings.is_empty() && self.tails.is_empty() { Feed::Silent } else { Feed::Heard };
        }
    }

    pub(super) fn end(&mut self) {
        self.feed = Feed::Ended;
    }

    /// Takes in how a partition stands: what its reader has told of and was not heard is missing.
    pub(super) fn standing(&mut self, standing: Standing) -> Result<(), Error> {
        let (partition, told) = (standing.partition, standing.told);
        let start = base(&self.head.positions, partition);
        if told > start {
            let tail = self.tails.entry(partition).or_insert_with(|| Tail::new(standing.epoch, start, &self.views));
            tail.hear_of(told);
        }
        self.standings.insert(partition, standing);
        self.settle()
    }

    /// Takes a delta of a tail in. A partition that no commit is known of starts at 0: if its log starts later, or another
    /// writer has committed what is before, its tail shows from the first commit on that is heard of, and not too early.
    pub(super) fn delta(&mut self, delta: Delta) -> Result<(), Error> {
        let partition = delta.partition;
        let start = base(&self.head.positions, partition);
        let tail = self.tails.entry(partition).or_insert_with(|| Tail::new(delta.epoch, start, &self.views));
        tail.extend(delta, &self.views)?;
        self.settle()
    }

    /// Takes a commit in. The one due is `known().next()`; older ones are known already and passed over.
    ///
    /// # Panics
    /// If a commit in between is missing: the caller has not read it.
    pub(super) fn commit(&mut self, commit: Segmented) -> Result<(), Error> {
        if commit.version <= self.known() {
            return Ok(());
        }
        assert_eq!(commit.version, self.known().next(), "a commit of {} was passed over", self.name);
        self.waiting.push_back(commit);
        self.settle()
    }

    /// Shows the generation that covers this source up to `mark`. In the same step each view's segments become those since.
    ///
    /// # Panics
    /// If the head shown is before the mark: the caller has not waited for it.
    pub(super) fn generation(&mut self, mark: Option<Mark>, views: Vec<BatchOf>) -> Result<(), Error> {
        let covered = mark.as_ref().map_or(Version::default(), |m| m.version);
        assert!(covered <= self.head.version, "the mark of {} is after the head shown", self.name);
        self.mark = mark;
        for new in views {
            let Some(index) = self.views.iter().position(|v| v.id == new.view) else { continue };
            let stack = &mut self.segments[index];
            stack.push_below(new.earlier.into_iter().map(|(version, partial)| (version.0, partial)).collect())?;
            stack.drop_before(new.batch.covered().next().0)?;
            self.batch[index] = new.batch;
        }
        Ok(())
    }

    /// Shows as many of the waiting commits as every tail can be cut at, trimming the tails and adding the segments in the
    /// same step; and newer chains that have reached as far.
    fn settle(&mut self) -> Result<(), Error> {
        for commits in (0..=self.waiting.len()).rev() {
            let mut positions = self.head.positions.clone();
            for commit in self.waiting.iter().take(commits) {
                positions.extend(commit.positions.iter().map(|(p, at)| (*p, *at)));
            }
            if let Some(choices) = self.choices(&positions) {
                return self.show(commits, positions, &choices);
            }
        }
        Ok(())
    }

    /// Which chain each tail shows if the head is at `positions`; `None` if one of them has none to show.
    fn choices(&self, positions: &Positions) -> Option<Vec<(Partition, Choice, Position)>> {
        let choose = |(partition, tail): (&Partition, &Tail)| {
            let at = base(positions, *partition);
            tail.choose(at).map(|choice| (*partition, choice, at))
        };
        self.tails.iter().map(choose).collect()
    }

    fn show(
        &mut self,
        commits: usize,
        positions: Positions,
        choices: &[(Partition, Choice, Position)],
    ) -> Result<(), Error> {
        for (partition, choice, at) in choices {
            let tail = self.tails.get_mut(partition).expect("the choices were made from these tails");
            tail.settle(*choice, *at)?;
            self.as_of_us = self.as_of_us.max(tail.as_of_us());
        }
        for commit in self.waiting.drain(..commits) {
            for (id, partial) in commit.segment {
                if let Some(index) = self.views.iter().position(|v| v.id == id) {
                    self.segments[index].push(commit.version.0, partial)?;
                }
            }
            self.head.version = commit.version;
        }
        self.head.positions = positions;
        Ok(())
    }
}
