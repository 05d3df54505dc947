//! Where the one commit of a source stands, of which at most one is under way at any time; and what is left to do for those that
//! are durable.

use std::collections::{BTreeSet, VecDeque};

use arrow::record_batch::RecordBatch;
use common::{dataset::Commit, limits::COMMITS_SETTLING_MAX, position::Partition};

use crate::tail::Part;

/// The stages of a commit.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// None is under way.
    #[default]
    Idle,
    /// Lanes were asked for their parts.
    Sealing {
        /// The lanes that have not answered.
        awaiting: BTreeSet<Partition>,
        /// The answers.
        parts: Vec<Part>,
    },
    /// The parts are being made durable.
    Writing {
        /// Whose parts.
        partitions: BTreeSet<Partition>,
        /// Their size.
        bytes: u64,
    },
}

impl Stage {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// Whether a part of `partition` is on its way, so that its position may move at any moment.
    pub(super) fn is_writing(&self, partition: Partition) -> bool {
        matches!(self, Self::Writing { partitions, .. } if partitions.contains(&partition))
    }

    /// The bytes that a commit holds.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Sealing { parts, .. } => parts.iter().map(|part| part.bytes).sum(),
            Self::Writing { bytes, .. } => *bytes,
        }
    }

    /// Takes the part of a lane that was asked for it.
    pub(super) fn add(&mut self, part: Part) {
        if let Self::Sealing { awaiting, parts } = self
            && awaiting.remove(&part.partition)
        {
            parts.push(part);
        }
    }

    /// Forgets what a lane has given or was to give: it is not this worker's any more. What is being written already
    /// cannot be called back, and need not: it is committed only if nobody else has committed since (L3).
    pub(super) fn forget(&mut self, partition: Partition) {
        if let Self::Sealing { awaiting, parts } = self {
            awaiting.remove(&partition);
            parts.retain(|part| part.partition != partition);
        }
    }

    /// The parts, once all lanes have answered; the stage is then [`Self::Writing`].
    pub(super) fn write(&mut self) -> Option<Vec<Part>> {
        let Self::Sealing { awaiting, parts } = self else { return None };
        if !awaiting.is_empty() {
            return None;
        }
        let parts = std::mem::take(parts);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        *self = Self::Writing { partitions: parts.iter().map(|part| part.partition).collect(), bytes };
        Some(parts)
    }
}

/// Commits that are durable and told, whose segments are to be written and whose records to be trimmed: one after the other, in
/// their order, beside the commits that follow.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: VecDeque<(Commit, Vec<RecordBatch>)>,
    is_busy: bool,
}

impl Settling {
    pub(super) fn push(&mut self, commit: Commit, segment: Vec<RecordBatch>) {
        self.waiting.push_back((commit, segment));
    }

    /// The commit whose turn it is, if there is none at work.
    pub(super) fn take(&mut self) -> Option<(Commit, Vec<RecordBatch>)> {
        let next = if self.is_busy { None } else { self.waiting.pop_front() };
        self.is_busy |= next.is_some();
        next
    }

    /// The one at work is done.
    pub(super) fn done(&mut self) {
        self.is_busy = false;
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.is_empty()
    }

    /// Whether another commit may begin.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() + usize::from(self.is_busy) < COMMITS_SETTLING_MAX
    }
}

#[cfg(test)]
mod tests {
    use common::position::Version;

    use super::*;

    fn push(settling: &mut Settling, version: u64) {
        settling.push(Commit { version: Version(version), ..Commit::default() }, Vec::new());
    }

    #[test]
    fn l2_commits_settle_in_their_order_one_at_a_time() {
        let mut settling = Settling::default();
        push(&mut settling, 1);
        assert!(settling.has_room(), "the next commit begins beside one that settles");
        push(&mut settling, 2);
        assert!(!settling.has_room(), "what waits is bounded");
        for version in 1..=2 {
            let (commit, _) = settling.take().unwrap();
            assert_eq!(commit.version, Version(version));
            assert_eq!(settling.take(), None, "one at a time");
            assert!(!settling.is_idle());
            settling.done();
        }
        assert!(settling.is_idle() && settling.has_room());
    }
}
