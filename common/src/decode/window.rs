//! Records' values side by side, seen through windows of 32 bytes: what can be told of so many at once, without a look at
//! each.
//!
//! After its end a value is followed by a zero, which JSON allows nowhere, and the last one by enough of them. So a window
//! may start anywhere in a value, and nothing that looks through one needs to know where the value ends.

use super::vector::{self, Ends, delimiters, ends, special};
pub(super) use super::vector::{WIDTH, Window};

/// How many zeros come before the first value and after the last one: a name, and what a window shows after it.
const ZEROS: usize = 2 * WIDTH + 1;

/// Where something lies among the values: bytes `[from, from + length)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    from: u32,
    /// Its highest bit is set if there may be more to the value than meets the eye, as escapes.
    length: u32,
}

impl Span {
    const ODD: u32 = 1 << 31;

    /// A value without escapes or white space.
    #[inline(always)]
    pub(super) fn plain(from: usize, length: usize) -> Self {
        // Blocks are far below 2 GiB: their bytes are limited, or they have one record (`RECORD_BYTES_MAX`).
        Self { from: from as u32, length: length as u32 }
    }

    /// Any value.
    pub(super) fn odd(from: usize, length: usize) -> Self {
        Self { from: from as u32, length: length as u32 | Self::ODD }
    }

    /// Whether there is no value.
    #[inline(always)]
    pub(super) fn is_absent(self) -> bool {
        self.length == 0
    }

    /// Where it starts.
    #[inline(always)]
    pub(super) fn from(self) -> usize {
        self.from as usize
    }

    /// How long it is if it is plain; else more than any is.
    #[inline(always)]
    pub(super) fn length_if_plain(self) -> usize {
        self.length as usize
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
        let [b'"', window @ ..] = bytes.get(self.from()..)?.first_chunk::<{ WIDTH + 1 }>()? else { return None };
        let text = window.get(..self.length_if_plain().wrapping_sub(2))?;
        Some(Seen { window, text })
    }
}

/// A text in a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// What is seen from its start on, the text itself and what follows it.
    pub(super) window: &'a Window,
    pub(super) text: &'a [u8],
}

/// Holds values, and zeros around them.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where each value ends.
    ends: Vec<usize>,
}

impl Default for Block {
    fn default() -> Self {
        Self { bytes: vec![0; 2 * ZEROS], ends: Vec::new() }
    }
}

impl Block {
    /// Takes in other values, in all at most `bytes_max` bytes, or the first. To copy them costs less than a look at the end
    /// before each step.
    pub(super) fn fill<'v>(&mut self, values: impl Iterator<Item = &'v [u8]>, bytes_max: usize) {
        self.bytes.truncate(ZEROS);
        self.ends.clear();
        for value in values {
            if self.bytes.len() + value.len() > ZEROS + bytes_max && !self.ends.is_empty() {
                break;
            }
            self.bytes.extend_from_slice(value);
            self.ends.push(self.bytes.len());
            self.bytes.push(0);
        }
        self.bytes.extend_from_slice(&[0; ZEROS]);
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All values, and the zeros.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One value, and where it starts.
    #[inline]
    pub(super) fn value(&self, number: usize) -> (Text<'_>, usize) {
        let start = if number == 0 { ZEROS } else { self.ends[number - 1] + 1 };
        (Text { bytes: &self.bytes, end: self.ends[number] }, start)
    }
}

/// A value, and what stands around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    end: usize,
}

impl<'a> Text<'a> {
    /// All up to the end of the value.
    #[inline]
    pub(super) fn value(self) -> &'a [u8] {
        &self.bytes[..self.end]
    }

    /// Where the value ends.
    #[inline]
    pub(super) fn end(self) -> usize {
        self.end
    }

    /// The byte at `at`; zero at the value's end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// All from byte `at` on.
    #[inline(always)]
    pub(super) fn from(self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or(&[])
    }

    /// Which byte `rest`, what was got by [`Self::from`] or a part of it up to the end, starts with.
    #[inline(always)]
    pub(super) fn at(self, rest: &[u8]) -> usize {
        self.bytes.len() - rest.len()
    }

    /// The first byte from `at` on that is no white space.
    #[inline]
    pub(super) fn skip_space(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }
}

