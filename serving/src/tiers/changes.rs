//! What was read after an answer: the pieces that are kept of it.

use arrow::record_batch::RecordBatch;
use common::{
    names::ViewName,
    position::{Positions, Version},
};

use super::{Layer, Tiers};

/// How far an answer about one source saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The generation shown.
    pub(crate) generation: Option<u64>,
    /// The newest version shown.
    pub(crate) head: Version,
    /// The positions that answers reach.
    pub(crate) positions: Positions,
}

impl Tiers {
    /// How far answers about `view` see; `None` if there is no such view.
    pub(crate) fn seen(&self, view: &ViewName) -> Option<Seen> {
        let (source, _) = self.views.get(view)?;
        let source = self.sources.get(source)?;
        let generation = self.generation.as_ref().map(|generation| generation.number);
        Some(Seen { generation, head: source.head.version, positions: source.reach() })
    }

    /// The partials of all that `layer`'s answers about `view` see now and did not at `seen`, and maybe of a little more; `None`
    /// if that is not kept.
    pub(crate) fn since(&self, view: &ViewName, layer: Layer, seen: &Seen) -> Option<Vec<&RecordBatch>> {
        let (name, index) = self.views.get(view)?;
        let source = self.sources.get(name)?;
        let generation = self.generation.as_ref().map(|generation| generation.number);
        if layer != Layer::Merged && generation != seen.generation {
            return None;
        }
        if layer == Layer::Batch {
            return Some(Vec::new());
        }
        let reach = source.reach();
        let reached = |(partition, at): (_, &_)| reach.get(partition).is_some_and(|now| now >= at);
        let kept = seen.head >= source.batch[*index].covered() && seen.head <= source.head.version;
        if !kept || !seen.positions.iter().all(reached) {
            return None;
        }
        let mut pieces: Vec<&RecordBatch> = source.segments[*index].from(seen.head.next().0).collect();
        for (partition, tail) in &source.tails {
            let from = seen.positions.get(partition).copied().unwrap_or_default();
            pieces.extend(tail.beyond(*index, from));
        }
        Some(pieces)
    }
}
