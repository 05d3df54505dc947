//! How each view stands: whether the newest generation answers for it, whether it is being computed from raw files, or was removed.

use common::{
    generation::{self, Generation},
    names::ViewName,
    store,
    view::ViewId,
};
use object_store::{ObjectStore, path::Path};
use serde::Serialize;

use crate::{Batch, Error, stored::TaskKind};

/// Generations that are looked back through: a view that is older than all of them is as old as the last one, at least.
const LOOKED_BACK_MAX: u64 = 500;

/// How a view stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The newest generation has it.
    Live,
    /// It is new: the next generation will have it.
    Backfilling,
    /// The newest generation has another definition under its name, which is answered until the next one has this.
    Changed,
    /// The pipeline does not have it any more.
    Removed,
}

/// One view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewState {
    /// Its name.
    pub name: ViewName,
    /// Its definition.
    pub id: ViewId,
    /// How it stands.
    pub state: State,
    /// Since when, microseconds since 1970-01-01 UTC: the time of the first generation that it is so in. `None` if there was
    /// none yet.
    pub since_us: Option<i64>,
    /// Tasks of the run that computes it which are finished, and all; `None` unless such a run is in the store.
    pub tasks: Option<(u64, u64)>,
    /// Whether files of it are still in the store.
    pub has_files: bool,
}

impl Batch {
    /// How each view of the pipeline stands, and each that was removed and still has files.
    ///
    /// # Errors
    /// [`Error::Generation`], [`Error::Store`].
    pub async fn view_states(&self) -> Result<Vec<ViewState>, Error> {
        let newest = generation::latest(&self.store).await?;
        let history = self.history(newest).await?;
        let newest = history.first();
        let kept = self.ids_with_files().await?;
        let mut states = Vec::new();
        for view in self.pipeline.views.values() {
            let (name, id) = (&view.name, &view.id);
            let there = newest.and_then(|g| g.views.get(name));
            let state = match there {
                Some(files) if files.id == *id => State::Live,
                Some(_) => State::Changed,
                None => State::Backfilling,
            };
            let same = |g: &&Generation| g.views.get(name).map(|files| &files.id) == there.map(|files| &files.id);
            let since_us = match there {
                Some(_) => history.iter().take_while(same).last().map(|g| g.created_at_us),
                None => None,
            };
            let tasks = if state == State::Live { None } else { self.backfill(name, id).await? };
            let has_files = kept.iter().any(|kept| kept == id.as_str());
            states.push(ViewState { name: name.clone(), id: id.clone(), state, since_us, tasks, has_files });
        }
        states.extend(self.removed(&history, &kept));
        Ok(states)
    }

    /// The definitions of which the store has chunks.
    async fn ids_with_files(&self) -> Result<Vec<String>, Error> {
        let path = Path::from("generations/chunks");
        let listed = self.store.objects().list_with_delimiter(Some(&path)).await;
        let listed = listed.map_err(|source| store::Error::Io { action: "list", path, source })?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// The newest generations, newest first.
    async fn history(&self, newest: Option<Generation>) -> Result<Vec<Generation>, Error> {
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let first = newest.number;
        let mut history = vec![newest];
        for number in (first.saturating_sub(LOOKED_BACK_MAX).max(1)..first).rev() {
            let Some(generation) = generation::load(&self.store, number).await? else { break };
            history.push(generation);
        }
        Ok(history)
    }

    /// Definitions that some generation has and the pipeline does not, and whose files are there.
    fn removed(&self, history: &[Generation], kept: &[String]) -> Vec<ViewState> {
        let ours = |id: &ViewId| self.pipeline.views.values().any(|view| view.id == *id);
        let mut states: Vec<ViewState> = Vec::new();
        for (at, generation) in history.iter().enumerate() {
            for (name, files) in &generation.views {
                let known = states.iter().any(|state| state.id == files.id);
                if known || ours(&files.id) || !kept.iter().any(|kept| kept == files.id.as_str()) {
                    continue;
                }
                // The generation after this one is the first without it; if there is none, the next one will be.
                let since_us = at.checked_sub(1).map(|after| history[after].created_at_us);
                let (name, id) = (name.clone(), files.id.clone());
                states.push(ViewState { name, id, state: State::Removed, since_us, tasks: None, has_files: true });
            }
        }
        states
    }

    /// How far the run is that computes this definition.
    async fn backfill(&self, name: &ViewName, id: &ViewId) -> Result<Option<(u64, u64)>, Error> {
        for run in self.stored_runs().await? {
            if run.spec.views.get(name) != Some(id) {
                continue;
            }
            let Ok(stored) = self.stored(&run.id).await else { continue };
            let all = stored.spec().map.len() + stored.spec().reduce.len();
            let left = stored.left(TaskKind::Map).await?.len() + stored.left(TaskKind::Reduce).await?.len();
            return Ok(Some(((all - left) as u64, all as u64)));
        }
        Ok(None)
    }
}
