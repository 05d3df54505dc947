//! Canonical order: sorting groups by key columns that do not fit one number.

use std::{cmp::Ordering, mem, ops::AddAssign};

/// Makes each of `counts` the sum of those before it: from how many rows each group has to where its rows start, once they are
/// sorted by group.
#[inline(always)]
pub(super) fn starts<T: Copy + Default + AddAssign>(counts: &mut [T]) {
    let mut start = T::default();
    for count in counts {
        start += mem::replace(count, start);
    }
}

/// Groups to be sorted by columns in turn. Each column takes as few bits as its values need, so that nearly always one
/// 128-bit number a group decides.
#[derive(Debug)]
pub(super) struct Order {
    groups: usize,
    /// Numbers to compare in turn, one a group each.
    packed: Vec<Vec<u128>>,
    /// Bits that are taken in the last of them.
    used: u32,
}

impl Order {
    pub(super) fn new(groups: usize) -> Self {
        Self { groups, packed: vec![vec![0; groups]], used: 0 }
    }

    /// Where all columns so far are equal, orders by `column`, `None` first.
    pub(super) fn then_by(&mut self, column: Vec<Option<u64>>) {
        let values = || column.iter().flatten().copied();
        let (Some(least), Some(greatest)) = (values().min(), values().max()) else { return };
        let bits = 128 - (u128::from(greatest - least) + 1).leading_zeros();
        if self.used + bits > 128 {
            self.packed.push(vec![0; self.groups]);
            self.used = 0;
        }
        self.used += bits;
        let packed = self.packed.last_mut().expect("there is one from the start");
        for (packed, value) in packed.iter_mut().zip(column) {
            *packed = *packed << bits | value.map_or(0, |value| u128::from(value - least) + 1);
        }
    }

    /// The groups in order. No two may be equal in all columns.
    pub(super) fn sort(self) -> Vec<u32> {
        match &self.packed[..] {
            [packed] => sort_by_key(packed.clone()),
            all => {
                let compare = |a: &u32, b: &u32| {
                    let (a, b) = (*a as usize, *b as usize);
                    all.iter().map(|p| p[a].cmp(&p[b])).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
                };
                let mut order: Vec<u32> = (0..self.groups as u32).collect();
                order.sort_unstable_by(compare);
                order
            }
        }
    }
}

/// The groups in the order of their keys, `keys[group]` being that of each; equal ones in the order they came. `keys` are in that
/// order then, too.
///
/// Where key and number fit one word, as they do nearly always, by the digits of the words, the last first: no word is
/// compared with another.
pub(super) fn sort_by_word(keys: &mut Vec<u64>) -> Vec<u32> {
    let key_bits = u64::BITS - keys.iter().max().map_or(64, |greatest| greatest.leading_zeros());
    let number_bits = u64::BITS - (keys.len() as u64).leading_zeros();
    if key_bits + number_bits > u64::BITS {
        let order = sort_by_key(keys.clone());
        *keys = order.iter().map(|&group| keys[group as usize]).collect();
        return order;
    }
    let mut words = mem::take(keys);
    words.iter_mut().zip(0..).for_each(|(word, number)| *word = word.unbounded_shl(number_bits) | number);
    if words.len() < DIGITS_MIN {
        words.sort_unstable();
    } else {
        let mut sorted = vec![0; words.len()];
        for shift in (number_bits..number_bits + key_bits).step_by(DIGIT_BITS as usize) {
            if sort_by_digit(&words, shift, &mut sorted) {
                mem::swap(&mut words, &mut sorted);
            }
        }
    }
    let numbers = (1_u64 << number_bits) - 1;
    let order = words.iter().map(|word| (word & numbers) as u32).collect();
    words.iter_mut().for_each(|word| *word >>= number_bits);
    *keys = words;
    order
}

/// Fewer words than this are sorted as fast by comparing them.
const DIGITS_MIN: usize = if cfg!(test) { 8 } else { 1 << 9 };

const DIGIT_BITS: u32 = 8;

/// Puts `words` in the order of one digit; false if all have the same, and nothing was done.
fn sort_by_digit(words: &[u64], shift: u32, sorted: &mut [u64]) -> bool {
    let digit = |word: u64| (word >> shift) as u8 as usize;
    let mut next = [0_usize; 1 << DIGIT_BITS];
    words.iter().for_each(|&word| next[digit(word)] += 1);
    if next.contains(&words.len()) {
        return false;
    }
    starts(&mut next);
    for &word in words {
        let at = &mut next[digit(word)];
        sorted[*at] = word;
        *at += 1;
    }
    true
}

/// The groups in the order of their keys, `keys[group]` being that of each.
fn sort_by_key<K: Ord + Copy>(keys: Vec<K>) -> Vec<u32> {
    let mut keyed: Vec<(K, u32)> = keys.into_iter().zip(0..).collect();
    // Stable, because that sort merges stretches that are in order already, of which groups that were sorted in parts are.
    keyed.sort_by_key(|&(key, _)| key);
    keyed.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![
            Just(None),
            Just(Some(0)),
            Just(Some(u64::MAX)),
            any::<u64>().prop_map(Some),
            (0..3_u64).prop_map(Some)
        ]
    }

    proptest! {
        #[test]
        fn words_are_sorted_as_a_stable_sort_does(bits in 0..=64_u32, keys in prop::collection::vec(any::<u64>(), 0..60)) {
            let keys: Vec<u64> = keys.into_iter().map(|key| key.unbounded_shr(64 - bits)).collect();
            let (mut sorted, order) = (keys.clone(), sort_by_key(keys.clone()));
            prop_assert_eq!(&sort_by_word(&mut sorted), &order);
            prop_assert_eq!(sorted, order.iter().map(|&group| keys[group as usize]).collect::<Vec<_>>());
        }

        #[test]
        fn the_order_is_that_of_the_tuples(width in 1..5_usize, values in prop::collection::vec(any_value(), 0..200)) {
            let mut rows: Vec<&[Option<u64>]> = values.chunks_exact(width).collect();
            rows.sort_unstable();
            rows.dedup();
            let mut shuffled: Vec<_> = rows.iter().rev().copied().collect();
            let half = shuffled.len() / 2;
            shuffled.rotate_left(half);
            let mut order = Order::new(shuffled.len());
            (0..width).for_each(|at| order.then_by(shuffled.iter().map(|row| row[at]).collect()));
            let sorted: Vec<_> = order.sort().into_iter().map(|group| shuffled[group as usize]).collect();
            prop_assert_eq!(sorted, rows);
        }
    }
}
