//! Rows a second and core of the fold kernel, over events like those of a web shop: dictionary-coded text, Zipf-like users
//! and pages, roughly in order of time. Three views: a small key space, sketches, a large key space.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and nobody links it")]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, Decimal128Array, DictionaryArray, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};
use common::{
    expression::Expression,
    fold::Fold,
    grain::Grain,
    measure::{StateFunction, StateSpec},
    names::{SourceName, ViewName},
    partial,
    schema::ColumnType,
    view::{Dimension, View, ViewId},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

const ROWS: usize = 1 << 20;
const BATCH_ROWS: usize = 1 << 16;
const MINUTE_US: i64 = 60_000_000;
const MONEY: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };

/// A number below `n`, low ones more often: about a Zipf law of exponent 1.
fn skewed(random: &mut impl Rng, n: u32) -> u32 {
    (f64::from(n).powf(random.random::<f64>()) as u32).min(n - 1)
}

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn coded(random: &mut impl Rng, rows: usize, texts: u32, name: &str) -> ArrayRef {
    let codes: Int32Array = (0..rows).map(|_| skewed(random, texts) as i32).collect::<Vec<_>>().into();
    let values: StringArray = (0..texts).map(|i| Some(format!("/{name}/{:05}", i * 7919 % 100_000))).collect();
    array(DictionaryArray::new(codes, array(values)))
}

fn events() -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(7);
    (0..ROWS / BATCH_ROWS).map(|at| batch(&mut random, at as i64)).collect()
}

fn batch(random: &mut StdRng, at: i64) -> RecordBatch {
    let rows = BATCH_ROWS;
    // Ten milliseconds between events, up to 20 seconds out of order.
    let time = |row: usize| (at * rows as i64 + row as i64) * 10_000;
    let times: Vec<i64> = (0..rows).map(|row| time(row) + random.random_range(0..20_000_000)).collect();
    let users: Vec<i64> = (0..rows).map(|_| i64::from(skewed(random, 2_000_000)) * 1_000_003).collect();
    let latencies: Vec<Option<i64>> =
        (0..rows).map(|_| random.random_bool(0.98).then(|| 1 + i64::from(skewed(random, 60_000)))).collect();
    let amounts: Vec<i128> = (0..rows).map(|_| i128::from(random.random_range(0..50_000_u32))).collect();
    RecordBatch::try_from_iter([
        ("time", array(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("user", array(Int64Array::from(users))),
        ("country", coded(random, rows, 60, "country")),
        ("page", coded(random, rows, 2_000, "page")),
        ("device", coded(random, rows, 4, "device")),
        ("latency", array(Int64Array::from(latencies))),
        ("amount", array(Decimal128Array::from(amounts).with_data_type(MONEY.arrow()))),
    ])
    .unwrap()
}

fn column(name: &str) -> Expression {
    let column_type = match name {
        "user" | "latency" => ColumnType::Int,
        "amount" => MONEY,
        _ => ColumnType::String,
    };
    Expression::column(name, column_type)
}

fn view(name: &str, minutes: i64, dimensions: &[&str], states: &[(StateFunction, Option<&str>)]) -> Arc<View> {
    Arc::new(View {
        name: ViewName::new(name).unwrap(),
        id: ViewId::new("0000000000000000"),
        source: SourceName::new("clicks").unwrap(),
        sql: String::new(),
        filter: None,
        bucket_name: "bucket".to_owned(),
        time_column: "time".to_owned(),
        grain: Grain::fixed(minutes * MINUTE_US, 0),
        dimensions: dimensions.iter().map(|&name| Dimension { name: name.to_owned(), input: column(name) }).collect(),
        states: states.iter().map(|(function, input)| StateSpec::new(function.clone(), input.map(column))).collect(),
        measures: Vec::new(),
    })
}

fn views() -> [Arc<View>; 3] {
    use StateFunction::{Count, Distinct, Max, Min, Quantiles, Sum};
    [
        view(
            "small",
            1,
            &["country", "device"],
            &[
                (Count, None),
                (Sum, Some("amount")),
                (Sum, Some("latency")),
                (Count, Some("latency")),
                (Min, Some("latency")),
                (Max, Some("latency")),
            ],
        ),
        view(
            "sketches",
            60,
            &["page"],
            &[
                (Count, None),
                (Distinct { precision: 12 }, Some("user")),
                (Quantiles { relative_error: 0.01 }, Some("latency")),
            ],
        ),
        view("large", 24 * 60, &["user"], &[(Count, None), (Sum, Some("amount"))]),
    ]
}

fn folded(views: &[Arc<View>], events: &[RecordBatch]) -> Vec<RecordBatch> {
    let mut fold = Fold::new(views);
    events.iter().for_each(|batch| fold.fold(batch).unwrap());
    fold.take().unwrap()
}

fn fold(criterion: &mut Criterion) {
    let (events, views) = (events(), views());
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    for view in &views {
        let view = [Arc::clone(view)];
        group.bench_function(view[0].name.as_str(), |bench| {
            bench.iter_batched_ref(
                || Fold::new(&view),
                |fold| events.iter().for_each(|batch| fold.fold(batch).unwrap()),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("all three, taken", |bench| bench.iter(|| folded(&views, &events)));
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let (events, views) = (events(), views());
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(10);
    for view in &views {
        let view = [Arc::clone(view)];
        let (a, b) = events.split_at(events.len() / 2);
        let partials = [folded(&view, a).remove(0), folded(&view, b).remove(0)];
        group.throughput(Throughput::Elements(partials.iter().map(|p| p.num_rows() as u64).sum()));
        group
            .bench_function(view[0].name.as_str(), |bench| bench.iter(|| partial::merge(&view[0], &partials).unwrap()));
        group.bench_function(format!("{} to Parquet", view[0].name), |bench| {
            bench.iter(|| partial::to_parquet(&partials[0]).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, fold, merge);
criterion_main!(benches);
