//! NDJSON: each line that is not blank is a row, whether it is JSON or not.

use std::{
    io::{BufRead, Read},
    path::PathBuf,
};

use bytes::Bytes;

use super::{Error, Place, Reader, too_long};
use crate::limits::LOG_RECORD_BYTES_MAX;

/// Lines of text.
pub(super) struct Lines {
    path: PathBuf,
    text: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// The number of the line that was read last, counted from 1.
    number: u64,
}

impl Lines {
    pub(super) fn new(path: PathBuf, text: Box<dyn BufRead + Send>) -> Self {
        Self { path, text, line: Vec::new(), number: 0 }
    }

    /// How many rows there are from here to the end.
    pub(super) fn count(mut self) -> Result<u64, Error> {
        let mut rows = 0;
        while self.advance()? {
            rows += 1;
        }
        Ok(rows)
    }

    /// Reads the next line that is not blank; `false` at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            self.line.clear();
            self.number += 1;
            let limit = LOG_RECORD_BYTES_MAX as u64 + 1;
            let read = self.text.by_ref().take(limit).read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| self.broken(error.to_string()))?;
            if read == 0 {
                return Ok(false);
            }
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
            } else if read as u64 == limit {
                return Err(self.broken(too_long()));
            }
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn broken(&self, message: String) -> Error {
        Error::Broken { path: self.path.clone(), place: Place::Line(self.number), message }
    }
}

impl Reader for Lines {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.advance()?.then(|| Bytes::copy_from_slice(&self.line)))
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
