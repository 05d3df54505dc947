//! One CSV line a record (RFC 4180), its fields in the order that the source says.

use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{column::ColumnBuilder, fault::Fault, text};
use crate::schema::{Column, Path};

/// What the fields of a source's lines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvLayout {
    /// The name of each field, in order. A column stands in the field whose name its path leads to.
    pub fields: Vec<String>,
    /// What stands between two fields.
    pub delimiter: u8,
}

impl CsvLayout {
    /// Which field a column at `path` stands in.
    #[must_use]
    pub fn field(&self, path: &Path) -> Option<usize> {
        self.fields.iter().position(|name| path.is_member(name))
    }
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Csv {
    columns: Arc<[Column]>,
    /// Which field each column is.
    places: Vec<usize>,
    /// How many fields a line has.
    fields: usize,
    reader: Reader,
    /// The fields of the line, unquoted, one after the other, and where each ends.
    unquoted: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// A reader of these columns.
    pub(super) fn new(columns: Arc<[Column]>, layout: &CsvLayout) -> Self {
        let place =
            |column: &Column| layout.field(&column.path).expect("the pipeline file has a field for each column");
        let places = columns.iter().map(place).collect();
        let reader = ReaderBuilder::new().delimiter(layout.delimiter).build();
        // Room for one field more, so that a line with too many is told from one that is right.
        let ends = vec![0; layout.fields.len() + 1];
        Self { columns, places, fields: layout.fields.len(), reader, unquoted: Vec::new(), ends }
    }

    /// Appends what stands in `line` to the columns. After an error some of them may have one row more.
    pub(super) fn append(&mut self, line: &[u8], columns: &mut [ColumnBuilder]) -> Result<(), Fault> {
        std::str::from_utf8(line).map_err(Fault::not_utf8)?;
        self.split(line)?;
        for (at, builder) in columns.iter_mut().enumerate() {
            let (column, field) = (&self.columns[at], self.field(self.places[at]));
            let value = (!field.is_empty()).then(|| text::value(column, field));
            if let Err(reason) = builder.append(value) {
                let found = if field.is_empty() { "nothing" } else { field };
                return Err(Fault::column(reason, column, found));
            }
        }
        Ok(())
    }

    /// The text of a field of the line that was split last.
    fn field(&self, field: usize) -> &str {
        let from = field.checked_sub(1).map_or(0, |before| self.ends[before]);
        // The delimiter and the quotes are ASCII: cutting and unquoting at them leaves UTF-8.
        std::str::from_utf8(&self.unquoted[from..self.ends[field]]).expect("fields of UTF-8 text are UTF-8")
    }

    fn split(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.reader.reset();
        self.unquoted.resize(line.len().max(self.unquoted.len()), 0);
        let (mut result, read, written, mut ends) = self.reader.read_record(line, &mut self.unquoted, &mut self.ends);
        if result == ReadRecordResult::InputEmpty {
            // The end of the line without a line break.
            let more;
            (result, _, _, more) = self.reader.read_record(b"", &mut self.unquoted[written..], &mut self.ends[ends..]);
            ends += more;
        }
        let count = match result {
            ReadRecordResult::Record => ends,
            // An empty line is one empty field, where there is one.
            ReadRecordResult::End if self.fields == 1 => {
                self.ends[0] = 0;
                1
            }
            ReadRecordResult::End => 0,
            ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(self.wrong_count("more"));
            }
        };
        if count != self.fields {
            return Err(self.wrong_count(&count.to_string()));
        }
        match line[read..].iter().all(|&byte| byte == b'\r' || byte == b'\n') {
            true => Ok(()),
            false => Err(Fault::malformed(format!("at byte {read}: found another line; allowed is one line a record"))),
        }
    }

    fn wrong_count(&self, found: &str) -> Fault {
        let plural = if found == "1" { "" } else { "s" };
        Fault::malformed(format!("found {found} field{plural}; allowed are exactly {}", self.fields))
    }
}
