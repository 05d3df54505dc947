//! The dataset: every event of a source ever accepted, a Delta table that any Delta reader can open (DESIGN §5).
//!
//! The only code that names deltalake. A commit adds files and moves positions in one atomic step (L2), and is accepted
//! only if every position it moves still is what the writer started from (L3). It never commits on top of a version that
//! it has not read.

mod checkpoint;
mod coded;
mod commit;
mod export;
mod head;
mod loads;
mod log;
mod read;
mod rewrite;
mod stats;
mod table;
mod vacuum;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::{commit::Appending, log::AppIds, table::Table, write::NewFile};
pub use self::{
    export::Export,
    loads::{LOADS_FROM, LoadId},
    read::{Events, Part, RowGroup},
    rewrite::{ArchiveId, Replacement, Rewrite, Swap, Why, Written},
};
use crate::{
    background,
    event::Counts,
    limits::CHECKPOINT_EVERY,
    names::SourceName,
    position::{OffsetRange, Partition, Positions, Version},
    schema::{OFFSET, PARTITION, Schema},
    store::Store,
};

/// Why the dataset could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A position is not what the writer started from: another writer has committed since (L3). The writer must drop what
    /// it holds of the partition and read its position anew.
    #[error("partition {partition} stands at {actual:?}, not at the {expected} this writer started from")]
    Fenced {
        /// The first partition that moved.
        partition: Partition,
        /// Where the writer started.
        expected: crate::position::Position,
        /// Where the partition stands; `None` if it was never committed.
        actual: Option<crate::position::Position>,
    },
    /// The table in the store has other columns than the source says.
    #[error("dataset of {source_name}: {message}")]
    Schema {
        /// The source.
        source_name: SourceName,
        /// What differs.
        message: String,
    },
    /// An append contradicts itself: its counts, ranges and events do not agree (L7). A fault of the caller.
    #[error("append to dataset of {source_name}: {message}")]
    Contradiction {
        /// The source.
        source_name: SourceName,
        /// What does not agree.
        message: String,
    },
    /// The log has no entry of a version: it is newer than the head, or was cleaned away, which the table's properties
    /// forbid unless someone changed them.
    #[error("dataset of {source_name} has no log entry of version {version}; was its log cleaned?")]
    NoEntry {
        /// The source.
        source_name: SourceName,
        /// The version asked for.
        version: Version,
    },
    /// A data file is not there any more: its events are in other files, or were erased, and a newer version says so.
    #[error("data file {path} is gone")]
    Gone {
        /// The object.
        path: object_store::path::Path,
    },
    /// The table failed. The call may be tried again: should an append have taken effect all the same, the positions have
    /// moved, and the further try is [`Error::Fenced`].
    #[error("dataset failed to {action}")]
    Table {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

impl Error {
    fn table<E: Into<Box<dyn std::error::Error + Send + Sync>>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Table { action, source: source.into() }
    }
}

/// The dataset's state at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The version; the head when it was read.
    pub version: Version,
    /// The position of every partition ever committed.
    pub positions: Positions,
    /// What became of all records ever committed (L7).
    pub totals: Counts,
    /// The partition of each load.
    pub loads: BTreeMap<LoadId, Partition>,
    /// The version of the last erasure; 0 if there was none. Nothing that was computed from an earlier version may be carried on.
    pub erased: Version,
    /// What was kept of events that retention has removed, and the version that removed them.
    pub archives: BTreeMap<ArchiveId, Version>,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The object, relative to the store.
    pub path: object_store::path::Path,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl DataFile {
    /// The UTC date of its events, as it stands in its path; `None` if they have none.
    #[must_use]
    pub fn date(&self) -> Option<&str> {
        let directory = self.path.as_ref().rsplit('/').nth(1)?;
        directory.strip_prefix(log::EVENT_DATE)?.strip_prefix('=').filter(|date| *date != log::NO_DATE)
    }
}

