//! How long a commit of 10,000 events takes on a local disk, fsync and all, on a young table and on one of 500 versions.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking and is not documented")]

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray},
    record_batch::RecordBatch,
};
use common::{
    dataset::{Append, Dataset},
    event::Counts,
    names::SourceName,
    position::{OffsetRange, Partition, Position},
    schema::{Column, ColumnType, Schema},
    store::Store,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use url::Url;

const ROWS: i64 = 10_000;
const PARTITION: Partition = Partition(0);

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Column::new("carrier", ColumnType::String),
        Column::new("tail_number", ColumnType::String),
        Column::new("delay_minutes", ColumnType::Int),
        Column::new("departed_at", ColumnType::Timestamp),
    ]))
}

/// Events from `position` on, one a second.
fn append(position: u64) -> Append {
    let offsets: Vec<i64> = (position as i64..position as i64 + ROWS).collect();
    let rows = offsets.len();
    let text = |of: &dyn Fn(i64) -> String| StringArray::from_iter_values(offsets.iter().map(|&offset| of(offset)));
    let times =
        || TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| o * 1_000_000)).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(text(&|offset| format!("C{}", offset % 16))),
        Arc::new(text(&|offset| format!("N{}", offset * 7919 % 4_000))),
        Arc::new(Int64Array::from_iter_values(offsets.iter().map(|offset| offset * 31 % 180 - 15))),
        Arc::new(times()),
        Arc::new(StringArray::from(vec!["departures"; rows])),
        Arc::new(Int32Array::from(vec![PARTITION.0 as i32; rows])),
        Arc::new(Int64Array::from(offsets.clone())),
        Arc::new(times()),
        Arc::new(BinaryArray::from(vec![None; rows])),
    ];
    let range = OffsetRange::new(Position(position), Position(position + ROWS as u64));
    let counts = Counts { events: ROWS as u64, ..Counts::default() };
    Append {
        events: vec![RecordBatch::try_new(schema().event_schema(), columns).unwrap()],
        partitions: BTreeMap::from([(PARTITION, (range, counts))]),
    }
}

fn commits(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("dataset");
    group.sample_size(20);
    for versions in [1_u64, 500] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Url::from_directory_path(directory.path()).unwrap()).unwrap();
        let source = SourceName::new("departures").unwrap();
        let dataset = runtime.block_on(Dataset::open(&store, "bench", &source, schema(), "departed_at")).unwrap();
        let mut position = 0;
        let mut next = || {
            position += ROWS as u64;
            append(position - ROWS as u64)
        };
        for _ in 0..versions {
            runtime.block_on(dataset.append(next())).unwrap();
        }
        group.bench_function(format!("append_10k_after_{versions}"), |b| {
            b.iter_batched(
                &mut next,
                |append| runtime.block_on(dataset.append(append)).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("open_after_{versions}"), |b| {
            b.iter(|| runtime.block_on(Dataset::open(&store, "bench", &source, schema(), "departed_at")).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);
