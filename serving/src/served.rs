//! What is served now: the one place that the follower writes the newest tiers to and every query reads them from.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use common::{
    limits::{CATCH_UP_PATIENCE, QUERIES_PER_CORE_MAX},
    names::ViewName,
    pipeline::QueryLimits,
    verdict::Verdict,
    view::View,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use crate::{query::Pins, ready::Readiness, tiers::Tiers};

/// The views of a pipeline and, once caught up, their tiers. Readers never wait, and hold what they took for as long as
/// they like.
#[derive(Debug)]
pub struct Served {
    views: BTreeMap<ViewName, Arc<View>>,
    limits: QueryLimits,
    /// What is shown, and its number.
    tiers: ArcSwapOption<(u64, Arc<Tiers>)>,
    pins: Pins,
    changes: watch::Sender<u64>,
    readiness: Readiness,
    verdict: ArcSwapOption<Verdict>,
    permits: Arc<Semaphore>,
}

impl Served {
    /// `views`, of which nothing is known yet: [`Self::tiers`] is `None` until the follower has caught up.
    #[must_use]
    pub fn new(views: BTreeMap<ViewName, Arc<View>>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        Self {
            views,
            limits: QueryLimits::default(),
            tiers: ArcSwapOption::empty(),
            pins: Pins::default(),
            changes: watch::Sender::new(0),
            readiness: Readiness::starting(),
            verdict: ArcSwapOption::empty(),
            permits: Arc::new(Semaphore::new(cores * QUERIES_PER_CORE_MAX)),
        }
    }

    /// The same, whose queries may ask so much.
    #[must_use]
    pub fn with_limits(self, limits: QueryLimits) -> Self {
        Self { limits, ..self }
    }

    /// What one query may ask.
    #[must_use]
    pub fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Held by each question while it is computed, however it was asked: cores are shared out once.
    pub(crate) fn permits(&self) -> &Arc<Semaphore> {
        &self.permits
    }

    /// What cursors hold.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The views by name.
    #[must_use]
    pub fn views(&self) -> &BTreeMap<ViewName, Arc<View>> {
        &self.views
    }

    /// The newest tiers; `None` until caught up. A query takes them once (L4).
    #[must_use]
    pub fn tiers(&self) -> Option<Arc<Tiers>> {
        Some(Arc::clone(&self.tiers.load().as_ref()?.1))
    }

    /// The same; where there are none yet, as soon after a start, they are waited for a moment.
    pub(crate) async fn caught_up(&self) -> Option<Arc<Tiers>> {
        match self.tiers() {
            None => timeout(CATCH_UP_PATIENCE, self.newer(0)).await.ok().map(|(_, tiers)| tiers),
            shown => shown,
        }
    }

    /// The newest tiers with their number, which grows with each that is shown; `None` until caught up.
    pub(crate) fn shown(&self) -> Option<(u64, Arc<Tiers>)> {
        self.tiers.load().as_ref().map(|shown| (shown.0, Arc::clone(&shown.1)))
    }

    /// Waits for tiers of a greater number than `serial`.
    pub(crate) async fn newer(&self, serial: u64) -> (u64, Arc<Tiers>) {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(shown) = self.shown().filter(|(number, _)| *number > serial) {
                return shown;
            }
            changes.changed().await.expect("the sender is borrowed with self");
        }
    }

    /// Shows `tiers` from now on.
    pub fn show(&self, tiers: Arc<Tiers>) {
        self.pins.keep_generation_of(&tiers);
        self.readiness.see(tiers.missing_for_now(), Instant::now());
        self.changes.send_modify(|changes| {
            *changes += 1;
            self.tiers.store(Some(Arc::new((*changes, tiers))));
        });
    }

    /// What keeps this process from being ready, each named; nothing if it is. See the module `ready`.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        self.readiness.lacks(Instant::now())
    }

    /// What the last audit found; `None` if there was none.
    #[must_use]
    pub fn verdict(&self) -> Option<Arc<Verdict>> {
        self.verdict.load_full()
    }

    /// Shows what the last audit found.
    pub fn judge(&self, verdict: Option<Verdict>) {
        self.verdict.store(verdict.map(Arc::new));
    }

    /// Waits until the tiers shown are such as `wanted` says, and returns them.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&Tiers) -> bool) -> Arc<Tiers> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(tiers) = self.tiers().filter(|tiers| wanted(tiers)) {
                return tiers;
            }
            changes.changed().await.expect("the sender is borrowed with self");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn who_asks_right_after_a_start_waits_a_moment() {
        let served = Served::new(testing::views_by_name());
        let (shown, ()) = tokio::join!(served.caught_up(), async { served.show(testing::tiers()) });
        assert!(shown.is_some());
        assert!(served.caught_up().await.is_some(), "and from then on at once");
    }
}