/// How long the value is that `bytes` start with, if it is a string of ASCII without escapes that a window shows; or if it
/// is something else, where it ends at the latest: then it has yet to be seen whether it is a value. `None` if neither.
#[inline(always)]
pub(super) fn scalar_length(bytes: &[u8]) -> Option<usize> {
    let [first, window @ ..] = bytes.first_chunk::<{ WIDTH + 1 }>()?;
    if *first == b'"' {
        return short_text(window).map(|length| length + 2);
    }
    let end = delimiters(window);
    (end != 0).then(|| end.trailing_zeros() as usize + 1)
}

/// The same, by a way that does not branch on what the value is: better where it cannot be foreseen.
#[inline(always)]
pub(super) fn any_scalar_length(bytes: &[u8]) -> Option<usize> {
    let [first, window @ ..] = bytes.first_chunk::<{ WIDTH + 1 }>()?;
    let Ends { any, well, beyond_ascii } = ends(*first, window);
    let length = any.trailing_zeros();
    let ends_well = well & any & any.wrapping_neg() != 0 && beyond_ascii.trailing_zeros() >= length;
    ends_well.then_some(length as usize + 1 + usize::from(*first == b'"'))
}

/// How long the text is that `window` starts with and a quote ends, if it is ASCII and has no escapes.
#[inline(always)]
fn short_text(window: &Window) -> Option<usize> {
    let (special, beyond_ascii) = special(window);
    let length = special.trailing_zeros();
    (window.get(length as usize) == Some(&b'"') && beyond_ascii.trailing_zeros() >= length).then_some(length as usize)
}

/// How long the string is that `bytes` start with, its quotes counted, if it is UTF-8 and has no escapes.
pub(super) fn string_length(bytes: &[u8]) -> Option<usize> {
    let text = bytes.strip_prefix(b"\"")?;
    let (mut length, mut ascii) = (0, true);
    loop {
        let (special, beyond_ascii) = special(text.get(length..)?.first_chunk()?);
        let seen = special.trailing_zeros();
        ascii &= beyond_ascii.trailing_zeros() >= seen;
        length += seen as usize;
        if special != 0 {
            break;
        }
    }
    let (text, after) = text.split_at(length);
    (after.first() == Some(&b'"') && (ascii || std::str::from_utf8(text).is_ok())).then_some(length + 2)
}

/// The eight bytes from byte `at` of a window on as a number, the first of them lowest.
#[inline(always)]
pub(super) fn word(window: &Window, at: usize) -> u64 {
    u64::from_le_bytes(*window[at..].first_chunk().expect("a window has eight bytes from there on"))
}

/// All of a window as words.
#[inline(always)]
pub(super) fn words(window: &Window) -> [u64; 4] {
    [word(window, 0), word(window, 8), word(window, 16), word(window, 24)]
}

/// `word` up to its first quote, that included, and zeros after.
#[inline(always)]
pub(super) fn first_text(word: u64) -> u64 {
    // As in "Bit Twiddling Hacks", determine if a word has a zero byte: the lowest bit set is the top bit of the first.
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let differs = word ^ (ONES * b'"' as u64);
    let quotes = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
    word & (quotes ^ quotes.wrapping_sub(1))
}

/// A window of zeros but for its first `count` bytes, of which all bits are set; at most [`WIDTH`] of them.
#[inline(always)]
pub(super) fn mask(count: usize) -> &'static Window {
    const MASKS: [u8; 2 * WIDTH] = {
        let mut masks = [0; 2 * WIDTH];
        let mut at = 0;
        while at < WIDTH {
            masks[at] = 0xFF;
            at += 1;
        }
        masks
    };
    MASKS[WIDTH - count.min(WIDTH)..].first_chunk().expect("there are as many bytes again")
}

