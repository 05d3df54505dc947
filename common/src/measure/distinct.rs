//! `distinct`: a HyperLogLog of the inputs.

use std::any::Any;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray},
    datatypes::DataType,
};

use super::{
    Error,
    accumulator::{Accumulator, only},
    encoded::EncodedStates,
    hyperloglog::{Encoded, Registers},
    input::Input,
    rows::Rows,
    sketched::{Sketch, Sketches},
};

impl Sketch for Registers {
    /// The precision.
    type Settings = u8;
    /// A coupon.
    type Item = u32;

    fn check(bytes: &[u8], precision: &u8) -> Result<(), Error> {
        Encoded::read(bytes, *precision).map(|_| ())
    }

    fn extend(&mut self, coupons: &[u32], precision: &u8) -> Result<(), Error> {
        self.extend(coupons, *precision);
        Ok(())
    }

    fn merge(&mut self, bytes: &[u8], precision: &u8) -> Result<(), Error> {
        self.merge(bytes, *precision)
    }

    fn absorb(&mut self, other: Self, precision: &u8) -> Result<(), Error> {
        self.absorb(other, *precision);
        Ok(())
    }

    fn encode(self, precision: &u8, bytes: &mut Vec<u8>) {
        self.encode(*precision, bytes);
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

#[derive(Debug)]
pub(super) struct Distinct(Sketches<Registers>);

impl Distinct {
    pub(super) fn new(name: String, precision: u8) -> Self {
        Self(Sketches::new(name, precision))
    }
}

impl Accumulator for Distinct {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        let coupons = input.coupons();
        self.0.add(groups, rows, input.nulls(), |row| coupons[row])
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        self.0.merge(groups, rows, states)
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        Some(self.0.absorb(groups, rows, &mut from.downcast_mut::<Self>()?.0))
    }

    fn take_encoded(&mut self) -> Option<Result<EncodedStates, Error>> {
        Some(self.0.take_encoded())
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        self.0.take(order)
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
