//! Answers by the instructions of AVX2, with those that processors which have it mostly have too. Whoever asks must have
//! found that this one has them all.

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8,
    _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
};

use super::{Chunk, Marks, Unusual};

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
