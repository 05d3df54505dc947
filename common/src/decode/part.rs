//! The columns that stand in one part of a record, its value or its key, and the reader of that part's format.

use std::sync::Arc;

use super::{
    binary::Binary,
    column::ColumnBuilder,
    csv::Csv,
    error::Error,
    fault::{self, Fault},
    format::{Format, Framing, KeyFormat},
    framing,
    json::Json,
    speculate::Progress,
    text,
};
use crate::{limits::RECORD_BYTES_MAX, registry::SchemaKind, schema::Column};

/// The columns of one part.
#[derive(Debug)]
pub(super) struct Part {
    columns: Arc<[Column]>,
    pub(super) builders: Vec<ColumnBuilder>,
    pub(super) reader: Reader,
}

/// Reads one format into columns.
#[derive(Debug)]
pub(super) enum Reader {
    Json {
        json: Box<Json>,
        framing: Framing,
    },
    Csv(Box<Csv>),
    Binary(Box<Binary>),
    /// All of the part is the value of each column.
    Text,
}

impl Part {
    /// The columns of a record's value; `event_time` is never null.
    pub(super) fn of_value<'c>(columns: impl Iterator<Item = &'c Column>, event_time: &str, format: &Format) -> Self {
        Self::new(columns, event_time, |columns| Reader::new(columns, format, false))
    }

    /// The columns of a record's key, likewise.
    pub(super) fn of_key<'c>(columns: impl Iterator<Item = &'c Column>, event_time: &str, format: &KeyFormat) -> Self {
        Self::new(columns, event_time, |columns| match format {
            KeyFormat::Text => Reader::Text,
            KeyFormat::As(format) => Reader::new(columns, format, true),
        })
    }

    fn new<'c>(
        columns: impl Iterator<Item = &'c Column>,
        event_time: &str,
        reader: impl FnOnce(Arc<[Column]>) -> Reader,
    ) -> Self {
        let columns: Arc<[Column]> = columns.cloned().collect();
        let builders = columns.iter().map(|column| ColumnBuilder::new(column, column.name == event_time)).collect();
        let reader = reader(Arc::clone(&columns));
        Self { columns, builders, reader }
    }

    /// Gets ready to read `parts` of records: learns the schemas that they name.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) async fn prepare<'r>(&mut self, parts: impl Iterator<Item = &'r [u8]>) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Binary(binary) => binary.prepare(parts).await,
            Reader::Json { .. } | Reader::Csv(_) | Reader::Text => Ok(()),
        }
    }

    /// Appends what stands in `parts` to the columns, which have `row` rows, up to the first that is not written as usual; and
    /// not more than are read at once.
    pub(super) fn append_run<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>, row: usize) -> Progress {
        let parts = parts.take_while(|bytes| bytes.len() <= RECORD_BYTES_MAX);
        match &mut self.reader {
            Reader::Json { json, framing: Framing::None } => json.append_run(parts, &mut self.builders, row),
            Reader::Json { json, framing: Framing::Confluent } => {
                let value = |bytes: &'p [u8]| bytes.get(framing::length(SchemaKind::Other, bytes).ok()?..);
                json.append_run(parts.map_while(value), &mut self.builders, row)
            }
            Reader::Csv(_) | Reader::Binary(_) | Reader::Text => Progress { records: 0, odd: true },
        }
    }

    /// Appends what stands in `bytes`, for which it is ready, to the columns. After an error some of them may have one row more.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(Fault::too_large(bytes.len()));
        }
        match &mut self.reader {
            Reader::Json { json, framing: Framing::None } => json.append(bytes, &mut self.builders),
            Reader::Json { json, framing: Framing::Confluent } => {
                let start = framing::length(SchemaKind::Other, bytes)?;
                json.append(&bytes[start..], &mut self.builders)
            }
            Reader::Csv(csv) => csv.append(bytes, &mut self.builders),
            Reader::Binary(binary) => binary.append(bytes, &mut self.builders),
            Reader::Text => self.append_text(bytes),
        }
    }

    /// As [`Self::append`] of a part that the record does not have.
    pub(super) fn append_absent(&mut self) -> Result<(), Fault> {
        for (builder, column) in self.builders.iter_mut().zip(&*self.columns) {
            builder.append(None).map_err(|reason| Fault::column(reason, column, "nothing"))?;
        }
        Ok(())
    }

    fn append_text(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(bytes).map_err(Fault::not_utf8)?;
        for (builder, column) in self.builders.iter_mut().zip(&*self.columns) {
            let appended = builder.append(Some(text::value(column, text)));
            appended.map_err(|reason| Fault::column(reason, column, text))?;
        }
        Ok(())
    }

    /// What stands in `bytes`, which were read just now, for the timestamp column of this number.
    pub(super) fn found(&mut self, bytes: &[u8], column: usize) -> String {
        match &mut self.reader {
            Reader::Json { json, framing: Framing::None } => json.found(bytes, column),
            _ => self.builders[column].last_timestamp().map_or_else(String::new, fault::instant),
        }
    }
}

impl Reader {
    /// A reader of these columns. If `whole` is set, what has no members may be the value of each of them.
    fn new(columns: Arc<[Column]>, format: &Format, whole: bool) -> Self {
        let binary = |columns, kind, schemas| Self::Binary(Box::new(Binary::new(columns, kind, schemas, whole)));
        match format {
            Format::Json(framing) => Self::Json { json: Box::new(Json::new(columns)), framing: *framing },
            Format::Avro(schemas) => binary(columns, SchemaKind::Avro, schemas),
            Format::Protobuf(schemas) => binary(columns, SchemaKind::Protobuf, schemas),
            Format::Csv(layout) => Self::Csv(Box::new(Csv::new(columns, layout))),
        }
    }
}
