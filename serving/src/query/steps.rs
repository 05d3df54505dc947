//! Which step of an answer a bucket of the view falls in, now or in the earlier range that is compared with.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, TimestampMicrosecondArray},
    datatypes::TimestampMicrosecondType,
};
use common::grain::{Grain, Step, Zone};
use jiff::{Span, Timestamp, Unit, tz::TimeZone};

use super::{
    FieldError,
    grain::{Unaligned, interval},
    timestamp_text,
};

const DAY_US: i64 = 86_400_000_000;

/// How much earlier the range is that is compared with. Days and months are those of a clock.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    span: Span,
    zone: TimeZone,
}

impl Shift {
    /// What `text` says, for a query of `[from, to)` on the clock of `zone`.
    pub(super) fn asked(
        text: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        zone: Option<Zone>,
    ) -> Result<Self, FieldError> {
        let zone = zone.map_or(TimeZone::UTC, |zone| zone.time_zone().clone());
        let fault = |detail: String| FieldError::new("compare", detail);
        if text == "previous" {
            let (Some(from), Some(to)) = (from, to) else {
                return Err(fault("`previous` is as long as the range, so it takes `from` and `to`".to_owned()));
            };
            let (start, end) = (from.to_zoned(zone.clone()), to.to_zoned(zone.clone()));
            let days = start.until((Unit::Day, &end)).map_err(|error| fault(error.to_string()))?;
            let whole = start.checked_add(Span::new().days(days.get_days())).is_ok_and(|whole| whole == end);
            let span = if whole {
                Span::new().days(days.get_days())
            } else {
                Span::new().microseconds(to.as_microsecond() - from.as_microsecond())
            };
            return Ok(Self { span, zone });
        }
        let asked = Grain::named(text).ok_or_else(|| {
            let allowed = "allowed are `previous` and a length of time, as `7 days`, `1 month` or `1 year`";
            fault(format!("`{text}` is no earlier range; {allowed}"))
        })?;
        let span = match asked.step() {
            Step::Months { count, .. } => Span::new().try_months(count),
            Step::Width { width_us, .. } if width_us % DAY_US == 0 => Span::new().try_days(width_us / DAY_US),
            Step::Width { width_us, .. } => Span::new().try_microseconds(width_us),
        };
        Ok(Self { span: span.map_err(|error| fault(error.to_string()))?, zone })
    }

    /// The time so much earlier; what no calendar has stays as it is.
    pub(super) fn earlier(&self, us: i64) -> i64 {
        self.moved(us, -1)
    }

    fn later(&self, us: i64) -> i64 {
        self.moved(us, 1)
    }

    fn moved(&self, us: i64, sign: i64) -> i64 {
        let moved = || {
            let time = Timestamp::from_microsecond(us).ok()?.to_zoned(self.zone.clone());
            Some(time.checked_add(self.span.checked_mul(sign).ok()?).ok()?.timestamp().as_microsecond())
        };
        moved().unwrap_or(us)
    }
}

/// Finds steps; remembers the last, since buckets come sorted.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    grain: Grain,
    view: Grain,
    shift: Option<Shift>,
    /// The buckets `[start, end)` that are of the step that starts at `step`.
    around: (i64, i64),
    step: i64,
}

impl Steps {
    /// Steps of `grain` from buckets of `view`, which are `shift` later than those.
    pub(crate) fn new(grain: Grain, view: Grain, shift: Option<Shift>) -> Self {
        Self { grain, view, shift, around: (0, 0), step: 0 }
    }

    /// The start of the step that the view's bucket `bucket` is of.
    pub(crate) fn step(&mut self, bucket: i64) -> Result<i64, FieldError> {
        if !(self.around.0..self.around.1).contains(&bucket) {
            let unaligned = |unaligned: Unaligned| unaligned.of(self.grain, self.view);
            match &self.shift {
                None => {
                    self.around = interval(self.grain, bucket, self.view).map_err(unaligned)?;
                    self.step = self.around.0;
                }
                Some(shift) => {
                    let (step, around) = earlier(self.grain, shift, bucket);
                    for boundary in [around.0, around.1] {
                        if !self.view.begins_at(boundary) {
                            let (at, view) = (timestamp_text(boundary), self.view);
                            let detail =
                                format!("a step then begins at {at}, inside one of the view's buckets of one {view}");
                            return Err(FieldError::new("compare", detail));
                        }
                    }
                    (self.step, self.around) = (step, around);
                }
            }
        }
        Ok(self.step)
    }
}

/// The step of `grain` that `bucket` is compared with, and the buckets that are compared with it. Every bucket is in one: a
/// day that the later month does not have counts to the step of the last one that it has.
fn earlier(grain: Grain, shift: &Shift, bucket: i64) -> (i64, (i64, i64)) {
    let (mut start, mut end) = grain.interval(shift.later(bucket));
    while shift.earlier(start) > bucket {
        (start, end) = grain.interval(start - 1);
    }
    while shift.earlier(end) <= bucket {
        (start, end) = grain.interval(end);
    }
    (start, (shift.earlier(start), shift.earlier(end)))
}

/// The step of `grain` that each of `buckets` of `view` falls in; `None` if a step cuts a bucket.
pub(crate) fn whole_steps(grain: Grain, view: Grain, buckets: &ArrayRef) -> Option<ArrayRef> {
    let mut steps = Steps::new(grain, view, None);
    let starts = buckets.as_primitive::<TimestampMicrosecondType>().values().iter();
    let starts: Option<Vec<i64>> = starts.map(|bucket| steps.step(*bucket).ok()).collect();
    Some(Arc::new(TimestampMicrosecondArray::from(starts?).with_timezone("UTC")))
}
