//! One key column: how its values become small numbers, and back.
//!
//! Ints, doubles, bools and short decimals are their own numbers, in the order of their values. Text, long decimals and the
//! buckets, of which there are few, are numbered as they come.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray},
    buffer::NullBuffer,
    datatypes::TimestampMicrosecondType,
};

use super::{interner::Interner, spread, steps::Steps};
use crate::{
    grain::{Grain, SECOND_US, Step},
    measure::{
        Error,
        bytes::{ByteColumn, ByteRows},
        input::{Input, Units, Values, bounds, from_ordered, text, to_ordered},
    },
    schema::ColumnType,
};

/// Decimals of at most this many digits fit 64 bits.
const SHORT_DIGITS: u8 = 18;

/// The rows of a batch that are folded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked<'a> {
    /// How many rows the batch has.
    pub(super) rows: usize,
    /// Which of them are folded; all if `None`.
    pub(super) selected: Option<&'a [u32]>,
}

impl Picked<'_> {
    pub(super) fn len(self) -> usize {
        self.selected.map_or(self.rows, <[u32]>::len)
    }

    /// Calls `visit(row)` for each. Two loops, so that the common one has no look-up.
    #[inline(always)]
    pub(super) fn each(self, mut visit: impl FnMut(usize)) {
        match self.selected {
            None => (0..self.rows).for_each(visit),
            Some(selected) => selected.iter().for_each(|&row| visit(row as usize)),
        }
    }
}

/// What the values of a column are numbered by.
#[derive(Debug)]
enum Names {
    /// They are numbers.
    Own,
    Multiples(Multiples),
    Steps(Box<Steps>),
    Bytes(Interner),
}

/// Time stamps that are all `origin_us + k · width_us`, by their k.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Multiples {
    width_us: i64,
    origin_us: i64,
    inverse: f64,
}

impl Multiples {
    /// Those that the buckets of `grain` start at, if they do so at a fixed distance of a second or more.
    pub(super) fn of(grain: Grain) -> Option<Self> {
        match (grain.zone(), grain.step()) {
            (None, Step::Width { width_us: width_us @ SECOND_US.., origin_us }) => {
                Some(Self { width_us, origin_us, inverse: 1.0 / width_us as f64 })
            }
            _ => None,
        }
    }

    /// The k of a multiple. A product is less wrong than a thousandth for every time stamp, and faster than a division; adding
    /// this much to it leaves its nearest integer in the low bits.
    #[inline(always)]
    fn number(self, time_us: i64) -> i64 {
        const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
        let product = time_us.wrapping_sub(self.origin_us) as f64 * self.inverse;
        ((product + ROUND).to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64)
    }

    #[inline(always)]
    fn value(self, number: i64) -> i64 {
        number.wrapping_mul(self.width_us).wrapping_add(self.origin_us)
    }

    /// The numbers of `times`, of which nulls may be anything.
    fn numbers(self, times: &[i64], nulls: Option<&NullBuffer>) -> Result<Vec<i64>, Error> {
        let numbers: Vec<i64> = times.iter().map(|&time| self.number(time)).collect();
        let off = |(&number, &time): (&i64, &i64)| self.value(number) ^ time;
        let exact = match nulls {
            None => numbers.iter().zip(times).fold(0, |all, pair| all | off(pair)) == 0,
            Some(nulls) => numbers.iter().zip(times).zip(nulls.iter()).all(|(pair, valid)| !valid || off(pair) == 0),
        };
        let message = || format!("a bucket does not start at a multiple of {} µs", self.width_us);
        if exact { Ok(numbers) } else { Err(Error::Corrupt { state: "bucket", message: message() }) }
    }
}

/// A key column.
#[derive(Debug)]
pub(super) struct Column {
    column_type: ColumnType,
    names: Names,
    /// The least and the greatest number so far; none if not in order.
    range: (i64, i64),
    /// The numbers of the picked rows of the batch at hand plus one, or 0 for a null, unless the values are their own.
    numbers: Vec<u32>,
    /// The last dictionary, with the number plus one of each of its texts.
    dictionary: Option<(StringArray, Vec<u32>)>,
}

