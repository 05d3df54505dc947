//! Reduce tasks of a stored run: what all map tasks have of one slice of one chunk becomes the chunk's files, or, where the chunk
//! has several slices, the groups of one. Whoever finishes the last slice of a chunk joins them: into how many files is known
//! only then, since it depends on the number of groups (see [`chunk::parts`]).

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::{generation, generation::Chunk, names::ViewName, partial, view::View};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use super::{ReduceSpec, Stored};
use crate::{
    Error, chunk,
    gather::Gathered,
    plan::ViewPlan,
    reduce::{self, add_files},
};

/// What a reduce task came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Made {
    /// The chunk's files.
    Chunks(Vec<Chunk>),
    /// No input has groups of the chunk: it stays as it is.
    Kept,
    /// So many groups of a slice, in a file of the run's own.
    Slice(u64),
}

/// How a reduce task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reduced {
    /// Whether it had been finished before.
    pub before: bool,
}

impl Stored {
    /// Does the reduce task of this number, unless it is finished. About `memory` bytes of groups are held.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if map tasks are not finished, [`Error::Removed`] if the run was removed. See [`Error`]; nothing is lost
    /// by doing it again.
    pub async fn reduce(&self, index: usize, memory: usize) -> Result<Reduced, Error> {
        self.or_removed(self.do_reduce(index, memory).await).await
    }

    async fn do_reduce(&self, index: usize, memory: usize) -> Result<Reduced, Error> {
        let spec = &self.spec.reduce;
        let task =
            spec.get(index).ok_or_else(|| self.wrong(format!("it has {} reduce tasks, no r{index}", spec.len())))?;
        let record = self.reduce_record(&task.id);
        if self.get_json::<Made>(&record).await?.is_some() {
            return Ok(Reduced { before: true });
        }
        let made = self.make(task, memory).await?;
        self.put_json(&record, &made).await?;
        if task.slices > 1 {
            self.join(&task.view, task.from_us, memory).await?;
        }
        let joined = self.path(&format!("chunks/{}.json", task.id));
        self.still_there(&[self.slice_path(&task.id), record, joined]).await?;
        tracing::debug!(run = self.id, task = index, "reduce task finished");
        Ok(Reduced { before: false })
    }

    async fn make(&self, task: &ReduceSpec, memory: usize) -> Result<Made, Error> {
        let planned = self.view(&task.view)?;
        let outputs = self.outputs().await?;
        let of_chunk = |piece: &&super::map::Piece| piece.view == task.view && piece.from_us == task.from_us;
        let pieces = outputs.iter().flat_map(|(id, output)| output.pieces.iter().map(move |piece| (id, piece)));
        let pieces: Vec<_> = pieces.filter(|(_, piece)| of_chunk(piece)).collect();
        if pieces.is_empty() {
            let carried = planned.carried(task.from_us).is_empty();
            return Ok(if carried { Made::Chunks(Vec::new()) } else { Made::Kept });
        }
        let gathered = Arc::new(Gathered::new([(Arc::clone(&planned.view), planned.history.clone())], memory));
        let ours = pieces.into_iter().filter(|(_, piece)| piece.slice == task.slice);
        let added: Vec<_> = ours.map(|(id, piece)| self.add_piece(planned, id, piece, &gathered)).collect();
        stream::iter(added).buffer_unordered(self.batch.engine.in_flight()).try_collect::<()>().await?;
        // A chunk that is carried on has as many slices as it has parts.
        let base = planned.carried(task.from_us).iter().filter(|file| task.slices == 1 || file.part == task.slice);
        let base = base.cloned().collect();
        add_files(&self.batch.store, &self.batch.engine, &planned.view, base, &gathered).await?;
        if task.slices == 1 {
            return Ok(Made::Chunks(self.write(planned, task.from_us, &gathered).await?));
        }
        let (view, engine) = (Arc::clone(&planned.view), &self.batch.engine);
        let slice = engine.run(move || gathered.of(&view).take()?.whole()).await?;
        let rows = slice.num_rows() as u64;
        let bytes = engine.run(move || partial::to_parquet(&slice)).await?;
        self.put(&self.slice_path(&task.id), bytes).await?;
        Ok(Made::Slice(rows))
    }

    async fn add_piece(
        &self,
        planned: &ViewPlan,
        id: &str,
        piece: &super::map::Piece,
        gathered: &Arc<Gathered>,
    ) -> Result<(), Error> {
        let path = self.map_parts(id);
        let read = self.batch.store.objects().get_range(&path, piece.bytes.clone()).await;
        let bytes = read.map_err(|source| common::store::Error::Io { action: "read", path, source })?;
        let (view, gathered) = (Arc::clone(&planned.view), Arc::clone(gathered));
        let merge = move || {
            gathered.of(&view).shards.merge(&partial::from_parquet(&view, bytes)?)?;
            gathered.make_room()
        };
        self.batch.engine.run(merge).await
    }

