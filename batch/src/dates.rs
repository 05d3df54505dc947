//! Which time a dataset's file can hold events of: the UTC date that its table is partitioned by stands in its path.

use std::{collections::BTreeSet, ops::Range};

use common::{dataset::DataFile, history::Kept, view::View};
use jiff::{civil::Date, tz::TimeZone};
use object_store::path::Path;

use crate::chunk;

const PARTITION: &str = "event_date=";

/// The event times that `file` can hold, `[from, to)`, microseconds since 1970-01-01 UTC; `None` if its path does not say.
#[must_use]
pub fn of(file: &DataFile) -> Option<Range<i64>> {
    of_path(&file.path)
}

/// [`of`] a file at this path.
#[must_use]
pub fn of_path(path: &Path) -> Option<Range<i64>> {
    let date = path.parts().find_map(|part| part.as_ref().strip_prefix(PARTITION)?.parse::<Date>().ok())?;
    let start = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond());
    Some(start(date)?..date.tomorrow().ok().and_then(start).unwrap_or(i64::MAX))
}

/// The event times that buckets of `view` starting in `buckets` are made of, `[from, to)`.
#[must_use]
pub fn reach(view: &View, buckets: &Range<i64>) -> Range<i64> {
    // The last bucket may reach further than the first start after it.
    let to = if buckets.end == i64::MAX { i64::MAX } else { view.grain.interval(buckets.end - 1).1 };
    buckets.start..to
}

/// Whether two half-open ranges have a point in common.
#[must_use]
pub fn overlap(a: &Range<i64>, b: &Range<i64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The starts of the time chunks of `view`, of whose history so much is kept, that events of `times` fall in.
#[must_use]
pub fn chunks(view: &View, kept: &Kept, times: &Range<i64>) -> BTreeSet<i64> {
    let grain = chunk::of(view);
    let (first, last) = (view.grain.bucket(times.start), view.grain.bucket(times.end - 1));
    let mut chunks = BTreeSet::new();
    // What is rolled up is where its coarser buckets start.
    if let Some((before_us, coarser)) = kept.rolled(view) {
        let mut at = coarser.bucket(first);
        while at <= last && at < before_us {
            chunks.extend(kept.bucket(view, at).map(|bucket| grain.bucket(bucket)));
            at = coarser.interval(at).1;
        }
    }
    let first = first.max(kept.whole_from_us());
    let mut at = grain.bucket(first);
    while at <= last && first <= last {
        chunks.insert(at);
        at = grain.interval(at).1;
    }
    chunks
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use common::{history::History, testing};

    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn view(bucket: &str) -> std::sync::Arc<View> {
        let sql = format!("CREATE VIEW v AS SELECT {bucket} AS b, count(*) AS n FROM departures GROUP BY b");
        std::thread::scope(|s| s.spawn(|| testing::view(&sql, &testing::departures())).join().unwrap())
    }

    #[test]
    fn a_path_says_the_day_of_its_events() {
        let file = |path: &str| DataFile { path: path.into(), rows: 1, bytes: 1 };
        assert_eq!(of(&file("datasets/a/event_date=1970-01-02/x.parquet")), Some(DAY_US..2 * DAY_US));
        assert_eq!(of(&file("datasets/a/event_date=__HIVE_DEFAULT_PARTITION__/x.parquet")), None);
        assert_eq!(of(&file("datasets/a/x.parquet")), None);
    }

    #[test]
    fn a_day_that_is_rolled_up_falls_in_the_chunk_that_its_coarser_bucket_starts_in() {
        let minutes = view("date_trunc('minute', departed_at)");
        let history = History { keep: jiff::SignedDuration::ZERO, roll_up: Some("month".to_owned()) };
        let kept = Kept::default().aged(&minutes, &history, 40 * DAY_US);
        let of = |days: Range<i64>| chunks(&minutes, &kept, &(days.start * DAY_US..days.end * DAY_US));
        assert_eq!(of(3..5), [0].into());
        assert_eq!(of(30..33), [0, 31 * DAY_US, 32 * DAY_US].into());
        assert_eq!(of(33..34), [33 * DAY_US].into());
    }

    #[test]
    fn a_day_falls_in_the_chunks_that_its_buckets_start_in() {
        let monday = 4 * DAY_US;
        let whole = Kept::default();
        assert_eq!(
            chunks(&view("date_trunc('hour', departed_at)"), &whole, &(monday..monday + DAY_US)),
            [monday].into()
        );
        // A day of New York begins five hours into one of UTC: the events before are of the day before, in the year before.
        let new_york = view("date_trunc('day', departed_at, 'America/New_York')");
        assert_eq!(chunks(&new_york, &whole, &(0..DAY_US)), [-365 * DAY_US, 0].into());
        assert_eq!(reach(&new_york, &(0..365 * DAY_US)), 0..365 * DAY_US + DAY_US / 24 * 5);
    }
}
