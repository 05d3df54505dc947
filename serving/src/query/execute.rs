//! Answering a plan: filter the rows of every table of the layer, merge their states by the key asked, finish, order, cut.

use std::{sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array},
    compute::{SortColumn, SortOptions, lexsort_to_indices, take},
    datatypes::{Field, Schema, TimestampMicrosecondType},
};
use common::limits::QUERY_ROWS_MAX;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Error,
    answer::{Stats, plain},
    plan::Plan,
};
use crate::{merge::Merge, tiers::Tiers};

/// See [`super::answer`].
pub(super) fn execute(plan: &Plan, tiers: &Arc<Tiers>, cancelled: &CancellationToken) -> Result<Answer, Error> {
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is no part of what it says")]
    let started = Instant::now();
    let tables = tiers.partials(&plan.view.name, plan.layer, plan.from_us, plan.to_us);
    let tables = tables.expect("the plan is of a view that is served");
    let mut merge = Merge::new(plan);
    for table in tables {
        if cancelled.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let rows = in_range(table, plan.from_us, plan.to_us);
        if rows.num_rows() > 0 {
            merge.add(&rows)?;
        }
    }
    let rows_merged = merge.rows();
    let (keys, states) = merge.take()?;
    let mut columns = keys.iter().map(plain).collect::<Result<Vec<ArrayRef>, _>>()?;
    let grain = plan.grain.filter(|_| plan.ends);
    if let (Some(grain), Some(starts)) = (grain, columns.first()) {
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let ends = starts.values().iter().map(|start| grain.interval(*start).1);
        columns.insert(1, Arc::new(TimestampMicrosecondArray::from_iter_values(ends).with_timezone("UTC")));
    }
    let mut warnings = Vec::new();
    for measure in &plan.measures {
        let finished = measure.finish(&plan.specs, &states)?;
        if finished.poisoned > 0 {
            warnings.push(format!(
                "{} of {} is null where an input was NaN, infinite or outside ±2^63: {} rows before the limit",
                measure.name, plan.view.name, finished.poisoned
            ));
        }
        columns.push(finished.values);
    }
    let groups = keys.first().or(states.first()).map_or(0, |column| column.len());
    if plan.limit.is_none() && groups > QUERY_ROWS_MAX {
        warnings.push(format!("there are {groups} rows, an answer has at most {QUERY_ROWS_MAX}: the first ones"));
    }
    let provenance = tiers.provenance(&plan.view.name, plan.layer);
    let mut provenance = provenance.expect("the plan is of a view that is served");
    provenance.warnings.append(&mut warnings);
    Ok(Answer {
        columns: plan.columns.clone(),
        rows: ordered(plan, columns, groups)?,
        bucket_columns: usize::from(plan.grain.is_some()) + usize::from(plan.ends),
        zone: plan.grain.map(|grain| grain.zone().map_or(TimeZone::UTC, |zone| zone.time_zone().clone())),
        provenance,
        stats: Stats { elapsed_us: started.elapsed().as_micros() as u64, rows_merged, groups },
    })
}

/// The rows of a canonical partial whose buckets start in `[from_us, to_us)`: they stand together, as it is sorted.
fn in_range(table: &RecordBatch, from_us: i64, to_us: i64) -> RecordBatch {
    let buckets = table.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let from = buckets.partition_point(|bucket| *bucket < from_us);
    let to = buckets.partition_point(|bucket| *bucket < to_us);
    table.slice(from, to - from)
}

/// The first rows of `columns`, which are in canonical order, in the order asked. Nulls come last, whichever the direction;
/// ties stay in canonical order.
fn ordered(plan: &Plan, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let fields = plan.columns.iter().zip(&columns).map(|(info, c)| Field::new(&info.name, c.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    if columns.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let table = RecordBatch::try_new(schema, columns)?;
    let limit = plan.limit.unwrap_or(QUERY_ROWS_MAX);
    if plan.order.is_empty() {
        return Ok(table.slice(0, rows.min(limit)));
    }
    let asked = plan.order.iter().map(|(column, descending)| SortColumn {
        values: Arc::clone(table.column(*column)),
        options: Some(SortOptions { descending: *descending, nulls_first: false }),
    });
    let canonical: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
    let sort: Vec<SortColumn> = asked.chain([SortColumn { values: canonical, options: None }]).collect();
    let indices = lexsort_to_indices(&sort, Some(limit))?;
    let columns = table.columns().iter().map(|column| take(column, &indices, None)).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(table.schema(), columns)?)
}
