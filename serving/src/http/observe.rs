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
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::Response,
};
use common::telemetry::{HttpRequests, Telemetry};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tokio::time::Instant;
use tracing::{Instrument, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

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
    let caller = request.headers().get("traceparent").and_then(|parent| trace(parent.to_str().ok()?));
    let id = caller.as_ref().map_or_else(|| observer.id(), |caller| caller.trace_id().to_string());
    let method = known(request.method());
    let route = route(request.uri().path());
    let span = info_span!("request", id, method, route, status = field::Empty);
    if let Some(caller) = caller {
        // Nobody hears it where nothing is traced.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
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
    /// The id of a request whose caller is in no trace: a number of our own.
    fn id(&self) -> String {
        format!("{:016x}{:016x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The span that the caller is in, of a `traceparent` (W3C Trace Context): `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, the first
/// two not all zero.
fn trace(parent: &str) -> Option<SpanContext> {
    let parts: Vec<&str> = parent.split('-').collect();
    let ["00", trace, span, flags] = parts[..] else { return None };
    let hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !(hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
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
        let caller = trace(&format!("00-{trace_id}-00f067aa0ba902b7-01")).expect("it is one");
        assert_eq!(
            (caller.trace_id().to_string(), caller.span_id().to_string()),
            (trace_id.into(), "00f067aa0ba902b7".into())
        );
        assert!(caller.is_sampled() && caller.is_remote());
        for wrong in [
            "",
            "00-xyz-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(trace(wrong).is_none(), "{wrong}");
        }
    }
}
