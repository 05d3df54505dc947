//! Answers by the instructions of AVX2, with those that processors which have it mostly have too. Whoever asks must have
//! found that this one has them all.

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_add_epi64,
    _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_loadu_si256, _mm256_loadu2_m128i, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_min_epu8,
    _mm256_movemask_epi8, _mm256_mul_epu32, _mm256_or_si256, _mm256_packus_epi32, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_si256, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_sub_epi8, _mm256_subs_epu8, _mm256_testz_si256, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::{Chunk, Half, Marks, Unusual, half_at};

/// A half, and the byte before it.
pub(in super::super) type Tail = [u8; 17];

/// How many numbers are read at once.
pub(in super::super) const FOUR: usize = 4;

#[inline]
#[target_feature(enable = "avx2")]
pub(in super::super) fn marks(chunk: &Chunk) -> Marks {
    let ends = |half| {
        // `]` and `}` differ in one bit.
        let bracket = _mm256_or_si256(half, _mm256_set1_epi8(0x20));
        _mm256_or_si256(is(half, b','), is(bracket, b'}'))
    };
    // Beyond ASCII is below zero.
    let unusual = |half| _mm256_or_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), half), is(half, b'\\'));
    let [low, high] = halves(chunk);
    Marks {
        quotes: over(chunk, |half| is(half, b'"')),
        ends: over(chunk, ends),
        unusual: _mm256_movemask_epi8(_mm256_or_si256(unusual(low), unusual(high))) != 0,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in super::super) fn unusual(chunk: &Chunk) -> Unusual {
    Unusual {
        backslashes: over(chunk, |half| is(half, b'\\')),
        controls: over(chunk, |half| _mm256_cmpeq_epi8(half, _mm256_min_epu8(half, _mm256_set1_epi8(0x1F)))),
        beyond_ascii: over(chunk, |half| half),
    }
}

/// As [`super::prefix_xor`]: a multiplication without carries by a number of ones.
#[inline]
#[target_feature(enable = "pclmulqdq")]
pub(in super::super) fn prefix_xor(bits: u64) -> u64 {
    let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1));
    _mm_cvtsi128_si64(product) as u64
}

/// The top bits of what `ask` makes of each 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn over(chunk: &Chunk, ask: impl Fn(__m256i) -> __m256i) -> u64 {
    let [low, high] = halves(chunk);
    let (low, high) = (_mm256_movemask_epi8(ask(low)) as u32, _mm256_movemask_epi8(ask(high)) as u32);
    u64::from(low) | u64::from(high) << 32
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(chunk: &Chunk) -> [__m256i; 2] {
    let (halves, _) = chunk.as_chunks::<32>();
    let load = |half: &[u8; 32]| {
        // SAFETY: the instruction reads 32 bytes from where the pointer leads, at any alignment: those of the array.
        unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
    };
    [load(&halves[0]), load(&halves[1])]
}

/// For a length of at most sixteen, which of the last bytes of sixteen are of that length: from the byte of its number on.
const LAST: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut at = 16;
    while at < 32 {
        bytes[at] = 0xFF;
        at += 1;
    }
    bytes
};

/// Likewise, which is the first of these.
const FIRST: [u8; 33] = {
    let mut bytes = [0; 33];
    bytes[16] = 0xFF;
    bytes
};

