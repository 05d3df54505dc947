//! Grains: the time step of a view or of an answer, and the one place that knows where a bucket begins and ends.
//!
//! A grain lays its steps out on a clock: UTC, or the clock of a time zone with all its changes. What a clock shows is
//! counted in microseconds as if it were UTC ("clock time"). Buckets are half-open intervals of real time that tile it
//! without gap or overlap, whatever the clock does:
//!
//! - on UTC, a bucket is the step itself;
//! - in a zone, a step longer than an hour follows the clock: its bucket begins at the first moment at which the clock shows
//!   the start of the step or later. So a day has 23 or 25 hours where the clock changes, and begins when the clock goes on
//!   where its midnight is skipped;
//! - in a zone, a step of up to an hour follows elapsed time: the hour that the clock shows twice is two buckets. Where
//!   clocks are put forward or back by a part of a step, the bucket ends there.
//!
//! Nothing here depends on the host: the rules of the zones are compiled in (see [`Zone`]).

use std::fmt;

mod buckets;
mod coarser;
mod months;
mod text;
mod zone;

#[cfg(test)]
mod tests;

pub use buckets::Buckets;
pub(crate) use text::{Length, TRUNCATIONS};
pub use zone::{Clock, Zone};

use crate::limits::{BUCKET_MONTHS_MAX, BUCKET_WIDTH_US_MAX};

pub(crate) const SECOND_US: i64 = 1_000_000;
pub(crate) const HOUR_US: i64 = 3_600 * SECOND_US;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;
pub(crate) const WEEK_US: i64 = 7 * DAY_US;

/// 2000-01-03, a Monday, from which DuckDB and TimescaleDB count steps of a fixed width.
const ORIGIN_US: i64 = 946_857_600 * SECOND_US;

/// 2000-01, from which they count months, in months since 1970-01.
const ORIGIN_MONTH: i64 = 360;

/// The last day of a month that every month has: the last one that a step may begin on.
pub(crate) const MONTH_DAYS_MIN: i64 = 28;

/// Times further from 1970 than this, 146,000 years, are taken for the last ones before it: no calendar has them, and
/// nothing below it overflows.
const TIME_US_MAX: i64 = 1 << 62;

/// The time step of a view or of an answer; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grain {
    step: Step,
    /// `None` for UTC.
    zone: Option<Zone>,
}

/// How a grain divides clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Steps start at `origin_us + k · width_us`.
    Width {
        /// The width in microseconds, from 1 to [`BUCKET_WIDTH_US_MAX`].
        width_us: i64,
        /// The first start that is not before 1970-01-01, in clock time: in `[0, width_us)`.
        origin_us: i64,
    },
    /// Steps start `shift_us` into each `count`-th month.
    Months {
        /// How many months one step has, from 1 to [`BUCKET_MONTHS_MAX`].
        count: i64,
        /// The first month not before 1970-01 in which one starts, counted from 1970-01: in `[0, count)`.
        origin: i64,
        /// When in its month, in `[0, 28 days)`.
        shift_us: i64,
    },
}

impl Grain {
    /// A second.
    pub const SECOND: Self = Self::fixed(SECOND_US, 0);
    /// A minute.
    pub const MINUTE: Self = Self::fixed(60 * SECOND_US, 0);
    /// An hour, in UTC.
    pub const HOUR: Self = Self::fixed(HOUR_US, 0);
    /// A day, in UTC.
    pub const DAY: Self = Self::fixed(DAY_US, 0);
    /// A week from Monday, in UTC.
    pub const WEEK: Self = Self::fixed(WEEK_US, ORIGIN_US);

    /// Buckets `[start, start + width_us)` of UTC with one that starts at `origin_us`, microseconds since 1970-01-01.
    ///
    /// # Panics
    /// If `width_us` is not in `1..=`[`BUCKET_WIDTH_US_MAX`].
    #[must_use]
    pub const fn fixed(width_us: i64, origin_us: i64) -> Self {
        assert!(width_us > 0 && width_us <= BUCKET_WIDTH_US_MAX, "a bucket has a width within the limit");
        Self { step: Step::Width { width_us, origin_us: origin_us.rem_euclid(width_us) }, zone: None }
    }

