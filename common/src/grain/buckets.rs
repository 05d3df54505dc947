//! The buckets of many times, fast: events come roughly in order, so that mostly one of the last buckets is the one again.

use super::{Grain, TIME_US_MAX};

/// Cells that are remembered, in 6 KiB.
const CELLS: usize = 256;

/// Finds the buckets of times, mostly without asking the grain again. The answers are the grain's.
#[derive(Debug, Clone)]
pub struct Buckets {
    grain: Grain,
    /// The last cell of all those with this hash.
    cells: Vec<Cell>,
    /// A cell is the times with the same higher bits, of which these are too many.
    shift: u32,
}

/// A stretch of time in which at most one bucket begins. So near the end of a bucket, where times of two buckets come in turn,
/// there is neither a search nor a branch that nobody can foresee.
#[derive(Debug, Clone, Copy)]
struct Cell {
    number: i64,
    /// The start of the bucket that the cell begins in.
    first: i64,
    /// The start of the next one.
    next: i64,
}

impl Buckets {
    pub(super) fn new(grain: Grain) -> Self {
        // No time is so early.
        let none = Cell { number: i64::MIN, first: 0, next: 0 };
        // Short enough that seldom two buckets begin in one, where clocks are put forward or back.
        let shift = grain.nominal_us().ilog2().saturating_sub(2);
        Self { grain, cells: vec![none; CELLS], shift }
    }

    /// The grain.
    #[must_use]
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// The start of the bucket that `time_us` falls in: [`Grain::bucket`].
    #[inline]
    pub fn start(&mut self, time_us: i64) -> i64 {
        let number = time_us >> self.shift;
        let cell = self.cells[number as usize % CELLS];
        if cell.number != number {
            return self.search(time_us);
        }
        if time_us < cell.next { cell.first } else { cell.next }
    }

    #[cold]
    fn search(&mut self, time_us: i64) -> i64 {
        let number = time_us >> self.shift;
        let from = number << self.shift;
        let to = from.saturating_add(1 << self.shift);
        if -TIME_US_MAX < from && to < TIME_US_MAX {
            let (first, next) = self.grain.interval(from);
            // Where two buckets begin, the grain is asked again each time.
            if self.grain.interval(next).1 >= to {
                self.cells[number as usize % CELLS] = Cell { number, first, next };
            }
        }
        self.grain.bucket(time_us)
    }
}
