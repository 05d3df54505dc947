//! Tiers: everything that is served at one moment, immutable. A change makes the next set; one query answers from one set
//! whole (L4), so no answer mixes two generations, or a commit's segment with the tail it came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[cfg(test)]
use arrow::record_batch::RecordBatch;
use common::{
    feed::{Delta, Standing},
    gap::Gap,
    generation::{Generation, Mark},
    history::Kept,
    measure::Error,
    names::{SourceName, ViewName},
    position::Partition,
    view::View,
};

mod changes;
mod provenance;
mod source;
mod stack;
mod table;
mod tail;

#[cfg(test)]
mod tests;

pub(crate) use changes::Seen;
pub use provenance::{Provenance, SourceStatus};
pub(crate) use source::BatchOf;
pub use source::{Batch, Chunk, Feed, Segmented, SourceTiers};
pub use table::Table;
#[cfg(test)]
pub(crate) use table::in_range;
pub(crate) use table::{RollUp, Slice, Wanted, coded};

/// Which part of an answer is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Everything: generation, segments and tails.
    #[default]
    Merged,
    /// The generation alone: what is at or before the mark.
    Batch,
    /// The segments and tails alone: what is after the mark.
    Live,
}

/// A generation with the files of this process's views read, ready to be shown.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) generation: Arc<Generation>,
    /// By source, its views.
    pub(crate) sources: BTreeMap<SourceName, Vec<BatchOf>>,
}

impl Loaded {
    fn mark(&self, source: &SourceName) -> Option<&Mark> {
        self.generation.marks.get(source)
    }
}

/// What changes the tiers.
#[derive(Debug)]
pub(crate) enum Change {
    Delta(Delta),
    Commit(SourceName, Segmented),
    Standing(Standing),
    /// The partitions of which nothing was heard for too long, all others having been heard of.
    Silent(SourceName, BTreeSet<Partition>),
    /// What was told before this process listened was heard.
    UpToDate,
    Gaps(SourceName, Vec<Gap>),
    Generation(Loaded),
    FeedEnded,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Tiers {
    generation: Option<Arc<Generation>>,
    sources: BTreeMap<SourceName, Arc<SourceTiers>>,
    views: Arc<BTreeMap<ViewName, (SourceName, usize)>>,
}

impl Tiers {
    /// The tiers of `views` before anything is known; `feed` says whether tails will be heard of.
    #[must_use]
    pub fn new<'a>(views: impl IntoIterator<Item = &'a Arc<View>>, feed: Feed) -> Self {
        let mut by_source: BTreeMap<SourceName, Vec<Arc<View>>> = BTreeMap::new();
        let mut index = BTreeMap::new();
        for view in views {
            let of_source = by_source.entry(view.source.clone()).or_default();
            index.insert(view.name.clone(), (view.source.clone(), of_source.len()));
            of_source.push(Arc::clone(view));
        }
        let tiers = |(name, views)| (SourceName::clone(&name), Arc::new(SourceTiers::new(&name, views, feed)));
        Self { generation: None, sources: by_source.into_iter().map(tiers).collect(), views: Arc::new(index) }
    }

    /// These tiers, of which nothing is known yet, as if `marks` were covered. Not to be shown before the generation that
    /// covers them has been applied.
    pub(crate) fn starting_at(mut self, marks: &BTreeMap<SourceName, Mark>) -> Self {
        for (name, tiers) in &mut self.sources {
            if let Some(mark) = marks.get(name) {
                Arc::make_mut(tiers).start_at(mark);
            }
        }
        self
    }

    /// The generation shown.
    #[must_use]
    pub fn generation(&self) -> Option<&Arc<Generation>> {
        self.generation.as_ref()
    }

    /// The sources that have views.
    pub fn sources(&self) -> impl Iterator<Item = (&SourceName, &SourceTiers)> {
        self.sources.iter().map(|(name, source)| (name, source.as_ref()))
    }

    /// The tiers of `source`.
    #[must_use]
    pub fn source(&self, source: &SourceName) -> Option<&SourceTiers> {
        self.sources.get(source).map(AsRef::as_ref)
    }

