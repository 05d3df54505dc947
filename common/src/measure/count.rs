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
    rows::Rows,
    widening::{Overflowed, Widening},
};

#[derive(Debug)]
pub(super) struct Count {
    name: String,
    counts: Widening<u32, i64>,
}

impl Count {
    pub(super) fn new(name: String) -> Self {
        Self { name, counts: Widening::default() }
    }

    fn check(&self, added: Result<(), Overflowed>) -> Result<(), Error> {
        added.map_err(|_| Error::Overflow { state: self.name.clone(), limit: "int" })
    }
}

impl Accumulator for Count {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let nulls = inputs.first().and_then(|input| input.nulls());
        let added = self.counts.add(groups, rows, nulls, None, |_| 1_u32);
        self.check(added)
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = counts(&self.name, states)?;
        let mut negative = false;
        rows.for_each(None, |row, _| negative |= states[row] < 0);
        if negative {
            return Err(Error::Corrupt { state: "count", message: "it is negative".to_owned() });
        }
        let added = self.counts.add(groups, rows, None, None, |row| states[row]);
        self.check(added)
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        let from = &from.downcast_mut::<Self>()?.counts;
        let added = self.counts.add(groups, rows, None, None, |row| from.of(row));
        Some(self.check(added))
    }

    fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let counts: Int64Array = order.iter().map(|&group| self.counts.of(group as usize)).collect::<Vec<_>>().into();
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
