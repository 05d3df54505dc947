//! From rows of key columns to group numbers: the first half of folding, which knows nothing of states.
//!
//! Each key value becomes a 64-bit word, so that equal values have equal words: ints as they are, doubles canonical, text
//! and wide decimals interned. A null has the word 0 and a bit in the row's mask.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray},
    buffer::NullBuffer,
    datatypes::TimestampMicrosecondType,
};
use hashbrown::HashTable;

use super::{interner::Interner, order};
use crate::{
    measure::{
        Error,
        bytes::{ByteColumn, ByteRows},
        input::{Input, Values, from_ordered, text, to_ordered},
    },
    schema::ColumnType,
};

/// Decimals of at most this many digits fit a word.
const WORD_DIGITS: u8 = 18;

/// One key column: how its values become words, and back.
#[derive(Debug)]
struct Column {
    column_type: ColumnType,
    /// Text, or decimals that do not fit a word.
    interner: Interner,
}

/// The distinct keys of a table, numbered from 0 in the order they came.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<Column>,
    /// A word a column, group after group.
    words: Vec<u64>,
    /// A bit a column that is null, per group; empty while no key was null.
    masks: Vec<u64>,
    len: usize,
    table: HashTable<u32>,
    row_words: Vec<u64>,
    row_masks: Vec<u64>,
}

