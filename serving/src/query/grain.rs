//! The time step of an answer: a grain whose every bucket is made of whole buckets of the view, or the query is refused: a
//! bucket cannot be split.

use common::{
    grain::{Grain, Zone},
    suggest::nearest,
};

use super::FieldError;

const ALLOWED: &str = "second, minute, hour, day, week, month, quarter, year, or a number of them such as 15m, 6h, 2d or \
                       `15 minutes`";

/// Why a time has no step that is made of whole buckets.
#[derive(Debug)]
pub(crate) struct Unaligned {
    boundary_us: i64,
}

/// The time zone `name` of the IANA database that is compiled in: the same on every machine.
pub(crate) fn timezone(name: &str) -> Result<Zone, FieldError> {
    Zone::named(name).ok_or_else(|| {
        let near = nearest(name, Zone::names()).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
        let allowed = "name one of the IANA database, as America/New_York or UTC";
        FieldError::new("timezone", format!("`{name}` is not a time zone{near}; {allowed}"))
    })
}

/// The grain that `name` means in an answer from buckets of `view`, on the clock of `zone`, or UTC. It begins where a bucket
/// of the view does: the weeks of a view whose weeks start on Sunday do too.
pub(crate) fn asked(name: &str, zone: Option<Zone>, view: Grain) -> Result<Grain, FieldError> {
    let named = Grain::named(name)
        .ok_or_else(|| FieldError::new("grain", format!("`{name}` is not a grain; allowed are {ALLOWED}")))?;
    let in_zone = |zone: Option<Zone>| zone.map_or(named, |zone| named.in_zone(zone));
    let asked = in_zone(zone);
    view.coarsened(asked).ok_or_else(|| {
        let own_zone = view.zone().map_or("UTC", Zone::name);
        let (pointer, allowed) = match view.coarsened(in_zone(view.zone())) {
            Some(_) => ("timezone", format!("ask it in the view's own time zone, {own_zone}")),
            None => ("grain", format!("ask {} or a multiple of it, in {own_zone}", view.name())),
        };
        let detail =
            format!("a {asked} is not made of whole buckets of the view, which are one {view} each; {allowed}");
        FieldError::new(pointer, detail)
    })
}

/// The bucket `[start, end)` of `step` that `time_us`, the start of one of the view's buckets, falls in.
pub(crate) fn interval(step: Grain, time_us: i64, view: Grain) -> Result<(i64, i64), Unaligned> {
    let (start, end) = step.interval(time_us);
    match [start, end].into_iter().find(|boundary| !view.begins_at(*boundary)) {
        None => Ok((start, end)),
        Some(boundary_us) => Err(Unaligned { boundary_us }),
    }
}

