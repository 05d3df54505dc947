#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use proptest::prelude::*;

use super::{DAY_US, Grain, HOUR_US, SECOND_US, Step, WEEK_US, Zone, months};

fn us(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn shown(us: i64) -> String {
    Timestamp::from_microsecond(us).unwrap().to_string()
}

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

fn grain(name: &str, zone_name: &str) -> Grain {
    Grain::named(name).unwrap().in_zone(zone(zone_name))
}

/// Checks the bucket of `at` and that its neighbours touch it.
#[track_caller]
fn check(grain: Grain, at: &str, start: &str, end: &str) {
    let (from, to) = grain.interval(us(at));
    assert_eq!((shown(from).as_str(), shown(to).as_str()), (start, end), "{at} by {grain}");
    assert_tiles(grain, us(at));
}

#[track_caller]
fn assert_tiles(grain: Grain, time_us: i64) {
    let (start, end) = grain.interval(time_us);
    assert!(start <= time_us && time_us < end, "{time_us} is in [{start}, {end}), by {grain}");
    for inside in [start, end - 1] {
        assert_eq!(grain.interval(inside), (start, end), "{inside} as {time_us}, by {grain}");
    }
    assert_eq!(grain.interval(start - 1).1, start, "before {time_us}, by {grain}");
    assert_eq!(grain.interval(end).0, end, "after {time_us}, by {grain}");
}

#[test]
fn days_have_23_and_25_hours_where_the_clock_changes() {
    let days = grain("day", "America/New_York");
    check(days, "2013-02-01T04:59:59Z", "2013-01-31T05:00:00Z", "2013-02-01T05:00:00Z");
    check(days, "2013-03-10T12:00:00Z", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z");
    check(days, "2013-11-03T12:00:00Z", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
    check(grain("2 days", "America/New_York"), "2013-03-10T12:00:00Z", "2013-03-09T05:00:00Z", "2013-03-11T04:00:00Z");
    check(grain("week", "America/New_York"), "2013-03-10T12:00:00Z", "2013-03-04T05:00:00Z", "2013-03-11T04:00:00Z");
    check(grain("month", "America/New_York"), "2013-04-01T03:59:59Z", "2013-03-01T05:00:00Z", "2013-04-01T04:00:00Z");
    check(grain("year", "Asia/Tokyo"), "2013-12-31T15:00:00Z", "2013-12-31T15:00:00Z", "2014-12-31T15:00:00Z");
}

#[test]
fn steps_longer_than_an_hour_follow_the_clock() {
    // Quarters of a day start at 0, 6, 12 and 18 o'clock: one has five hours when clocks go forward, one seven.
    let quarters = grain("6 hours", "Europe/Berlin");
    check(quarters, "2013-03-31T00:30:00Z", "2013-03-30T23:00:00Z", "2013-03-31T04:00:00Z");
    check(quarters, "2013-10-27T00:30:00Z", "2013-10-26T22:00:00Z", "2013-10-27T05:00:00Z");
    // A business day from six to six.
    let shift = Grain::fixed(DAY_US, 6 * HOUR_US).in_zone(zone("Europe/Berlin"));
    check(shift, "2013-03-31T00:30:00Z", "2013-03-30T05:00:00Z", "2013-03-31T04:00:00Z");
}

#[test]
fn hours_follow_elapsed_time() {
    // Between one and two o'clock, twice.
    let hours = grain("hour", "America/New_York");
    check(hours, "2013-11-03T05:30:00Z", "2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z");
    check(hours, "2013-11-03T06:30:00Z", "2013-11-03T06:00:00Z", "2013-11-03T07:00:00Z");
    check(hours, "2013-03-10T07:30:00Z", "2013-03-10T07:00:00Z", "2013-03-10T08:00:00Z");
}

#[test]
fn hours_of_zones_with_half_hours_start_when_their_clocks_show_them() {
    check(grain("hour", "Asia/Kolkata"), "2013-01-01T00:00:00Z", "2012-12-31T23:30:00Z", "2013-01-01T00:30:00Z");
    check(grain("hour", "Asia/Kathmandu"), "2013-01-01T00:00:00Z", "2012-12-31T23:15:00Z", "2013-01-01T00:15:00Z");
    check(grain("30m", "Asia/Kathmandu"), "2013-01-01T00:00:00Z", "2012-12-31T23:45:00Z", "2013-01-01T00:15:00Z");
    // Lord Howe Island goes back from 02:00 to 01:30, so there is half an hour from 01:30 to 02:00 between two whole ones,
    // and forward from 02:00 to 02:30.
    let island = grain("hour", "Australia/Lord_Howe");
    check(island, "2013-04-06T14:30:00Z", "2013-04-06T14:00:00Z", "2013-04-06T15:00:00Z");
    check(island, "2013-04-06T15:10:00Z", "2013-04-06T15:00:00Z", "2013-04-06T15:30:00Z");
    check(island, "2013-04-06T15:30:00Z", "2013-04-06T15:30:00Z", "2013-04-06T16:30:00Z");
    check(island, "2013-10-05T15:40:00Z", "2013-10-05T15:30:00Z", "2013-10-05T16:00:00Z");
}

#[test]
fn a_start_that_the_clock_skips_is_where_it_goes_on() {
    // From 00:00 to 01:00; from 23:30 to 00:30; and the whole of 2011-12-30.
    check(grain("day", "America/Sao_Paulo"), "2013-10-20T10:00:00Z", "2013-10-20T03:00:00Z", "2013-10-21T02:00:00Z");
    check(grain("day", "America/Toronto"), "1919-03-31T10:00:00Z", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z");
    check(grain("day", "Pacific/Apia"), "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    check(grain("day", "Pacific/Apia"), "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
}

#[test]
fn what_the_clock_shows_again_belongs_to_the_step_that_has_begun() {
    // From 00:00 back to 23:00: the day before has 25 hours. From 00:01 back to 23:01: the new day has begun.
    check(grain("day", "America/Sao_Paulo"), "2013-02-17T02:30:00Z", "2013-02-16T02:00:00Z", "2013-02-17T03:00:00Z");
    check(grain("day", "America/St_Johns"), "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z");
}

#[test]
fn origins_move_the_starts() {
    let quarter = Grain::fixed(15 * 60 * SECOND_US, 5 * 60 * SECOND_US);
    check(quarter, "1969-12-31T23:59:59Z", "1969-12-31T23:50:00Z", "1970-01-01T00:05:00Z");
    assert_eq!(Grain::fixed(DAY_US, 3 * DAY_US + 1), Grain::fixed(DAY_US, 1));
    let fiscal = Grain::months(12, 363, 0);
    check(fiscal, "2013-03-31T23:59:59Z", "2012-04-01T00:00:00Z", "2013-04-01T00:00:00Z");
    let mid = Grain::months(1, 0, 14 * DAY_US);
    check(mid, "2013-03-14T23:59:59Z", "2013-02-15T00:00:00Z", "2013-03-15T00:00:00Z");
}

#[test]
fn no_time_is_too_far_away() {
    let names = ["second", "week", "month", "100 years"].map(|name| Grain::named(name).unwrap());
    for grain in names.into_iter().flat_map(|grain| [grain, grain.in_zone(zone("America/New_York"))]) {
        let mut buckets = grain.buckets();
        for time in [i64::MIN, -(1 << 62), 1 << 62, i64::MAX] {
            let (start, end) = grain.interval(time);
            assert!(start < end && buckets.start(time) == start, "{grain}");
        }
        for time in [crate::limits::TIMESTAMP_US_MIN, crate::limits::TIMESTAMP_US_MAX] {
            assert_tiles(grain, time);
        }
    }
}

#[test]
fn a_clock_that_shows_utc_is_utc() {
    for name in ["UTC", "etc/utc", "Zulu"] {
        assert_eq!(grain("day", name), Grain::DAY, "{name}");
    }
    assert_eq!(zone("america/NEW_york"), zone("America/New_York"));
    assert_eq!(zone("america/NEW_york").name(), "America/New_York");
    assert!(Zone::named("America/NewYork").is_none());
}

#[test]
fn names_say_the_step() {
    for (written, name) in [
        ("hour", "hour"),
        ("60m", "hour"),
        (" 1 Hour  30 MINUTES ", "90 minutes"),
        ("24h", "day"),
        ("7d", "week"),
        ("14 days", "2 weeks"),
        ("3 mons", "quarter"),
        ("2 quarters", "6 months"),
        ("1 year 1 month", "13 months"),
        ("1500ms", "1500 milliseconds"),
        ("1 us", "microsecond"),
        ("100 years", "100 years"),
    ] {
        let grain = Grain::named(written).unwrap();
        assert_eq!(grain.name(), name, "{written}");
        assert_eq!(Grain::named(&grain.name()), Some(grain), "{written}");
    }
    for none in
        ["", " ", "fortnight", "0 days", "-1 day", "+1 day", "1 hour hour", "101 years", "1 month 1 day", "1.5h", "1"]
    {
        assert_eq!(Grain::named(none), None, "{none}");
    }
}

/// Zones of every kind of trouble, and those that most people live in.
const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Europe/Dublin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "America/Scoresbysund",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Chatham",
];

fn zones() -> impl Strategy<Value = Zone> {
    let all: Vec<&'static str> = Zone::names().collect();
    prop_oneof![prop::sample::select(ZONES), prop::sample::select(all)].prop_map(zone)
}

/// Times from 1850 to 2150, half of them within two days of a change of the clock of `zone`.
fn times(zone: Zone) -> impl Strategy<Value = i64> {
    let any = || us("1850-01-01T00:00:00Z")..us("2150-01-01T00:00:00Z");
    prop_oneof![
        any(),
        (any(), -2 * DAY_US..2 * DAY_US).prop_map(move |(time, near)| {
            let change = zone.time_zone().following(Timestamp::from_microsecond(time).unwrap()).next();
            change.map_or(time, |change| change.timestamp().as_microsecond() + near)
        })
    ]
}

fn grains() -> impl Strategy<Value = Grain> {
    let named = prop::sample::select(vec![
        "second",
        "minute",
        "7 minutes",
        "15 minutes",
        "hour",
        "90 minutes",
        "6 hours",
        "7 hours",
        "day",
        "36 hours",
        "5 days",
        "week",
        "2 weeks",
    ]);
    let widths = (named, 0..2 * WEEK_US / SECOND_US).prop_map(|(name, origin)| {
        let Step::Width { width_us, .. } = Grain::named(name).unwrap().step() else { unreachable!("of a fixed width") };
        Grain::fixed(width_us, origin * SECOND_US)
    });
    let months = (1..30_i64, 0..30_i64, prop_oneof![Just(0), 0..28 * DAY_US]);
    let usual = prop::sample::select(vec!["hour", "day", "week", "month", "quarter", "year"]);
    prop_oneof![
        usual.prop_map(|name| Grain::named(name).unwrap()),
        widths,
        months.prop_map(|(count, origin, shift)| Grain::months(count, origin, shift)),
    ]
}

fn cases() -> impl Strategy<Value = (Grain, i64)> {
    (grains(), zones()).prop_flat_map(|(grain, zone)| (Just(grain.in_zone(zone)), times(zone)))
}

/// The first moment at which the clock of `zone` shows `clock` or later, as jiff has it.
fn first_at(clock: DateTime, zone: &TimeZone) -> i64 {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(clock).unwrap().as_second();
    let second = match zone.to_ambiguous_timestamp(clock).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Fold { before, .. } => at(before),
        // The change is where the offset is no longer the one before.
        AmbiguousOffset::Gap { before, after } => {
            let (mut low, mut high) = (at(after), at(before));
            while low < high {
                let middle = low + (high - low) / 2;
                match zone.to_offset(Timestamp::from_second(middle).unwrap()) == before {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            low
        }
    };
    second * SECOND_US
}

/// The bucket of `time` by a unit of the calendar, walking from start to start with jiff's own arithmetic.
fn walked(unit: &str, zone: &TimeZone, time: i64) -> (i64, i64) {
    let local = Timestamp::from_microsecond(time).unwrap().to_zoned(zone.clone()).date();
    let (first, step): (Date, jiff::Span) = match unit {
        "day" => (local, 1.day()),
        "week" => (local.checked_sub(i64::from(local.weekday().since(Weekday::Monday)).days()).unwrap(), 1.week()),
        "month" => (local.first_of_month(), 1.month()),
        "quarter" => (Date::new(local.year(), (local.month() - 1) / 3 * 3 + 1, 1).unwrap(), 3.months()),
        _ => (local.first_of_year(), 1.year()),
    };
    let start_of = |date: Date| first_at(date.at(0, 0, 0, 0), zone);
    let mut date = first;
    loop {
        let next = date.checked_add(step).unwrap();
        if start_of(next) > time {
            return (start_of(date), start_of(next));
        }
        date = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn buckets_tile_time((grain, time) in cases()) {
        assert_tiles(grain, time);
    }

    #[test]
    fn calendar_buckets_are_those_of_jiff(
        (zone, time) in zones().prop_flat_map(|zone| (Just(zone), times(zone))),
        unit in prop::sample::select(vec!["day", "week", "month", "quarter", "year"]),
    ) {
        let grain = Grain::named(unit).unwrap().in_zone(zone);
        prop_assert_eq!(grain.interval(time), walked(unit, zone.time_zone(), time), "{} at {}", grain, shown(time));
    }

    #[test]
    fn hours_are_cut_where_their_clock_shows_them((zone, time) in zones().prop_flat_map(|zone| (Just(zone), times(zone)))) {
        let hours = grain("hour", zone.name());
        let (start, end) = hours.interval(time);
        let seconds = |time: i64| {
            let local = Timestamp::from_microsecond(time).unwrap().to_zoned(zone.time_zone().clone());
            i64::from(local.minute()) * 60 + i64::from(local.second())
        };
        prop_assert!(end - start <= HOUR_US);
        for edge in [start, end] {
            let before = seconds(edge - SECOND_US) + 1;
            prop_assert!(seconds(edge) == 0 || before != seconds(edge), "{} at {}", hours, shown(edge));
        }
        // Within, the clock goes on evenly.
        prop_assert_eq!(seconds(time) - seconds(start), (time - start).div_euclid(SECOND_US), "{} at {}", hours, shown(time));
    }

    #[test]
    fn months_are_those_of_jiff(day in -4_000_000..2_900_000_i64) {
        let date = Date::constant(1970, 1, 1).checked_add(day.days()).unwrap();
        let month = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1;
        prop_assert_eq!(months::of_day(day), month);
        prop_assert_eq!(months::first_day(month), day - i64::from(date.day()) + 1);
    }

    #[test]
    fn a_finder_finds_what_the_grain_says(
        (grain, times) in (grains(), zones()).prop_flat_map(|(grain, zone)| {
            (Just(grain.in_zone(zone)), prop::collection::vec(times(zone), 1..60))
        }),
    ) {
        let mut buckets = grain.buckets();
        for time in times.iter().chain(&times) {
            prop_assert_eq!(buckets.start(*time), grain.bucket(*time), "{} by {}", time, grain);
        }
    }

    #[test]
    fn coarser_buckets_are_made_of_whole_ones(
        (zone, time) in zones().prop_flat_map(|zone| (Just(zone), times(zone))),
        view in grains(),
        asked in grains(),
    ) {
        // What elapses and what a clock shows need not agree where clocks change by parts of a step.
        let view = if view.follows_elapsed_time() { view } else { view.in_zone(zone) };
        let asked = view.zone().map_or(asked, |zone| asked.in_zone(zone));
        if let Some(coarser) = view.coarsened(asked) {
            let (start, end) = coarser.interval(time);
            prop_assert!(view.begins_at(start) && view.begins_at(end), "{} of {} at {}", coarser, view, shown(time));
            prop_assert_eq!(view.coarsened(coarser), Some(coarser));
        }
        prop_assert_eq!(view.coarsened(view), Some(view));
    }
}
