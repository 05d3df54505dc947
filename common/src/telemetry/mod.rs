//! What a process counts and measures of itself, as Prometheus reads it (`GET /metrics`).
//!
//! A layer takes the handle of its own metrics and counts; it must never decide anything by them. Names follow
//! Prometheus' rules: base units, `_total` for counters, labels of few values. Every metric is in docs/metrics.md.

mod http;
mod ingest;
mod process;
mod serving;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::histogram::{Histogram, exponential_buckets},
    registry::Registry,
};

pub use http::HttpRequests;
pub use ingest::{Ingest, Read};
pub use serving::{LoadedFrom, Serving};

use crate::names::SourceName;

/// What `/metrics` is written in.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
    ingest: ingest::Families,
    serving: Serving,
    http: HttpRequests,
}

impl Telemetry {
    /// The metrics of a process that has just started.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("highwater");
        let ingest = ingest::Families::registered(&mut registry);
        let serving = Serving::registered(&mut registry);
        let http = HttpRequests::registered(&mut registry);
        registry.register_collector(Box::new(process::Process));
        Self { registry: Arc::new(Mutex::new(registry)), ingest, serving, http }
    }

    /// The metrics of the speed layer about `source`.
    #[must_use]
    pub fn ingest(&self, source: &SourceName) -> Ingest {
        Ingest::new(source, self.ingest.clone())
    }

    /// The metrics of the serving layer.
    #[must_use]
    pub fn serving(&self) -> Serving {
        self.serving.clone()
    }

    /// The metrics of requests.
    #[must_use]
    pub fn http(&self) -> HttpRequests {
        self.http.clone()
    }

    /// Lets a room register metrics of its own, once, under names that get `highwater_` put before them.
    pub fn register<T>(&self, metrics: impl FnOnce(&mut Registry) -> T) -> T {
        metrics(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as they stand, in OpenMetrics text of [`CONTENT_TYPE`].
    #[must_use]
    pub fn text(&self) -> String {
        let mut written = String::new();
        self.register(|registry| text::encode(&mut written, registry)).expect("a String takes all that is written");
        written
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
}

/// A histogram of durations in seconds: 17 buckets from a millisecond to a minute, each twice the one before.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        event::{Counts, Reason},
        position::Partition,
    };

    fn value(text: &str, metric: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn l7_what_became_of_records_sums_to_the_records_read() {
        let telemetry = Telemetry::new();
        let ingest = telemetry.ingest(&SourceName::new("departures").unwrap());
        let counts = Counts { events: 5, dead_letters: 2, tombstones: 1 };
        ingest.read(
            Partition(3),
            &Read {
                counts,
                bytes: 1000,
                dead_letters: &[Reason::Type, Reason::Missing],
                decoding: Duration::from_millis(250),
                folding: Duration::from_millis(500),
            },
        );
        let text = telemetry.text();
        let records = |outcome| {
            let labels = format!("source=\"departures\",partition=\"3\",outcome=\"{outcome}\"");
            value(&text, &format!("highwater_records_total{{{labels}}}")).unwrap()
        };
        assert_eq!((records("event"), records("dead_letter"), records("tombstone")), (5.0, 2.0, 1.0));
        let of_source = "source=\"departures\"";
        assert_eq!(value(&text, &format!("highwater_dead_letters_total{{{of_source},reason=\"type\"}}")), Some(1.0));
        assert_eq!(value(&text, &format!("highwater_decode_seconds_total{{{of_source}}}")), Some(0.25));
        assert_eq!(value(&text, &format!("highwater_fold_seconds_total{{{of_source}}}")), Some(0.5));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn lag_of_a_partition_that_was_taken_away_is_not_shown_any_more() {
        let telemetry = Telemetry::new();
        let ingest = telemetry.ingest(&SourceName::new("departures").unwrap());
        ingest.lag(Partition(0), 7, Duration::from_secs(2));
        let labels = "source=\"departures\",partition=\"0\"";
        assert_eq!(value(&telemetry.text(), &format!("highwater_lag_records{{{labels}}}")), Some(7.0));
        assert_eq!(value(&telemetry.text(), &format!("highwater_lag_seconds{{{labels}}}")), Some(2.0));
        ingest.revoked(Partition(0));
        assert_eq!(value(&telemetry.text(), &format!("highwater_lag_records{{{labels}}}")), None);
    }

    #[test]
    fn every_metric_is_in_the_documentation() {
        let telemetry = Telemetry::new();
        let documented = include_str!("../../../docs/metrics.md");
        let text = telemetry.text();
        let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let missing: Vec<_> = described.filter(|name| !documented.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    }
}
