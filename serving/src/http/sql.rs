//! `POST /v1/sql`. A statement runs on a thread of its own: Polars may not be run on one of the async runtime, and goes deep into
//! what it is asked.

use std::{sync::Arc, thread};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use common::limits::SQL_STACK_BYTES;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Api,
    access::Asker,
    answers::{Answered, asked, within},
    problem::Problem,
    query::{beside, not_ready},
};
use crate::{
    query::Form,
    sql::{Prepared, Request},
    tiers::Tiers,
};

/// Answers a `SELECT` over the merged views.
#[utoipa::path(
    post,
    path = "/v1/sql",
    request_body = Request,
    responses(Answered)
)]
pub(super) async fn sql(
    State(api): State<Api>,
    asker: Option<Extension<Asker>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let limits = api.served.limits();
    let (form, body) = asked(&headers, body, limits).await?;
    let request = Request::from_json(&body)?;
    within(limits, "statement", |cancelled| answer(api, Asker::of(asker), request, form, cancelled)).await
}

async fn answer(
    api: Api,
    asker: Asker,
    request: Request,
    form: Form,
    cancelled: CancellationToken,
) -> Result<Response, Problem> {
    let tiers = api.served.caught_up().await.ok_or_else(not_ready)?;
    let permit = api.turn().await?;
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        // Held until Polars is done, whether or not somebody still waits: what cannot be stopped still counts.
        let _permit = permit;
        let answered = answered(&api, &tiers, &asker, &request, form, &cancelled);
        // Nobody may wait any more.
        let _ = sender.send(answered);
    };
    let started = thread::Builder::new().name("sql".to_owned()).stack_size(SQL_STACK_BYTES).spawn(run);
    started.map_err(|error| Problem::internal(&error))?;
    receiver.await.map_err(|panicked| Problem::internal(&panicked))?
}

fn answered(
    api: &Api,
    tiers: &Arc<Tiers>,
    asker: &Asker,
    request: &Request,
    form: Form,
    cancelled: &CancellationToken,
) -> Result<Response, Problem> {
    let prepared = Prepared::new(&api.served, request)?;
    prepared.views().try_for_each(|view| asker.may_read(view.as_str()))?;
    let answer = prepared.run(&api.served, tiers, cancelled)?;
    let mut response = form.write(&answer)?.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(beside(&answer, form));
    Ok(response)
}
