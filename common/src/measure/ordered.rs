//! Values as bytes that order as they do, for states that keep whole values of any type.
//!
//! Ints, time stamps and doubles are 8 bytes, decimals 16, a bool 1. Text is its UTF-8; where something follows, a zero byte is
//! written as 0, 1 and the end as 0, 0, so that texts order by their bytes and none is the start of another.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use super::{
    Error,
    input::{Values, canonical, from_ordered, text, to_ordered},
};
use crate::schema::ColumnType;

const END: [u8; 2] = [0, 0];
const ZERO: [u8; 2] = [0, 1];

/// Appends the value of `row`, which is not null, as the last of its bytes.
#[inline]
pub(super) fn write(values: Values<'_>, row: usize, bytes: &mut Vec<u8>) {
    match values {
        Values::Int(values) => bytes.extend_from_slice(&word(values[row])),
        Values::Double(values) => bytes.extend_from_slice(&word(to_ordered(values[row]))),
        Values::Decimal(values) => bytes.extend_from_slice(&(values.at(row) ^ i128::MIN).to_be_bytes()),
        Values::Bool(values) => bytes.push(u8::from(values.value(row))),
        Values::Text(values) => bytes.extend_from_slice(text(values, row)),
        Values::Coded(codes, values) => bytes.extend_from_slice(text(values, codes[row] as usize)),
    }
}

/// As [`write`], with something to follow.
#[inline]
pub(super) fn write_before(values: Values<'_>, row: usize, bytes: &mut Vec<u8>) {
    let text = match values {
        Values::Text(values) => text(values, row),
        Values::Coded(codes, values) => text(values, codes[row] as usize),
        _ => return write(values, row, bytes),
    };
    for part in text.split_inclusive(|&byte| byte == 0) {
        match part.split_last() {
            Some((0, before)) => {
                bytes.extend_from_slice(before);
                bytes.extend_from_slice(&ZERO);
            }
            _ => bytes.extend_from_slice(part),
        }
    }
    bytes.extend_from_slice(&END);
}

fn word(value: i64) -> [u8; 8] {
    (value ^ i64::MIN).to_be_bytes()
}

