//! Answering a plan: filter the rows of every table of the layer, merge their states by the key asked, finish, and what is asked
//! of the finished rows: compare, fill, filter, order, cut. The order is the one that [`super::Query`] says.

use std::{sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array},
    compute::{SortColumn, SortOptions, filter_record_batch, lexsort_to_indices, take},
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType},
};
use common::measure::{Finish, StateFunction};
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Error,
    answer::Stats,
    changes,
    filled::filled,
    groups::{Groups, Kept},
    join::Joined,
    plan::Plan,
    steps::Shift,
};
use crate::{merge::Merge, tiers::Tiers};

/// See [`super::answer`].
pub(super) fn execute(
    plan: &Plan,
    since: Option<&str>,
    tiers: &Tiers,
    cancelled: &CancellationToken,
) -> Result<Answer, Error> {
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is no part of what it says")]
    let started = Instant::now();
    let mut run = Run { plan, tiers, cancelled, rows_merged: 0, warnings: Vec::new() };
    let mut table = run.table()?;
    let changes = match since {
        Some(since) => Some(changes::only_changed(plan, tiers, since, &mut table)?),
        None => None,
    };
    if let Some(having) = &plan.having {
        table.batch = filter_record_batch(&table.batch, &having.matches(&table.batch)?)?;
    }
    let groups = table.batch.num_rows();
    let rows = ordered(plan, &table.batch)?;
    if plan.limit.is_none() && groups > plan.offset + rows.num_rows() {
        let limit = plan.limits.rows;
        run.warnings.push(format!("there are {groups} rows, an answer has at most {limit} (`serving.query_rows`)"));
    }
    let provenance = tiers.provenance(&plan.view.name, plan.layer);
    let mut provenance = provenance.expect("the plan is of a view that is served");
    provenance.warnings.append(&mut run.warnings);
    Ok(Answer {
        columns: plan.columns.clone(),
        rows,
        bucket_columns: usize::from(plan.grain.is_some()) + usize::from(plan.ends),
        zone: plan.grain.map(|grain| grain.zone().map_or(TimeZone::UTC, |zone| zone.time_zone().clone())),
        totals: table.totals,
        changes,
        next: None,
        provenance,
        stats: Stats { elapsed_us: started.elapsed().as_micros() as u64, rows_merged: run.rows_merged, groups },
    })
}

/// All rows of an answer, in canonical order, before the last steps.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) batch: RecordBatch,
    totals: Option<RecordBatch>,
}

struct Run<'a> {
    plan: &'a Plan,
    tiers: &'a Tiers,
    cancelled: &'a CancellationToken,
    rows_merged: u64,
    warnings: Vec<String>,
}

