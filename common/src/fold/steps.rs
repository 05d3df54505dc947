//! Time stamps of which there are few, as small numbers: the buckets of a view.

use hashbrown::HashTable;

use super::index::mix;

/// Values that are found without a search: buckets come and go in order of time, and late events go back by some.
const RECENT: usize = 64;

/// Distinct time stamps, numbered from 0 in the order they came.
#[derive(Debug)]
pub(super) struct Steps {
    values: Vec<i64>,
    table: HashTable<u32>,
    /// Time stamps with their numbers plus one, or 0, by hash.
    recent: [(i64, u32); RECENT],
}

impl Default for Steps {
    fn default() -> Self {
        Self { values: Vec::new(), table: HashTable::new(), recent: [(0, 0); RECENT] }
    }
}

impl Steps {
    /// The number of `value`; the next one if it is new. There may be 2^32 - 2.
    #[inline]
    pub(super) fn number(&mut self, value: i64) -> u32 {
        let at = (mix(value as u64) >> 58) as usize;
        let (recent, number) = self.recent[at];
        if recent == value && number != 0 {
            return number - 1;
        }
        let number = self.search(value);
        self.recent[at] = (value, number + 1);
        number
    }

    #[cold]
    fn search(&mut self, value: i64) -> u32 {
        let Self { values, table, .. } = self;
        let hash = |number: &u32, values: &[i64]| mix(values[*number as usize] as u64);
        if let Some(&number) = table.find(mix(value as u64), |&number| values[number as usize] == value) {
            return number;
        }
        let number = values.len() as u32;
        values.push(value);
        table.insert_unique(mix(value as u64), number, |number| hash(number, values));
        number
    }

    /// The time stamps, by number.
    pub(super) fn values(&self) -> &[i64] {
        &self.values
    }

    /// For each number, how many of the time stamps are before its own.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.values.len() as u32).collect();
        order.sort_unstable_by_key(|&number| self.values[number as usize]);
        let mut ranks = vec![0; order.len()];
        (0..).zip(order).for_each(|(rank, number)| ranks[number as usize] = rank);
        ranks
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<i64>() + self.table.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_numbered_as_they_come_and_ranked_by_time() {
        let mut steps = Steps::default();
        let numbers: Vec<u32> = [7, 0, -3, 7, i64::MAX, 0, i64::MIN].map(|value| steps.number(value)).into();
        assert_eq!(numbers, [0, 1, 2, 0, 3, 1, 4]);
        assert_eq!(steps.ranks(), [3, 2, 1, 4, 0]);
        // More than are remembered.
        for _ in 0..2 {
            for value in 0..1000 {
                let number = steps.number(value * 60_000_000);
                assert_eq!(steps.values()[number as usize], value * 60_000_000);
            }
        }
        assert_eq!(steps.values().len(), 4 + 1000);
    }
}
