//! The sample of real flights: every row of it is an event, by the rules of its own pipeline file.

use std::path::Path;

use arrow::{compute::sum, datatypes::ArrowNumericType, record_batch::RecordBatch};

use super::*;
use crate::{log::files::Rows, names::SourceName, pipeline::Pipeline};

/// The events of the sample of `source`.
fn sample(source: &str) -> RecordBatch {
    let flights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/flights");
    let pipeline = Pipeline::load(&flights.join("pipeline.toml")).expect("the pipeline of the sample is valid");
    let rules = &pipeline.sources[&SourceName::new(source).unwrap()].rules;
    let rows = Rows::open(&flights.join(format!("sample/{source}.ndjson.gz")), rules).unwrap();
    let decoded = Decoder::new(rules.clone(), Arc::new(Noon)).decode(records(rows.map(|row| row.unwrap().value)));
    assert_eq!(decoded.dead_letters, []);
    decoded.events
}

fn total<T: ArrowNumericType>(events: &RecordBatch, column: &str) -> Option<T::Native> {
    sum(events.column_by_name(column).unwrap().as_primitive::<T>())
}

/// In seconds, as the total in microseconds is over 2^63.
fn total_seconds(events: &RecordBatch, column: &str) -> i64 {
    let times = events.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>();
    times.values().iter().map(|us| us / 1_000_000).sum()
}

fn nulls(events: &RecordBatch, column: &str) -> usize {
    events.column_by_name(column).unwrap().null_count()
}

// The totals were computed apart, by Python from the same files.

#[test]
fn every_departure_of_the_sample_is_an_event() {
    let events = sample("departures");
    assert_eq!(events.num_rows(), 25_165);
    assert_eq!(events.column_by_name("cancelled").unwrap().as_boolean().true_count(), 1_253);
    assert_eq!(nulls(&events, "delay_minutes"), 1_253);
    assert_eq!(nulls(&events, "tail_number"), 444);
    assert_eq!(total::<Int64Type>(&events, "delay_minutes"), Some(259_068));
    assert_eq!(total::<Int64Type>(&events, "distance_miles"), Some(25_228_453));
    assert_eq!(total_seconds(&events, "departed_at"), 34_253_997_220_740);
}

#[test]
fn every_arrival_of_the_sample_is_an_event() {
    let events = sample("arrivals");
    assert_eq!(events.num_rows(), 23_882);
    assert_eq!(nulls(&events, "speed_mph"), 45);
    assert_eq!(total::<Int64Type>(&events, "air_minutes"), Some(3_596_512));
    assert_eq!(total::<Decimal128Type>(&events, "air_hours"), Some(5_994_250), "59942.50 hours, exactly");
    assert_eq!(total_seconds(&events, "arrived_at"), 32_508_532_684_800);
}
