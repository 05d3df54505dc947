//! Running a checked statement: its tables are merged, Polars does the rest, and what it gives becomes an answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use common::{expression::exchange, pipeline::QueryLimits};
use polars::{
    prelude::{DataFrame, IntoLazy},
    sql::SQLContext,
};
use tokio_util::sync::CancellationToken;

use super::Prepared;
use crate::{
    query::{Answer, ColumnInfo, Error, Stats},
    tiers::Tiers,
};

pub(super) fn run(
    prepared: &Prepared,
    limits: QueryLimits,
    tiers: &Arc<Tiers>,
    cancelled: &CancellationToken,
) -> Result<Answer, Error> {
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is no part of what it says")]
    let started = Instant::now();
    let context = SQLContext::new();
    let mut rows_merged = 0;
    for table in &prepared.tables {
        let (frame, merged) = table.rows(tiers, limits, cancelled)?;
        rows_merged += merged;
        context.register(&table.table, frame.lazy());
    }
    let frame = collected(context, &prepared.sql, limits.rows)?;
    let mut provenance = tiers.provenance_of(prepared.views());
    let groups = frame.height();
    if groups > limits.rows {
        let limit = limits.rows;
        provenance.warnings.push(format!("there are more rows, an answer has at most {limit} (`serving.query_rows`)"));
    }
    let (columns, rows) = answered(&frame.head(Some(limits.rows)))?;
    let stats = Stats { elapsed_us: started.elapsed().as_micros() as u64, rows_merged, groups };
    Ok(Answer::of_rows(columns, rows, provenance, stats))
}

/// The columns that a statement answers: it is run over tables without rows.
pub(super) fn schema(prepared: &Prepared) -> Result<SchemaRef, Error> {
    let context = SQLContext::new();
    for table in &prepared.tables {
        context.register(&table.table, table.empty()?.lazy());
    }
    Ok(answered(&collected(context, &prepared.sql, 0)?)?.1.schema())
}

/// What Polars makes of `sql`, one row more than an answer has at most.
fn collected(mut context: SQLContext, sql: &str, rows: usize) -> Result<DataFrame, Error> {
    // Some statements make Polars panic rather than fail: that is the statement's matter, not the server's.
    let run = || context.execute(sql)?.limit(u32::try_from(rows).unwrap_or(u32::MAX).saturating_add(1)).collect();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => Err(Error::Sql(error.to_string().lines().next().unwrap_or_default().to_owned())),
        Err(_) => Err(Error::Sql("the statement cannot be run".to_owned())),
    }
}

fn answered(frame: &DataFrame) -> Result<(Vec<ColumnInfo>, RecordBatch), Error> {
    let (mut infos, mut fields, mut arrays) = (Vec::new(), Vec::new(), Vec::new());
    for column in frame.columns() {
        let unfit = |error: common::expression::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Sql(format!("column `{}`: {cause}", column.name()))
        };
        let (array, column_type) = exchange::from_polars(column).map_err(unfit)?;
        infos.push(ColumnInfo::key(column.name(), column_type));
        fields.push(Field::new(column.name().as_str(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    if arrays.is_empty() {
        return Ok((infos, RecordBatch::new_empty(schema)));
    }
    Ok((infos, RecordBatch::try_new(schema, arrays)?))
}
