//! A stack: the partials of one view over ascending intervals, merged geometrically so that a query reads few tables.
//!
//! Every piece is kept as it came beside the merged runs, because a commit or a new generation cuts the stack at the end
//! of any piece, and states cannot be subtracted.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::{measure::Error, partial, view::View};

use super::Table;

/// A run is merged with the one before it unless that one has this many times its rows: a query reads a logarithmic
/// number of runs, and each row is merged a logarithmic number of times.
const RUN_ROWS_RATIO: usize = 2;

/// A partial of the half-open interval `[from, to)` of versions or offsets.
#[derive(Debug, Clone)]
struct Piece {
    from: u64,
    partial: RecordBatch,
}

/// See the module. Intervals that nothing fell into have no piece.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    view: Arc<View>,
    pieces: Vec<Piece>,
    runs: Vec<Table>,
}

impl Stack {
    /// A stack of nothing.
    pub(super) fn new(view: &Arc<View>) -> Self {
        Self { view: Arc::clone(view), pieces: Vec::new(), runs: Vec::new() }
    }

    /// Puts the partial of an interval that starts at `from` on top; `from` is not before any other piece's.
    pub(super) fn push(&mut self, from: u64, partial: RecordBatch) -> Result<(), Error> {
        debug_assert!(self.pieces.last().is_none_or(|p| p.from < from), "pieces ascend");
        if partial.num_rows() == 0 {
            return Ok(());
        }
        self.pieces.push(Piece { from, partial: partial.clone() });
        self.runs.push(partial.into());
        self.settle()
    }

    /// Puts the partials of earlier intervals below all others.
    pub(super) fn push_below(&mut self, earlier: Vec<(u64, RecordBatch)>) -> Result<(), Error> {
        let earlier = earlier.into_iter().filter(|(_, partial)| partial.num_rows() > 0);
        let pieces: Vec<Piece> = earlier.map(|(from, partial)| Piece { from, partial }).collect();
        if pieces.is_empty() {
            return Ok(());
        }
        self.pieces.splice(0..0, pieces);
        debug_assert!(self.pieces.is_sorted_by(|a, b| a.from < b.from), "pieces ascend");
        self.rebuild()
    }

    /// Drops the pieces of intervals that start before `at`.
    pub(super) fn drop_before(&mut self, at: u64) -> Result<(), Error> {
        let dropped = self.pieces.partition_point(|p| p.from < at);
        if dropped == 0 {
            return Ok(());
        }
        self.pieces.drain(..dropped);
        self.rebuild()
    }

    /// The partials of the intervals that start at or after `at`, as they came.
    pub(super) fn from(&self, at: u64) -> impl Iterator<Item = &RecordBatch> {
        let first = self.pieces.partition_point(|piece| piece.from < at);
        self.pieces[first..].iter().map(|piece| &piece.partial)
    }

    /// Tables that together are the partial of everything in the stack.
    pub(super) fn runs(&self) -> &[Table] {
        &self.runs
    }

    fn rebuild(&mut self) -> Result<(), Error> {
        self.runs.clear();
        if !self.pieces.is_empty() {
            self.runs.push(partial::merge(&self.view, self.pieces.iter().map(|p| &p.partial))?.into());
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        while let [.., before, last] = self.runs.as_slice() {
            let (before, last) = (before.held(), last.held());
            if before.num_rows() >= RUN_ROWS_RATIO * last.num_rows() {
                break;
            }
            let merged = partial::merge(&self.view, [before, last])?;
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(merged.into());
        }
        Ok(())
    }
}
