//! From rows of key columns to group numbers: the first half of folding, which knows nothing of states.
//!
//! The numbers of a row's values (see [`Column`]) are put side by side in one 64-bit key, each in a field as wide as its
//! column has needed so far. Fields widen as values come that do not fit; then all keys are made anew. Keys that no 64
//! bits hold, of many dimensions that are all wide, are spelled out as bytes and numbered.

use arrow::{array::ArrayRef, buffer::NullBuffer};

use super::{
    column::{Column, Multiples, Picked, Read, SPELLED, spelled, spelling},
    index::Index,
    interner::Interner,
    order::{self, Order},
};
use crate::{
    grain::Grain,
    measure::{Error, input::Input, records::Records},
    schema::ColumnType,
    view::View,
};

/// One column's part of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Field {
    /// The number that is written as 1; a null is 0.
    base: i64,
    bits: u32,
    /// Bits of the fields after it.
    shift: u32,
}

impl Field {
    /// Its bits in a key.
    #[inline]
    fn raw(self, key: u64) -> u64 {
        key.unbounded_shr(self.shift) & self.mask()
    }

    /// The number in a key, `None` for a null.
    #[inline]
    fn of(self, key: u64) -> Option<i64> {
        let field = self.raw(key);
        (field > 0).then(|| self.base.wrapping_add_unsigned(field - 1))
    }

    /// A key with the fields before and this one, of `number`.
    fn append(self, key: u64, number: i64) -> u64 {
        key.unbounded_shl(self.bits) | (number.wrapping_sub(self.base) as u64 + 1)
    }

    /// The numbers in keys, 0 of a null.
    fn numbers(self, keys: impl Iterator<Item = u64>) -> (Vec<i64>, Option<NullBuffer>) {
        let mut fields: Vec<u64> = keys.map(|key| self.raw(key)).collect();
        let mut nulls = None;
        if fields.contains(&0) {
            nulls = Some(NullBuffer::from(fields.iter().map(|&field| field > 0).collect::<Vec<bool>>()));
            let zero = (self.base.wrapping_neg() as u64).wrapping_add(1);
            fields.iter_mut().filter(|field| **field == 0).for_each(|field| *field = zero);
        }
        (fields.into_iter().map(|raw| self.base.wrapping_add_unsigned(raw.wrapping_sub(1))).collect(), nulls)
    }

    fn mask(self) -> u64 {
        u64::MAX.unbounded_shr(64 - self.bits)
    }

    fn holds(self, (least, greatest): (i64, i64)) -> bool {
        least > greatest
            || (least >= self.base && (greatest.wrapping_sub(self.base) as u64) < self.mask() && self.bits > 0)
    }
}

/// The distinct keys of a table, numbered from 0 in the order they came.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<Column>,
    /// One a column.
    fields: Vec<Field>,
    /// The key of each group, and what states stand beside it.
    records: Records,
    index: Index,
    /// The keys if no 64 bits hold them.
    wide: Option<Interner>,
    /// The keys of the rows of the batch at hand.
    row_keys: Vec<u64>,
}

impl Keys {
    /// No keys, of columns of these types, in `records` of no groups. If there is a `grain`, its buckets are the first column.
    pub(super) fn new(types: &[ColumnType], grain: Option<Grain>, records: Records) -> Self {
        let column = |(at, &column_type): (usize, &ColumnType)| match at {
            0 => Column::of_buckets(column_type, grain.and_then(Multiples::of)),
            _ => Column::new(column_type, false),
        };
        Self {
            columns: types.iter().enumerate().map(column).collect(),
            fields: vec![Field::default(); types.len()],
            records,
            index: Index::default(),
            wide: None,
            row_keys: Vec::new(),
        }
    }

    /// No keys of `view`, in `records` of no groups.
    pub(super) fn of(view: &View, records: Records) -> Self {
        Self::new(&view.key_types(), Some(view.grain), records)
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.wide.as_ref().map_or(self.records.len(), Interner::len)
    }

    /// Whether keys are spelled out: then there is no record of what comes from now on.
    pub(super) fn is_wide(&self) -> bool {
        self.wide.is_some()
    }

    /// The records of the groups.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// The records of the groups, of which only states may be changed.
    pub(super) fn records_mut(&mut self) -> &mut Records {
        &mut self.records
    }

    /// The types of the columns.
    pub(super) fn types(&self) -> impl Iterator<Item = ColumnType> {
        self.columns.iter().map(Column::column_type)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let keys = self.records.bytes() + self.row_keys.capacity() * size_of::<u64>();
        let wide = self.wide.as_ref().map_or(0, Interner::held);
        keys + wide + self.index.bytes() + self.columns.iter().map(Column::bytes).sum::<usize>()
    }

