//! Records become events: decoding by the source's schema, validation, dead letters (L7).
//!
//! What a JSON record must be, and how its values are read:
//!
//! - one JSON object by RFC 8259, in UTF-8, of at most [`RECORD_BYTES_MAX`] bytes, nested at most
//!   [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX) deep, with nothing after it;
//! - members that are no column are checked for their grammar and passed over; of a name that repeats, the last value
//!   counts, as in serde_json; a column that is not there is null;
//! - `int`: a number whose value is whole and fits 64 bits, however it is written: JSON does not tell `1.0` from `1`, and
//!   writers that know only doubles write either. `1.5` is refused, and so is `"1"`;
//! - `double`: a number; the nearest double, refused if that is infinite;
//! - `decimal(p,s)`: a number, or the same text in quotes, taken digit by digit and never through a double. A value with
//!   more than `s` places, trailing zeros aside, or with more than `p` digits is refused, never rounded;
//! - `string`, `bool`: these and nothing else;
//! - `timestamp`: by [`TimestampFormat`](crate::schema::TimestampFormat), in the years 1 to 9999.
//!
//! A record that fails in several ways is given the first: its grammar, then its columns in the schema's order, then its
//! event time. So what a record becomes depends on nothing but the record, the rules and, for `ahead_max`, the clock.
//!
//! A file a stage: `scan` (grammar), `json` (names to columns), `number` and `time` (text to values), `column` and `envelope`
//! (values to Arrow), `fault` (words for what is wrong).

mod column;
mod envelope;
mod fault;
mod json;
mod number;
mod scan;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use arrow::{array::ArrayRef, record_batch::RecordBatch};
use jiff::SignedDuration;

use self::{column::ColumnBuilder, envelope::Envelopes, fault::Fault, json::ObjectReader};
use crate::{
    clock::Clock,
    event::{Decoded, Record},
    limits::RECORD_BYTES_MAX,
    schema::{ColumnType, Schema},
};

/// What a decoder needs to know of its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The columns.
    pub schema: Arc<Schema>,
    /// The event-time column. It is never null, whatever the schema says.
    pub event_time: String,
    /// How far an event time may be ahead of the clock.
    pub ahead_max: Option<SignedDuration>,
    /// How far an event time may be behind the record's own time stamp. Not the clock's: a replay must decide the same.
    pub behind_max: Option<SignedDuration>,
}

/// Decodes the JSON records of one source.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    clock: Arc<dyn Clock>,
    event_time: usize,
    objects: ObjectReader,
    columns: Vec<ColumnBuilder>,
}

impl Decoder {
    /// A decoder by these rules.
    ///
    /// # Panics
    /// If the event-time column is not a timestamp of the schema: the pipeline file has checked that.
    #[must_use]
    pub fn new(rules: Rules, clock: Arc<dyn Clock>) -> Self {
        let columns = rules.schema.columns();
        let is_event_time =
            |c: &crate::schema::Column| c.name == rules.event_time && c.column_type == ColumnType::Timestamp;
        let event_time = columns.iter().position(is_event_time);
        let event_time = event_time.expect("the pipeline file names a timestamp column as the event time");
        let objects = ObjectReader::new(columns.iter().map(|c| c.name.as_str()));
        let columns = columns.iter().enumerate().map(|(at, c)| ColumnBuilder::new(c, at == event_time)).collect();
        Self { rules, clock, event_time, objects, columns }
    }

    /// Decodes a run of records of one partition. Never fails: what cannot be an event is a dead letter.
    ///
    /// # Panics
    /// If the records have 2 GiB of text in one column: logs give out runs that are far smaller.
    #[must_use]
    pub fn decode(&mut self, records: Vec<Record>) -> Decoded {
        let delivered = records.len();
        let now_us = self.clock.now_us();
        let mut envelopes = Envelopes::with_capacity(delivered);
        let (mut dead_letters, mut tombstones) = (Vec::new(), 0);
        self.columns.iter_mut().for_each(|column| column.reserve(delivered));
        for record in records {
            let Some(value) = &record.value else {
                tombstones += 1;
                continue;
            };
            match self.append(value, record.timestamp_us, now_us) {
                Ok(()) => envelopes.append(&record),
                Err(fault) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(envelopes.len()));
                    dead_letters.push(fault.letter(record));
                }
            }
        }
        let accounted = (envelopes.len() + dead_letters.len()) as u64 + tombstones;
        assert_eq!(accounted, delivered as u64, "L7: every record is an event, a dead letter or a tombstone");
        Decoded { events: self.finish(envelopes), dead_letters, tombstones }
    }

    /// Appends the event in `value` to the columns. After an error some of them may have a row more than others.
    fn append(&mut self, value: &[u8], timestamp_us: i64, now_us: i64) -> Result<(), Fault> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(Fault::too_large(value.len()));
        }
        let text = std::str::from_utf8(value).map_err(Fault::not_utf8)?;
        let values = self.objects.read(text).map_err(|error| Fault::syntax(error, text))?;
        for (at, (builder, value)) in self.columns.iter_mut().zip(values).enumerate() {
            if let Err(reason) = builder.append(*value, text) {
                return Err(Fault::column(reason, &self.rules.schema.columns()[at], *value, text));
            }
        }
        let event_us = self.columns[self.event_time].last_timestamp().expect("the event time was just appended");
        let (column, value) = (&self.rules.schema.columns()[self.event_time], values[self.event_time]);
        if let Some(ahead_max) = self.rules.ahead_max {
            let limit_us = now_us.saturating_add(micros(ahead_max));
            if event_us > limit_us {
                return Err(Fault::too_far_ahead(column, value, text, (ahead_max, limit_us)));
            }
        }
        if let Some(behind_max) = self.rules.behind_max {
            let limit_us = timestamp_us.saturating_sub(micros(behind_max));
            if event_us < limit_us {
                return Err(Fault::too_far_behind(column, value, text, (behind_max, limit_us)));
            }
        }
        Ok(())
    }

    fn finish(&mut self, envelopes: Envelopes) -> RecordBatch {
        let own = self.columns.iter_mut().map(ColumnBuilder::finish);
        let columns: Vec<ArrayRef> = own.chain(envelopes.finish()).collect();
        RecordBatch::try_new(self.rules.schema.event_schema(), columns).expect("the columns are built by the schema")
    }
}

/// A duration in microseconds, as far as 64 bits go.
fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(if duration.is_negative() { i64::MIN } else { i64::MAX })
}
