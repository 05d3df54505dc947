//! Numbers in the forms they usually have, where it is known at which bytes they lie. `None` is said of everything else, right
//! or wrong, and means no more than "not here".

use super::vector::{Half, digits_value, not_digits};

/// The bytes that are read at once: those that end where the number does.
const HALF: usize = size_of::<Half>();

const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// For each number of digits what lets the values of so many through, of the last of sixteen bytes.
const MASKS: [Half; HALF + 1] = {
    let mut masks = [[0; HALF]; HALF + 1];
    let mut count = 1;
    while count <= HALF {
        masks[count] = masks[count - 1];
        masks[count][HALF - count] = 0x0F;
        count += 1;
    }
    masks
};

/// The integer of at most 18 digits that is bytes `[from, from + length)`.
#[inline(always)]
pub(super) fn integer(bytes: &[u8], from: usize, length: usize) -> Option<i64> {
    let negative = *bytes.get(from)? == b'-';
    let (start, count) = (from + usize::from(negative), length.wrapping_sub(negative.into()));
    if count.wrapping_sub(1) >= HALF {
        return long_integer(bytes, start, count, negative);
    }
    // All is checked before a number is made of it: the other way round takes three times as long.
    let half = half_before(bytes, start + count)?;
    let zero_first = *bytes.get(start)? == b'0' && count > 1;
    if others(half, count) != 0 || zero_first {
        return None;
    }
    let magnitude = digits_value(half, &MASKS[count]) as i64;
    Some(if negative { -magnitude } else { magnitude })
}

/// That of 17 or 18 digits.
#[inline(never)]
fn long_integer(bytes: &[u8], start: usize, count: usize, negative: bool) -> Option<i64> {
    let digits = bytes.get(start..)?.get(..count).filter(|digits| (1..=18).contains(&digits.len()))?;
    let all_digits = digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
    // Less than 10^18.
    let magnitude = digits.iter().fold(0, |value: i64, byte| value.wrapping_mul(10).wrapping_add((byte & 0x0F).into()));
    all_digits.then_some(if negative { -magnitude } else { magnitude })
}

/// The number that is bytes `[from, from + length)`, maybe in quotes, as units of 10^-`scale`, if it has at most sixteen bytes
/// and so many units are a whole number of less than 19 digits.
#[inline(always)]
pub(super) fn decimal(bytes: &[u8], from: usize, length: usize, scale: u8) -> Option<i64> {
    let number = match bytes.get(from)? {
        b'"' if bytes.get(from.wrapping_add(length).wrapping_sub(1)) == Some(&b'"') => {
            Number::read(bytes, from + 1, length.wrapping_sub(2))?
        }
        _ => Number::read(bytes, from, length)?,
    };
    let missing = usize::from(scale).checked_sub(number.fraction)?;
    if number.digits + missing > 18 {
        return None;
    }
    // Less than 10^18.
    let value = (number.magnitude * POWERS[missing]) as i64;
    Some(if number.negative { -value } else { value })
}

/// The double nearest to the number that is bytes `[from, from + length)`, if one division gives it.
#[inline(always)]
pub(super) fn double(bytes: &[u8], from: usize, length: usize) -> Option<f64> {
    let number = Number::read(bytes, from, length)?;
    // Clinger, "How to read floating point numbers accurately" (1990): both are exact, so the quotient is rounded once.
    if number.magnitude > 1 << 53 {
        return None;
    }
    let value = number.magnitude as f64 / POWERS[number.fraction] as f64;
    Some(if number.negative { -value } else { value })
}

/// A number of at most sixteen bytes, its sign aside, without an exponent.
struct Number {
    negative: bool,
    /// Its digits as one integer.
    magnitude: u64,
    /// How many there are.
    digits: usize,
    /// How many of them are after the point, at most 14.
    fraction: usize,
}

