//! Events as records: what a source's columns say, written so that decoding it makes the very same event again.
//!
//! It writes what columns are taken from (value, key, headers) and never guesses: what of a record no column reads is not
//! there any more, and what cannot be written truly is refused by name. [`Encoder::check`] decodes what was written, and compares.

mod cell;
mod error;
mod text;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
    util::display::array_value_to_string,
};
use bytes::Bytes;
use prost_reflect::MessageDescriptor;

pub(super) use self::cell::{Cell, Placed};
pub use self::error::{EncodeError, Given, Unwritable};
use super::{
    CsvLayout, Decoder, Error, Format, Framing, KeyFormat, Rules, Schemas, WriterSchema, avro, framing,
    plan::Message,
    protobuf,
    shape::{self, Node},
};
use crate::{
    clock::{Clock, SystemClock},
    event::{Record, Run},
    log::NewRecord,
    position::Partition,
    registry::{Registered, SchemaKind},
    schema::{Column, KEY, Origin},
};

/// Writes records of one source.
#[derive(Debug)]
pub struct Encoder {
    rules: Rules,
    /// The columns of the value.
    value: Vec<Column>,
    nodes: Vec<Node>,
    writer: Writer,
    /// The column that is the key of an event that has none: one that was loaded.
    key: Option<Column>,
    /// Whether it is not asked of [`is_of_log`] columns that they stay as they are.
    anew: bool,
    decoder: Decoder,
}

#[derive(Debug)]
enum Writer {
    /// The bytes stand before each value; so with the others.
    Json(Vec<u8>),
    Csv(CsvLayout),
    Avro(avro::Schema, Vec<u8>),
    Protobuf(MessageDescriptor, Vec<u8>),
}

impl Encoder {
    /// For events of a source with these rules. Values whose schemas are in a registry are written by the newest one of the
    /// source's subject.
    ///
    /// # Errors
    /// [`EncodeError::Source`], [`EncodeError::Schema`].
    pub async fn new(rules: &Rules, given: Given<'_>) -> Result<Self, EncodeError> {
        refuse(rules, given)?;
        let value: Vec<Column> = rules.schema.columns_of(&Origin::Value).cloned().collect();
        let writer = match &rules.format {
            Format::Json(framing) => {
                let start = start_of_json(*framing, given.schema_id).map_err(EncodeError::NoSchemaId)?;
                text::placeable(&value).map(|()| Writer::Json(start))
            }
            Format::Csv(layout) => Ok(Writer::Csv(layout.clone())),
            Format::Avro(schemas) => Self::avro(schemas).await?,
            Format::Protobuf(schemas) => Self::protobuf(schemas, &value).await?,
        };
        let writer = writer.map_err(EncodeError::Source)?;
        // One in a format that another writer would spell otherwise would lead to another partition.
        let is_text = rules.keys == KeyFormat::Text;
        let own_key = rules.schema.columns_of(&Origin::Key).next();
        let own_key = own_key.or_else(|| given.key.and_then(|key| rules.schema.column(key)));
        let key = own_key.filter(|_| is_text).cloned();
        let nodes = shape::tree(&value);
        let decoder = Decoder::new(rules.clone());
        Ok(Self { rules: rules.clone(), value, nodes, writer, key, anew: given.anew, decoder })
    }

    async fn avro(schemas: &Schemas) -> Result<Result<Writer, Unwritable>, Error> {
        let (schema, framing) = match newest(schemas, SchemaKind::Avro).await? {
            Ok(found) => found,
            Err(none) => return Ok(Err(none)),
        };
        let references: Vec<&str> = schema.references.iter().map(|reference| reference.text.as_str()).collect();
        let parsed = avro::Schema::parse(&schema.text, &references);
        Ok(parsed.map(|schema| Writer::Avro(schema, framing)).map_err(Unwritable::other))
    }

