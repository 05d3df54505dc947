//! What one would write with a typed struct: each record into the struct, the struct's fields into Arrow builders.
//!
//! It gives less than the decoder: no dead letters, no envelope, no exactness (an amount goes through a double, which two
//! decimals of this size survive), one schema only.

use std::sync::Arc;

use arrow::{
    array::{
        Decimal128Builder, Int64Builder, RecordBatch, StringBuilder, StringDictionaryBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::Int32Type,
};
use common::event::Run;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Click<'a> {
    ts: i64,
    user_id: i64,
    country: &'a str,
    page: &'a str,
    device: &'a str,
    status: i64,
    latency_ms: i64,
    amount: f64,
    session_id: &'a str,
}

/// A batch of `records`, each parsed by `parse`.
pub(super) fn decode<'a>(records: &'a Run, parse: impl Fn(&'a [u8]) -> Click<'a>) -> RecordBatch {
    let rows = records.len();
    let mut ts = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
    let mut ints = [(); 3].map(|()| Int64Builder::with_capacity(rows));
    let mut texts = [(); 3].map(|()| StringDictionaryBuilder::<Int32Type>::new());
    let mut amounts = Decimal128Builder::with_capacity(rows).with_precision_and_scale(12, 2).unwrap();
    let mut sessions = StringBuilder::with_capacity(rows, rows * 16);
    for at in 0..rows {
        let click = parse(records.value(at).unwrap());
        ts.append_value(click.ts * 1_000);
        for (builder, value) in ints.iter_mut().zip([click.user_id, click.status, click.latency_ms]) {
            builder.append_value(value);
        }
        for (builder, value) in texts.iter_mut().zip([click.country, click.page, click.device]) {
            builder.append_value(value);
        }
        amounts.append_value((click.amount * 100.0).round() as i128);
        sessions.append_value(click.session_id);
    }
    let [mut user_id, mut status, mut latency_ms] = ints;
    let [mut country, mut page, mut device] = texts;
    RecordBatch::try_from_iter([
        ("ts", Arc::new(ts.finish()) as _),
        ("user_id", Arc::new(user_id.finish()) as _),
        ("country", Arc::new(country.finish()) as _),
        ("page", Arc::new(page.finish()) as _),
        ("device", Arc::new(device.finish()) as _),
        ("status", Arc::new(status.finish()) as _),
        ("latency_ms", Arc::new(latency_ms.finish()) as _),
        ("amount", Arc::new(amounts.finish()) as _),
        ("session_id", Arc::new(sessions.finish()) as _),
    ])
    .unwrap()
}
