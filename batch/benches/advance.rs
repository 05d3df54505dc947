//! What an advance costs beside a recompute, and how both grow with history: `cargo bench -p batch --bench advance [EVENTS]`.
//!
//! A dataset of `EVENTS` events (1,000,000 if left out), a commit and a file a day, gets a hundredth more on its last day; that is
//! advanced, then everything is recomputed. Then the same with ten times the history, and as many new events as before.
//! Prints one JSON object. Two threads do the work; times are the least of three, as the others only have more of the
//! machine's noise.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking and is not documented")]

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
        new_null_array,
    },
    datatypes::DataType,
};
use batch::{Batch, Engine, Outcome, Watch};
use common::{
    clock::{Clock, SystemClock},
    dataset::{Append, Dataset},
    event::Counts,
    generation,
    pipeline::Pipeline,
    position::{OffsetRange, Partition, Position},
};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DAY_US: i64 = 86_400_000_000;
const DAYS: u64 = 30;
const TIMES: usize = 3;

const PIPELINE: &str = "name = \"bench\"\n[sources.departures]\nevent_time = \"departed_at\"\n[sources.departures.columns]\n\
                        carrier = \"string?\"\ntail_number = \"string?\"\ndelay_minutes = \"int?\"\ndeparted_at = \"timestamp\"\n";

const VIEWS: [(&str, &str); 2] = [
    (
        "by_hour",
        "SELECT date_trunc('hour', departed_at) AS hour, carrier, count(*) AS departures, avg(delay_minutes) AS mean, \
                 approx_percentile(delay_minutes, 0.95) AS p95 FROM departures GROUP BY hour, carrier",
    ),
    (
        "by_minute",
        "SELECT date_trunc('minute', departed_at) AS minute, count(*) AS departures, sum(delay_minutes) AS minutes \
                   FROM departures GROUP BY minute",
    ),
];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let small = measured(events, DAYS, events / 100).await;
    let large = measured(events * 10, DAYS * 10, events / 100).await;
    let ratio = |a: i64, b: i64| (a as f64 / b as f64 * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "events": events, "new": events / 100,
            "advance_ms": small.0 / 1000, "recompute_ms": small.1 / 1000,
            "advance_ms_at_10x": large.0 / 1000, "recompute_ms_at_10x": large.1 / 1000,
            "recompute_by_advance": ratio(small.1, small.0), "recompute_by_advance_at_10x": ratio(large.1, large.0),
            "advance_at_10x_by_advance": ratio(large.0, small.0),
        })
    );
}

/// The times of an advance over `new` events after `events` of `days`, and of a recompute of all, microseconds.
async fn measured(events: u64, days: u64, new: u64) -> (i64, i64) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pipeline.toml"), PIPELINE).unwrap();
    std::fs::create_dir(folder.path().join("views")).unwrap();
    for (name, select) in VIEWS {
        let sql = format!("CREATE VIEW {name} AS {select}");
        std::fs::write(folder.path().join(format!("views/{name}.sql")), sql).unwrap();
    }
    let path = folder.path().join("pipeline.toml");
    let pipeline = tokio::task::spawn_blocking(move || Pipeline::load(&path).unwrap()).await.unwrap();
    let store = common::store::Store::open(&pipeline.store).unwrap();
    let engine = Engine::new(NonZeroUsize::new(2).unwrap()).unwrap();
    let batch = Batch::new(store, Arc::new(pipeline), engine, Arc::new(SystemClock));

    let source = &batch.pipeline.sources["departures"];
    let schema = Arc::clone(&source.rules.schema);
    let dataset = Dataset::open(&batch.store, "bench", &source.name, schema, "departed_at").await.unwrap();
    let mut position = 0;
    for day in 0..days {
        append(&dataset, source, day, events / days, &mut position).await;
    }
    batch.recompute(&Watch::default()).await.unwrap();

    let (mut advance, mut recompute) = (i64::MAX, i64::MAX);
    for _ in 0..TIMES {
        append(&dataset, source, days - 1, new, &mut position).await;
        let started = SystemClock.now_us();
        let report = batch.advance(&Watch::default()).await.unwrap();
        advance = advance.min(SystemClock.now_us() - started);
        assert!(matches!(report.outcome, Outcome::Published { .. }));
        let started = SystemClock.now_us();
        let report = batch.recompute(&Watch::default()).await.unwrap();
        recompute = recompute.min(SystemClock.now_us() - started);
        assert!(matches!(report.outcome, Outcome::Unchanged { .. }), "advance and recompute come to the same");
    }
    assert!(generation::latest(&batch.store).await.unwrap().is_some());
    (advance, recompute)
}

async fn append(dataset: &Dataset, source: &common::pipeline::Source, day: u64, count: u64, position: &mut u64) {
    let from = *position;
    *position += count;
    let numbers = || (from..from + count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16);
    let event_schema = source.rules.schema.event_schema();
    let columns = event_schema.fields().iter().map(|field| -> ArrayRef {
        let text = |prefix: &'static str, of: u64| -> ArrayRef {
            Arc::new(numbers().map(|n| Some(format!("{prefix}{}", n % of))).collect::<StringArray>())
        };
        match (field.name().as_str(), field.data_type()) {
            (_, DataType::Timestamp(..)) => {
                let times = numbers().map(|n| 1_357_516_800_000_000 + day as i64 * DAY_US + (n % DAY_US as u64) as i64);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            ("carrier", _) => text("C", 16),
            ("tail_number", _) => text("N", 4000),
            ("delay_minutes", _) => Arc::new(Int64Array::from_iter_values(numbers().map(|n| (n % 240) as i64 - 30))),
            ("_topic", _) => Arc::new(StringArray::from_iter_values((0..count).map(|_| "departures"))),
            ("_partition", _) => Arc::new(Int32Array::from(vec![0; count as usize])),
            ("_offset", _) => Arc::new(Int64Array::from_iter_values((from..from + count).map(|n| n as i64))),
            ("_key", _) => Arc::new(BinaryArray::from(vec![None::<&[u8]>; count as usize])),
            (_, other) => new_null_array(other, count as usize),
        }
    });
    let events = RecordBatch::try_new(Arc::clone(&event_schema), columns.collect()).unwrap();
    let range = OffsetRange::new(Position(from), Position(*position));
    let partitions = BTreeMap::from([(Partition(0), (range, Counts { events: count, ..Counts::default() }))]);
    dataset.append(Append { events: vec![events], partitions }).await.unwrap();
}
