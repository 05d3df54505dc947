//! Where the dataset stands: read from the newest checkpoint once, then followed entry by entry.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use tokio::sync::MutexGuard;

use super::{
    Error, Inner, Snapshot, checkpoint,
    log::{self, Entry},
};
use crate::{limits::STORE_CONCURRENCY_MAX, position::Version};

impl Inner {
    /// The entries of `(after, up_to]`.
    pub(super) async fn entries(&self, after: Version, up_to: Version) -> Result<Vec<(Version, Entry)>, Error> {
        let read = |version| async move {
            let version = Version(version);
            let entry = self.entry(version).await?;
            let entry = entry.ok_or_else(|| Error::NoEntry { source_name: self.source.clone(), version })?;
            Ok((version, entry))
        };
        stream::iter(after.0 + 1..=up_to.0).map(read).buffered(STORE_CONCURRENCY_MAX).try_collect().await
    }

    async fn entry(&self, version: Version) -> Result<Option<Entry>, Error> {
        let bytes = self.store.get(&log::entry_path(&self.table.root(), version)).await?;
        bytes.map(|bytes| Entry::parse(version, &bytes)).transpose()
    }

    /// The state at `version`: the newest checkpoint before it, and the entries since.
    pub(super) async fn replay(&self, version: Version) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        if let Some((of, files)) = self.newest_checkpoint(version).await? {
            for path in files {
                let file = self.store.get(&path).await?;
                let file = file.ok_or_else(|| format!("{path} is gone")).map_err(Error::table("read a checkpoint"))?;
                let transactions = tokio::task::spawn_blocking(move || checkpoint::transactions(file)).await;
                for (app_id, value) in transactions.map_err(Error::table("read a checkpoint"))?? {
                    self.ids.apply(&mut snapshot, &app_id, value);
                }
            }
            snapshot.version = of;
        }
        for (version, entry) in self.entries(snapshot.version, version).await? {
            entry.apply(&self.ids, &mut snapshot, version);
        }
        Ok(snapshot)
    }

    /// The newest checkpoint of `version` or before, and its files. The log grows for ever, so it is listed only where it does
    /// not say by itself where that is.
    async fn newest_checkpoint(&self, version: Version) -> Result<Option<(Version, Vec<Path>)>, Error> {
        let log = self.table.root().join("_delta_log");
        let hint = self.store.get(&log.clone().join(checkpoint::HINT)).await?;
        if let Some((of, path)) = hint.and_then(|hint| checkpoint::hinted(&log, &hint))
            && of <= version
            && self.store.contains(&path).await?
        {
            return Ok(Some((of, vec![path])));
        }
        Ok(checkpoint::newest(&self.store.list_directly(&log).await?, version))
    }

    /// Moves `head` to the newest version and returns the entries that were new to it.
    pub(super) async fn follow(&self, head: &mut MutexGuard<'_, Snapshot>) -> Result<Vec<(Version, Entry)>, Error> {
        let mut news = Vec::new();
        while let Some(entry) = self.entry(head.version.next()).await? {
            let version = head.version.next();
            if entry.redefines {
                self.table.verify(version).await?;
            }
            entry.apply(&self.ids, head, version);
            news.push((version, entry));
        }
        // No entry after this version: it is the head only if its own entry is still there. If the log was cleaned while
        // this process slept, its next entry may be gone too, and a commit in that entry's place would be lost.
        if news.is_empty() && !self.store.contains(&log::entry_path(&self.table.root(), head.version)).await? {
            let (version, _) = self.table.open().await?;
            if version < head.version {
                let message = format!("the table went back from version {} to {version}", head.version);
                return Err(Error::table("read the head")(message));
            }
            **head = self.replay(version).await?;
        }
        Ok(news)
    }
}
