//! Where the values of records lie in their block.

#[cfg(target_arch = "x86_64")]
use super::vector::avx2::Tail;
use super::{
    vector::Half,
    window::{WIDTH, Window},
};

/// The most records of a block, and so the rows for which spans are noted.
pub(super) const ROWS_MAX: usize = 128;

/// The bytes before the one that places are counted from: then those before a value's end are found without a subtraction,
/// and with one look whether they are there.
const BEFORE: usize = size_of::<Half>();

/// Where something lies in a block. No record starts in its first bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// The place of its first byte, counted from byte [`BEFORE`] on. Never 0 if there is something.
    from: u32,
    /// Its highest bit is set if there may be more to the value than meets the eye, as escapes.
    length: u32,
}

impl Span {
    const ODD: u32 = 1 << 31;

    /// A value that is what its bytes are: in a text there are no escapes, control characters or other quotes than the first
    /// and the last byte, and it is UTF-8. Whether it is a value at all has yet to be seen.
    #[inline(always)]
    pub(super) fn plain(from: usize, to: usize) -> Self {
        // Blocks are far below 2 GiB: their bytes are limited, or they have one record (`RECORD_BYTES_MAX`).
        Self { from: from.wrapping_sub(BEFORE) as u32, length: to.wrapping_sub(from) as u32 }
    }

    /// Whether there is no value.
    #[inline(always)]
    pub(super) fn is_absent(self) -> bool {
        self.from == 0
    }

    /// Where it starts.
    #[inline(always)]
    pub(super) fn from(self) -> usize {
        self.from as usize + BEFORE
    }

    /// How long it is if it is plain; else more than any is.
    #[inline(always)]
    pub(super) fn length_if_plain(self) -> usize {
        self.length as usize
    }

    /// The same without its last byte.
    #[inline(always)]
    pub(super) fn without_last(self) -> Self {
        Self { length: self.length.wrapping_sub(1), ..self }
    }

    /// What is between its quotes, if it is plain and has them.
    pub(super) fn within_quotes(self, bytes: &[u8]) -> Option<Self> {
        let length = self.text(bytes)?.len() as u32;
        Some(Self { from: self.from + 1, length })
    }

    /// The sixteen bytes of a block before its end, if it is plain.
    #[inline(always)]
    pub(super) fn half_before_end(self, bytes: &[u8]) -> Option<&Half> {
        let at = self.from as usize + self.length as usize;
        bytes.get(at..at + BEFORE)?.first_chunk()
    }

    /// The same, and the byte before them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn tail_before_end(self, bytes: &[u8]) -> Option<&Tail> {
        // The place of something is never 0.
        let at = (self.from as usize + self.length as usize).wrapping_sub(1);
        bytes.get(at..)?.first_chunk()
    }

    /// Its bytes.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.from()..][..(self.length & !Self::ODD) as usize]
    }

    /// The text between its quotes, if it is plain and has them.
    #[inline]
    pub(super) fn text(self, bytes: &[u8]) -> Option<&[u8]> {
        match bytes.get(self.from()..)?.get(..self.length_if_plain())? {
            [b'"', text @ .., b'"'] => Some(text),
            _ => None,
        }
    }

    /// The same, if a window shows all of it.
    #[inline(always)]
    pub(super) fn seen(self, bytes: &[u8]) -> Option<Seen<'_>> {
        let from = self.from();
        let seen: &[u8; WIDTH + 2] = bytes.get(from..from + WIDTH + 2)?.first_chunk()?;
        let [b'"', rest @ ..] = seen else { return None };
        let length = self.length_if_plain().wrapping_sub(2);
        let window = rest.first_chunk().expect("it is one byte shorter");
        (length <= WIDTH && rest[length] == b'"').then(|| Seen { window, text: &window[..length] })
    }
}

/// How many values are made room for at once.
const TOGETHER: usize = 32;

/// Appends what `read` reads of values, up to the first of which it reads nothing; gives how many it has read.
#[inline(always)]
pub(super) fn extend<T: Copy + Default>(
    values: &mut Vec<T>,
    spans: &[Span],
    mut read: impl FnMut(Span) -> Option<T>,
) -> usize {
    let mut all = 0;
    for spans in spans.chunks(TOGETHER) {
        let (from, mut count) = (values.len(), 0);
        values.resize(from + spans.len(), T::default());
        for (place, span) in values[from..].iter_mut().zip(spans) {
            let Some(value) = read(*span) else { break };
            *place = value;
            count += 1;
        }
        all += count;
        if count < spans.len() {
            values.truncate(from + count);
            break;
        }
    }
    all
}

/// A text in a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// What is seen from its start on, the text itself and what follows it.
    pub(super) window: &'a Window,
    pub(super) text: &'a [u8],
}

/// Where it is noted what one record has.
pub(super) struct Row<'a> {
    /// [`ROWS_MAX`] for each column; absent where nothing is noted.
    spans: &'a mut [Span],
    number: usize,
}

impl<'a> Row<'a> {
    /// The row of this number.
    pub(super) fn new(spans: &'a mut [Span], number: usize) -> Self {
        Self { spans, number }
    }

    /// The number of the row, which is that of the record.
    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The place for the value of a column, if there is such a column.
    #[inline(always)]
    pub(super) fn place(&mut self, column: usize) -> Option<&mut Span> {
        self.spans.get_mut(column.wrapping_mul(ROWS_MAX).wrapping_add(self.number))
    }

    /// The same, if it has none yet.
    #[inline(always)]
    pub(super) fn vacant(&mut self, column: usize) -> Option<&mut Span> {
        self.place(column).filter(|span| span.is_absent())
    }

    /// Takes back what is noted for a column, if there is such a column.
    pub(super) fn take_back(&mut self, column: usize) {
        if let Some(span) = self.place(column) {
            *span = Span::default();
        }
    }

    /// Says of each text that is noted, in these bytes, that there may be more to it.
    #[cold]
    pub(super) fn note_odd_texts(&mut self, bytes: &[u8]) {
        let texts = self.spans.iter_mut().skip(self.number).step_by(ROWS_MAX);
        for span in texts.filter(|span| bytes.get(span.from()) == Some(&b'"')) {
            span.length |= Span::ODD;
        }
    }

    /// The columns that have a value, and where it is.
    pub(super) fn noted(&self) -> impl Iterator<Item = (usize, Span)> {
        let spans = self.spans.iter().skip(self.number).step_by(ROWS_MAX).copied();
        spans.enumerate().filter(|(_, span)| !span.is_absent())
    }
}
