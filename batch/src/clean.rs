//! Clean: what nothing needs any more goes away, after a time of grace: runs that were given up, and chunks of views that no
//! generation of that time has. Never a chunk that a generation names which a reader may still show (L8 is about raw data,
//! which nothing here touches).

use std::collections::BTreeSet;

use common::{generation, store};
use futures::TryStreamExt;
use object_store::{ObjectStore, path::Path};
use serde::Serialize;

use crate::{Batch, Error};

const CHUNKS: &str = "generations/chunks";

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Runs, by name.
    pub runs: Vec<String>,
    /// Files of chunks.
    pub chunks: Vec<String>,
}

impl Batch {
    /// Removes runs, and files of views that the newest generation does not have, of which nothing was written for
    /// `batch.leftovers_kept`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Generation`].
    pub async fn clean(&self) -> Result<Removed, Error> {
        let grace_us = i64::try_from(self.pipeline.batch.leftovers_kept.as_micros()).unwrap_or(i64::MAX);
        let runs = self.clean_runs(grace_us).await?;
        Ok(Removed { runs, chunks: self.clean_chunks(grace_us).await? })
    }

    /// Removes the chunks of views whose definition the newest generation does not have, once that generation and all of the
    /// view's files are older than `grace_us` microseconds. Returns their paths.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Generation`].
    pub async fn clean_chunks(&self, grace_us: i64) -> Result<Vec<String>, Error> {
        let Some(newest) = generation::latest(&self.store).await? else { return Ok(Vec::new()) };
        let due = |at_us: i64| self.clock.now_us().saturating_sub(at_us) >= grace_us;
        let views: BTreeSet<&str> = newest.views.values().map(|files| files.id.as_str()).collect();
        let mut removed = Vec::new();
        for directory in directories(self, CHUNKS).await? {
            let Some(id) = directory.filename().filter(|id| !views.contains(id)) else { continue };
            // A run that is going on may be about to bring the view back.
            let of_a_run =
                self.stored_runs().await?.iter().any(|run| run.spec.views.values().any(|v| v.as_str() == id));
            let since_us = self.gone_since(id, newest.number).await?;
            let files: Result<Vec<_>, _> = self.store.objects().list(Some(&directory)).try_collect().await;
            let files = files.map_err(|source| failed(&directory, source))?;
            let written_us = files.iter().map(|file| file.last_modified.timestamp_micros()).max().unwrap_or(0);
            if of_a_run || !since_us.is_none_or(due) || !due(written_us) {
                continue;
            }
            for file in files {
                self.store.delete(&file.location).await?;
                removed.push(file.location.to_string());
            }
        }
        Ok(removed)
    }

    /// When the view of definition `id` was left out: the time of the first generation without it; `None` if no generation in
    /// the store has it.
    pub(crate) async fn gone_since(&self, id: &str, newest: u64) -> Result<Option<i64>, Error> {
        let mut since = None;
        for number in (1..=newest).rev() {
            // Older ones may have been removed.
            let Some(generation) = generation::load(&self.store, number).await? else { return Ok(None) };
            if generation.views.values().any(|files| files.id.as_str() == id) {
                return Ok(since);
            }
            since = Some(generation.created_at_us);
        }
        Ok(None)
    }
}

pub(crate) async fn directories(batch: &Batch, path: &str) -> Result<Vec<Path>, Error> {
    let path = Path::from(path);
    let listed = batch.store.objects().list_with_delimiter(Some(&path)).await;
    Ok(listed.map_err(|source| failed(&path, source))?.common_prefixes)
}

fn failed(path: &Path, source: object_store::Error) -> Error {
    store::Error::Io { action: "list", path: path.clone(), source }.into()
}
