//! Literals as normalised text.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The text of a number: whole numbers as they are, others as the shortest decimal fraction of the same double. `None` if
/// it is neither an int nor a finite double.
pub(super) fn number(text: &str) -> Option<String> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok().map(|int| int.to_string());
    }
    let double: f64 = text.parse().ok()?;
    let shortest = double.to_string();
    // Without a point, Polars would read it as an int.
    double.is_finite().then(|| if shortest.contains('.') { shortest } else { format!("{shortest}.0") })
}

/// `number`, normalised, as a double: with a point.
pub(super) fn double(number: String) -> String {
    if number.contains('.') { number } else { number + ".0" }
}

/// `text` as a string literal.
pub(super) fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The timestamp literal for `text`: RFC 3339, or a date with or without a time of day, which is then UTC. `None` if it is
/// none of these, or finer than a microsecond.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let text = text.trim();
    let with_offset = text.parse::<Timestamp>().ok();
    let instant =
        with_offset.or_else(|| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp()))?;
    let civil = TimeZone::UTC.to_datetime(instant);
    let exact = civil.subsec_nanosecond() % 1_000 == 0 && (0..=9999).contains(&civil.year());
    let micros = civil.subsec_nanosecond() / 1_000;
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    exact.then(|| format!("TIMESTAMP '{}{fraction}'", civil.strftime("%Y-%m-%d %H:%M:%S")))
}
