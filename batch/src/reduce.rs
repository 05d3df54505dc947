//! Reduce: the groups of one view and time chunk become its content-addressed files.

use std::{collections::BTreeSet, sync::Arc};

use common::{
    generation::{self, Chunk},
    names::ViewName,
    store::Store,
    view::View,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Engine, Error, chunk,
    gather::{Gathered, Gathering},
    groups::Groups,
    plan::ViewPlan,
};

/// Adds the chunks of the last generation that the run has new groups of. Returns the starts of the chunks to be written.
///
/// # Errors
/// [`Error::Generation`], [`Error::Measure`], [`Error::Spill`].
pub async fn add_base(
    store: &Store,
    engine: &Engine,
    plan: &ViewPlan,
    gathered: &Arc<Gathered>,
) -> Result<BTreeSet<i64>, Error> {
    let gathering = Arc::clone(gathered.of(&plan.view));
    let mut touched = engine.run(move || gathering.chunks()).await?;
    touched.extend(&plan.aged);
    touched.retain(|from_us| plan.writes(*from_us));
    let files: Vec<Chunk> = touched.iter().flat_map(|from_us| plan.carried(*from_us)).cloned().collect();
    add_files(store, engine, &plan.view, files, gathered).await?;
    Ok(touched)
}

/// Adds the groups in these files of `view`.
///
/// # Errors
/// [`Error::Generation`], [`Error::Measure`], [`Error::Spill`].
pub(crate) async fn add_files(
    store: &Store,
    engine: &Engine,
    view: &Arc<View>,
    files: Vec<Chunk>,
    gathered: &Arc<Gathered>,
) -> Result<(), Error> {
    let added: Vec<_> = files.into_iter().map(|file| add_file(store, engine, view, file, gathered)).collect();
    stream::iter(added).buffer_unordered(engine.in_flight()).try_collect::<()>().await
}

async fn add_file(
    store: &Store,
    engine: &Engine,
    view: &Arc<View>,
    file: Chunk,
    gathered: &Arc<Gathered>,
) -> Result<(), Error> {
    let partial = generation::read_chunk(store, view, &file).await?;
    let (gathered, view) = (Arc::clone(gathered), Arc::clone(view));
    let merge = move || {
        let held = gathered.claim().of(partial.get_array_memory_size());
        gathered.of(&view).shards.merge(&partial)?;
        drop((partial, held));
        gathered.make_room()
    };
    engine.run(merge).await
}

/// Bytes that one task of [`reduce`] holds, about: a part of some ten megabytes, put together and encoded.
pub const REDUCED_BYTES: usize = 48 << 20;

/// One file to be written: a part of one chunk.
#[derive(Debug)]
pub struct ReduceTask {
    groups: Arc<Groups>,
    from_us: i64,
    part: u32,
    parts: u32,
}

impl ReduceTask {
    /// Whether it is the last one of its chunk.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.part + 1 == self.parts
    }
}

/// The tasks that write the groups of one view in the chunks that `writes` admits.
///
/// # Errors
/// [`Error::Spill`], [`Error::Measure`].
pub async fn plan(
    engine: &Engine,
    gathering: Arc<Gathering>,
    writes: impl Fn(i64) -> bool,
) -> Result<Vec<ReduceTask>, Error> {
    let groups = Arc::new(engine.run(move || gathering.take()).await?);
    let tasks = groups.rows().iter().filter(|(from_us, _)| writes(**from_us)).flat_map(|(&from_us, &rows)| {
        let parts = chunk::parts(groups.view(), rows);
        let task = |part| ReduceTask { groups: Arc::clone(&groups), from_us, part, parts };
        (0..parts).map(task).collect::<Vec<_>>()
    });
    Ok(tasks.collect())
}

/// Writes one file; `None` if no group is in the part. The same groups always give the same file under the same name, so
/// this may run twice, and a file that no generation names does no harm.
///
/// # Errors
/// [`Error::Generation`], [`Error::Measure`], [`Error::Spill`].
pub async fn reduce(store: &Store, engine: &Engine, task: ReduceTask) -> Result<Option<(ViewName, Chunk)>, Error> {
    let ReduceTask { groups, from_us, part, parts } = task;
    let name = groups.view().name.clone();
    let encode = move || {
        let partial = groups.part(from_us, part, parts)?;
        if partial.num_rows() == 0 {
            return Ok(None);
        }
        let (_, to_us) = chunk::of(groups.view()).interval(from_us);
        Ok::<_, Error>(Some(generation::encode_chunk(groups.view(), from_us, to_us, part, &partial)?))
    };
    let Some((chunk, bytes)) = engine.run(encode).await? else { return Ok(None) };
    generation::put_chunk(store, &chunk, bytes).await?;
    Ok(Some((name, chunk)))
}
