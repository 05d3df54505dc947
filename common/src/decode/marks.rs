//! Where values may end in records: one look at each byte, 64 of them at a time, for all records of a block. What is marked
//! is a hint for whoever reads a record; that a value ends there is for the value's reader to confirm.
//!
//! What is told of a record as a whole is no hint: how many quotes open and close its strings, and whether there is anything
//! in it that makes the text of a string other than the bytes between its quotes.

use super::vector::{CHUNK, Chunk, Marks, Unusual};

/// How many ends are noted at once, which costs less than to ask how many there are: most chunks have fewer.
const ENDS_AT_ONCE: usize = 6;

/// A record of a block, from a chunk's first byte on. Blocks are far below 4 GiB: their bytes are limited, or they have one
/// record (`RECORD_BYTES_MAX`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Its bytes: `[from, to)` of the block.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Which of the block's ends are its: `[first_end, last_end)`. None if it is not UTF-8.
    first_end: u32,
    last_end: u32,
    /// How many quotes open and close its strings.
    pub(super) quotes: u32,
    /// Whether it has a backslash, or a control character within quotes.
    pub(super) odd: bool,
}

impl Record {
    /// One that is bytes `[from, to)`, of which nothing else is known.
    pub(super) fn at(from: usize, to: usize) -> Self {
        Self { from: from as u32, to: to as u32, ..Self::default() }
    }

    /// How many ends it has.
    #[inline(always)]
    pub(super) fn ends(&self) -> usize {
        (self.last_end - self.first_end) as usize
    }
}

/// The places of ends, of all records one after the other, and room for more.
#[derive(Debug, Default)]
pub(super) struct Ends(Vec<u32>);

impl Ends {
    /// Those of a record.
    #[inline(always)]
    pub(super) fn of(&self, record: &Record) -> &[u32] {
        self.of_all(record, record)
    }

    /// Those of all records from `first` to `last`.
    #[inline(always)]
    pub(super) fn of_all(&self, first: &Record, last: &Record) -> &[u32] {
        &self.0[first.first_end as usize..last.last_end as usize]
    }

