//! Metrics of the serving layer: how long records take until answers show them, and which generation that is.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{OfSource, durations};
use crate::names::SourceName;

/// The metrics of what is served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Serving {
    visible: Family<OfSource, Histogram, fn() -> Histogram>,
    generation: Gauge,
    cached: Gauge,
    loaded: Family<OfLoad, Counter>,
    evicted: Counter,
}

/// Where a chunk was when it was mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedFrom {
    /// In the cache.
    Disk,
    /// In the store only.
    Store,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLoad {
    from: &'static str,
}

impl Serving {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let serving = Self {
            visible: Family::new_with_constructor(durations),
            generation: Gauge::default(),
            cached: Gauge::default(),
            loaded: Family::default(),
            evicted: Counter::default(),
        };
        let help = "Age of the oldest record of a delta, by the log's time stamp, when answers first showed it";
        registry.register_with_unit("visible", help, Unit::Seconds, serving.visible.clone());
        let help = "Number of the generation that answers come from; 0 before the first";
        registry.register("generation", help, serving.generation.clone());
        registry.register_with_unit("cache", "Chunks in the cache", Unit::Bytes, serving.cached.clone());
        let help = "Chunks that were mapped, by where they were";
        registry.register("cache_loads", help, serving.loaded.clone());
        registry.register("cache_evictions", "Chunks removed from the cache for others", serving.evicted.clone());
        serving
    }

    /// Answers show a delta of `source` for the first time, whose oldest record is of `age`.
    pub fn visible(&self, source: &SourceName, age: Duration) {
        let labels = OfSource { source: source.as_str().to_owned() };
        self.visible.get_or_create(&labels).observe(age.as_secs_f64());
    }

    /// The cache has so many bytes of chunks.
    pub fn cached_bytes(&self, bytes: u64) {
        self.cached.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A chunk was mapped.
    pub fn chunk_loaded(&self, from: LoadedFrom) {
        let from = match from {
            LoadedFrom::Disk => "disk",
            LoadedFrom::Store => "store",
        };
        self.loaded.get_or_create(&OfLoad { from }).inc();
    }

    /// A chunk was removed from the cache for others.
    pub fn chunk_evicted(&self) {
        self.evicted.inc();
    }

    /// Answers come from generation `number`.
    pub fn generation(&self, number: u64) {
        self.generation.set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}
