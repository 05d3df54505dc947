//! The dataset: every event of a source ever accepted, a Delta table that any Delta reader can open (DESIGN §5).
//!
//! The only code that names deltalake. A commit adds files and moves positions in one atomic step (L2), and is accepted
//! only if every position it moves still is what the writer started from (L3).

use std::{collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;

use crate::{
    event::Counts,
    names::SourceName,
    position::{OffsetRange, Partition, Positions, Version},
    schema::Schema,
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
    /// The table failed. Nothing of the call counts as done; it may be tried again.
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

/// The dataset's state at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version; the head when it was read.
    pub version: Version,
    /// The position of every partition ever committed.
    pub positions: Positions,
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

/// One commit of a dataset, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its version.
    pub version: Version,
    /// The files it added; none if it was not an append of ours (a compaction, say).
    pub files: Vec<DataFile>,
    /// The positions it moved.
    pub positions: Positions,
    /// What became of the records, by partition (L7).
    pub counts: BTreeMap<Partition, Counts>,
}

/// What one commit is to add.
#[derive(Debug, Clone)]
pub struct Append {
    /// The events, in the source's event schema.
    pub events: Vec<RecordBatch>,
    /// Per partition moved: what it covers and what became of its records. `range.from` is where the writer started.
    pub partitions: BTreeMap<Partition, (OffsetRange, Counts)>,
}

/// A dataset that is open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dataset {
    store: Store,
    cluster: String,
    source: SourceName,
    schema: Arc<Schema>,
    event_time: String,
}

impl Dataset {
    /// Opens the dataset of `source` in `store`, making it (as version 0) if it is not there. `event_time` is the column
    /// whose UTC date partitions the table; `cluster` goes into the `txn` app ids.
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
        Ok(Self {
            store: store.clone(),
            cluster: cluster.to_owned(),
            source: source.clone(),
            schema,
            event_time: event_time.to_owned(),
        })
    }

    /// The head and its positions, read anew.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let _ = (&self.store, &self.cluster, &self.source, &self.schema, &self.event_time);
        unimplemented!("dataset helper")
    }

    /// Commits `append`: writes its files, then one commit with them, the positions and the counts. Durable when it
    /// returns. An append of no events still moves positions.
    ///
    /// # Errors
    /// [`Error::Fenced`] (L3), [`Error::Table`], [`Error::Store`].
    pub async fn append(&self, append: Append) -> Result<Commit, Error> {
        let _ = append;
        unimplemented!("dataset helper")
    }

    /// The commits in `(after, up_to]`, ascending, one per version.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub async fn commits(&self, after: Version, up_to: Version) -> Result<Vec<Commit>, Error> {
        let _ = (after, up_to);
        unimplemented!("dataset helper")
    }

    /// All files of the dataset at `version`, by path.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub async fn files(&self, version: Version) -> Result<Vec<DataFile>, Error> {
        let _ = version;
        unimplemented!("dataset helper")
    }

    /// The events in `file`: batches with at least the columns named, strings as `Dictionary(Int32, Utf8)`. Decoding is
    /// CPU work and runs on the blocking pool.
    ///
    /// # Errors
    /// [`Error::Table`], [`Error::Store`].
    pub async fn read(&self, file: &DataFile, columns: &[String]) -> Result<Vec<RecordBatch>, Error> {
        let _ = (file, columns);
        unimplemented!("dataset helper")
    }
}
