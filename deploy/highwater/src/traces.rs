//! Traces for a collector of OpenTelemetry, over OTLP (protobuf by HTTP): none unless the standard variables name where to.

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Subscriber, warn};
use tracing_subscriber::{Layer, registry::LookupSpan};

/// Where a collector is named, by the specification of OTLP exporters.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Sends spans to a collector, if one is named.
#[derive(Debug)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Reads `OTEL_EXPORTER_OTLP_ENDPOINT` and the other variables of the specification: headers, timeout, sampler, service name.
    /// Requests to the collector are made on `runtime`.
    pub(crate) fn start(runtime: &Handle) -> anyhow::Result<Self> {
        let Some(named) = ENDPOINTS.into_iter().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
        else {
            return Ok(Self(None));
        };
        let collector =
            Collector { client: reqwest::Client::new(), runtime: runtime.clone(), failing: AtomicBool::new(false) };
        let exporter = SpanExporter::builder().with_http().with_http_client(collector).build().with_context(|| {
            format!("traces cannot be sent where {named} says; allowed is, say, http://localhost:4318")
        })?;
        let resource = Resource::builder();
        let resource = match env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => resource,
            None => resource.with_service_name("highwater"),
        };
        Ok(Self(Some(
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build(),
        )))
    }

    /// What hears of the spans that the log's filter lets through.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> Option<impl Layer<S> + use<S>> {
        self.0.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("highwater")))
    }

    /// Sends what waits. To be called outside of the runtime, while it still runs.
    pub(crate) fn finish(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown()) {
            warn!(%error, "the last traces were not sent");
        }
    }
}

/// The way to the collector. The SDK asks from a thread of its own, which has no runtime.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last request failed: a collector that is away is told of once.
    failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.client.clone(), request)).await?;
        let failed = match &sent {
            Ok(response) => (!response.status().is_success()).then(|| response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.failing.swap(failed.is_some(), Ordering::Relaxed);
        if let Some(error) = failed.filter(|_| !was_failing) {
            warn!(error, "the collector takes no traces; they are dropped until it does");
        }
        sent
    }
}

async fn send(client: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let response = client.execute(request.try_into()?).await?;
    let mut answer = Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        headers.clone_from(response.headers());
    }
    Ok(answer.body(response.bytes().await?)?)
}
