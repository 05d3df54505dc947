//! How an append becomes a commit: checked, written, and put as exactly the version after the one it was checked against.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::MutexGuard;

use super::{
    Append, Commit, Error, Inner, Snapshot,
    log::{self, EVENT_DATE, Entry},
    write::{self, NewFile},
};
use crate::{
    clock::{Clock, SystemClock},
    limits::{COMMIT_ATTEMPTS_MAX, STORE_CONCURRENCY_MAX},
    store,
};

impl Inner {
    /// The events of `append` in the schema of an event, if its counts and ranges agree with them.
    pub(super) fn conform(&self, append: &Append) -> Result<Vec<RecordBatch>, Error> {
        let schema = self.schema.event_schema();
        let events = append.events.iter().map(|batch| write::conform(batch, &schema)).collect::<Result<Vec<_>, _>>();
        let source_name = self.source.clone();
        let events = events.map_err(|error| Error::Schema { source_name, message: error.to_string() })?;
        match write::contradiction(append, &events) {
            None => Ok(events),
            Some(message) => Err(Error::Contradiction { source_name: self.source.clone(), message }),
        }
    }

    /// L3: each partition still stands where the writer started from. One never committed stands nowhere, and the writer
    /// started wherever its log does.
    pub(super) fn check_positions(&self, head: &Snapshot, append: &Append) -> Result<(), Error> {
        for (&partition, (range, _)) in &append.partitions {
            if let Some(&actual) = head.positions.get(&partition)
                && actual != range.from
            {
                return Err(Error::Fenced { partition, expected: range.from, actual: Some(actual) });
            }
        }
        Ok(())
    }

    /// Writes the data files of the commit `id`.
    pub(super) async fn write(&self, id: &str, events: Vec<RecordBatch>) -> Result<Vec<Add>, Error> {
        let action = "encode events";
        let (schema, event_time) = (self.schema.event_schema(), self.event_time.clone());
        let encoded = tokio::task::spawn_blocking(move || write::files(&schema, &event_time, &events)).await;
        let files = encoded.map_err(Error::table(action))?.map_err(Error::table(action))?;
        let put = |file| self.put(id, file);
        stream::iter(files).map(put).buffered(STORE_CONCURRENCY_MAX).try_collect().await
    }

    async fn put(&self, id: &str, file: NewFile) -> Result<Add, Error> {
        // The directory is for people and for readers of plain Parquet: Delta readers take the date from the log.
        let directory = file.date.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
        let path = format!("{EVENT_DATE}={directory}/{id}.parquet");
        let size = file.bytes.len() as i64;
        let object = log::object_path(&self.table.root(), &path).map_err(Error::table("name a data file"))?;
        self.store.put(&object, file.bytes).await?;
        Ok(Add {
            path,
            partition_values: HashMap::from([(EVENT_DATE.to_owned(), file.date)]),
            size,
            modification_time: SystemClock.now_us() / 1_000,
            data_change: true,
            stats: Some(file.stats),
            ..Add::default()
        })
    }

    /// Commits `append` as exactly the version after the head it was checked against; if another writer was faster, reads
    /// what it did and checks again.
    pub(super) async fn commit(&self, id: &str, append: &Append, adds: &[Add]) -> Result<Commit, Error> {
        let root = self.table.root();
        let mut head = self.head.lock().await;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            if let Some(commit) = self.arrived(id, &mut head).await? {
                return Ok(commit);
            }
            self.check_positions(&head, append)?;
            let version = head.version.next();
            let bytes = log::append_entry(&self.ids, &head, id, append, adds)?;
            match self.store.put_if_absent(&log::entry_path(&root, version), bytes.clone()).await {
                Ok(()) => {
                    let entry = Entry::parse(version, &bytes)?;
                    entry.apply(&self.ids, &mut head, version);
                    return entry.into_commit(version, &root);
                }
                Err(store::Error::Exists { .. }) => {
                    tracing::debug!(source = %self.source, %version, "another writer was faster");
                }
                // The answer was lost, not necessarily the commit.
                Err(error) => return self.arrived(id, &mut head).await?.ok_or(Error::Store(error)),
            }
        }
        Err(Error::table("commit")(format!("other writers were faster {COMMIT_ATTEMPTS_MAX} times")))
    }

    /// The commit `id`, if it is among the entries that are new to `head`.
    async fn arrived(&self, id: &str, head: &mut MutexGuard<'_, Snapshot>) -> Result<Option<Commit>, Error> {
        let news = self.follow(head).await?;
        let ours = news.into_iter().find(|(_, entry)| entry.is(id));
        ours.map(|(version, entry)| entry.into_commit(version, &self.table.root())).transpose()
    }

    /// Removes the files of a commit that was refused. What cannot be removed is no part of the table, and maintenance
    /// finds it.
    pub(super) async fn discard(&self, adds: &[Add]) {
        for add in adds {
            if let Ok(path) = log::object_path(&self.table.root(), &add.path)
                && let Err(error) = self.store.delete(&path).await
            {
                tracing::warn!(%path, %error, "file of a refused commit stays");
            }
        }
    }
}