impl Number {
    #[inline(always)]
    fn read(bytes: &[u8], from: usize, length: usize) -> Option<Self> {
        let negative = bytes.get(from) == Some(&b'-');
        let (start, count) = (from + usize::from(negative), length.wrapping_sub(negative.into()));
        if count.wrapping_sub(1) >= HALF {
            return None;
        }
        let end = start + count;
        let half = half_before(bytes, end)?;
        let others = others(half, count);
        let zero_first = *bytes.get(start)? == b'0';
        if others == 0 {
            // A zero stands alone.
            if zero_first && count > 1 {
                return None;
            }
            return Some(Self { negative, magnitude: digits_value(half, &MASKS[count]), digits: count, fraction: 0 });
        }
        // One other byte, neither the first nor the last, and a point.
        let whole = others.trailing_zeros() as usize;
        let (digits, fraction) = (count - 1, count.checked_sub(1 + whole).filter(|&fraction| fraction > 0)?);
        let well_formed = others & (others - 1) == 0 && *bytes.get(start + whole)? == b'.';
        if !well_formed || whole == 0 || zero_first && whole > 1 {
            return None;
        }
        // The digits before the point move up to those after it.
        let moved = u128::from_le_bytes(*half_before(bytes, end - 1)?);
        let kept = u128::MAX << (8 * (HALF - fraction));
        let joined = (u128::from_le_bytes(*half) & kept | moved & !kept).to_le_bytes();
        Some(Self { negative, magnitude: digits_value(&joined, &MASKS[digits]), digits, fraction })
    }
}

/// The sixteen bytes before byte `end`.
#[inline(always)]
fn half_before(bytes: &[u8], end: usize) -> Option<&Half> {
    bytes.get(end.wrapping_sub(HALF)..)?.first_chunk()
}

/// Which of the last `count` bytes, 1 to 16, are no digits: the first of them is the lowest bit.
#[inline(always)]
fn others(half: &Half, count: usize) -> u32 {
    not_digits(half) >> (HALF - count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::{
        super::{
            number,
            scan::{Kind, Scanner},
        },
        *,
    };

    /// What `read` reads of `text`, with `before` before it and `after` after it.
    fn within<T>(before: &str, text: &str, after: &str, read: impl Fn(&[u8], usize, usize) -> Option<T>) -> Option<T> {
        let zeros = "\0".repeat(HALF);
        let bytes = format!("{zeros}{before}{text}{after}{zeros}");
        read(bytes.as_bytes(), HALF + before.len(), text.len())
    }

    /// Numbers, and what is not quite one.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            r"-?(0|[1-9][0-9]{0,21})",
            r"-?(0|[1-9][0-9]{0,9})\.[0-9]{1,11}",
            r"-?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?",
            r"-?9223372036854775(7|8)[0-9]{2}",
            r#""-?[0-9]{1,9}(\.[0-9]{1,3})?"?"#,
            r#"["0-9.e+/:-]{0,20}"#,
        ]
    }

    fn kind(text: &str) -> Option<Kind> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.value(1).ok().filter(|_| scanner.at() == text.len()).map(|raw| raw.kind)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

        #[test]
        fn what_is_read_is_what_the_general_way_reads(before in "[0-9:,\"-]{0,3}", text in text(), after in "[0-9,}]{0,3}") {
            if let Some(value) = within(&before, &text, &after, integer) {
                prop_assert_eq!((kind(&text), Ok(value)), (Some(Kind::Integer), number::integer(&text)));
            }
            if let Some(value) = within(&before, &text, &after, double) {
                prop_assert!(matches!(kind(&text), Some(Kind::Integer | Kind::Number)));
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
            for scale in [0, 2, 9, 18] {
                let read = within(&before, &text, &after, |bytes, from, length| decimal(bytes, from, length, scale));
                let Some(value) = read else { continue };
                let written = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
                prop_assert!(number::is_number(written));
                prop_assert_eq!(Ok(i128::from(value)), number::scaled(written, scale));
            }
        }

        #[test]
        fn usual_numbers_are_read(value in any::<i32>(), cents in 0..100_u8) {
            let decimal = |bytes: &[u8], from, length| decimal(bytes, from, length, 2);
            let text = value.to_string();
            prop_assert_eq!(within("", &text, "", integer), Some(value.into()));
            let text = format!("{value}.{cents:02}");
            prop_assert_eq!(within("9", &text, "9", double), Some(text.parse().unwrap()));
            let expected = number::scaled(&text, 2).ok();
            prop_assert_eq!(within("", &text, "", decimal).map(i128::from), expected);
            prop_assert_eq!(within("", &format!("\"{text}\""), "", decimal).map(i128::from), expected);
            prop_assert_eq!(within("", "-123456789012345678", "", integer), Some(-123_456_789_012_345_678));
        }
    }
}
