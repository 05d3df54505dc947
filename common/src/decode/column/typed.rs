//! Values that come with a type of their own, as binary formats give them: taken into a column if its type holds them exactly.
//!
//! What fits which column must be what a JSON text of the same value would be: one event is the same in all formats.

use uuid::Uuid;

use super::{ColumnBuilder, Key, Values, number, time};
use crate::{event::Reason, schema::TimestampFormat};

/// A value of a binary format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Typed<'v> {
    /// There is none.
    Absent,
    /// There is one that says it is none.
    Null,
    Int(i64),
    /// Beyond the 64 bits of an [`Self::Int`].
    Large(u64),
    Double(f64),
    Bool(bool),
    Text(&'v str),
    /// `unscaled` / 10^`scale`.
    Decimal {
        unscaled: i128,
        scale: u32,
    },
    /// A decimal of more than 128 bits: no column takes it.
    Huge,
    /// Microseconds since 1970-01-01 UTC; `None` beyond 64 bits.
    Instant(Option<i64>),
    /// As text, 8-4-4-4-12 digits.
    Uuid([u8; 16]),
    /// What no column takes: a record, an array, a map.
    Composite,
}

impl Typed<'_> {
    /// The decimal that `bytes` write, as Avro and Confluent have it: a two's complement, the highest byte first.
    #[inline]
    pub(in super::super) fn decimal(bytes: &[u8], scale: u32) -> Self {
        twos_complement(bytes).map_or(Self::Huge, |unscaled| Self::Decimal { unscaled, scale })
    }

    /// The value as a dead letter shows it.
    pub(in super::super) fn shown(&self) -> String {
        match self {
            Self::Absent => "nothing".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Large(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Decimal { unscaled, scale: 0 } => unscaled.to_string(),
            Self::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}"),
            Self::Huge => "a number of more than 128 bits".to_owned(),
            Self::Instant(Some(us)) => super::super::fault::instant(*us),
            Self::Instant(None) => "a time beyond all calendars".to_owned(),
            Self::Uuid(bytes) => Uuid::from_bytes(*bytes).to_string(),
            Self::Composite => "a value of several parts".to_owned(),
        }
    }
}

impl ColumnBuilder {
    /// Appends `value`.
    ///
    /// # Errors
    /// [`Reason::Missing`], [`Reason::Type`], [`Reason::Range`]: then nothing was appended.
    #[inline]
    pub(in super::super) fn append_typed(&mut self, value: Typed<'_>) -> Result<(), Reason> {
        match value {
            Typed::Absent | Typed::Null if self.nullable => self.push_nulls(1),
            Typed::Absent | Typed::Null => return Err(Reason::Missing),
            value => {
                self.values.append_typed(value)?;
                self.rows += 1;
            }
        }
        Ok(())
    }
}

impl Values {
    #[inline]
    fn append_typed(&mut self, value: Typed<'_>) -> Result<(), Reason> {
        match (self, value) {
            (Self::Int { values, min, max }, Typed::Int(value)) => push(values, value, *min, *max),
            (Self::Double { values, min, max }, Typed::Double(value)) if value.is_finite() => {
                push(values, value, *min, *max)
            }
            (Self::Double { values, min, max }, Typed::Int(value)) => push(values, value as f64, *min, *max),
            (Self::Double { values, min, max }, Typed::Large(value)) => push(values, value as f64, *min, *max),
            (Self::Decimal { values, precision, scale, .. }, value) => {
                values.push(decimal(value, *precision, *scale).ok_or(Reason::Type)?);
                Ok(())
            }
            (Self::String(strings), Typed::Text(text)) => {
                strings.push(&Key::new(text.as_bytes()));
                Ok(())
            }
            (Self::String(strings), Typed::Uuid(bytes)) => {
                let mut text = Uuid::encode_buffer();
                strings.push(&Key::new(Uuid::from_bytes(bytes).as_hyphenated().encode_lower(&mut text).as_bytes()));
                Ok(())
            }
            (Self::Bool(values), Typed::Bool(value)) => {
                values.push(value);
                Ok(())
            }
            (Self::Timestamp { values, format }, value) => {
                values.push(instant(value, *format).ok_or(Reason::Type)?);
                Ok(())
            }
            _ => Err(Reason::Type),
        }
    }
}

fn push<T: PartialOrd>(values: &mut Vec<T>, value: T, min: T, max: T) -> Result<(), Reason> {
    if value < min || value > max {
        return Err(Reason::Range);
    }
    values.push(value);
    Ok(())
}

/// The value times 10^`scale`, if that is whole and has at most `precision` digits.
#[inline]
fn decimal(value: Typed<'_>, precision: u8, scale: u8) -> Option<i128> {
    let (unscaled, from) = match value {
        Typed::Int(value) => (value.into(), 0),
        Typed::Large(value) => (value.into(), 0),
        Typed::Decimal { unscaled, scale } => (unscaled, scale),
        Typed::Text(text) if number::is_number(text) => return number::decimal(text, precision, scale).ok(),
        _ => return None,
    };
    let to = u32::from(scale);
    let value = match POWERS.get(to.abs_diff(from) as usize) {
        _ if unscaled == 0 => 0,
        Some(&power) if to >= from => unscaled.checked_mul(power)?,
        Some(&power) if unscaled % power == 0 => unscaled / power,
        _ => return None,
    };
    (value.unsigned_abs() < POWERS[usize::from(precision)].unsigned_abs()).then_some(value)
}

/// The powers of ten that an `i128` holds.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

fn instant(value: Typed<'_>, format: TimestampFormat) -> Option<i64> {
    match value {
        Typed::Instant(us) => time::epoch(us?, TimestampFormat::Micros),
        Typed::Int(count) => time::epoch(count, format),
        Typed::Text(text) if format == TimestampFormat::Rfc3339 => time::rfc3339(text.as_bytes()),
        _ => None,
    }
}

/// The number that `bytes` write, the highest first; `None` beyond 128 bits. No bytes are a 0.
fn twos_complement(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|&byte| byte >= 0x80);
    let filler = if negative { 0xFF } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    let (filling, significant) = bytes.split_at(spare);
    let mut whole = [filler; 16];
    whole[16 - significant.len()..].copy_from_slice(significant);
    let number = i128::from_be_bytes(whole);
    (filling.iter().all(|&byte| byte == filler) && (number < 0) == negative).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_of_any_length() {
        for (bytes, expected) in [
            (&[][..], Some(0)),
            (&[0x7F], Some(127)),
            (&[0x80], Some(-128)),
            (&[0xFF, 0xFF, 0x80], Some(-128)),
            (&[0x00, 0x80], Some(128)),
            (&[0x00; 20], Some(0)),
            (&[0xFF; 17], Some(-1)),
            (&[0x7F; 17], None),
            (&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(twos_complement(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_what_its_text_is(unscaled in any::<i128>(), from in 0..40_u32, precision in 1..=38_u8, scale in 0..=38_u8) {
            prop_assume!(scale <= precision);
            let text = format!("{unscaled}e-{from}");
            let expected = number::decimal(&text, precision, scale).ok();
            prop_assert_eq!(decimal(Typed::Decimal { unscaled, scale: from }, precision, scale), expected);
        }

        #[test]
        fn an_int_is_a_decimal_without_places(value in any::<i64>(), precision in 1..=38_u8, scale in 0..=38_u8) {
            prop_assume!(scale <= precision);
            let expected = number::decimal(&value.to_string(), precision, scale).ok();
            prop_assert_eq!(decimal(Typed::Int(value), precision, scale), expected);
        }
    }
}
