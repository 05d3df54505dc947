//! A column as the kernel reads it: its type checked once, its coupons made once for all states that need them.

use std::cell::OnceCell;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    buffer::{BooleanBuffer, NullBuffer},
    datatypes::{DataType, Decimal64Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};

use super::{Error, hyperloglog::coupon, murmur};
use crate::schema::ColumnType;

/// A checked column.
#[derive(Debug)]
pub(crate) struct Input {
    array: ArrayRef,
    column_type: ColumnType,
    nulls: Option<NullBuffer>,
    bounds: OnceCell<(i64, i64)>,
    coupons: OnceCell<Vec<u32>>,
    /// Units of decimals in 64 bits, if they come in more and all fit.
    units: OnceCell<Option<Vec<i64>>>,
}

/// The values of a column. Those of null rows mean nothing; a code of a null row may be out of range.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Ints, or time stamps in µs.
    Int(&'a [i64]),
    Double(&'a [f64]),
    /// In units of 10^-scale.
    Decimal(Units<'a>),
    Bool(&'a BooleanBuffer),
    Text(&'a StringArray),
    /// Codes, and the text of each code.
    Coded(&'a [i32], &'a StringArray),
}

/// The units of decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Units<'a> {
    /// Of those of up to 18 digits that come in 64 bits: `Decimal64`.
    Short(&'a [i64]),
    Long(&'a [i128]),
}

impl Units<'_> {
    /// The units in `row`.
    #[inline(always)]
    pub(crate) fn at(self, row: usize) -> i128 {
        match self {
            Self::Short(units) => i128::from(units[row]),
            Self::Long(units) => units[row],
        }
    }
}

impl Input {
    /// The column `array`, called `name()` if it is not of `expected`.
    ///
    /// # Errors
    /// [`Error::Type`].
    pub(crate) fn new(name: impl Fn() -> String, array: ArrayRef, expected: ColumnType) -> Result<Self, Error> {
        let got = array.data_type();
        let is_other_form = match expected {
            ColumnType::String => is_coded_text(got),
            ColumnType::Decimal { precision, scale } => *got == DataType::Decimal64(precision, scale as i8),
            _ => false,
        };
        if *got != expected.arrow() && !is_other_form {
            return Err(Error::Type { column: name(), got: got.clone(), expected: expected.arrow() });
        }
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let (bounds, coupons, units) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Ok(Self { array, column_type: expected, nulls, bounds, coupons, units })
    }

    /// The same, of ints, time stamps or units of decimals none of which is less than the first or greater than the second.
    pub(crate) fn within(self, least: i64, greatest: i64) -> Self {
        Self { bounds: (least, greatest).into(), ..self }
    }

    /// What [`Self::within`] said, or [`Self::find_bounds`] found.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        self.bounds.get().copied()
    }

    /// The least and the greatest of ints or time stamps, of which there is one at least and none is null.
    pub(crate) fn find_bounds(&self) -> (i64, i64) {
        *self.bounds.get_or_init(|| bounds(self.ints().unwrap_or_default()))
    }

    /// The column itself.
    pub(crate) fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.array.len()
    }

    /// The rows that are null, whether by their own bit or by their code's; `None` if there are none.
    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }

    /// The values.
    pub(crate) fn values(&self) -> Values<'_> {
        match self.column_type {
            ColumnType::Int => Values::Int(self.array.as_primitive::<Int64Type>().values()),
            ColumnType::Timestamp => Values::Int(self.array.as_primitive::<TimestampMicrosecondType>().values()),
            ColumnType::Double => Values::Double(self.array.as_primitive::<Float64Type>().values()),
            ColumnType::Decimal { .. } => Values::Decimal(match self.array.as_primitive_opt::<Decimal64Type>() {
                Some(short) => Units::Short(short.values()),
                None => Units::Long(self.array.as_primitive::<Decimal128Type>().values()),
            }),
            ColumnType::Bool => Values::Bool(self.array.as_boolean().values()),
            ColumnType::String => match self.array.as_dictionary_opt::<Int32Type>() {
                Some(coded) => Values::Coded(coded.keys().values(), coded.values().as_string()),
                None => Values::Text(self.array.as_string()),
            },
        }
    }

    /// The values, where they are ints, time stamps or decimals whose units all fit 64 bits.
    pub(crate) fn ints(&self) -> Option<&[i64]> {
        match self.values() {
            Values::Int(ints) | Values::Decimal(Units::Short(ints)) => Some(ints),
            Values::Decimal(Units::Long(units)) => {
                let short = || units.iter().map(|&units| i64::try_from(units).ok()).collect();
                self.units.get_or_init(short).as_deref()
            }
            _ => None,
        }
    }

    /// The coupon of each row's value; see [`coupon`]. Those of null rows mean nothing.
    ///
    /// What is hashed is what Apache DataSketches hashes: of an int, a time stamp or a bool (0 or 1) the 8 bytes of the number,
    /// little-endian; of a double the 8 bytes of its canonical form; of text the UTF-8. Of a decimal, which it does not know,
    /// the 16 bytes of the number in units of its last digit. It skips empty text; here that is a value like others.
    pub(crate) fn coupons(&self) -> &[u32] {
        let of_word = |word: u64| coupon(murmur::hash_word(word));
        let of_bytes = |bytes: &[u8]| coupon(murmur::hash(bytes));
        self.coupons.get_or_init(|| match self.values() {
            Values::Int(values) => values.iter().map(|&v| of_word(v as u64)).collect(),
            Values::Double(values) => values.iter().map(|&v| of_word(canonical(v).to_bits())).collect(),
            Values::Decimal(units) => (0..self.len()).map(|row| of_bytes(&units.at(row).to_le_bytes())).collect(),
            Values::Bool(values) => values.iter().map(|v| of_word(u64::from(v))).collect(),
            Values::Text(values) => (0..values.len()).map(|row| of_bytes(text(values, row))).collect(),
            Values::Coded(codes, values) => {
                let of_code: Vec<u32> = (0..values.len()).map(|code| of_bytes(text(values, code))).collect();
                codes.iter().map(|&code| of_code.get(code as usize).copied().unwrap_or(0)).collect()
            }
        })
    }
}

