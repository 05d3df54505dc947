//! `min` and `max`: the least or greatest input in the order of its type; null of none.
//!
//! Equal inputs must have equal bytes, whichever came first: so doubles are canonical before they are kept (-0.0 is 0.0,
//! one NaN, the greatest).

use std::{any::Any, fmt::Debug, marker::PhantomData, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray},
    buffer::{NullBuffer, ScalarBuffer},
};

use super::{
    Error,
    accumulator::{Accumulator, only},
    bytes::{ByteColumn, ByteRows},
    input::{Input, Values, from_ordered, text, to_ordered},
    rows::{Rows, grow},
    seen::Seen,
};
use crate::schema::ColumnType;

/// How values of a fixed width are read, ordered and written.
pub(super) trait Fixed: Debug + Send + Sync + 'static {
    /// What is kept: orders as the values do.
    type Key: Ord + Copy + Default + Debug + Send + Sync;
    /// The least and the greatest of what can be kept.
    const ENDS: (Self::Key, Self::Key);

    /// Calls `visit(group, key)` for each row that is not null.
    fn visit(input: &Input, rows: Rows<'_>, visit: impl FnMut(usize, Self::Key));

    /// The column of these values.
    fn array(keys: Vec<Self::Key>, nulls: Option<NullBuffer>, column_type: ColumnType) -> ArrayRef;
}

/// Ints and time stamps.
#[derive(Debug)]
pub(super) struct Ints;

impl Fixed for Ints {
    type Key = i64;
    const ENDS: (i64, i64) = (i64::MIN, i64::MAX);

    #[inline(always)]
    fn visit(input: &Input, rows: Rows<'_>, mut visit: impl FnMut(usize, i64)) {
        let Values::Int(values) = input.values() else { unreachable!("the input's type was checked") };
        rows.for_each(input.nulls(), |row, group| visit(group, values[row]));
    }

    fn array(keys: Vec<i64>, nulls: Option<NullBuffer>, column_type: ColumnType) -> ArrayRef {
        let ints = Int64Array::new(keys.into(), nulls);
        match column_type {
            ColumnType::Timestamp => {
                Arc::new(ints.reinterpret_cast::<arrow::datatypes::TimestampMicrosecondType>().with_timezone("UTC"))
            }
            _ => Arc::new(ints),
        }
    }
}

/// Doubles, kept as numbers that order as they do.
#[derive(Debug)]
pub(super) struct Doubles;

impl Fixed for Doubles {
    type Key = i64;
    const ENDS: (i64, i64) = (i64::MIN, i64::MAX);

    #[inline(always)]
    fn visit(input: &Input, rows: Rows<'_>, mut visit: impl FnMut(usize, i64)) {
        let Values::Double(values) = input.values() else { unreachable!("the input's type was checked") };
        rows.for_each(input.nulls(), |row, group| visit(group, to_ordered(values[row])));
    }

    fn array(keys: Vec<i64>, nulls: Option<NullBuffer>, _: ColumnType) -> ArrayRef {
        let values: ScalarBuffer<f64> = keys.into_iter().map(from_ordered).collect();
        Arc::new(Float64Array::new(values, nulls))
    }
}

/// Decimals.
#[derive(Debug)]
pub(super) struct Decimals;

impl Fixed for Decimals {
    type Key = i128;
    const ENDS: (i128, i128) = (i128::MIN, i128::MAX);

    #[inline(always)]
    fn visit(input: &Input, rows: Rows<'_>, mut visit: impl FnMut(usize, i128)) {
        let Values::Decimal(values) = input.values() else { unreachable!("the input's type was checked") };
        rows.for_each(input.nulls(), |row, group| visit(group, values.at(row)));
    }

    fn array(keys: Vec<i128>, nulls: Option<NullBuffer>, column_type: ColumnType) -> ArrayRef {
        Arc::new(Decimal128Array::new(keys.into(), nulls).with_data_type(column_type.arrow()))
    }
}

/// Bools.
#[derive(Debug)]
pub(super) struct Bools;

impl Fixed for Bools {
    type Key = bool;
    const ENDS: (bool, bool) = (false, true);

    #[inline(always)]
    fn visit(input: &Input, rows: Rows<'_>, mut visit: impl FnMut(usize, bool)) {
        let Values::Bool(values) = input.values() else { unreachable!("the input's type was checked") };
        rows.for_each(input.nulls(), |row, group| visit(group, values.value(row)));
    }

    fn array(keys: Vec<bool>, nulls: Option<NullBuffer>, _: ColumnType) -> ArrayRef {
        Arc::new(BooleanArray::new(keys.into(), nulls))
    }
}

