//! What a run did, for `--json` and for people.

use std::collections::BTreeMap;

use common::{
    names::{SourceName, ViewName},
    position::Version,
    view::ViewId,
};
use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From the last generation and the commits since.
    Advance,
    /// From raw files.
    Recompute,
}

/// How a run ended; `generation` is the newest one then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// This run published `generation`.
    Published {
        /// Its number.
        generation: u64,
    },
    /// What this run would have published is, file by file, what `generation` has already.
    Unchanged {
        /// Its number.
        generation: u64,
    },
    /// Another run published `generation` first, and it covers all that this run covers.
    Superseded {
        /// Its number.
        generation: u64,
    },
}

impl Outcome {
    /// The number of the newest generation when the run ended.
    #[must_use]
    pub fn generation(self) -> u64 {
        match self {
            Self::Published { generation } | Self::Unchanged { generation } | Self::Superseded { generation } => {
                generation
            }
        }
    }
}

/// What a run did with one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// The high-water mark it started from; `None` if there was none.
    pub from: Option<Version>,
    /// The high-water mark it reached.
    pub to: Version,
    /// Raw files folded.
    pub files: u64,
    /// Events in these files.
    pub events: u64,
    /// Commits whose segments were merged.
    pub commits: u64,
}

/// What a run did with one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewReport {
    /// The definition.
    pub id: ViewId,
    /// Whether it was computed from raw files.
    pub from_raw: bool,
    /// Chunk files written.
    pub chunks_written: u64,
    /// Chunk files taken over from the last generation.
    pub chunks_kept: u64,
    /// Rows in all its chunks.
    pub rows: u64,
    /// Bytes of all its chunks.
    pub bytes: u64,
}

/// What a run did. Counts are those of the last attempt, where a lost race made the run start over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was asked.
    pub kind: Kind,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// By source.
    pub sources: BTreeMap<SourceName, SourceReport>,
    /// By view.
    pub views: BTreeMap<ViewName, ViewReport>,
    /// The tasks of a run that keeps its finished work in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskReport>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// The tasks of a run in the store: how many there are, and how many of them had been finished before, by whoever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TaskReport {
    /// The run.
    pub run: String,
    /// Map tasks.
    pub map: u64,
    /// Map tasks that were finished when this process took the run up.
    pub map_before: u64,
    /// Reduce tasks.
    pub reduce: u64,
    /// Reduce tasks that were finished when this process took the run up.
    pub reduce_before: u64,
}
