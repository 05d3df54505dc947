//! Tasks that somebody else hands out: a scheduler, by command lines or line by line.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Mapped, Reduced, Stored, Task, TaskKind};
use crate::{Batch, Error, Watch};

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// A map task.
    Map(Mapped),
    /// A reduce task.
    Reduce(Reduced),
}

impl Batch {
    /// Does `tasks`, as many at once as there are cores, and tells of each that is finished.
    ///
    /// # Errors
    /// The first one; tasks that were told of are finished all the same.
    pub async fn do_tasks(
        &self,
        tasks: &[Task],
        watch: &Watch,
        mut tell: impl FnMut(&Task, Done),
    ) -> Result<(), Error> {
        let mut runs: BTreeMap<&str, Stored> = BTreeMap::new();
        for task in tasks {
            if !runs.contains_key(task.run.as_str()) {
                runs.insert(&task.run, self.stored(&task.run).await?);
            }
        }
        let memory = self.engine.memory() / self.engine.in_flight();
        let work: Vec<_> = tasks.iter().map(|task| one(&runs[task.run.as_str()], task, memory, watch)).collect();
        let mut running = stream::iter(work).buffer_unordered(self.engine.in_flight());
        while let Some(done) = running.next().await {
            let (task, done) = done?;
            tell(task, done);
        }
        Ok(())
    }
}

async fn one<'a>(stored: &Stored, task: &'a Task, memory: usize, watch: &Watch) -> Result<(&'a Task, Done), Error> {
    watch.check()?;
    let done = match task.kind {
        TaskKind::Map => Done::Map(stored.map(task.index, memory).await?),
        TaskKind::Reduce => Done::Reduce(stored.reduce(task.index, memory).await?),
    };
    Ok((task, done))
}
