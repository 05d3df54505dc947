//! What a record must become: the rules of `common::decode`, over what serde_json has read, in the plainest way there is.

use common::{
    event::Reason,
    limits::{RECORD_BYTES_MAX, TIMESTAMP_US_MAX, TIMESTAMP_US_MIN},
    schema::{Column, ColumnType, Range, TimestampFormat},
    testing::exactly,
};
use jiff::{SignedDuration, civil};
use serde_json::value::RawValue;

use super::tree::Tree;
use crate::{
    cell::Cell,
    records::{Fate, NOON_US},
};

/// The rules of a source.
pub(super) struct Judge<'s> {
    /// The first is the event time.
    pub(super) columns: &'s [Column],
    pub(super) ahead_max: Option<SignedDuration>,
}

impl Judge<'_> {
    /// What becomes of a record with this value.
    pub(super) fn fate(&self, value: &[u8]) -> Fate {
        if value.len() > RECORD_BYTES_MAX {
            return Err((Reason::TooLarge, None));
        }
        let object = Tree::of(value).filter(|tree| matches!(tree, Tree::Object(_)));
        let object = object.ok_or((Reason::Malformed, None))?;
        let cell = |column: &Column| {
            let cell = cell(column, object.at(column.path.steps()));
            cell.map_err(|reason| (reason, Some(column.name.clone())))
        };
        let cells = self.columns.iter().map(cell).collect::<Result<Vec<_>, _>>()?;
        let latest = self.ahead_max.map(|max| Cell::Time(NOON_US + max.as_micros() as i64));
        match (&cells[0], latest) {
            (Cell::Time(time), Some(Cell::Time(latest))) if *time > latest => {
                Err((Reason::TooFarAhead, Some(self.columns[0].name.clone())))
            }
            _ => Ok(cells),
        }
    }
}

/// What a column takes of `value`.
fn cell(column: &Column, value: Option<&Tree<'_>>) -> Result<Cell, Reason> {
    let value = match value {
        None | Some(Tree::Null) if column.nullable => return Ok(Cell::Null),
        None | Some(Tree::Null) => return Err(Reason::Missing),
        Some(value) => value,
    };
    let cell = typed(column, value).ok_or(Reason::Type)?;
    let is_allowed = match (&cell, column.range) {
        (Cell::Int(value), Some(Range::Int { min, max })) => (min..=max).contains(value),
        (Cell::Double(bits), Some(Range::Double { min, max })) => (min..=max).contains(&f64::from_bits(*bits)),
        _ => true,
    };
    if is_allowed { Ok(cell) } else { Err(Reason::Range) }
}

/// `value` as the type of the column, if it is one.
fn typed(column: &Column, value: &Tree<'_>) -> Option<Cell> {
    let whole = |digits: &str| i64::try_from(exactly(digits, 0)?).ok();
    Some(match (column.column_type, value) {
        (ColumnType::String, Tree::String(text)) => Cell::Text(text.clone()),
        (ColumnType::Bool, Tree::Bool(value)) => Cell::Bool(*value),
        (ColumnType::Int, Tree::Number(digits)) => Cell::Int(whole(digits)?),
        (ColumnType::Double, Tree::Number(digits)) => {
            // Not by serde_json, which takes a double beside the nearest one at times.
            let value: f64 = digits.parse().ok()?;
            Cell::Double(value.is_finite().then_some(value)?.to_bits())
        }
        (ColumnType::Decimal { precision, scale }, Tree::Number(digits)) => decimal(digits, precision, scale)?,
        (ColumnType::Decimal { precision, scale }, Tree::String(text)) => {
            let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            let digits: &RawValue = serde_json::from_str(text).ok().filter(|_| is_number)?;
            decimal(Some(digits.get()).filter(|digits| digits == text)?, precision, scale)?
        }
        (ColumnType::Timestamp, value) => {
            let time_us = match (column.timestamp_format, value) {
                (TimestampFormat::Rfc3339, Tree::String(text)) => rfc3339(text)?,
                (TimestampFormat::Seconds, Tree::Number(digits)) => whole(digits)?.checked_mul(1_000_000)?,
                (TimestampFormat::Millis, Tree::Number(digits)) => whole(digits)?.checked_mul(1_000)?,
                (TimestampFormat::Micros, Tree::Number(digits)) => whole(digits)?,
                (TimestampFormat::Nanos, Tree::Number(digits)) => whole(digits)?.div_euclid(1_000),
                _ => return None,
            };
            Cell::Time((TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX).contains(&time_us).then_some(time_us)?)
        }
        _ => return None,
    })
}

fn decimal(digits: &str, precision: u8, scale: u8) -> Option<Cell> {
    let value = exactly(digits, scale.into())?;
    (value.unsigned_abs() < 10_u128.pow(precision.into())).then_some(Cell::Decimal(value))
}

/// The instant that `text` names, microseconds since 1970-01-01 UTC, in any year. The form by a pattern, all else by jiff.
fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i16>().ok()
    };
    let is_one_of = |at: usize, allowed: &str| text.get(at..=at).is_some_and(|mark| allowed.contains(mark));
    let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if !marks.iter().all(|(at, allowed)| is_one_of(*at, allowed)) {
        return None;
    }
    let (zone, fraction_us) = match text.get(19..)?.strip_prefix('.') {
        None => (text.get(19..)?, 0),
        Some(rest) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = Some(&rest[..rest.len() - zone.len()]).filter(|digits| !digits.is_empty())?;
            (zone, format!("{digits:0<6}")[..6].parse::<i64>().ok()?)
        }
    };
    let minute = |text: &str| {
        let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5 && text.is_ascii())?;
        let time = civil::Time::new(two_digits(hours)?, two_digits(minutes)?, 0, 0).ok()?;
        Some(i64::from(time.hour()) * 60 + i64::from(time.minute()))
    };
    let offset_minutes = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        ("+", offset) => minute(offset)?,
        ("-", offset) => -minute(offset)?,
        _ => return None,
    };
    let [month, day] = [number(5, 7)?, number(8, 10)?].map(|number| number as i8);
    let date = civil::Date::new(number(0, 4)?, month, day).ok()?;
    let days = i64::from(civil::date(1970, 1, 1).until(date).ok()?.get_days());
    let second = number(17, 19).filter(|second| *second <= 60)?;
    let minutes = days * 1_440 + minute(text.get(11..16)?)? - offset_minutes;
    Some((minutes * 60 + i64::from(second)) * 1_000_000 + fraction_us)
}

fn two_digits(text: &str) -> Option<i8> {
    text.parse().ok().filter(|_| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
}
