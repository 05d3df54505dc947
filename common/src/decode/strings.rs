//! A column of strings: codes of a dictionary while values repeat, plain text once they turn out not to.
//!
//! Which of the two a batch has depends on what came before; what its rows say does not.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer},
};

use super::{
    dictionary::{Dictionary, Key},
    span::{Seen, Span, extend},
    window::WIDTH,
};
use crate::limits::{DICTIONARY_BYTES_MAX, DICTIONARY_TEXTS_MAX};

/// With fewer distinct values nobody asks how often they repeat.
const TEXTS_FREE: usize = 1024;

/// Values must come this often, on average, for a dictionary to be worth it.
const REPEATS_MIN: usize = 4;

/// Rows of plain text after which the values are given another chance to repeat.
const PLAIN_ROWS: usize = 1 << 20;

/// Builds the column.
#[derive(Debug)]
pub(super) struct Strings {
    dictionary: Dictionary,
    /// The dictionary's texts as they were last given out.
    texts: Arc<StringArray>,
    /// Rows given out since the dictionary was empty.
    rows: usize,
    /// Rows to come that are plain whatever they say.
    plain_rows: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// One a row, 0 where it is null.
    Coded(Vec<i32>),
    /// `offsets` starts with 0 and has where each row ends.
    Plain { offsets: Vec<i32>, bytes: Vec<u8> },
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            dictionary: Dictionary::default(),
            texts: Arc::new(StringArray::new_null(0)),
            rows: 0,
            plain_rows: 0,
            values: Values::Coded(Vec::new()),
        }
    }
}

impl Strings {
    /// Makes room for `rows` more.
    pub(super) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Coded(codes) => codes.reserve(rows),
            Values::Plain { offsets, .. } => offsets.reserve(rows),
        }
    }

    /// Appends the texts that lie in `bytes` at `spans`, up to the first that is none, or that needs a closer look or room made for
    /// it; gives how many it has appended.
    #[inline(always)]
    pub(super) fn push_while(&mut self, bytes: &[u8], spans: &[Span]) -> usize {
        match &mut self.values {
            Values::Coded(codes) => {
                let dictionary = &self.dictionary;
                extend(codes, spans, |span| Some(dictionary.find_short(&Key::seen(span.seen(bytes)?))? as i32))
            }
            Values::Plain { offsets, bytes: texts } => {
                extend(offsets, spans, |span| append_short(texts, span.seen(bytes)?))
            }
        }
    }

    /// Appends the text of `key`, which is UTF-8.
    #[inline]
    pub(super) fn push(&mut self, key: &Key<'_>) {
        match &mut self.values {
            Values::Coded(codes) => {
                let rows = self.rows + codes.len();
                let may_grow = |texts, bytes| {
                    let repeats = texts <= TEXTS_FREE || texts * REPEATS_MIN <= rows;
                    repeats && texts <= DICTIONARY_TEXTS_MAX && bytes <= DICTIONARY_BYTES_MAX
                };
                match self.dictionary.intern(key, may_grow) {
                    Some(code) => codes.push(code as i32),
                    None => self.push_surprise(key),
                }
            }
            Values::Plain { offsets, bytes } => {
                bytes.extend_from_slice(key.text());
                offsets.push(end(bytes));
            }
        }
    }

    /// Appends a text that the dictionary would not take: the rows of this batch and many to come are plain.
    #[cold]
    fn push_surprise(&mut self, key: &Key<'_>) {
        self.spell_out();
        let values = std::mem::replace(&mut self.values, Values::Coded(Vec::new()));
        *self = Self { values, plain_rows: PLAIN_ROWS, ..Self::default() };
        self.push(key);
    }

    /// Appends the rows of so many nulls.
    pub(super) fn push_nulls(&mut self, count: usize) {
        match &mut self.values {
            Values::Coded(codes) => codes.resize(codes.len() + count, 0),
            Values::Plain { offsets, bytes } => offsets.resize(offsets.len() + count, end(bytes)),
        }
    }

    /// Takes back all rows from row `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Coded(codes) => codes.truncate(rows),
            Values::Plain { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
        }
    }

    /// Takes the rows out.
    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        if let Values::Coded(codes) = &mut self.values
            && self.dictionary.len() * 2 <= codes.len()
        {
            let codes = Int32Array::new(std::mem::take(codes).into(), nulls);
            self.rows += codes.len();
            return Arc::new(DictionaryArray::new(codes, self.texts()));
        }
        // Also where a dictionary would be as long as the batch; but it is kept for the next one.
        self.spell_out();
        let Values::Plain { offsets, bytes } = std::mem::replace(&mut self.values, Values::Coded(Vec::new())) else {
            unreachable!("the codes were spelled out")
        };
        let rows = offsets.len() - 1;
        if self.plain_rows > rows {
            self.plain_rows -= rows;
            self.values = Values::Plain { offsets: vec![0], bytes: Vec::with_capacity(bytes.len()) };
        } else {
            self.plain_rows = 0;
            self.rows += rows;
        }
        Arc::new(StringArray::new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), nulls))
    }

    /// The dictionary's texts. Batches between which none was added share them.
    fn texts(&mut self) -> Arc<StringArray> {
        if self.texts.len() != self.dictionary.len() {
            let offsets = OffsetBuffer::new(self.dictionary.offsets().to_vec().into());
            let bytes = Buffer::from(self.dictionary.bytes().to_vec());
            self.texts = Arc::new(StringArray::new(offsets, bytes, None));
        }
        Arc::clone(&self.texts)
    }

    /// Turns codes into the text they stand for.
    fn spell_out(&mut self) {
        let Values::Coded(codes) = &self.values else { return };
        let (mut offsets, mut bytes) = (Vec::with_capacity(codes.capacity() + 1), Vec::with_capacity(codes.len() * 8));
        offsets.push(0);
        for &code in codes {
            // A null has a code even where there is no text.
            if self.dictionary.len() > 0 {
                bytes.extend_from_slice(self.dictionary.text(code as u32));
            }
            offsets.push(end(&bytes));
        }
        self.values = Values::Plain { offsets, bytes };
    }
}

/// Appends a text that a window shows all of, if there is room: as much as always, which needs no call, and takes back what
/// follows it.
#[inline(always)]
fn append_short(bytes: &mut Vec<u8>, seen: Seen<'_>) -> Option<i32> {
    let end = bytes.len() + seen.text.len();
    if bytes.capacity() - bytes.len() < WIDTH {
        return None;
    }
    bytes.extend_from_slice(seen.window);
    bytes.truncate(end);
    i32::try_from(end).ok()
}

fn end(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("a run of records is far below 2 GiB")
}
