//! Map tasks of a stored run: the groups of one input, cut by view, time chunk and slice, as one file.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use common::{dataset::Part, names::ViewName, partial, view::View};
use serde::{Deserialize, Serialize};

use super::{InputSpec, Stored};
use crate::{
    Error,
    gather::Gathered,
    map::map,
    plan::{Input, MapTask, ViewPlan},
};

/// What a map task made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) pieces: Vec<Piece>,
}

/// One partial in the file of a map task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) view: ViewName,
    /// The start of its chunk.
    pub(super) from_us: i64,
    pub(super) slice: u32,
    pub(super) rows: u64,
    /// Where in the file it is.
    pub(super) bytes: Range<u64>,
}

/// How a map task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mapped {
    /// Whether it had been finished before.
    pub before: bool,
    /// Groups that came out.
    pub rows: u64,
    /// Bytes of what came out.
    pub bytes: u64,
}

impl Stored {
    /// Does the map task of this number, unless it is finished. About `memory` bytes of groups are held.
    ///
    /// # Errors
    /// [`Error::Removed`] if the run was. See [`Error`]; nothing is lost by doing it again.
    pub async fn map(&self, index: usize, memory: usize) -> Result<Mapped, Error> {
        self.or_removed(self.do_map(index, memory).await).await
    }

    async fn do_map(&self, index: usize, memory: usize) -> Result<Mapped, Error> {
        let spec = &self.spec.map;
        let task =
            spec.get(index).ok_or_else(|| self.wrong(format!("it has {} map tasks, no m{index}", spec.len())))?;
        let record = self.map_record(&task.id);
        if let Some(output) = self.get_json::<Output>(&record).await? {
            return Ok(output.ended(true));
        }
        let dataset = self.dataset(&task.source).await?.clone();
        let input = match &task.input {
            InputSpec::Files(files) => Input::Files(files.iter().map(|file| file.file()).collect()),
            InputSpec::Commit(version) => {
                let before = common::position::Version(version.0 - 1);
                let commits = dataset.commits(before, *version).await?.into_iter();
                Input::Commit(commits.last().ok_or_else(|| self.wrong(format!("there is no commit {version}")))?)
            }
        };
        let planned = task.views.iter().map(|name| self.view(name));
        let planned: Vec<&ViewPlan> = planned.collect::<Result<_, Error>>()?;
        let views: Arc<[Arc<View>]> = planned.iter().map(|planned| Arc::clone(&planned.view)).collect();
        let kept = planned.iter().map(|planned| (Arc::clone(&planned.view), planned.history.clone()));
        let gathered = Arc::new(Gathered::new(kept, memory));
        let work = MapTask { dataset, input, part: Part::WHOLE, views: Arc::clone(&views) };
        map(&self.batch.store, &self.batch.engine, work, Arc::clone(&gathered)).await?;

        let cuts: Vec<Cut> = views.iter().map(|view| self.cut(view)).collect();
        let (output, parts) = self.batch.engine.run(move || encode(&gathered, &cuts)).await?;
        let made = [self.map_parts(&task.id), record];
        self.put(&made[0], parts).await?;
        self.put_json(&made[1], &output).await?;
        self.still_there(&made).await?;
        tracing::debug!(run = self.id, task = index, "map task finished");
        Ok(output.ended(false))
    }

    pub(super) fn map_record(&self, id: &str) -> object_store::path::Path {
        self.path(&format!("map/{id}.json"))
    }

    pub(super) fn map_parts(&self, id: &str) -> object_store::path::Path {
        self.path(&format!("map/{id}.parts"))
    }

    /// What map tasks finished, by name, if all are.
    pub(super) async fn outputs(&self) -> Result<&std::collections::BTreeMap<String, Output>, Error> {
        let read = || async {
            let mut outputs = std::collections::BTreeMap::new();
            let mut missing = Vec::new();
            for (index, task) in self.spec.map.iter().enumerate() {
                match self.get_json(&self.map_record(&task.id)).await? {
                    Some(output) => drop(outputs.insert(task.id.clone(), output)),
                    None => missing.push(format!("m{index}")),
                }
            }
            if missing.is_empty() { Ok(outputs) } else { Err(self.unfinished(missing)) }
        };
        self.outputs.get_or_try_init(read).await
    }

    fn cut(&self, view: &Arc<View>) -> Cut {
        let tasks = self.spec.reduce.iter().filter(|task| task.view == view.name && task.slice == 0);
        Cut { view: Arc::clone(view), chunks: tasks.map(|task| (task.from_us, task.slices)).collect() }
    }
}

/// Into how many slices the chunks of a view are cut, by their starts.
struct Cut {
    view: Arc<View>,
    chunks: std::collections::BTreeMap<i64, u32>,
}

impl Output {
    fn ended(&self, before: bool) -> Mapped {
        let bytes = self.pieces.last().map_or(0, |piece| piece.bytes.end);
        Mapped { before, rows: self.pieces.iter().map(|piece| piece.rows).sum(), bytes }
    }
}

/// All groups, cut. Those of chunks that the run does not write are left out: they are of files that reach beyond what was
/// asked for.
fn encode(gathered: &Gathered, cuts: &[Cut]) -> Result<(Output, Bytes), Error> {
    gathered.finish()?;
    let (mut pieces, mut file) = (Vec::new(), Vec::new());
    let mut claim = gathered.claim();
    for Cut { view, chunks } in cuts {
        let gathering = gathered.of(view);
        let spread = chunks.values().any(|slices| *slices > 1);
        let groups = if spread { gathering.take_spread()? } else { gathering.take()? };
        for &from_us in groups.rows().keys() {
            let Some(&slices) = chunks.get(&from_us) else { continue };
            for slice in 0..slices {
                let partial = groups.part(from_us, slice, slices)?;
                if partial.num_rows() == 0 {
                    continue;
                }
                let at = file.len() as u64;
                file.extend_from_slice(&partial::to_parquet(&partial)?);
                let (rows, bytes) = (partial.num_rows() as u64, at..file.len() as u64);
                pieces.push(Piece { view: view.name.clone(), from_us, slice, rows, bytes });
            }
        }
        claim.set(file.capacity());
        gathered.make_room()?;
    }
    Ok((Output { pieces }, file.into()))
}
