//! `POST /v1/query`.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use common::limits::{QUERY_BYTES_MAX, QUERY_TIMEOUT};
use tokio_util::sync::CancellationToken;

use super::{
    Api, body,
    problem::{Kind, Problem},
};
use crate::query::{self, Query};

/// Answers a query.
pub(super) async fn query(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    body::check_content_type(&headers, &["application/json"])?;
    let body = body::read(body, QUERY_BYTES_MAX).await?;
    let query = Query::from_json(&body)?;
    // When the client goes, this future is dropped, and the computation stops with it.
    let cancelled = CancellationToken::new();
    let _cancel = cancelled.clone().drop_guard();
    let answer = tokio::time::timeout(QUERY_TIMEOUT, answer(api, query, cancelled));
    let json = answer.await.map_err(|_| {
        Problem::new(Kind::TimedOut, format!("the query took longer than {} s", QUERY_TIMEOUT.as_secs()))
    })??;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn answer(api: Api, query: Query, cancelled: CancellationToken) -> Result<Vec<u8>, Problem> {
    let permit = api.permits.acquire_owned().await.map_err(|_| Problem::new(Kind::Busy, "the server is stopping"))?;
    let computed = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        // One query, one set of tiers (L4).
        let tiers = api.served.tiers().ok_or_else(not_ready)?;
        let answer = query::answer(&api.served, &tiers, &query, &cancelled)?;
        serde_json::to_vec(&answer).map_err(|error| Problem::internal(&error))
    });
    computed.await.map_err(|panic| Problem::internal(&panic))?
}

pub(super) fn not_ready() -> Problem {
    Problem::new(
        Kind::NotReady,
        "generations and commits are still being read; /readyz tells when answers are complete",
    )
}
