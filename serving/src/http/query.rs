//! `POST /v1/query`, and the same question as a link, `GET /v1/views/{view}`.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};
use xxhash_rust::xxh3::Xxh3;

use super::{
    Api, accept,
    access::Asker,
    answers::{Answered, asked, within},
    problem::{Kind, Problem},
};
use crate::{
    query::{self, Answer, Form, Query},
    tiers::Tiers,
};

/// The provenance of an answer whose form has no place for it, as ASCII JSON.
const PROVENANCE: HeaderName = HeaderName::from_static("highwater-provenance");

/// The cursor of the rows after these, where the form has no place for it.
const NEXT: HeaderName = HeaderName::from_static("highwater-next");

/// The token to ask changes with the next time, where the form has no place for it; then whether all rows came.
const TOKEN: HeaderName = HeaderName::from_static("highwater-token");
const RESET: HeaderName = HeaderName::from_static("highwater-reset");

/// Answers a question.
#[utoipa::path(
    post,
    path = "/v1/query",
    request_body = Query,
    responses(Answered, (status = 304, description = "The answer is the one that `If-None-Match` names"))
)]
pub(super) async fn query(
    State(api): State<Api>,
    asker: Option<Extension<Asker>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (form, body) = asked(&headers, body, api.served.limits()).await?;
    let query = Query::from_json(&body)?;
    Asker::of(asker).may_read(&query.view)?;
    respond(api, query, form, &headers).await
}

/// Answers a question that is a link: lists have commas, `-` before a column of `order_by` puts the greatest first, and `top` is as
/// `5,departures`.
#[utoipa::path(
    get,
    path = "/v1/views/{view}",
    params(("view" = String, Path, description = "The view asked")),
    responses(Answered, (status = 304, description = "The answer is the one that `If-None-Match` names"))
)]
pub(super) async fn view(
    State(api): State<Api>,
    asker: Option<Extension<Asker>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(parameters): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(view) = path?;
    let form = accept::form(&headers)?;
    Asker::of(asker).may_read(&view)?;
    if !api.served.views().contains_key(view.as_str()) {
        let known: Vec<&str> = api.served.views().keys().map(common::names::ViewName::as_str).collect();
        let detail = format!("there is no view `{view}`; there are {}", known.join(", "));
        return Err(Problem::new(Kind::UnknownView, detail));
    }
    let parameters = url::form_urlencoded::parse(parameters.as_deref().unwrap_or_default().as_bytes());
    let parameters: Vec<_> = parameters.collect();
    let query = Query::from_parameters(&view, parameters.iter().map(|(name, text)| (name.as_ref(), text.as_ref())))?;
    respond(api, query, form, &headers).await
}

async fn respond(api: Api, query: Query, form: Form, headers: &HeaderMap) -> Result<Response, Problem> {
    let written = within(api.served.limits(), "query", |cancelled| answer(api, query, form, cancelled)).await?;
    Ok(written.response(headers))
}

async fn answer(api: Api, query: Query, form: Form, cancelled: CancellationToken) -> Result<Written, Problem> {
    let span = info_span!("query", view = %query.view);
    // One query, one set of tiers (L4).
    let tiers = api.served.caught_up().await.ok_or_else(not_ready)?;
    if query::is_light(&api.served, &tiers, &query)? {
        return span.in_scope(|| written(&api, &tiers, &query, form, &cancelled));
    }
    let permit = api.turn().instrument(span.clone()).await?;
    let computed = tokio::task::spawn_blocking(move || {
        let _entered = span.entered();
        let _permit = permit;
        written(&api, &tiers, &query, form, &cancelled)
    });
    computed.await.map_err(|panic| Problem::internal(&panic))?
}

fn written(
    api: &Api,
    tiers: &Arc<Tiers>,
    query: &Query,
    form: Form,
    cancelled: &CancellationToken,
) -> Result<Written, Problem> {
    let answer = query::answer(&api.served, tiers, query, cancelled)?;
    Ok(Written { form, etag: etag(&answer, query, form), body: form.write(&answer)?, headers: beside(&answer, form) })
}

/// An answer as it is sent.
struct Written {
    form: Form,
    body: Vec<u8>,
    etag: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Written {
    fn response(self, asked: &HeaderMap) -> Response {
        let unchanged = self.etag.as_ref().is_some_and(|etag| is_known(asked, etag));
        let mut response = match unchanged {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.body.into_response(),
        };
        let headers = response.headers_mut();
        if !unchanged {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.form.content_type()));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        headers.extend(self.headers);
        if let Some(etag) = self.etag {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// Whether the client has the answer of this tag already (RFC 9110, section 13.1.2; the comparison is weak).
fn is_known(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let etag = weak(etag.to_str().unwrap_or_default());
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == "*" || weak(tag) == etag)
}

/// The tag of an answer's content, whether it is complete, and its warnings. Of the rest of the provenance it says nothing, which is
/// why it is weak: another generation, or events elsewhere, leave it. None of a page, whose cursor is good only once.
fn etag(answer: &Answer, query: &Query, form: Form) -> Option<HeaderValue> {
    if query.paged || query.since.is_some() {
        return None;
    }
    let mut hash = Hashed(Xxh3::new());
    let provenance = (answer.provenance.complete, &answer.provenance.warnings);
    serde_json::to_writer(&mut hash, &(answer.content(), provenance, form.content_type())).ok()?;
    HeaderValue::try_from(format!("W/\"{:016x}\"", hash.0.digest())).ok()
}

struct Hashed(Xxh3);

impl std::io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What stands beside the rows of a form that has no place for it.
pub(super) fn beside(answer: &Answer, form: Form) -> Vec<(HeaderName, HeaderValue)> {
    if form == Form::Json {
        return Vec::new();
    }
    let provenance = serde_json::to_string(&answer.provenance).map(|json| ascii(&json)).unwrap_or_default();
    let mut texts = vec![(PROVENANCE, provenance)];
    texts.extend(answer.next.iter().map(|next| (NEXT, next.clone())));
    if let Some(changes) = &answer.changes {
        texts.extend([(TOKEN, changes.token.clone()), (RESET, changes.reset.to_string())]);
    }
    texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect()
}

/// JSON with all beyond ASCII escaped, as a header may have it.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

pub(super) fn not_ready() -> Problem {
    Problem::new(
        Kind::NotReady,
        "generations and commits are still being read; /readyz tells when answers are complete",
    )
}
