//! Many records compared with one layout at once, value by value: what is expected before a value is then at hand for all of
//! them, and nothing is asked twice.

use super::{
    super::{
        block::Block,
        glue::Glue,
        marks::Record,
        span::{ROWS_MAX, Row, Span},
        vector,
        vector::Half,
    },
    Layout, Place, is_valid,
};

const HALF: usize = size_of::<Half>();

/// So few records are compared one by one.
const TOGETHER_MIN: usize = 4;

/// How far some records are compared.
struct Rows<'a> {
    bytes: &'a [u8],
    records: &'a [Record],
    /// The records' ends, as many of each.
    ends: &'a [u32],
    /// Where in each record what is not compared yet starts.
    at: [u32; ROWS_MAX],
    /// How many records there are up to the first that is not written so, as far as is known.
    alike: usize,
}

impl Layout {
    /// Notes where the values of records lie, from row `from` of the block on, up to the first that is not written so; gives the
    /// row of that. So many are compared `together` at first, and more of them as long as they are alike.
    pub(super) fn note(&self, block: &Block, spans: &mut [Span], from: usize, together: &mut usize) -> usize {
        #[cfg(target_arch = "x86_64")]
        if vector::has_avx2() {
            // SAFETY: the processor has just said that it has these instructions.
            return unsafe { self.note_by_avx2(block, spans, from, together) };
        }
        self.note_by_any(block, spans, from, together)
    }

    /// The same; the compiler makes better code of it where it may use these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn note_by_avx2(&self, block: &Block, spans: &mut [Span], from: usize, together: &mut usize) -> usize {
        self.note_by_any(block, spans, from, together)
    }

    #[inline(always)]
    fn note_by_any(&self, block: &Block, spans: &mut [Span], from: usize, together: &mut usize) -> usize {
        let mut row = from;
        while row < block.len() {
            let most = if *together < TOGETHER_MIN { 1 } else { (*together).min(block.len() - row) };
            let noted = if most > 1 { self.note_some(block, spans, row, most) } else { 0 };
            row += noted;
            if noted < most {
                if !self.note_one(block.record(row), spans, row) {
                    *together = 1;
                    return row;
                }
                row += 1;
            }
            *together = if noted + 1 < most { 1 } else { (2 * *together).min(ROWS_MAX) };
        }
        row
    }

    /// As [`Self::note`] of at most `most` records. It may stop before one that is written so all the same.
    #[inline(always)]
    fn note_some(&self, block: &Block, spans: &mut [Span], from: usize, most: usize) -> usize {
        let (records, ends) = block.alike(from, self.ends, most);
        let mut rows = Rows { bytes: block.bytes(), records, ends, at: [0; ROWS_MAX], alike: records.len() };
        rows.at.iter_mut().zip(records).for_each(|(at, record)| *at = record.from);
        for value in &self.values {
            match spans.get_mut(value.place..) {
                Some(spans) if value.opening.length <= HALF => rows.note_short(value, self.ends, &mut spans[from..]),
                Some(spans) => {
                    let mut spans = spans[from..].iter_mut();
                    rows.pass(value, self.ends, |from, to| spans.next().map(|span| *span = Span::plain(from, to)));
                }
                None => rows.pass(value, self.ends, |from, to| is_valid(block.bytes(), from, to, false).then_some(())),
            }
        }
        rows.end(&self.rest, self.quotes + 2 * self.texts);
        // What was noted of others is taken back.
        for row in from + rows.alike..from + records.len() {
            let mut row = Row::new(spans, row);
            self.values.iter().for_each(|value| row.take_back(value.place / ROWS_MAX));
        }
        rows.alike
    }
}

impl Rows<'_> {
    /// Compares what stands before a value, with the quote if a text is expected, and passes over that and over the value; what
    /// `take` does not take is written otherwise. Each record has so many `ends`.
    #[inline(always)]
    fn pass(&mut self, value: &Place, ends: usize, mut take: impl FnMut(usize, usize) -> Option<()>) {
        let bytes = self.bytes;
        let mut rows = self.at[..self.alike].iter_mut().zip(self.ends.chunks_exact(ends));
        let differs = |(at, ends): (&mut u32, &[u32])| {
            let (from, end) = (*at as usize, ends[value.end]);
            *at = end;
            !value.opening.is_at(bytes, from) || take(from + value.before.length, end as usize).is_none()
        };
        self.alike = rows.position(differs).unwrap_or(self.alike);
    }

    /// The same of a column's value, behind at most sixteen bytes; it is noted in `spans`.
    #[inline(never)]
    fn note_short(&mut self, value: &Place, ends: usize, spans: &mut [Span]) {
        let (bytes, length, end) = (self.bytes, value.before.length, value.end);
        let (first, mask) = value.opening.first();
        let rows = self.at[..self.alike].iter_mut().zip(self.ends.chunks_exact(ends)).zip(spans);
        let mut alike = 0;
        for ((at, ends), span) in rows {
            let from = *at as usize;
            let (Some(&end), Some(seen)) = (ends.get(end), vector::half_at(bytes, from)) else { break };
            if !vector::same(seen, &first) & mask != 0 {
                break;
            }
            *span = Span::plain(from + length, end as usize);
            *at = end;
            alike += 1;
        }
        self.alike = alike;
    }

    /// Compares what follows the last value. As each value that was a text starts with a quote, as many quotes mean that each is one
    /// whose reader finds another at its end, and that no other value has any.
    #[inline(always)]
    fn end(&mut self, rest: &Glue, quotes: u32) {
        let bytes = self.bytes;
        let mut rows = self.records[..self.alike].iter().zip(&self.at);
        let differs = |(record, at): (&Record, &u32)| {
            let at = *at as usize;
            at + rest.length != record.to as usize || !rest.is_at(bytes, at) || quotes != record.quotes
        };
        self.alike = rows.position(differs).unwrap_or(self.alike);
    }
}