/// The numbers that end where `tails` end, written in so many bytes each: a sign or none, digits, and with `POINT` so many
/// `places` after a point; at least one digit before that, and no zero before others. `None` if one of them is not written so, or
/// in more than sixteen bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(in super::super) fn numbers<const POINT: bool>(
    tails: [&Tail; FOUR],
    lengths: [usize; FOUR],
    places: usize,
) -> Option<[i64; FOUR]> {
    let least = places + 1 + usize::from(POINT);
    let fits = |length: usize| length.wrapping_sub(least) <= 16 - least;
    if least > 16 || !(fits(lengths[0]) && fits(lengths[1]) && fits(lengths[2]) && fits(lengths[3])) {
        return None;
    }
    let pair =
        |low: usize, high: usize| Pair::read::<POINT>([tails[low], tails[high]], [lengths[low], lengths[high]], places);
    // In this order the four come together in theirs.
    let (even, odd) = (pair(0, 2)?, pair(1, 3)?);
    let wrong = _mm256_or_si256(even.wrong, odd.wrong);
    if _mm256_testz_si256(wrong, wrong) == 0 {
        return None;
    }
    let mut numbers = [0; FOUR];
    let values = _mm256_unpacklo_epi64(even.values(), odd.values());
    // SAFETY: the instruction writes 32 bytes to where the pointer leads, at any alignment: those of the array.
    unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), values) };
    let (even, odd) = (_mm256_movemask_epi8(even.negative) as u32, _mm256_movemask_epi8(odd.negative) as u32);
    if even | odd != 0 {
        for (number, signs) in numbers.iter_mut().zip([even << 16, odd << 16, even >> 16, odd >> 16]) {
            *number = if signs != 0 { -*number } else { *number };
        }
    }
    Some(numbers)
}

/// Two numbers, each in a half of its own.
struct Pair {
    /// What each of the last bytes says; zeros before these.
    digits: __m256i,
    /// Where a sign is.
    negative: __m256i,
    /// No zero where something is not as it should be.
    wrong: __m256i,
}

impl Pair {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn read<const POINT: bool>(tails: [&Tail; 2], lengths: [usize; 2], places: usize) -> Option<Self> {
        let written = two(tails.map(|tail| tail.last_chunk().expect("a tail has a half")));
        let whole = two([half_at(&LAST, places + 1)?; 2]);
        let (written, wrong) = if POINT {
            // What is before the point moves up to it.
            let moved = two(tails.map(|tail| tail.first_chunk().expect("a tail has a half")));
            let point = two([half_at(&FIRST, places + 1)?; 2]);
            let fraction = _mm256_andnot_si256(point, whole);
            let wrong = _mm256_andnot_si256(is(written, b'.'), point);
            (_mm256_blendv_epi8(moved, written, fraction), wrong)
        } else {
            (written, _mm256_setzero_si256())
        };
        let [low, high] = lengths.map(|length| length - usize::from(POINT));
        let last = two([half_at(&LAST, low)?, half_at(&LAST, high)?]);
        let first = two([half_at(&FIRST, low)?, half_at(&FIRST, high)?]);
        let negative = _mm256_and_si256(is(written, b'-'), first);
        let values = _mm256_sub_epi8(written, _mm256_set1_epi8(b'0' as i8));
        let digits = _mm256_andnot_si256(negative, _mm256_and_si256(values, last));
        // The first digit: it is not zero, unless it is the last before the point, as the sign may not be.
        let first = _mm256_xor_si256(_mm256_xor_si256(first, negative), _mm256_slli_si256::<1>(negative));
        let zero = _mm256_cmpeq_epi8(digits, _mm256_setzero_si256());
        let zero_first = _mm256_andnot_si256(whole, _mm256_and_si256(zero, first));
        let no_digit = _mm256_subs_epu8(digits, _mm256_set1_epi8(9));
        let sign_last = _mm256_and_si256(negative, whole);
        let wrong = _mm256_or_si256(_mm256_or_si256(wrong, zero_first), _mm256_or_si256(no_digit, sign_last));
        Some(Self { digits, negative, wrong })
    }

    /// The numbers without their signs, each in both words of its half.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn values(&self) -> __m256i {
        // Neighbours become one number, four times.
        let twos = _mm256_maddubs_epi16(self.digits, _mm256_set1_epi16(1 << 8 | 10));
        let fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(1 << 16 | 100));
        let eights = _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(1 << 16 | 10_000));
        let upper = _mm256_mul_epu32(eights, _mm256_set1_epi64x(100_000_000));
        _mm256_add_epi64(upper, _mm256_srli_epi64::<32>(eights))
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn two([low, high]: [&Half; 2]) -> __m256i {
    // SAFETY: the instruction reads sixteen bytes from where each pointer leads, at any alignment: those of the arrays.
    unsafe { _mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast()) }
}