/// The least and the greatest of `values`; not in order if there are none.
pub(crate) fn bounds(values: &[i64]) -> (i64, i64) {
    const LANES: usize = 4;
    // A minimum waits for the one before: so several are found side by side.
    let (mut least, mut greatest) = ([i64::MAX; LANES], [i64::MIN; LANES]);
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for ((least, greatest), &value) in least.iter_mut().zip(&mut greatest).zip(block) {
            (*least, *greatest) = ((*least).min(value), (*greatest).max(value));
        }
    }
    let least = rest.iter().chain(&least).fold(i64::MAX, |least, &value| least.min(value));
    (least, rest.iter().chain(&greatest).fold(i64::MIN, |greatest, &value| greatest.max(value)))
}

fn is_coded_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(codes, values) if **codes == DataType::Int32 && **values == DataType::Utf8)
}

/// The bytes of one row; some bytes if the row is null.
#[inline]
pub(crate) fn text(values: &StringArray, row: usize) -> &[u8] {
    values.value(row).as_bytes()
}

/// The one double that stands for all that are equal to `value`: 0.0 for -0.0, one NaN for all NaNs.
#[inline]
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        // -0.0 + 0.0 is 0.0, and adding 0.0 changes nothing else.
        value + 0.0
    }
}

/// A number that orders as doubles do here: by value, NaN greatest, -0.0 being 0.0. [`from_ordered`] takes it back.
#[inline]
pub(crate) fn to_ordered(value: f64) -> i64 {
    flip(canonical(value).to_bits() as i64)
}

/// The canonical double whose [`to_ordered`] is `ordered`.
#[inline]
pub(crate) fn from_ordered(ordered: i64) -> f64 {
    f64::from_bits(flip(ordered) as u64)
}

/// Negative doubles order backwards by their bits below the sign: flips these, and is its own inverse.
#[inline]
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}
