//! Rewrites: commits that put other files in the place of some. Positions, totals and the commits before stay as they are.
//!
//! A rewrite is accepted only if every file that it replaces still is in the table; appends in between do not matter to it.

use std::{collections::BTreeSet, fmt, num::ParseIntError, str::FromStr};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::{Add, Remove};
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

/// A file to be written.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The UTC date of all its events, as [`DataFile::date`] has it.
    pub date: Option<String>,
    /// Its events.
    pub events: Vec<RecordBatch>,
}

/// What one rewrite is to do.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// Why.
    pub why: Why,
    /// The files to be replaced.
    pub removed: Vec<DataFile>,
    /// What takes their place.
    pub added: Vec<Replacement>,
    /// What is kept of the events that are removed; it is in the store already.
    pub archive: Option<ArchiveId>,
}

/// A rewrite whose files are written.
struct Rewriting<'a> {
    rewrite: &'a Rewrite,
    adds: &'a [Add],
}

#[async_trait]
impl Proposal for Rewriting<'_> {
    async fn entry(&self, inner: &Inner, head: &Snapshot, id: &str) -> Result<Option<Bytes>, Error> {
        let live: BTreeSet<_> = inner.table.files(head.version).await?.into_iter().map(|file| file.path).collect();
        if self.rewrite.removed.iter().any(|file| !live.contains(&file.path)) {
            return Ok(None);
        }
        let removes = self.rewrite.removed.iter().map(|file| inner.remove(file, self.rewrite.why)).collect();
        log::rewrite_entry(&inner.ids, head, id, self.rewrite, removes, self.adds).map(Some)
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
    /// Makes `rewrite` one commit. Durable when it returns. `None`, and nothing is changed, if one of the files to be replaced
    /// is in the table no more: another rewrite was faster.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if a compaction would change how many events there are; [`Error::Schema`], [`Error::Table`],
    /// [`Error::Store`].
    pub async fn rewrite(&self, rewrite: Rewrite) -> Result<Option<Commit>, Error> {
        let before: u64 = rewrite.removed.iter().map(|file| file.rows).sum();
        let after: usize = rewrite.added.iter().flat_map(|file| &file.events).map(RecordBatch::num_rows).sum();
        if rewrite.why == Why::Compaction && before != after as u64 {
            let message = format!("a compaction would make {after} events of {before}");
            return Err(Error::Contradiction { source_name: self.inner.source.clone(), message });
        }
        self.inner.table.verify(self.snapshot().await?.version).await?;
        let id = Uuid::now_v7().to_string();
        let schema = self.inner.schema.event_schema();
        let added = rewrite.added.clone();
        let encode = move || {
            let encoded = added.into_iter().map(|Replacement { date, events }| {
                let events: Result<Vec<_>, _> = events.iter().map(|batch| write::conform(batch, &schema)).collect();
                write::file(&schema, date, &events?)
            });
            encoded.collect::<Result<Vec<_>, _>>()
        };
        let action = "encode events";
        let files = background::run(encode).await.map_err(Error::table(action))?;
        let adds = self.inner.put(&id, files, rewrite.why != Why::Compaction).await?;
        let made = self.inner.commit(&id, &Rewriting { rewrite: &rewrite, adds: &adds }).await?;
        match &made {
            Some(commit) => self.checkpoint(commit).await,
            None => self.inner.discard(&adds).await,
        }
        Ok(made)
    }
}
