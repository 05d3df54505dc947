//! Records' values side by side in one piece of memory, with marks of where values may end in them.
//!
//! Each record starts at a chunk of its own, and white space follows it up to the next. Before the first record and after the
//! last there is so much of it that a window may start at any byte of a record, and end at any: nothing that looks through
//! one needs to know where the record ends. To copy the records costs less than a look at the end before each step.

use super::{
    marks::{Ends, Record, mark},
    vector::CHUNK,
};

/// Records, and white space around them.
#[derive(Debug)]
pub(super) struct Block {
    /// The records, and what others have left after them.
    bytes: Vec<u8>,
    /// How many of these bytes are theirs.
    length: usize,
    records: Vec<Record>,
    ends: Ends,
}

impl Default for Block {
    fn default() -> Self {
        Self { bytes: vec![b' '; CHUNK], length: CHUNK, records: Vec::new(), ends: Ends::default() }
    }
}

impl Block {
    /// Takes in other records, in all at most `bytes_max` bytes, or the first.
    pub(super) fn fill<'v>(&mut self, values: impl Iterator<Item = &'v [u8]>, bytes_max: usize) {
        self.records.clear();
        let mut from = CHUNK;
        for value in values {
            let to = from + value.len();
            if to > CHUNK + bytes_max && !self.records.is_empty() {
                break;
            }
            if self.bytes.len() < to + 2 * CHUNK {
                self.bytes.resize((to + 2 * CHUNK).next_power_of_two(), b' ');
            }
            self.bytes[from..to].copy_from_slice(value);
            self.bytes[to..to + CHUNK].fill(b' ');
            self.records.push(Record::at(from, to));
            from = to.next_multiple_of(CHUNK);
        }
        // Without a record there is no room yet.
        self.length = (from + CHUNK).min(self.bytes.len());
        self.bytes[from..self.length].fill(b' ');
        mark(&self.bytes[..self.length], &mut self.records, &mut self.ends);
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The records from the one of this number on that have so many ends and are not odd, at most `most` of them; and their ends,
    /// those of one after those of the other.
    #[inline(always)]
    pub(super) fn alike(&self, from: usize, ends: usize, most: usize) -> (&[Record], &[u32]) {
        let rest = &self.records[from..];
        let alike = rest.iter().take(most).take_while(|record| record.ends() == ends && !record.odd).count();
        let ends = match &rest[..alike] {
            [first, .., last] => self.ends.of_all(first, last),
            [one] => self.ends.of(one),
            [] => &[],
        };
        (&rest[..alike], ends)
    }

    /// All records, and the white space.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// One of the records.
    #[inline(always)]
    pub(super) fn record(&self, number: usize) -> Text<'_> {
        let record = &self.records[number];
        let Record { from, to, quotes, odd, .. } = *record;
        Text { bytes: self.bytes(), ends: self.ends.of(record), from: from as usize, to: to as usize, quotes, odd }
    }
}

/// A record in its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    /// The whole block.
    pub(super) bytes: &'a [u8],
    /// Where values may end in it, ascending: commas and closing brackets that are in no string. None if it is not UTF-8.
    pub(super) ends: &'a [u32],
    /// Where it is: bytes `[from, to)`.
    pub(super) from: usize,
    pub(super) to: usize,
    /// How many quotes open and close its strings.
    pub(super) quotes: u32,
    /// Whether there may be more to the texts of its strings than their bytes: escapes, or control characters.
    pub(super) odd: bool,
}

impl<'a> Text<'a> {
    /// All up to the end of the record.
    #[inline]
    pub(super) fn value(self) -> &'a [u8] {
        &self.bytes[..self.to]
    }

    /// The byte at `at`, which may be beyond the record's end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(b' ')
    }

    /// The first byte from `at` on that is no white space, at most the record's end.
    #[inline]
    pub(super) fn skip_space(self, mut at: usize) -> usize {
        while at < self.to && matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lie_side_by_side_with_room_around_them() {
        let mut block = Block::default();
        let long = [b'x'; 3 * CHUNK];
        let values = [b"{\"a\":1}".as_slice(), b"", &long, b"[,}"];
        for (bytes_max, fit) in [(usize::MAX / 2, 4), (4 * CHUNK, 3), (CHUNK, 2), (0, 1)] {
            block.fill(values.into_iter(), bytes_max);
            assert_eq!(block.len(), fit, "{bytes_max}");
            for (number, value) in values.into_iter().take(fit).enumerate() {
                let text = block.record(number);
                assert_eq!(&text.bytes[text.from..text.to], value);
                assert!(text.from >= CHUNK && text.to + CHUNK <= block.bytes().len());
                let after = &text.bytes[text.to..text.to.next_multiple_of(CHUNK)];
                assert!(after.iter().all(|&byte| byte == b' '));
            }
        }
        let text = block.record(0);
        let ends: Vec<usize> = text.ends.iter().map(|&end| end as usize - text.from).collect();
        assert_eq!((ends, text.quotes, text.value().len()), (vec![6], 2, text.to));
        assert_eq!(text.skip_space(text.to - 7), text.to - 7);
        block.fill(std::iter::once(b" \n ".as_slice()), 0);
        let text = block.record(0);
        assert_eq!((text.skip_space(text.from), text.byte(usize::MAX)), (text.to, b' '));
    }
}
