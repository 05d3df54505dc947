//! Reading a body: bounded in size and time, of a content type that is known.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use common::limits::BODY_TIMEOUT;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::{Kind, Problem};

/// Checks that the body is of one of `allowed`, if the request says what it is of, and not compressed.
pub(super) fn check_content_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let detail = format!("the content encoding is `{encoding}`, must be identity: send the body as it is");
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = String::from_utf8_lossy(value.as_bytes());
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if allowed.contains(&essence.as_str()) {
        return Ok(());
    }
    let detail = format!("the content type is `{essence}`, must be {}", allowed.join(" or "));
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

/// The whole body, of at most `limit` bytes, which the key `setting` of the pipeline file says.
pub(super) async fn read(body: Body, limit: usize, setting: &str) -> Result<Bytes, Problem> {
    let reading = Limited::new(body, limit).collect();
    let read = tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| {
        Problem::new(Kind::TimedOut, format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()))
    })?;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let detail = format!("the body is larger than the {limit} bytes allowed (`serving.{setting}`)");
            Problem::new(Kind::BodyTooLarge, detail)
        }
        false => Problem::new(Kind::BodyIncomplete, error.to_string()),
    })
}
