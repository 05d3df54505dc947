//! `sum`: exact integers in units of the input's last digit, so that the order of addition cannot show.
//!
//! Ints and decimals of up to 18 digits are summed in 128 bits, wider decimals and doubles (fixed point, units of 2^-64)
//! in 192: fewer than 2^63 inputs cannot overflow either, so overflow is a matter of finishing. A double that has no
//! place in fixed point poisons its sum: the poisoned sum absorbs all others and is finished as null.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray},
    buffer::{Buffer, NullBuffer},
    datatypes::DataType,
};

use super::{
    Error, NARROW_SUM, WIDE_SUM,
    accumulator::{Accumulator, only},
    input::{Input, Values},
    rows::Rows,
    wide::{Wide, to_fixed},
};

fn overflow(name: &str, limit: &'static str) -> Error {
    Error::Overflow { state: name.to_owned(), limit }
}

/// Sums in 128 bits.
#[derive(Debug)]
pub(super) struct NarrowSum {
    name: String,
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl NarrowSum {
    pub(super) fn new(name: String) -> Self {
        Self { name, sums: Vec::new(), seen: Vec::new() }
    }

    #[inline(always)]
    fn add(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        value: impl Fn(usize) -> i128,
    ) -> Result<(), Error> {
        self.sums.resize(groups, 0);
        self.seen.resize(groups, false);
        let (sums, seen) = (&mut self.sums[..], &mut self.seen[..]);
        let mut over = false;
        rows.for_each(nulls, |row, group| {
            let (sum, overflowed) = sums[group].overflowing_add(value(row));
            sums[group] = sum;
            seen[group] = true;
            over |= overflowed;
        });
        if over { Err(overflow(&self.name, "128 bits")) } else { Ok(()) }
    }
}

impl Accumulator for NarrowSum {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        match input.values() {
            Values::Int(values) => self.add(groups, rows, input.nulls(), |row| i128::from(values[row])),
            Values::Decimal(values) => self.add(groups, rows, input.nulls(), |row| values[row]),
            _ => unreachable!("a narrow sum admits ints and decimals only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sums(&self.name, states, NARROW_SUM)?;
        self.add(groups, rows, states.nulls(), |row| narrow_sum(states, row))
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let bytes = order.iter().flat_map(|&group| self.sums[group as usize].to_le_bytes()).collect();
        let seen = order.iter().map(|&group| self.seen[group as usize]).collect();
        self.sums.clear();
        self.seen.clear();
        Ok(states_of(NARROW_SUM, bytes, seen))
    }
}

/// Sums in 192 bits.
#[derive(Debug)]
pub(super) struct WideSum {
    name: String,
    sums: Vec<Wide>,
    seen: Vec<bool>,
}

impl WideSum {
    pub(super) fn new(name: String) -> Self {
        Self { name, sums: Vec::new(), seen: Vec::new() }
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
        self.sums.resize(groups, Wide::default());
        self.seen.resize(groups, false);
        let (sums, seen) = (&mut self.sums[..], &mut self.seen[..]);
        let mut over = false;
        rows.for_each(nulls, |row, group| {
            seen[group] = true;
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
            Values::Decimal(values) => self.add(groups, rows, input.nulls(), |sum, row| sum.plus(values[row])),
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

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let bytes = order.iter().flat_map(|&group| self.sums[group as usize].to_le_bytes()).collect();
        let seen = order.iter().map(|&group| self.seen[group as usize]).collect();
        self.sums.clear();
        self.seen.clear();
        Ok(states_of(WIDE_SUM, bytes, seen))
    }
}

fn states_of(width: i32, bytes: Vec<u8>, seen: Vec<bool>) -> ArrayRef {
    let nulls = NullBuffer::from(seen);
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
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
