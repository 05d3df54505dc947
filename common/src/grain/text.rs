//! Grains as text: their names in queries and answers, and the SQL that means them.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{DAY_US, Grain, HOUR_US, ORIGIN_MONTH, ORIGIN_US, SECOND_US, Step, WEEK_US, months};
use crate::limits::{BUCKET_MONTHS_MAX, BUCKET_WIDTH_US_MAX};

/// A length of time, of which months have none that is fixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) months: i64,
    pub(crate) us: i64,
}

const fn us(us: i64) -> Length {
    Length { months: 0, us }
}

const fn months_of(months: i64) -> Length {
    Length { months, us: 0 }
}

/// The units, longest first, by name and by abbreviation. The first one whose multiple a step is names it.
const UNITS: &[(&str, &[&str], Length)] = &[
    ("year", &["y", "yr", "yrs"], months_of(12)),
    ("quarter", &["q"], months_of(3)),
    ("month", &["mo", "mon", "mons"], months_of(1)),
    ("week", &["w"], us(WEEK_US)),
    ("day", &["d"], us(DAY_US)),
    ("hour", &["h", "hr", "hrs"], us(HOUR_US)),
    ("minute", &["m", "min", "mins"], us(60 * SECOND_US)),
    ("second", &["s", "sec", "secs"], us(SECOND_US)),
    ("millisecond", &["ms", "msec"], us(1_000)),
    ("microsecond", &["us", "usec"], us(1)),
];

/// The units of `date_trunc`, shortest first.
pub(crate) const TRUNCATIONS: [&str; 8] = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];

impl Length {
    /// Reads an amount of time: numbers with units, as `15 minutes`, `1 hour 30 minutes` or `15m`; a unit alone is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut length = Self::default();
        let mut rest = text.trim();
        let mut parts = 0;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
            let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
            let number = match number.trim() {
                "" if parts == 0 && after.is_empty() => 1,
                digits if digits.starts_with('+') => return None,
                digits => digits.parse::<i64>().ok()?,
            };
            let unit = unit_named(unit)?;
            length.months = length.months.checked_add(unit.months.checked_mul(number)?)?;
            length.us = length.us.checked_add(unit.us.checked_mul(number)?)?;
            rest = after.trim_start();
            parts += 1;
        }
        (parts > 0).then_some(length)
    }

    /// The grain of UTC whose buckets have this length, counted from where DuckDB counts; `None` if no bucket can.
    pub(crate) fn grain(self) -> Option<Grain> {
        match self {
            Self { months: 0, us: 1..=BUCKET_WIDTH_US_MAX } => Some(Grain::fixed(self.us, ORIGIN_US)),
            Self { months: 1..=BUCKET_MONTHS_MAX, us: 0 } => Some(Grain::months(self.months, ORIGIN_MONTH, 0)),
            _ => None,
        }
    }
}

fn unit_named(name: &str) -> Option<Length> {
    let name = name.to_ascii_lowercase();
    let singular = name.strip_suffix('s').unwrap_or(&name);
    let found = UNITS.iter().find(|(unit, short, _)| *unit == singular || short.contains(&name.as_str()));
    found.map(|(_, _, length)| *length)
}

impl Grain {
    /// The grain of UTC that `name` means: a unit, as `month`, or a number of them, as `15 minutes` or `15m`. Steps are
    /// counted from 2000-01-03, a Monday; of months, from 2000-01-01.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Length::parse(name)?.grain()
    }

    /// The name of its step, which [`Self::named`] reads: `hour`, `15 minutes`. Neither its origin nor its zone are in it.
    #[must_use]
    pub fn name(self) -> String {
        let (count, unit) = self.counted();
        if count == 1 { unit.to_owned() } else { format!("{count} {unit}s") }
    }

    /// How many of which unit one step is.
    fn counted(self) -> (i64, &'static str) {
        let length = match self.step {
            Step::Width { width_us, .. } => us(width_us),
            Step::Months { count, .. } => months_of(count),
        };
        let counted = UNITS.iter().find_map(|(name, _, unit)| {
            let count = match unit {
                Length { months: 0, us } if length.us > 0 && length.us % us == 0 => length.us / us,
                Length { months: 1.., .. } if length.months > 0 && length.months % unit.months == 0 => {
                    length.months / unit.months
                }
                _ => return None,
            };
            // Two quarters are rather six months.
            (count == 1 || *name != "quarter").then_some((count, *name))
        });
        counted.expect("every step is a number of months or of microseconds")
    }

    /// The one spelling of its bucket of the column `time`.
    pub(crate) fn sql(self, time: &str) -> String {
        let (count, unit) = self.counted();
        let zone = self.zone.map(|zone| format!(", '{}'", zone.name())).unwrap_or_default();
        let origin = self.origin_sql();
        if count == 1 && origin.is_empty() && TRUNCATIONS.contains(&unit) {
            return format!("date_trunc('{unit}', {time}{zone})");
        }
        let plural = if count == 1 { "" } else { "s" };
        format!("time_bucket(INTERVAL '{count} {unit}{plural}', {time}{origin}{zone})")
    }

    /// `, TIMESTAMP '…'`: the first start from where steps are counted on; nothing if that is one.
    fn origin_sql(self) -> String {
        let (default_us, first_us) = match self.step {
            Step::Width { width_us, origin_us } => {
                (ORIGIN_US, ORIGIN_US + (origin_us - ORIGIN_US).rem_euclid(width_us))
            }
            Step::Months { count, origin, shift_us } => {
                let first = ORIGIN_MONTH + (origin - ORIGIN_MONTH).rem_euclid(count);
                (months::first_day(ORIGIN_MONTH) * DAY_US, months::first_day(first) * DAY_US + shift_us)
            }
        };
        if first_us == default_us {
            return String::new();
        }
        let first = Timestamp::from_microsecond(first_us).expect("it is within a hundred years of the year 2000");
        let mut text = String::new();
        write!(text, ", TIMESTAMP '{}'", first.strftime("%Y-%m-%d %H:%M:%S%.f")).expect("writing to a string");
        text
    }
}