impl Unaligned {
    pub(crate) fn of(self, step: Grain, view: Grain) -> FieldError {
        let detail = format!(
            "a {step} begins or ends at {}, inside one of the view's buckets of one {view}; ask a view with a finer grain, \
             or another time zone",
            super::timestamp_text(self.boundary_us),
        );
        FieldError::new("timezone", detail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const MONTH: Grain = Grain::months(1, 0, 0);

    fn us(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn zone(name: &str) -> Option<Zone> {
        Some(timezone(name).unwrap())
    }

    fn over(view: Grain, grain: &str, zone_name: &str, at: &str) -> (String, String) {
        let step = asked(grain, zone(zone_name), view).unwrap();
        let (start, end) = interval(step, us(at), view).unwrap();
        (super::super::timestamp_text(start), super::super::timestamp_text(end))
    }

    #[track_caller]
    fn check(grain: &str, zone: &str, at: &str, start: &str, end: &str) {
        assert_eq!(over(Grain::HOUR, grain, zone, at), (start.to_owned(), end.to_owned()));
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
    fn multiples_are_counted_alike_before_the_epoch() {
        check("6h", "UTC", "1969-12-31T20:00:00Z", "1969-12-31T18:00:00Z", "1970-01-01T00:00:00Z");
        check("2 days", "UTC", "2000-01-04T20:00:00Z", "2000-01-03T00:00:00Z", "2000-01-05T00:00:00Z");
        check("hour", "UTC", "2013-01-01T05:00:00Z", "2013-01-01T05:00:00Z", "2013-01-01T06:00:00Z");
    }

    #[test]
    fn a_step_is_made_of_whole_buckets_or_refused() {
        for (grain, view) in [
            ("minute", Grain::HOUR),
            ("90m", Grain::HOUR),
            ("hour", Grain::DAY),
            ("month", Grain::WEEK),
            ("day", Grain::WEEK),
            ("week", MONTH),
            ("quarter", Grain::months(2, 0, 0)),
        ] {
            let error = asked(grain, None, view).unwrap_err();
            assert_eq!(error.pointer, "#/grain", "{grain}");
            assert!(error.detail.contains("whole buckets"), "{error}");
            assert!(error.detail.contains(&format!("ask {} or a multiple", view.name())), "{error}");
        }
        let kolkata = asked("day", zone("Asia/Kolkata"), Grain::HOUR).unwrap();
        let error = interval(kolkata, us("2013-01-01T00:00:00Z"), Grain::HOUR).unwrap_err();
        assert!(error.of(kolkata, Grain::HOUR).detail.contains("18:30:00Z"), "{kolkata}");
        let half_hours = Grain::named("30m").unwrap();
        assert_eq!(over(half_hours, "day", "Asia/Kolkata", "2013-01-01T00:00:00Z").0, "2012-12-31T18:30:00Z");
        assert_eq!(over(Grain::WEEK, "week", "UTC", "2013-01-28T00:00:00Z").0, "2013-01-28T00:00:00Z");
    }

    #[test]
    fn days_of_a_zone_give_its_weeks_and_months_and_no_others() {
        let days = Grain::DAY.in_zone(zone("America/New_York").unwrap());
        let at = "2013-03-10T05:00:00Z";
        let week = ("2013-03-04T05:00:00Z".to_owned(), "2013-03-11T04:00:00Z".to_owned());
        assert_eq!(over(days, "week", "America/New_York", at), week);
        assert_eq!(over(days, "year", "America/New_York", at).0, "2013-01-01T05:00:00Z");
        for other in [None, zone("America/Chicago")] {
            let error = asked("day", other, days).unwrap_err();
            assert_eq!(error.pointer, "#/timezone");
            assert!(error.detail.contains("ask it in the view's own time zone, America/New_York"), "{error}");
        }
        assert_eq!(asked("hour", None, days).unwrap_err().pointer, "#/grain");
    }

    #[test]
    fn coarser_steps_begin_where_the_views_do() {
        let shifts = Grain::fixed(8 * 3_600_000_000, 6 * 3_600_000_000);
        let at = "2013-01-31T22:00:00Z";
        assert_eq!(over(shifts, "8h", "UTC", at).0, at);
        assert_eq!(over(shifts, "day", "UTC", at).0, "2013-01-31T06:00:00Z");
        assert_eq!(over(shifts, "month", "UTC", at).0, "2013-01-01T06:00:00Z");
        let fiscal = Grain::months(3, 1, 0);
        assert_eq!(over(fiscal, "year", "UTC", "2013-11-01T00:00:00Z").0, "2013-02-01T00:00:00Z");
    }

    #[test]
    fn words_that_are_no_grain_are_told_what_is() {
        for grain in ["fortnight", "0h", "-1h", "+1h", "", "9999999999999999999h", "101 years", "1 month 1 day", "é"] {
            let error = asked(grain, None, Grain::HOUR).unwrap_err();
            assert!(error.detail.contains("quarter, year"), "{error}");
        }
        assert!(timezone("Mars/Olympus").unwrap_err().detail.contains("IANA"));
        assert!(timezone("america/newyork").unwrap_err().detail.contains("America/New_York"));
    }
}
