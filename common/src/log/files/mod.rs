//! Files as rows for `replay`: NDJSON, CSV and Parquet, each row one record's value in JSON.
//!
//! Nothing is dropped: what cannot be made JSON is passed on as it is, and becomes a dead letter where it is decoded (L7).
//! Rows are numbered by what is in the file alone, so a replay that was stopped goes on at the row it was at. Memory is
//! bounded by the largest row or, for Parquet, by a batch of rows.
//!
//! Everything here blocks: keep it off the async runtime.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    decode::Rules,
    limits::{LOG_RECORD_BYTES_MAX, REPLAY_COUNTED_BYTES_MAX},
    schema::{Column, Origin},
};

mod csv;
mod fresh;
mod json;
mod lines;
mod parquet;
#[cfg(test)]
mod tests;

pub use fresh::Fresh;

/// Why a file could not be replayed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file's name does not say what it is.
    #[error(
        "{}: not a kind of file that can be replayed; use .ndjson, .jsonl or .csv (also with .gz or .zst after it), or .parquet",
        path.display()
    )]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// The file is not there, or may not be read.
    #[error("{} could not be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not what its name says, or has columns that cannot become JSON.
    #[error("{}: {message}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The file could be read up to here. The rows before are good.
    #[error("{}, {place}: {message}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
}

/// A place in a file, counted from 1 as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of text.
    Line(u64),
    /// A row of a table.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// One row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number, counted from 0. Lines that are blank are no rows.
    pub number: u64,
    /// The record's value.
    pub value: Bytes,
    /// The event time, microseconds since 1970-01-01 UTC, for `--rate`; `None` where it cannot be read.
    pub event_time_us: Option<i64>,
}

/// The rows of a file, in order.
pub struct Rows {
    path: PathBuf,
    kind: Kind,
    rules: Rules,
    reader: Box<dyn Reader>,
    next: u64,
    total: Option<u64>,
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ndjson,
    Csv,
    Parquet,
}

/// Reads one kind of file.
trait Reader: Send {
    /// The value of the next row; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, Error>;

    /// Passes over `rows` rows, or to the end, without making JSON of them.
    fn skip(&mut self, rows: u64) -> Result<(), Error>;
}

impl Rows {
    /// Opens the file; `rules` say what its columns are.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::Open`], [`Error::Unfit`].
    pub fn open(path: &Path, rules: &Rules) -> Result<Self, Error> {
        let kind = kind_of(path)?;
        if !rules.format.is_plain_json() {
            let message = format!("rows become JSON, and the source takes {}", rules.format.name());
            return Err(Error::Unfit { path: path.to_owned(), message });
        }
        let (reader, rows) = read(path, kind, rules)?;
        let total = match rows {
            Some(rows) => Some(rows),
            None => count(path, kind, rules)?,
        };
        Ok(Self { path: path.to_owned(), kind, rules: rules.clone(), reader, next: 0, total })
    }

    /// How many rows the file has, where that is known without reading much: always for Parquet, for text if it is not
    /// compressed and of moderate size.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Goes on at row `row`, also back. Past the end there are no more rows.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Unfit`], [`Error::Broken`].
    pub fn skip_to(&mut self, row: u64) -> Result<(), Error> {
        if row < self.next {
            (self.reader, _) = read(&self.path, self.kind, &self.rules)?;
            self.next = 0;
        }
        self.reader.skip(row - self.next)?;
        self.next = row;
        Ok(())
    }
}

impl Rows {
    /// The event-time column, if it stands in the value.
    fn event_time(&self) -> Option<&Column> {
        self.rules.schema.columns_of(&Origin::Value).find(|column| column.name == self.rules.event_time)
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.reader.next().transpose()?;
        Some(value.map(|value| {
            let number = self.next;
            self.next += 1;
            let event_time_us = self.event_time().and_then(|column| json::time_us(&value, column));
            Row { number, value, event_time_us }
        }))
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).field("next", &self.next).finish_non_exhaustive()
    }
}

fn kind_of(path: &Path) -> Result<Kind, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
    let extension = plain.unwrap_or(&name).rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("ndjson" | "jsonl") => Ok(Kind::Ndjson),
        Some("csv") => Ok(Kind::Csv),
        Some("parquet") if plain.is_none() => Ok(Kind::Parquet),
        _ => Err(Error::UnknownKind { path: path.to_owned() }),
    }
}

/// A reader of the file from its first row, and the number of rows if the file says it.
fn read(path: &Path, kind: Kind, rules: &Rules) -> Result<(Box<dyn Reader>, Option<u64>), Error> {
    if let (Kind::Csv | Kind::Parquet, Some(column)) = (kind, rules.schema.nested()) {
        let message =
            format!("column `{}` stands at {}, and rows of this file have members only", column.name, column.path);
        return Err(Error::Unfit { path: path.to_owned(), message });
    }
    Ok(match kind {
        Kind::Ndjson => (Box::new(lines::Lines::new(path.to_owned(), text(path)?)), None),
        Kind::Csv => (Box::new(csv::Csv::new(path.to_owned(), text(path)?, &rules.schema)?), None),
        Kind::Parquet => {
            let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
            let parquet = parquet::Parquet::new(path.to_owned(), file, &rules.schema)?;
            let rows = parquet.rows();
            (Box::new(parquet), Some(rows))
        }
    })
}

/// Counts the rows of plain text by passing over them, unless that is much to read. A file that breaks has no total: its
/// rows are to be had up to there.
fn count(path: &Path, kind: Kind, rules: &Rules) -> Result<Option<u64>, Error> {
    let bytes = path.metadata().map_err(|source| Error::Open { path: path.to_owned(), source })?.len();
    if compression(path).is_some() || bytes > REPLAY_COUNTED_BYTES_MAX {
        return Ok(None);
    }
    Ok(match kind {
        Kind::Ndjson => lines::Lines::new(path.to_owned(), text(path)?).count().ok(),
        Kind::Csv => csv::Csv::new(path.to_owned(), text(path)?, &rules.schema)?.count().ok(),
        Kind::Parquet => None,
    })
}

fn compression(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_string_lossy().to_ascii_lowercase();
    (extension == "gz" || extension == "zst").then_some(extension)
}

/// The text of a file, decompressed by its name's ending, without a byte order mark.
fn text(path: &Path) -> Result<Box<dyn BufRead + Send>, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let text: Box<dyn Read + Send> = match compression(path).as_deref() {
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::with_buffer(file).map_err(failed)?),
        _ => Box::new(file),
    };
    let mut text = BufReader::with_capacity(1 << 18, text);
    // An error here comes again, with its place, when the first line is read.
    if text.fill_buf().is_ok_and(|start| start.starts_with("\u{feff}".as_bytes())) {
        text.consume("\u{feff}".len());
    }
    Ok(Box::new(text))
}

/// Why a line of more than [`LOG_RECORD_BYTES_MAX`] bytes is not read: it would have to be held in memory.
fn too_long() -> String {
    format!("more than {LOG_RECORD_BYTES_MAX} bytes without an end; no record may be so large")
}
