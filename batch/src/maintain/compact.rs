//! Compaction: the small files of a date become one. The events, and so segments, marks and every generation, stay the same.

use std::collections::BTreeMap;

use common::{
    dataset::{DataFile, Dataset, Replacement, Rewrite, Why},
    names::SourceName,
};
use serde::Serialize;
use tracing::info;

use crate::{Batch, Error, Watch};

/// Files below this size are small, in bytes.
const SMALL_BYTES: u64 = 32 << 20;

/// Bytes of small files that become one file, at most. They are decoded in memory at once.
const TOGETHER_BYTES_MAX: u64 = 64 << 20;

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
            let mut compacted = Compacted::default();
            let head = dataset.snapshot().await?.version;
            for files in groups(dataset.files(head).await?, least) {
                watch.check()?;
                if let Some(bytes) = together(&dataset, &files, &columns).await? {
                    compacted.files_before += files.len() as u64;
                    compacted.files_after += 1;
                    compacted.events += files.iter().map(|file| file.rows).sum::<u64>();
                    compacted.bytes_before += bytes;
                }
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
    for file in files.into_iter().filter(|file| file.bytes < SMALL_BYTES) {
        dates.entry(file.date().map(str::to_owned)).or_default().push(file);
    }
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    for files in dates.into_values().filter(|files| files.len() >= least) {
        let mut bytes = u64::MAX;
        for file in files {
            if bytes.saturating_add(file.bytes) > TOGETHER_BYTES_MAX {
                groups.push(Vec::new());
                bytes = 0;
            }
            bytes += file.bytes;
            groups.last_mut().expect("the first file of a date begins a group").push(file);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Makes `files`, all of one date, one file; returns their bytes, or `None` if another rewrite was faster.
async fn together(dataset: &Dataset, files: &[DataFile], columns: &[String]) -> Result<Option<u64>, Error> {
    let mut events = Vec::new();
    for file in files {
        events.extend(dataset.read(file, columns).await?);
    }
    let added = vec![Replacement { date: files[0].date().map(str::to_owned), events }];
    let rewrite = Rewrite { why: Why::Compaction, removed: files.to_vec(), added, archive: None };
    let made = dataset.rewrite(rewrite).await?;
    Ok(made.map(|_| files.iter().map(|file| file.bytes).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_of_a_date_go_together_up_to_a_size() {
        let file = |date: &str, number: u32, bytes| DataFile {
            path: format!("datasets/x/event_date={date}/{number}.parquet").into(),
            rows: 1,
            bytes,
        };
        let (small, large) = (SMALL_BYTES - 1, SMALL_BYTES);
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
}
