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
//! `encode` is the way back: events as records that decode to the same events.
//!
//! There are two ways for a JSON record to become an event, and they lead to the same one. `speculate` bets that it is written
//! like others before: a `block` of records is marked (`marks`, by `vector`), so that it is known where values may end; a record's
//! values then lie where its `layout` says, or behind names by their `spelling` (both compare `glue`), at `span`s that the columns
//! read, by `digits` (of many at once by `numbers`), `time` and `window`. What it stops before is taken by the general path: `scan` (grammar), `object` (where
//! each column's value is), `number` and `time` (text to values). Only the general path refuses records, with the words of
//! `fault`. Columns are built by `column`, `strings` and `dictionary`, and `envelope`.

mod around;
mod avro;
mod binary;
mod block;
mod column;
mod csv;
mod dictionary;
mod digits;
mod encode;
mod envelope;
mod error;
mod fault;
mod format;
mod framing;
mod glue;
mod json;
mod layout;
mod marks;
mod misfit;
mod number;
#[cfg(target_arch = "x86_64")]
mod numbers;
mod object;
mod part;
mod plan;
mod protect;
mod protobuf;
mod scan;
mod schemas;
mod shape;
mod span;
mod speculate;
mod spelling;
mod strings;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod vector;
mod window;

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    datatypes::{Field, Schema as ArrowSchema, SchemaRef},
    record_batch::RecordBatch,
};
use jiff::SignedDuration;
use tracing::{info, warn};

use self::{
    around::Around, column::ColumnBuilder, envelope::Envelopes, fault::Fault, part::Part, plan::Message,
    speculate::Progress,
};
pub use self::{
    csv::CsvLayout,
    encode::{EncodeError, Encoder, Given, Unwritable},
    error::{Error, Incompatible},
    format::{Format, Framing, KeyFormat},
    protect::{Protected, Protection, PseudonymKey},
    protobuf::imports,
    schemas::{OnIncompatible, RegisteredSchemas, SchemaFault, Schemas, WriterSchema},
};
use crate::{
    event::{DeadLetter, Decoded, RecordRef, Run},
    schema::{Column, ColumnType, Origin, Path, Schema},
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
    /// The columns whose values are replaced, if there are such.
    pub protected: Option<Protected>,
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
            protected: None,
        }
    }

    /// The rules by which rows of historical files become events of the source. A row is a JSON object, whatever records of the
    /// source are; what records have beside their value stands in the row under the column's name. Such files are old: an
    /// event time may be as far behind as it is.
    #[must_use]
    pub fn of_files(&self) -> Self {
        let column = |column: &Column| match column.origin {
            Origin::Value => column.clone(),
            _ => Column { origin: Origin::Value, path: Path::member(&column.name), ..column.clone() },
        };
        let columns = self.schema.columns().iter().map(column).collect();
        Self {
            schema: Arc::new(Schema::new(columns)),
            behind_max: None,
            format: Format::default(),
            keys: KeyFormat::default(),
            ..self.clone()
        }
    }

    /// Whether columns are taken from headers.
    #[must_use]
    pub fn read_headers(&self) -> bool {
        self.schema.columns().iter().any(|column| matches!(column.origin, Origin::Header(_)))
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
    /// As the rules say, and in microseconds.
    ahead_max: Option<(SignedDuration, i64)>,
    behind_max: Option<(SignedDuration, i64)>,
    /// The schema of the last batch: which strings are dictionaries differs.
    schema: SchemaRef,
}

