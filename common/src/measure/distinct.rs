//! `distinct`: a HyperLogLog of the inputs.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray},
    datatypes::DataType,
};

use super::{
    Error,
    accumulator::{Accumulator, only},
    bytes::{ByteColumn, ByteRows},
    hyperloglog::Registers,
    input::Input,
    rows::Rows,
};

#[derive(Debug)]
pub(super) struct Distinct {
    name: String,
    precision: u8,
    sketches: Vec<Registers>,
}

impl Distinct {
    pub(super) fn new(name: String, precision: u8) -> Self {
        Self { name, precision, sketches: Vec::new() }
    }
}

impl Accumulator for Distinct {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        self.sketches.resize_with(groups, Registers::default);
        let (sketches, coupons, precision) = (&mut self.sketches[..], input.coupons(), self.precision);
        rows.for_each(input.nulls(), |row, group| sketches[group].insert(coupons[row], precision));
        Ok(())
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sketches(&self.name, states)?;
        self.sketches.resize_with(groups, Registers::default);
        let mut result = Ok(());
        rows.for_each(None, |row, group| {
            if result.is_ok() {
                result = self.sketches[group].merge(states.value(row), self.precision);
            }
        });
        result
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            let sketch = std::mem::take(&mut self.sketches[group as usize]);
            column.push(|bytes| sketch.encode(self.precision, bytes))?;
        }
        self.sketches.clear();
        let ByteRows { offsets, bytes, nulls } = column.finish();
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
    }
}

/// A state column of sketches.
pub(super) fn sketches<'a>(name: &str, states: &'a ArrayRef) -> Result<&'a BinaryArray, Error> {
    let Some(sketches) = states.as_binary_opt::<i32>() else {
        let (column, got) = (name.to_owned(), states.data_type().clone());
        return Err(Error::Type { column, got, expected: DataType::Binary });
    };
    if sketches.null_count() > 0 {
        return Err(Error::Null { column: name.to_owned() });
    }
    Ok(sketches)
}
