//! Metrics of requests over HTTP.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::durations;

/// The metrics of requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpRequests {
    requests: Family<OfRequest, Counter>,
    took: Family<OfRoute, Histogram, fn() -> Histogram>,
    listeners: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

impl HttpRequests {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            took: Family::new_with_constructor(durations),
            listeners: Gauge::default(),
        };
        registry.register("http_requests", "Requests answered, by route, method and status", metrics.requests.clone());
        let help = "Time from a request's head to the head of its answer, by route";
        registry.register_with_unit("http_request", help, Unit::Seconds, metrics.took.clone());
        registry.register("live_listeners", "Listeners of live push", metrics.listeners.clone());
        metrics
    }

    /// A request for `route`, as the router names it, was answered.
    pub fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.took.get_or_create(&OfRoute { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&OfRequest { route, method, status }).inc();
    }

    /// So many listen to live push.
    pub fn listeners(&self, count: usize) {
        self.listeners.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
