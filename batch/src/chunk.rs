//! Time chunks: how a view's history is cut into files.
//!
//! The cut is a fixed function of the view's grain and of nothing else, never of the data or of when a run was made. So two
//! generations of the same view are comparable file by file, and what did not change keeps its file.
//!
//! The width weighs two costs. An advance rewrites every chunk that a new event fell into: the newest always, older ones
//! for late events; wide chunks make each of these dear. A year of narrow chunks makes a long manifest, many small
//! objects and many requests at a load. So a chunk is
//!
//! | grain | chunk | buckets in it | files a year |
//! |---|---|---|---|
//! | below an hour | a day | 86,400 (second) to 25 | 365 |
//! | an hour to below a day | a week | 168 (hour) | 52 |
//! | a day to below a month | a year | 366 (day), 53 (week) | 1 |
//! | a month and above | ten years | 120 (month) | 0.1 |
//!
//! With 1,000 groups a bucket and 100 bytes a group, a chunk of hours is 17 MB and one of days 36 MB before compression:
//! large enough to read fast, small enough to write every few minutes. Chunks tile UTC, whatever zone the view's days are
//! of, and a bucket is in the chunk that it starts in: so each is in one, and may reach into the next.
//!
//! A chunk of very many groups is split into several files, its parts, which are made at the same time.

use std::{iter, ops::Range};

use arrow::{
    array::AsArray,
    datatypes::{DataType, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use common::{generation::Chunk, grain::Grain, view::View};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const MONTH_US: i64 = 28 * DAY_US;

/// The time chunks of `view`, as a grain whose buckets are the chunks.
#[must_use]
pub fn of(view: &View) -> Grain {
    match view.grain.nominal_us() {
        ..HOUR_US => Grain::DAY,
        HOUR_US..DAY_US => Grain::WEEK,
        DAY_US..MONTH_US => Grain::months(12, 0, 0),
        _ => Grain::months(120, 0, 0),
    }
}

/// Whether `chunks`, the files of `view` in some generation, are cut as [`of`] says. They are not if another release with
/// another rule wrote them.
#[must_use]
pub fn fits(view: &View, chunks: &[Chunk]) -> bool {
    let grain = of(view);
    chunks.iter().all(|c| grain.interval(c.from_us) == (c.from_us, c.to_us))
}

/// Where in a canonical partial of `view` the groups of each time chunk are, by the start of each (microseconds since
/// 1970-01-01 UTC), ascending.
pub fn ranges(view: &View, partial: &RecordBatch) -> impl Iterator<Item = (i64, Range<usize>)> + use<> {
    let grain = of(view);
    let buckets = partial.column(0).as_primitive::<TimestampMicrosecondType>().values().clone();
    let mut start = 0;
    iter::from_fn(move || {
        let (from_us, to_us) = grain.interval(*buckets.get(start)?);
        let range = start..start + buckets[start..].partition_point(|bucket| *bucket < to_us);
        start = range.end;
        Some((from_us, range))
    })
}

/// Groups of one part of a chunk, about: some ten megabytes in memory, and files of some.
const PART_GROUPS: u64 = 1 << 18;

/// Groups of one part of a chunk of a view with sketches, which take hundreds of bytes each.
const PART_SKETCHED_GROUPS: u64 = 1 << 15;

/// Into how many parts a chunk of so many groups is split, by a hash of their dimensions: a power of two, at most 256. Like
/// the chunk itself it depends on the events alone, so that equal events make equal files.
#[must_use]
pub fn parts(view: &View, groups: u64) -> u32 {
    let sketched = view.states.iter().any(|state| *state.field().data_type() == DataType::Binary);
    let most = if sketched { PART_SKETCHED_GROUPS } else { PART_GROUPS };
    let parts = groups.div_ceil(most).next_power_of_two().min(256);
    u32::try_from(parts).expect("it is at most 256")
}
