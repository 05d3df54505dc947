//! What it costs to find the bucket of a time: fixed steps of UTC, which are divided, beside steps of the calendar, which are
//! looked up. Times in order, as a log has them, and shuffled over a year.

use std::hint::black_box;

use common::grain::{Grain, Zone};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

const TIMES: i64 = 1 << 20;
const YEAR_US: i64 = 365 * 86_400_000_000;
const START_US: i64 = 1_356_998_400_000_000;

fn grains() -> Vec<Grain> {
    let new_york = Zone::named("America/New_York").expect("the zone is in the database");
    let kolkata = Zone::named("Asia/Kolkata").expect("the zone is in the database");
    let month = Grain::months(1, 0, 0);
    vec![
        Grain::HOUR,
        Grain::HOUR.in_zone(kolkata),
        Grain::DAY,
        Grain::DAY.in_zone(new_york),
        month,
        month.in_zone(new_york),
    ]
}

fn buckets(c: &mut Criterion) {
    let in_order: Vec<i64> = (0..TIMES).map(|n| START_US + n * (YEAR_US / TIMES)).collect();
    let mut shuffled = in_order.clone();
    shuffled.shuffle(&mut StdRng::seed_from_u64(1));
    for (name, times) in [("in_order", in_order), ("shuffled", shuffled)] {
        let mut group = c.benchmark_group(format!("buckets/{name}"));
        group.throughput(Throughput::Elements(TIMES as u64)).sample_size(20);
        for grain in grains() {
            group.bench_function(grain.to_string(), |b| {
                let mut buckets = grain.buckets();
                b.iter(|| times.iter().map(|time| buckets.start(black_box(*time))).fold(0, i64::wrapping_add));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, buckets);
criterion_main!(benches);
