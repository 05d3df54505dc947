//! Vacuum: removes what nothing names any more, once it is old enough that nobody is about to name it or at work on it.
//!
//! | what | goes when |
//! |---|---|
//! | data files | no part of the head: a rewrite has replaced them, or their commit was never made |
//! | segments | the newest generation covers their commit, or no view of the pipeline has their definition |
//! | generations | there is a newer one |
//! | chunks | no generation that stays names them |
//!
//! A segment can always be made again, and a generation's views are in the next one: nothing is lost (L8).

use std::{collections::BTreeSet, time::Duration};

use common::{generation, position::Version, segment, store::Listed};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Serialize;
use tracing::info;

use crate::{Batch, Error};

/// What a vacuum removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    /// Files of datasets.
    pub data_files: u64,
    /// Segments.
    pub segments: u64,
    /// Manifests of generations.
    pub generations: u64,
    /// Chunks of generations.
    pub chunks: u64,
}

impl Batch {
    /// Removes what nothing names and was written longer ago than `grace`: longer than any batch run takes, any commit, and
    /// any reading of a generation.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Dataset`], [`Error::Generation`].
    pub async fn vacuum(&self, grace: Duration) -> Result<Vacuumed, Error> {
        let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let before_us = self.clock.now_us().saturating_sub(grace_us);
        // First the manifests, then what they name: a chunk that is found unnamed was so before.
        let mut done = Vacuumed { generations: self.vacuum_generations(before_us).await?, ..Vacuumed::default() };
        done.chunks = self.vacuum_chunks(before_us).await?;
        for source in self.pipeline.sources.values() {
            let dataset = self.dataset(source).await?;
            done.data_files += dataset.vacuum(before_us).await?.len() as u64;
        }
        done.segments = self.vacuum_segments(before_us).await?;
        info!(?done, "vacuumed");
        Ok(done)
    }

    /// Removes the manifests of all generations but the newest that are old.
    async fn vacuum_generations(&self, before_us: i64) -> Result<u64, Error> {
        let manifests = generation::manifests(&self.store).await?;
        let Some((newest, _)) = manifests.last().cloned() else { return Ok(0) };
        // When a generation was replaced is when the next one was written: until then it was the one to be read.
        let replaced = manifests.windows(2).filter(|pair| pair[1].1.modified_us < before_us);
        let old: Vec<Path> = replaced.filter(|pair| pair[0].0 < newest).map(|pair| pair[0].1.path.clone()).collect();
        self.remove(old).await
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
