//! Records become events: decoding by the source's schema, validation, dead letters (L7).
//!
//! A column is taken from its record's value or key (a `part`, which a reader of its [`Format`] reads) or from what stands
//! `around` these. All formats share the columns and so every rule about what a column takes: the same event is the same in
//! each of them.
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
//! A record that fails in several ways is given the first: its grammar, then its columns in the schema's order, those of
//! the value before those of the key and these before all others, then its event time. What a record becomes depends on
//! nothing but the record and the rules: not on the clock, not on what was read before.
//!
//! Values of Avro and Protobuf are read by plans, which `schemas` and `plan` make of a schema and the columns (`misfit` says why
//! there is none), and `binary` follows; what these schemas are is for [`Decoder::prepare`] to learn.
//!
//! There are two ways for a JSON record to become an event, and they lead to the same one. `speculate` bets that it is written
//! like the ones before and reads it straight into the columns, by `leading` and `window`. What it gives up is taken by the
//! general path: `scan` (grammar), `object` (where each column's value is), `number` and `time` (text to values). Only the
//! general path refuses records, with the words of `fault`. Columns are built by `column`, `strings` and `dictionary`, and
//! `envelope`.

mod around;
mod avro;
mod binary;
mod column;
mod csv;
mod dictionary;
mod envelope;
mod error;
mod fault;
mod format;
mod framing;
mod json;
mod leading;
mod misfit;
mod number;
mod object;
mod part;
mod plan;
mod protobuf;
mod scan;
mod schemas;
mod shape;
mod speculate;
mod strings;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod window;

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    datatypes::{Field, Schema as ArrowSchema, SchemaRef},
    record_batch::RecordBatch,
};
use jiff::SignedDuration;
use tracing::{info, warn};

use self::{around::Around, column::ColumnBuilder, envelope::Envelopes, fault::Fault, part::Part, plan::Message};
pub use self::{
    csv::CsvLayout,
    error::{Error, Incompatible},
    format::{Format, Framing, KeyFormat},
    protobuf::imports,
    schemas::{OnIncompatible, RegisteredSchemas, SchemaFault, Schemas, WriterSchema},
};
use crate::{
    event::{Decoded, Record},
    schema::{Column, ColumnType, Origin, Schema},
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
    /// The format of the values.
    pub format: Format,
    /// The format of the keys, if columns are taken from them.
    pub keys: KeyFormat,
}

impl Rules {
    /// Plain JSON in these columns, with any event time.
    #[must_use]
    pub fn new(schema: Arc<Schema>, event_time: &str) -> Self {
        Self {
            schema,
            event_time: event_time.to_owned(),
            ahead_max: None,
            behind_max: None,
            format: Format::default(),
            keys: KeyFormat::default(),
        }
    }

    /// Looks at the newest schemas of the source's subjects, so that one that does not fit is known before its first record.
    /// A subject without a schema is as good as one that fits.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn check_newest(&self) -> Result<(), Error> {
        let keys = match &self.keys {
            KeyFormat::As(format) => format.registered(),
            KeyFormat::Text => None,
        };
        for (registered, origin) in [(self.format.registered(), Origin::Value), (keys, Origin::Key)] {
            let Some((kind, schemas)) = registered else { continue };
            let columns: Vec<Column> = self.schema.columns_of(&origin).cloned().collect();
            match schemas.registry.latest(&schemas.subject).await? {
                Some(schema) => {
                    let plan = schemas.plan(&schema, kind, Message::Any, &columns, origin == Origin::Key)?;
                    if let Err(reason) = plan {
                        warn!(subject = schemas.subject, reason, "records of the newest schema become dead letters");
                    }
                }
                None => info!(subject = schemas.subject, "the registry has no such subject yet"),
            }
        }
        Ok(())
    }
}

/// Decodes the records of one source.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    event_time: Seat,
    value: Part,
    /// `None` where no column is taken from the key.
    key: Option<Part>,
    around: Vec<Around>,
    /// Where each column of the schema is built.
    seats: Vec<Seat>,
    /// The schema of the last batch: which strings are dictionaries differs.
    schema: SchemaRef,
}

/// Where a column is built.
#[derive(Debug, Clone, Copy)]
enum Seat {
    Value(usize),
    Key(usize),
    Around(usize),
}

