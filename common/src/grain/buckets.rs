//! The buckets of many times, fast: events come roughly in order, so that mostly the last bucket is the one again.

use super::{Grain, Step};

/// Buckets that are remembered of a grain for which finding one costs more than looking it up: a year of days, and 4 KiB.
const SLOTS: usize = 256;

/// Finds the buckets of times, mostly without asking the grain again. The answers are the grain's.
#[derive(Debug, Clone)]
pub struct Buckets {
    grain: Grain,
    last: (i64, i64),
    /// The bucket found last of all times with this hash; empty where a division is all it takes to find one.
    slots: Vec<(i64, i64)>,
    /// The hash of a time is its higher bits: about as many as tell one bucket from the next.
    shift: u32,
}

impl Buckets {
    pub(super) fn new(grain: Grain) -> Self {
        let cheap = grain.zone.is_none() && matches!(grain.step, Step::Width { .. });
        Self {
            grain,
            last: (0, 0),
            slots: if cheap { Vec::new() } else { vec![(0, 0); SLOTS] },
            shift: grain.nominal_us().ilog2(),
        }
    }

    /// The grain.
    #[must_use]
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// The start of the bucket that `time_us` falls in: [`Grain::bucket`].
    #[inline]
    pub fn start(&mut self, time_us: i64) -> i64 {
        if !(self.last.0..self.last.1).contains(&time_us) {
            self.last = self.find(time_us);
        }
        self.last.0
    }

    fn find(&mut self, time_us: i64) -> (i64, i64) {
        if self.slots.is_empty() {
            return self.grain.interval(time_us);
        }
        let slot = &mut self.slots[(time_us >> self.shift) as usize % SLOTS];
        if !(slot.0..slot.1).contains(&time_us) {
            *slot = self.grain.interval(time_us);
        }
        *slot
    }
}