    /// Appends the group of each row, or of each of the `selected` rows, to `groups`. Groups that are new get the next
    /// numbers.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn resolve(
        &mut self,
        keys: &[&Input],
        rows: usize,
        selected: Option<&[u32]>,
        groups: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let picked = Picked { rows, selected };
        let read = self.columns.iter_mut().zip(keys).map(|(column, key)| column.read(key, picked));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        self.find(&read, picked, groups)
    }

    /// As [`Self::resolve`], of groups of another table with the same columns.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn resolve_groups(&mut self, from: &Self, which: &[u32], groups: &mut Vec<u32>) -> Result<(), Error> {
        let read = self.translate(from, which)?;
        self.find(&read, Picked { rows: which.len(), selected: None }, groups)
    }

    /// Finds the numbers of the values of groups of another table.
    fn translate(&mut self, from: &Self, which: &[u32]) -> Result<Vec<Read<'static>>, Error> {
        let read = self.columns.iter_mut().zip(&from.columns).enumerate().map(|(at, (ours, theirs))| {
            let (numbers, nulls) = from.numbers(at, which);
            ours.translate(theirs, numbers, nulls)
        });
        read.collect()
    }

    /// Appends groups of another table with the same columns, which are not here yet. They can only be put in order and taken.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn append(&mut self, from: &Self, which: &[u32]) -> Result<(), Error> {
        let read = self.translate(from, which)?;
        self.add(&read, Picked { rows: which.len(), selected: None })
    }

    /// Appends rows that are not here yet.
    fn add(&mut self, read: &[Read<'_>], picked: Picked<'_>) -> Result<(), Error> {
        if self.make_keys(read, picked)? {
            self.records.extend(&self.row_keys);
            Ok(())
        } else {
            self.number(read, picked, &mut Vec::with_capacity(picked.len()))
        }
    }

    fn find(&mut self, read: &[Read<'_>], picked: Picked<'_>, groups: &mut Vec<u32>) -> Result<(), Error> {
        if !self.make_keys(read, picked)? {
            return self.number(read, picked, groups);
        }
        let bits = self.fields.iter().map(|field| field.bits).sum();
        self.index.find(&self.row_keys, bits, &mut self.records, groups);
        Ok(())
    }

    /// Makes the keys of rows; false if no 64 bits hold them.
    fn make_keys(&mut self, read: &[Read<'_>], picked: Picked<'_>) -> Result<bool, Error> {
        if self.len() + picked.len() >= u32::MAX as usize {
            return Err(Error::Overflow { state: "number of groups".to_owned(), limit: "32 bits" });
        }
        if self.wide.is_none() && !self.fit() {
            self.spell_out();
        }
        if self.wide.is_none() {
            self.pack(read, picked);
        }
        Ok(self.wide.is_none())
    }

    fn pack(&mut self, read: &[Read<'_>], picked: Picked<'_>) {
        let mut columns = self.columns.iter().zip(read).zip(&self.fields).peekable();
        // Mostly all rows of a batch are of one bucket.
        let mut first = 0;
        while let Some(&((_, read), field)) = columns.peek()
            && let Some(number) = read.same()
        {
            first = field.append(first, number);
            columns.next();
        }
        self.row_keys.clear();
        self.row_keys.resize(picked.len(), first);
        for ((column, read), field) in columns {
            column.pack(read, picked, field.base, field.bits, &mut self.row_keys);
        }
    }

    /// Widens the fields that do not hold their column's numbers; false if they are too many bits then.
    fn fit(&mut self) -> bool {
        if self.columns.iter().zip(&self.fields).all(|(column, field)| field.bits > 0 && field.holds(column.range())) {
            return true;
        }
        // With room to grow if that can be, so that this is done seldom.
        let Some(fields) = self.fields_with(true).or_else(|| self.fields_with(false)) else { return false };
        let old = std::mem::replace(&mut self.fields, fields);
        for key in self.records.keys_mut() {
            let field = |(old, new): (&Field, &Field)| {
                let field = old.of(*key).map_or(0, |number| number.wrapping_sub(new.base) as u64 + 1);
                field.unbounded_shl(new.shift)
            };
            *key = old.iter().zip(&self.fields).map(field).fold(0, |key, field| key | field);
        }
        self.index = Index::default();
        true
    }

    /// Fields that hold the numbers of all columns; `None` if they are more than 64 bits.
    fn fields_with(&self, room: bool) -> Option<Vec<Field>> {
        let mut shift = 0;
        let field = |(column, old): (&Column, &Field)| {
            let (least, greatest) = column.range();
            let mut field = *old;
            if !field.holds((least, greatest)) || (!room && least <= greatest) {
                let span = greatest.wrapping_sub(least) as u64;
                let below = if room && column.is_own() { span / 4 } else { 0 };
                field.base = least.saturating_sub_unsigned(below);
                // One for a null, and as much again for what is to come.
                let count = (greatest.wrapping_sub(field.base) as u64).checked_add(2)?;
                let count = if room { count.checked_add(span / 2 + 1)? } else { count };
                field.bits = 64 - (count - 1).leading_zeros();
            }
            field.bits = field.bits.max(1);
            field.shift = shift;
            shift += field.bits;
            Some(field)
        };
        let fields: Option<Vec<Field>> = self.columns.iter().zip(&self.fields).rev().map(field).collect();
        let mut fields = fields.filter(|_| shift <= u64::BITS)?;
        fields.reverse();
        Some(fields)
    }

    /// Spells out all keys. What states stand beside them stays where it is.
    fn spell_out(&mut self) {
        let mut wide = Interner::default();
        for key in self.records.keys() {
            let bytes: Vec<u8> = self.fields.iter().flat_map(|field| spelling(field.of(key))).collect();
            wide.intern(&bytes).expect("there are as many groups as before");
        }
        (self.index, self.wide) = (Index::default(), Some(wide));
        if !self.records.has_states() {
            self.records = Records::default();
        }
    }

    /// The groups of rows whose keys are spelled out.
    fn number(&mut self, read: &[Read<'_>], picked: Picked<'_>, groups: &mut Vec<u32>) -> Result<(), Error> {
        let width = self.columns.len() * SPELLED;
        let mut spelled = vec![0; picked.len() * width];
        for (at, (column, read)) in self.columns.iter().zip(read).enumerate() {
            column.spell(read, picked, at * SPELLED, width, &mut spelled);
        }
        let wide = self.wide.as_mut().expect("keys are spelled out");
        groups
            .extend(spelled.chunks_exact(width).map(|row| wide.intern(row).expect("the number of groups was checked")));
        Ok(())
    }

    /// The number of a group's value in a column, `None` for a null.
    #[inline]
    fn number_of(&self, at: usize, group: usize) -> Option<i64> {
        match &self.wide {
            None => self.fields[at].of(self.records.key(group)),
            Some(wide) => spelled(&wide.get(group as u32)[at * SPELLED..][..SPELLED]),
        }
    }

    /// The time stamp of a group in the first column, in which none is null.
    #[inline]
    pub(super) fn bucket(&self, group: usize) -> i64 {
        self.number_of(0, group).map_or(0, |number| self.columns[0].time_of(number))
    }

    /// The time stamps of the first column, each once or more often.
    pub(super) fn buckets(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = (0..self.len()).filter_map(|group| self.number_of(0, group)).collect();
        // Groups come in about the order of their buckets.
        numbers.dedup();
        numbers.into_iter().map(|number| self.columns[0].time_of(number)).collect()
    }

    /// The canonical order of rows that are all distinct, as [`Self::order`] of groups. The table is not to be used again.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    fn order_rows(&mut self, keys: &[&Input], rows: usize) -> Result<Vec<u32>, Error> {
        let picked = Picked { rows, selected: None };
        let read = self.columns.iter_mut().zip(keys).map(|(column, key)| column.read(key, picked));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        self.add(&read, picked)?;
        Ok(self.order())
    }

    /// The groups in canonical order: by each column in turn, nulls first.
    pub(super) fn order(&self) -> Vec<u32> {
        if self.wide.is_none() {
            return order::sort_by_word(&mut self.ordered_keys(&self.ranks()));
        }
        let mut order = Order::new(self.len());
        for (at, column) in self.columns.iter().enumerate() {
            order.then_by(column.ordered((0..self.len()).map(|group| self.number_of(at, group))));
        }
        order.sort()
    }

    /// The groups in the order of their buckets, and of a bucket in the order they came.
    pub(super) fn order_by_bucket(&self) -> Vec<u32> {
        let ranks = self.columns[0].ranks();
        let least = self.columns[0].range().0;
        let rank = |group: usize| match (self.number_of(0, group), &ranks) {
            (None, _) => 0,
            (Some(number), None) => number.wrapping_sub(least) as u64 + 1,
            (Some(number), Some(ranks)) => u64::from(ranks[number as usize]) + 1,
        };
        order::sort_by_word(&mut (0..self.len()).map(rank).collect())
    }

    /// The hash of the dimensions of each of `groups`, as [`spread`](super::spread) defines it.
    pub(super) fn hashes(&self, groups: &[u32]) -> Vec<u64> {
        let mut hashes = vec![0; groups.len()];
        for (at, column) in self.columns.iter().enumerate().skip(1) {
            let (numbers, nulls) = self.numbers(at, groups);
            column.chain(&numbers, nulls.as_ref(), &mut hashes);
        }
        hashes
    }

    /// Of each column whose numbers do not order as its values do, the place of each number in that order.
    fn ranks(&self) -> Vec<Option<Vec<u32>>> {
        self.columns.iter().map(Column::ranks).collect()
    }

    /// The key of each group, with every field in the order of its values.
    fn ordered_keys(&self, ranks: &[Option<Vec<u32>>]) -> Vec<u64> {
        let mut keys: Vec<u64> = self.records.keys().collect();
        for (ranks, field) in ranks.iter().zip(&self.fields) {
            let Some(ranks) = ranks else { continue };
            for key in &mut keys {
                if let Some(number) = field.of(*key) {
                    let rank = u64::from(ranks[number as usize]) + 1;
                    *key = *key & !(field.mask() << field.shift) | rank << field.shift;
                }
            }
        }
        keys
    }

    /// The key columns in canonical order, with the group of each row.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a column is larger than Arrow allows.
    pub(super) fn sorted(&self) -> Result<(Vec<u32>, Vec<ArrayRef>), Error> {
        if self.wide.is_some() {
            let order = self.order();
            let columns = self.arrays(&order)?;
            return Ok((order, columns));
        }
        let ranks = self.ranks();
        let mut keys = self.ordered_keys(&ranks);
        let order = order::sort_by_word(&mut keys);
        let columns = self.columns.iter().zip(&self.fields).zip(&ranks).map(|((column, field), ranks)| {
            let (mut numbers, nulls) = field.numbers(keys.iter().copied());
            if let Some(ranks) = ranks {
                let mut by_rank = vec![0; ranks.len().max(1)];
                (0..).zip(ranks).for_each(|(number, &rank)| by_rank[rank as usize] = number);
                numbers.iter_mut().for_each(|number| *number = by_rank[*number as usize]);
            }
            column.array(numbers, nulls)
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok((order, columns))
    }

    /// The key columns, group `order[i]` in row `i`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a column is larger than Arrow allows.
    pub(super) fn arrays(&self, order: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let arrays = self.columns.iter().enumerate().map(|(at, column)| {
            let (numbers, nulls) = self.numbers(at, order);
            column.array(numbers, nulls)
        });
        arrays.collect()
    }

    /// The numbers of the groups' values in a column; 0 of a null.
    fn numbers(&self, at: usize, order: &[u32]) -> (Vec<i64>, Option<NullBuffer>) {
        if self.wide.is_some() {
            let numbers = || order.iter().map(|&group| self.number_of(at, group as usize));
            let valid: Vec<bool> = numbers().map(|number| number.is_some()).collect();
            let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
            return (numbers().map(Option::unwrap_or_default).collect(), nulls);
        }
        self.fields[at].numbers(order.iter().map(|&group| self.records.key(group as usize)))
    }

    /// Gives back the memory of what finds groups by their keys. It is made anew if more come.
    pub(super) fn rest(&mut self) {
        self.index = Index::default();
    }

    /// Forgets the groups.
    pub(super) fn clear(&mut self) {
        self.index.clear(&self.records);
        self.records.clear();
        self.wide = None;
        self.columns.iter_mut().for_each(Column::clear);
    }
}

/// The canonical order of rows whose keys, which are those of `view`, are all distinct.
///
/// # Errors
/// [`Error::Type`], [`Error::Overflow`].
pub(crate) fn order_rows(view: &View, keys: &[ArrayRef]) -> Result<Vec<u32>, Error> {
    let types = view.key_types();
    let input = |(&expected, array): (&ColumnType, &ArrayRef)| {
        Input::new(|| "of a key".to_owned(), ArrayRef::clone(array), expected)
    };
    let inputs = types.iter().zip(keys).map(input).collect::<Result<Vec<_>, _>>()?;
    let rows = inputs.first().map_or(0, Input::len);
    Keys::of(view, Records::default()).order_rows(&inputs.iter().collect::<Vec<_>>(), rows)
}
