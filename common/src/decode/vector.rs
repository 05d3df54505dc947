//! Questions put to many bytes at once. An answer has a bit for each byte, the first byte's lowest.
//!
//! On x86-64 these are the vector instructions that every such processor has; elsewhere arithmetic on words, which is also
//! what the tests hold them against. Nothing here knows JSON's grammar, and nothing reads memory but through its arguments.

/// How many bytes a question of two halves is about.
pub(super) const WIDTH: usize = 32;

/// What is seen from some byte on.
pub(super) type Window = [u8; WIDTH];

/// Half a window.
pub(super) type Half = [u8; WIDTH / 2];

/// Which bytes of `a` are those of `b`.
#[inline(always)]
pub(super) fn equal(a: &Window, b: &Window) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let bits = unsafe { sse2::equal(a, b) };
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::equal(a, b);
    bits
}

/// Which bytes end a run of text or need a look: quotes, backslashes and control characters; and which are not ASCII.
#[inline(always)]
pub(super) fn special(window: &Window) -> (u32, u32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let bits = unsafe { sse2::special(window) };
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::special(window);
    bits
}

/// Which bytes are commas or closing braces.
#[inline(always)]
pub(super) fn delimiters(window: &Window) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let bits = unsafe { sse2::delimiters(window) };
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::delimiters(window);
    bits
}

/// Where a value may end that starts with `first`, without a branch on what it is: what [`special`] says if that is a quote,
/// else what [`delimiters`] says.
#[inline(always)]
pub(super) fn ends(first: u8, window: &Window) -> Ends {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let ends = unsafe { sse2::ends(first, window) };
    #[cfg(not(target_arch = "x86_64"))]
    let ends = words::ends(first, window);
    ends
}

/// Where a value may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The bytes after which it goes on no more, or needs a look.
    pub(super) any: u32,
    /// Those of them that end it well.
    pub(super) well: u32,
    /// The bytes that are not ASCII.
    pub(super) beyond_ascii: u32,
}

/// Which bytes are no digits.
#[inline(always)]
pub(super) fn not_digits(half: &Half) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let bits = unsafe { sse2::not_digits(half) };
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::not_digits(half);
    bits
}

/// The number that the last bytes of `half`, all digits, write: those of which `mask` lets the lower half through.
#[inline(always)]
pub(super) fn digits_value(half: &Half, mask: &Half) -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let value = unsafe { sse2::digits_value(half, mask) };
    #[cfg(not(target_arch = "x86_64"))]
    let value = words::digits_value(half, mask);
    value
}