/// What is wrong with an event time: it is beyond this instant, microseconds since 1970-01-01 UTC, which is so far from the
/// record's time stamp.
enum Untimely {
    Ahead((SignedDuration, i64)),
    Behind((SignedDuration, i64)),
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
        let [ahead_max, behind_max] = [rules.ahead_max, rules.behind_max].map(|max| max.map(|max| (max, micros(max))));
        Self { rules, event_time, value, key, around, seats, ahead_max, behind_max, schema }
    }

    /// Gets ready to decode `records`: learns the schemas that they were written with, where they name one. Does nothing for
    /// sources whose records name none. It may be tried again, and be dropped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn prepare(&mut self, records: &Run) -> Result<(), Error> {
        // What a tombstone's key was written with is of no interest, and neither is the key of a value that is refused.
        let present = || (0..records.len()).filter(|at| records.value(*at).is_some());
        self.value.prepare(present().filter_map(|at| records.value(at))).await?;
        match &mut self.key {
            Some(key) => key.prepare(present().filter_map(|at| records.key(at))).await,
            None => Ok(()),
        }
    }

    /// Decodes a run of records. Never fails: what cannot be an event is a dead letter.
    ///
    /// # Panics
    /// If records name schemas that [`Self::prepare`] was not called for. If the records have 2 GiB of text in one column: logs
    /// give out runs that are far smaller.
    #[must_use]
    pub fn decode(&mut self, records: &Run) -> Decoded {
        let delivered = records.len();
        self.builders().for_each(|column| column.reserve(delivered));
        // Where records stand that are no events, and what is wrong with them: nothing with a tombstone.
        let mut others: Vec<(usize, Option<Fault>)> = Vec::new();
        let mut at = 0;
        while at < delivered {
            let progress = self.append_run(records, at, at - others.len());
            at += progress.records;
            if !progress.odd {
                continue;
            }
            let row = at - others.len();
            if let Err(fault) = self.append(records.at(at), row) {
                self.truncate(row);
                others.push((at, fault));
            }
            at += 1;
        }
        let events = self.finish(Envelopes::around(records, others.iter().map(|(at, _)| *at)));
        let tombstones = others.iter().filter(|(_, fault)| fault.is_none()).count() as u64;
        let letter = |(at, fault): (usize, Option<Fault>)| Some(fault?.letter(records.at(at).to_record()));
        let dead_letters: Vec<DeadLetter> = others.into_iter().filter_map(letter).collect();
        let accounted = (events.num_rows() + dead_letters.len()) as u64 + tombstones;
        assert_eq!(accounted, delivered as u64, "L7: every record is an event, a dead letter or a tombstone");
        let Some(protected) = &self.rules.protected else { return Decoded { events, dead_letters, tombstones } };
        let dead_letters = dead_letters.into_iter().map(|letter| protected.letter(letter)).collect();
        let events = protected.events(&events);
        Decoded { events, dead_letters, tombstones }
    }

    /// Appends the events in `records` from place `from` on to the columns, which have `row` rows, up to the first that is not
    /// written as usual; and not more than are read at once.
    fn append_run(&mut self, records: &Run, from: usize, row: usize) -> Progress {
        let read = self.value.append_run((from..records.len()).map_while(|at| records.value(at)), row);
        if self.key.is_none() && self.around.is_empty() && self.ahead_max.is_none() && self.behind_max.is_none() {
            return read;
        }
        for at in 0..read.records {
            let record = records.at(from + at);
            let appended = self.append_rest(&record);
            if appended.is_err() || self.untimely(&record, row + at).is_some() {
                self.truncate(row + at);
                return Progress { records: at, odd: true };
            }
        }
        read
    }

    /// Appends the event in `record` to the columns, which have `row` rows; it is none with no fault if it is a tombstone. After
    /// an error some of the columns may have one more.
    fn append(&mut self, record: RecordRef<'_>, row: usize) -> Result<(), Option<Fault>> {
        let value = record.value.ok_or(None)?;
        self.value.append(value)?;
        self.append_rest(&record)?;
        match self.untimely(&record, row) {
            Some(untimely) => Err(Some(self.wrong_event_time(value, &record, untimely))),
            None => Ok(()),
        }
    }

    /// Appends what a record has beside its value.
    fn append_rest(&mut self, record: &RecordRef<'_>) -> Result<(), Fault> {
        if let Some(key) = &mut self.key {
            match record.key {
                Some(bytes) => key.append(bytes).map_err(Fault::of_key)?,
                None => key.append_absent()?,
            }
        }
        self.around.iter_mut().try_for_each(|column| column.append(record))
    }

    /// What is wrong with the event time of `record`, whose event is in this row.
    #[inline]
    fn untimely(&mut self, record: &RecordRef<'_>, row: usize) -> Option<Untimely> {
        let (ahead_max, behind_max) = (self.ahead_max, self.behind_max);
        if ahead_max.is_none() && behind_max.is_none() {
            return None;
        }
        let time_us = self.builder(self.event_time).timestamp(row).expect("the event time was just appended");
        let latest = ahead_max.map(|(max, us)| (max, record.timestamp_us.saturating_add(us)));
        let earliest = behind_max.map(|(max, us)| (max, record.timestamp_us.saturating_sub(us)));
        let ahead = latest.filter(|(_, limit_us)| time_us > *limit_us).map(Untimely::Ahead);
        ahead.or_else(|| earliest.filter(|(_, limit_us)| time_us < *limit_us).map(Untimely::Behind))
    }

    #[cold]
    fn wrong_event_time(&mut self, value: &[u8], record: &RecordRef<'_>, untimely: Untimely) -> Fault {
        let found = match (self.event_time, &mut self.key) {
            (Seat::Value(at), _) => self.value.found(value, at),
            (Seat::Key(at), Some(key)) => key.found(record.key.unwrap_or_default(), at),
            (seat, _) => self.builder(seat).last_timestamp().map_or_else(String::new, fault::instant),
        };
        let column = self.rules.schema.column(&self.rules.event_time).expect("the event time is a column");
        match untimely {
            Untimely::Ahead(rule) => Fault::too_far_ahead(column, &found, rule),
            Untimely::Behind(rule) => Fault::too_far_behind(column, &found, rule),
        }
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
