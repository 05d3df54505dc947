//! Questions put to many bytes at once. An answer has a bit for each byte, the first byte's lowest.
//!
//! On x86-64 these are vector instructions: those that every such processor has, and for the marks of whole blocks those of
//! AVX2 where the processor has them. Elsewhere it is arithmetic on words, which is also what the tests hold the others
//! against. Nothing here knows JSON's grammar, and nothing reads memory but through its arguments.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod sse2;
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) mod words;

/// What a number is read from.
pub(super) type Half = [u8; 16];

/// How many bytes are marked at once.
pub(super) const CHUNK: usize = 64;

/// So many bytes.
pub(super) type Chunk = [u8; CHUNK];

/// What is asked of every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) quotes: u64,
    /// Commas and closing brackets, `}` or `]`.
    pub(super) ends: u64,
    /// Whether [`Unusual`] says anything.
    pub(super) unusual: bool,
}

/// What is asked of few chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusual {
    pub(super) backslashes: u64,
    /// Bytes below the space.
    pub(super) controls: u64,
    pub(super) beyond_ascii: u64,
}

/// Whether this processor has AVX2, and what mostly comes with it: BMI1, BMI2, LZCNT, PCLMULQDQ and POPCNT.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("popcnt")
}

/// The half of `bytes` that starts at `at`.
#[inline(always)]
pub(super) fn half_at(bytes: &[u8], at: usize) -> Option<&Half> {
    bytes.get(at..at + size_of::<Half>())?.first_chunk()
}

/// Which bytes are the same in both.
#[inline(always)]
pub(super) fn same(half: &Half, other: &Half) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: x86-64 has SSE2, by its definition.
    let bits = unsafe { sse2::same(half, other) };
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::same(half, other);
    bits
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

/// Each bit becomes whether it and those below it that are set are odd in number: of quotes, what is within them, the first
/// one of each pair included.
#[inline(always)]
pub(super) fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![proptest::sample::select(b"/0129:\x00\x7F\x80\xAF\xB0\xFF".to_vec()), any::<u8>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn all_at_once_are_what_each_is(half in proptest::array::uniform16(byte())) {
            let expected = (0..).zip(half).fold(0, |bits, (at, byte)| bits | u32::from(!byte.is_ascii_digit()) << at);
            prop_assert_eq!((not_digits(&half), words::not_digits(&half)), (expected, expected));
        }

        #[test]
        fn what_is_the_same_is_found(half in proptest::array::uniform16(byte()), other in proptest::array::uniform16(byte())) {
            let expected = (0..).zip(half.iter().zip(&other)).fold(0, |bits, (at, (a, b))| bits | u32::from(a == b) << at);
            prop_assert_eq!((same(&half, &other), words::same(&half, &other)), (expected, expected));
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
