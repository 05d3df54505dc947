//! How many JSON records a second one core decodes, and decodes and folds into three views, beside typed structs of
//! serde_json and sonic-rs in the same run.
//!
//! Every way gets the same records (`data`) and makes the same batches of them (`peers`): timestamps, exact decimals, and
//! dictionaries for strings. Ways take turns, round by round, so that all see the same machine; time is that of the thread
//! on its core. What they make is held against each other before anything is printed. The last line is one JSON object.
//!
//! `cargo bench -p common --bench decode -- [rows] [rounds]`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and nobody links it")]

mod data;
mod peers;

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use arrow::record_batch::RecordBatch;
use common::{
    decode::Decoder,
    event::Run,
    fold::Fold,
    names::SourceName,
    pipeline::{OnGap, Source},
    testing,
    view::View,
};
use serde_json::{Map, Value, json};

const ROWS: usize = 1 << 19;
const ROUNDS: usize = 7;

const VIEWS: [&str; 3] = [
    "CREATE VIEW by_minute AS SELECT date_trunc('minute', ts) AS minute, country, device, count(*), sum(amount), \
     min(latency_ms), max(latency_ms), avg(latency_ms) FROM clicks GROUP BY minute, country, device",
    "CREATE VIEW by_page AS SELECT date_trunc('hour', ts) AS hour, page, count(*), approx_distinct(user_id), \
     approx_percentile(latency_ms, 0.5), approx_percentile(latency_ms, 0.95), approx_percentile(latency_ms, 0.99) \
     FROM clicks GROUP BY hour, page",
    "CREATE VIEW by_user AS SELECT date_trunc('day', ts) AS day, user_id, count(*), sum(amount) \
     FROM clicks GROUP BY day, user_id",
];

/// A way to make a batch of a run of records.
type Way<'a> = (&'static str, Box<dyn FnMut(&Run) -> RecordBatch + 'a>);

/// Nanoseconds a row of each round.
#[derive(Default)]
struct Times {
    decode: Vec<f64>,
    fold: Vec<f64>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (rows, rounds) = (arguments.next().unwrap_or(ROWS), arguments.next().unwrap_or(ROUNDS));
    let source = Source {
        name: SourceName::new("clicks").unwrap(),
        kafka: None,
        on_gap: OnGap::Stop,
        partitions: 1,
        key: None,
        keep: None,
        rules: data::rules(),
    };
    let views: Vec<Arc<View>> = VIEWS.iter().map(|sql| testing::view(sql, &source)).collect();
    let mut report = Map::from_iter([("rows".to_owned(), json!(rows)), ("rounds".to_owned(), json!(rounds))]);
    println!("{}, {rows} records, {rounds} rounds", machine());
    for (order, shuffled) in [("stable", false), ("shuffled", true)] {
        let lines = data::lines(rows, shuffled);
        let bytes = lines.iter().map(|line| line.len()).sum::<usize>() as f64 / rows as f64;
        println!("\n{order} order, {bytes:.0} bytes a record, {}", String::from_utf8_lossy(&lines[0]));
        let mut times: BTreeMap<&str, Times> = BTreeMap::new();
        for _ in 0..rounds {
            let mut sums = Vec::new();
            for (name, way) in ways() {
                let times = times.entry(name).or_default();
                sums.push((name, round(way, &lines, &views, times)));
            }
            for (name, sum) in &sums {
                assert_eq!(sum, &sums[0].1, "{name} and {} make something else of the same records", sums[0].0);
            }
        }
        report.insert(order.to_owned(), figures(&times, bytes));
    }
    println!("\n{}", Value::Object(report));
}

fn ways<'a>() -> Vec<Way<'a>> {
    let mut decoder = Decoder::new(data::rules());
    let ours = move |records: &Run| {
        let decoded = decoder.decode(records);
        assert!(decoded.dead_letters.is_empty(), "every record of the benchmark is an event");
        decoded.events
    };
    vec![
        ("highwater", Box::new(ours)),
        ("sonic-rs", Box::new(|records| peers::decode(records, |line| sonic_rs::from_slice(line).unwrap()))),
        ("serde_json", Box::new(|records| peers::decode(records, |line| serde_json::from_slice(line).unwrap()))),
    ]
}

/// One way through all records: decodes run by run, folds each batch, and takes the partials, whose text tells whether two
/// ways have made the same.
fn round(
    mut way: impl FnMut(&Run) -> RecordBatch,
    lines: &[bytes::Bytes],
    views: &[Arc<View>],
    times: &mut Times,
) -> Vec<RecordBatch> {
    let mut fold = Fold::new(views);
    let (mut decoding, mut folding) = (0.0, 0.0);
    for run in data::runs(lines) {
        let start = thread_seconds();
        let batch = black_box(way(&run));
        let decoded = thread_seconds();
        fold.fold(&batch).unwrap();
        decoding += decoded - start;
        folding += thread_seconds() - decoded;
    }
    times.decode.push(decoding * 1e9 / lines.len() as f64);
    times.fold.push(folding * 1e9 / lines.len() as f64);
    fold.take().unwrap()
}

fn figures(times: &BTreeMap<&str, Times>, bytes: f64) -> Value {
    println!("{:12} {:>10} {:>10} {:>14} {:>14}", "", "decode ns", "fold ns", "decode M/s", "with fold M/s");
    let mut figures = Map::from_iter([("bytes".to_owned(), json!(bytes))]);
    for (&name, times) in times {
        let (decode, fold) = (median(&times.decode), median(&times.fold));
        let total: Vec<f64> = times.decode.iter().zip(&times.fold).map(|(decode, fold)| decode + fold).collect();
        let total = median(&total);
        println!("{name:12} {decode:10.1} {fold:10.1} {:14.2} {:14.2}", 1e3 / decode, 1e3 / total);
        figures.insert(
            name.to_owned(),
            json!({
                "decode_ns": decode, "fold_ns": fold, "decode_and_fold_ns": total,
                "decode_rows_per_second": 1e9 / decode, "decode_and_fold_rows_per_second": 1e9 / total,
                "decode_ns_least": times.decode.iter().copied().fold(f64::INFINITY, f64::min),
            }),
        );
    }
    Value::Object(figures)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The time that this thread has had a core, in seconds.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` to where the pointer leads, which is ours and lives on.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every Linux and macOS has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores", model.unwrap_or("an unknown processor"))
}
