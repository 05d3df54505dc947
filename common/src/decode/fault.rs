//! What is wrong with a record, said so that a person can mend it: which column, what was found, what is allowed.

use jiff::SignedDuration;

use super::scan::SyntaxError;
use crate::{
    event::{DeadLetter, Reason, Record},
    limits::{EXCERPT_CHARS_MAX, RECORD_BYTES_MAX},
    schema::{Column, ColumnType, Range, TimestampFormat},
};

/// Why a record is no event.
#[derive(Debug)]
pub(super) struct Fault {
    reason: Reason,
    column: Option<String>,
    detail: String,
}

impl Fault {
    /// The dead letter that `record` becomes.
    pub(super) fn letter(self, record: Record) -> DeadLetter {
        DeadLetter { record, reason: self.reason, column: self.column, detail: self.detail }
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        let detail = format!("the value has {bytes} bytes; allowed are at most {RECORD_BYTES_MAX}");
        Self { reason: Reason::TooLarge, column: None, detail }
    }

    pub(super) fn not_utf8(error: std::str::Utf8Error) -> Self {
        let detail = format!("the value is not UTF-8 from byte {} on", error.valid_up_to());
        Self { reason: Reason::Malformed, column: None, detail }
    }

    pub(super) fn syntax(error: SyntaxError, text: &str) -> Self {
        let SyntaxError { at, expected } = error;
        // The scanner may stop inside a character, in an escape like `\é`.
        let at = text.floor_char_boundary(at);
        let found = if at == text.len() { "the end".to_owned() } else { excerpt(&text[at..]) };
        let detail = format!("at byte {at}: found {found}; allowed is {expected}");
        Self { reason: Reason::Malformed, column: None, detail }
    }

    /// The bytes are not of their format; `detail` says where, and what is allowed.
    pub(super) fn malformed(detail: String) -> Self {
        Self { reason: Reason::Malformed, column: None, detail }
    }

    /// The schema that the bytes name is of no use, as `detail` says.
    pub(super) fn schema(detail: String) -> Self {
        Self { reason: Reason::Schema, column: None, detail }
    }

    /// What was `found` for `column` was refused with `reason`.
    pub(super) fn column(reason: Reason, column: &Column, found: &str) -> Self {
        let allowed = match reason {
            Reason::Range => range_allowed(column),
            _ => type_allowed(column),
        };
        let detail = format!("column {}: found {}; allowed is {allowed}", column.name, excerpt(found));
        Self { reason, column: Some(column.name.clone()), detail }
    }

    /// The same, said of a record's key: what is wrong with a column says enough already.
    pub(super) fn of_key(self) -> Self {
        let detail = if self.column.is_none() { format!("the key: {}", self.detail) } else { self.detail };
        Self { detail, ..self }
    }

    /// The event time `found` is after `limit_us`, which is `ahead_max` ahead of the record's own time stamp.
    pub(super) fn too_far_ahead(column: &Column, found: &str, rule: (SignedDuration, i64)) -> Self {
        let (ahead_max, limit_us) = rule;
        let allowed = format!("up to {} ({ahead_max:#} ahead of the record's time stamp)", instant(limit_us));
        Self::event_time(Reason::TooFarAhead, column, found, &allowed)
    }

    /// The event time `found` is before `limit_us`, which is `behind_max` behind the record's own time stamp.
    pub(super) fn too_far_behind(column: &Column, found: &str, rule: (SignedDuration, i64)) -> Self {
        let (behind_max, limit_us) = rule;
        let allowed = format!("from {} on ({behind_max:#} behind the record's time stamp)", instant(limit_us));
        Self::event_time(Reason::TooFarBehind, column, found, &allowed)
    }

    fn event_time(reason: Reason, column: &Column, found: &str, allowed: &str) -> Self {
        let detail = format!("column {}: found {}; allowed is {allowed}", column.name, excerpt(found));
        Self { reason, column: Some(column.name.clone()), detail }
    }
}

/// The start of `text`, as long as a detail may quote, on one line.
fn excerpt(text: &str) -> String {
    let (start, more) = match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => (&text[..end], "…"),
        None => (text, ""),
    };
    let mut excerpt = String::with_capacity(start.len() + more.len());
    for c in start.chars() {
        if c.is_control() { excerpt.extend(c.escape_default()) } else { excerpt.push(c) }
    }
    excerpt + more
}

/// An instant as a person reads it.
pub(super) fn instant(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| format!("{us} µs after 1970"), |instant| instant.to_string())
}

fn type_allowed(column: &Column) -> String {
    let allowed = match column.column_type {
        ColumnType::Int => "a whole number of 64 bits".to_owned(),
        ColumnType::Double => "a finite number".to_owned(),
        ColumnType::Decimal { precision, scale } => {
            format!("a number, or one in quotes, of at most {precision} digits, {scale} of them after the point")
        }
        ColumnType::String => "a string".to_owned(),
        ColumnType::Bool => "true or false".to_owned(),
        ColumnType::Timestamp => match unit(column.timestamp_format) {
            None => "a time as RFC 3339 has it, like \"2013-01-01T05:17:00Z\", in the years 1 to 9999".to_owned(),
            Some(unit) => format!("a whole number of {unit} since 1970-01-01 UTC, in the years 1 to 9999"),
        },
    };
    if column.nullable { format!("{allowed}, or null") } else { allowed }
}

fn unit(format: TimestampFormat) -> Option<&'static str> {
    match format {
        TimestampFormat::Rfc3339 => None,
        TimestampFormat::Seconds => Some("seconds"),
        TimestampFormat::Millis => Some("milliseconds"),
        TimestampFormat::Micros => Some("microseconds"),
        TimestampFormat::Nanos => Some("nanoseconds"),
    }
}

fn range_allowed(column: &Column) -> String {
    let (min, max) = match column.range {
        Some(Range::Int { min, max }) => {
            ((min > i64::MIN).then(|| min.to_string()), (max < i64::MAX).then(|| max.to_string()))
        }
        Some(Range::Double { min, max }) => {
            ((min > f64::NEG_INFINITY).then(|| min.to_string()), (max < f64::INFINITY).then(|| max.to_string()))
        }
        None => (None, None),
    };
    match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("{min} or more"),
        (None, Some(max)) => format!("{max} or less"),
        (None, None) => "any value".to_owned(),
    }
}