impl Decoder {
    /// A decoder by these rules.
    ///
    /// # Panics
    /// If the event-time column is not a timestamp of the schema, a column lies within another, or the format has no place for
    /// one: the pipeline file has checked that.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let columns = rules.schema.columns();
        let seats = seats(columns);
        let is_event_time = |c: &Column| c.name == rules.event_time && c.column_type == ColumnType::Timestamp;
        let event_time = columns.iter().position(is_event_time);
        let event_time = seats[event_time.expect("the pipeline file names a timestamp column as the event time")];
        let value = Part::of_value(rules.schema.columns_of(&Origin::Value), &rules.event_time, &rules.format);
        let has_key = rules.schema.columns_of(&Origin::Key).next().is_some();
        let key = has_key.then(|| Part::of_key(rules.schema.columns_of(&Origin::Key), &rules.event_time, &rules.keys));
        let around = columns.iter().filter(|c| !matches!(c.origin, Origin::Value | Origin::Key));
        let around = around.map(|column| Around::new(column, column.name == rules.event_time)).collect();
        let schema = rules.schema.event_schema();
        Self { rules, event_time, value, key, around, seats, schema }
    }

    /// Gets ready to decode `records`: learns the schemas that they were written with, where they name one. Does nothing for
    /// sources whose records name none. It may be tried again, and be dropped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn prepare(&mut self, records: &[Record]) -> Result<(), Error> {
        // What a tombstone's key was written with is of no interest, and neither is the key of a value that is refused.
        let present = || records.iter().filter(|record| record.value.is_some());
        self.value.prepare(present().filter_map(|record| record.value.as_deref())).await?;
        match &mut self.key {
            Some(key) => key.prepare(present().filter_map(|record| record.key.as_deref())).await,
            None => Ok(()),
        }
    }

    /// Decodes a run of records of one partition. Never fails: what cannot be an event is a dead letter.
    ///
    /// # Panics
    /// If records name schemas that [`Self::prepare`] was not called for. If the records have 2 GiB of text in one column: logs give out runs that are far smaller.
    #[must_use]
    pub fn decode(&mut self, records: Vec<Record>) -> Decoded {
        let delivered = records.len();
        let mut envelopes = Envelopes::with_capacity(delivered);
        let (mut dead_letters, mut tombstones) = (Vec::new(), 0);
        self.builders().for_each(|column| column.reserve(delivered));
        for record in records {
            let Some(value) = &record.value else {
                tombstones += 1;
                continue;
            };
            match self.append(value, &record, envelopes.len()) {
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

    /// Appends the event in `record`, which has this `value`, to the columns, which have `row` rows. After an error some of them
    /// may have one more.
    fn append(&mut self, value: &[u8], record: &Record, row: usize) -> Result<(), Fault> {
        self.value.append(value, row)?;
        if let Some(key) = &mut self.key {
            match &record.key {
                Some(bytes) => key.append(bytes, row).map_err(Fault::of_key)?,
                None => key.append_absent()?,
            }
        }
        self.around.iter_mut().try_for_each(|column| column.append(record))?;
        self.check_event_time(value, record)
    }

    fn check_event_time(&mut self, value: &[u8], record: &Record) -> Result<(), Fault> {
        let time_us = self.builder(self.event_time).last_timestamp().expect("the event time was just appended");
        if let Some(rule) = self.latest(record.timestamp_us).filter(|(_, limit_us)| time_us > *limit_us) {
            return Err(self.wrong_event_time(value, record, |column, found| Fault::too_far_ahead(column, found, rule)));
        }
        if let Some(rule) = self.earliest(record.timestamp_us).filter(|(_, limit_us)| time_us < *limit_us) {
            return Err(
                self.wrong_event_time(value, record, |column, found| Fault::too_far_behind(column, found, rule))
            );
        }
        Ok(())
    }

    #[cold]
    fn wrong_event_time(&mut self, value: &[u8], record: &Record, fault: impl FnOnce(&Column, &str) -> Fault) -> Fault {
        let found = match (self.event_time, &mut self.key) {
            (Seat::Value(at), _) => self.value.found(value, at),
            (Seat::Key(at), Some(key)) => key.found(record.key.as_deref().unwrap_or_default(), at),
            (seat, _) => self.builder(seat).last_timestamp().map_or_else(String::new, fault::instant),
        };
        let column = self.rules.schema.column(&self.rules.event_time).expect("the event time is a column");
        fault(column, &found)
    }

    /// How far ahead an event time may be of the record's time stamp, and the instant that is.
    fn latest(&self, timestamp_us: i64) -> Option<(SignedDuration, i64)> {
        self.rules.ahead_max.map(|ahead_max| (ahead_max, timestamp_us.saturating_add(micros(ahead_max))))
    }

    /// How far behind, likewise.
    fn earliest(&self, timestamp_us: i64) -> Option<(SignedDuration, i64)> {
        self.rules.behind_max.map(|behind_max| (behind_max, timestamp_us.saturating_sub(micros(behind_max))))
    }

    fn builder(&mut self, seat: Seat) -> &mut ColumnBuilder {
        match seat {
            Seat::Value(at) => &mut self.value.builders[at],
            Seat::Key(at) => &mut self.key.as_mut().expect("a column of the key has its part").builders[at],
            Seat::Around(at) => &mut self.around[at].builder,
        }
    }

    fn builders(&mut self) -> impl Iterator<Item = &mut ColumnBuilder> {
        let key = self.key.iter_mut().flat_map(|key| &mut key.builders);
        let around = self.around.iter_mut().map(|column| &mut column.builder);
        self.value.builders.iter_mut().chain(key).chain(around)
    }

    fn truncate(&mut self, rows: usize) {
        self.builders().for_each(|column| column.truncate(rows));
    }

    fn finish(&mut self, envelopes: Envelopes) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for at in 0..self.seats.len() {
            columns.push(self.builder(self.seats[at]).finish());
        }
        columns.extend(envelopes.finish());
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

/// Where each of `columns` is built.
fn seats(columns: &[Column]) -> Vec<Seat> {
    let (mut value, mut key, mut around) = (0.., 0.., 0..);
    let seat = |column: &Column| match column.origin {
        Origin::Value => value.next().map(Seat::Value),
        Origin::Key => key.next().map(Seat::Key),
        _ => around.next().map(Seat::Around),
    };
    columns.iter().filter_map(seat).collect()
}

/// A duration in microseconds, as far as 64 bits go.
fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(if duration.is_negative() { i64::MIN } else { i64::MAX })
}
