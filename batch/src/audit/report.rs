//! What an audit found, for `--json` and for people.

use std::collections::BTreeMap;

use common::{names::ViewName, position::Version};
use serde::Serialize;

use super::{Cell, compare::LISTED_MAX};

/// What an audit found in all views.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditReport {
    /// Whether no cell of any view differs.
    pub equal: bool,
    /// By view.
    pub views: BTreeMap<ViewName, ViewAudit>,
}

impl AuditReport {
    /// The report of these views.
    #[must_use]
    pub fn new(views: BTreeMap<ViewName, ViewAudit>) -> Self {
        Self { equal: views.values().all(ViewAudit::is_equal), views }
    }
}

/// What an audit found in one view.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ViewAudit {
    /// Buckets that begin before this time, microseconds since 1970-01-01 UTC, were left out: retention has removed raw events of
    /// theirs, or rolled them up, so there is nothing to compare with. `None` if none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out_before_us: Option<i64>,
    /// Groups found in any of the three ways.
    pub groups: u64,
    /// Values compared: groups times measures.
    pub cells: u64,
    /// Values that differ, and groups that are not in all three.
    pub differences: u64,
    /// The first of them, by time and dimensions.
    pub differing: Vec<Difference>,
    /// How far each sketch is from the exact values, by measure.
    pub sketches: BTreeMap<String, SketchReport>,
}

impl ViewAudit {
    /// Takes in what was found in other groups of the view.
    pub(super) fn add(&mut self, other: Self) {
        self.groups += other.groups;
        self.cells += other.cells;
        self.differences += other.differences;
        self.differing.extend(other.differing);
        self.differing.truncate(LISTED_MAX);
        for (measure, sketch) in other.sketches {
            match self.sketches.get_mut(&measure) {
                Some(ours) => ours.add(sketch),
                None => drop(self.sketches.insert(measure, sketch)),
            }
        }
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences == 0
    }
}

/// A value that differs, or a group that is not there in all three ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Bucket and dimensions, by name.
    pub group: Vec<(String, Cell)>,
    /// The measure; `None` if the group as a whole is missing somewhere.
    pub measure: Option<String>,
    /// What the merged layers answered; `None` if they have no such group.
    pub merged: Option<Cell>,
    /// What the recompute came to; `None` if it has no such group.
    pub recomputed: Option<Cell>,
    /// The exact value from raw events; `None` if there is no such group.
    pub exact: Option<Cell>,
    /// How far from the exact value an answer may be; `None` if it must be equal.
    pub allowed: Option<f64>,
    /// Where the answer came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whence: Option<Whence>,
}

/// Where the answer for a group came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Whence {
    /// The generation.
    pub generation: Option<u64>,
    /// Its files that can hold the group.
    pub chunks: Vec<String>,
    /// The commits after its mark that have events of the group's bucket, or may have.
    pub commits: Vec<Version>,
}

/// How far a sketch is from the exact values.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SketchReport {
    /// Values compared.
    pub cells: u64,
    /// The relative error that is stated for it: a bound, or for a HyperLogLog the standard error.
    pub relative_error_stated: f64,
    /// The greatest relative error found, of values that are not 0.
    pub relative_error_max: f64,
    /// Where that was: the exact value and the answer.
    pub worst: Option<(Cell, Cell)>,
}

impl SketchReport {
    fn add(&mut self, other: Self) {
        self.cells += other.cells;
        if other.relative_error_max > self.relative_error_max {
            (self.relative_error_max, self.worst) = (other.relative_error_max, other.worst);
        }
    }
}
