//! A number of each group that others are added to: in half of the bits as long as they hold every group's.

use std::fmt::Debug;

use arrow::buffer::NullBuffer;

use super::{
    rows::{Rows, grow},
    seen::each,
};

/// An int that sums are kept in.
pub(super) trait Number: Copy + Default + Debug + Send + Sync + 'static {
    /// The sum, if it fits.
    fn plus(self, other: Self) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Number for $number {
            #[inline(always)]
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
        }
    )*};
}

numbers!(u32, i64, i128);

/// See the module: `S` is half as wide as `L`.
#[derive(Debug, Default)]
pub(super) struct Widening<S, L> {
    short: Vec<S>,
    long: Option<Vec<L>>,
}

/// A sum is past the width of the wider numbers.
#[derive(Debug)]
pub(super) struct Overflowed;

impl<S: Number, L: Number + From<S>> Widening<S, L> {
    /// Adds `value(row)` to each row's group, of which there are `groups` now; nearly always it fits the shorter numbers. For `seen`
    /// see [`each`].
    #[inline(always)]
    pub(super) fn add<V: Copy + TryInto<S> + Into<L>>(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        seen: Option<&mut [bool]>,
        value: impl Fn(usize) -> V,
    ) -> Result<(), Overflowed> {
        if let Some(long) = &mut self.long {
            grow(long, groups, L::default());
            let mut over = false;
            each(rows, nulls, seen, |row, group| match long[group].plus(value(row).into()) {
                Some(sum) => long[group] = sum,
                None => over = true,
            });
            return if over { Err(Overflowed) } else { Ok(()) };
        }
        grow(&mut self.short, groups, S::default());
        let short = &mut self.short[..];
        let mut left = Vec::new();
        each(rows, nulls, seen, |row, group| {
            let value = value(row);
            match value.try_into().ok().and_then(|value| short[group].plus(value)) {
                Some(sum) => short[group] = sum,
                None => left.push((group, value.into())),
            }
        });
        if left.is_empty() { Ok(()) } else { self.lengthen(&left) }
    }

    /// Makes room for the wider numbers and adds what did not fit the shorter ones.
    #[cold]
    fn lengthen(&mut self, left: &[(usize, L)]) -> Result<(), Overflowed> {
        let mut long: Vec<L> = std::mem::take(&mut self.short).into_iter().map(L::from).collect();
        for &(group, value) in left {
            long[group] = long[group].plus(value).ok_or(Overflowed)?;
        }
        self.long = Some(long);
        Ok(())
    }

    /// The number of a group.
    #[inline(always)]
    pub(super) fn of(&self, group: usize) -> L {
        match &self.long {
            Some(long) => long[group],
            None => self.short[group].into(),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.short.capacity() * size_of::<S>() + self.long.as_ref().map_or(0, Vec::capacity) * size_of::<L>()
    }

    /// Forgets the groups.
    pub(super) fn clear(&mut self) {
        self.short.clear();
        self.long = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_up_to_the_ends_of_the_wider_ones() {
        let mut counts = Widening::<u32, i64>::default();
        let groups = [0, 1, 0];
        let rows = Rows::all(&groups);
        let max = i64::from(u32::MAX);
        counts.add(2, rows, None, None, |row| [max - 1, 7, 1][row]).unwrap();
        assert_eq!((counts.of(0), counts.of(1), counts.bytes()), (max, 7, 8));
        counts.add(2, rows, None, None, |row| [1_u32, 0, 1][row]).unwrap();
        assert_eq!((counts.of(0), counts.of(1), counts.bytes()), (max + 2, 7, 16));
        counts.add(2, rows, None, None, |_| i64::MAX).unwrap_err();
    }
}
