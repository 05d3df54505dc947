//! Numbers at the start of a window, in the forms they usually have: read in one go, without a look at where they end
//! first. What is read may be the start of a longer number: what follows it tells. `None` is said of everything else, right
//! or wrong, and means no more than "not here".

use super::window::{Window, digit_bytes, digits_value, word};

const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// An integer of at most 19 digits, and its length.
#[inline(always)]
pub(super) fn integer(window: &Window) -> Option<(i64, usize)> {
    let negative = window[0] == b'-';
    let start = usize::from(negative);
    let (magnitude, count) = canonical_digits(window, start)?;
    let value = i64::try_from(magnitude).ok()?;
    Some((if negative { -value } else { value }, start + count))
}

/// A number of at most 18 digits, as many units of 10^-`scale` as it has, and its length. It may stand in quotes.
#[inline(always)]
pub(super) fn decimal(window: &Window, scale: u8) -> Option<(i64, usize)> {
    let quoted = window[0] == b'"';
    let number = Number::read(window, usize::from(quoted))?;
    let missing = usize::from(scale).checked_sub(number.fraction)?;
    if number.digits + missing > 18 || quoted && window.get(number.end) != Some(&b'"') {
        return None;
    }
    // Less than 10^18.
    let value = (number.magnitude * POWERS[missing]) as i64;
    Some((if number.negative { -value } else { value }, number.end + usize::from(quoted)))
}

/// A number that is near enough to 1 and has few enough digits for one division to give the nearest double, and its length.
#[inline(always)]
pub(super) fn double(window: &Window) -> Option<(f64, usize)> {
    let number = Number::read(window, 0)?;
    // Clinger, "How to read floating point numbers accurately" (1990): both are exact, so the quotient is rounded once.
    if number.magnitude > 1 << 53 || number.fraction > 15 {
        return None;
    }
    let value = number.magnitude as f64 / POWERS[number.fraction] as f64;
    Some((if number.negative { -value } else { value }, number.end))
}

/// A number without an exponent.
struct Number {
    negative: bool,
    /// Its digits as one integer.
    magnitude: u64,
    /// How many there are, at most 19.
    digits: usize,
    /// How many of them are after the point.
    fraction: usize,
    /// The byte after it.
    end: usize,
}

impl Number {
    #[inline(always)]
    fn read(window: &Window, from: usize) -> Option<Self> {
        let negative = window[from] == b'-';
        let start = from + usize::from(negative);
        let (whole, count) = canonical_digits(window, start)?;
        let point = start + count;
        let mut number = Self { negative, magnitude: whole, digits: count, fraction: 0, end: point };
        if window.get(point) == Some(&b'.') {
            let (fraction, count) = digits(window, point + 1)?;
            number.digits += count;
            if number.digits > 19 {
                return None;
            }
            number.magnitude = whole * POWERS[count] + fraction;
            number.fraction = count;
            number.end = point + 1 + count;
        }
        Some(number)
    }
}

/// As [`digits`], without a zero before others.
#[inline(always)]
fn canonical_digits(window: &Window, at: usize) -> Option<(u64, usize)> {
    let (value, count) = digits(window, at)?;
    (count == 1 || window[at] != b'0').then_some((value, count))
}

/// The 1 to 19 digits from byte `at` on, as a number, and how many they are.
#[inline(always)]
fn digits(window: &Window, at: usize) -> Option<(u64, usize)> {
    let first = word(window, at);
    let count = digit_bytes(first);
    if count == 0 {
        return None;
    }
    let value = digits_value(first, count);
    if count < 8 { Some((value, count)) } else { more_digits(window, at, value) }
}

/// After eight digits of this value from byte `at` on.
#[inline(always)]
fn more_digits(window: &Window, at: usize, value: u64) -> Option<(u64, usize)> {
    let second = word(window, at + 8);
    let count = digit_bytes(second);
    if count == 0 {
        return Some((value, 8));
    }
    let value = value * POWERS[count] + digits_value(second, count);
    if count < 8 { Some((value, 8 + count)) } else { last_digits(window, at, value) }
}

