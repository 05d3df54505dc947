//! Timestamps from RFC 3339 text and from epoch units, to microseconds since 1970-01-01 UTC.

use std::ops::RangeInclusive;

use crate::{
    limits::{TIMESTAMP_US_MAX, TIMESTAMP_US_MIN},
    schema::TimestampFormat,
};

const SECONDS_PER_DAY: i64 = 86_400;
const US_PER_SECOND: i64 = 1_000_000;

/// The instant that `text` names by RFC 3339 §5.6: date, `T` (or `t`, or a space), time, maybe a fraction, and `Z`, `z` or
/// an offset. Digits after the microsecond are cut off. Second 60, a leap second, is the first of the next minute, as in
/// POSIX. `None` for anything else, and outside the years 1 to 9999.
pub(super) fn rfc3339(text: &[u8]) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let punctuation = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if punctuation.iter().any(|&(at, mark)| head[at] != mark) || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = two_digits(head[0], head[1])? * 100 + two_digits(head[2], head[3])?;
    let month = two_digits(head[5], head[6])?;
    let day = two_digits(head[8], head[9])?;
    let minutes = clock_seconds(two_digits(head[11], head[12])?, two_digits(head[14], head[15])?)?;
    let second = two_digits(head[17], head[18]).filter(|&s| s <= 60)?;
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let (fraction_us, zone) = fraction(rest)?;
    let local = days_since_epoch(year, month, day) * SECONDS_PER_DAY + minutes + second;
    within_limits((local - offset_seconds(zone)?) * US_PER_SECOND + fraction_us)
}

/// The instant `count` units of `format` after the epoch; `None` outside the years 1 to 9999, or if the format has no unit.
pub(super) fn epoch(count: i64, format: TimestampFormat) -> Option<i64> {
    match whole_units(format) {
        Some((unit_us, counts)) => counts.contains(&count).then(|| count * unit_us),
        None if format == TimestampFormat::Nanos => within_limits(count.div_euclid(1_000)),
        None => None,
    }
}

/// How many microseconds a unit of `format` has, and how many units after the epoch are within the years 1 to 9999; `None` if
/// the format has no unit, or one of less than a microsecond.
pub(super) fn whole_units(format: TimestampFormat) -> Option<(i64, RangeInclusive<i64>)> {
    let unit_us = match format {
        TimestampFormat::Rfc3339 | TimestampFormat::Nanos => return None,
        TimestampFormat::Seconds => US_PER_SECOND,
        TimestampFormat::Millis => 1_000,
        TimestampFormat::Micros => 1,
    };
    // What is cut off is cut off towards the epoch.
    Some((unit_us, TIMESTAMP_US_MIN / unit_us..=TIMESTAMP_US_MAX / unit_us))
}

fn within_limits(us: i64) -> Option<i64> {
    (TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX).contains(&us).then_some(us)
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// The seconds of `hours:minutes`.
fn clock_seconds(hours: i64, minutes: i64) -> Option<i64> {
    (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60)
}

/// The microseconds of a fraction of a second, if `text` starts with one, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let digit = |at: usize| if at < length { i64::from(digits[at] - b'0') } else { 0 };
    Some(((0..6).fold(0, |us, at| us * 10 + digit(at)), &digits[length..]))
}

/// How far local time at `zone` is ahead of UTC.
fn offset_seconds(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = clock_seconds(two_digits(h1, h2)?, two_digits(m1, m2)?)?;
            Some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc_3339_is_read_in_all_its_spellings() {
        let noon = 1_357_041_600_000_000;
        for text in [
            "2013-01-01T12:00:00Z",
            "2013-01-01t12:00:00z",
            "2013-01-01 12:00:00Z",
            "2013-01-01T12:00:00.000Z",
            "2013-01-01T12:00:00.000000999Z",
            "2013-01-01T12:00:00+00:00",
            "2013-01-01T12:00:00-00:00",
            "2013-01-01T07:00:00-05:00",
            "2013-01-01T17:30:00+05:30",
            "2013-01-01T11:59:60Z",
        ] {
            assert_eq!(rfc3339(text.as_bytes()), Some(noon), "{text}");
        }
        assert_eq!(rfc3339(b"1969-12-31T23:59:59.9999999Z"), Some(-1));
        assert_eq!(rfc3339(b"2013-01-01T12:00:00.5Z"), Some(noon + 500_000));
        assert_eq!(rfc3339(b"0001-01-01T00:00:00Z"), Some(TIMESTAMP_US_MIN));
        assert_eq!(rfc3339(b"9999-12-31T23:59:59.999999Z"), Some(TIMESTAMP_US_MAX));
    }

    #[test]
    fn what_is_not_an_instant_is_refused() {
        for text in [
            "",
            "2013-01-01",
            "2013-01-01T12:00:00",
            "2013-01-01T12:00Z",
            "2013-01-01T12:00:00.Z",
            "2013-01-01T12:00:00+0500",
            "2013-01-01T12:00:00+05",
            "2013-01-01T12:00:00+24:00",
            "2013-01-01T12:00:00Zulu",
            "2013-1-1T12:00:00Z",
            "2013-02-29T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "2013-00-01T12:00:00Z",
            "2013-13-01T12:00:00Z",
            "2013-01-00T12:00:00Z",
            "2013-04-31T12:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T12:60:00Z",
            "2013-01-01T12:00:61Z",
            "2013/01/01T12:00:00Z",
            "+2013-01-01T12:00:00Z",
            "2013-01-01T12:00:00é",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn epoch_units_are_whole_and_cut_off_below_the_microsecond() {
        assert_eq!(epoch(1, TimestampFormat::Seconds), Some(1_000_000));
        assert_eq!(epoch(-1, TimestampFormat::Millis), Some(-1_000));
        assert_eq!(epoch(7, TimestampFormat::Micros), Some(7));
        assert_eq!(epoch(1_999, TimestampFormat::Nanos), Some(1));
        assert_eq!(epoch(-1, TimestampFormat::Nanos), Some(-1));
        assert_eq!(epoch(i64::MAX, TimestampFormat::Seconds), None);
        assert_eq!(epoch(i64::MAX, TimestampFormat::Micros), None);
    }

    proptest! {
        #[test]
        fn what_jiff_writes_is_read_the_same(us in -62_135_596_800_000_000_i64..253_402_207_200_000_000) {
            let text = jiff::Timestamp::from_microsecond(us).unwrap().to_string();
            prop_assert_eq!(rfc3339(text.as_bytes()), Some(us));
        }

        #[test]
        fn what_jiff_refuses_is_refused(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](Z|[+-][0-2][0-9]:[0-5][0-9])") {
            // jiff also takes offsets of 24 and 25 hours, and ends earlier and starts later than RFC 3339 can write.
            let read: Option<jiff::Timestamp> = text.parse().ok();
            let far_offset = text[text.len() - 6..].starts_with(['+', '-']) && &text[text.len() - 5..text.len() - 3] > "23";
            let year: i64 = text[..4].parse().unwrap();
            prop_assume!(!far_offset && (2..9999).contains(&year));
            prop_assert_eq!(rfc3339(text.as_bytes()), read.map(jiff::Timestamp::as_microsecond));
        }
    }
}
