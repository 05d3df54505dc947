//! Where a group belongs when groups are spread over parts: a hash of its dimensions, its bucket left aside.
//!
//! The hash is a part of the format of a generation: equal groups are in the part of the same number whatever made them.
//! That of a text is XXH3-64, that of a null 0, that of any other value its bits folded; they are chained in the order of
//! the dimensions.

use arrow::array::Array;
use xxhash_rust::xxh3::xxh3_64;

use super::{column::Picked, index::mix};
use crate::measure::input::{Input, Values, text, to_ordered};

/// Adds one hash for each picked row to `hashes`.
pub(super) fn hash(dimensions: &[&Input], picked: Picked<'_>, hashes: &mut Vec<u64>) {
    let from = hashes.len();
    hashes.resize(from + picked.len(), 0);
    for dimension in dimensions {
        chain(dimension, picked, &mut hashes[from..]);
    }
}

fn chain(dimension: &Input, picked: Picked<'_>, hashes: &mut [u64]) {
    match dimension.values() {
        Values::Int(values) => chain_each(dimension, picked, hashes, |row| mix(values[row] as u64)),
        Values::Double(values) => chain_each(dimension, picked, hashes, |row| mix(to_ordered(values[row]) as u64)),
        Values::Bool(values) => chain_each(dimension, picked, hashes, |row| mix(u64::from(values.value(row)))),
        Values::Decimal(values) => chain_each(dimension, picked, hashes, |row| {
            mix(values[row] as u64).wrapping_add(mix((values[row] >> 64) as u64).rotate_left(32))
        }),
        Values::Text(values) => chain_each(dimension, picked, hashes, |row| xxh3_64(text(values, row))),
        Values::Coded(codes, values) if values.len() <= picked.len() => {
            let of_code: Vec<u64> = (0..values.len()).map(|code| xxh3_64(text(values, code))).collect();
            chain_each(dimension, picked, hashes, |row| of_code[codes[row] as usize]);
        }
        Values::Coded(codes, values) => {
            chain_each(dimension, picked, hashes, |row| xxh3_64(text(values, codes[row] as usize)));
        }
    }
}

#[inline(always)]
fn chain_each(dimension: &Input, picked: Picked<'_>, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    let mut hashes = hashes.iter_mut();
    let mut chain = |value: u64| {
        if let Some(hash) = hashes.next() {
            *hash = mix(*hash ^ value);
        }
    };
    match dimension.nulls() {
        None => picked.each(|row| chain(value(row))),
        Some(nulls) => picked.each(|row| chain(if nulls.is_valid(row) { value(row) } else { 0 })),
    }
}

/// How many shards the groups of one view are spread over in memory: so many that one of them stays in a core's cache
/// while it is folded, however many groups the whole has.
pub(super) const SHARDS: usize = 256;

/// The shard of a hash: its first bits. So a part of a chunk is a run of shards.
#[inline]
pub(super) fn shard_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}
