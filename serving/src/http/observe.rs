//! What is seen of requests from outside: an id each, by which the log names them too, how many there were and how long they took,
//! and headers that keep browsers from guessing.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::Response,
};
use common::telemetry::{HttpRequests, Telemetry};
use tokio::time::Instant;
use tracing::{Instrument, info_span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Debug)]
struct Observer {
    requests: HttpRequests,
    /// Tells the ids of this process from those of others.
    process: u64,
    next: AtomicU64,
}

/// `router`, seen.
pub(super) fn observed(router: Router, telemetry: &Telemetry) -> Router {
    let process = RandomState::new().build_hasher().finish();
    let observer = Observer { requests: telemetry.http(), process, next: AtomicU64::new(0) };
    router.layer(middleware::from_fn_with_state(Arc::new(observer), observe))
}

async fn observe(State(observer): State<Arc<Observer>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = observer.id(request.headers());
    let method = known(request.method());
    let route = route(request.uri().path());
    let span = info_span!("request", id, method, route);
    let mut response = next.run(request).instrument(span).await;
    observer.requests.answered(route, method, response.status().as_u16(), started.elapsed());
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

impl Observer {
    /// The trace that the caller is in (W3C Trace Context), or a number of our own.
    fn id(&self, headers: &HeaderMap) -> String {
        let traced = headers.get("traceparent").and_then(|parent| trace(parent.to_str().ok()?));
        traced.unwrap_or_else(|| format!("{:016x}{:016x}", self.process, self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The trace id of a `traceparent`: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, not all zero.
fn trace(parent: &str) -> Option<String> {
    let parts: Vec<&str> = parent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let valid = version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (valid && trace.bytes().any(|byte| byte != b'0')).then(|| trace.to_owned())
}

/// The route of a path, as the API names it; names in paths would each be a series of their own.
fn route(path: &str) -> &'static str {
    const ROUTES: [&str; 10] = [
        "/",
        "/v1/query",
        "/v1/sql",
        "/v1/live",
        "/v1/views",
        "/v1/status",
        "/v1/openapi.json",
        "/livez",
        "/readyz",
        "/metrics",
    ];
    if let Some(route) = ROUTES.into_iter().find(|route| *route == path) {
        return route;
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["page", ..] => "/page/{file}",
        ["v1", "views", _] => "/v1/views/{view}",
        ["v1", "sources", _, "events"] => "/v1/sources/{source}/events",
        ["v1", "sources", _, "producers", _] => "/v1/sources/{source}/producers/{producer}",
        _ => "none",
    }
}

/// Methods by name; callers may make up others, and each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_trace_is_taken() {
        let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace(&format!("00-{trace_id}-00f067aa0ba902b7-01")).as_deref(), Some(trace_id));
        for wrong in [
            "",
            "00-xyz-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace(wrong), None, "{wrong}");
        }
    }
}