/// What [`Column::read`] has found.
#[derive(Debug)]
pub(super) struct Read<'a> {
    numbers: Numbers<'a>,
    nulls: Option<NullBuffer>,
}

/// The numbers of rows.
#[derive(Debug)]
enum Numbers<'a> {
    /// They are in the column.
    Kept,
    /// The values themselves.
    Own(Cow<'a, [i64]>),
    /// All rows have this one.
    Same(i64),
}

impl Read<'_> {
    /// The number that all rows have, if they do.
    pub(super) fn same(&self) -> Option<i64> {
        if let Numbers::Same(number) = self.numbers { Some(number) } else { None }
    }
}

impl Column {
    /// The first column, of buckets: multiples, or else time stamps of which there are few.
    pub(super) fn of_buckets(column_type: ColumnType, multiples: Option<Multiples>) -> Self {
        let mut column = Self::new(column_type, true);
        if let Some(multiples) = multiples {
            column.names = Names::Multiples(multiples);
        }
        column
    }

    /// A column of this type. Of time stamps in the `first` column there are few.
    pub(super) fn new(column_type: ColumnType, first: bool) -> Self {
        let names = match column_type {
            ColumnType::Timestamp if first => Names::Steps(Box::default()),
            ColumnType::String => Names::Bytes(Interner::default()),
            ColumnType::Decimal { precision, .. } if precision > SHORT_DIGITS => Names::Bytes(Interner::default()),
            _ => Names::Own,
        };
        Self { column_type, names, range: (i64::MAX, i64::MIN), numbers: Vec::new(), dictionary: None }
    }

    pub(super) fn column_type(&self) -> ColumnType {
        self.column_type
    }

    /// Forgets all values, but not their range: what comes next is likely to be like it.
    pub(super) fn clear(&mut self) {
        match &mut self.names {
            Names::Own | Names::Multiples(_) => {}
            Names::Steps(steps) => **steps = Steps::default(),
            Names::Bytes(interner) => *interner = Interner::default(),
        }
        self.dictionary = None;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let names = match &self.names {
            Names::Own | Names::Multiples(_) => 0,
            Names::Steps(steps) => steps.bytes(),
            Names::Bytes(interner) => interner.held(),
        };
        names + self.numbers.capacity() * size_of::<u32>()
    }

    /// The least and the greatest number so far, none if not in order.
    pub(super) fn range(&self) -> (i64, i64) {
        match &self.names {
            Names::Own | Names::Multiples(_) => self.range,
            Names::Steps(steps) => (0, steps.values().len() as i64 - 1),
            Names::Bytes(interner) => (0, interner.len() as i64 - 1),
        }
    }

