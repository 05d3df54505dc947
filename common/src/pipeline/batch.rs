//! `[batch]`: within which bounds the batch layer works, and when by itself.

use std::str::FromStr;

use bytesize::ByteSize;
pub use croner::Cron;
use jiff::{SignedDuration, Timestamp};

use super::{
    reader::{Reader, Section},
    values::{DURATION, Kind, SIZE},
};
use crate::grain::Zone;

const KEYS: &[&str] =
    &["advance_every", "memory", "recompute", "audit", "timezone", "resumable_from", "leftovers_kept", "compact_from"];

const CRON: Kind<Cron> = Kind {
    what: "a cron expression",
    allowed: "it has five fields, minute, hour, day, month and day of the week, as \"30 2 * * SUN\"",
    parse: |text| Cron::from_str(text).ok(),
};

const ZONE: Kind<Zone> = Kind {
    what: "a time zone",
    allowed: "it is a name of the IANA database, as \"Europe/Berlin\", or \"UTC\"",
    parse: Zone::named,
};

/// `compact_from` where the file has none: at a commit every 10 seconds a date has so many after 10 minutes, and reading them costs a
/// recompute about as much again as their events do.
const COMPACT_FROM: u32 = 64;

/// What the pipeline file tells the batch layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Time between advances in `highwater run`. A later advance costs no answer its freshness, only memory: serving keeps the
    /// segments since the last one.
    pub advance_every: SignedDuration,
    /// Bytes that a run holds in memory: groups, files and events in flight, chunks that are written. More groups go to temporary
    /// files and cost their writing and reading; a quarter of it they have in any case, so let it be some hundred megabytes a core.
    pub memory: ByteSize,
    /// When everything is recomputed from raw files; never if `None`.
    pub recompute: Option<Cron>,
    /// When everything is audited; never if `None`.
    pub audit: Option<Cron>,
    /// By whose clock these expressions are meant.
    pub timezone: Zone,
    /// Bytes of raw files from which on a run keeps its finished tasks in the store, so that one that was killed goes on where
    /// it was. A smaller one is done again in the time that keeping its tasks would cost: a minute or so.
    pub resumable_from: ByteSize,
    /// How long files are kept that nothing needs any more: replaced data files, older generations, runs that were given up, views
    /// that were removed.
    pub leftovers_kept: SignedDuration,
    /// How many small files of one date there may be in a dataset before a process that keeps the schedule puts them together.
    pub compact_from: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            advance_every: SignedDuration::from_mins(5),
            memory: ByteSize::gib(1),
            recompute: None,
            audit: None,
            timezone: Zone::named("UTC").expect("the database that is compiled in has UTC"),
            resumable_from: ByteSize::gib(8),
            leftovers_kept: SignedDuration::from_hours(7 * 24),
            compact_from: COMPACT_FROM,
        }
    }
}

impl Batch {
    /// When `cron` is due next after `now_us`, microseconds since 1970-01-01 UTC; `None` if never.
    #[must_use]
    pub fn next_us(&self, cron: &Cron, now_us: i64) -> Option<i64> {
        let now = Timestamp::from_microsecond(now_us).ok()?.to_zoned(self.timezone.time_zone().clone());
        cron.find_next_occurrence(&now, false).ok().map(|due| due.timestamp().as_microsecond())
    }
}

/// The `[batch]` of a file.
pub(super) fn batch(reader: &mut Reader<'_>, root: &Section<'_>) -> Batch {
    let section = reader.section(root, "batch", KEYS);
    let default = Batch::default();
    Batch {
        advance_every: reader.or(&section, "advance_every", &DURATION, default.advance_every),
        memory: reader.or(&section, "memory", &SIZE, default.memory),
        recompute: reader.optional(&section, "recompute", &CRON),
        audit: reader.optional(&section, "audit", &CRON),
        timezone: reader.or(&section, "timezone", &ZONE, default.timezone),
        resumable_from: reader.or(&section, "resumable_from", &SIZE, default.resumable_from),
        leftovers_kept: reader.or(&section, "leftovers_kept", &DURATION, default.leftovers_kept),
        compact_from: reader.count(&section, "compact_from", 2..=u32::MAX, default.compact_from),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_meant_by_the_clock_of_the_zone() {
        let berlin = Batch { timezone: Zone::named("Europe/Berlin").unwrap(), ..Batch::default() };
        let next = |cron: &str, now: &str| {
            let now_us = now.parse::<Timestamp>().unwrap().as_microsecond();
            let next_us = berlin.next_us(&Cron::from_str(cron).unwrap(), now_us).unwrap();
            Timestamp::from_microsecond(next_us).unwrap().to_string()
        };
        assert_eq!(next("30 2 * * *", "2026-01-15T00:00:00Z"), "2026-01-15T01:30:00Z");
        assert_eq!(next("30 2 * * *", "2026-01-15T01:30:00Z"), "2026-01-16T01:30:00Z", "not the same time again");
        assert_eq!(next("0 3 * * SUN", "2026-07-01T00:00:00Z"), "2026-07-05T01:00:00Z");
    }
}
