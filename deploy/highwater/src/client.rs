//! A client of a running Highwater: what `query` and `replay` talk through.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, bail};
use common::{
    log::ProducerRun,
    names::SourceName,
    position::{Partition, Position},
};
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use url::Url;

/// What a body of lines of JSON is called.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Talks to one Highwater.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// What Highwater says of an append of events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Accepted {
    /// Events appended now.
    pub(crate) accepted: u64,
    /// Events that had been appended before.
    pub(crate) duplicates: u64,
    /// Where the events are.
    pub(crate) positions: Vec<Accepting>,
}

/// A range of offsets that events were given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Accepting {
    pub(crate) partition: Partition,
    /// The offset after the last one.
    pub(crate) to: Position,
}

/// The part of an RFC 9457 problem document that a person needs.
#[derive(Debug, Deserialize)]
struct Problem {
    title: String,
    detail: Option<String>,
    pointer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Producer {
    next_row: u64,
}

/// The environment variable that has the token to send, where the server asks for one.
const TOKEN: &str = "HIGHWATER_TOKEN";

fn http() -> anyhow::Result<reqwest::Client> {
    let mut headers = HeaderMap::new();
    if let Ok(token) = std::env::var(TOKEN) {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).context("HIGHWATER_TOKEN is no token")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(reqwest::Client::builder().default_headers(headers).build()?)
}

impl Client {
    /// A client of the Highwater at `url`, or else of the one that `pipeline` describes.
    pub(crate) fn new(url: Option<Url>, pipeline: &Path) -> anyhow::Result<Self> {
        match url {
            Some(base) => Self::at(base),
            None => Self::of(crate::check::load(pipeline)?.serving.listen),
        }
    }

    /// A client of the Highwater at `base`.
    pub(crate) fn at(base: Url) -> anyhow::Result<Self> {
        Ok(Self { http: http()?, base })
    }

    /// A client of the Highwater that listens at `address`.
    pub(crate) fn of(address: SocketAddr) -> anyhow::Result<Self> {
        let base = Url::parse(&format!("http://{address}")).context("a socket address makes a URL")?;
        Self::at(base)
    }

    /// Posts a query and returns the answer's body.
    pub(crate) async fn query(&self, body: &serde_json::Value) -> anyhow::Result<bytes::Bytes> {
        let url = self.base.join("v1/query")?;
        let response = self.sent(self.http.post(url).json(body)).await?;
        Ok(response.bytes().await?)
    }

    /// Posts a query and returns the answer as a stream of Arrow, and the cursor of the rows after it, if there are any.
    pub(crate) async fn query_arrow(&self, body: &serde_json::Value) -> anyhow::Result<(bytes::Bytes, Option<String>)> {
        let url = self.base.join("v1/query")?;
        let request = self.http.post(url).json(body).header("accept", "application/vnd.apache.arrow.stream");
        let response = self.sent(request).await?;
        let next = response.headers().get("highwater-next").map(|next| next.to_str().map(ToOwned::to_owned));
        let next = next.transpose().context("the cursor is no text")?;
        Ok((response.bytes().await?, next))
    }

    /// Whether anybody answers there.
    pub(crate) async fn is_there(&self) -> bool {
        let Ok(url) = self.base.join("livez") else { return false };
        self.http.get(url).send().await.is_ok_and(|response| response.status().is_success())
    }

    /// The number of the next row due from `producer`.
    pub(crate) async fn next_row(&self, source: &SourceName, producer: &str) -> anyhow::Result<u64> {
        let mut url = self.base.join("v1/sources")?;
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("{} cannot be a base URL", self.base))?.extend([
            source.as_str(),
            "producers",
            producer,
        ]);
        let response = self.sent(self.http.get(url)).await?;
        Ok(response.json::<Producer>().await?.next_row)
    }

    /// Appends `body`, which is of this type, to `source` as rows of a producer's run; they are durable when this returns.
    pub(crate) async fn append(
        &self,
        source: &SourceName,
        content_type: &str,
        body: Vec<u8>,
        run: &ProducerRun,
    ) -> anyhow::Result<Accepted> {
        let url = self.base.join(&format!("v1/sources/{source}/events"))?;
        let request = self
            .http
            .post(url)
            .header("content-type", content_type)
            .header("highwater-producer", &run.producer)
            .header("highwater-row", run.first_row)
            .body(body);
        Ok(self.sent(request).await?.json().await?)
    }

    async fn sent(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let response = request
            .send()
            .await
            .with_context(|| format!("no Highwater answers at {}; start one with `highwater run`", self.base))?;
        if response.status().is_success() {
            return Ok(response);
        }
        bail!(problem(response.status(), &response.text().await?))
    }
}

/// A problem document as one line: what is wrong, where, and what is allowed.
fn problem(status: StatusCode, body: &str) -> String {
    match serde_json::from_str::<Problem>(body) {
        Ok(Problem { title, detail, pointer }) => {
            let place = pointer.map(|p| format!("{p}: ")).unwrap_or_default();
            let detail = detail.map(|d| format!(": {d}")).unwrap_or_default();
            format!("{place}{title}{detail}")
        }
        Err(_) => format!("{status}: {body}"),
    }
}