/// The least or greatest of values of a fixed width.
#[derive(Debug)]
pub(super) struct Extreme<F: Fixed> {
    name: String,
    column_type: ColumnType,
    greatest: bool,
    keys: Vec<F::Key>,
    seen: Seen,
    kind: PhantomData<F>,
}

impl<F: Fixed> Extreme<F> {
    pub(super) fn new(name: String, column_type: ColumnType, greatest: bool) -> Self {
        Self { name, column_type, greatest, keys: Vec::new(), seen: Seen::default(), kind: PhantomData }
    }

    /// What a group has that has had no input: every input is better, or as good.
    fn identity(&self) -> F::Key {
        if self.greatest { F::ENDS.0 } else { F::ENDS.1 }
    }

    #[inline(always)]
    fn add(&mut self, groups: usize, rows: Rows<'_>, input: &Input, better: impl Fn(F::Key, F::Key) -> F::Key) {
        let identity = self.identity();
        grow(&mut self.keys, groups, identity);
        let keys = &mut self.keys[..];
        match self.seen.grow(groups, rows.covers() && input.nulls().is_none()) {
            None => F::visit(input, rows, |group, key| keys[group] = better(keys[group], key)),
            Some(seen) => F::visit(input, rows, |group, key| {
                keys[group] = better(keys[group], key);
                seen[group] = true;
            }),
        }
    }
}

impl<F: Fixed> Accumulator for Extreme<F> {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        if self.greatest {
            self.add(groups, rows, input, Ord::max);
        } else {
            self.add(groups, rows, input, Ord::min);
        }
        Ok(())
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = Input::new(|| self.name.clone(), Arc::clone(states), self.column_type)?;
        self.update(groups, rows, &[&states])
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        let from = &*from.downcast_mut::<Self>()?;
        let identity = self.identity();
        grow(&mut self.keys, groups, identity);
        self.seen.absorb(groups, rows, &from.seen);
        // What theirs has that has had no input changes nothing.
        let (keys, theirs) = (&mut self.keys[..], &from.keys[..]);
        if self.greatest {
            rows.for_each(None, |row, group| keys[group] = keys[group].max(theirs[row]));
        } else {
            rows.for_each(None, |row, group| keys[group] = keys[group].min(theirs[row]));
        }
        Some(Ok(()))
    }

    fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<F::Key>() + self.seen.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let key = |group: usize| if self.seen.has(group) { self.keys[group] } else { F::Key::default() };
        let keys = order.iter().map(|&group| key(group as usize)).collect();
        self.keys.clear();
        Ok(F::array(keys, self.seen.take(order), self.column_type))
    }
}

/// The least or greatest text, by its bytes.
#[derive(Debug)]
pub(super) struct Texts {
    name: String,
    greatest: bool,
    texts: Vec<Option<Box<[u8]>>>,
    /// Bytes of all texts.
    text_bytes: usize,
}

impl Texts {
    pub(super) fn new(name: String, greatest: bool) -> Self {
        Self { name, greatest, texts: Vec::new(), text_bytes: 0 }
    }

    fn offer(&mut self, group: usize, candidate: &[u8]) {
        let kept = &mut self.texts[group];
        let replaces = match kept {
            None => true,
            Some(kept) if self.greatest => candidate > &**kept,
            Some(kept) => candidate < &**kept,
        };
        if replaces {
            self.text_bytes += candidate.len();
            self.text_bytes -= kept.as_ref().map_or(0, |kept| kept.len());
            *kept = Some(candidate.into());
        }
    }
}

impl Accumulator for Texts {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        self.texts.resize(groups, None);
        match input.values() {
            Values::Text(values) => {
                rows.for_each(input.nulls(), |row, group| self.offer(group, text(values, row)));
            }
            Values::Coded(codes, values) => {
                rows.for_each(input.nulls(), |row, group| self.offer(group, text(values, codes[row] as usize)));
            }
            _ => unreachable!("the input's type was checked"),
        }
        Ok(())
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = Input::new(|| self.name.clone(), Arc::clone(states), ColumnType::String)?;
        self.update(groups, rows, &[&states])
    }

    fn bytes(&self) -> usize {
        self.texts.capacity() * size_of::<Option<Box<[u8]>>>() + self.text_bytes
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            match self.texts[group as usize].take() {
                Some(text) => column.push(|bytes| bytes.extend_from_slice(&text))?,
                None => column.push_null(),
            }
        }
        self.texts.clear();
        self.text_bytes = 0;
        let ByteRows { offsets, bytes, nulls } = column.finish();
        Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?))
    }
}
