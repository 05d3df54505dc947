//! The comparison: three tables of groups, cell by cell.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use common::{measure::ValueType, view::View};
use polars::prelude::LazyFrame;

use super::{
    cell::{self, Cell},
    exact,
    expected::Expected,
    report::{Difference, SketchReport, ViewAudit},
};
use crate::Error;

/// Most differences that are listed; the rest are counted.
pub(super) const LISTED_MAX: usize = 100;

type Table = BTreeMap<Vec<Cell>, Vec<Cell>>;

/// Compares what was answered for `view` with its events. `merged` and `recomputed` are as in [`super::Answers`] and must be
/// equal in every bit; both must be what Polars finds in `raw`, exactly or within what is stated.
///
/// # Errors
/// [`Error::Audit`] if an answer lacks a column or has a group twice, [`Error::Polars`].
pub fn compare(
    view: &View,
    raw: LazyFrame,
    merged: &RecordBatch,
    recomputed: &RecordBatch,
) -> Result<ViewAudit, Error> {
    let wrong = |message: String| Error::Audit { view: view.name.to_string(), message };
    let merged = table(view, merged).map_err(|message| wrong(format!("the merged answer has {message}")))?;
    let recomputed =
        table(view, recomputed).map_err(|message| wrong(format!("the recomputed answer has {message}")))?;
    let exact = exact::groups(view, raw)?;

    let mut audit = ViewAudit { sketches: sketches(view), ..ViewAudit::default() };
    let groups: BTreeSet<_> = merged.keys().chain(recomputed.keys()).chain(exact.keys()).collect();
    for group in groups {
        audit.groups += 1;
        match (merged.get(group), recomputed.get(group), exact.get(group)) {
            (Some(merged), Some(recomputed), Some(exact)) => {
                for (at, exact) in exact.iter().enumerate() {
                    compare_cell(view, &mut audit, group, at, &merged[at], &recomputed[at], exact);
                }
            }
            (merged, recomputed, exact) => {
                // The first measure shows which of them have the group; there is always one.
                let first = |cells: Option<&Vec<Cell>>| cells.and_then(|cells| cells.first().cloned());
                let exact = exact.and_then(|cells| cells.first()).map(|expected| expected.value.clone());
                let group = named(view, group);
                let (merged, recomputed) = (first(merged), first(recomputed));
                list(
                    &mut audit,
                    Difference { group, measure: None, merged, recomputed, exact, allowed: None, whence: None },
                );
            }
        }
    }
    Ok(audit)
}

fn compare_cell(
    view: &View,
    audit: &mut ViewAudit,
    group: &[Cell],
    at: usize,
    merged: &Cell,
    recomputed: &Cell,
    exact: &Expected,
) {
    audit.cells += 1;
    let name = &view.measures[at].name;
    if let Some(sketch) = audit.sketches.get_mut(name) {
        note_error(sketch, &exact.value, merged);
    }
    if merged == recomputed && exact.admits(merged) {
        return;
    }
    let difference = Difference {
        group: named(view, group),
        measure: Some(name.clone()),
        merged: Some(merged.clone()),
        recomputed: Some(recomputed.clone()),
        exact: Some(exact.value.clone()),
        allowed: exact.fit.allowed(),
        whence: None,
    };
    list(audit, difference);
}

fn note_error(sketch: &mut SketchReport, exact: &Cell, answered: &Cell) {
    sketch.cells += 1;
    note_errors(sketch, exact, answered);
}

/// Of several quantiles, the error of each.
fn note_errors(sketch: &mut SketchReport, exact: &Cell, answered: &Cell) {
    let items = exact.items().iter().zip(answered.items());
    items.for_each(|(exact, answered)| note_errors(sketch, exact, answered));
    if let (Some(exact_value), Some(answered_value)) = (exact.as_f64(), answered.as_f64())
        && exact_value != 0.0
    {
        let error = ((answered_value - exact_value) / exact_value).abs();
        if error > sketch.relative_error_max {
            sketch.relative_error_max = error;
            sketch.worst = Some((exact.clone(), answered.clone()));
        }
    }
}

fn sketches(view: &View) -> BTreeMap<String, SketchReport> {
    // The exact value of bytes that another program reads is unknown.
    let read = view.measures.iter().filter(|measure| measure.value_type != ValueType::Bytes);
    let sketched = read.filter_map(|measure| {
        let relative_error_stated = measure.relative_error(&view.states)?;
        Some((measure.name.clone(), SketchReport { relative_error_stated, ..SketchReport::default() }))
    });
    sketched.collect()
}

fn list(audit: &mut ViewAudit, difference: Difference) {
    audit.differences += 1;
    if audit.differing.len() < LISTED_MAX {
        audit.differing.push(difference);
    }
}

fn named(view: &View, group: &[Cell]) -> Vec<(String, Cell)> {
    key_names(view).map(str::to_owned).zip(group.iter().cloned()).collect()
}

fn key_names(view: &View) -> impl Iterator<Item = &str> {
    std::iter::once(view.bucket_name.as_str()).chain(view.dimensions.iter().map(|d| d.name.as_str()))
}

/// The rows of an answer by bucket and dimensions.
fn table(view: &View, answer: &RecordBatch) -> Result<Table, String> {
    let cells = |name: &str| {
        let column = answer.column_by_name(name).ok_or_else(|| format!("no column {name}"))?;
        cell::from_arrow(column).map_err(|message| format!("in {name} {message}"))
    };
    let keys: Vec<Vec<Cell>> = key_names(view).map(cells).collect::<Result<_, _>>()?;
    let measures: Vec<Vec<Cell>> = view.measures.iter().map(|m| cells(&m.name)).collect::<Result<_, _>>()?;
    let row = |columns: &[Vec<Cell>], row: usize| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>();
    let mut table = Table::new();
    for at in 0..answer.num_rows() {
        let key = row(&keys, at);
        if let Some(twice) = table.insert(key.clone(), row(&measures, at)).map(|_| key) {
            let text: Vec<String> = twice.iter().map(Cell::to_string).collect();
            return Err(format!("the group ({}) twice", text.join(", ")));
        }
    }
    Ok(table)
}
