//! Groups: all groups of one view, each once, where they were gathered: in memory, and what there was no room for in a file.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::record_batch::RecordBatch;
use common::{
    fold::{self, Interval, SHARDS, Settled},
    partial,
    view::View,
};
use rayon::prelude::*;

use crate::{Error, chunk, memory::Claim, spill::Spill};

/// All groups of one view.
#[derive(Debug)]
pub struct Groups {
    view: Arc<View>,
    held: Held,
    /// How many there are in each chunk, by its start.
    rows: BTreeMap<i64, u64>,
    _claim: Claim,
}

/// Where groups are, by shard, or all at one place if they are few.
#[derive(Debug)]
enum Held {
    /// In the tables that they came together in.
    Tables(Vec<Table>),
    /// In partials, since there was no room for all, or older ones are rolled up.
    Partials {
        /// Ordered by bucket, or a canonical one of all groups; `None` where it is in `spilled`.
        pieces: Vec<Option<RecordBatch>>,
        /// At most one partial of each shard.
        spilled: Spill,
    },
}

/// Groups of one table.
#[derive(Debug)]
struct Table {
    settled: Settled,
    /// Which of them each chunk has, by its start.
    chunks: BTreeMap<i64, Interval>,
}

impl Table {
    /// The groups that some shards have of one chunk, or of all.
    fn groups(&self, shards: &Range<usize>, from_us: Option<i64>) -> impl Iterator<Item = (&Settled, &[u32])> {
        let chosen = from_us.map_or(i64::MIN..=i64::MAX, |from_us| from_us..=from_us);
        let groups = self.chunks.range(chosen).map(|(_, interval)| (&self.settled, self.settled.of(interval, shards)));
        groups.filter(|(_, groups)| !groups.is_empty())
    }
}

impl Groups {
    /// Those of `settled`, which were taken together. CPU work for the threads of the pool that it is called on.
    pub(crate) fn settled(view: Arc<View>, settled: Vec<Settled>, claim: Claim) -> Self {
        let table = |settled: Settled| Table { chunks: settled.intervals(chunk::of(&view)), settled };
        let tables: Vec<Table> = settled.into_par_iter().map(table).collect();
        let mut rows = BTreeMap::new();
        for (&from_us, groups) in tables.iter().flat_map(|table| &table.chunks) {
            *rows.entry(from_us).or_default() += groups.count() as u64;
        }
        let bytes = tables.iter().map(|table| table.settled.bytes()).sum();
        Self { view, held: Held::Tables(tables), rows, _claim: claim.of(bytes) }
    }

    pub(crate) fn partials(
        view: Arc<View>,
        pieces: Vec<Option<RecordBatch>>,
        spilled: Spill,
        claim: Claim,
    ) -> Result<Self, Error> {
        let mut rows = BTreeMap::new();
        for shard in 0..pieces.len() {
            for (from_us, range) in chunk::ranges(&view, &piece(&view, &pieces, &spilled, shard)?) {
                *rows.entry(from_us).or_default() += range.len() as u64;
            }
        }
        Ok(Self { view, held: Held::Partials { pieces, spilled }, rows, _claim: claim })
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// How many groups there are in each chunk, by its start.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<i64, u64> {
        &self.rows
    }

    pub(crate) fn shards(&self) -> usize {
        match &self.held {
            Held::Tables(_) => SHARDS,
            Held::Partials { pieces, .. } => pieces.len(),
        }
    }

    /// Whether some are in a temporary file.
    #[cfg(test)]
    pub(crate) fn is_spilled(&self) -> bool {
        matches!(&self.held, Held::Partials { pieces, .. } if pieces.iter().any(Option::is_none))
    }

    /// The canonical partial of part `part` of `parts` of the chunk that starts at `from_us`. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn part(&self, from_us: i64, part: u32, parts: u32) -> Result<RecordBatch, Error> {
        // Shards are finer parts; few groups are in one shard and make one part.
        let width = self.shards().div_ceil(parts as usize);
        self.join(part as usize * width..(part as usize + 1) * width, Some(from_us))
    }

    /// The canonical partial of all groups. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn whole(&self) -> Result<RecordBatch, Error> {
        self.join(0..self.shards(), None)
    }

    /// The canonical partial of what these shards have of the chunk that starts at `from_us`, or of all.
    fn join(&self, shards: Range<usize>, from_us: Option<i64>) -> Result<RecordBatch, Error> {
        let (pieces, spilled) = match &self.held {
            Held::Tables(tables) => {
                let groups: Vec<_> = tables.iter().flat_map(|table| table.groups(&shards, from_us)).collect();
                return Ok(fold::join(&self.view, &groups)?);
            }
            Held::Partials { pieces, spilled } => (pieces, spilled),
        };
        let mut parts = Vec::with_capacity(shards.len());
        for shard in shards {
            let piece = piece(&self.view, pieces, spilled, shard)?;
            let ranges = chunk::ranges(&self.view, &piece);
            let chosen = ranges.filter(|(start, _)| from_us.is_none_or(|from_us| from_us == *start));
            parts.extend(chosen.map(|(_, range)| piece.slice(range.start, range.len())));
        }
        Ok(partial::join(&self.view, &parts)?)
    }
}

fn piece(view: &View, pieces: &[Option<RecordBatch>], spilled: &Spill, shard: usize) -> Result<RecordBatch, Error> {
    if let Some(held) = &pieces[shard] {
        return Ok(held.clone());
    }
    let read = spilled.read(view, shard)?.pop();
    Ok(read.unwrap_or_else(|| RecordBatch::new_empty(view.partial_schema())))
}
