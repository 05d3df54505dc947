//! Records become events: decoding by the source's schema, validation, dead letters (L7).
//!
//! What a JSON record must be, and how its values are read:
//!
//! - one JSON object by RFC 8259, in UTF-8, of at most [`RECORD_BYTES_MAX`] bytes, nested at most
//!   [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX) deep, with nothing after it;
//! - a column's value stands at its [`Path`](crate::schema::Path). What is not there is null, also where the path leads
//!   through something that is no object or array. All else is checked for its grammar and passed over;
//! - of a name that repeats in one object, the last value counts, whole, as in serde_json and in JavaScript;
//! - `int`: a number whose value is whole and fits 64 bits, however it is written: JSON does not tell `1.0` from `1`, and
//!   writers that know only doubles write either. `1.5` is refused, and so is `"1"`;
//! - `double`: a number; the nearest double, refused if that is infinite;
//! - `decimal(p,s)`: a number, or the same text in quotes, taken digit by digit and never through a double. A value with
//!   more than `s` places, trailing zeros aside, or with more than `p` digits is refused, never rounded;
//! - `string`, `bool`: these and nothing else;
//! - `timestamp`: by [`TimestampFormat`](crate::schema::TimestampFormat), in the years 1 to 9999.
//!
//! A record that fails in several ways is given the first: its grammar, then its columns in the schema's order, then its
//! event time. What a record becomes depends on nothing but the record and the rules: not on the clock, not on what was
//! read before.
//!
//! There are two ways for a record to become an event, and they lead to the same one. `speculate` bets that it is written
//! like the ones before and reads it straight into the columns, by `leading` and `window`. What it gives up is taken by the
//! general path: `scan` (grammar), `object` (where each column's value is), `number` and `time` (text to values). Only the
//! general path refuses records, with the words of `fault`. Columns are built by `column`, `strings` and `dictionary`, and
//! `envelope`.

mod column;
mod dictionary;
mod envelope;
mod fault;
mod leading;
mod number;
mod object;
mod scan;
mod shape;
mod speculate;
mod strings;
#[cfg(test)]
mod tests;
mod time;
mod window;

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    datatypes::{Field, Schema as ArrowSchema, SchemaRef},
    record_batch::RecordBatch,
};
use jiff::SignedDuration;

use self::{
    column::ColumnBuilder, envelope::Envelopes, fault::Fault, object::ObjectReader, scan::Raw, speculate::Speculator,
};
use crate::{
    event::{Decoded, Record},
    limits::RECORD_BYTES_MAX,
    schema::{Column, ColumnType, Schema},
};

/// What a decoder needs to know of its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The columns.
    pub schema: Arc<Schema>,
    /// The event-time column. It is never null, whatever the schema says.
    pub event_time: String,
    /// How far an event time may be ahead of the record's own time stamp. Not of the clock: reading it again, after a
    /// crash or years later, must decide the same.
    pub ahead_max: Option<SignedDuration>,
    /// How far an event time may be behind the record's own time stamp.
    pub behind_max: Option<SignedDuration>,
}

/// Decodes the JSON records of one source.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    event_time: usize,
    speculator: Speculator,
    objects: ObjectReader,
    columns: Vec<ColumnBuilder>,
    /// The schema of the last batch: which strings are dictionaries differs.
    schema: SchemaRef,
}