/// After sixteen.
#[inline(never)]
fn last_digits(window: &Window, at: usize, value: u64) -> Option<(u64, usize)> {
    let third = word(window, at + 16);
    match digit_bytes(third) {
        0 => Some((value, 16)),
        count @ 1..=3 => Some((value * POWERS[count] + digits_value(third, count), 16 + count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::super::{
        number,
        scan::{Kind, Scanner},
        window::Padded,
    };
    use super::*;

    /// What `read` reads at the start of `text`.
    fn at_start<T>(text: &str, read: impl Fn(&Window) -> Option<T>) -> Option<T> {
        let mut padded = Padded::default();
        padded.set(text.as_bytes());
        read(padded.window(0))
    }

    /// Numbers, and what is not quite one, with what may follow.
    fn text() -> impl Strategy<Value = (String, &'static str)> {
        let number = prop_oneof![
            r"-?(0|[1-9][0-9]{0,21})",
            r"-?(0|[1-9][0-9]{0,9})\.[0-9]{1,11}",
            r"-?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?",
            r"-?9223372036854775(7|8)[0-9]{2}",
            r#""-?[0-9]{1,9}(\.[0-9]{1,3})?"?"#,
        ];
        (number, proptest::sample::select(vec![",\"next\":1}", "}", "", "  ,", "]", "x"]))
    }

    /// How much of `text` is a number in JSON's grammar.
    fn number_length(text: &str) -> Option<usize> {
        let mut scanner = Scanner::new(text.as_bytes());
        let raw = scanner.value(1).ok()?;
        matches!(raw.kind, Kind::Integer | Kind::Number).then(|| scanner.at())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

        #[test]
        fn what_is_read_is_what_the_general_way_reads((text, after) in text()) {
            let rest = format!("{text}{after}");
            let end = number_length(&rest);
            let ends = |used: usize| !matches!(rest.as_bytes().get(used), Some(b'.' | b'e' | b'E' | b'0'..=b'9'));
            if let Some((value, used)) = at_start(&rest, integer).filter(|&(_, used)| ends(used)) {
                prop_assert_eq!((Ok(value), Some(used)), (number::integer(&rest[..used]), end));
            }
            if let Some((value, used)) = at_start(&rest, double).filter(|&(_, used)| ends(used)) {
                let expected: f64 = rest[..used].parse().unwrap();
                prop_assert_eq!((value.to_bits(), Some(used)), (expected.to_bits(), end));
            }
            for scale in [0, 2, 9, 18] {
                let read = at_start(&rest, |window| decimal(window, scale)).filter(|&(_, used)| ends(used));
                let Some((value, used)) = read else { continue };
                let written = rest[..used].trim_matches('"');
                prop_assert_eq!(Ok(i128::from(value)), number::scaled(written, scale));
                if !rest.starts_with('"') {
                    prop_assert_eq!(Some(used), end);
                }
                prop_assert!(number::is_number(written));
            }
        }

        #[test]
        fn usual_numbers_are_read(value in any::<i32>(), cents in 0..100_u8) {
            let text = value.to_string();
            prop_assert_eq!(at_start(&text, integer), Some((i64::from(value), text.len())));
            let text = format!("{value}.{cents:02}");
            prop_assert_eq!(at_start(&text, double), Some((text.parse().unwrap(), text.len())));
            let (value, used) = at_start(&text, |window| decimal(window, 2)).unwrap();
            prop_assert_eq!((Ok(i128::from(value)), used), (number::scaled(&text, 2), text.len()));
            prop_assert_eq!(at_start(&format!("\"{text}\""), |window| decimal(window, 2)), Some((value, text.len() + 2)));
        }
    }
}
