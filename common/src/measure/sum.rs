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
    seen::{Seen, each},
    wide::{Wide, to_fixed},
    widening::Widening,
};

fn overflow(name: &str, limit: &'static str) -> Error {
    Error::Overflow { state: name.to_owned(), limit }
}

/// Sums in 128 bits, of which 64 are kept as long as they hold every group's.
#[derive(Debug)]
pub(super) struct NarrowSum {
    name: String,
    sums: Widening<i64, i128>,
    seen: Seen,
}

impl NarrowSum {
    pub(super) fn new(name: String) -> Self {
        Self { name, sums: Widening::default(), seen: Seen::default() }
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
        self.sums.add(groups, rows, nulls, seen, value).map_err(|_| overflow(&self.name, "128 bits"))
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
        self.seen.absorb(groups, rows, &from.seen);
        // The sum of no inputs is 0.
        let added = self.sums.add(groups, rows, None, None, |row| from.sums.of(row));
        Some(added.map_err(|_| overflow(&self.name, "128 bits")))
    }

    fn bytes(&self) -> usize {
        self.sums.bytes() + self.seen.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut bytes = Vec::with_capacity(order.len() * NARROW_SUM as usize);
        order.iter().for_each(|&group| bytes.extend_from_slice(&self.sums.of(group as usize).to_le_bytes()));
        self.sums.clear();
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

/// The state column of sums that fit 64 bits, none of them null.
pub(super) fn narrow_column(sums: impl ExactSizeIterator<Item = i64>) -> ArrayRef {
    let mut bytes = Vec::with_capacity(sums.len() * NARROW_SUM as usize);
    sums.for_each(|sum| bytes.extend_from_slice(&i128::from(sum).to_le_bytes()));
    states_of(NARROW_SUM, bytes, None)
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