    async fn protobuf(schemas: &Schemas, columns: &[Column]) -> Result<Result<Writer, Unwritable>, Error> {
        let (schema, mut framing) = match newest(schemas, SchemaKind::Protobuf).await? {
            Ok(found) => found,
            Err(none) => return Ok(Err(none)),
        };
        let file = match protobuf::File::compile(&schema.text, &schema.references) {
            Ok(file) => file,
            Err(message) => return Ok(Err(Unwritable::other(message))),
        };
        let found = match (schemas, schema.message.as_deref()) {
            (Schemas::Registered(_), _) => protobuf::first_that_fits(&file, columns),
            (Schemas::One(_), Some(name)) => file.message(Message::Named(name)),
            (Schemas::One(_), None) => file.message(Message::Only),
        };
        Ok(found.map_err(Unwritable::other).map(|(number, message)| {
            if !framing.is_empty() {
                framing::push_message(&mut framing, number);
            }
            Writer::Protobuf(message, framing)
        }))
    }

    /// The events of `batch`, which has all columns of the source and `_key`, as records. CPU work.
    ///
    /// # Errors
    /// [`EncodeError::Event`], [`EncodeError::Batch`].
    pub fn encode(&self, batch: &RecordBatch) -> Result<Vec<NewRecord>, EncodeError> {
        let arrays =
            |columns: &[Column]| columns.iter().map(|column| array(batch, column)).collect::<Result<Vec<_>, _>>();
        let values = arrays(&self.value)?;
        let headers: Vec<&Column> =
            self.rules.schema.columns().iter().filter(|column| matches!(column.origin, Origin::Header(_))).collect();
        let header_arrays = headers.iter().map(|column| array(batch, column)).collect::<Result<Vec<_>, _>>()?;
        let own_key = self.key.as_ref().map(|column| array(batch, column).map(|array| (column, array))).transpose()?;
        let keys = cast(named(batch, KEY)?, &DataType::Binary)?;
        let keys = keys.as_binary::<i32>();
        let text = |column: &Column, array: &ArrayRef, row| Cell::of(column, array, row).text().map(Bytes::from);
        let record = |row: usize| {
            let header = |(column, array): (&&Column, &ArrayRef)| match &column.origin {
                Origin::Header(name) => text(column, array, row).map(|value| (name.clone(), value)),
                _ => None,
            };
            let made = || own_key.as_ref().and_then(|(column, array)| text(column, array, row));
            let key = keys.is_valid(row).then(|| Bytes::copy_from_slice(keys.value(row))).or_else(made);
            let headers = headers.iter().zip(&header_arrays).filter_map(header).collect();
            let value = self.value(&values, row).map_err(|what| EncodeError::Event { row, what })?;
            Ok(NewRecord { key, headers, value: Some(value) })
        };
        (0..batch.num_rows()).map(record).collect()
    }

    fn value(&self, arrays: &[ArrayRef], row: usize) -> Result<Bytes, Unwritable> {
        let cells: Vec<Cell<'_>> =
            self.value.iter().zip(arrays).map(|(column, array)| Cell::of(column, array, row)).collect();
        let placed = Placed { nodes: &self.nodes, columns: &self.value, cells: &cells };
        match &self.writer {
            Writer::Json(framing) => Ok([framing.as_slice(), &text::json(&placed)].concat().into()),
            Writer::Csv(layout) => Ok(text::csv(&placed, layout).into()),
            Writer::Avro(schema, framing) => {
                let mut out = framing.clone();
                schema.write(&placed, &mut out)?;
                Ok(out.into())
            }
            Writer::Protobuf(message, framing) => {
                let mut out = framing.clone();
                protobuf::write(message, &placed, &mut out)?;
                Ok(out.into())
            }
        }
    }

