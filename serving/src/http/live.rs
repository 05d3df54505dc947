//! `GET /v1/live`: server-sent events about one question, see [`crate::live`].

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use common::limits::LIVE_HEARTBEAT;
use futures::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{
    Api,
    access::Asker,
    problem::{Kind, Problem},
};
use crate::{
    live::{Listener, Message},
    query::{FieldError, Query},
};

/// A comment: it keeps proxies from closing a stream that has nothing to say.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Told to one that was too slow; it begins again.
const RESET: Bytes = Bytes::from_static(b"event: reset\ndata: {}\n\n");

/// Tells the answer to a question, and what changes of it.
#[utoipa::path(
    get,
    path = "/v1/live",
    params(
        ("view" = String, Query, description = "The view asked; all other parameters of a link may follow"),
        ("last-event-id" = Option<String>, Header, description = "The last `id` that was told")
    ),
    responses((status = 200, description = "Events `snapshot`, `change`, `generation` and `reset`", body = String,
        content_type = "text/event-stream"))
)]
pub(super) async fn live(
    State(api): State<Api>,
    asker: Option<Extension<Asker>>,
    stop: Option<Extension<CancellationToken>>,
    RawQuery(parameters): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters: Vec<_> =
        url::form_urlencoded::parse(parameters.as_deref().unwrap_or_default().as_bytes()).collect();
    let view = parameters.iter().find(|(name, _)| name == "view").map(|(_, view)| view.as_ref());
    let view = view.ok_or_else(|| Problem::from(crate::query::Error::from(FieldError::new("view", "is missing"))))?;
    Asker::of(asker).may_read(view)?;
    let rest = parameters.iter().filter(|(name, _)| name != "view");
    let query = Query::from_parameters(view, rest.map(|(name, text)| (name.as_ref(), text.as_ref())))?;
    if query.paged || query.since.is_some() {
        let fault = FieldError::new(if query.paged { "paged" } else { "since" }, "is of single answers");
        return Err(crate::query::Error::from(fault).into());
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let listener = api.live.listen(&query, last).await?;
    let busy = || Problem::new(Kind::Busy, "nothing is served yet, or too many listen already");
    let stop = stop.map(|Extension(stop)| stop).unwrap_or_default();
    let stream = events(listener.ok_or_else(busy)?, stop);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

struct Telling {
    listener: Listener,
    waiting: VecDeque<Message>,
    /// The newest tiers that the listener has heard of.
    serial: u64,
    stop: CancellationToken,
    over: bool,
}

/// What a listener is told until it leaves, is too slow, or the server stops.
fn events(mut listener: Listener, stop: CancellationToken) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let waiting: VecDeque<Message> = std::mem::take(&mut listener.first).into();
    let serial = waiting.back().map_or(0, |message| message.serial);
    let telling = Telling { listener, waiting, serial, stop, over: false };
    stream::unfold(telling, |mut telling| async move {
        if telling.over {
            return None;
        }
        if let Some(first) = telling.waiting.pop_front() {
            return Some((Ok(first.event), telling));
        }
        loop {
            let received = tokio::select! {
                received = tokio::time::timeout(LIVE_HEARTBEAT, telling.listener.messages.recv()) => received,
                () = telling.stop.cancelled() => return None,
            };
            match received {
                Err(_) => return Some((Ok(HEARTBEAT), telling)),
                Ok(Ok(message)) if message.serial <= telling.serial => {}
                Ok(Ok(message)) => return Some((Ok(message.event), telling)),
                Ok(Err(RecvError::Lagged(_))) => {
                    telling.over = true;
                    return Some((Ok(RESET), telling));
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    })
}

/// Kept by every handler.
pub(super) type Live = Arc<crate::live::Hub>;
