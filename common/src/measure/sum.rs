//! `sum`: exact integers in units of the input's last digit, so that the order of addition cannot show.
//!
//! Ints and decimals of up to 18 digits are summed in 128 bits, wider decimals and doubles (fixed point, units of 2^-64)
//! in 192: fewer than 2^63 inputs cannot overflow either, so overflow is a matter of finishing. A double that has no
//! place in fixed point poisons its sum: the poisoned sum absorbs all others and is finished as null.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray},
    buffer::{Buffer, NullBuffer},
    datatypes::DataType,
};

use super::{
    Error, NARROW_SUM, WIDE_SUM,
    accumulator::{Accumulator, only},
    input::{Input, Units, Values},
    rows::{Rows, grow},
    seen::Seen,
    wide::{Wide, to_fixed},
};

fn overflow(name: &str, limit: &'static str) -> Error {
    Error::Overflow { state: name.to_owned(), limit }
}

/// Calls `visit(row, group)` for every row that is not null, and notes in `seen`, if it is kept, that its group has an input.
#[inline(always)]
fn each(rows: Rows<'_>, nulls: Option<&NullBuffer>, seen: Option<&mut [bool]>, mut visit: impl FnMut(usize, usize)) {
    match seen {
        None => rows.for_each(nulls, visit),
        Some(seen) => rows.for_each(nulls, |row, group| {
            seen[group] = true;
            visit(row, group);
        }),
    }
}

/// Sums in 128 bits, of which 64 are kept as long as they hold every group's.
#[derive(Debug)]
pub(super) struct NarrowSum {
    name: String,
    short: Vec<i64>,
    long: Option<Vec<i128>>,
    seen: Seen,
}

impl NarrowSum {
    pub(super) fn new(name: String) -> Self {
        Self { name, short: Vec::new(), long: None, seen: Seen::default() }
    }

    /// Adds `value(row)`, which fits 64 bits or nearly always does.
    #[inline(always)]
    fn add<V: TryInto<i64> + Into<i128> + Copy>(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        value: impl Fn(usize) -> V,
    ) -> Result<(), Error> {
        let seen = self.seen.grow(groups, rows.covers() && nulls.is_none());
        if let Some(long) = &mut self.long {
            grow(long, groups, 0);
            let mut over = false;
            each(rows, nulls, seen, |row, group| {
                let (sum, overflowed) = long[group].overflowing_add(value(row).into());
                long[group] = sum;
                over |= overflowed;
            });
            return if over { Err(overflow(&self.name, "128 bits")) } else { Ok(()) };
        }
        grow(&mut self.short, groups, 0);
        let short = &mut self.short[..];
        let mut left = Vec::new();
        each(rows, nulls, seen, |row, group| {
            let value = value(row);
            match value.try_into().ok().and_then(|value: i64| short[group].checked_add(value)) {
                Some(sum) => short[group] = sum,
                None => left.push((group, value.into())),
            }
        });
        if left.is_empty() { Ok(()) } else { self.lengthen(&left) }
    }

    /// Adds what another group has seen.
    fn add_one(&mut self, group: usize, value: i128) -> Result<(), Error> {
        self.seen.set(group);
        if let Some(long) = &mut self.long {
            long[group] = long[group].checked_add(value).ok_or_else(|| overflow(&self.name, "128 bits"))?;
            return Ok(());
        }
        match i64::try_from(value).ok().and_then(|value| self.short[group].checked_add(value)) {
            Some(sum) => self.short[group] = sum,
            None => self.lengthen(&[(group, value)])?,
        }
        Ok(())
    }

    fn sum_of(&self, group: usize) -> i128 {
        self.long.as_ref().map_or_else(|| i128::from(self.short[group]), |long| long[group])
    }

    /// Makes room for all 128 bits and adds what did not fit 64.
    #[cold]
    fn lengthen(&mut self, left: &[(usize, i128)]) -> Result<(), Error> {
        let mut long: Vec<i128> = std::mem::take(&mut self.short).into_iter().map(i128::from).collect();
        for &(group, value) in left {
            long[group] = long[group].checked_add(value).ok_or_else(|| overflow(&self.name, "128 bits"))?;
        }
        self.long = Some(long);
        Ok(())
    }
}

