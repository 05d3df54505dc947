//! Groups: all groups of one view, each once, where they were gathered: in memory, and what there was no room for in a file.

use std::{collections::BTreeMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use common::{partial, view::View};

use crate::{Error, chunk, memory::Claim, spill::Spill};

/// All groups of one view.
#[derive(Debug)]
pub struct Groups {
    view: Arc<View>,
    /// A partial of each shard, ordered by bucket, or a canonical one of all; `None` where it is in `spilled`.
    pieces: Vec<Option<RecordBatch>>,
    /// At most one partial of each shard.
    spilled: Spill,
    /// How many there are in each chunk, by its start.
    rows: BTreeMap<i64, u64>,
    _held: Claim,
}

impl Groups {
    pub(crate) fn new(
        view: Arc<View>,
        pieces: Vec<Option<RecordBatch>>,
        spilled: Spill,
        held: Claim,
    ) -> Result<Self, Error> {
        let mut groups = Self { view, pieces, spilled, rows: BTreeMap::new(), _held: held };
        for shard in 0..groups.shards() {
            let piece = groups.piece(shard)?;
            for (from_us, range) in chunk::ranges(&groups.view, &piece) {
                *groups.rows.entry(from_us).or_default() += range.len() as u64;
            }
        }
        Ok(groups)
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
        self.pieces.len()
    }

    /// Whether some are in a temporary file.
    #[cfg(test)]
    pub(crate) fn is_spilled(&self) -> bool {
        self.pieces.iter().any(Option::is_none)
    }

    fn piece(&self, shard: usize) -> Result<RecordBatch, Error> {
        if let Some(held) = &self.pieces[shard] {
            return Ok(held.clone());
        }
        let read = self.spilled.read(&self.view, shard)?.pop();
        Ok(read.unwrap_or_else(|| RecordBatch::new_empty(self.view.partial_schema())))
    }

    /// The canonical partial of part `part` of `parts` of the chunk that starts at `from_us`. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn part(&self, from_us: i64, part: u32, parts: u32) -> Result<RecordBatch, Error> {
        // Shards are finer parts; few groups are in one shard and make one part.
        let width = self.shards().div_ceil(parts as usize);
        let mut pieces = Vec::with_capacity(width);
        for shard in part as usize * width..(part as usize + 1) * width {
            let piece = self.piece(shard)?;
            let range = chunk::ranges(&self.view, &piece).find(|(start, _)| *start == from_us).map(|(_, range)| range);
            pieces.extend(range.map(|range| piece.slice(range.start, range.len())));
        }
        self.join(&pieces)
    }

    /// The canonical partial of `pieces`.
    fn join(&self, pieces: &[RecordBatch]) -> Result<RecordBatch, Error> {
        match pieces {
            // All groups in one shard are in order.
            [piece] if self.shards() == 1 => Ok(piece.clone()),
            pieces => Ok(partial::join(&self.view, pieces)?),
        }
    }

    /// The canonical partial of all groups. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn whole(&self) -> Result<RecordBatch, Error> {
        let pieces = (0..self.shards()).map(|shard| self.piece(shard)).collect::<Result<Vec<_>, _>>()?;
        self.join(&pieces)
    }
}