    /// Puts the places of the bits in `bits`, counted from byte `from` on, after the first `count`; gives how many there are
    /// then.
    #[inline(always)]
    fn put(&mut self, count: usize, mut bits: u64, from: u32) -> usize {
        let places = match self.0.get_mut(count..count + CHUNK) {
            Some(places) => places,
            None => self.grow(count),
        };
        let places: &mut [u32; CHUNK] = places.try_into().expect("there is room for a chunk's bits");
        let ones = bits.count_ones() as usize;
        for place in &mut places[..ENDS_AT_ONCE] {
            *place = from + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
        let mut noted = ENDS_AT_ONCE;
        while bits != 0 {
            places[noted % CHUNK] = from + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            noted += 1;
        }
        count + ones
    }

    #[cold]
    fn grow(&mut self, count: usize) -> &mut [u32] {
        self.0.resize(count + 16 * CHUNK, 0);
        &mut self.0[count..count + CHUNK]
    }
}

/// Marks `records`, which ascend, in `block`: finds their ends, and all else about them. Each record has the chunks that its
/// bytes are in for itself, and what follows it there is white space.
pub(super) fn mark(block: &[u8], records: &mut [Record], ends: &mut Ends) {
    #[cfg(target_arch = "x86_64")]
    if super::vector::has_avx2() {
        // SAFETY: the processor has just said that it has these instructions.
        return unsafe { by_avx2(block, records, ends) };
    }
    by_any(block, records, ends);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,pclmulqdq,popcnt")]
fn by_avx2(block: &[u8], records: &mut [Record], ends: &mut Ends) {
    use super::vector::avx2::{marks, prefix_xor, unusual};
    mark_by(block, records, ends, |chunk| marks(chunk), |chunk| unusual(chunk), |bits| prefix_xor(bits));
}

#[cfg(target_arch = "x86_64")]
fn by_any(block: &[u8], records: &mut [Record], ends: &mut Ends) {
    use super::vector::sse2::{marks, prefix_xor, unusual};
    // SAFETY: x86-64 has SSE2, by its definition.
    let (marks, unusual) = (|chunk: &_| unsafe { marks(chunk) }, |chunk: &_| unsafe { unusual(chunk) });
    mark_by(block, records, ends, marks, unusual, prefix_xor);
}

#[cfg(not(target_arch = "x86_64"))]
fn by_any(block: &[u8], records: &mut [Record], ends: &mut Ends) {
    by_words(block, records, ends);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn by_words(block: &[u8], records: &mut [Record], ends: &mut Ends) {
    use super::vector::words::{marks, prefix_xor, unusual};
    mark_by(block, records, ends, marks, unusual, prefix_xor);
}

/// As [`mark`], with answers from where the caller has them.
#[inline(always)]
fn mark_by(
    block: &[u8],
    records: &mut [Record],
    ends: &mut Ends,
    marks: impl Fn(&Chunk) -> Marks,
    unusual: impl Fn(&Chunk) -> Unusual,
    prefix_xor: impl Fn(u64) -> u64,
) {
    let (chunks, _) = block.as_chunks::<CHUNK>();
    let mut count = 0;
    for record in records {
        let mut chunk_from = record.from;
        let mut state = State::default();
        record.first_end = count as u32;
        for chunk in &chunks[record.from as usize / CHUNK..(record.to as usize).div_ceil(CHUNK)] {
            let Marks { quotes, ends: delimiters, unusual: look } = marks(chunk);
            let within = if look || state.escaping {
                state.look_closer(&unusual(chunk), quotes, &prefix_xor)
            } else {
                state.quotes += quotes.count_ones();
                prefix_xor(quotes) ^ state.open
            };
            state.open = (within as i64 >> 63) as u64;
            count = ends.put(count, delimiters & !within, chunk_from);
            chunk_from += CHUNK as u32;
        }
        (record.quotes, record.odd) = (state.quotes, state.odd);
        let text = || &block[record.from as usize..record.to as usize];
        if state.beyond_ascii && std::str::from_utf8(text()).is_err() {
            count = record.first_end as usize;
        }
        record.last_end = count as u32;
    }
}

/// What is known of a record up to some chunk of it.
#[derive(Default)]
struct State {
    quotes: u32,
    /// All ones if a string is open there.
    open: u64,
    odd: bool,
    beyond_ascii: bool,
    /// Whether the last byte is a backslash that is not escaped itself.
    escaping: bool,
}

impl State {
    /// Takes in a chunk with something unusual in it. Gives which bytes are within quotes: from each string's opening one on up
    /// to before its closing one.
    #[inline(never)]
    fn look_closer(&mut self, unusual: &Unusual, quotes: u64, prefix_xor: impl Fn(u64) -> u64) -> u64 {
        let quotes = quotes & !self.escaped(unusual.backslashes);
        let within = prefix_xor(quotes) ^ self.open;
        self.quotes += quotes.count_ones();
        self.odd |= unusual.controls & within != 0;
        self.beyond_ascii |= unusual.beyond_ascii != 0;
        within
    }

    /// Which bytes of the next chunk backslashes escape, which are these.
    fn escaped(&mut self, mut backslashes: u64) -> u64 {
        let mut escaped = u64::from(std::mem::take(&mut self.escaping));
        backslashes &= !escaped;
        self.odd |= backslashes != 0;
        while backslashes != 0 {
            let one = backslashes & backslashes.wrapping_neg();
            escaped |= one << 1;
            self.escaping = one >> (CHUNK - 1) == 1;
            backslashes &= !(one | one << 1);
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    type Way = fn(&[u8], &mut [Record], &mut Ends);

    /// The records one after the other, and nothing said of them.
    fn block(texts: &[Vec<u8>]) -> (Vec<u8>, Vec<Record>) {
        let mut bytes = vec![b' '; CHUNK];
        let place = |text: &Vec<u8>| {
            let from = bytes.len();
            bytes.extend_from_slice(text);
            let to = bytes.len();
            bytes.resize(to.next_multiple_of(CHUNK), b' ');
            Record::at(from, to)
        };
        let records = texts.iter().map(place).collect();
        (bytes, records)
    }

    /// What is to be found in a record, by a look at each byte after the other; and its ends.
    fn expected(bytes: &[u8], record: Record) -> (Record, Vec<u32>) {
        let (mut within, mut escaped, mut ends, mut expected) = (false, false, Vec::new(), record);
        for at in record.from..record.to {
            let byte = bytes[at as usize];
            let quote = byte == b'"' && !escaped;
            within ^= quote;
            expected.quotes += u32::from(quote);
            expected.odd |= byte == b'\\' || within && byte < 0x20;
            escaped = byte == b'\\' && !escaped;
            if b",}]".contains(&byte) && !within {
                ends.push(at);
            }
        }
        if std::str::from_utf8(&bytes[record.from as usize..record.to as usize]).is_err() {
            ends.clear();
        }
        (expected, ends)
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-z0-9:., {}]{0,12}|\"[a-z, ]{0,40}\"|(,\"[a-z]{1,9}\":[0-9]{1,9})+".prop_map(String::into_bytes),
            2 => r#"\\{1,5}"?|""|"#.prop_map(String::into_bytes),
            2 => any::<String>().prop_map(String::into_bytes),
            1 => vec(select(b"\"\\,}]{[:\n\x00\x1F\x20\x7F\x80\xC3\xFF".to_vec()), 0..9),
            1 => vec(any::<u8>(), 0..9),
            1 => (0..140_usize).prop_map(|length| vec![b','; length]),
        ];
        // Runs of backslashes are to meet borders of chunks.
        let near_border = (56..72_usize, vec(select(b"\\\\\\\",x\n".to_vec()), 1..20)).prop_map(|(before, bytes)| {
            let mut text = vec![b'x'; before];
            text.extend(bytes);
            text
        });
        prop_oneof![vec(piece, 0..12).prop_map(|pieces| pieces.concat()), near_border]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn marks_are_what_a_look_at_each_byte_finds(texts in vec(text(), 0..5)) {
            let (bytes, unmarked) = block(&texts);
            // `mark` is the best that there is here.
            let ways: [(&str, Way); 3] = [("best", mark), ("any", by_any), ("words", by_words)];
            for (name, way) in ways {
                // What was found before must not matter.
                let mut ends = Ends(vec![7; 99]);
                let mut records = unmarked.clone();
                way(&bytes, &mut records, &mut ends);
                for (found, record) in records.iter().zip(&unmarked) {
                    let (expected, expected_ends) = expected(&bytes, *record);
                    prop_assert_eq!(ends.of(found), expected_ends, "{} of {:?}", name, texts);
                    let bare = Record { first_end: 0, last_end: 0, ..*found };
                    prop_assert_eq!(bare, expected, "{} of {:?}", name, texts);
                }
            }
        }
    }
}
