//! Buckets by Polars' own truncation of what a clock shows, and by its own time zones: nothing of [`Grain`] but what it says.
//! Times come and go as UTC that Polars is not told of, as in expressions.

use common::grain::{Grain, Step, Zone};
use polars::prelude::{DataType, Expr, NonExistent, TimeUnit, TimeZone, coalesce, lit};

const HOUR_US: i64 = 3_600_000_000;

/// How far clocks jump ahead: not at all, a quarter of an hour (Kathmandu, 1986), half of one (Lord Howe), or one.
const JUMPS_US: [i64; 4] = [0, HOUR_US / 4, HOUR_US / 2, HOUR_US];

/// The start of the bucket of `time` by `grain`.
///
/// # Errors
/// In words, that such buckets are not audited.
pub(super) fn start(grain: Grain, time: Expr) -> Result<Expr, String> {
    let zone = match grain.zone() {
        Some(zone) => TimeZone::opt_try_new(Some(zone.name())).map_err(|error| error.to_string())?,
        None => None,
    };
    let shown = match &zone {
        Some(zone) => shown_by(zone.clone(), time.clone()),
        None => time.clone(),
    };
    // Polars counts steps from 1970-01-01, and months from 1970-01.
    let (every, later_us) = match grain.step() {
        Step::Width { width_us, origin_us } => (format!("{width_us}us"), origin_us),
        Step::Months { count, origin: 0, shift_us } => (format!("{count}mo"), shift_us),
        Step::Months { .. } => return Err(format!("buckets of one {grain} from their origin are not audited")),
    };
    let step = (shown.clone() - duration(later_us)).dt().truncate(lit(every)) + duration(later_us);
    Ok(match zone {
        None => step,
        // Up to an hour, steps follow elapsed time: the clock has gone on since the start as much as the time has.
        Some(_) if grain.nominal_us() <= HOUR_US => time - (shown - step),
        Some(zone) => {
            // Where the clock jumps over the start, the bucket starts at the jump, and the clock shows what it jumped to.
            let at = |jumped_us| on_clock(step.clone() + duration(jumped_us), Some(zone.clone()), NonExistent::Null);
            without_zone(coalesce(&JUMPS_US.map(at)).dt().convert_time_zone(TimeZone::UTC))
        }
    })
}

/// What the clock of `zone` shows at `time`.
///
/// # Errors
/// In words, that Polars does not know the zone.
pub(super) fn shown(zone: Zone, time: Expr) -> Result<Expr, String> {
    let zone = TimeZone::opt_try_new(Some(zone.name())).map_err(|error| error.to_string())?;
    Ok(shown_by(zone.unwrap_or(TimeZone::UTC), time))
}

fn shown_by(zone: TimeZone, time: Expr) -> Expr {
    let told = on_clock(time, Some(TimeZone::UTC), NonExistent::Raise);
    without_zone(told.dt().convert_time_zone(zone))
}

/// What the clock of its zone shows at `time`.
pub(super) fn without_zone(time: Expr) -> Expr {
    on_clock(time, None, NonExistent::Raise)
}

/// What is shown by a clock, as a time in `zone`: the first one, where it is shown twice.
fn on_clock(shown: Expr, zone: Option<TimeZone>, skipped: NonExistent) -> Expr {
    shown.dt().replace_time_zone(zone, lit("earliest"), skipped)
}

fn duration(us: i64) -> Expr {
    lit(us).cast(DataType::Duration(TimeUnit::Microseconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::Timestamp;
    use polars::prelude::{Column, DataFrame, IntoLazy, NamedFrom, Series, col};
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 8] = [
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Australia/Lord_Howe",
    ];

    const STEPS: [&str; 11] =
        ["minute", "15 minutes", "hour", "90 minutes", "6 hours", "day", "2 days", "week", "month", "quarter", "year"];

    /// The starts that Polars finds for `times`.
    fn starts(grain: Grain, times: &[i64]) -> Vec<i64> {
        let utc = DataType::Datetime(TimeUnit::Microseconds, None);
        let column: Column = Series::new("time".into(), times).into();
        let frame = DataFrame::new(times.len(), vec![column]).unwrap().lazy();
        let found = frame.select([start(grain, col("time").cast(utc)).unwrap().cast(DataType::Int64).alias("start")]);
        let found = found.collect().unwrap();
        found.column("start").unwrap().i64().unwrap().into_no_null_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// From 1980 to 2035: what clocks did before, databases of different versions tell differently. And not within three
        /// hours of a change, where which of two equal readings it is depends on what came before.
        #[test]
        fn polars_finds_the_buckets_that_we_do(
            zone in prop::sample::select(&ZONES[..]),
            step in prop::sample::select(&STEPS[..]),
            times in prop::collection::vec(315_532_800_000_000..2_051_222_400_000_000_i64, 1..40),
        ) {
            let zone = Zone::named(zone).unwrap();
            let grain = Grain::named(step).unwrap().in_zone(zone);
            let changes = |time: &i64| {
                let from = Timestamp::from_microsecond(time - 3 * HOUR_US).unwrap();
                let next = zone.time_zone().following(from).next();
                next.is_some_and(|change| change.timestamp().as_microsecond() < time + 3 * HOUR_US)
            };
            let times: Vec<i64> = times.into_iter().filter(|time| !changes(time)).collect();
            let expected: Vec<i64> = times.iter().map(|&time| grain.bucket(time)).collect();
            prop_assert_eq!(starts(grain, &times), expected, "{}", grain);
        }
    }

    #[test]
    fn a_bucket_starts_where_the_clock_jumps_over_its_start() {
        for (zone, time) in [("Asia/Kathmandu", "1986-06-01T00:00:00Z"), ("America/Sao_Paulo", "2018-11-04T12:00:00Z")]
        {
            for step in ["year", "day"] {
                let grain = Grain::named(step).unwrap().in_zone(Zone::named(zone).unwrap());
                let time = time.parse::<Timestamp>().unwrap().as_microsecond();
                assert_eq!(starts(grain, &[time]), [grain.bucket(time)], "{grain} in {zone}");
            }
        }
    }

    #[test]
    fn origins_are_followed_and_those_of_months_refused() {
        let times = [1_359_676_799_999_999, 1_359_676_800_000_000, -1];
        for grain in [Grain::fixed(86_400_000_000, 21_600_000_000), Grain::months(1, 0, 86_400_000_000)] {
            assert_eq!(starts(grain, &times), times.map(|time| grain.bucket(time)), "{grain}");
        }
        assert!(start(Grain::months(12, 3, 0), col("time")).is_err());
    }
}
