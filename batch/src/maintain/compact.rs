//! Compaction: the small files of a date become one. The events, and so segments, marks and every generation, stay the same.

use std::collections::BTreeMap;

use common::{
    dataset::{DataFile, Dataset, Replacement, Swap, Why},
    names::SourceName,
};
use futures::{StreamExt, stream};
use serde::Serialize;
use tracing::info;

use super::swaps::{self, DECODED_WEIGHT_MAX, Room, weight};
use crate::{Batch, Error, Watch};

/// Files below this [`weight`] are small.
const SMALL_WEIGHT: u64 = 32 << 20;

/// How much of small files becomes one file, at most, by [`weight`]. They are decoded in memory at once.
const TOGETHER_WEIGHT_MAX: u64 = DECODED_WEIGHT_MAX;

/// What a compaction did with one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Files that were replaced.
    pub files_before: u64,
    /// Files that took their place.
    pub files_after: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of the files that were replaced. They stay in the store until a vacuum.
    pub bytes_before: u64,
}

impl Batch {
    /// Puts the small files of each date together, in all sources, where a date has at least `least` of them.
    ///
    /// # Errors
    /// [`Error::Dataset`], [`Error::Cancelled`]. What was done until then stays done.
    pub async fn compact(&self, least: usize, watch: &Watch) -> Result<BTreeMap<SourceName, Compacted>, Error> {
        let mut done = BTreeMap::new();
        for source in self.pipeline.sources.values() {
            let dataset = self.dataset(source).await?;
            let columns: Vec<String> =
                source.rules.schema.event_schema().fields().iter().map(|field| field.name().clone()).collect();
            let head = dataset.snapshot().await?.version;
            let groups = groups(dataset.files(head).await?, least);
            let room = Room::new();
            let swaps: Vec<_> =
                groups.iter().map(|files| together(&dataset, files.clone(), &columns, &room, watch)).collect();
            let swaps = stream::iter(swaps).buffer_unordered(self.engine.in_flight());
            let replaced = swaps::commit(&dataset, Why::Compaction, swaps, watch).await?;
            let mut compacted = Compacted::default();
            for files in groups.iter().filter(|files| replaced.contains(&files[0].path)) {
                compacted.files_before += files.len() as u64;
                compacted.files_after += 1;
                compacted.events += files.iter().map(|file| file.rows).sum::<u64>();
                compacted.bytes_before += files.iter().map(|file| file.bytes).sum::<u64>();
            }
            info!(source = %source.name, ?compacted, "compacted");
            done.insert(source.name.clone(), compacted);
        }
        Ok(done)
    }
}

/// The small files of each date that has at least `least` of them, in groups that become one file each.
fn groups(files: Vec<DataFile>, least: usize) -> Vec<Vec<DataFile>> {
    let mut dates: BTreeMap<Option<String>, Vec<DataFile>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| weight(file) < SMALL_WEIGHT) {
        dates.entry(file.date().map(str::to_owned)).or_default().push(file);
    }
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    for files in dates.into_values().filter(|files| files.len() >= least) {
        let mut together = u64::MAX;
        for file in files {
            if together.saturating_add(weight(&file)) > TOGETHER_WEIGHT_MAX {
                groups.push(Vec::new());
                together = 0;
            }
            together += weight(&file);
            groups.last_mut().expect("the first file of a date begins a group").push(file);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// One file in the place of `files`, all of one date.
async fn together(
    dataset: &Dataset,
    files: Vec<DataFile>,
    columns: &[String],
    room: &Room,
    watch: &Watch,
) -> Result<Swap, Error> {
    let _room = room.take(files.iter().map(weight).sum()).await;
    watch.check()?;
    let mut events = Vec::new();
    for file in &files {
        events.extend(dataset.read(file, columns).await?);
    }
    let written = dataset.write(Replacement { date: files[0].date().map(str::to_owned), events }).await?;
    Ok(Swap { removed: files, added: vec![written] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_of_a_date_go_together_up_to_a_size() {
        let file = |date: &str, number: u32, bytes| DataFile {
            path: format!("datasets/x/event_date={date}/{number}.parquet").into(),
            rows: 0,
            bytes,
        };
        let (small, large) = (SMALL_WEIGHT - 1, SMALL_WEIGHT);
        let files = [file("a", 0, 1), file("a", 1, large), file("a", 2, 2), file("b", 3, 1), file("c", 4, small)];
        let more = [file("c", 5, small), file("c", 6, small), file("c", 7, small), file("c", 8, 1)];
        let grouped = |least| {
            let all = groups(files.iter().cloned().chain(more.clone()).collect(), least);
            all.iter().map(|group| group.iter().map(|file| file.bytes).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(grouped(2), [vec![1, 2], vec![small, small], vec![small, small, 1]]);
        assert_eq!(grouped(3), [vec![small, small], vec![small, small, 1]]);
        assert!(grouped(9).is_empty());
    }

    /// A million events in 8 MiB are hundreds of megabytes decoded.
    #[test]
    fn files_of_many_rows_go_together_up_to_a_number_of_rows() {
        let file = |rows| DataFile { path: format!("{rows}.parquet").into(), rows, bytes: 8 << 20 };
        let files = [400_000, 500_000, 450_000, 600_000, 510_000, 3_000_000].map(file);
        let grouped = groups(files.into(), 2).into_iter().map(|group| group.iter().map(|f| f.rows).collect::<Vec<_>>());
        assert_eq!(grouped.collect::<Vec<_>>(), [vec![400_000, 500_000], vec![450_000, 510_000]]);
    }
}