    /// Buckets of `count` months of UTC, one of which starts `shift_us` into the month `origin`, counted from 1970-01.
    ///
    /// # Panics
    /// If `count` is not in `1..=`[`BUCKET_MONTHS_MAX`], or `shift_us` not in `[0, 28 days)`.
    #[must_use]
    pub const fn months(count: i64, origin: i64, shift_us: i64) -> Self {
        assert!(count > 0 && count <= BUCKET_MONTHS_MAX, "a bucket has a number of months within the limit");
        assert!(shift_us >= 0 && shift_us < MONTH_DAYS_MIN * DAY_US, "every month has the moment of the shift");
        Self { step: Step::Months { count, origin: origin.rem_euclid(count), shift_us }, zone: None }
    }

    /// The same steps on the clock of `zone`.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Self {
        Self { zone: Some(zone).filter(|zone| !zone.is_utc()), ..self }
    }

    /// How it divides clock time.
    #[must_use]
    pub fn step(self) -> Step {
        self.step
    }

    /// The zone whose clock it follows; `None` for UTC.
    #[must_use]
    pub fn zone(self) -> Option<Zone> {
        self.zone
    }

    /// The bucket `[start, end)` that `time_us` falls in, microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn interval(self, time_us: i64) -> (i64, i64) {
        let time_us = Self::clamped(time_us);
        match (self.zone, self.step) {
            (None, step) => step.around(time_us),
            (Some(zone), Step::Width { width_us, origin_us }) if self.follows_elapsed_time() => {
                zone.elapsed_around(width_us, origin_us, time_us)
            }
            (Some(zone), step) => zone.clock_around(step, time_us),
        }
    }

    /// The start of the bucket that `time_us` falls in, microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn bucket(self, time_us: i64) -> i64 {
        self.interval(time_us).0
    }

    /// What finds the buckets of many times.
    #[must_use]
    pub fn buckets(self) -> Buckets {
        Buckets::new(self)
    }

    /// About how long a bucket is, microseconds: a month for a twelfth of a year. To choose by, not to compute with.
    #[must_use]
    pub fn nominal_us(self) -> i64 {
        match self.step {
            Step::Width { width_us, .. } => width_us,
            Step::Months { count, .. } => count * (146_097 * DAY_US / 4_800),
        }
    }

    /// The month that `clock_us` is in, counted from 1970-01, and how far into it, microseconds.
    pub(crate) fn month_of(clock_us: i64) -> (i64, i64) {
        let month = months::of_day(clock_us.div_euclid(DAY_US));
        (month, clock_us - months::first_day(month) * DAY_US)
    }

    fn clamped(time_us: i64) -> i64 {
        time_us.clamp(-TIME_US_MAX, TIME_US_MAX)
    }

    fn follows_elapsed_time(self) -> bool {
        matches!(self.step, Step::Width { width_us: ..=HOUR_US, .. })
    }
}

impl Step {
    /// The step `[start, end)` that `clock_us` falls in, all in clock time.
    fn around(self, clock_us: i64) -> (i64, i64) {
        match self {
            Self::Width { width_us, origin_us } => {
                let start = clock_us - (clock_us - origin_us).rem_euclid(width_us);
                (start, start + width_us)
            }
            Self::Months { count, origin, shift_us } => {
                let month = months::of_day((clock_us - shift_us).div_euclid(DAY_US));
                let first = month - (month - origin).rem_euclid(count);
                let start = |month| months::first_day(month) * DAY_US + shift_us;
                (start(first), start(first + count))
            }
        }
    }
}

/// As `month in America/New_York`.
impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        self.zone.map_or(Ok(()), |zone| write!(f, " in {}", zone.name()))
    }
}
