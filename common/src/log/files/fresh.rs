//! Rows whose times are written anew, so that history can be sent as if it happened now: for load generators.

use bytes::Bytes;

use super::json;
use crate::schema::{Column, ColumnType, Origin, Schema, TimestampFormat};

/// A JSON record whose timestamps move with its event time: all keep their distance to it.
#[derive(Debug, Clone)]
pub struct Fresh {
    value: Bytes,
    /// The stretches of `value` that are times, in order.
    times: Vec<Time>,
}

#[derive(Debug, Clone)]
struct Time {
    from: usize,
    to: usize,
    after_event_us: i64,
    format: TimestampFormat,
}

impl Fresh {
    /// The record `value` of a source with these columns, or nothing if it has no event time to move.
    #[must_use]
    pub fn new(value: Bytes, schema: &Schema, event_time: &str) -> Option<Self> {
        let event_us = json::time_us(&value, schema.column(event_time).filter(|c| c.origin == Origin::Value)?)?;
        let columns = schema.columns().iter();
        let stamps = columns.filter(|c| c.column_type == ColumnType::Timestamp && c.origin == Origin::Value);
        let mut times: Vec<Time> = stamps.filter_map(|column| time(&value, column, event_us)).collect();
        times.sort_by_key(|time| time.from);
        // Two columns may be taken from one place.
        times.dedup_by_key(|time| time.from);
        Some(Self { value, times })
    }

    /// Writes the record as if its event time were `event_us`, microseconds since 1970-01-01 UTC. Times coarser than that
    /// are cut off to their unit.
    pub fn write(&self, event_us: i64, out: &mut Vec<u8>) {
        let mut from = 0;
        for time in &self.times {
            out.extend_from_slice(&self.value[from..time.from]);
            let time_us = event_us.saturating_add(time.after_event_us);
            json::time(out, time_us - time_us.rem_euclid(unit_us(time.format)), time.format);
            from = time.to;
        }
        out.extend_from_slice(&self.value[from..]);
    }
}

fn time(value: &Bytes, column: &Column, event_us: i64) -> Option<Time> {
    let time_us = json::time_us(value, column)?;
    let found = column.path.find(value)?;
    let text = found.as_raw_str();
    // What was found is a part of `value`.
    let from = text.as_ptr() as usize - value.as_ptr() as usize;
    let after_event_us = time_us - event_us;
    Some(Time { from, to: from + text.len(), after_event_us, format: column.timestamp_format })
}

fn unit_us(format: TimestampFormat) -> i64 {
    match format {
        TimestampFormat::Seconds => 1_000_000,
        TimestampFormat::Millis => 1_000,
        TimestampFormat::Rfc3339 | TimestampFormat::Micros | TimestampFormat::Nanos => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::departures;

    #[test]
    fn all_times_of_a_record_move_together_and_nothing_else_changes() {
        let source = departures();
        let value = r#"{"a":[1,"2013-01-01T00:00:00Z"],"departed_at":"2013-02-04T09:53:00Z","carrier":"US"}"#;
        let fresh = Fresh::new(Bytes::from(value), &source.rules.schema, "departed_at").expect("it has an event time");
        let mut out = Vec::new();
        fresh.write(1_767_225_600_123_456, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("JSON is text"),
            r#"{"a":[1,"2013-01-01T00:00:00Z"],"departed_at":"2026-01-01T00:00:00.123456Z","carrier":"US"}"#
        );
    }

    #[test]
    fn other_times_keep_their_distance_and_their_unit() {
        let mut arrived = Column::new("arrived", ColumnType::Timestamp);
        arrived.timestamp_format = TimestampFormat::Seconds;
        let schema = Schema::new(vec![Column::new("at", ColumnType::Timestamp), arrived]);
        let value = Bytes::from(r#"{"arrived":1767225660,"at":"2026-01-01T00:00:00Z"}"#);
        let fresh = Fresh::new(value, &schema, "at").expect("it has an event time");
        let mut out = Vec::new();
        fresh.write(2_000_000, &mut out);
        fresh.write(2_500_000, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("JSON is text"),
            r#"{"arrived":62,"at":"1970-01-01T00:00:02Z"}{"arrived":62,"at":"1970-01-01T00:00:02.5Z"}"#
        );
    }

    #[test]
    fn what_has_no_event_time_is_not_made_fresh() {
        let schema = departures().rules.schema;
        for value in ["{}", "no JSON", r#"{"departed_at":"yesterday"}"#, r#"{"departed_at":null}"#] {
            assert!(Fresh::new(Bytes::from(value), &schema, "departed_at").is_none(), "{value}");
        }
    }
}
