//! How an append becomes a commit: checked, written, and put as exactly the version after the one it was checked against.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::MutexGuard;

use super::{
    Append, Commit, Error, Inner, Snapshot,
    log::{self, EVENT_DATE, Entry, NO_DATE},
    write::{self, NewFile},
};
use crate::{
    clock::{Clock, SystemClock},
    limits::{COMMIT_ATTEMPTS_MAX, STORE_CONCURRENCY_MAX},
    store,
};

/// What is to become the next entry of the log.
#[async_trait]
pub(super) trait Proposal: Send + Sync {
    /// The entry of the commit `id` right after `head`; `None` if there is nothing to do any more.
    async fn entry(&self, inner: &Inner, head: &Snapshot, id: &str) -> Result<Option<Bytes>, Error>;
}

/// An append whose files are written.
pub(super) struct Appending<'a> {
    pub(super) append: &'a Append,
    pub(super) adds: &'a [Add],
}

#[async_trait]
impl Proposal for Appending<'_> {
    async fn entry(&self, inner: &Inner, head: &Snapshot, id: &str) -> Result<Option<Bytes>, Error> {
        inner.check_positions(head, self.append)?;
        log::append_entry(&inner.ids, head, id, self.append, self.adds).map(Some)
    }
}

impl Inner {
    /// The data files of `append`, if its counts and ranges agree with its events. CPU work.
    pub(super) fn encode(&self, append: &Append) -> Result<Vec<NewFile>, Error> {
        let schema = self.schema.event_schema();
        let events = append.events.iter().map(|batch| write::conform(batch, &schema)).collect::<Result<Vec<_>, _>>();
        let source_name = self.source.clone();
        let events = events.map_err(|error| Error::Schema { source_name, message: error.to_string() })?;
        match write::contradiction(append, &events) {
            None => write::files(&schema, &self.event_time, &events).map_err(Error::table("encode events")),
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

    /// Puts `files` of the commit `id` into the store.
    pub(super) async fn put(&self, id: &str, files: Vec<NewFile>) -> Result<Vec<Add>, Error> {
        let put = |file| self.put_one(id, file);
        stream::iter(files).map(put).buffered(STORE_CONCURRENCY_MAX).try_collect().await
    }

    /// Puts one file into the store, called `id` in the directory of its date.
    pub(super) async fn put_one(&self, id: &str, file: NewFile) -> Result<Add, Error> {
        // The directory is for people and for readers of plain Parquet: Delta readers take the date from the log.
        let directory = file.date.as_deref().unwrap_or(NO_DATE);
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

    /// Commits what `proposal` proposes as exactly the version after the head it was proposed for; if another writer was
    /// faster, reads what it did and asks again. `None` if the proposal has nothing to do any more.
    pub(super) async fn commit(&self, id: &str, proposal: &dyn Proposal) -> Result<Option<Commit>, Error> {
        let root = self.table.root();
        let mut head = self.head.lock().await;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            if let Some(commit) = self.arrived(id, &mut head).await? {
                return Ok(Some(commit));
            }
            let Some(bytes) = proposal.entry(self, &head, id).await? else { return Ok(None) };
            let version = head.version.next();
            match self.store.put_if_absent(&log::entry_path(&root, version), bytes.clone()).await {
                Ok(()) => {
                    let entry = Entry::parse(version, &bytes)?;
                    entry.apply(&self.ids, &mut head, version);
                    return entry.into_commit(version, &root).map(Some);
                }
                Err(store::Error::Exists { .. }) => {
                    tracing::debug!(source = %self.source, %version, "another writer was faster");
                }
                // The answer was lost, not necessarily the commit.
                Err(error) => return self.arrived(id, &mut head).await?.ok_or(Error::Store(error)).map(Some),
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

    /// Removes the file of a commit that was refused. What cannot be removed is no part of the table, and maintenance
    /// finds it.
    pub(super) async fn discard(&self, add: &Add) {
        if let Ok(path) = log::object_path(&self.table.root(), &add.path)
            && let Err(error) = self.store.delete(&path).await
        {
            tracing::warn!(%path, %error, "file of a refused commit stays");
        }
    }
}
