//! Building columns of bytes or text that never outgrow what Arrow's 32-bit offsets can say.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
};

use super::Error;

/// A column of bytes being built.
#[derive(Debug)]
pub(crate) struct ByteColumn<'a> {
    name: &'a str,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    valid: Vec<bool>,
}

/// The parts of a finished column.
#[derive(Debug)]
pub(crate) struct ByteRows {
    pub(crate) offsets: OffsetBuffer<i32>,
    pub(crate) bytes: Buffer,
    /// `None` if no row is null.
    pub(crate) nulls: Option<NullBuffer>,
}

impl ByteRows {
    /// The column, of bytes.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub(crate) fn into_binary(self) -> Result<ArrayRef, Error> {
        Ok(Arc::new(BinaryArray::try_new(self.offsets, self.bytes, self.nulls)?))
    }
}

impl<'a> ByteColumn<'a> {
    /// An empty column for about `rows` rows, called `name` in errors.
    pub(crate) fn new(name: &'a str, rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { name, offsets, bytes: Vec::new(), valid: Vec::with_capacity(rows) }
    }

    /// Makes room for rows of so many bytes together.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the column would be larger than 2 GiB.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        self.offset(self.bytes.len().saturating_add(bytes))?;
        self.bytes.reserve_exact(bytes);
        Ok(())
    }

    /// Adds the row that `write` appends.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the column would be larger than 2 GiB.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        write(&mut self.bytes);
        self.end_row(true)
    }

    /// Adds a null row.
    pub(crate) fn push_null(&mut self) {
        self.end_row(false).expect("no bytes were added");
    }

    fn end_row(&mut self, valid: bool) -> Result<(), Error> {
        self.offsets.push(self.offset(self.bytes.len())?);
        self.valid.push(valid);
        Ok(())
    }

    fn offset(&self, bytes: usize) -> Result<i32, Error> {
        let limit = "the 2 GiB of one column";
        i32::try_from(bytes).map_err(|_| Error::Overflow { state: self.name.to_owned(), limit })
    }

    /// The column.
    pub(crate) fn finish(self) -> ByteRows {
        let nulls = NullBuffer::from(self.valid);
        ByteRows {
            offsets: OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            bytes: Buffer::from_vec(self.bytes),
            nulls: Some(nulls).filter(|nulls| nulls.null_count() > 0),
        }
    }
}