    /// Writes the files of a chunk.
    async fn write(&self, planned: &ViewPlan, from_us: i64, gathered: &Arc<Gathered>) -> Result<Vec<Chunk>, Error> {
        let gathering = Arc::clone(gathered.of(&planned.view));
        let mut files = Vec::new();
        for task in reduce::plan(&self.batch.engine, gathering, |at| at == from_us).await? {
            files.extend(reduce::reduce(&self.batch.store, &self.batch.engine, task).await?.map(|(_, chunk)| chunk));
        }
        Ok(files)
    }

    /// Joins the slices of a chunk, if all of them are there and nobody has.
    async fn join(&self, name: &ViewName, from_us: i64, memory: usize) -> Result<Option<Made>, Error> {
        let planned = self.view(name)?;
        let slices: Vec<&ReduceSpec> = self.spec.slices_of(name, from_us).collect();
        let Some(first) = slices.first() else { return Ok(None) };
        let record = self.path(&format!("chunks/{}.json", first.id));
        if let Some(made) = self.get_json(&record).await? {
            return Ok(Some(made));
        }
        let (mut rows, mut kept) = (Vec::new(), false);
        for slice in &slices {
            match self.get_json(&self.reduce_record(&slice.id)).await? {
                None => return Ok(None),
                Some(Made::Kept) => kept = true,
                Some(Made::Slice(groups)) => rows.push((slice.id.as_str(), groups)),
                Some(Made::Chunks(_)) => {}
            }
        }
        let made = if kept { Made::Kept } else { Made::Chunks(self.joined(planned, from_us, &rows, memory).await?) };
        self.put_json(&record, &made).await?;
        Ok(Some(made))
    }

    async fn joined(
        &self,
        planned: &ViewPlan,
        from_us: i64,
        slices: &[(&str, u64)],
        memory: usize,
    ) -> Result<Vec<Chunk>, Error> {
        let view = &planned.view;
        let parts = chunk::parts(view, slices.iter().map(|(_, rows)| rows).sum()) as usize;
        if parts <= slices.len() && !slices.is_empty() {
            let mut files = Vec::new();
            for (part, slices) in (0..).zip(slices.chunks(slices.len() / parts)) {
                let mut groups = Vec::with_capacity(slices.len());
                for (id, _) in slices {
                    groups.push(self.read_slice(view, id).await?);
                }
                files.extend(self.write_part(view, from_us, part, groups).await?);
            }
            return Ok(files);
        }
        // There are more groups than were expected.
        let gathered = Arc::new(Gathered::new([(Arc::clone(view), planned.history.clone())], memory));
        for (id, _) in slices {
            let slice = self.read_slice(view, id).await?;
            let (view, gathered) = (Arc::clone(view), Arc::clone(&gathered));
            let merge = move || {
                gathered.of(&view).shards.merge(&slice)?;
                gathered.make_room()
            };
            self.batch.engine.run(merge).await?;
        }
        self.write(planned, from_us, &gathered).await
    }

    async fn read_slice(&self, view: &Arc<View>, id: &str) -> Result<RecordBatch, Error> {
        let path = self.slice_path(id);
        let bytes = self.batch.store.get(&path).await?.ok_or_else(|| self.wrong(format!("{path} is gone")))?;
        let view = Arc::clone(view);
        Ok(self.batch.engine.run(move || partial::from_parquet(&view, bytes)).await?)
    }

    async fn write_part(
        &self,
        view: &Arc<View>,
        from_us: i64,
        part: u32,
        groups: Vec<RecordBatch>,
    ) -> Result<Option<Chunk>, Error> {
        let of = Arc::clone(view);
        let encode = move || {
            let groups = partial::join(&of, &groups)?;
            if groups.num_rows() == 0 {
                return Ok(None);
            }
            let (_, to_us) = chunk::of(&of).interval(from_us);
            Ok::<_, Error>(Some(generation::encode_chunk(&of, from_us, to_us, part, &groups)?))
        };
        let Some((chunk, bytes)) = self.batch.engine.run(encode).await? else { return Ok(None) };
        generation::put_chunk(&self.batch.store, &chunk, bytes).await?;
        Ok(Some(chunk))
    }

    /// What the chunk of a view came to; `None` if reduce tasks of it are not finished.
    pub(super) async fn chunk(&self, task: &ReduceSpec, memory: usize) -> Result<Option<Made>, Error> {
        match task.slices {
            1 => self.get_json(&self.reduce_record(&task.id)).await,
            _ => self.join(&task.view, task.from_us, memory).await,
        }
    }

    pub(super) fn reduce_record(&self, id: &str) -> Path {
        self.path(&format!("reduce/{id}.json"))
    }

    fn slice_path(&self, id: &str) -> Path {
        self.path(&format!("reduce/{id}.parquet"))
    }
}
