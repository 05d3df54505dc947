//! A JSON object as one raw value per column of the schema.
//!
//! Records of one source mostly name their members in the same order, so the reader expects the names of the last record,
//! place by place, and looks a name up only where it is surprised. What it gives never depends on what it expects.

use hashbrown::HashMap;

use super::scan::{Kind, Raw, Scanner, SyntaxError, unescape};

/// Places of a record whose names are remembered; what stands after them, or after a name too long, is looked up each time.
const PLACES_MAX: usize = 1024;

/// Longest name that is remembered, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A name as it was last written at one place, with its quotes, and the column it means, if any.
#[derive(Debug, Default)]
struct Expected {
    name: Vec<u8>,
    column: Option<usize>,
}

/// Reads objects. Unknown names are passed over; of a name that repeats the last value counts, as in serde_json.
#[derive(Debug)]
pub(super) struct ObjectReader {
    columns: HashMap<Vec<u8>, usize>,
    expected: Vec<Expected>,
    values: Vec<Option<Raw>>,
    unescaped: Vec<u8>,
}

impl ObjectReader {
    /// A reader of the values of members with these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let columns: HashMap<_, _> =
            names.enumerate().map(|(column, name)| (name.as_bytes().to_vec(), column)).collect();
        let values = vec![None; columns.len()];
        Self { columns, expected: Vec::new(), values, unescaped: Vec::new() }
    }

    /// The value of each column in `text`, which must be one JSON object and nothing else; `None` where there is none.
    ///
    /// # Errors
    /// Where `text` stops being that.
    pub(super) fn read(&mut self, text: &str) -> Result<&[Option<Raw>], SyntaxError> {
        self.values.fill(None);
        let mut scanner = Scanner::new(text);
        let mut more = scanner.open()?;
        let mut place = 0;
        while more {
            let column = self.column(&mut scanner, place)?;
            let value = scanner.value()?;
            if let Some(column) = column {
                self.values[column] = Some(value);
            }
            place += 1;
            more = scanner.next_member()?;
        }
        scanner.end()?;
        Ok(&self.values)
    }

    /// Passes over the name at `place`, the how many-th of its object, and says which column it means.
    #[inline]
    fn column(&mut self, scanner: &mut Scanner<'_>, place: usize) -> Result<Option<usize>, SyntaxError> {
        if let Some(expected) = self.expected.get(place)
            && scanner.expects_name(&expected.name)?
        {
            return Ok(expected.column);
        }
        self.surprise(scanner, place)
    }

    fn surprise(&mut self, scanner: &mut Scanner<'_>, place: usize) -> Result<Option<usize>, SyntaxError> {
        let raw = scanner.name()?;
        let text = scanner.text();
        let name = if raw.kind == Kind::EscapedString {
            self.unescaped.clear();
            unescape(raw.text(text), &mut self.unescaped);
            &self.unescaped
        } else {
            raw.text(text).as_bytes()
        };
        let column = self.columns.get(name).copied();
        let quoted = raw.quoted(text).as_bytes();
        if place < PLACES_MAX && quoted.len() <= NAME_BYTES_MAX {
            if self.expected.len() == place {
                self.expected.push(Expected::default());
            }
            if let Some(expected) = self.expected.get_mut(place) {
                expected.name.clear();
                expected.name.extend_from_slice(quoted);
                expected.column = column;
            }
        }
        Ok(column)
    }
}
