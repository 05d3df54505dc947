//! What an advance costs beside a recompute, and how both grow with history: `cargo bench -p batch --bench advance [EVENTS]`.
//!
//! History grows in time, as it does in life: `EVENTS` events (3,000,000 if left out) of 30 days, in four commits a day, of which every
//! fiftieth is late by up to a week. Then comes a hundredth more, the newest time and as many late ones; that is advanced, and
//! then everything is recomputed. The same again with ten times the history, so 300 days, and as many new events as before,
//! and last with ten times as many.
//!
//! An advance is measured as it is beside a live layer, which writes a segment with each commit, and with the new commits
//! folded from raw files, as it is after a load. Prints one JSON object. Two threads do the work; times are the least of
//! five, as the others only have more of the machine's noise.

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
    dataset::{Append, Commit, Dataset},
    event::Counts,
    pipeline::Pipeline,
    position::{OffsetRange, Partition, Position},
};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DAY_US: i64 = 86_400_000_000;
const START_US: i64 = 1_357_516_800_000_000;
const DAYS: u64 = 30;
const COMMITS_A_DAY: u64 = 4;
const TIMES: usize = 5;

/// One in so many events is late, by up to so many days.
const LATE_ONE_IN: u64 = 50;
const LATE_DAYS: u64 = 7;

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
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3_000_000);
    let small = House::new(events, DAYS).await.measured(&[events / 100]).await;
    let large = House::new(events * 10, DAYS * 10).await.measured(&[events / 100, events / 10]).await;
    let ratio = |a: i64, b: i64| (a as f64 / b as f64 * 100.0).round() / 100.0;
    let of = |found: &Found| {
        json!({
            "events": found.events, "new": found.new, "late": found.new / LATE_ONE_IN,
            "advance_ms": ratio(found.advance_us, 1000), "advance_folding_ms": ratio(found.folding_us, 1000),
            "recompute_ms": ratio(found.recompute_us, 1000), "chunks_written": found.chunks,
            "recompute_by_advance": ratio(found.recompute_us, found.advance_us),
            "recompute_by_advance_folding": ratio(found.recompute_us, found.folding_us),
        })
    };
    println!(
        "{}",
        json!({
            "one_percent": of(&small[0]), "same_new_at_10x": of(&large[0]), "one_percent_at_10x": of(&large[1]),
            "advance_at_10x_by_advance": ratio(large[0].advance_us, small[0].advance_us),
            "advance_folding_at_10x_by_advance_folding": ratio(large[0].folding_us, small[0].folding_us),
        })
    );
}

/// The least times of an advance over `new` events, and of a recompute of all, microseconds.
struct Found {
    events: u64,
    new: u64,
    advance_us: i64,
    folding_us: i64,
    recompute_us: i64,
    /// Chunks that the last advance wrote.
    chunks: u64,
}

/// A dataset that grows.
struct House {
    batch: Batch,
    dataset: Dataset,
    /// So fast event time goes on.
    events_a_day: u64,
    position: u64,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new(events: u64, days: u64) -> Self {
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
        let mut house = Self { batch, dataset, events_a_day: events / days, position: 0, _folder: folder };
        for _ in 0..days * COMMITS_A_DAY {
            house.append(house.events_a_day / COMMITS_A_DAY).await;
        }
        house.batch.recompute(&Watch::default()).await.unwrap();
        house
    }

    async fn measured(&mut self, news: &[u64]) -> Vec<Found> {
        let mut all = Vec::new();
        for &new in news {
            let events = self.position;
            let (advance_us, _) = self.advanced(new, true).await;
            let (folding_us, chunks) = self.advanced(new, false).await;
            let mut recompute_us = i64::MAX;
            for _ in 0..TIMES {
                let started = SystemClock.now_us();
                let report = self.batch.recompute(&Watch::default()).await.unwrap();
                recompute_us = recompute_us.min(SystemClock.now_us() - started);
                assert!(matches!(report.outcome, Outcome::Unchanged { .. }), "advance and recompute come to the same");
            }
            all.push(Found { events, new, advance_us, folding_us, recompute_us, chunks });
        }
        all
    }

    /// The least time of an advance over `new` events, with their segment or without, and the chunks that it writes.
    async fn advanced(&mut self, new: u64, segment: bool) -> (i64, u64) {
        let (mut least_us, mut chunks) = (i64::MAX, 0);
        for _ in 0..TIMES {
            let commit = self.append(new).await;
            if segment {
                let views = self.batch.pipeline.views_of(&self.batch.pipeline.sources["departures"].name);
                common::segment::load(&self.batch.store, &self.dataset, &commit, &views).await.unwrap();
            }
            let started = SystemClock.now_us();
            let report = self.batch.advance(&Watch::default()).await.unwrap();
            least_us = least_us.min(SystemClock.now_us() - started);
            assert!(matches!(report.outcome, Outcome::Published { .. }));
            chunks = report.views.values().map(|view| view.chunks_written).sum();
        }
        (least_us, chunks)
    }

    /// Commits the next `count` events.
    async fn append(&mut self, count: u64) -> Commit {
        let from = self.position;
        self.position += count;
        let day_us = DAY_US as u64;
        let time = |n: u64| {
            let noise = mixed(n);
            let late = if noise.is_multiple_of(LATE_ONE_IN) { (noise >> 8) % (LATE_DAYS * day_us) } else { 0 };
            START_US + (u128::from(n) * u128::from(day_us) / u128::from(self.events_a_day)) as i64 - late as i64
        };
        let numbers = || (from..from + count).map(mixed);
        let event_schema = self.batch.pipeline.sources["departures"].rules.schema.event_schema();
        let columns = event_schema.fields().iter().map(|field| -> ArrayRef {
            let text = |prefix: &'static str, of: u64| -> ArrayRef {
                Arc::new(numbers().map(|n| Some(format!("{prefix}{}", n % of))).collect::<StringArray>())
            };
            match (field.name().as_str(), field.data_type()) {
                (_, DataType::Timestamp(..)) => {
                    let times = (from..from + count).map(time);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                ("carrier", _) => text("C", 16),
                ("tail_number", _) => text("N", 4000),
                ("delay_minutes", _) => {
                    Arc::new(Int64Array::from_iter_values(numbers().map(|n| (n % 240) as i64 - 30)))
                }
                ("_topic", _) => Arc::new(StringArray::from_iter_values((0..count).map(|_| "departures"))),
                ("_partition", _) => Arc::new(Int32Array::from(vec![0; count as usize])),
                ("_offset", _) => Arc::new(Int64Array::from_iter_values((from..from + count).map(|n| n as i64))),
                ("_key", _) => Arc::new(BinaryArray::from(vec![None::<&[u8]>; count as usize])),
                (_, other) => new_null_array(other, count as usize),
            }
        });
        let events = RecordBatch::try_new(Arc::clone(&event_schema), columns.collect()).unwrap();
        let range = OffsetRange::new(Position(from), Position(self.position));
        let partitions = BTreeMap::from([(Partition(0), (range, Counts { events: count, ..Counts::default() }))]);
        self.dataset.append(Append { events: vec![events], partitions }).await.unwrap()
    }
}

fn mixed(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}
