//! Problem documents (RFC 9457): what every answer that is not a success looks like, and the one place where errors become
//! statuses. A `type` never changes its meaning.

use axum::{
    Json,
    extract::rejection::PathRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::query::{self, FieldError};

/// The kinds of problem. Their `type` is `urn:highwater:problem:` and their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidJson,
    InvalidQuery,
    InvalidHeader,
    TooManyGroups,
    MeasureFailed,
    BodyTooLarge,
    RecordTooLarge,
    BodyIncomplete,
    UnsupportedMediaType,
    NotAcceptable,
    CursorGone,
    Unauthorized,
    Forbidden,
    TooManyRequests,
    UnknownRoute,
    UnknownView,
    UnknownSource,
    MethodNotAllowed,
    OutOfSequence,
    NotReady,
    TimedOut,
    Busy,
    LogFailed,
    StoreFailed,
    Internal,
}

impl Kind {
    /// Its status, name and title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid-json", "The body is not JSON"),
            Self::InvalidQuery => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-query", "The query has invalid fields"),
            Self::InvalidHeader => (StatusCode::BAD_REQUEST, "invalid-header", "A header is invalid"),
            Self::TooManyGroups => {
                (StatusCode::UNPROCESSABLE_ENTITY, "too-many-groups", "The answer would be too large")
            }
            Self::MeasureFailed => (StatusCode::UNPROCESSABLE_ENTITY, "measure-failed", "A measure has no value"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::RecordTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "record-too-large", "A record is too large"),
            Self::BodyIncomplete => (StatusCode::BAD_REQUEST, "body-incomplete", "The body ended early"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not supported")
            }
            Self::NotAcceptable => {
                (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "There is no such form of the answer")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token is not for this"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::CursorGone => (StatusCode::GONE, "cursor-gone", "The cursor is not held any more"),
            Self::UnknownView => (StatusCode::NOT_FOUND, "unknown-view", "There is no such view"),
            Self::UnknownRoute => (StatusCode::NOT_FOUND, "unknown-route", "There is nothing here"),
            Self::UnknownSource => (StatusCode::NOT_FOUND, "unknown-source", "There is no such source"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here")
            }
            Self::OutOfSequence => (StatusCode::CONFLICT, "out-of-sequence", "Rows in between are missing"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Still catching up"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "The request took too long"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many queries at once"),
            Self::LogFailed => (StatusCode::SERVICE_UNAVAILABLE, "log-failed", "The log failed"),
            Self::StoreFailed => (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "The store failed"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of ours"),
        }
    }
}

/// A problem, as it is sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    #[serde(skip)]
    kind: Kind,
    /// What kind it is: `urn:highwater:problem:` and its name, which never changes its meaning.
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    status: u16,
    /// What is wrong, and what is allowed.
    detail: String,
    /// Of a query, every field that is wrong.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// For [`Kind::OutOfSequence`]: the number of the row that is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_row: Option<u64>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, name, title) = kind.parts();
        Self {
            kind,
            type_uri: format!("urn:highwater:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            next_row: None,
        }
    }

    /// What is wrong.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A fault of ours: the log has the cause, the answer does not.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed by a fault of ours");
        Self::new(Kind::Internal, "the cause is in the log of the server")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<query::Error> for Problem {
    fn from(error: query::Error) -> Self {
        let detail = error.to_string();
        match error {
            query::Error::Json(_) => Self::new(Kind::InvalidJson, detail),
            query::Error::Invalid(errors) => Self { errors, ..Self::new(Kind::InvalidQuery, detail) },
            query::Error::TooManyGroups { .. } => Self::new(Kind::TooManyGroups, detail),
            query::Error::Filter(_) => {
                let errors = vec![FieldError::new("where", detail.clone())];
                Self { errors, ..Self::new(Kind::InvalidQuery, detail) }
            }
            query::Error::Measure(common::measure::Error::Overflow { .. }) => Self::new(Kind::MeasureFailed, detail),
            query::Error::Measure(error) => Self::internal(&error),
            query::Error::Arrow(error) => Self::internal(&error),
            query::Error::Chunk(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a chunk of the generation could not be read"
                );
                Self::new(Kind::StoreFailed, detail)
            }
            query::Error::Gone(_) => {
                let errors = vec![FieldError::new("cursor", detail.clone())];
                Self { errors, ..Self::new(Kind::CursorGone, detail) }
            }
            query::Error::RowsOnly(_) => Self::new(Kind::NotAcceptable, detail),
            query::Error::Sql(_) => {
                let errors = vec![FieldError::new("sql", detail.clone())];
                Self { errors, ..Self::new(Kind::InvalidQuery, detail) }
            }
            query::Error::Cancelled => Self::new(Kind::TimedOut, detail),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(Kind::UnknownRoute, error.body_text())
    }
}

impl From<common::log::Error> for Problem {
    fn from(error: common::log::Error) -> Self {
        match error {
            common::log::Error::OutOfSequence { due, .. } => {
                Self { next_row: Some(due), ..Self::new(Kind::OutOfSequence, error.to_string()) }
            }
            common::log::Error::TooLarge { .. } => Self::new(Kind::RecordTooLarge, error.to_string()),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "the log failed to take records");
                Self::new(Kind::LogFailed, "nothing of the request counts as done; send it again")
            }
        }
    }
}