impl Accumulator for NarrowSum {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        match input.values() {
            Values::Int(values) | Values::Decimal(Units::Short(values)) => {
                self.add(groups, rows, input.nulls(), |row| values[row])
            }
            Values::Decimal(Units::Long(values)) => self.add(groups, rows, input.nulls(), |row| values[row]),
            _ => unreachable!("a narrow sum admits ints and decimals only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sums(&self.name, states, NARROW_SUM)?;
        self.add(groups, rows, states.nulls(), |row| narrow_sum(states, row))
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        let from = &*from.downcast_mut::<Self>()?;
        self.seen.grow(groups, rows.covers() && from.seen.has_all());
        match &mut self.long {
            Some(long) => grow(long, groups, 0),
            None => grow(&mut self.short, groups, 0),
        }
        let mut result = Ok(());
        rows.for_each(None, |row, group| {
            if from.seen.has(row)
                && let Err(error) = self.add_one(group, from.sum_of(row))
            {
                result = Err(error);
            }
        });
        Some(result)
    }

    fn bytes(&self) -> usize {
        let long = self.long.as_ref().map_or(0, Vec::capacity);
        self.short.capacity() * size_of::<i64>() + long * size_of::<i128>() + self.seen.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut bytes = Vec::with_capacity(order.len() * NARROW_SUM as usize);
        let mut push = |sum: i128| bytes.extend_from_slice(&sum.to_le_bytes());
        match self.long.take() {
            Some(long) => order.iter().for_each(|&group| push(long[group as usize])),
            None => order.iter().for_each(|&group| push(i128::from(self.short[group as usize]))),
        }
        self.short.clear();
        Ok(states_of(NARROW_SUM, bytes, self.seen.take(order)))
    }
}

/// Sums in 192 bits.
#[derive(Debug)]
pub(super) struct WideSum {
    name: String,
    sums: Vec<Wide>,
    seen: Seen,
}

impl WideSum {
    pub(super) fn new(name: String) -> Self {
        Self { name, sums: Vec::new(), seen: Seen::default() }
    }

    /// Adds `add(sum, row)`; `None` of it is an overflow. A poisoned sum stays as it is.
    #[inline(always)]
    fn add(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        add: impl Fn(Wide, usize) -> Option<Wide>,
    ) -> Result<(), Error> {
        let seen = self.seen.grow(groups, rows.covers() && nulls.is_none());
        grow(&mut self.sums, groups, Wide::default());
        let sums = &mut self.sums[..];
        let mut over = false;
        each(rows, nulls, seen, |row, group| {
            if sums[group] != Wide::POISON {
                match add(sums[group], row) {
                    Some(sum) => sums[group] = sum,
                    None => over = true,
                }
            }
        });
        if over { Err(overflow(&self.name, "192 bits")) } else { Ok(()) }
    }
}

impl Accumulator for WideSum {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        match input.values() {
            Values::Double(values) => self.add(groups, rows, input.nulls(), |sum, row| match to_fixed(values[row]) {
                Some(fixed) => sum.plus(fixed),
                None => Some(Wide::POISON),
            }),
            Values::Decimal(values) => self.add(groups, rows, input.nulls(), |sum, row| sum.plus(values.at(row))),
            _ => unreachable!("a wide sum admits doubles and decimals only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sums(&self.name, states, WIDE_SUM)?;
        self.add(groups, rows, states.nulls(), |sum, row| match wide_sum(states, row) {
            Wide::POISON => Some(Wide::POISON),
            other => sum.checked_add(other),
        })
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Wide>() + self.seen.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut bytes = Vec::with_capacity(order.len() * WIDE_SUM as usize);
        order.iter().for_each(|&group| bytes.extend_from_slice(&self.sums[group as usize].to_le_bytes()));
        self.sums.clear();
        Ok(states_of(WIDE_SUM, bytes, self.seen.take(order)))
    }
}

fn states_of(width: i32, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::new(width, Buffer::from_vec(bytes), nulls))
}

/// A state column of sums of `width` bytes.
pub(super) fn sums<'a>(name: &str, states: &'a ArrayRef, width: i32) -> Result<&'a FixedSizeBinaryArray, Error> {
    let expected = DataType::FixedSizeBinary(width);
    if *states.data_type() != expected {
        return Err(Error::Type { column: name.to_owned(), got: states.data_type().clone(), expected });
    }
    Ok(states.as_fixed_size_binary())
}

/// The sum in `row` of a column of [`NARROW_SUM`] bytes.
pub(super) fn narrow_sum(states: &FixedSizeBinaryArray, row: usize) -> i128 {
    i128::from_le_bytes(states.value(row).try_into().expect("the column's width was checked"))
}

/// The sum in `row` of a column of [`WIDE_SUM`] bytes.
pub(super) fn wide_sum(states: &FixedSizeBinaryArray, row: usize) -> Wide {
    Wide::from_le_bytes(states.value(row).try_into().expect("the column's width was checked"))
}
