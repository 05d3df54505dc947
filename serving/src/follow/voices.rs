//! Whose voice was heard when: the reader of each partition speaks every second, and a feed between processes says nothing when
//! one is gone, or cannot be heard.

use std::collections::{BTreeMap, BTreeSet};

use common::{feed::Notice, limits::FEED_SILENCE_MAX, names::SourceName, position::Partition};
use tokio::time::Instant;

use crate::tiers::{Change, SourceTiers, Tiers};

/// When each partition was heard of last.
#[derive(Debug, Default)]
pub(super) struct Voices {
    heard: BTreeMap<SourceName, BTreeMap<Partition, Instant>>,
}

impl Voices {
    /// Notes whose voice `notice` is.
    pub(super) fn note(&mut self, notice: &Notice) {
        let partition = match notice {
            Notice::Delta(delta) => delta.partition,
            Notice::Standing(standing) => standing.partition,
            // It was made before it is told, maybe long before.
            Notice::Committed(_) => return,
        };
        let of_source = self.heard.entry(notice.source().clone()).or_default();
        of_source.insert(partition, Instant::now());
    }

    /// What changes in who is silent; on a feed that is not lossy nobody who has spoken once is.
    pub(super) fn changes(&self, tiers: &Tiers, is_lossy: bool) -> Vec<Change> {
        let of = |(name, source): (&SourceName, &SourceTiers)| {
            let silent = self.silent(name, source, is_lossy);
            (silent != *source.silent()).then(|| Change::Silent(name.clone(), silent))
        };
        tiers.sources().filter_map(of).collect()
    }

    fn silent(&self, name: &SourceName, source: &SourceTiers, is_lossy: bool) -> BTreeSet<Partition> {
        let is_silent = |partition: &Partition| {
            let heard = self.heard.get(name).and_then(|heard| heard.get(partition));
            heard.is_none_or(|heard| is_lossy && heard.elapsed() >= FEED_SILENCE_MAX)
        };
        source.partitions().into_iter().filter(is_silent).collect()
    }
}