    /// Finds the numbers of the picked rows.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn read<'a>(&mut self, key: &'a Input, picked: Picked<'_>) -> Result<Read<'a>, Error> {
        let nulls = key.nulls();
        if let Some((least, greatest)) = key.bounds()
            && least == greatest
            && nulls.is_none()
            && let Some(number) = self.number_one(least)?
        {
            return Ok(Read { numbers: Numbers::Same(number), nulls: None });
        }
        let own = match key.values() {
            Values::Int(values) if matches!(self.names, Names::Own) => Some(Cow::Borrowed(values)),
            Values::Int(values) if let Names::Multiples(multiples) = self.names => {
                Some(Cow::Owned(multiples.numbers(values, nulls)?))
            }
            Values::Double(values) => Some(values.iter().map(|&value| to_ordered(value)).collect()),
            Values::Bool(values) => Some(values.iter().map(i64::from).collect()),
            Values::Decimal(Units::Short(units)) if matches!(self.names, Names::Own) => Some(Cow::Borrowed(units)),
            Values::Decimal(Units::Long(units)) if matches!(self.names, Names::Own) => {
                Some(units.iter().map(|&units| units as i64).collect())
            }
            _ => None,
        };
        if let (Values::Decimal(Units::Long(values)), Some(own)) = (key.values(), &own) {
            // Those of null rows may be anything.
            let fits =
                |row: usize| values[row] == i128::from(own[row]) || nulls.is_some_and(|nulls| nulls.is_null(row));
            let mut all = true;
            picked.each(|row| all &= fits(row));
            if !all {
                return Err(Error::Overflow { state: "key".to_owned(), limit: "the digits of its type" });
            }
        }
        let numbers = if let Some(values) = own {
            match (key.bounds(), &self.names) {
                (None, _) => self.widen(&values, nulls, picked),
                (Some((least, greatest)), Names::Multiples(multiples)) => {
                    self.widen_to(multiples.number(least), multiples.number(greatest));
                }
                (Some((least, greatest)), _) => self.widen_to(least, greatest),
            }
            Numbers::Own(values)
        } else {
            self.number(key, picked)?;
            Numbers::Kept
        };
        Ok(Read { numbers, nulls: nulls.cloned() })
    }

    /// The number of an int, a time stamp or the units of a short decimal; `None` if it has none of its own.
    fn number_one(&mut self, value: i64) -> Result<Option<i64>, Error> {
        let number = match &mut self.names {
            Names::Own => value,
            Names::Multiples(multiples) => multiples.numbers(&[value], None)?[0],
            Names::Steps(steps) => return Ok(Some(i64::from(steps.number(value)))),
            Names::Bytes(_) => return Ok(None),
        };
        self.widen_to(number, number);
        Ok(Some(number))
    }

    /// Finds the numbers of values that another column of the same type has numbered.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub(super) fn translate(
        &mut self,
        from: &Self,
        numbers: Vec<i64>,
        nulls: Option<NullBuffer>,
    ) -> Result<Read<'static>, Error> {
        let numbers = match (&mut self.names, &from.names) {
            (Names::Steps(ours), Names::Steps(theirs)) => {
                let number = |number: i64| Some(ours.number(theirs.values()[number as usize]));
                translated(&mut self.numbers, &numbers, nulls.as_ref(), theirs.values().len(), number)?;
                Numbers::Kept
            }
            (Names::Bytes(ours), Names::Bytes(theirs)) => {
                let number = |number: i64| ours.intern(theirs.get(number as u32));
                translated(&mut self.numbers, &numbers, nulls.as_ref(), theirs.len(), number)?;
                Numbers::Kept
            }
            _ => {
                self.widen(&numbers, nulls.as_ref(), Picked { rows: numbers.len(), selected: None });
                Numbers::Own(Cow::Owned(numbers))
            }
        };
        Ok(Read { numbers, nulls })
    }

    /// Chains the hash of each number's value, as [`spread`] defines it, to that of its row.
    pub(super) fn chain(&self, numbers: &[i64], nulls: Option<&NullBuffer>, hashes: &mut [u64]) {
        let of_names: Vec<u64>;
        let of_bytes = |bytes: &[u8]| match self.column_type {
            ColumnType::Decimal { .. } => spread::of_decimal(from_ordered_bytes(bytes)),
            _ => spread::of_text(bytes),
        };
        let value: &dyn Fn(i64) -> u64 = match (&self.names, self.column_type) {
            (Names::Steps(steps), _) => &|number| spread::of_number(steps.values()[number as usize]),
            (Names::Bytes(interner), _) if numbers.len() < interner.len() => {
                &|number| of_bytes(interner.get(number as u32))
            }
            (Names::Bytes(interner), _) => {
                of_names = (0..interner.len() as u32).map(|number| of_bytes(interner.get(number))).collect();
                &|number| of_names[number as usize]
            }
            (Names::Multiples(multiples), _) => &|number| spread::of_number(multiples.value(number)),
            (Names::Own, ColumnType::Decimal { .. }) => &|number| spread::of_decimal(i128::from(number)),
            (Names::Own, _) => &spread::of_number,
        };
        for (row, (hash, &number)) in hashes.iter_mut().zip(numbers).enumerate() {
            let null = nulls.is_some_and(|nulls| nulls.is_null(row));
            *hash = spread::chain(*hash, if null { 0 } else { value(number) });
        }
    }

    fn widen(&mut self, values: &[i64], nulls: Option<&NullBuffer>, picked: Picked<'_>) {
        let (mut least, mut greatest) = self.range;
        match nulls {
            None if picked.selected.is_none() => {
                let of_all = bounds(values);
                (least, greatest) = (least.min(of_all.0), greatest.max(of_all.1));
            }
            None => picked.each(|row| (least, greatest) = (least.min(values[row]), greatest.max(values[row]))),
            Some(nulls) => picked.each(|row| {
                if nulls.is_valid(row) {
                    (least, greatest) = (least.min(values[row]), greatest.max(values[row]));
                }
            }),
        }
        self.range = (least, greatest);
    }

    fn widen_to(&mut self, least: i64, greatest: i64) {
        self.range = (self.range.0.min(least), self.range.1.max(greatest));
    }

    fn number(&mut self, key: &Input, picked: Picked<'_>) -> Result<(), Error> {
        let Self { names, numbers, dictionary, .. } = self;
        let null = |row: usize| key.nulls().is_some_and(|nulls| nulls.is_null(row));
        numbers.clear();
        numbers.reserve(picked.len());
        match (names, key.values()) {
            (Names::Steps(steps), Values::Int(values)) => match key.nulls() {
                None => picked.each(|row| numbers.push(steps.number(values[row]) + 1)),
                Some(_) => picked.each(|row| numbers.push(if null(row) { 0 } else { steps.number(values[row]) + 1 })),
            },
            (Names::Bytes(interner), Values::Coded(codes, values)) if values.len() <= picked.len() => {
                let numbered = numbered(dictionary, values, interner)?;
                match key.nulls() {
                    None => picked.each(|row| numbers.push(numbered[codes[row] as usize])),
                    Some(_) => {
                        picked.each(|row| numbers.push(if null(row) { 0 } else { numbered[codes[row] as usize] }))
                    }
                }
            }
            (Names::Bytes(interner), values) => {
                let mut full = false;
                let mut intern = |bytes: &[u8]| {
                    let number = interner.intern(bytes);
                    full |= number.is_none();
                    number.unwrap_or(0) + 1
                };
                picked.each(|row| {
                    numbers.push(match values {
                        _ if null(row) => 0,
                        Values::Text(values) => intern(text(values, row)),
                        Values::Coded(codes, values) => intern(text(values, codes[row] as usize)),
                        Values::Decimal(units) => intern(&ordered_bytes(units.at(row))),
                        _ => unreachable!("the key's type was checked"),
                    });
                });
                if full {
                    return Err(too_many());
                }
            }
            _ => unreachable!("the key's type was checked"),
        }
        Ok(())
    }

    /// The time stamp of a number.
    pub(super) fn time_of(&self, number: i64) -> i64 {
        match &self.names {
            Names::Steps(steps) => steps.values()[number as usize],
            Names::Multiples(multiples) => multiples.value(number),
            Names::Own | Names::Bytes(_) => number,
        }
    }

    /// Whether numbers order as the values do, so that less than the least may come.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.names, Names::Own | Names::Multiples(_))
    }

    /// Calls `visit(i, number)` for the picked rows in turn, `None` for a null.
    #[inline(always)]
    fn visit(&self, read: &Read<'_>, picked: Picked<'_>, mut visit: impl FnMut(usize, Option<i64>)) {
        let mut i = 0;
        let mut next = |number: Option<i64>| {
            visit(i, number);
            i += 1;
        };
        match (&read.numbers, &read.nulls) {
            (Numbers::Kept, _) => self.numbers.iter().for_each(|&n| next((n > 0).then(|| i64::from(n) - 1))),
            (&Numbers::Same(number), _) => picked.each(|_| next(Some(number))),
            (Numbers::Own(values), None) => picked.each(|row| next(Some(values[row]))),
            (Numbers::Own(values), Some(nulls)) => picked.each(|row| next(nulls.is_valid(row).then(|| values[row]))),
        }
    }

    /// Appends a field of `bits` bits to the key of each picked row: 0 for a null, else the number's distance from one
    /// before `base`.
    pub(super) fn pack(&self, read: &Read<'_>, picked: Picked<'_>, base: i64, bits: u32, keys: &mut [u64]) {
        let field = |number: i64| number.wrapping_sub(base) as u64 + 1;
        match (&read.numbers, &read.nulls, picked.selected) {
            // The usual columns have loops that the compiler sees through.
            (Numbers::Kept, ..) if base == 0 => {
                for (key, &number) in keys.iter_mut().zip(&self.numbers) {
                    *key = key.wrapping_shl(bits) | u64::from(number);
                }
            }
            (Numbers::Own(values), None, None) => {
                // Only if this is the one field has it all 64 bits, and what would be shifted by none is 0.
                for (key, &number) in keys.iter_mut().zip(values.iter()) {
                    *key = key.wrapping_shl(bits) | field(number);
                }
            }
            _ => self.visit(read, picked, |i, number| {
                keys[i] = keys[i].unbounded_shl(bits) | number.map_or(0, field);
            }),
        }
    }

    /// Writes nine bytes of each picked row's key, `at` being where in the `width` bytes of a row.
    pub(super) fn spell(&self, read: &Read<'_>, picked: Picked<'_>, at: usize, width: usize, keys: &mut [u8]) {
        self.visit(read, picked, |i, number| spell(number, &mut keys[i * width + at..][..SPELLED]));
    }

    /// Numbers that order as the values do, `None` for a null.
    pub(super) fn ordered(&self, numbers: impl Iterator<Item = Option<i64>>) -> Vec<Option<u64>> {
        let ranks = self.ranks();
        let ordered = |number: i64| match &ranks {
            None => number as u64 ^ 1 << 63,
            Some(ranks) => u64::from(ranks[number as usize]),
        };
        numbers.map(|number| number.map(ordered)).collect()
    }

    /// For each number, its place in the order of the values; `None` if numbers order as values do.
    pub(super) fn ranks(&self) -> Option<Vec<u32>> {
        match &self.names {
            Names::Own | Names::Multiples(_) => None,
            Names::Steps(steps) => Some(steps.ranks()),
            Names::Bytes(interner) => Some(interner.ranks()),
        }
    }

    /// The column of these numbers.
    ///
    /// # Errors
    /// [`Error::Overflow`] if it is larger than Arrow allows.
    pub(super) fn array(&self, numbers: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef, Error> {
        let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        Ok(match (self.column_type, &self.names) {
            (ColumnType::Int, _) => Arc::new(Int64Array::new(numbers.into(), nulls)),
            (ColumnType::Timestamp, Names::Own) => time_stamps(numbers, nulls),
            (ColumnType::Timestamp, _) => {
                let time = |(row, &number): (usize, &i64)| if null(row) { 0 } else { self.time_of(number) };
                time_stamps(numbers.iter().enumerate().map(time).collect(), nulls)
            }
            (ColumnType::Double, _) => {
                Arc::new(Float64Array::new(numbers.into_iter().map(from_ordered).collect(), nulls))
            }
            (ColumnType::Bool, _) => {
                Arc::new(BooleanArray::new(numbers.into_iter().map(|number| number == 1).collect(), nulls))
            }
            (ColumnType::Decimal { .. }, names) => {
                let value = |(row, &number): (usize, &i64)| match names {
                    _ if null(row) => 0,
                    Names::Bytes(interner) => from_ordered_bytes(interner.get(number as u32)),
                    _ => i128::from(number),
                };
                let values = numbers.iter().enumerate().map(value).collect();
                Arc::new(Decimal128Array::new(values, nulls).with_data_type(self.column_type.arrow()))
            }
            (ColumnType::String, Names::Bytes(interner)) => {
                let mut column = ByteColumn::new("of a dimension", numbers.len());
                for (row, number) in numbers.into_iter().enumerate() {
                    if null(row) {
                        column.push_null();
                    } else {
                        column.push(|bytes| bytes.extend_from_slice(interner.get(number as u32)))?;
                    }
                }
                let ByteRows { offsets, bytes, nulls } = column.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            (ColumnType::String, _) => unreachable!("text is interned"),
        })
    }
}

/// The numbers plus one of the texts of a dictionary. One that comes again, as it does in every batch of a row group, is
/// numbered already.
fn numbered<'a>(
    last: &'a mut Option<(StringArray, Vec<u32>)>,
    values: &StringArray,
    interner: &mut Interner,
) -> Result<&'a [u32], Error> {
    let same = |(array, _): &(StringArray, Vec<u32>)| {
        // The one at hand is held, so no other can be in its place.
        array.values().as_ptr() == values.values().as_ptr()
            && array.offsets().as_ptr() == values.offsets().as_ptr()
            && array.len() == values.len()
    };
    if !last.as_ref().is_some_and(same) {
        let numbers: Option<_> = (0..values.len()).map(|at| interner.intern(text(values, at)).map(|n| n + 1)).collect();
        *last = Some((values.clone(), numbers.ok_or_else(too_many)?));
    }
    Ok(last.as_ref().map_or(&[], |(_, numbers)| numbers))
}

