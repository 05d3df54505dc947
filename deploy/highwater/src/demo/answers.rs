//! A view's whole answer, at its own grain and by all its dimensions, as the query API gives it.

use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::TimestampMicrosecondType,
};
use common::view::View;
use jiff::Timestamp;
use serving::{
    Served,
    query::{self, Answer, OrderBy, Query},
    tiers::{Layer, Tiers},
};
use tokio_util::sync::CancellationToken;

/// All rows of `view` from `layer` of `tiers`. CPU work: call it off the async runtime.
pub(super) fn whole(served: &Served, tiers: &Arc<Tiers>, view: &View, layer: Layer) -> anyhow::Result<RecordBatch> {
    let ask = |query: &Query| query::answer(served, tiers, query, &CancellationToken::new());
    let all = Query {
        view: view.name.to_string(),
        grain: Some(view.grain.name()),
        dimensions: view.dimensions.iter().map(|d| d.name.clone()).collect(),
        layer,
        ..Query::default()
    };
    let edge = |desc: bool| -> anyhow::Result<Answer> {
        let order_by = vec![OrderBy { by: view.bucket_name.clone(), desc }];
        Ok(ask(&Query { order_by, limit: Some(1), ..all.clone() })?)
    };
    let (first, last) = (edge(false)?, edge(true)?);
    if first.rows.num_rows() == 0 {
        return Ok(first.rows);
    }
    let mut pieces = Vec::new();
    let mut ranges = vec![(bucket(&first), view.grain.interval(bucket(&last)).1)];
    while let Some((from_us, to_us)) = ranges.pop() {
        let from = Some(Timestamp::from_microsecond(from_us)?);
        let to = Some(Timestamp::from_microsecond(to_us)?);
        let piece = ask(&Query { from, to, ..all.clone() })?;
        if piece.stats.groups == piece.rows.num_rows() {
            pieces.push(piece.rows);
            continue;
        }
        // More rows than one answer may have: ask for each half.
        let middle = view.grain.bucket(from_us + (to_us - from_us) / 2);
        ensure!(middle > from_us, "one bucket of view {} has more rows than an answer may have", view.name);
        ranges.extend([(from_us, middle), (middle, to_us)]);
    }
    concat_batches(&first.rows.schema(), &pieces).context("pieces of one answer have one schema")
}

/// The bucket of an answer's first row, microseconds since 1970-01-01 UTC.
fn bucket(answer: &Answer) -> i64 {
    answer.rows.column(0).as_primitive::<TimestampMicrosecondType>().value(0)
}