/// Whether the bytes are the same that have a bit in `bits`.
#[inline(always)]
pub(super) fn alike(a: &Window, b: &Window, bits: u32) -> bool {
    !vector::equal(a, b) & bits == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::{prelude::*, sample::select};

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let plain = "[a-z0-9 \u{7F}]{0,40}|[a-zäß→\u{10FFFF}]{0,24}".prop_map(String::into_bytes);
        let byte = prop_oneof![Just(b'"'), select(b"\"\\\x1F\x20!#[],}\x7F\x80\x9F\xC3\xFF".to_vec()), any::<u8>()];
        let pieces = prop_oneof![3 => plain, 1 => byte.prop_map(|byte| vec![byte])];
        proptest::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn windows_say_what_a_look_at_each_byte_says(before in bytes(), bytes in bytes(), after in bytes(), at in 0..90_usize) {
            let mut block = Block::default();
            block.fill([before.as_slice()].into_iter(), 0);
            prop_assert_eq!(block.len(), 1);
            block.fill([before.as_slice(), &bytes, &after, &[0; 99]].into_iter(), before.len() + bytes.len() + after.len() + 99);
            prop_assert_eq!(block.len(), 3);
            let (text, start) = block.value(1);
            prop_assert_eq!((&text.value()[start..], text.end(), text.byte(text.end())), (bytes.as_slice(), start + bytes.len(), 0));
            // Mostly at a quote, if there is one.
            let quote = bytes.iter().position(|&b| b == b'"').filter(|_| at > 9);
            let at = quote.unwrap_or(at.min(bytes.len()));
            let rest = text.from(start + at);
            prop_assert_eq!((text.at(rest), text.byte(start + at)), (start + at, rest[0]));
            let window = rest.first_chunk().unwrap();
            let bytes: Vec<u8> = bytes.into_iter().skip(at).chain([0]).collect();

            let special = |b: u8| b == b'"' || b == b'\\' || b < 0x20;
            let quoted = bytes.strip_prefix(b"\"").and_then(|text| text.get(..text.iter().position(|&b| special(b))?));
            let quoted = quoted.filter(|text| bytes[text.len() + 1] == b'"' && std::str::from_utf8(text).is_ok());
            prop_assert_eq!(string_length(rest), quoted.map(|text| text.len() + 2));
            let short = quoted.filter(|text| text.is_ascii() && text.len() < WIDTH);
            let ascii = scalar_length(rest).filter(|&length| rest[1..length].is_ascii());
            prop_assert_eq!(any_scalar_length(rest), ascii);
            let delimits = |byte: &u8| matches!(byte, b',' | b'}');
            let end = match bytes[0] {
                b'"' => short.map(|text| text.len() + 2),
                // What lies behind the value is seen too.
                _ => rest[1..=WIDTH].iter().position(delimits).map(|length| length + 1),
            };
            prop_assert_eq!(scalar_length(rest), end);
            if let Some(quoted) = quoted {
                let span = Span::plain(start + at, quoted.len() + 2);
                prop_assert_eq!(span.text(block.bytes()), Some(quoted));
                prop_assert_eq!(span.seen(block.bytes()).map(|seen| seen.text), Some(quoted).filter(|text| text.len() <= WIDTH));
                let odd = Span::odd(start + at, quoted.len() + 2);
                prop_assert_eq!((odd.of(block.bytes()), odd.text(block.bytes())), (span.of(block.bytes()), None));
                prop_assert!(odd.seen(block.bytes()).is_none() && !odd.is_absent() && !span.is_absent());
            }

            let word = word(window, 0);
            let quote = window[..8].iter().position(|&b| b == b'"').map_or(8, |at| at + 1);
            prop_assert_eq!(&first_text(word).to_le_bytes()[..quote], &window[..quote]);
            prop_assert!(first_text(word).to_le_bytes()[quote..].iter().all(|&b| b == 0));
            let all = mask(at);
            let expected: Vec<u8> = (0..WIDTH).map(|i| if i < at { 0xFF } else { 0 }).collect();
            prop_assert_eq!(all.as_slice(), &expected);
        }
    }
}