    /// Decodes what [`Self::encode`] makes of `batch`, as of records that the log takes now, and compares.
    ///
    /// # Errors
    /// The first event that would not be the same again, or not be one; else as of `encode`, and [`EncodeError::Schema`].
    pub async fn check(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        let now_us = SystemClock.now_us();
        let record = |(offset, record): (usize, NewRecord)| Record {
            topic: "".into(),
            partition: Partition(0),
            offset: offset as u64,
            timestamp_us: now_us,
            key: record.key,
            headers: record.headers,
            value: record.value,
        };
        let records: Run = self.encode(batch)?.into_iter().enumerate().map(record).collect();
        self.decoder.prepare(&records).await?;
        let decoded = self.decoder.decode(&records);
        if let Some(letter) = decoded.dead_letters.into_iter().next() {
            let why = format!("it would be a dead letter ({}): {}", letter.reason.as_str(), letter.detail);
            let what = Unwritable { column: letter.column, why };
            return Err(EncodeError::Event { row: usize::try_from(letter.record.offset).unwrap_or(usize::MAX), what });
        }
        for column in self.rules.schema.columns().iter().filter(|column| !(self.anew && is_of_log(column))) {
            let (own, again) = (array(batch, column)?, array(&decoded.events, column)?);
            if own.to_data() != again.to_data() {
                let differs = |row: &usize| own.slice(*row, 1).to_data() != again.slice(*row, 1).to_data();
                let row = (0..own.len()).find(differs).unwrap_or(0);
                let shown = |array: &ArrayRef| match array.is_null(row) {
                    true => Ok("null".to_owned()),
                    false => array_value_to_string(array, row),
                };
                let why = format!("its value {} would be read as {}", shown(&own)?, shown(&again)?);
                return Err(EncodeError::Event { row, what: Unwritable::column(column, why) });
            }
        }
        Ok(())
    }
}

/// What no event of a source with these rules can be written with.
fn refuse(rules: &Rules, given: Given<'_>) -> Result<(), EncodeError> {
    for column in rules.schema.columns() {
        if rules.protected.as_ref().is_some_and(|protected| protected.columns.contains_key(&column.name)) {
            let why =
                "it is protected: what records had is kept nowhere, and what is kept would be protected once more";
            return Err(EncodeError::Source(Unwritable::column(column, why)));
        }
        if is_of_log(column) && column.name == rules.event_time {
            let why = "it is the event time, and is when the log took a record, which would be another time";
            return Err(EncodeError::Source(Unwritable::column(column, why)));
        }
        if is_of_log(column) && !given.anew {
            let why = "it is where and when the log has a record, which a log gives anew";
            return Err(EncodeError::NotAnew(Unwritable::column(column, why)));
        }
    }
    Ok(())
}

/// Whether a column says where or when the log has a record.
fn is_of_log(column: &Column) -> bool {
    matches!(column.origin, Origin::Topic | Origin::Partition | Origin::Offset | Origin::Timestamp)
}

/// What stands before each value of JSON.
fn start_of_json(framing: Framing, schema_id: Option<u32>) -> Result<Vec<u8>, Unwritable> {
    match (framing, schema_id) {
        (Framing::None, _) => Ok(Vec::new()),
        (Framing::Confluent, Some(id)) => Ok(framing::of(id)),
        (Framing::Confluent, None) => {
            Err(Unwritable::other("values are framed JSON, and which schema an event was of is not kept"))
        }
    }
}

/// The schema to write by, and what stands before each value, but for the way to a message.
async fn newest(
    schemas: &Schemas,
    kind: SchemaKind,
) -> Result<Result<(Arc<WriterSchema>, Vec<u8>), Unwritable>, Error> {
    let registered = match schemas {
        Schemas::One(schema) => return Ok(Ok((Arc::clone(schema), Vec::new()))),
        Schemas::Registered(registered) => registered,
    };
    let subject = &registered.subject;
    Ok(match registered.registry.latest(subject).await?.as_deref() {
        None => Err(Unwritable::other(format!("the registry has no schema of the subject {subject}"))),
        Some(schema) if schema.kind != kind => Err(Unwritable::other(format!(
            "the newest schema of {subject} is of another kind than the source's values"
        ))),
        Some(Registered { id, text, references, .. }) => {
            let schema = WriterSchema { text: text.clone(), references: references.clone(), message: None };
            Ok((Arc::new(schema), framing::of(*id)))
        }
    })
}

fn named<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("events without the column {name}")))
}

/// The column of `batch`, in the type that the source says.
fn array(batch: &RecordBatch, column: &Column) -> Result<ArrayRef, ArrowError> {
    cast(named(batch, &column.name)?, &column.column_type.arrow())
}
