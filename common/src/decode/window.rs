//! A record's value, seen through windows of 32 bytes: what can be told of so many at once, without a look at each.
//!
//! After its end a value is filled with zeros, which JSON allows nowhere. So a window may start anywhere, and nothing that
//! looks through one needs to know where the value ends.

/// How much is seen at once.
pub(super) const WIDTH: usize = 32;

/// What is seen from some byte on.
pub(super) type Window = [u8; WIDTH];

const NOTHING: Window = [0; WIDTH];
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// A value and the zeros after it.
#[derive(Debug, Default)]
pub(super) struct Padded {
    bytes: Vec<u8>,
}

impl Padded {
    /// Takes in another value. A copy costs less than a look at the end before each step.
    pub(super) fn set(&mut self, value: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(&NOTHING);
    }

    /// The value.
    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - WIDTH]
    }

    /// The byte at `at`; zero past the end.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// What is seen from byte `at` on.
    #[inline(always)]
    pub(super) fn window(&self, at: usize) -> &Window {
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(window) => window,
            None => nothing(),
        }
    }

    /// The first byte from `at` on that is no white space.
    #[inline]
    pub(super) fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Where the plain ASCII text that starts at `at` ends, if it ends with a quote.
    #[inline(always)]
    pub(super) fn string_end(&self, mut at: usize) -> Option<usize> {
        loop {
            let plain = plain_bytes(self.window(at));
            at += plain;
            if plain < WIDTH {
                return (self.byte(at) == b'"').then_some(at);
            }
        }
    }
}

/// What is seen beyond the end. That it is a call tells the compiler that it is rare.
#[cold]
fn nothing() -> &'static Window {
    &NOTHING
}

/// The eight bytes from byte `at` of a window on as a number, the first of them lowest; zero if they are not all seen.
#[inline(always)]
pub(super) fn word(window: &Window, at: usize) -> u64 {
    window.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// All of a window as words.
#[inline(always)]
pub(super) fn words(window: &Window) -> [u64; 4] {
    [0, 8, 16, 24].map(|at| word(window, at))
}

/// How many bytes come before the first that is a quote, a backslash, a control character or not ASCII; all if none is.
#[inline(always)]
fn plain_bytes(window: &Window) -> usize {
    // Written so that the compiler makes vector instructions of it. As a signed number, what is not ASCII is below 0.
    let mut special = [0; WIDTH];
    for (special, &byte) in special.iter_mut().zip(window) {
        *special = u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from((byte as i8) < 0x20);
    }
    let [a, b, c, d] = words(&special);
    let first = u128::from(a) | u128::from(b) << 64;
    if first != 0 {
        return (first.trailing_zeros() / 8) as usize;
    }
    let second = u128::from(c) | u128::from(d) << 64;
    16 + (second.trailing_zeros() / 8) as usize
}

/// `word` up to its first quote, that included, and zeros after.
#[inline(always)]
pub(super) fn first_text(word: u64) -> u64 {
    // As in "Bit Twiddling Hacks", determine if a word has a zero byte: the lowest bit set is the top bit of the first.
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

/// How many bytes of `word` come before the first that is no digit; 8 if all are digits.
#[inline(always)]
pub(super) fn digit_bytes(word: u64) -> usize {
    // A digit has 3 as its upper half, and still has after adding 6. A carry runs upwards, past the byte asked for.
    const UPPER: u64 = ONES * 0xF0;
    const THREES: u64 = ONES * 0x30;
    let wrong = ((word & UPPER) ^ THREES) | ((word.wrapping_add(ONES * 6) & UPPER) ^ THREES);
    (wrong.trailing_zeros() / 8) as usize
}

/// The number that the first `count` bytes of `word`, all digits, write; `count` is 1 to 8.
#[inline(always)]
pub(super) fn digits_value(word: u64, count: usize) -> u64 {
    // The digits move to the end, leading zeros before them; then pairs become numbers below 100, pairs of these numbers
    // below 10,000, and these one number.
    let digits = (word & (ONES * 0x0F)) << (64 - 8 * count);
    let twos = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_FFFF_0000_FFFF;
    (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::{prelude::*, sample::select};

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            1 => select(b"/:\"\\\x1F\x20!#[]\x7F\x80\x9F\xA0\xFA\xFF\0".to_vec()),
            6 => b'0'..=b'9',
            6 => b'a'..=b'z',
            1 => any::<u8>()
        ];
        proptest::collection::vec(byte, 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn windows_say_what_a_look_at_each_byte_says(bytes in bytes(), at in 0..90_usize) {
            let mut padded = Padded::default();
            padded.set(&bytes);
            prop_assert_eq!(padded.value(), &bytes);
            let seen: Vec<u8> = bytes.iter().copied().skip(at).chain(NOTHING).take(WIDTH).collect();
            let window = padded.window(at);
            prop_assert_eq!(window.as_slice(), &seen);
            prop_assert_eq!(padded.byte(at), seen[0]);
            let special = |b: u8| b == b'"' || b == b'\\' || b < 0x20 || !b.is_ascii();
            prop_assert_eq!(plain_bytes(window), seen.iter().position(|&b| special(b)).unwrap_or(WIDTH));
            let end = at + bytes.iter().skip(at).position(|&b| special(b)).unwrap_or(bytes.len());
            prop_assert_eq!(padded.string_end(at), (bytes.get(end) == Some(&b'"')).then_some(end));

            let word = word(window, 0);
            prop_assert_eq!(word.to_le_bytes().to_vec(), seen[..8].to_vec());
            let quote = seen[..8].iter().position(|&b| b == b'"').map_or(8, |at| at + 1);
            prop_assert_eq!(first_text(word).to_le_bytes()[..quote].to_vec(), seen[..quote].to_vec());
            prop_assert!(first_text(word).to_le_bytes()[quote..].iter().all(|&b| b == 0));
            let digits = seen[..8].iter().position(|b| !b.is_ascii_digit()).unwrap_or(8);
            prop_assert_eq!(digit_bytes(word), digits);
            if digits > 0 {
                let value = seen[..digits].iter().fold(0, |value, b| value * 10 + u64::from(b - b'0'));
                prop_assert_eq!(digits_value(word, digits), value);
            }
            let all = mask(at);
        let expected: Vec<u8> = (0..WIDTH).map(|i| if i < at { 0xFF } else { 0 }).collect();
            prop_assert_eq!(all.as_slice(), &expected);
        }
    }
}
