//! Which grains an answer can have, given the grain of its view.

use super::{DAY_US, Grain, Step};

impl Grain {
    /// `asked`, moved so that it begins where a bucket of this grain does; `None` if its buckets are never made of whole
    /// ones of these. Whether those of one zone are made of whole ones of another depends on the time, too: ask
    /// [`Self::begins_at`] of both ends of each.
    #[must_use]
    pub fn coarsened(self, asked: Self) -> Option<Self> {
        let same_clock = self.zone == asked.zone;
        let follows_clock = self.zone.is_some() && !self.follows_elapsed_time();
        if !same_clock && (follows_clock || matches!(self.step, Step::Months { .. })) {
            return None;
        }
        // How much later than `there` one of the starts `here + k · width` is.
        let later = |here: i64, there: i64, width: i64| if same_clock { (here - there).rem_euclid(width) } else { 0 };
        let step = match (self.step, asked.step) {
            (Step::Width { width_us: own, origin_us: here }, Step::Width { width_us, origin_us }) => {
                if width_us % own != 0 {
                    return None;
                }
                let origin_us = (origin_us + later(here, origin_us, own)) % width_us;
                Step::Width { width_us, origin_us }
            }
            (Step::Width { width_us: own, origin_us: here }, Step::Months { count, origin, shift_us }) => {
                if DAY_US % own != 0 {
                    return None;
                }
                Step::Months { count, origin, shift_us: shift_us + later(here, shift_us, own) }
            }
            (Step::Months { count: own, origin: here, shift_us }, Step::Months { count, origin, .. }) => {
                if count % own != 0 {
                    return None;
                }
                Step::Months { count, origin: (origin + later(here, origin, own)) % count, shift_us }
            }
            (Step::Months { .. }, Step::Width { .. }) => return None,
        };
        Some(Self { step, ..asked })
    }

    /// Whether a bucket begins at `time_us`.
    #[must_use]
    pub fn begins_at(self, time_us: i64) -> bool {
        self.bucket(time_us) == time_us
    }
}