impl Decoder {
    /// A decoder by these rules.
    ///
    /// # Panics
    /// If the event-time column is not a timestamp of the schema, or a column lies within another: the pipeline file has
    /// checked that.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let columns = rules.schema.columns();
        let is_event_time = |c: &Column| c.name == rules.event_time && c.column_type == ColumnType::Timestamp;
        let event_time = columns.iter().position(is_event_time);
        let event_time = event_time.expect("the pipeline file names a timestamp column as the event time");
        let nodes: Arc<[_]> = shape::tree(columns).into();
        let (speculator, objects) = (Speculator::new(Arc::clone(&nodes)), ObjectReader::new(nodes));
        let columns = columns.iter().enumerate().map(|(at, c)| ColumnBuilder::new(c, at == event_time)).collect();
        let schema = rules.schema.event_schema();
        Self { rules, event_time, speculator, objects, columns, schema }
    }

    /// Decodes a run of records of one partition. Never fails: what cannot be an event is a dead letter.
    ///
    /// # Panics
    /// If the records have 2 GiB of text in one column: logs give out runs that are far smaller.
    #[must_use]
    pub fn decode(&mut self, records: Vec<Record>) -> Decoded {
        let delivered = records.len();
        let mut envelopes = Envelopes::with_capacity(delivered);
        let (mut dead_letters, mut tombstones) = (Vec::new(), 0);
        self.columns.iter_mut().for_each(|column| column.reserve(delivered));
        for record in records {
            let Some(value) = &record.value else {
                tombstones += 1;
                continue;
            };
            match self.append(value, record.timestamp_us, envelopes.len()) {
                Ok(()) => envelopes.append(&record),
                Err(fault) => {
                    self.truncate(envelopes.len());
                    dead_letters.push(fault.letter(record));
                }
            }
        }
        let accounted = (envelopes.len() + dead_letters.len()) as u64 + tombstones;
        assert_eq!(accounted, delivered as u64, "L7: every record is an event, a dead letter or a tombstone");
        Decoded { events: self.finish(envelopes), dead_letters, tombstones }
    }

    /// Appends the event in `value` to the columns, which have `row` rows. After an error some of them may have one more.
    fn append(&mut self, value: &[u8], timestamp_us: i64, row: usize) -> Result<(), Fault> {
        if value.len() <= RECORD_BYTES_MAX && self.speculator.read(value, &mut self.columns, row).is_some() {
            let time_us = self.event_time_us();
            if self.latest(timestamp_us).is_none_or(|(_, limit_us)| time_us <= limit_us)
                && self.earliest(timestamp_us).is_none_or(|(_, limit_us)| time_us >= limit_us)
            {
                return Ok(());
            }
        }
        self.truncate(row);
        self.append_generally(value, timestamp_us)
    }

    /// As [`Self::append`], with nothing taken for granted: it has the last word, and the words for what is wrong.
    fn append_generally(&mut self, value: &[u8], timestamp_us: i64) -> Result<(), Fault> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(Fault::too_large(value.len()));
        }
        let text = std::str::from_utf8(value).map_err(Fault::not_utf8)?;
        let values = self.objects.read(text).map_err(|error| Fault::syntax(error, text))?;
        for (at, (builder, value)) in self.columns.iter_mut().zip(values).enumerate() {
            if let Err(reason) = builder.append(value.map(|raw| raw.of(text))) {
                return Err(Fault::column(reason, &self.rules.schema.columns()[at], *value, text));
            }
        }
        let value = values[self.event_time];
        self.check_event_time(value, text, timestamp_us)
    }

    fn check_event_time(&self, value: Option<Raw>, text: &str, timestamp_us: i64) -> Result<(), Fault> {
        let (time_us, column) = (self.event_time_us(), &self.rules.schema.columns()[self.event_time]);
        match (self.latest(timestamp_us), self.earliest(timestamp_us)) {
            (Some(rule), _) if time_us > rule.1 => Err(Fault::too_far_ahead(column, value, text, rule)),
            (_, Some(rule)) if time_us < rule.1 => Err(Fault::too_far_behind(column, value, text, rule)),
            _ => Ok(()),
        }
    }

    /// The event time that was just appended.
    fn event_time_us(&self) -> i64 {
        self.columns[self.event_time].last_timestamp().expect("the event time was just appended")
    }

    /// How far ahead an event time may be of the record's time stamp, and the instant that is.
    fn latest(&self, timestamp_us: i64) -> Option<(SignedDuration, i64)> {
        self.rules.ahead_max.map(|ahead_max| (ahead_max, timestamp_us.saturating_add(micros(ahead_max))))
    }

    /// How far behind, likewise.
    fn earliest(&self, timestamp_us: i64) -> Option<(SignedDuration, i64)> {
        self.rules.behind_max.map(|behind_max| (behind_max, timestamp_us.saturating_sub(micros(behind_max))))
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn finish(&mut self, envelopes: Envelopes) -> RecordBatch {
        let own = self.columns.iter_mut().map(ColumnBuilder::finish);
        let columns: Vec<ArrayRef> = own.chain(envelopes.finish()).collect();
        let fields = self.schema.fields().iter();
        if fields.zip(&columns).any(|(field, column)| field.data_type() != column.data_type()) {
            let event_schema = self.rules.schema.event_schema();
            let fields = event_schema.fields().iter().zip(&columns);
            let fields =
                fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
            self.schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<Field>>()));
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("the columns are built by the schema")
    }
}

/// A duration in microseconds, as far as 64 bits go.
fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(if duration.is_negative() { i64::MIN } else { i64::MAX })
}