fn int(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

/// How many bytes every value of this type has; `None` of text.
pub(super) fn width(column_type: ColumnType) -> Option<usize> {
    match column_type {
        ColumnType::Int | ColumnType::Timestamp | ColumnType::Double => Some(8),
        ColumnType::Decimal { .. } => Some(16),
        ColumnType::Bool => Some(1),
        ColumnType::String => None,
    }
}

/// What is left of `bytes` after a value of [`write_before`]; `None` if none is there.
pub(super) fn after(column_type: ColumnType, bytes: &[u8]) -> Option<&[u8]> {
    if let Some(width) = width(column_type) {
        let (value, rest) = bytes.split_at_checked(width)?;
        return is_canonical(column_type, value).then_some(rest);
    }
    let mut from = 0;
    loop {
        let zero = from + bytes[from..].iter().position(|&byte| byte == 0)?;
        match bytes.get(zero + 1)? {
            0 => return Some(&bytes[zero + 2..]),
            1 => from = zero + 2,
            _ => return None,
        }
    }
}

/// Whether `bytes` are what [`write`] writes of some value of this type.
pub(super) fn is_canonical(column_type: ColumnType, bytes: &[u8]) -> bool {
    match column_type {
        ColumnType::String => std::str::from_utf8(bytes).is_ok(),
        ColumnType::Bool => matches!(bytes, [0 | 1]),
        ColumnType::Double => bytes.try_into().is_ok_and(|bytes| {
            let value = from_ordered(int(bytes));
            canonical(value).to_bits() == value.to_bits()
        }),
        _ => width(column_type) == Some(bytes.len()),
    }
}

/// The column of values that [`write`] wrote; a row without is null.
///
/// # Errors
/// [`Error::Corrupt`] if bytes are not [canonical](is_canonical), [`Error::Overflow`] past 2 GiB of text.
pub(super) fn column<'a>(
    state: &'static str,
    column_type: ColumnType,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef, Error> {
    let checked = |value: Option<&'a [u8]>| match value {
        Some(bytes) if !is_canonical(column_type, bytes) => {
            Err(Error::Corrupt { state, message: format!("{} bytes are no {column_type}", bytes.len()) })
        }
        value => Ok(value),
    };
    let values = values.map(checked).collect::<Result<Vec<_>, _>>()?;
    let words = || values.iter().map(|value| value.map(|bytes| int(bytes.try_into().expect("the width was checked"))));
    Ok(match column_type {
        ColumnType::Int => Arc::new(words().collect::<Int64Array>()),
        ColumnType::Timestamp => Arc::new(words().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ColumnType::Double => Arc::new(words().map(|word| word.map(from_ordered)).collect::<Float64Array>()),
        ColumnType::Decimal { .. } => {
            let unit = |bytes: &[u8]| i128::from_be_bytes(bytes.try_into().expect("the width was checked")) ^ i128::MIN;
            let units: Decimal128Array = values.iter().map(|value| value.map(unit)).collect();
            Arc::new(units.with_data_type(column_type.arrow()))
        }
        ColumnType::Bool => {
            Arc::new(values.iter().map(|value| value.map(|bytes| bytes == [1])).collect::<BooleanArray>())
        }
        ColumnType::String => {
            let text = |bytes| std::str::from_utf8(bytes).expect("it was checked");
            if values.iter().flatten().map(|bytes| bytes.len()).sum::<usize>() > i32::MAX as usize {
                return Err(Error::Overflow { state: state.to_owned(), limit: "the 2 GiB of one column" });
            }
            Arc::new(values.iter().map(|value| value.map(text)).collect::<StringArray>())
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::{super::input::Units, *};

    fn of(values: Values<'_>, row: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut last, mut before) = (Vec::new(), Vec::new());
        write(values, row, &mut last);
        write_before(values, row, &mut before);
        (last, before)
    }

    proptest! {
        #[test]
        fn bytes_order_as_numbers_do(a in any::<i64>(), b in any::<i64>(), x in any::<f64>(), y in any::<f64>()) {
            let ints = [a, b];
            prop_assert_eq!(of(Values::Int(&ints), 0).0.cmp(&of(Values::Int(&ints), 1).0), a.cmp(&b));
            let doubles = [x, y];
            let order = of(Values::Double(&doubles), 0).0.cmp(&of(Values::Double(&doubles), 1).0);
            prop_assert_eq!(order, to_ordered(x).cmp(&to_ordered(y)));
            let wide = [i128::from(a) << 60, i128::from(b)];
            prop_assert_eq!(of(Values::Decimal(Units::Long(&wide)), 0).0.cmp(&of(Values::Decimal(Units::Long(&wide)), 1).0), wide[0].cmp(&wide[1]));
        }

        #[test]
        fn texts_order_and_end_as_themselves(a in "[\0\u{1}ab]{0,4}", b in "[\0\u{1}ab]{0,4}", rest in any::<[u8; 3]>()) {
            let texts = StringArray::from(vec![a.as_str(), b.as_str()]);
            let [mut first, mut second] = [0, 1].map(|row| of(Values::Text(&texts), row).1);
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            first.extend_from_slice(&rest);
            prop_assert_eq!(after(ColumnType::String, &first).unwrap(), &rest);
            second.pop();
            prop_assert_eq!(after(ColumnType::String, &second), None);
        }
    }

    #[test]
    fn only_canonical_bytes_are_read() {
        assert_eq!(from_ordered(-1).to_bits(), (-0.0_f64).to_bits());
        assert!(!is_canonical(ColumnType::Double, &word(-1)));
        assert!(is_canonical(ColumnType::Double, &word(to_ordered(-0.0))));
        assert!(!is_canonical(ColumnType::Double, &word(to_ordered(f64::NAN) + 1)));
        assert!(!is_canonical(ColumnType::Bool, &[2]));
        assert!(!is_canonical(ColumnType::String, &[0xff]));
        assert!(!is_canonical(ColumnType::Int, &[0; 7]));
        assert_eq!(after(ColumnType::Int, &[0; 7]), None);
        assert_eq!(after(ColumnType::String, b"a\0\x02"), None);
    }
}
