//! Sketches as the state of each group: encoded as long as nothing is added to them, counted in bytes, canonical when taken.
//!
//! Most groups get one state when partials are merged. Those are neither decoded nor encoded again.

use std::{fmt::Debug, mem, sync::Arc};

use arrow::array::{ArrayRef, BinaryArray};

use super::{
    Error,
    bytes::{ByteColumn, ByteRows},
    distinct::sketches,
    rows::Rows,
};

/// A kind of sketch. Its default is that of no values.
pub(super) trait Sketch: Debug + Default + Send + Sync {
    /// What all sketches of one state have in common.
    type Settings: Debug + Send + Sync;

    /// Checks that `bytes` are an encoding of a sketch.
    fn check(bytes: &[u8], settings: &Self::Settings) -> Result<(), Error>;

    /// Merges an encoded sketch. Nothing need be right after an error.
    fn merge(&mut self, bytes: &[u8], settings: &Self::Settings) -> Result<(), Error>;

    /// Appends the encoding; nothing of no values.
    fn encode(self, settings: &Self::Settings, bytes: &mut Vec<u8>);

    /// Bytes held outside the sketch itself.
    fn heap_bytes(&self) -> usize;
}

/// The sketch of one group.
#[derive(Debug)]
enum Held<S> {
    Encoded(Box<[u8]>),
    Open(S),
}

impl<S: Sketch> Default for Held<S> {
    fn default() -> Self {
        Self::Open(S::default())
    }
}

/// The sketches of all groups.
#[derive(Debug)]
pub(super) struct Sketches<S: Sketch> {
    name: String,
    settings: S::Settings,
    held: Vec<Held<S>>,
    /// Bytes that the sketches hold outside themselves, about.
    heap_bytes: usize,
}

impl<S: Sketch> Sketches<S> {
    pub(super) fn new(name: String, settings: S::Settings) -> Self {
        Self { name, settings, held: Vec::new(), heap_bytes: 0 }
    }

    /// Calls `add(sketch, settings, row)` for the rows; it returns by how many bytes the sketch's heap has grown.
    ///
    /// # Errors
    /// The last error of `add`.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&arrow::buffer::NullBuffer>,
        mut add: impl FnMut(&mut S, &S::Settings, usize) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        self.held.resize_with(groups, Held::default);
        let (held, settings) = (&mut self.held[..], &self.settings);
        let (mut grown, mut result) = (0, Ok(()));
        rows.for_each(nulls, |row, group| {
            let sketch = match &mut held[group] {
                Held::Open(sketch) => sketch,
                encoded => {
                    // What is encoded was counted; the decoded takes some multiple of it.
                    let opened = open(encoded, settings);
                    grown += opened.heap_bytes();
                    opened
                }
            };
            match add(sketch, settings, row) {
                Ok(bytes) => grown += bytes,
                Err(error) => result = Err(error),
            }
        });
        self.heap_bytes += grown;
        result
    }

    /// Merges a column of encoded sketches.
    ///
    /// # Errors
    /// [`Error::Type`], [`Error::Null`], [`Error::Corrupt`], [`Error::Overflow`].
    pub(super) fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sketches(&self.name, states)?;
        let new = self.held.len();
        self.held.resize_with(groups, Held::default);
        let mut fresh = vec![true; groups - new];
        let mut result = Ok(());
        rows.for_each(None, |row, group| {
            let bytes = states.value(row);
            // Only a group that is new in this very merge is known to have nothing yet.
            let first = group >= new && mem::take(&mut fresh[group - new]);
            let merged = if first { self.keep(group, bytes) } else { self.merge_one(group, bytes) };
            if merged.is_err() {
                result = merged;
            }
        });
        result
    }

    fn keep(&mut self, group: usize, bytes: &[u8]) -> Result<(), Error> {
        S::check(bytes, &self.settings)?;
        if !bytes.is_empty() {
            self.heap_bytes += bytes.len();
            self.held[group] = Held::Encoded(bytes.into());
        }
        Ok(())
    }

    fn merge_one(&mut self, group: usize, bytes: &[u8]) -> Result<(), Error> {
        let held = &mut self.held[group];
        if bytes.is_empty() {
            return Ok(());
        }
        let sketch = match held {
            Held::Open(sketch) => sketch,
            encoded => {
                let opened = open(encoded, &self.settings);
                self.heap_bytes += opened.heap_bytes();
                opened
            }
        };
        let before = sketch.heap_bytes();
        sketch.merge(bytes, &self.settings)?;
        self.heap_bytes += sketch.heap_bytes().saturating_sub(before);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.capacity() * size_of::<Held<S>>() + self.heap_bytes
    }

    pub(super) fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            match mem::take(&mut self.held[group as usize]) {
                Held::Encoded(encoded) => column.push(|bytes| bytes.extend_from_slice(&encoded))?,
                Held::Open(sketch) => column.push(|bytes| sketch.encode(&self.settings, bytes))?,
            }
        }
        self.held.clear();
        self.heap_bytes = 0;
        let ByteRows { offsets, bytes, nulls } = column.finish();
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
    }
}

#[cold]
fn open<'a, S: Sketch>(held: &'a mut Held<S>, settings: &S::Settings) -> &'a mut S {
    if let Held::Encoded(bytes) = held {
        let mut sketch = S::default();
        sketch.merge(bytes, settings).expect("its bytes were checked when they came");
        *held = Held::Open(sketch);
    }
    match held {
        Held::Open(sketch) => sketch,
        Held::Encoded(_) => unreachable!("it was just opened"),
    }
}