impl Run<'_> {
    fn table(&mut self) -> Result<Table, Error> {
        let plan = self.plan;
        let mut now = self.merged(None)?;
        let mut before = plan.shift.as_ref().map(|shift| self.merged(Some(shift))).transpose()?;
        let totals = if plan.totals { Some(self.totals(&now, before.as_ref())?) } else { None };
        if let Some(rank) = plan.rank {
            let kept = Kept::of(plan, rank, &now)?;
            now = kept.regrouped(&now)?;
            before = before.map(|before| kept.regrouped(&before)).transpose()?;
        }
        let (mut keys, mut measures) = self.side_by_side(now, before)?;
        if let Some(fill) = plan.fill {
            let zero: Vec<bool> = plan.measures.iter().map(|measure| is_zero_of_none(plan, &measure.finish)).collect();
            let zero: Vec<bool> = zero.iter().copied().cycle().take(measures.len()).collect();
            (keys, measures) = filled(plan, fill, &keys, &measures, &zero)?;
        }
        let batch = table_of(plan, keys, measures)?;
        Ok(Table { batch, totals })
    }

    /// The groups of the range asked, or of the one so much `before`.
    fn merged(&mut self, before: Option<&Shift>) -> Result<Groups, Error> {
        let (from_us, to_us, steps) = self.plan.range(before);
        let tables = self.tiers.tables(&self.plan.view.name, self.plan.layer, from_us, to_us);
        let tables = tables.expect("the plan is of a view that is served");
        let wanted = self.plan.wanted(before);
        let mut merge = Merge::new(self.plan, steps);
        for table in tables {
            // Before each is read, which takes longest.
            self.check()?;
            for slice in table.slices(&self.plan.view, &wanted, from_us, to_us)? {
                self.check()?;
                merge.add(&slice)?;
            }
        }
        self.rows_merged += merge.rows();
        let (keys, states) = merge.take()?;
        Groups::new(&keys, states)
    }

    fn check(&self) -> Result<(), Error> {
        if self.cancelled.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The key columns and the measures, of one range or of two.
    fn side_by_side(&mut self, now: Groups, before: Option<Groups>) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let measures = self.finished(&now)?;
        let Some(before) = before else { return Ok((now.keys, measures)) };
        let joined = Joined::new(&now, &before)?;
        let mut columns = measures.iter().map(|values| joined.now(values)).collect::<Result<Vec<_>, _>>()?;
        for values in self.finished(&before)? {
            columns.push(joined.before(&values)?);
        }
        debug_assert!(columns.iter().all(|column| column.len() == joined.rows), "a row a group");
        Ok((joined.keys, columns))
    }

    fn totals(&mut self, now: &Groups, before: Option<&Groups>) -> Result<RecordBatch, Error> {
        let total = now.total(&self.plan.specs)?;
        let before = before.map(|before| before.total(&self.plan.specs)).transpose()?;
        let (_, measures) = self.side_by_side(total, before)?;
        let names = &self.plan.columns[self.plan.columns.len() - measures.len()..];
        let fields = names.iter().zip(&measures).map(|(info, c)| Field::new(&info.name, c.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        if measures.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        Ok(RecordBatch::try_new(schema, measures)?)
    }

    fn finished(&mut self, groups: &Groups) -> Result<Vec<ArrayRef>, Error> {
        let mut columns = Vec::with_capacity(self.plan.measures.len());
        for measure in &self.plan.measures {
            let finished = measure.finish(&self.plan.specs, &groups.states)?;
            if finished.poisoned > 0 {
                let warning = format!(
                    "{} of {} is null where an input was NaN, infinite or outside ±2^63: {} rows before the limit",
                    measure.name, self.plan.view.name, finished.poisoned
                );
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
            columns.push(finished.values);
        }
        Ok(columns)
    }
}

/// Whether a measure is 0 of no events: counts and sums of numbers, and counts of distinct values.
fn is_zero_of_none(plan: &Plan, finish: &Finish) -> bool {
    match finish {
        Finish::State(state) => match &plan.specs[*state].function {
            StateFunction::Count => true,
            StateFunction::Sum => {
                finish.value_type(&plan.specs).arrow() != common::schema::ColumnType::Timestamp.arrow()
            }
            _ => false,
        },
        Finish::Distinct(_) => true,
        _ => false,
    }
}

/// The columns of the answer from keys `[bucket,] [other,] dimensions…` and measures.
fn table_of(plan: &Plan, mut keys: Vec<ArrayRef>, measures: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
    if plan.rank.is_some() {
        let other = keys.remove(usize::from(plan.grain.is_some()));
        keys.push(other);
    }
    if let (Some(grain), Some(starts)) = (plan.grain.filter(|_| plan.ends), keys.first()) {
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let ends = starts.values().iter().map(|start| grain.interval(*start).1);
        keys.insert(1, Arc::new(TimestampMicrosecondArray::from_iter_values(ends).with_timezone("UTC")));
    }
    keys.extend(measures);
    let field = |(info, column): (&super::ColumnInfo, &ArrayRef)| -> Field {
        let data_type: &DataType = column.data_type();
        Field::new(&info.name, data_type.clone(), true)
    };
    let schema = Arc::new(Schema::new(plan.columns.iter().zip(&keys).map(field).collect::<Vec<_>>()));
    if keys.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    Ok(RecordBatch::try_new(schema, keys)?)
}

/// The rows of `table`, which are in canonical order, in the order asked, from the offset to the limit. Nulls come last,
/// whichever the direction; ties stay in canonical order.
fn ordered(plan: &Plan, table: &RecordBatch) -> Result<RecordBatch, Error> {
    let limit = plan.limit.unwrap_or(plan.limits.rows);
    let rows = table.num_rows();
    let offset = plan.offset.min(rows);
    if plan.order.is_empty() {
        return Ok(table.slice(offset, (rows - offset).min(limit)));
    }
    let asked = plan.order.iter().map(|(column, descending)| SortColumn {
        values: Arc::clone(table.column(*column)),
        options: Some(SortOptions { descending: *descending, nulls_first: false }),
    });
    let canonical: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
    let sort: Vec<SortColumn> = asked.chain([SortColumn { values: canonical, options: None }]).collect();
    let indices = lexsort_to_indices(&sort, Some(offset + limit))?;
    let indices = indices.slice(offset, indices.len() - offset);
    let columns = table.columns().iter().map(|column| take(column, &indices, None)).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(table.schema(), columns)?)
}
