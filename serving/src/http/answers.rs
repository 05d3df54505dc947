//! What every route that answers questions shares: how a question is read, how long it may take, and the forms of its answer.

use std::{collections::BTreeMap, time::Duration};

use axum::{body::Body, http::HeaderMap};
use bytes::Bytes;
use common::pipeline::QueryLimits;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema, response::Response},
};

use super::{
    Api, accept, body,
    problem::{Kind, Problem},
};
use crate::query::{Form, Whole};

/// The form that is accepted, and the JSON that is asked, of at most `serving.query_size`.
pub(super) async fn asked(headers: &HeaderMap, body: Body, limits: QueryLimits) -> Result<(Form, Bytes), Problem> {
    let form = accept::form(headers)?;
    body::check_content_type(headers, &["application/json"])?;
    let size = usize::try_from(limits.size.as_u64()).unwrap_or(usize::MAX);
    Ok((form, body::read(body, size, "query_size").await?))
}

/// What `work` comes to within `serving.query_timeout`. Its token is cancelled when nobody waits for it any more: when the time is
/// over, or the client has gone and this future is dropped.
pub(super) async fn within<T, F>(
    limits: QueryLimits,
    what: &str,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    let cancelled = CancellationToken::new();
    let _cancel = cancelled.clone().drop_guard();
    let timeout = Duration::try_from(limits.timeout).unwrap_or(Duration::MAX);
    tokio::time::timeout(timeout, work(cancelled)).await.map_err(|_| {
        let limit = limits.timeout;
        Problem::new(Kind::TimedOut, format!("the {what} took longer than {limit:#} (`serving.query_timeout`)"))
    })?
}

impl Api {
    /// Waits for a turn to compute.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| Problem::new(Kind::Busy, "the server is stopping"))
    }
}

/// An answer in each of its forms, for the description of the API.
pub(super) struct Answered;

impl IntoResponses for Answered {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let answer = Form::ALL.into_iter().fold(ResponseBuilder::new().description("The answer"), |response, form| {
            let schema: RefOr<Schema> = match form {
                Form::Json => Ref::from_schema_name(Whole::name()).into(),
                Form::Ndjson | Form::Csv | Form::Arrow => String::schema(),
            };
            response.content(form.content_type(), ContentBuilder::new().schema(Some(schema)).build())
        });
        [("200".to_owned(), answer.build().into())].into()
    }
}
