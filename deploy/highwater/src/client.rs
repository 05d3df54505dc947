//! A client of a running Highwater: what `query` and `replay` talk through.

use std::{
    error::Error,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use common::{
    log::ProducerRun,
    names::SourceName,
    pipeline::Serving,
    position::{Partition, Position},
};
use reqwest::{
    Certificate, ClientBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use url::Url;

/// What a body of lines of JSON is called.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Where a running Highwater is, and whom it is believed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Reach {
    /// Where Highwater listens; the pipeline file says so if left out.
    #[arg(long, env = "HIGHWATER_URL")]
    pub(crate) url: Option<Url>,
    /// Certificates of authorities, in PEM, that its certificate may be from, besides those that this machine trusts.
    #[arg(long, value_name = "FILE", env = "HIGHWATER_CA")]
    pub(crate) ca: Option<PathBuf>,
}

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

fn http() -> anyhow::Result<ClientBuilder> {
    let mut headers = HeaderMap::new();
    if let Ok(token) = std::env::var(TOKEN) {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).context("HIGHWATER_TOKEN is no token")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(reqwest::Client::builder().default_headers(headers))
}

/// The certificates in `file`.
fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("the authorities in {shown} cannot be read"))?;
    let found = Certificate::from_pem_bundle(&text).with_context(|| format!("{shown} is no PEM"))?;
    ensure!(!found.is_empty(), "there is no certificate in {shown}: authorities are named in PEM");
    Ok(found)
}

/// Where a Highwater with these settings is reached that listens at `address`: over TLS by a name if it is on this machine, since
/// certificates are of names.
pub(crate) fn base(serving: &Serving, address: SocketAddr) -> String {
    let is_here = address.ip().is_loopback() || address.ip().is_unspecified();
    match serving.tls {
        None => format!("http://{address}"),
        Some(_) if is_here => format!("https://{LOCALHOST}:{}", address.port()),
        Some(_) => format!("https://{address}"),
    }
}

const LOCALHOST: &str = "localhost";

impl Reach {
    /// A client of the Highwater that is named here, or else of the one that the file `pipeline` describes.
    pub(crate) fn client(&self, pipeline: &Path) -> anyhow::Result<Client> {
        match &self.url {
            Some(url) => self.at(url.clone(), http()?),
            None => self.client_of(&crate::check::load(pipeline)?.serving),
        }
    }

    /// A client of the Highwater that is named here, or else of the one with these settings.
    pub(crate) fn client_of(&self, serving: &Serving) -> anyhow::Result<Client> {
        match &self.url {
            Some(url) => self.at(url.clone(), http()?),
            None => self.client_at(serving, serving.listen),
        }
    }

    /// A client of the Highwater with these settings that listens at `address`.
    pub(crate) fn client_at(&self, serving: &Serving, address: SocketAddr) -> anyhow::Result<Client> {
        let url = Url::parse(&base(serving, address)).context("a socket address makes a URL")?;
        // Whatever else the name stands for on this machine.
        self.at(url, http()?.resolve(LOCALHOST, address))
    }

    fn at(&self, base: Url, http: ClientBuilder) -> anyhow::Result<Client> {
        let authorities = self.ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let http = authorities.into_iter().fold(http, ClientBuilder::add_root_certificate);
        Ok(Client { http: http.build()?, base })
    }
}

impl Client {
    /// Where the other side is.
    pub(crate) fn base(&self) -> &Url {
        &self.base
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

    /// Whether anybody answers there, and is who it has to be.
    pub(crate) async fn is_there(&self) -> anyhow::Result<bool> {
        match self.http.get(self.base.join("livez")?).send().await {
            Ok(response) => Ok(response.status().is_success()),
            Err(error) if is_of_certificate(&error) => Err(self.unreached(error)),
            Err(_) => Ok(false),
        }
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
        let response = request.send().await.map_err(|error| self.unreached(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        bail!(problem(response.status(), &response.text().await?))
    }

    /// Why no answer came, and what to do.
    fn unreached(&self, error: reqwest::Error) -> anyhow::Error {
        let hint = if is_of_certificate(&error) {
            format!("the certificate shown at {} is not trusted; --ca names who signed it, --url its name", self.base)
        } else {
            format!("no Highwater answers at {}; start one with `highwater run`", self.base)
        };
        anyhow::Error::new(error).context(hint)
    }
}

/// Whether a request failed since the other side could not prove who it is.
fn is_of_certificate(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.any(|cause| cause.to_string().starts_with("invalid peer certificate"))
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
