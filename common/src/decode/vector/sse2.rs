//! Answers by the instructions of SSE2, which every x86-64 has.

use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi128_si64, _mm_madd_epi16, _mm_min_epu8,
    _mm_movemask_epi8, _mm_or_si128, _mm_packs_epi32, _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi32, _mm_setzero_si128,
    _mm_sub_epi8, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
};

use super::{Chunk, Half, Marks, Unusual};

#[inline]
#[target_feature(enable = "sse2")]
pub(in super::super) fn marks(chunk: &Chunk) -> Marks {
    let ends = |quarter| {
        // `]` and `}` differ in one bit.
        let bracket = _mm_or_si128(quarter, _mm_set1_epi8(0x20));
        _mm_or_si128(is(quarter, b','), is(bracket, b'}'))
    };
    // Beyond ASCII is below zero.
    let unusual = |quarter| _mm_or_si128(_mm_cmplt_epi8(quarter, _mm_set1_epi8(0x20)), is(quarter, b'\\'));
    Marks {
        quotes: over(chunk, |quarter| is(quarter, b'"')),
        ends: over(chunk, ends),
        unusual: over(chunk, unusual) != 0,
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(in super::super) fn unusual(chunk: &Chunk) -> Unusual {
    Unusual {
        backslashes: over(chunk, |quarter| is(quarter, b'\\')),
        controls: over(chunk, |quarter| _mm_cmpeq_epi8(quarter, _mm_min_epu8(quarter, _mm_set1_epi8(0x1F)))),
        beyond_ascii: over(chunk, |quarter| quarter),
    }
}

pub(in super::super) use super::prefix_xor;

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn same(half: &Half, other: &Half) -> u32 {
    bits(_mm_cmpeq_epi8(vector(half), vector(other)))
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

/// The top bits of what `ask` makes of each sixteen bytes.
#[inline]
#[target_feature(enable = "sse2")]
fn over(chunk: &Chunk, ask: impl Fn(__m128i) -> __m128i) -> u64 {
    let (quarters, _) = chunk.as_chunks();
    (0..).step_by(16).zip(quarters).fold(0, |all, (at, quarter)| all | u64::from(bits(ask(vector(quarter)))) << at)
}

#[inline]
#[target_feature(enable = "sse2")]
fn is(bytes: __m128i, byte: u8) -> __m128i {
    _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))
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
