//! CSV with a header: each record becomes a JSON object by the types of the source's columns.
//!
//! An empty field is null. A field that is not of its column's type stays text, and a record with more or fewer fields than
//! the header stays CSV: both become dead letters with what was in the file.

use std::{io::BufRead, path::PathBuf};

use bytes::Bytes;
use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::{Error, Place, Reader, json};
use crate::schema::{ColumnType, Schema, TimestampFormat};

/// Records of a CSV file.
pub(super) struct Csv {
    path: PathBuf,
    reader: csv::Reader<Box<dyn BufRead + Send>>,
    columns: Vec<Field>,
    record: ByteRecord,
}

/// How the fields of one column are written.
struct Field {
    /// The field's name with quotes and colon, as it stands in every object.
    name: Vec<u8>,
    form: Form,
}

/// What a field is tried to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Int,
    Number,
    Bool,
    Text,
}

impl Csv {
    pub(super) fn new(path: PathBuf, text: Box<dyn BufRead + Send>, schema: &Schema) -> Result<Self, Error> {
        // Records of another length are passed on by this module, not refused by the reader.
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
        let header = reader.headers().cloned();
        let header =
            header.map_err(|error| Error::Unfit { path: path.clone(), message: format!("no header: {error}") })?;
        for (index, name) in header.iter().enumerate() {
            if header.iter().take(index).any(|earlier| earlier == name) {
                let message = format!("the header names column `{name}` twice");
                return Err(Error::Unfit { path, message });
            }
        }
        let columns = header.iter().map(|name| Field::new(name, schema)).collect();
        Ok(Self { path, reader, columns, record: ByteRecord::new() })
    }

    /// How many rows there are from here to the end.
    pub(super) fn count(mut self) -> Result<u64, Error> {
        let mut rows = 0;
        while self.advance()? {
            rows += 1;
        }
        Ok(rows)
    }

    fn advance(&mut self) -> Result<bool, Error> {
        let read = self.reader.read_byte_record(&mut self.record);
        read.map_err(|error| Error::Broken {
            path: self.path.clone(),
            place: Place::Line(self.reader.position().line()),
            message: error.to_string(),
        })
    }

    fn object(&self) -> Option<Vec<u8>> {
        if self.record.len() != self.columns.len() {
            return None;
        }
        let mut out = Vec::with_capacity(self.record.as_slice().len() * 2);
        for (separator, (column, field)) in json::separators().zip(self.columns.iter().zip(&self.record)) {
            out.push(separator);
            out.extend_from_slice(&column.name);
            column.form.write(&mut out, std::str::from_utf8(field).ok()?);
        }
        out.extend_from_slice(if out.is_empty() { b"{}" } else { b"}" });
        Some(out)
    }

    /// The record as CSV again, for the dead letter it will be.
    fn as_it_was(&self) -> Vec<u8> {
        let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
        writer.write_byte_record(&self.record).expect("writing to memory cannot fail");
        let mut line = writer.into_inner().expect("writing to memory cannot fail");
        line.truncate(line.trim_ascii_end().len());
        line
    }
}

impl Reader for Csv {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        Ok(Some(self.object().unwrap_or_else(|| self.as_it_was()).into()))
    }

    fn skip(&mut self, rows: u64) -> Result<(), Error> {
        for _ in 0..rows {
            if !self.advance()? {
                break;
            }
        }
        Ok(())
    }
}

impl Field {
    fn new(name: &str, schema: &Schema) -> Self {
        let form = schema.member(name).map_or(Form::Text, |column| match column.column_type {
            ColumnType::Int => Form::Int,
            ColumnType::Double | ColumnType::Decimal { .. } => Form::Number,
            ColumnType::Bool => Form::Bool,
            ColumnType::Timestamp if column.timestamp_format != TimestampFormat::Rfc3339 => Form::Int,
            ColumnType::Timestamp | ColumnType::String => Form::Text,
        });
        Self { name: json::name(name), form }
    }
}

impl Form {
    fn write(self, out: &mut Vec<u8>, field: &str) {
        match self {
            _ if field.is_empty() => out.extend_from_slice(b"null"),
            Self::Int if field.parse::<i64>().is_ok() && json::is_number(field) => {
                out.extend_from_slice(field.as_bytes())
            }
            Self::Number if json::is_number(field) => out.extend_from_slice(field.as_bytes()),
            Self::Bool if field.eq_ignore_ascii_case("true") => out.extend_from_slice(b"true"),
            Self::Bool if field.eq_ignore_ascii_case("false") => out.extend_from_slice(b"false"),
            _ => json::string(out, field),
        }
    }
}
