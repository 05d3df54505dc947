//! Windows: a range of buckets cut so that the events of each piece fit the memory.

use std::{collections::BTreeMap, ops::Range};

use common::{dataset::DataFile, view::View};

use crate::dates;

/// `buckets` of `view`, by their starts, cut between two buckets where the files of a piece would be more than `bytes_max`.
/// What is open at an end stays open there.
pub(super) fn windows(view: &View, buckets: &Range<i64>, files: &[DataFile], bytes_max: u64) -> Vec<Range<i64>> {
    let reach = dates::reach(view, buckets);
    let mut days: BTreeMap<i64, u64> = BTreeMap::new();
    for file in files {
        if let Some(times) = dates::of(file).filter(|times| dates::overlap(times, &reach)) {
            *days.entry(times.start).or_default() += file.bytes;
        }
    }
    let (mut windows, mut from, mut held) = (Vec::new(), buckets.start, 0);
    for (day, bytes) in days {
        let cut = view.grain.bucket(day);
        if held > 0 && held + bytes > bytes_max && cut > from && cut < buckets.end {
            windows.push(from..cut);
            (from, held) = (cut, 0);
        }
        held += bytes;
    }
    windows.push(from..buckets.end);
    windows
}
