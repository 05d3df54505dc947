//! How long one core takes to decode a JSON record of some shapes beside the clicks of the `decode` bench: what is short, long,
//! deep, full of escapes or beyond ASCII, and what is not written alike from record to record.
//!
//! `cargo bench -p common --bench shapes -- [rows] [rounds] [shape]`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and nobody links it")]

use std::{hint::black_box, sync::Arc};

use common::{
    decode::{Decoder, Rules},
    event::Run,
    position::Partition,
    schema::{Column, ColumnType, Path, Schema, TimestampFormat},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

const ROWS: usize = 1 << 16;
const ROUNDS: usize = 7;

/// Records in one run.
const RUN: usize = 8192;

/// What a record of a shape is written like.
type Shape = (&'static str, fn(&mut StdRng) -> String);

const SHAPES: [Shape; 13] = [
    ("one member", |random| format!(r#"{{"ts":{}}}"#, ts(random))),
    ("two members", |random| format!(r#"{{"ts":{},"n":{}}}"#, ts(random), random.random_range(-9..1000))),
    ("departures", |random| departure(random, false)),
    ("negatives", |random| {
        format!(r#"{{"ts":{},"n":{},"m":{}}}"#, ts(random), random.random_range(-9..9), random.random_range(-500..500))
    }),
    ("nulls", |random| {
        let n = if random.random_bool(0.3) { "null".to_owned() } else { random.random_range(0..100).to_string() };
        format!(r#"{{"ts":{},"n":{n},"carrier":"UA","origin":null}}"#, ts(random))
    }),
    ("optional", |random| {
        let mut members = vec![format!(r#""ts":{}"#, ts(random))];
        for name in ["n", "m"] {
            if random.random_bool(0.8) {
                members.push(format!(r#""{name}":{}"#, random.random_range(0..1000)));
            }
        }
        members.push(r#""carrier":"UA""#.to_owned());
        if random.random_bool(0.5) {
            members.push(r#""origin":"EWR""#.to_owned());
        }
        format!("{{{}}}", members.join(","))
    }),
    ("spaced, shuffled", |random| {
        let mut members = [
            format!(r#""ts": {}"#, ts(random)),
            format!(r#""n": {}"#, random.random_range(0..1000)),
            r#""carrier": "UA""#.to_owned(),
            r#""origin": "EWR""#.to_owned(),
        ];
        members.shuffle(random);
        format!("{{{}}}", members.join(", "))
    }),
    ("nested", |random| {
        format!(
            r#"{{"meta":{{"id":"{:016x}","v":1}},"user":{{"id":{},"name":"x"}},"ts":{},"carrier":"UA"}}"#,
            random.random::<u64>(),
            random.random_range(0..100_000),
            ts(random)
        )
    }),
    ("arrays", |random| {
        let items: Vec<String> =
            (0..random.random_range(0..6)).map(|n| format!(r#"{{"sku":"{n}","n":{n}}}"#)).collect();
        format!(r#"{{"ts":{},"items":[{}],"carrier":"UA"}}"#, ts(random), items.join(","))
    }),
    ("nobody's", |random| {
        let members: Vec<String> =
            (0..20).map(|n| format!(r#""field_{n}":{}"#, random.random_range(0..1000))).collect();
        format!(r#"{{"ts":{},{},"carrier":"UA"}}"#, ts(random), members.join(","))
    }),
    ("escapes", |random| {
        format!(r#"{{"ts":{},"text":"say \"{}\"\n","carrier":"UA"}}"#, ts(random), random.random_range(0..1000))
    }),
    ("languages", |random| departure(random, true)),
    ("64 KiB", |random| {
        let text = "a text, as long as it is. ".repeat(2500);
        format!(r#"{{"ts":{},"blob":"{text}","carrier":"UA"}}"#, ts(random))
    }),
];

fn ts(random: &mut StdRng) -> i64 {
    1_789_948_800_000 + random.random_range(0..100_000_000)
}

fn departure(random: &mut StdRng, beyond_ascii: bool) -> String {
    let airports = ["EWR", "JFK", "LGA", "ATL", "ORD", "LAX"];
    let airport = |random: &mut StdRng| airports[random.random_range(0..airports.len())];
    let at = jiff::Timestamp::from_millisecond(ts(random)).unwrap();
    let text = if beyond_ascii { "Zürich nach 東京" } else { "from here to there" };
    format!(
        r#"{{"departed_at":"{at:.0}","carrier":"UA","flight":{},"tail_number":"N{}","origin":"{}","text":"{text}","m":{},"n":{}}}"#,
        random.random_range(1..9999),
        random.random_range(100..5000),
        airport(random),
        random.random_range(100..3000),
        random.random_range(-20..200)
    )
}

fn rules(name: &str) -> Rules {
    let mut columns: Vec<Column> = [
        ("carrier", ColumnType::String),
        ("flight", ColumnType::Int),
        ("tail_number", ColumnType::String),
        ("origin", ColumnType::String),
        ("text", ColumnType::String),
        ("n", ColumnType::Int),
        ("m", ColumnType::Int),
        ("user", ColumnType::Int),
    ]
    .map(|(name, column_type)| Column { nullable: true, ..Column::new(name, column_type) })
    .to_vec();
    columns.last_mut().unwrap().path = Path::parse("$.user.id").unwrap();
    let (time, format) = match name {
        "departures" | "languages" => ("departed_at", TimestampFormat::Rfc3339),
        _ => ("ts", TimestampFormat::Millis),
    };
    columns.insert(0, Column { timestamp_format: format, ..Column::new(time, ColumnType::Timestamp) });
    Rules::new(Arc::new(Schema::new(columns)), time)
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut number = || {
        let number = arguments.first()?.parse().ok()?;
        arguments.remove(0);
        Some(number)
    };
    let (rows, rounds) = (number().unwrap_or(ROWS), number().unwrap_or(ROUNDS));
    println!("{rows} records, {rounds} rounds\n{:18} {:>8} {:>10} {:>10}", "", "bytes", "ns", "MB/s");
    for (name, write) in
        SHAPES.into_iter().filter(|(name, _)| arguments.is_empty() || arguments.contains(&(*name).to_owned()))
    {
        let random = &mut StdRng::seed_from_u64(7);
        let rows = if name == "64 KiB" { rows / 100 } else { rows };
        let lines: Vec<String> = (0..rows).map(|_| write(random)).collect();
        let mut decoder = Decoder::new(rules(name));
        let mut times: Vec<f64> = (0..rounds).map(|_| round(&mut decoder, &lines)).collect();
        times.sort_unstable_by(f64::total_cmp);
        let bytes = lines.iter().map(String::len).sum::<usize>() as f64 / rows as f64;
        let ns = times[rounds / 2] * 1e9 / rows as f64;
        println!("{name:18} {bytes:8.0} {ns:10.1} {:10.0}", bytes * 1e3 / ns);
    }
}

/// The seconds that it takes to decode all of `lines`.
fn round(decoder: &mut Decoder, lines: &[String]) -> f64 {
    let mut seconds = 0.0;
    for lines in lines.chunks(RUN) {
        let mut run = Run::with_capacity("shapes".into(), Partition(0), lines.len(), 0);
        for (offset, line) in (0..).zip(lines) {
            run.push(offset, 1_790_000_000_000_000, None, Vec::new(), Some(line.as_bytes()));
        }
        let start = thread_seconds();
        let decoded = black_box(decoder.decode(&run));
        seconds += thread_seconds() - start;
        assert_eq!(decoded.events.num_rows(), lines.len(), "every record of the benchmark is an event");
    }
    seconds
}

/// The seconds that this thread has had a core.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which the call fills in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has the clock of a thread");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
