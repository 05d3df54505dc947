//! Metrics of the serving layer: how long records take until answers show them, and which generation that is.

use std::time::Duration;

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{OfSource, durations};
use crate::names::SourceName;

/// The metrics of what is served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Serving {
    visible: Family<OfSource, Histogram, fn() -> Histogram>,
    generation: Gauge,
}

impl Serving {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let serving = Self { visible: Family::new_with_constructor(durations), generation: Gauge::default() };
        let help = "Age of the oldest record of a delta, by the log's time stamp, when answers first showed it";
        registry.register_with_unit("visible", help, Unit::Seconds, serving.visible.clone());
        let help = "Number of the generation that answers come from; 0 before the first";
        registry.register("generation", help, serving.generation.clone());
        serving
    }

    /// Answers show a delta of `source` for the first time, whose oldest record is of `age`.
    pub fn visible(&self, source: &SourceName, age: Duration) {
        let labels = OfSource { source: source.as_str().to_owned() };
        self.visible.get_or_create(&labels).observe(age.as_secs_f64());
    }

    /// Answers come from generation `number`.
    pub fn generation(&self, number: u64) {
        self.generation.set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}
