//! Where the one commit of a source stands: at most one is under way at any time.

use std::collections::BTreeSet;

use common::position::Partition;

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
    /// Done and told; segments are being written and the log is being trimmed.
    Settling,
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
            Self::Idle | Self::Settling => 0,
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
