//! `count`: an i64 that never wraps.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    datatypes::{DataType, Int64Type},
};

use super::{
    Error,
    accumulator::Accumulator,
    input::Input,
    rows::{Rows, grow},
};

#[derive(Debug)]
pub(super) struct Count {
    name: String,
    counts: Vec<i64>,
}

impl Count {
    pub(super) fn new(name: String) -> Self {
        Self { name, counts: Vec::new() }
    }

    fn check(&self, overflow: bool) -> Result<(), Error> {
        if overflow { Err(Error::Overflow { state: self.name.clone(), limit: "int" }) } else { Ok(()) }
    }
}

impl Accumulator for Count {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        grow(&mut self.counts, groups, 0);
        let mut overflow = false;
        let counts = &mut self.counts[..];
        rows.for_each(inputs.first().and_then(|input| input.nulls()), |_, group| {
            let (count, over) = counts[group].overflowing_add(1);
            counts[group] = count;
            overflow |= over;
        });
        self.check(overflow)
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = counts(&self.name, states)?;
        grow(&mut self.counts, groups, 0);
        let (mut overflow, mut negative) = (false, false);
        rows.for_each(None, |row, group| {
            let (count, over) = self.counts[group].overflowing_add(states[row]);
            self.counts[group] = count;
            overflow |= over;
            negative |= states[row] < 0;
        });
        if negative {
            return Err(Error::Corrupt { state: "count", message: "it is negative".to_owned() });
        }
        self.check(overflow)
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        let from = &from.downcast_mut::<Self>()?.counts[..];
        grow(&mut self.counts, groups, 0);
        let mut overflow = false;
        rows.for_each(None, |row, group| {
            let (count, over) = self.counts[group].overflowing_add(from[row]);
            self.counts[group] = count;
            overflow |= over;
        });
        Some(self.check(overflow))
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let counts: Int64Array = order.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>().into();
        self.counts.clear();
        Ok(Arc::new(counts))
    }
}

/// The counts in a state column.
pub(super) fn counts<'a>(name: &str, states: &'a ArrayRef) -> Result<&'a [i64], Error> {
    let Some(counts) = states.as_primitive_opt::<Int64Type>() else {
        return Err(Error::Type {
            column: name.to_owned(),
            got: states.data_type().clone(),
            expected: DataType::Int64,
        });
    };
    if counts.null_count() > 0 {
        return Err(Error::Null { column: name.to_owned() });
    }
    Ok(counts.values())
}