impl Keys {
    pub(super) fn new(types: &[ColumnType]) -> Self {
        let columns = types.iter().map(|&column_type| Column { column_type, interner: Interner::default() }).collect();
        Self {
            columns,
            words: Vec::new(),
            masks: Vec::new(),
            len: 0,
            table: HashTable::new(),
            row_words: Vec::new(),
            row_masks: Vec::new(),
        }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The types of the columns.
    pub(super) fn types(&self) -> impl Iterator<Item = ColumnType> {
        self.columns.iter().map(|c| c.column_type)
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
        let rows = selected.map_or(rows, <[u32]>::len);
        self.encode(keys, rows, selected)?;
        groups.reserve(rows);
        // A width known when compiled makes words compare without a loop.
        match self.columns.len() {
            1 => self.find(1, rows, groups),
            2 => self.find(2, rows, groups),
            3 => self.find(3, rows, groups),
            4 => self.find(4, rows, groups),
            width => self.find(width, rows, groups),
        }
    }

    /// Writes the words and masks of the rows.
    fn encode(&mut self, keys: &[&Input], rows: usize, selected: Option<&[u32]>) -> Result<(), Error> {
        let width = self.columns.len();
        self.row_words.clear();
        self.row_words.resize(rows * width, 0);
        self.row_masks.clear();
        if keys.iter().any(|key| key.nulls().is_some()) {
            self.row_masks.resize(rows, 0);
        }
        for (at, (column, key)) in self.columns.iter_mut().zip(keys).enumerate() {
            let words = self.row_words.iter_mut().skip(at).step_by(width);
            let fits = match selected {
                None => column.encode(key, 0..rows, words),
                Some(selected) => column.encode(key, selected.iter().map(|&row| row as usize), words),
            };
            if !fits {
                return Err(Error::Overflow { state: format!("key {at}"), limit: "what a key column can hold" });
            }
            let Some(nulls) = key.nulls() else { continue };
            for (i, mask) in self.row_masks.iter_mut().enumerate() {
                let row = selected.map_or(i, |selected| selected[i] as usize);
                *mask |= u64::from(nulls.is_null(row)) << at;
            }
        }
        if !self.row_masks.is_empty() && self.masks.is_empty() {
            self.masks.resize(self.len, 0);
        }
        Ok(())
    }

    /// Finds or makes the group of each encoded row.
    #[inline(always)]
    fn find(&mut self, width: usize, rows: usize, groups: &mut Vec<u32>) -> Result<(), Error> {
        let masked = !self.masks.is_empty() || !self.row_masks.is_empty();
        for row in 0..rows {
            let row_words = &self.row_words[row * width..][..width];
            let row_mask = self.row_masks.get(row).copied().unwrap_or(0);
            let (words, masks) = (&self.words, &self.masks);
            let same = |&group: &u32| {
                let group = group as usize;
                words[group * width..][..width] == *row_words && (!masked || masks[group] == row_mask)
            };
            let hash = hash(row_words);
            if let Some(&group) = self.table.find(hash, same) {
                groups.push(group);
                continue;
            }
            let group = u32::try_from(self.len)
                .map_err(|_| Error::Overflow { state: "number of groups".to_owned(), limit: "32 bits" })?;
            self.words.extend_from_slice(row_words);
            if masked {
                self.masks.push(row_mask);
            }
            self.len += 1;
            let words = &self.words;
            self.table.insert_unique(hash, group, |&group| self::hash(&words[group as usize * width..][..width]));
            groups.push(group);
        }
        Ok(())
    }

    /// The groups in canonical order: by each column in turn, nulls first.
    pub(super) fn order(&self) -> Vec<u32> {
        let width = self.columns.len();
        let mut order = order::Order::new(self.len);
        for (at, column) in self.columns.iter().enumerate() {
            let words = self.words.iter().skip(at).step_by(width).copied();
            let null = |group: usize| self.masks.get(group).is_some_and(|mask| mask >> at & 1 == 1);
            let ordered = column.ordered(words).enumerate();
            order.then_by(ordered.map(|(group, word)| (!null(group)).then_some(word)).collect());
        }
        order.sort()
    }

    /// Takes the key columns, group `order[i]` in row `i`, and forgets the groups.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a column is larger than Arrow allows.
    pub(super) fn take(&mut self, order: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let width = self.columns.len();
        let arrays = self.columns.iter().enumerate().map(|(at, column)| {
            let words: Vec<u64> = order.iter().map(|&group| self.words[group as usize * width + at]).collect();
            let valid = |group: &u32| self.masks.get(*group as usize).is_none_or(|mask| mask >> at & 1 == 0);
            let nulls = NullBuffer::from(order.iter().map(valid).collect::<Vec<bool>>());
            column.array(&words, Some(nulls).filter(|nulls| nulls.null_count() > 0))
        });
        let arrays = arrays.collect::<Result<_, _>>();
        self.clear();
        arrays
    }

    fn clear(&mut self) {
        self.len = 0;
        clear_table(&mut self.table);
        clear_vec(&mut self.words);
        clear_vec(&mut self.masks);
        self.columns.iter_mut().for_each(|column| column.interner.clear());
    }
}

impl Column {
    /// Writes the words of `rows`; false if some value has none.
    fn encode<'a>(
        &mut self,
        key: &Input,
        rows: impl Iterator<Item = usize>,
        words: impl Iterator<Item = &'a mut u64>,
    ) -> bool {
        let rows = rows.zip(words);
        let valid = |row: usize| key.nulls().is_none_or(|nulls| nulls.is_valid(row));
        match key.values() {
            Values::Int(values) if key.nulls().is_none() => rows.for_each(|(row, word)| *word = values[row] as u64),
            Values::Int(values) => rows.for_each(|(row, word)| *word = if valid(row) { values[row] as u64 } else { 0 }),
            Values::Double(values) => {
                rows.for_each(|(row, word)| *word = if valid(row) { to_ordered(values[row]) as u64 } else { 0 });
            }
            Values::Bool(values) => rows.for_each(|(row, word)| *word = u64::from(valid(row) && values.value(row))),
            Values::Decimal(values) => return self.encode_decimals(rows.filter(|&(row, _)| valid(row)), values),
            Values::Text(values) => return self.encode_text(rows.filter(|&(row, _)| valid(row)), values),
            Values::Coded(codes, values) => {
                let mut ids = vec![None; values.len()];
                for (row, word) in rows.filter(|&(row, _)| valid(row)) {
                    let code = codes[row] as usize;
                    if ids[code].is_none() {
                        ids[code] = self.interner.intern(text(values, code));
                    }
                    let Some(id) = ids[code] else { return false };
                    *word = u64::from(id);
                }
            }
        }
        true
    }

