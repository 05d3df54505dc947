//! How an answer is written: JSON whole, or its rows alone as NDJSON, CSV or an Arrow stream.

use arrow::{
    array::{Array, RecordBatch},
    datatypes::Schema,
};
use arrow_ipc::writer::StreamWriter;
use serde_json::Value;
use std::sync::Arc;

use super::{Answer, Error};

/// A form of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// One object: columns, rows, provenance and all else.
    #[default]
    Json,
    /// An object a row, a line each.
    Ndjson,
    /// RFC 4180, with a line of names. Null is an empty field; a list is JSON.
    Csv,
    /// The stream format of Arrow IPC. Times are UTC, whatever the time zone asked.
    Arrow,
}

impl Form {
    /// All, the preferred first.
    pub const ALL: [Self; 4] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow];

    /// Its content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// `answer` in this form.
    ///
    /// # Errors
    /// [`Error::RowsOnly`] where it asks for more than rows, [`Error::Arrow`].
    pub fn write(self, answer: &Answer) -> Result<Vec<u8>, Error> {
        if self != Self::Json && answer.totals.is_some() {
            return Err(Error::RowsOnly("`totals`"));
        }
        match self {
            Self::Json => Ok(serde_json::to_vec(answer)?),
            Self::Ndjson => ndjson(answer),
            Self::Csv => csv(answer),
            Self::Arrow => arrow_stream(answer),
        }
    }
}

fn ndjson(answer: &Answer) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for row in 0..answer.rows.num_rows() {
        serde_json::to_writer(&mut lines, &answer.object(row))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn csv(answer: &Answer) -> Result<Vec<u8>, Error> {
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |error: csv::Error| Error::Json(serde_json::Error::io(error.into()));
    if !answer.columns.is_empty() {
        lines.write_record(answer.columns.iter().map(|column| &column.name)).map_err(failed)?;
    }
    for row in 0..answer.rows.num_rows() {
        let fields = (0..answer.rows.num_columns()).map(|column| field(answer, column, row));
        lines.write_record(fields.collect::<Result<Vec<_>, _>>()?).map_err(failed)?;
    }
    lines.into_inner().map_err(|error| Error::Json(serde_json::Error::io(error.into_error())))
}

/// A value as the field of a CSV line: as in JSON, but that text has no quotes and null is nothing.
fn field(answer: &Answer, column: usize, row: usize) -> Result<String, Error> {
    if answer.rows.column(column).is_null(row) {
        return Ok(String::new());
    }
    Ok(match serde_json::to_value(answer.cell(column, row))? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn arrow_stream(answer: &Answer) -> Result<Vec<u8>, Error> {
    let provenance = serde_json::to_string(&answer.provenance)?;
    let schema = answer.rows.schema();
    let metadata = [("highwater.provenance".to_owned(), provenance)];
    let schema = Arc::new(Schema::clone(&schema).with_metadata(metadata.into()));
    let mut stream = StreamWriter::try_new(Vec::new(), &schema)?;
    let columns = answer.rows.columns().to_vec();
    if !columns.is_empty() {
        stream.write(&RecordBatch::try_new(schema, columns)?)?;
    }
    Ok(stream.into_inner()?)
}
