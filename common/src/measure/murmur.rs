//! MurmurHash3 x64 128 with the seed of Apache DataSketches, so that our sketches and theirs see the same hashes.
//!
//! Austin Appleby's `MurmurHash3_x64_128` (public domain, smhasher), whose two halves both start from the seed.

/// The seed of Apache DataSketches' updates (`DEFAULT_UPDATE_SEED`).
const SEED: u64 = 9001;

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The 128 bits of the hash of `bytes`, low half first.
pub(super) fn hash(bytes: &[u8]) -> [u64; 2] {
    let (mut h1, mut h2) = (SEED, SEED);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        h1 ^= mix_low(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix_high(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    h2 ^= mix_high(word(high));
    h1 ^= mix_low(word(low));
    finish(h1, h2, bytes.len() as u64)
}

/// [`hash`] of the eight bytes of `value`, little-endian.
#[inline]
pub(super) fn hash_word(value: u64) -> [u64; 2] {
    finish(SEED ^ mix_low(value), SEED, 8)
}

/// At most eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[inline]
fn mix_low(word: u64) -> u64 {
    word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

#[inline]
fn mix_high(word: u64) -> u64 {
    word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

#[inline]
fn finish(h1: u64, h2: u64, length: u64) -> [u64; 2] {
    let (h1, h2) = (h1 ^ length, h2 ^ length);
    let h1 = h1.wrapping_add(h2);
    let h2 = h2.wrapping_add(h1);
    let (h1, h2) = (avalanche(h1), avalanche(h2));
    let h1 = h1.wrapping_add(h2);
    [h1, h2.wrapping_add(h1)]
}

#[inline]
fn avalanche(mut k: u64) -> u64 {
    k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_hashes_as_its_bytes_do() {
        for value in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(hash_word(value), hash(&value.to_le_bytes()));
        }
    }

    #[test]
    fn every_length_of_tail_counts() {
        let bytes: Vec<u8> = (0..64).collect();
        let hashes: std::collections::BTreeSet<_> = (0..=64).map(|length| hash(&bytes[..length])).collect();
        assert_eq!(hashes.len(), 65);
    }
}
