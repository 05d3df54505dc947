//! Answers by arithmetic on words of eight bytes ("Bit Twiddling Hacks"). A truth is the top bit of its byte.

use super::{CHUNK, Chunk, Half, Marks, Unusual};

const ONES: u64 = u64::from_le_bytes([1; 8]);
const TOPS: u64 = ONES << 7;

pub(in super::super) fn marks(chunk: &Chunk) -> Marks {
    let Unusual { backslashes, controls, beyond_ascii } = unusual(chunk);
    Marks {
        quotes: over(chunk, |word| is(word, b'"')),
        // `]` and `}` differ in one bit.
        ends: over(chunk, |word| is(word, b',') | is(word | (ONES * 0x20), b'}')),
        unusual: backslashes | controls | beyond_ascii != 0,
    }
}

pub(in super::super) fn unusual(chunk: &Chunk) -> Unusual {
    Unusual {
        backslashes: over(chunk, |word| is(word, b'\\')),
        controls: over(chunk, |word| below(word, 0x20)),
        beyond_ascii: over(chunk, |word| word & TOPS),
    }
}

pub(in super::super) use super::prefix_xor;

pub(super) fn same(half: &Half, other: &Half) -> u32 {
    let differs: Half = std::array::from_fn(|at| half[at] ^ other[at]);
    over(&differs, zeros) as u32
}

pub(super) fn not_digits(half: &Half) -> u32 {
    over(half, |word| below(word, b'0') | (below(word, b'9' + 1) ^ TOPS)) as u32
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

/// The truths that `ask` finds of each word, as bits.
fn over(bytes: &[u8], ask: impl Fn(u64) -> u64) -> u64 {
    let words = (0..bytes.len()).step_by(8);
    words.fold(0, |bits, at| {
        // Each top bit moves to its place in the last byte; no two meet.
        let truths = (ask(word_at(bytes, at)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits | truths << at
    })
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    debug_assert!(at + 8 <= bytes.len() && bytes.len() <= CHUNK, "a word of a chunk");
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

fn is(word: u64, byte: u8) -> u64 {
    zeros(word ^ (ONES * u64::from(byte)))
}

/// Which bytes are zero: without their top bit they carry nothing into it.
fn zeros(word: u64) -> u64 {
    !(((word & !TOPS) + !TOPS) | word) & TOPS
}

/// Which bytes are below `limit`, at most 128: those in ASCII that carry nothing when what is missing to 128 is added.
fn below(word: u64, limit: u8) -> u64 {
    !(((word & !TOPS) + ONES * u64::from(128 - limit)) | word) & TOPS
}
