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
//! | a day and above | 52 weeks | 364 (day), 52 (week) | 1 |
//!
//! With 1,000 groups a bucket and 100 bytes a group, a chunk of hours is 17 MB and one of days 36 MB before compression:
//! large enough to read fast, small enough to write every few minutes. Every chunk is a whole number of buckets, starts where a
//! bucket starts, and both are aligned in UTC, so no bucket is in two chunks.

use arrow::{
    array::{AsArray, UInt32Array},
    compute::take_record_batch,
    datatypes::TimestampMicrosecondType,
    record_batch::RecordBatch,
};
use common::{
    generation::Chunk,
    view::{Grain, View},
};

use crate::Error;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const WEEK_US: i64 = 7 * DAY_US;

/// The time chunks of `view`, as a grain whose buckets are the chunks.
#[must_use]
pub fn of(view: &View) -> Grain {
    let Grain { width_us, origin_us } = view.grain;
    let least_us = match width_us {
        ..HOUR_US => DAY_US,
        HOUR_US..DAY_US => WEEK_US,
        _ => 52 * WEEK_US,
    };
    let buckets = least_us.div_euclid(width_us) + i64::from(least_us % width_us != 0);
    Grain { width_us: buckets * width_us, origin_us }
}

/// Whether `chunks`, the files of `view` in some generation, are cut as [`of`] says. They are not if another release with
/// another rule wrote them.
#[must_use]
pub fn fits(view: &View, chunks: &[Chunk]) -> bool {
    let grain = of(view);
    chunks.iter().all(|c| grain.bucket(c.from_us) == c.from_us && c.from_us + grain.width_us == c.to_us)
}

/// Cuts a canonical partial of `view` into one per time chunk, with the start of each (microseconds since 1970-01-01 UTC),
/// ascending. The pieces hold no more memory than their own rows: a few late rows must not keep a large batch alive.
///
/// # Errors
/// [`Error::Arrow`].
pub fn split(view: &View, partial: &RecordBatch) -> Result<Vec<(i64, RecordBatch)>, Error> {
    let grain = of(view);
    let buckets = partial.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < buckets.len() {
        let from_us = grain.bucket(buckets[start]);
        let end = start + buckets[start..].partition_point(|bucket| *bucket < from_us + grain.width_us);
        pieces.push((from_us, piece(partial, start, end)?));
        start = end;
    }
    Ok(pieces)
}

fn piece(partial: &RecordBatch, start: usize, end: usize) -> Result<RecordBatch, Error> {
    if end - start == partial.num_rows() {
        return Ok(partial.clone());
    }
    let row = |row: usize| u32::try_from(row).expect("a partial of one file has fewer rows than 2^32");
    let rows = UInt32Array::from_iter_values(row(start)..row(end));
    Ok(take_record_batch(partial, &rows)?)
}