    /// The tables that together are `layer`'s partial of view `name` over buckets in `[from_us, to_us)`, and maybe over
    /// others: chunks are pruned by their time, rows are not. `None` if there is no such view.
    #[must_use]
    pub(crate) fn tables(&self, name: &ViewName, layer: Layer, from_us: i64, to_us: i64) -> Option<Vec<&Table>> {
        let (source, index) = self.views.get(name)?;
        let source = self.sources.get(source)?;
        let mut tables = Vec::new();
        if layer != Layer::Live {
            let chunks = source.batch[*index].chunks.iter();
            tables.extend(chunks.filter(|c| c.from_us < to_us && from_us < c.to_us).map(|c| &c.table));
        }
        if layer != Layer::Batch {
            tables.extend(source.segments[*index].runs());
            tables.extend(source.tails.values().flat_map(|tail| tail.runs(*index)));
        }
        Some(tables)
    }

    /// How much of the history of view `name` is kept; all if there is no such view.
    #[must_use]
    pub(crate) fn kept(&self, name: &ViewName) -> Kept {
        let place = self.views.get(name).and_then(|(source, index)| Some((self.sources.get(source)?, index)));
        place.map(|(source, index)| source.batch[*index].kept.clone()).unwrap_or_default()
    }

    /// The partials of all that `layer` has of view `name`.
    #[cfg(test)]
    pub(crate) fn partials(&self, name: &ViewName, layer: Layer) -> Option<Vec<RecordBatch>> {
        Some(self.tables(name, layer, i64::MIN, i64::MAX)?.into_iter().map(Table::decoded).collect())
    }

    /// Whether every source's head has reached the mark that `loaded` has of it.
    pub(crate) fn reaches(&self, loaded: &Loaded) -> bool {
        self.sources.iter().all(|(name, tiers)| loaded.mark(name).is_none_or(|mark| mark.version <= tiers.head()))
    }

    /// The next set. CPU work: call it off the async runtime. What others still hold is copied, the rest is moved.
    ///
    /// # Errors
    /// A measure's, if states do not merge.
    pub(crate) fn apply(self, change: Change) -> Result<Self, Error> {
        let mut next = self;
        match change {
            Change::Delta(delta) => {
                if let Some(tiers) = next.source_mut(&delta.source) {
                    tiers.heard();
                    tiers.delta(delta)?;
                }
            }
            Change::Commit(source, commit) => {
                if let Some(tiers) = next.source_mut(&source) {
                    tiers.commit(commit)?;
                }
            }
            Change::Standing(standing) => {
                if let Some(tiers) = next.source_mut(&standing.source) {
                    tiers.heard();
                    tiers.standing(standing)?;
                }
            }
            Change::Silent(source, partitions) => {
                if let Some(tiers) = next.source_mut(&source) {
                    tiers.silent = partitions;
                }
            }
            Change::UpToDate => {
                for tiers in next.sources.values_mut() {
                    Arc::make_mut(tiers).up_to_date();
                }
            }
            Change::Gaps(source, gaps) => {
                if let Some(tiers) = next.source_mut(&source) {
                    tiers.gaps = gaps;
                }
            }
            Change::Generation(loaded) => next.swap(loaded)?,
            Change::FeedEnded => {
                for tiers in next.sources.values_mut() {
                    Arc::make_mut(tiers).end();
                }
            }
        }
        Ok(next)
    }

    fn source_mut(&mut self, source: &SourceName) -> Option<&mut SourceTiers> {
        self.sources.get_mut(source).map(Arc::make_mut)
    }

    fn swap(&mut self, mut loaded: Loaded) -> Result<(), Error> {
        for (name, tiers) in &mut self.sources {
            let views = loaded.sources.remove(name).unwrap_or_default();
            Arc::make_mut(tiers).generation(loaded.mark(name).cloned(), views)?;
        }
        self.generation = Some(loaded.generation);
        Ok(())
    }
}