/// By the instructions of SSE2.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_madd_epi16, _mm_min_epu8,
        _mm_movemask_epi8, _mm_or_si128, _mm_packs_epi32, _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi32,
        _mm_setzero_si128, _mm_sub_epi8, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
    };

    use super::{Ends, Half, Window};

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn equal(a: &Window, b: &Window) -> u32 {
        let ([a, b], [c, d]) = (halves(a), halves(b));
        bits(_mm_cmpeq_epi8(a, c)) | bits(_mm_cmpeq_epi8(b, d)) << 16
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn special(window: &Window) -> (u32, u32) {
        let [a, b] = halves(window);
        (bits(special_of(a)) | bits(special_of(b)) << 16, bits(a) | bits(b) << 16)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn special_of(half: __m128i) -> __m128i {
        let quote = _mm_cmpeq_epi8(half, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(half, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(half, _mm_min_epu8(half, _mm_set1_epi8(0x1F)));
        _mm_or_si128(_mm_or_si128(quote, backslash), control)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn delimiters(window: &Window) -> u32 {
        let [a, b] = halves(window);
        bits(delimiters_of(a)) | bits(delimiters_of(b)) << 16
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn delimiters_of(half: __m128i) -> __m128i {
        let comma = _mm_cmpeq_epi8(half, _mm_set1_epi8(b',' as i8));
        _mm_or_si128(comma, _mm_cmpeq_epi8(half, _mm_set1_epi8(b'}' as i8)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn ends(first: u8, window: &Window) -> Ends {
        let [a, b] = halves(window);
        let quote = _mm_set1_epi8(b'"' as i8);
        let quoted = _mm_cmpeq_epi8(_mm_set1_epi8(first as i8), quote);
        let choose =
            |if_quoted, if_not| _mm_or_si128(_mm_and_si128(quoted, if_quoted), _mm_andnot_si128(quoted, if_not));
        let any_of = |half| bits(choose(special_of(half), delimiters_of(half)));
        let well_of = |half| bits(choose(_mm_cmpeq_epi8(half, quote), delimiters_of(half)));
        Ends {
            any: any_of(a) | any_of(b) << 16,
            well: well_of(a) | well_of(b) << 16,
            beyond_ascii: bits(a) | bits(b) << 16,
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn not_digits(half: &Half) -> u32 {
        let digits = _mm_sub_epi8(vector(half), _mm_set1_epi8(b'0' as i8));
        let low = _mm_cmpeq_epi8(digits, _mm_min_epu8(digits, _mm_set1_epi8(9)));
        bits(low) ^ 0xFFFF
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn digits_value(half: &Half, mask: &Half) -> u64 {
        let digits = _mm_and_si128(vector(half), vector(mask));
        // Neighbours become one number, three times: sixteen digits, eight numbers below 100, four below 10,000, two.
        let zero = _mm_setzero_si128();
        let tens = _mm_set1_epi32(1 << 16 | 10);
        let low = _mm_madd_epi16(_mm_unpacklo_epi8(digits, zero), tens);
        let high = _mm_madd_epi16(_mm_unpackhi_epi8(digits, zero), tens);
        let twos = _mm_packs_epi32(low, high);
        let fours = _mm_madd_epi16(twos, _mm_set1_epi32(1 << 16 | 100));
        let eights = _mm_madd_epi16(_mm_packs_epi32(fours, zero), _mm_set1_epi32(1 << 16 | 10_000));
        let eights = _mm_cvtsi128_si64(eights) as u64;
        (eights & 0xFFFF_FFFF) * 100_000_000 + (eights >> 32)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn halves(window: &Window) -> [__m128i; 2] {
        let (low, high) = window.split_first_chunk().expect("a window has two halves");
        [vector(low), vector(high.first_chunk().expect("a window has two halves"))]
    }

    /// Without a pointer; the compiler makes one load of it.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn vector(half: &Half) -> __m128i {
        let both = u128::from_le_bytes(*half);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(mask: __m128i) -> u32 {
        _mm_movemask_epi8(mask) as u32
    }
}

/// By arithmetic on words of eight bytes ("Bit Twiddling Hacks"). A truth is the top bit of its byte.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    use std::hint::select_unpredictable;

    use super::{Ends, Half, WIDTH, Window};

    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;

    pub(super) fn equal(a: &Window, b: &Window) -> u32 {
        over(a, |at, word| zeros(word ^ word_at(b, at)))
    }

    pub(super) fn special(window: &Window) -> (u32, u32) {
        let special = over(window, |_, word| {
            zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) | below(word, 0x20)
        });
        (special, over(window, |_, word| word & TOPS))
    }

    pub(super) fn delimiters(window: &Window) -> u32 {
        over(window, |_, word| zeros(word ^ (ONES * b',' as u64)) | zeros(word ^ (ONES * b'}' as u64)))
    }

    pub(super) fn ends(first: u8, window: &Window) -> Ends {
        let ((special, beyond_ascii), delimiters) = (special(window), delimiters(window));
        let quotes = over(window, |_, word| zeros(word ^ (ONES * b'"' as u64)));
        let quoted = first == b'"';
        let choose = |if_quoted, if_not| select_unpredictable(quoted, if_quoted, if_not);
        Ends { any: choose(special, delimiters), well: choose(quotes, delimiters), beyond_ascii }
    }

    pub(super) fn not_digits(half: &Half) -> u32 {
        over(half, |_, word| below(word, b'0') | (below(word, b'9' + 1) ^ TOPS))
    }

    pub(super) fn digits_value(half: &Half, mask: &Half) -> u64 {
        let eight = |at: usize| {
            let digits = word_at(half, at) & word_at(mask, at);
            let twos = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
            let fours = (twos * 100 + (twos >> 16)) & 0x0000_FFFF_0000_FFFF;
            (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF
        };
        eight(0) * 100_000_000 + eight(8)
    }

    /// The truths that `ask` finds of each word, which starts at some byte, as bits.
    fn over(bytes: &[u8], ask: impl Fn(usize, u64) -> u64) -> u32 {
        let words = (0..bytes.len()).step_by(8);
        words.fold(0, |bits, at| {
            // Each top bit moves to its place in the last byte; no two meet.
            let truths = (ask(at, word_at(bytes, at)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits | (truths as u32) << at
        })
    }

    fn word_at(bytes: &[u8], at: usize) -> u64 {
        debug_assert!(at + 8 <= bytes.len() && bytes.len() <= WIDTH, "a word of a window");
        bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
    }

    /// Which bytes are zero: without their top bit they carry nothing into it.
    fn zeros(word: u64) -> u64 {
        !(((word & !TOPS) + !TOPS) | word) & TOPS
    }

    /// Which bytes are below `limit`, at most 128: those in ASCII that carry nothing when what is missing to 128 is added.
    fn below(word: u64, limit: u8) -> u64 {
        !(((word & !TOPS) + ONES * u64::from(128 - limit)) | word) & TOPS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            proptest::sample::select(b"/0129:,-}~\"\\!#[]\x00\x1F\x20\x7F\x80\xAF\xB0\xFF".to_vec()),
            any::<u8>()
        ]
    }

    fn answer(bytes: &[u8], ask: impl Fn(usize, u8) -> bool) -> u32 {
        bytes.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u32::from(ask(at, byte)) << at)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn all_at_once_are_what_each_is(bytes in proptest::array::uniform32(byte()), others in proptest::array::uniform32(byte())) {
            let same = answer(&bytes, |at, byte| byte == others[at]);
            prop_assert_eq!((equal(&bytes, &others), words::equal(&bytes, &others)), (same, same));
            let special_bytes = answer(&bytes, |_, byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let expected = (special_bytes, answer(&bytes, |_, byte| !byte.is_ascii()));
            prop_assert_eq!((special(&bytes), words::special(&bytes)), (expected, expected));
            let expected = answer(&bytes, |_, byte| b",}".contains(&byte));
            prop_assert_eq!((delimiters(&bytes), words::delimiters(&bytes)), (expected, expected));
            let beyond_ascii = answer(&bytes, |_, byte| !byte.is_ascii());
            let quotes = answer(&bytes, |_, byte| byte == b'"');
            for (first, any, well) in [(b'"', special_bytes, quotes), (b'1', expected, expected)] {
                let expected = Ends { any, well, beyond_ascii };
                prop_assert_eq!((ends(first, &bytes), words::ends(first, &bytes)), (expected, expected));
            }
            let half: Half = *bytes.first_chunk().expect("half of it");
            let expected = answer(&half, |_, byte| !byte.is_ascii_digit());
            prop_assert_eq!((not_digits(&half), words::not_digits(&half)), (expected, expected));
        }

        #[test]
        fn sixteen_digits_are_one_number(value in 0..10_u64.pow(16), before in 0..16_usize, other in any::<u8>()) {
            let value = value % 10_u64.pow(16 - before as u32);
            let mut half: Half = *format!("{value:016}").as_bytes().first_chunk().expect("16 digits");
            half[..before].fill(other);
            let mut mask = [0x0F; 16];
            mask[..before].fill(0);
            prop_assert_eq!((digits_value(&half, &mask), words::digits_value(&half, &mask)), (value, value));
        }
    }
}
