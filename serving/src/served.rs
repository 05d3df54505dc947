//! What is served now: the one place that the follower writes the newest tiers to and every query reads them from.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use common::{names::ViewName, pipeline::QueryLimits, view::View};
use tokio::sync::watch;

use crate::{query::Pins, tiers::Tiers};

/// The views of a pipeline and, once caught up, their tiers. Readers never wait, and hold what they took for as long as
/// they like.
#[derive(Debug)]
pub struct Served {
    views: BTreeMap<ViewName, Arc<View>>,
    limits: QueryLimits,
    tiers: ArcSwapOption<Tiers>,
    pins: Pins,
    changes: watch::Sender<u64>,
}

impl Served {
    /// `views`, of which nothing is known yet: [`Self::tiers`] is `None` until the follower has caught up.
    #[must_use]
    pub fn new(views: BTreeMap<ViewName, Arc<View>>) -> Self {
        Self {
            views,
            limits: QueryLimits::default(),
            tiers: ArcSwapOption::empty(),
            pins: Pins::default(),
            changes: watch::Sender::new(0),
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
        self.tiers.load_full()
    }

    /// Shows `tiers` from now on.
    pub fn show(&self, tiers: Arc<Tiers>) {
        self.pins.keep_generation_of(&tiers);
        self.tiers.store(Some(tiers));
        self.changes.send_modify(|changes| *changes += 1);
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
