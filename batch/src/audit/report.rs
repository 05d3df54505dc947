//! What an audit found, for `--json` and for people.

use std::collections::BTreeMap;

use common::names::ViewName;
use serde::Serialize;

use super::Cell;

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
