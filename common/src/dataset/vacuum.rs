//! Vacuum: what lies in the table's directory and belongs to no version that matters is removed from the store.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::{Dataset, Error, log};
use crate::{limits::CHECKPOINT_EVERY, position::Version, store::Listed};

impl Dataset {
    /// Removes every data file that is no part of the head, whoever wrote it, and was written before `before_us`
    /// (microseconds since 1970-01-01 UTC): files that a rewrite has replaced, and those of commits that were never made.
    /// A writer that is at work has written its files later than that. What is in `kept` stays. Returns what was removed.
    ///
    /// # Errors
    /// [`Error::Table`], [`Error::Store`].
    pub async fn vacuum(&self, before_us: i64, kept: &BTreeSet<Path>) -> Result<Vec<Path>, Error> {
        // First what there is, then what belongs: a file that is committed in between is not taken for an orphan.
        let root = self.inner.table.root();
        let log = root.clone().join("_delta_log");
        let listed = self.inner.store.list_objects(&root).await?;
        let live = self.live(self.snapshot().await?.version).await?;
        let orphan = |object: &Listed| {
            let needed = object.path.prefix_matches(&log) || live.contains(&object.path) || kept.contains(&object.path);
            object.modified_us < before_us && !needed
        };
        let orphans: Vec<Path> = listed.into_iter().filter(orphan).map(|object| object.path).collect();
        self.delete_files(&orphans).await?;
        Ok(orphans)
    }

    /// Removes these objects, which no version that matters has.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_files(&self, files: &[Path]) -> Result<(), Error> {
        let delete = |path: Path| async move { self.inner.store.delete(&path).await };
        let deleting = futures::stream::iter(files.iter().cloned()).map(delete);
        Ok(deleting.buffer_unordered(crate::limits::STORE_CONCURRENCY_MAX).try_collect().await?)
    }

    /// The data files that are there and that a rewrite or another program has taken out of the table: every one, however
    /// young, and none of a commit that is on its way.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::Table`], [`Error::Store`].
    pub async fn replaced(&self) -> Result<Vec<Path>, Error> {
        let root = self.inner.table.root();
        let log = root.clone().join("_delta_log");
        let head = self.snapshot().await?.version;
        let live = self.live(head).await?;
        let there = self.inner.store.list(&root).await?.into_iter();
        let mut unknown: BTreeSet<Path> =
            there.filter(|path| !path.prefix_matches(&log) && !live.contains(path)).collect();
        // The log is long, and what was taken out and is still there was mostly taken out lately: it is read from its end, and
        // only as far as it has something to say.
        let (mut replaced, mut read) = (Vec::new(), head);
        while !unknown.is_empty() && read > Version(0) {
            let after = Version(read.0.saturating_sub(CHECKPOINT_EVERY));
            for (_, entry) in self.inner.entries(after, read).await? {
                for path in entry.removes {
                    let path = log::object_path(&root, &path).map_err(Error::table("read a file's path"))?;
                    replaced.extend(unknown.take(&path));
                }
            }
            read = after;
        }
        replaced.sort_unstable();
        Ok(replaced)
    }

    async fn live(&self, version: Version) -> Result<BTreeSet<Path>, Error> {
        Ok(self.files(version).await?.into_iter().map(|file| file.path).collect())
    }
}
