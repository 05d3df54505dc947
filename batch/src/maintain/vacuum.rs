//! Vacuum: removes what nothing needs any more, once it is old enough that nobody is about to name it or at work on it. The one place
//! that says what that is.
//!
//! | what | goes when |
//! |---|---|
//! | runs | nothing of them was written lately: they were given up |
//! | generations | there is a newer one, and no run starts from them |
//! | chunks | no generation that stays names them: those of removed views are named by none, sooner or later |
//! | data files | no part of the head, and no run reads them: a rewrite has replaced them, or their commit was never made |
//! | segments | the newest generation covers their commit, or no view of the pipeline has their definition |
//! | staged files | a put was killed before it gave them their name (local disks only) |
//!
//! A segment can always be made again, and a generation's views are in the next one: nothing is lost (L8). What a run in the
//! store reads stays as long as the run does, so that it can be gone on with.

use std::{collections::BTreeSet, time::Duration};

use common::{generation, position::Version, segment, store::Listed};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Serialize;
use tracing::info;

use crate::{Batch, Error, stored::InputSpec};

/// What a vacuum removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    /// Runs that were given up.
    pub runs: u64,
    /// Manifests of generations.
    pub generations: u64,
    /// Chunks of generations.
    pub chunks: u64,
    /// Files of datasets.
    pub data_files: u64,
    /// Segments.
    pub segments: u64,
    /// Files of puts that were killed.
    pub staged_files: u64,
}

/// What the runs in the store read.
#[derive(Debug, Default)]
struct Read {
    generations: BTreeSet<u64>,
    files: BTreeSet<Path>,
}

impl Batch {
    /// Removes what nothing needs and was written longer ago than `grace`: longer than any batch run takes, any commit, and
    /// any reading of a generation.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Dataset`], [`Error::Generation`].
    pub async fn vacuum(&self, grace: Duration) -> Result<Vacuumed, Error> {
        let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let before_us = self.clock.now_us().saturating_sub(grace_us);
        let mut done = Vacuumed { runs: self.vacuum_runs(before_us).await?.len() as u64, ..Vacuumed::default() };
        let read = self.read_by_runs().await?;
        // First the manifests, then what they name: a chunk that is found unnamed was so before.
        done.generations = self.vacuum_generations(before_us, &read).await?;
        done.chunks = self.vacuum_chunks(before_us).await?;
        for source in self.pipeline.sources.values() {
            let dataset = self.dataset(source).await?;
            done.data_files += dataset.vacuum(before_us, &read.files).await?.len() as u64;
        }
        done.segments = self.vacuum_segments(before_us).await?;
        done.staged_files = self.store.remove_staged(before_us).await?;
        info!(?done, "vacuumed");
        Ok(done)
    }

    async fn read_by_runs(&self) -> Result<Read, Error> {
        let mut read = Read::default();
        for run in self.stored_runs().await? {
            read.generations.extend(run.spec.after);
            for task in run.spec.map {
                if let InputSpec::Files(files) = task.input {
                    read.files.extend(files.iter().map(|file| file.file().path));
                }
            }
        }
        Ok(read)
    }

    /// Removes the manifests of all generations but the newest that are old.
    async fn vacuum_generations(&self, before_us: i64, read: &Read) -> Result<u64, Error> {
        let manifests = generation::manifests(&self.store).await?;
        // When a generation was replaced is when the next one was written: until then it was the one to be read.
        let replaced = manifests.windows(2).filter(|pair| pair[1].1.modified_us < before_us);
        let old = replaced.map(|pair| &pair[0]).filter(|(number, _)| !read.generations.contains(number));
        self.remove(old.map(|(_, object)| object.path.clone()).collect()).await
    }

    /// Removes the old chunks that no generation names.
    async fn vacuum_chunks(&self, before_us: i64) -> Result<u64, Error> {
        let listed = generation::chunks(&self.store).await?;
        let mut named = BTreeSet::new();
        for (number, _) in generation::manifests(&self.store).await? {
            let Some(generation) = generation::load(&self.store, number).await? else { continue };
            named.extend(generation.views.into_values().flat_map(|files| files.chunks).map(|chunk| chunk.path));
        }
        let unnamed = |object: &Listed| object.modified_us < before_us && !named.contains(object.path.as_ref());
        self.remove(listed.into_iter().filter(unnamed).map(|object| object.path).collect()).await
    }

    /// Removes the old segments that nobody reads.
    async fn vacuum_segments(&self, before_us: i64) -> Result<u64, Error> {
        let newest = generation::latest(&self.store).await?;
        let mut old = Vec::new();
        for source in self.pipeline.sources.keys() {
            let mark = newest.as_ref().and_then(|newest| newest.marks.get(source)).map(|mark| mark.version);
            for (view, version, object) in segment::list(&self.store, source).await? {
                let known = self.pipeline.views.values().any(|known| known.id.as_str() == view);
                let in_generation =
                    newest.iter().flat_map(|newest| newest.views.values()).any(|f| f.id.as_str() == view);
                let covered = in_generation && version <= mark.unwrap_or(Version(0));
                if object.modified_us < before_us && (covered || !known) {
                    old.push(object.path);
                }
            }
        }
        self.remove(old).await
    }

    /// Removes these objects; returns how many there were.
    pub(super) async fn remove(&self, paths: Vec<Path>) -> Result<u64, Error> {
        let count = paths.len() as u64;
        let deleting = stream::iter(paths).map(|path| async move { self.store.delete(&path).await });
        deleting.buffer_unordered(common::limits::STORE_CONCURRENCY_MAX).try_collect::<()>().await?;
        Ok(count)
    }
}
