//! The HTTP API: which path is what, and serving it until told to stop. Nothing is computed here.

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, Uri},
    routing::{get, post},
};
use common::{names::SourceName, telemetry::Telemetry};
use tokio::sync::Semaphore;

mod accept;
mod access;
mod answers;
mod body;
mod ingest;
mod live;
mod observe;
mod openapi;
mod page;
mod problem;
mod query;
mod serve;
mod sql;
mod state;
#[cfg(test)]
mod tests;

pub use access::guarded;
pub use ingest::Ingest;
use observe::observed;
use problem::{Kind, Problem};
pub use serve::{ALPN, Door, serve};

use crate::{Served, live::Hub};

/// What every handler of the query API has.
#[derive(Debug, Clone)]
struct Api {
    served: Arc<Served>,
    permits: Arc<Semaphore>,
    telemetry: Telemetry,
    live: live::Live,
}

/// The query API, health, metrics and the page, over what is served.
pub fn router(served: Arc<Served>, telemetry: Telemetry) -> Router {
    let routes = routes(served, telemetry.clone());
    observed(finished(routes), &telemetry)
}

fn routes(served: Arc<Served>, telemetry: Telemetry) -> Router {
    let live = Arc::new(Hub::new(Arc::clone(&served)));
    let permits = Arc::clone(served.permits());
    let api = Api { served, permits, telemetry, live };
    Router::new()
        .route("/v1/query", post(query::query))
        .route("/v1/views", get(state::views))
        .route("/v1/views/{view}", get(query::view))
        .route("/v1/live", get(live::live))
        .route("/v1/sql", post(sql::sql))
        .route("/v1/status", get(state::status))
        .route("/v1/openapi.json", get(openapi::openapi))
        .route("/livez", get(state::live))
        .route("/readyz", get(state::ready))
        .route("/metrics", get(state::metrics))
        .with_state(api)
        .merge(page::router())
}

/// The same, and taking events in for `sources`, whose bodies may be `body_limit` bytes each.
pub fn router_with_ingest(
    served: Arc<Served>,
    telemetry: Telemetry,
    sources: impl IntoIterator<Item = (SourceName, Ingest)>,
    body_limit: usize,
) -> Router {
    let routes = routes(served, telemetry.clone());
    let routes = routes.merge(ingest::router(sources.into_iter().collect(), body_limit));
    observed(finished(routes), &telemetry)
}

/// Every other path and method answers a problem document too.
fn finished(routes: Router) -> Router {
    routes
        .fallback(async |method: Method, uri: Uri| {
            Problem::new(Kind::UnknownRoute, format!("there is no {method} {}", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let detail = format!("{} does not answer {method}; the Allow header names what it does", uri.path());
            Problem::new(Kind::MethodNotAllowed, detail)
        })
}
