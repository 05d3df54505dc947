//! Writing JSON values, and finding the event time in one.

use jiff::Timestamp;
use sonic_rs::JsonValueTrait;

use crate::schema::{Column, ColumnType, TimestampFormat};

/// What stands before each field of an object: `{`, then commas.
pub(super) fn separators() -> impl Iterator<Item = u8> {
    std::iter::once(b'{').chain(std::iter::repeat(b','))
}

/// `name` as it stands in an object: quoted, with the colon.
pub(super) fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    string(&mut out, name);
    out.push(b':');
    out
}

/// Writes `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// Whether `text` is a number by JSON's grammar (RFC 8259, section 6).
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &'_ str| text.bytes().take_while(u8::is_ascii_digit).count();
    let text = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.starts_with('0')) {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}

/// Writes a time as `format` has it, or as RFC 3339 where it is not a whole number of the format's unit.
pub(super) fn time(out: &mut Vec<u8>, time_us: i64, format: TimestampFormat) {
    match (format.count(time_us), Timestamp::from_microsecond(time_us)) {
        (Some(whole), _) => out.extend_from_slice(whole.to_string().as_bytes()),
        (None, Ok(time)) => string(out, &time.to_string()),
        // Beyond the year 9999: the decoder says so.
        (None, Err(_)) => string(out, &format!("{time_us} µs")),
    }
}

/// The time in `column` of the object `value`, microseconds since 1970-01-01 UTC.
pub(super) fn time_us(value: &[u8], column: &Column) -> Option<i64> {
    if column.column_type != ColumnType::Timestamp {
        return None;
    }
    let found = column.path.find(value)?;
    let unit = match column.timestamp_format {
        TimestampFormat::Rfc3339 => {
            return found.as_str()?.parse::<Timestamp>().ok().map(|time| time.as_microsecond());
        }
        TimestampFormat::Seconds => 1_000_000,
        TimestampFormat::Millis => 1_000,
        TimestampFormat::Micros => 1,
        TimestampFormat::Nanos => return Some(found.as_i64()?.div_euclid(1_000)),
    };
    found.as_i64()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_by_their_grammar() {
        for number in ["0", "-0", "7", "-12.50", "1e3", "0.1E-7", "123456789012345678901234567890"] {
            assert!(is_number(number), "{number}");
            assert!(serde_json::from_str::<serde_json::Value>(number).is_ok(), "{number}");
        }
        for text in ["", "-", "01", "+1", "1.", ".5", "1e", "1e+", "NaN", "0x1", "1 ", "1_000", "--1"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn times_keep_what_their_format_cannot_hold() {
        let written = |time_us, format| {
            let mut out = Vec::new();
            time(&mut out, time_us, format);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(written(1_357_017_420_000_000, TimestampFormat::Rfc3339), r#""2013-01-01T05:17:00Z""#);
        assert_eq!(written(1_357_017_420_000_000, TimestampFormat::Seconds), "1357017420");
        assert_eq!(written(1_357_017_420_500_000, TimestampFormat::Seconds), r#""2013-01-01T05:17:00.5Z""#);
        assert_eq!(written(-1_000, TimestampFormat::Millis), "-1");
        assert_eq!(written(i64::MAX, TimestampFormat::Nanos), "9223372036854775807000");
    }
}