/// Finds numbers plus one, or 0 of a null, each once: what `number` makes of those there are, of which there are `count`.
fn translated(
    found: &mut Vec<u32>,
    numbers: &[i64],
    nulls: Option<&NullBuffer>,
    count: usize,
    mut number: impl FnMut(i64) -> Option<u32>,
) -> Result<(), Error> {
    let mut known = vec![0; count];
    found.clear();
    for (row, &theirs) in numbers.iter().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            found.push(0);
            continue;
        }
        let ours = &mut known[theirs as usize];
        if *ours == 0 {
            *ours = number(theirs).ok_or_else(too_many)? + 1;
        }
        found.push(*ours);
    }
    Ok(())
}

fn too_many() -> Error {
    Error::Overflow { state: "number of values of a dimension".to_owned(), limit: "32 bits" }
}

fn time_stamps(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let ints = Int64Array::new(values.into(), nulls);
    Arc::new(ints.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC"))
}

/// Bytes that a number or a null is spelled with.
pub(super) const SPELLED: usize = 9;

fn spell(number: Option<i64>, bytes: &mut [u8]) {
    bytes[0] = u8::from(number.is_some());
    bytes[1..].copy_from_slice(&number.unwrap_or(0).to_le_bytes());
}

/// What [`spell`] has written.
pub(super) fn spelled(bytes: &[u8]) -> Option<i64> {
    let number = || i64::from_le_bytes(bytes[1..].try_into().expect("nine bytes were spelled"));
    (bytes[0] == 1).then(number)
}

/// The spelling of one number.
pub(super) fn spelling(number: Option<i64>) -> [u8; SPELLED] {
    let mut bytes = [0; SPELLED];
    spell(number, &mut bytes);
    bytes
}

/// Bytes that order as the numbers do.
fn ordered_bytes(value: i128) -> [u8; 16] {
    (value ^ i128::MIN).to_be_bytes()
}

fn from_ordered_bytes(bytes: &[u8]) -> i128 {
    i128::from_be_bytes(bytes.try_into().expect("they were made of 16 bytes")) ^ i128::MIN
}
