//! Rewrites: commits that put other files in the place of some. Positions, totals and the commits before stay as they are.
//!
//! One commit can put many files in the place of many: a commit costs about as much as a look at the list of all files, so that
//! a commit a file would make a rewrite of many files slow, and the log long. What belongs together is a swap, and a swap is made only
//! if every file that it replaces still is in the table; appends in between do not matter to it.

use std::{collections::BTreeSet, fmt, num::ParseIntError, str::FromStr};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::{Add, Remove};
use parquet::errors::ParquetError;
use uuid::Uuid;

use super::{
    Commit, DataFile, Dataset, Error, Inner, Snapshot,
    commit::Proposal,
    log::{self, EVENT_DATE},
    write,
};
use crate::{
    background,
    clock::{Clock, SystemClock},
};

/// Why files are rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Small files become large ones; the events stay the same.
    Compaction,
    /// Events are too old.
    Retention,
    /// Events are to be gone.
    Erasure,
}

/// What is kept of the events that one rewrite for retention removed: the partials of all views, at `archives/<source>/<id>/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(u128);

impl ArchiveId {
    /// One that nobody has.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7().as_u128())
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ArchiveId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// A file that is to take the place of others.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The UTC date of all its events, as [`DataFile::date`] has it.
    pub date: Option<String>,
    /// Its events, of which there is at least one.
    pub events: Vec<RecordBatch>,
}

/// A file that is in the store and no part of the table, until a rewrite makes it one.
#[derive(Debug, Clone)]
pub struct Written {
    add: Add,
    rows: u64,
}

/// Some files, and what takes their place: both happens or neither.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The files to be replaced: at least one.
    pub removed: Vec<DataFile>,
    /// What takes their place.
    pub added: Vec<Written>,
}

/// What one rewrite is to do.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// Why.
    pub why: Why,
    /// What is replaced by what.
    pub swaps: Vec<Swap>,
    /// What is kept of the events that are removed; it is in the store already. Then it is all swaps or none.
    pub archive: Option<ArchiveId>,
}

impl Rewrite {
    /// Why it cannot be meant so.
    fn contradiction(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        for Swap { removed, added } in &self.swaps {
            if removed.is_empty() {
                return Some("a rewrite would replace nothing".to_owned());
            }
            if let Some(twice) = removed.iter().find(|file| !seen.insert(&file.path)) {
                return Some(format!("a rewrite would replace {} twice", twice.path));
            }
            let before: u64 = removed.iter().map(|file| file.rows).sum();
            let after: u64 = added.iter().map(|file| file.rows).sum();
            if self.why == Why::Compaction && before != after {
                return Some(format!("a compaction would make {after} events of {before}"));
            }
        }
        None
    }
}

#[async_trait]
impl Proposal for Rewrite {
    /// Of the swaps that can be made still: another rewrite may have been faster with some.
    async fn entry(&self, inner: &Inner, head: &Snapshot, id: &str) -> Result<Option<Bytes>, Error> {
        let live: BTreeSet<_> = inner.table.files(head.version).await?.into_iter().map(|file| file.path).collect();
        let is_live = |file: &DataFile| live.contains(&file.path);
        let swaps: Vec<&Swap> = self.swaps.iter().filter(|swap| swap.removed.iter().all(is_live)).collect();
        if swaps.is_empty() || (self.archive.is_some() && swaps.len() < self.swaps.len()) {
            return Ok(None);
        }
        let removed = swaps.iter().flat_map(|swap| &swap.removed).map(|file| inner.remove(file, self.why));
        let added = swaps.iter().flat_map(|swap| &swap.added).map(|file| {
            // A compaction changes no data, as readers of Delta are told.
            Add { data_change: self.why != Why::Compaction, ..file.add.clone() }
        });
        let (removed, added) = (removed.collect(), added.collect());
        log::rewrite_entry(&inner.ids, head, id, self, removed, added).map(Some)
    }
}

impl Inner {
    fn remove(&self, file: &DataFile, why: Why) -> Remove {
        let root = format!("{}/", self.table.root());
        let path = file.path.as_ref();
        Remove {
            path: path.strip_prefix(&root).unwrap_or(path).to_owned(),
            data_change: why != Why::Compaction,
            deletion_timestamp: Some(SystemClock.now_us() / 1_000),
            extended_file_metadata: Some(true),
            partition_values: Some([(EVENT_DATE.to_owned(), file.date().map(str::to_owned))].into()),
            size: i64::try_from(file.bytes).ok(),
            ..Remove::default()
        }
    }
}

impl Dataset {
    /// Writes the file of `replacement`, which a rewrite may then put in the place of others.
    ///
    /// # Errors
    /// [`Error::Table`], [`Error::Store`].
    pub async fn write(&self, replacement: Replacement) -> Result<Written, Error> {
        let schema = self.inner.schema.event_schema();
        let encode = move || {
            let Replacement { date, events } = replacement;
            let rows = events.iter().map(|batch| batch.num_rows() as u64).sum();
            let events: Result<Vec<_>, _> = events.iter().map(|batch| write::conform(batch, &schema)).collect();
            Ok::<_, ParquetError>((rows, write::file(&schema, date, &events?)?))
        };
        let action = "encode events";
        let (rows, file) = background::run(encode).await.map_err(Error::table(action))?;
        Ok(Written { add: self.inner.put_one(&fresh(), file).await?, rows })
    }

    /// Makes `rewrite` one commit. Durable when it returns. A swap of which a file to be replaced is in the table no more is
    /// left out, since another rewrite was faster, and what was written for it is removed: which were made, [`Commit::removed`]
    /// says. `None`, and nothing is changed, if none is left, or not all where there is an archive.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if a compaction would change how many events there are, or a file be replaced twice;
    /// [`Error::Schema`], [`Error::Table`], [`Error::Store`].
    pub async fn rewrite(&self, rewrite: Rewrite) -> Result<Option<Commit>, Error> {
        if let Some(message) = rewrite.contradiction() {
            return Err(Error::Contradiction { source_name: self.inner.source.clone(), message });
        }
        let made = self.inner.commit(&fresh(), &rewrite).await?;
        let removed: BTreeSet<_> = made.iter().flat_map(|commit| &commit.removed).collect();
        for Swap { removed: files, added } in &rewrite.swaps {
            if files.first().is_some_and(|file| !removed.contains(&file.path)) {
                for file in added {
                    self.inner.discard(&file.add).await;
                }
            }
        }
        if let Some(commit) = &made {
            self.checkpoint(commit).await;
        }
        Ok(made)
    }
}

/// A name that nothing else has.
fn fresh() -> String {
    Uuid::now_v7().to_string()
}
