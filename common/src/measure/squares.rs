//! `squares`: the exact sum of the inputs' squares, in units of the square of the input's last digit; null of none.
//!
//! With the sum and the count it gives the variance: exact numbers can be subtracted without losing anything, so the textbook
//! formula is as good as any, and its order of adding cannot show.
//!
//! Ints and decimals of up to 18 digits square to at most 126 bits and are summed in 192; doubles, which count in units of
//! 2^-64 as in a sum, and wider decimals square to at most 254 bits and are summed in 320. Fewer than 2^63 inputs cannot
//! overflow either. A double that has no place in fixed point poisons the sum, as in [`sum`](super::sum).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray};

use super::{
    Error, NARROW_SUM,
    accumulator::{Accumulator, only},
    big::Big,
    input::{Input, Values},
    rows::{Rows, grow},
    spec::sum_width,
    sum,
    wide::to_fixed,
};
use crate::schema::ColumnType;

/// Words of the squares of inputs that are summed in 128 bits.
pub(super) const NARROW_WORDS: usize = 3;

/// Words of the squares of all other inputs.
pub(super) const WIDE_WORDS: usize = 5;

/// How many 64-bit words a sum of the squares of such inputs has.
pub(super) fn words(input: ColumnType) -> usize {
    if sum_width(input) == NARROW_SUM { NARROW_WORDS } else { WIDE_WORDS }
}

/// Sums of squares, of `N` words.
#[derive(Debug)]
pub(super) struct Squares<const N: usize> {
    name: String,
    sums: Vec<[u64; N]>,
    seen: Vec<bool>,
}

impl<const N: usize> Squares<N> {
    /// More than any sum: stands for a poisoned one.
    const POISON: [u64; N] = [u64::MAX; N];

    pub(super) fn new(name: String) -> Self {
        Self { name, sums: Vec::new(), seen: Vec::new() }
    }

    /// Adds `value(row)`, of which `None` is poison.
    #[inline(always)]
    fn add(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&arrow::buffer::NullBuffer>,
        value: impl Fn(usize) -> Option<[u64; N]>,
    ) -> Result<(), Error> {
        grow(&mut self.sums, groups, [0; N]);
        grow(&mut self.seen, groups, false);
        let (sums, seen) = (&mut self.sums[..], &mut self.seen[..]);
        let mut over = false;
        rows.for_each(nulls, |row, group| {
            seen[group] = true;
            let sum = &mut sums[group];
            match value(row) {
                Some(value) if *sum != Self::POISON => over |= add(sum, value),
                Some(_) => {}
                None => *sum = Self::POISON,
            }
        });
        if over {
            Err(Error::Overflow { state: self.name.clone(), limit: "what a sum of squares can hold" })
        } else {
            Ok(())
        }
    }
}

impl<const N: usize> Accumulator for Squares<N> {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        let square = |value: i128| Some(low(square(value.unsigned_abs())));
        match input.values() {
            Values::Int(values) => self.add(groups, rows, input.nulls(), |row| square(values[row].into())),
            Values::Double(values) => self.add(groups, rows, input.nulls(), |row| square(to_fixed(values[row])?)),
            Values::Decimal(values) => self.add(groups, rows, input.nulls(), |row| square(values.at(row))),
            _ => unreachable!("squares admit numbers only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sum::sums(&self.name, states, N as i32 * 8)?;
        self.add(groups, rows, states.nulls(), |row| {
            let sum = words_of(states, row);
            (sum != Self::POISON).then_some(sum)
        })
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<[u64; N]>() + self.seen.capacity()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let words = order.iter().flat_map(|&group| self.sums[group as usize]);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let seen: Vec<bool> = order.iter().map(|&group| self.seen[group as usize]).collect();
        self.sums.clear();
        self.seen.clear();
        let nulls = Some(seen.into()).filter(|nulls: &arrow::buffer::NullBuffer| nulls.null_count() > 0);
        Ok(Arc::new(FixedSizeBinaryArray::new(N as i32 * 8, bytes.into(), nulls)))
    }
}

/// `value · value`, least word first.
#[inline]
fn square(value: u128) -> [u64; 4] {
    let (low, high) = (value as u64 as u128, value >> 64);
    let (first, middle, last) = (low * low, low * high, high * high);
    let word = |number: u128| u128::from(number as u64);
    let second = (first >> 64) + 2 * word(middle);
    let third = (second >> 64) + 2 * (middle >> 64) + word(last);
    [first as u64, second as u64, third as u64, ((third >> 64) + (last >> 64)) as u64]
}

/// The lowest words, of which the others are 0.
#[inline]
fn low<const N: usize>(square: [u64; 4]) -> [u64; N] {
    debug_assert!(square.iter().skip(N).all(|&word| word == 0));
    std::array::from_fn(|at| square.get(at).copied().unwrap_or(0))
}

/// Adds `value` to `sum`; whether that overflows.
#[inline]
fn add<const N: usize>(sum: &mut [u64; N], value: [u64; N]) -> bool {
    let mut carry = false;
    for (sum, value) in sum.iter_mut().zip(value) {
        (*sum, carry) = sum.carrying_add(value, carry);
    }
    // All ones is set aside for poison: no sum of fewer than 2^63 inputs comes near it.
    carry || *sum == Squares::<N>::POISON
}

fn words_of<const N: usize>(states: &FixedSizeBinaryArray, row: usize) -> [u64; N] {
    let (words, _) = states.value(row).as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

/// The sum of squares in `row` of a column of `words` words: `None` if it is poisoned.
pub(super) fn sum_of_squares<const B: usize>(
    states: &FixedSizeBinaryArray,
    row: usize,
    words: usize,
) -> Option<Big<B>> {
    let sum: [u64; WIDE_WORDS] = if words == NARROW_WORDS {
        let sum = words_of::<NARROW_WORDS>(states, row);
        if sum == Squares::POISON {
            return None;
        }
        std::array::from_fn(|at| sum.get(at).copied().unwrap_or(0))
    } else {
        words_of(states, row)
    };
    (sum != Squares::POISON).then(|| Big::of(&sum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn squares_are_exact(value in any::<u128>()) {
            prop_assert_eq!(Big::<5>::of(&square(value)), Big::from(value).squared());
        }
    }

    #[test]
    fn sums_carry_through_all_words() {
        let mut sum = [u64::MAX, u64::MAX, 0];
        assert!(!add(&mut sum, [1, 0, 0]));
        assert_eq!(sum, [0, 0, 1]);
        assert!(add(&mut [u64::MAX; 3], [1, 0, 0]));
        assert!(add(&mut [u64::MAX - 1, u64::MAX, u64::MAX], [1, 0, 0]));
    }
}
