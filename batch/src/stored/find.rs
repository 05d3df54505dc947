//! The runs that are in the store: those to go on with, and those to clear away.

use common::store::Store;
use futures::TryStreamExt;
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

    /// Removes runs of which nothing was written for `grace_us` microseconds. Returns their names.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn clean_runs(&self, grace_us: i64) -> Result<Vec<String>, Error> {
        let path = Path::from(DIRECTORY);
        let listed: Result<Vec<_>, _> = self.store.objects().list(Some(&path)).try_collect().await;
        let listed = listed.map_err(|source| common::store::Error::Io { action: "list", path, source })?;
        let mut newest = std::collections::BTreeMap::new();
        for object in listed {
            let Some(id) = object.location.parts().nth(1).map(|part| part.as_ref().to_owned()) else { continue };
            let at = newest.entry(id).or_insert(i64::MIN);
            *at = (*at).max(object.last_modified.timestamp_micros());
        }
        newest.retain(|_, at| self.clock.now_us().saturating_sub(*at) >= grace_us);
        for id in newest.keys() {
            remove(&self.store, id).await?;
        }
        Ok(newest.into_keys().collect())
    }
}

impl Stored {
    /// Removes all objects of the run.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        remove(&self.batch.store, &self.id).await
    }
}

/// Removes a run, its plan first: what has no plan is not gone on with.
async fn remove(store: &Store, id: &str) -> Result<(), Error> {
    let directory = Path::from(format!("{DIRECTORY}/{id}"));
    store.delete(&directory.clone().join("plan.json")).await?;
    for path in store.list(&directory).await? {
        store.delete(&path).await?;
    }
    Ok(())
}
