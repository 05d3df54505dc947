//! The buckets of many times, fast: events come roughly in order, so that mostly one of the last buckets is the one again; and
//! between two changes of its clock, a zone is only so far ahead of UTC.

use super::{Clock, Grain, TIME_US_MAX};

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
    /// Of a zone.
    clock: Option<Clock>,
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
        Self { grain, cells: vec![none; CELLS], shift, clock: grain.zone.map(|zone| zone.clock()) }
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
            let (first, next) = self.interval(from);
            // Where two buckets begin, the grain is asked again each time.
            if self.interval(next).1 >= to {
                self.cells[number as usize % CELLS] = Cell { number, first, next };
            }
        }
        self.interval(time_us).0
    }

    /// [`Grain::interval`], by arithmetic where the changes of the clock are far enough away.
    fn interval(&mut self, time_us: i64) -> (i64, i64) {
        if let Some(clock) = &mut self.clock {
            let time_us = Grain::clamped(time_us);
            let span = clock.span(time_us);
            let (start, end) = self.grain.step.around(time_us + span.offset_us);
            let (start, end) = (start - span.offset_us, end - span.offset_us);
            if span.is_around(start, end) {
                return (start, end);
            }
        }
        self.grain.interval(time_us)
    }
}
