//! Numbers in the forms they usually have, where it is known at which bytes they lie. `None` is said of everything else, right
//! or wrong, and means no more than "not here".

use super::{
    span::Span,
    vector::{Half, digits_value, not_digits},
};

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

/// For each number of digits what lets the values of so many through, of the last of sixteen bytes. More than sixteen are as
/// none: their number is a power of two, so that no look is needed whether there are as many.
const MASKS: [Half; 2 * HALF] = {
    let mut masks = [[0; HALF]; 2 * HALF];
    let mut count = 1;
    while count <= HALF {
        masks[count] = masks[count - 1];
        masks[count][HALF - count] = 0x0F;
        count += 1;
    }
    masks
};

/// The integer of at most 18 digits that is at `span`.
#[inline(always)]
pub(super) fn integer(bytes: &[u8], span: Span) -> Option<i64> {
    let Some(written) = Written::at(bytes, span) else { return long_integer(bytes, span) };
    // All is checked before a number is made of it: the other way round takes three times as long.
    if written.others != 0 || !written.starts_well(written.count) {
        return None;
    }
    Some(written.number(written.half, written.count))
}

/// That of more than fifteen digits.
#[inline(never)]
fn long_integer(bytes: &[u8], span: Span) -> Option<i64> {
    let (negative, digits) = match bytes.get(span.from()..)?.get(..span.length_if_plain())? {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !(16..=18).contains(&digits.len()) || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Less than 10^18.
    let magnitude = digits.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    Some(if negative { -magnitude } else { magnitude })
}

/// The number at `span`, maybe in quotes, as units of 10^-`scale`, if it has at most sixteen bytes and so many units are a whole
/// number of less than 19 digits.
#[inline(always)]
pub(super) fn decimal(bytes: &[u8], span: Span, scale: u8) -> Option<i64> {
    let places = usize::from(scale);
    // Mostly it has as many places as the column.
    match Written::at(bytes, span).and_then(|written| written.with_places(bytes, span, places)) {
        Some(units) => Some(units),
        None => decimal_of_any_form(bytes, span, places),
    }
}

#[inline(never)]
fn decimal_of_any_form(bytes: &[u8], span: Span, places: usize) -> Option<i64> {
    let number = Number::at(bytes, span.within_quotes(bytes).unwrap_or(span))?;
    let missing = places.checked_sub(number.places)?;
    if number.digits + missing > 18 {
        return None;
    }
    // Less than 10^18.
    Some(number.value * POWERS[missing] as i64)
}

/// The double nearest to the number at `span`, if one division gives it.
#[inline(always)]
pub(super) fn double(bytes: &[u8], span: Span) -> Option<f64> {
    let number = Number::at(bytes, span)?;
    let magnitude = number.value.unsigned_abs();
    // Clinger, "How to read floating point numbers accurately" (1990): both are exact, so the quotient is rounded once.
    if magnitude > 1 << 53 {
        return None;
    }
    let value = magnitude as f64 / POWERS[number.places] as f64;
    Some(if number.negative { -value } else { value })
}

/// One to sixteen bytes that may be a number.
struct Written<'b> {
    /// They end where this ends.
    half: &'b Half,
    negative: bool,
    /// How many there are, a sign aside.
    count: usize,
    /// Which of them are no digits, the first one the lowest bit; a sign aside.
    others: u32,
}

impl<'b> Written<'b> {
    #[inline(always)]
    fn at(bytes: &'b [u8], span: Span) -> Option<Self> {
        let before = HALF.wrapping_sub(span.length_if_plain());
        if before >= HALF {
            return None;
        }
        let half = span.half_before_end(bytes)?;
        let negative = half[before] == b'-';
        let others = (not_digits(half) >> before) ^ u32::from(negative);
        Some(Self { half, negative, count: HALF - before - usize::from(negative), others })
    }

    /// Whether `whole` bytes before the point, or the end, may be digits: one at least, and a zero that is the first stands alone.
    #[inline(always)]
    fn starts_well(&self, whole: usize) -> bool {
        whole > 0 && (self.half[HALF.wrapping_sub(self.count) % HALF] != b'0' || whole == 1)
    }

    /// The number that the last `count` bytes of `half` write.
    #[inline(always)]
    fn number(&self, half: &Half, count: usize) -> i64 {
        let magnitude = digits_value(half, &MASKS[count % MASKS.len()]) as i64;
        if self.negative { -magnitude } else { magnitude }
    }

    /// The number without its point, if it has so many places after that.
    #[inline(always)]
    fn with_places(&self, bytes: &[u8], span: Span, places: usize) -> Option<i64> {
        let whole = self.count.wrapping_sub(places + 1);
        let is_point = places > 0 && self.half[(HALF - 1).wrapping_sub(places) % HALF] == b'.';
        // The one byte that is no digit is where the point is; a sign has its bit before the others.
        let others = 1_u32.wrapping_shl((whole as u32).wrapping_add(self.negative.into()));
        if !is_point || whole >= HALF || self.others != others || !self.starts_well(whole) {
            return None;
        }
        let joined = joined(self.half, span.without_last().half_before_end(bytes)?, places);
        Some(self.number(&joined, self.count - 1))
    }
}

/// A number of at most sixteen bytes, without an exponent.
struct Number {
    negative: bool,
    /// All its digits as one integer.
    value: i64,
    /// How many there are.
    digits: usize,
    /// How many of them are after the point, at most 14.
    places: usize,
}

impl Number {
    #[inline(always)]
    fn at(bytes: &[u8], span: Span) -> Option<Self> {
        let written = Written::at(bytes, span)?;
        let negative = written.negative;
        if written.others == 0 {
            let value = integer(bytes, span)?;
            return Some(Self { negative, value, digits: written.count, places: 0 });
        }
        // If it is a number, the first byte that is no digit is its point.
        let whole = written.others.trailing_zeros() as usize - usize::from(negative);
        let places = written.count.checked_sub(whole + 1)?;
        let value = written.with_places(bytes, span, places)?;
        Some(Self { negative, value, digits: written.count - 1, places })
    }
}

/// The last sixteen bytes of a number without its point, which has 1 to 15 places after it: what is before the point moves up.
/// `moved` is what ends one byte before `half`.
#[inline(always)]
fn joined(half: &Half, moved: &Half, places: usize) -> Half {
    let kept = u128::MAX << (8 * (HALF - places));
    (u128::from_le_bytes(*half) & kept | u128::from_le_bytes(*moved) & !kept).to_le_bytes()
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
    fn within<T>(before: &str, text: &str, after: &str, read: impl Fn(&[u8], Span) -> Option<T>) -> Option<T> {
        let zeros = "\0".repeat(HALF + 1);
        let bytes = format!("{zeros}{before}{text}{after}{zeros}");
        let from = zeros.len() + before.len();
        read(bytes.as_bytes(), Span::plain(from, from + text.len()))
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
                let read = within(&before, &text, &after, |bytes, span| decimal(bytes, span, scale));
                let Some(value) = read else { continue };
                let written = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
                prop_assert!(number::is_number(written));
                prop_assert_eq!(Ok(i128::from(value)), number::scaled(written, scale));
            }
        }

        #[test]
        fn usual_numbers_are_read(value in any::<i32>(), cents in 0..100_u8) {
            let decimal = |bytes: &[u8], span| decimal(bytes, span, 2);
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