/// One commit of a dataset, read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its version.
    pub version: Version,
    /// The files it added; none if it was not an append of ours (a compaction, say).
    pub files: Vec<DataFile>,
    /// The files that it took out of the table.
    pub removed: Vec<object_store::path::Path>,
    /// The positions it moved.
    pub positions: Positions,
    /// What it covers of each partition.
    pub ranges: BTreeMap<Partition, OffsetRange>,
    /// What became of the records, by partition (L7).
    pub counts: BTreeMap<Partition, Counts>,
    /// Where what is kept of the events is that it removed, if it removed some that were too old.
    pub archive: Option<ArchiveId>,
}

/// What one commit is to add.
#[derive(Debug, Clone)]
pub struct Append {
    /// The events, in the source's event schema.
    pub events: Vec<RecordBatch>,
    /// Per partition moved: what it covers and what became of its records. `range.from` is where the writer started.
    pub partitions: BTreeMap<Partition, (OffsetRange, Counts)>,
}

/// A dataset that is open. Cheap to clone; clones share what they know of the head.
#[derive(Debug, Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: String,
    store: Store,
    source: SourceName,
    schema: Arc<Schema>,
    event_time: String,
    ids: AppIds,
    table: Table,
    /// The newest version this handle has read. Behind the head when another writer has committed since.
    head: Mutex<Snapshot>,
}

impl Dataset {
    /// Opens the dataset of `source` in `store`, making it (as version 0) if it is not there. `event_time` is the column
    /// whose UTC date partitions the table; `cluster` goes into the `txn` app ids. Columns that the table lacks are added
    /// to it if they may be null.
    ///
    /// # Errors
    /// [`Error::Schema`], [`Error::Table`], [`Error::Store`].
    pub async fn open(
        store: &Store,
        cluster: &str,
        source: &SourceName,
        schema: Arc<Schema>,
        event_time: &str,
    ) -> Result<Self, Error> {
        let table = Table::new(store, source, &schema)?;
        let (version, id) = table.open().await?;
        let inner = Inner {
            id,
            store: store.clone(),
            source: source.clone(),
            schema,
            event_time: event_time.to_owned(),
            ids: AppIds::new(cluster, source),
            table,
            head: Mutex::default(),
        };
        *inner.head.lock().await = inner.replay(version).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its identity, which was given when it was made: no other dataset has the same.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The head and its positions, read anew.
    ///
    /// # Errors
    /// [`Error::Schema`] if the table was changed, [`Error::Table`], [`Error::Store`].
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut head = self.inner.head.lock().await;
        self.inner.follow(&mut head).await?;
        Ok(head.clone())
    }

    /// Commits `append`: writes its files, then one commit with them, the positions and the counts. Durable when it
    /// returns. An append of no events still moves positions.
    ///
    /// # Errors
    /// [`Error::Fenced`] (L3), [`Error::Contradiction`], [`Error::Schema`], [`Error::Table`], [`Error::Store`].
    pub async fn append(&self, append: Append) -> Result<Commit, Error> {
        self.append_or_hurry(append, false).await
    }

    /// As [`Self::append`]; if it is `urgent`, because more waits for it to end, not in the [background](crate::background).
    ///
    /// # Errors
    /// The same.
    pub async fn append_or_hurry(&self, append: Append, urgent: bool) -> Result<Commit, Error> {
        self.inner.check_positions(&self.snapshot().await?, &append)?;
        let id = Uuid::now_v7().to_string();
        let (append, files) = self.encode(append, urgent).await?;
        let adds = self.inner.put(&id, files).await?;
        let committed = self.inner.commit(&id, &Appending { append: &append, adds: &adds }).await;
        if let Err(Error::Fenced { .. }) = committed {
            for add in &adds {
                self.inner.discard(add).await;
            }
        }
        let commit = committed?.expect("an append is always to be made");
        self.checkpoint(&commit).await;
        Ok(commit)
    }

    /// The files of `append`, which is given back.
    async fn encode(&self, append: Append, urgent: bool) -> Result<(Append, Vec<NewFile>), Error> {
        let inner = Arc::clone(&self.inner);
        let encode = move || inner.encode(&append).map(|files| (append, files));
        background::run_or_hurry(urgent, encode).await
    }

    /// Writes the checkpoint that is due with `commit`, if one is.
    async fn checkpoint(&self, commit: &Commit) {
        if commit.version.0.is_multiple_of(CHECKPOINT_EVERY)
            && let Err(error) = self.inner.table.checkpoint(commit.version).await
        {
            // The log is whole without it; the next one is due soon.
            tracing::warn!(source = %self.inner.source, version = %commit.version, %error, "checkpoint failed");
        }
    }

