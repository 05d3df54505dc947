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
        chain_all(dimension, picked, &mut hashes[from..]);
    }
}

/// The hash of a value that is a number, or has one that orders as it does.
#[inline]
pub(super) fn of_number(number: i64) -> u64 {
    mix(number as u64)
}

/// The hash of a decimal by its units, however few bits hold them.
#[inline]
pub(super) fn of_decimal(units: i128) -> u64 {
    mix(units as u64).wrapping_add(mix((units >> 64) as u64).rotate_left(32))
}

pub(super) fn of_text(text: &[u8]) -> u64 {
    xxh3_64(text)
}

/// The hash of the dimensions so far and one more.
#[inline]
pub(super) fn chain(hash: u64, value: u64) -> u64 {
    mix(hash ^ value)
}

fn chain_all(dimension: &Input, picked: Picked<'_>, hashes: &mut [u64]) {
    match dimension.values() {
        Values::Int(values) => chain_each(dimension, picked, hashes, |row| of_number(values[row])),
        Values::Double(values) => chain_each(dimension, picked, hashes, |row| of_number(to_ordered(values[row]))),
        Values::Bool(values) => chain_each(dimension, picked, hashes, |row| of_number(i64::from(values.value(row)))),
        Values::Decimal(values) => chain_each(dimension, picked, hashes, |row| of_decimal(values.at(row))),
        Values::Text(values) => chain_each(dimension, picked, hashes, |row| of_text(text(values, row))),
        Values::Coded(codes, values) if values.len() <= picked.len() => {
            let of_code: Vec<u64> = (0..values.len()).map(|code| of_text(text(values, code))).collect();
            chain_each(dimension, picked, hashes, |row| of_code[codes[row] as usize]);
        }
        Values::Coded(codes, values) => {
            chain_each(dimension, picked, hashes, |row| of_text(text(values, codes[row] as usize)));
        }
    }
}

#[inline(always)]
fn chain_each(dimension: &Input, picked: Picked<'_>, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    let mut hashes = hashes.iter_mut();
    let mut next = |value: u64| {
        if let Some(hash) = hashes.next() {
            *hash = chain(*hash, value);
        }
    };
    match dimension.nulls() {
        None => picked.each(|row| next(value(row))),
        Some(nulls) => picked.each(|row| next(if nulls.is_valid(row) { value(row) } else { 0 })),
    }
}

/// How many shards the groups of one view are spread over in memory: so many that one of them stays in a core's cache
/// while it is folded, however many groups the whole has.
pub const SHARDS: usize = 256;

/// The shard of a hash: its first bits. So a part of a chunk is a run of shards.
#[inline]
pub(super) fn shard_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}
