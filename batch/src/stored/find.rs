//! The runs that are in the store: those to go on with, and those to clear away.

use std::collections::{BTreeMap, BTreeSet};

use common::store::Store;
use object_store::{ObjectStore, path::Path};
use tracing::info;

use super::{DIRECTORY, Spec, Stored, TaskKind, spec};
use crate::{Batch, Error, Request};

/// A run that was found in the store.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// What it is.
    pub spec: Spec,
}

/// The run of this name, if this program can read it.
pub(super) async fn spec(store: &Store, id: &str) -> Result<Option<Spec>, Error> {
    let path = Path::from(format!("{DIRECTORY}/{id}/plan.json"));
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    // Of another release's format: it is as good as not there, and goes away with its age.
    Ok(serde_json::from_slice::<Spec>(&bytes).ok().filter(|spec| spec.format == spec::FORMAT))
}

impl Batch {
    /// The runs in the store that are not published.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stored_runs(&self) -> Result<Vec<Found>, Error> {
        let listed = self.store.objects().list_with_delimiter(Some(&Path::from(DIRECTORY))).await;
        let listed =
            listed.map_err(|source| common::store::Error::Io { action: "list", path: DIRECTORY.into(), source })?;
        let mut runs = Vec::new();
        for id in listed.common_prefixes.iter().filter_map(|prefix| prefix.filename()) {
            runs.extend(spec(&self.store, id).await?.map(|spec| Found { id: id.to_owned(), spec }));
        }
        Ok(runs)
    }

    /// Removes all runs, whatever they are of. Returns how many objects.
    pub(crate) async fn remove_runs(&self) -> Result<u64, Error> {
        let objects = self.store.list(&Path::from(DIRECTORY)).await?;
        let ids: BTreeSet<String> = objects.iter().filter_map(id_of).collect();
        let mut removed = 0;
        for id in ids {
            removed += remove(&self.store, &id).await?;
        }
        Ok(removed)
    }

    /// The run that was left behind by one that was asked for the same and did not end, if there is one to go on with: the one
    /// that is furthest.
    pub(crate) async fn left_behind(&self, request: &Request) -> Result<Option<Stored>, Error> {
        let mut best: Option<(usize, Stored)> = None;
        for Found { id, spec } in self.stored_runs().await? {
            let same_views = spec.views.len() == self.pipeline.views.len()
                && self.pipeline.views.values().all(|view| spec.views.get(&view.name) == Some(&view.id));
            if spec.request != *request || !same_views {
                continue;
            }
            // What it was to be carried on from may be gone by now.
            let Ok(stored) = self.stored(&id).await else { continue };
            let left = stored.left(TaskKind::Map).await?.len() + stored.left(TaskKind::Reduce).await?.len();
            if best.as_ref().is_none_or(|(least, _)| left < *least) {
                best = Some((left, stored));
            }
        }
        Ok(best.map(|(left, stored)| {
            info!(run = stored.id, left, "going on with a run that was left behind");
            stored
        }))
    }

    /// Removes runs of which nothing was written since `before_us` (microseconds since 1970-01-01 UTC). Returns their names.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn vacuum_runs(&self, before_us: i64) -> Result<Vec<String>, Error> {
        let mut newest = BTreeMap::new();
        for object in self.store.list_objects(&Path::from(DIRECTORY)).await? {
            let Some(id) = id_of(&object.path) else { continue };
            let at = newest.entry(id).or_insert(i64::MIN);
            *at = (*at).max(object.modified_us);
        }
        newest.retain(|_, at| *at < before_us);
        for id in newest.keys() {
            remove(&self.store, id).await?;
        }
        Ok(newest.into_keys().collect())
    }
}

impl Stored {
    /// Removes all objects of the run.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        remove(&self.batch.store, &self.id).await.map(drop)
    }

    /// Takes back `made`, objects of this run, and fails, if the run was removed meanwhile.
    pub(super) async fn still_there(&self, made: &[Path]) -> Result<(), Error> {
        if self.batch.store.contains(&self.path("plan.json")).await? {
            return Ok(());
        }
        for path in made {
            self.batch.store.delete(path).await?;
        }
        Err(Error::Removed { run: self.id.clone() })
    }

    /// What `ended` is, or that the run was removed if that is why it failed.
    pub(super) async fn or_removed<T>(&self, ended: Result<T, Error>) -> Result<T, Error> {
        match ended {
            Err(error) if !error.is_transient() => {
                self.still_there(&[]).await?;
                Err(error)
            }
            ended => ended,
        }
    }
}

/// The run that an object is of.
fn id_of(path: &Path) -> Option<String> {
    Some(path.parts().nth(1)?.as_ref().to_owned())
}

/// Removes a run, its plan first: what has no plan is not gone on with, and a task that is at work finds that out and takes back what
/// it has made. Returns how many objects there were.
async fn remove(store: &Store, id: &str) -> Result<u64, Error> {
    let directory = Path::from(format!("{DIRECTORY}/{id}"));
    let plan = directory.clone().join("plan.json");
    let mut objects = u64::from(store.contains(&plan).await?);
    store.delete(&plan).await?;
    for path in store.list(&directory).await? {
        store.delete(&path).await?;
        objects += 1;
    }
    Ok(objects)
}