    /// The commits in `(after, up_to]`, ascending, one per version.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::Table`], [`Error::Store`].
    pub async fn commits(&self, after: Version, up_to: Version) -> Result<Vec<Commit>, Error> {
        let entries = self.inner.entries(after, up_to).await?;
        let root = self.inner.table.root();
        entries.into_iter().map(|(version, entry)| entry.into_commit(version, &root)).collect()
    }

    /// The commits of `head` by which retention has removed events, up to `version`.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::Table`], [`Error::Store`].
    pub async fn removals(&self, head: &Snapshot, up_to: Version) -> Result<Vec<Commit>, Error> {
        let mut removals = Vec::new();
        for version in head.archives.values().filter(|version| **version <= up_to) {
            removals.extend(self.commits(Version(version.0 - 1), *version).await?);
        }
        Ok(removals)
    }

    /// All files of the dataset at `version`, by path.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub async fn files(&self, version: Version) -> Result<Vec<DataFile>, Error> {
        self.inner.table.files(version).await
    }

    /// The events in `file`, of which these columns are read, a row group at a time. A column that the table was given after the file
    /// was written is null.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Table`], [`Error::Store`].
    pub async fn events(&self, file: &DataFile, columns: &[String]) -> Result<Events, Error> {
        self.events_of(file, Part::WHOLE, columns).await
    }

    /// [`Self::events`] of a part of `file`.
    ///
    /// # Errors
    /// The same.
    pub async fn events_of(&self, file: &DataFile, part: Part, columns: &[String]) -> Result<Events, Error> {
        Events::open(&self.inner.store, file, part, &self.inner.schema, columns).await
    }

    /// The events that `commit` added in `file`, one of its own. Where the file is gone, because its events were put into other
    /// files, they are looked for there: what was erased is not found.
    ///
    /// # Errors
    /// [`Error::Table`], [`Error::Store`].
    pub async fn read_of_commit(
        &self,
        commit: &Commit,
        file: &DataFile,
        columns: &[String],
    ) -> Result<Vec<RecordBatch>, Error> {
        match self.read(file, columns).await {
            Err(Error::Gone { .. }) => {}
            read => return read,
        }
        loop {
            let head = self.snapshot().await?.version;
            match self.read_elsewhere(commit, file, columns, head).await {
                // It was rewritten in between, once more.
                Err(Error::Gone { .. }) if self.snapshot().await?.version > head => {}
                read => return read,
            }
        }
    }

    /// The events that `commit` added in `file`, from the files that they are in at `version`.
    async fn read_elsewhere(
        &self,
        commit: &Commit,
        file: &DataFile,
        columns: &[String],
        version: Version,
    ) -> Result<Vec<RecordBatch>, Error> {
        let same_date = self.files(version).await?.into_iter().filter(|live| live.date() == file.date());
        let mut with_place = columns.to_vec();
        with_place.extend([PARTITION, OFFSET].map(str::to_owned).into_iter().filter(|name| !columns.contains(name)));
        let mut found = Vec::new();
        for live in same_date {
            let batches = self.read(&live, &with_place).await?;
            let within =
                |batch: &RecordBatch| read::within(batch, &commit.ranges).map_err(Error::table("read a data file"));
            found.extend(batches.iter().map(within).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(found)
    }

    /// All of [`Self::events`] at once, decimals in the type that the schema says. Decoding runs on the blocking pool.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Table`], [`Error::Store`].
    pub async fn read(&self, file: &DataFile, columns: &[String]) -> Result<Vec<RecordBatch>, Error> {
        let mut events = self.events(file, columns).await?;
        let mut batches = Vec::new();
        while let Some(group) = events.next().await? {
            let widen = |batch| read::widened(&batch).map_err(Error::table("read a data file"));
            let decode = move || group.map(|batch| batch.and_then(widen)).collect::<Result<Vec<_>, _>>();
            let decoded = tokio::task::spawn_blocking(decode).await;
            batches.extend(decoded.map_err(Error::table("read a data file"))??);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests;
