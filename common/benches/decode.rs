//! How many records a second one core decodes, with the members in the same order in every record, and in a different
//! order in each. The records have the shape of a page view: nine members, one of which is no column.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{
    clock::SystemClock,
    decode::{Decoder, Rules},
    event::Record,
    position::Partition,
    schema::{Column, ColumnType, Schema, TimestampFormat},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Records in one run, about what the speed layer takes at once.
const RECORDS: usize = 8192;

fn rules() -> Rules {
    let column = |name: &str, column_type| Column {
        name: name.to_owned(),
        column_type,
        timestamp_format: TimestampFormat::Millis,
        nullable: false,
        range: None,
    };
    let columns = vec![
        column("ts", ColumnType::Timestamp),
        column("user_id", ColumnType::Int),
        column("country", ColumnType::String),
        column("page", ColumnType::String),
        column("device", ColumnType::String),
        column("status", ColumnType::Int),
        column("latency_ms", ColumnType::Int),
        column("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
    ];
    Rules { schema: Arc::new(Schema::new(columns)), event_time: "ts".to_owned(), ahead_max: None, behind_max: None }
}

/// The same records for the same seed.
fn records(shuffled: bool) -> Vec<Record> {
    let mut random = StdRng::seed_from_u64(7);
    let topic: Arc<str> = "views".into();
    let value = |random: &mut StdRng| {
        let mut members = [
            format!(r#""ts":{}"#, 1_790_000_000_000_u64 + random.random_range(0..600_000_000)),
            format!(r#""user_id":{}"#, 10_000_000_019_u64 + random.random_range(0..2_000_000) * 1_000_003),
            format!(r#""country":"{}""#, ["AC", "BE", "CG", "DI"][random.random_range(0..4)]),
            format!(r#""page":"/checkout/item-{:05}""#, random.random_range(0..2000)),
            format!(r#""device":"{}""#, ["mobile", "desktop", "tablet", "tv"][random.random_range(0..4)]),
            format!(r#""status":{}"#, [200, 304, 404][random.random_range(0..3)]),
            format!(r#""latency_ms":{}"#, random.random_range(1..2000)),
            format!(r#""amount":{}.{:02}"#, random.random_range(0..100), random.random_range(0..100)),
            format!(r#""session_id":"{:016x}""#, random.random::<u64>()),
        ];
        if shuffled {
            members.shuffle(random);
        }
        format!("{{{}}}", members.join(","))
    };
    let record = |offset| Record {
        topic: Arc::clone(&topic),
        partition: Partition(0),
        offset,
        timestamp_us: 1_790_000_000_000_000,
        key: None,
        headers: Vec::new(),
        value: Some(Bytes::from(value(&mut random))),
    };
    (0..RECORDS as u64).map(record).collect()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS as u64)).measurement_time(Duration::from_secs(5));
    for (name, shuffled) in [("stable order", false), ("shuffled order", true)] {
        let records = records(shuffled);
        let mut decoder = Decoder::new(rules(), Arc::new(SystemClock));
        let decoded = decoder.decode(records.clone());
        assert_eq!(decoded.events.num_rows(), RECORDS, "every record of the benchmark is an event");
        group.bench_function(name, |bencher| {
            let decode = |records| black_box(decoder.decode(records));
            bencher.iter_batched(|| records.clone(), decode, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
