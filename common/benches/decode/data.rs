//! Clicks, the same for the same seed: two million users and two thousand pages by Zipf's law, sixty countries, times
//! nearly in order, log-normal latencies, amounts with two decimals, a session that no other click has.

use std::sync::Arc;

use bytes::Bytes;
use common::{
    decode::Rules,
    event::Run,
    position::Partition,
    schema::{Column, ColumnType, Schema, TimestampFormat},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Records in one run, about what the speed layer takes at once.
const RUN: usize = 8192;

const USERS: usize = 2_000_000;
const SECTIONS: [&str; 10] =
    ["home", "search", "product", "cart", "checkout", "account", "help", "blog", "category", "deals"];

pub(super) fn rules() -> Rules {
    let columns = [
        ("ts", ColumnType::Timestamp),
        ("user_id", ColumnType::Int),
        ("country", ColumnType::String),
        ("page", ColumnType::String),
        ("device", ColumnType::String),
        ("status", ColumnType::Int),
        ("latency_ms", ColumnType::Int),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("session_id", ColumnType::String),
    ];
    let column =
        |(name, column_type)| Column { timestamp_format: TimestampFormat::Millis, ..Column::new(name, column_type) };
    let schema = Arc::new(Schema::new(columns.map(column).to_vec()));
    Rules::new(schema, "ts")
}

/// Picks from `0..n`, number `i` with a weight of `1 / (i + 1)^exponent`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=n).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn pick(&self, random: &mut StdRng) -> usize {
        let at = random.random::<f64>() * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum < at).min(self.0.len() - 1)
    }
}

/// By Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// `rows` records' values; the order of the members differs in each if `shuffled`.
pub(super) fn lines(rows: usize, shuffled: bool) -> Vec<Bytes> {
    let random = &mut StdRng::seed_from_u64(7);
    let (users, pages, countries) = (Zipf::new(USERS, 0.9), Zipf::new(2000, 1.0), Zipf::new(60, 1.2));
    let mut user_ids: Vec<u64> = (0..USERS as u64).map(|user| user * 1_000_003 + 10_000_000_019).collect();
    let mut page_names: Vec<String> = (0..2000).map(page).collect();
    user_ids.shuffle(random);
    page_names.shuffle(random);
    let lines = (0..rows).map(|row| {
        // 15 ms between clicks, up to 20 s out of order.
        let ts = 1_789_948_800_000 + row as i64 * 15 + random.random_range(0..40_000);
        let user_id = user_ids[users.pick(random)];
        let country = countries.pick(random);
        let device = ["mobile", "desktop", "tablet", "tv"][weighted(random, &[0.55, 0.85, 0.95])];
        let status = [200, 304, 404, 302, 500][weighted(random, &[0.93, 0.95, 0.97, 0.99])];
        let latency_ms = (4.2 + 0.8 * normal(random)).exp().min(60_000.0) as u32 + 1;
        let amount = match random.random_bool(0.3) {
            true => (3.0 + normal(random)).exp(),
            false => random.random::<f64>() * 5.0,
        };
        let session = user_id.wrapping_mul(2_654_435_761) << 32 | (ts as u64 & 0xffff_ffff);
        let mut members = [
            format!(r#""ts":{ts}"#),
            format!(r#""user_id":{user_id}"#),
            format!(
                r#""country":"{}{}""#,
                char::from(b'A' + (country / 8) as u8),
                char::from(b'C' + 2 * (country % 8) as u8)
            ),
            format!(r#""page":"{}""#, page_names[pages.pick(random)]),
            format!(r#""device":"{device}""#),
            format!(r#""status":{status}"#),
            format!(r#""latency_ms":{latency_ms}"#),
            format!(r#""amount":{amount:.2}"#),
            format!(r#""session_id":"{session:016x}""#),
        ];
        if shuffled {
            members.shuffle(random);
        }
        Bytes::from(format!("{{{}}}", members.join(",")))
    });
    lines.collect()
}

fn page(number: usize) -> String {
    let kind = if number.is_multiple_of(3) { "p/" } else { "item-" };
    format!("/{}/{kind}{:05}", SECTIONS[number % 10], number * 7919 % 100_000)
}

/// How many of `limits` a random number from `[0, 1)` is beyond.
fn weighted(random: &mut StdRng, limits: &[f64]) -> usize {
    let at: f64 = random.random();
    limits.iter().filter(|&&limit| at >= limit).count()
}

/// The lines as logs deliver them, run by run, each of which was just read.
pub(super) fn runs(lines: &[Bytes]) -> impl Iterator<Item = Run> {
    let topic: Arc<str> = "clicks".into();
    let offsets = (0..).step_by(RUN);
    lines.chunks(RUN).zip(offsets).map(move |(lines, from)| {
        let mut run = Run::with_capacity(Arc::clone(&topic), Partition(0), lines.len(), 0);
        for (offset, line) in (from..).zip(lines) {
            run.push(offset, 1_790_000_000_000_000, None, Vec::new(), Some(line));
        }
        run
    })
}