    fn encode_decimals<'a>(&mut self, mut rows: impl Iterator<Item = (usize, &'a mut u64)>, values: &[i128]) -> bool {
        let interner = Some(&mut self.interner).filter(|_| !fits_word(self.column_type));
        match interner {
            None => rows.all(|(row, word)| i64::try_from(values[row]).map(|value| *word = value as u64).is_ok()),
            Some(interner) => rows.all(|(row, word)| {
                interner.intern(&ordered_bytes(values[row])).map(|id| *word = u64::from(id)).is_some()
            }),
        }
    }

    fn encode_text<'a>(&mut self, mut rows: impl Iterator<Item = (usize, &'a mut u64)>, values: &StringArray) -> bool {
        rows.all(|(row, word)| self.interner.intern(text(values, row)).map(|id| *word = u64::from(id)).is_some())
    }

    /// Words that order as the values of `words` do.
    fn ordered(&self, words: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
        let ranks = if is_interned(self.column_type) { self.interner.ranks() } else { Vec::new() };
        let column_type = self.column_type;
        words.map(move |word| match column_type {
            ColumnType::Bool => word,
            _ if is_interned(column_type) => ranks.get(word as usize).copied().map_or(0, u64::from),
            _ => word ^ 1 << 63,
        })
    }

    /// The column of these words.
    fn array(&self, words: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef, Error> {
        let ints = || words.iter().map(|&word| word as i64);
        Ok(match self.column_type {
            ColumnType::Int => Arc::new(Int64Array::new(ints().collect(), nulls)),
            ColumnType::Timestamp => {
                let ints = Int64Array::new(ints().collect(), nulls);
                Arc::new(ints.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC"))
            }
            ColumnType::Double => Arc::new(Float64Array::new(ints().map(from_ordered).collect(), nulls)),
            ColumnType::Bool => Arc::new(BooleanArray::new(words.iter().map(|&word| word == 1).collect(), nulls)),
            ColumnType::Decimal { .. } => {
                let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                let value = |(row, &word): (usize, &u64)| match fits_word(self.column_type) {
                    true => i128::from(word as i64),
                    false if null(row) => 0,
                    false => from_ordered_bytes(self.interner.get(word as u32)),
                };
                let values = words.iter().enumerate().map(value).collect();
                Arc::new(Decimal128Array::new(values, nulls).with_data_type(self.column_type.arrow()))
            }
            ColumnType::String => {
                let mut column = ByteColumn::new("of a dimension", words.len());
                for (row, &word) in words.iter().enumerate() {
                    if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                        column.push_null();
                    } else {
                        column.push(|bytes| bytes.extend_from_slice(self.interner.get(word as u32)))?;
                    }
                }
                let ByteRows { offsets, bytes, nulls } = column.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
        })
    }
}

fn fits_word(column_type: ColumnType) -> bool {
    !matches!(column_type, ColumnType::Decimal { precision, .. } if precision > WORD_DIGITS)
}

fn is_interned(column_type: ColumnType) -> bool {
    column_type == ColumnType::String || !fits_word(column_type)
}

/// Bytes that order as the numbers do.
fn ordered_bytes(value: i128) -> [u8; 16] {
    (value ^ i128::MIN).to_be_bytes()
}

fn from_ordered_bytes(bytes: &[u8]) -> i128 {
    i128::from_be_bytes(bytes.try_into().expect("they were made of 16 bytes")) ^ i128::MIN
}

/// Mixes the words of a key. Only this process sees it: it is not part of any format.
#[inline(always)]
fn hash(words: &[u64]) -> u64 {
    // Folded multiplication, as in wyhash; the constants are its own.
    words.iter().fold(0xa076_1d64_78bd_642f, |hash, &word| {
        let product = u128::from(hash ^ word) * 0xe703_7ed1_a0b4_28db;
        (product >> 64) as u64 ^ product as u64
    })
}

/// More than this many spare slots are given back when a table is emptied.
const SPARE_MAX: usize = 1 << 16;

/// Empties `table`; what was much larger than this use needed is given back.
pub(super) fn clear_table(table: &mut HashTable<u32>) {
    if table.capacity() > SPARE_MAX && table.capacity() / 8 > table.len() {
        *table = HashTable::new();
    } else {
        table.clear();
    }
}

/// As [`clear_table`].
pub(super) fn clear_vec<T>(vec: &mut Vec<T>) {
    if vec.capacity() > SPARE_MAX && vec.capacity() / 8 > vec.len() {
        *vec = Vec::new();
    } else {
        vec.clear();
    }
}
