//! `first`, `last`, `arg_min`, `arg_max`: the input of one event, the least or greatest by some order; null of none.
//!
//! The order is written as bytes, and the input after it (see [`ordered`](super::ordered)): what is kept is the least or
//! greatest of these byte strings, so equal events, and nothing else, tie. For `first` and `last` the order is event time,
//! partition, offset, which no two events share; of equal `y`, `arg_min(x, y)` gives the least `x` and `arg_max(x, y)` the
//! greatest. An event where the input or its order is null does not count.

use arrow::{
    array::{Array, ArrayRef, BinaryArray},
    buffer::NullBuffer,
    datatypes::DataType,
};

use super::{
    Error,
    accumulator::Accumulator,
    bytes::ByteColumn,
    input::{Input, Values, to_ordered},
    ordered,
    rows::{Rows, grow},
};
use crate::{expression::Expression, schema::ColumnType};

const STATE: &str = "first, last, arg_min or arg_max";

/// What the bytes of a state are made of.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    order: Vec<ColumnType>,
    value: ColumnType,
}

impl Layout {
    /// Of a state's inputs: first the value, then what it is ordered by.
    pub(super) fn of(inputs: &[Expression]) -> Self {
        let (value, order) = inputs.split_first().expect("a pick has a value");
        Self { order: order.iter().map(Expression::column_type).collect(), value: value.column_type() }
    }

    /// The value in a state's bytes.
    fn value<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let value = self.order.iter().try_fold(bytes, |rest, &column_type| ordered::after(column_type, rest));
        let value = value.filter(|value| ordered::is_canonical(self.value, value));
        value.ok_or_else(|| Error::Corrupt { state: STATE, message: format!("{} bytes, not canonical", bytes.len()) })
    }

    /// The column of the values in a column of states.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Overflow`], [`Error::Type`].
    pub(super) fn finish(&self, name: &str, states: &ArrayRef) -> Result<ArrayRef, Error> {
        let values = picks(name, states)?.iter().map(|bytes| bytes.map(|bytes| self.value(bytes)).transpose());
        let values = values.collect::<Result<Vec<_>, _>>()?;
        ordered::column(STATE, self.value, values.into_iter())
    }
}

fn picks<'a>(name: &str, states: &'a ArrayRef) -> Result<&'a BinaryArray, Error> {
    states.as_any().downcast_ref().ok_or_else(|| {
        let (column, got) = (name.to_owned(), states.data_type().clone());
        Error::Type { column, got, expected: DataType::Binary }
    })
}

/// The least or greatest byte string of each group.
#[derive(Debug)]
pub(super) struct Pick {
    name: String,
    layout: Layout,
    greatest: bool,
    /// A number a group, that a row's own must not exceed if it is to replace what is kept: it is nearly always enough to
    /// look at.
    bars: Vec<u64>,
    /// Empty if there is none yet.
    kept: Vec<Vec<u8>>,
    /// Bytes of all that is kept.
    kept_bytes: usize,
    scratch: Vec<u8>,
}

impl Pick {
    pub(super) fn new(name: String, layout: Layout, greatest: bool) -> Self {
        Self { name, layout, greatest, bars: Vec::new(), kept: Vec::new(), kept_bytes: 0, scratch: Vec::new() }
    }

    fn resize(&mut self, groups: usize) {
        grow(&mut self.bars, groups, u64::MAX);
        self.kept.resize_with(groups, Vec::new);
    }

    /// Offers the rows, whose order starts with what `bar` says of it; `write` writes a row's bytes.
    #[inline(always)]
    fn offer(
        &mut self,
        rows: Rows<'_>,
        nulls: Option<&NullBuffer>,
        bar: impl Fn(usize) -> u64,
        write: impl Fn(usize, &mut Vec<u8>),
    ) {
        let (bars, kept, scratch) = (&mut self.bars[..], &mut self.kept[..], &mut self.scratch);
        let (greatest, kept_bytes) = (self.greatest, &mut self.kept_bytes);
        rows.for_each(nulls, |row, group| {
            let bar = if greatest { !bar(row) } else { bar(row) };
            if bar > bars[group] {
                return;
            }
            scratch.clear();
            write(row, scratch);
            let kept = &mut kept[group];
            if kept.is_empty() || if greatest { *scratch > *kept } else { *scratch < *kept } {
                bars[group] = bar;
                let before = kept.capacity();
                kept.clone_from(scratch);
                *kept_bytes += kept.capacity() - before;
            }
        });
    }
}

/// A number that orders as the first bytes of a written value do, or 0 if that takes more than a look.
#[inline]
fn bar(values: Values<'_>, row: usize) -> u64 {
    const SIGN: u64 = 1 << 63;
    match values {
        Values::Int(values) => values[row] as u64 ^ SIGN,
        Values::Double(values) => to_ordered(values[row]) as u64 ^ SIGN,
        Values::Bool(values) => u64::from(values.value(row)),
        Values::Decimal(_) | Values::Text(_) | Values::Coded(..) => 0,
    }
}

/// The [`bar`] of a state whose order starts with a value of this type.
#[inline]
fn bar_of_state(column_type: ColumnType, bytes: &[u8]) -> u64 {
    match column_type {
        ColumnType::Int | ColumnType::Timestamp | ColumnType::Double => {
            bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
        }
        ColumnType::Bool => bytes.first().copied().map_or(0, u64::from),
        ColumnType::Decimal { .. } | ColumnType::String => 0,
    }
}

impl Accumulator for Pick {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        self.resize(groups);
        let nulls = inputs.iter().fold(None, |nulls, input| NullBuffer::union(nulls.as_ref(), input.nulls()));
        let values: Vec<Values<'_>> = inputs.iter().map(|input| input.values()).collect();
        let (value, order) = values.split_first().expect("a pick has a value");
        let write = |row: usize, bytes: &mut Vec<u8>| {
            order.iter().for_each(|values| ordered::write_before(*values, row, bytes));
            ordered::write(*value, row, bytes);
        };
        match order[0] {
            // Where the loop knows the type, looking at a row is one comparison.
            first @ Values::Int(_) => self.offer(rows, nulls.as_ref(), |row| bar(first, row), write),
            first => self.offer(rows, nulls.as_ref(), |row| bar(first, row), write),
        }
        Ok(())
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        self.resize(groups);
        let states = picks(&self.name, states)?;
        states.iter().flatten().try_for_each(|bytes| self.layout.value(bytes).map(|_| ()))?;
        let first = self.layout.order[0];
        self.offer(
            rows,
            states.nulls(),
            |row| bar_of_state(first, states.value(row)),
            |row, bytes| bytes.extend_from_slice(states.value(row)),
        );
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bars.capacity() * size_of::<u64>() + self.kept.capacity() * size_of::<Vec<u8>>() + self.kept_bytes
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            match &self.kept[group as usize][..] {
                [] => column.push_null(),
                kept => column.push(|bytes| bytes.extend_from_slice(kept))?,
            }
        }
        self.bars.clear();
        self.kept.clear();
        self.kept_bytes = 0;
        column.finish().into_binary()
    }
}
