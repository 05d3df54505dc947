//! The API through the router, and a few times through a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io, net::SocketAddr, sync::Mutex};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use common::{
    limits::RECORD_BYTES_MAX,
    log::{Appended, Error, EventLog, NewRecord, ProducerRun, Subscription},
    position::{OffsetRange, Partition, Position},
    telemetry,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::{
    testing::{self, change, commit, delta, generation, positions, source, views, views_by_name},
    tiers::Change,
};

mod access;
mod grafana;
mod ingest;
mod openapi;
mod page;
mod queries;
mod routes;
mod status;
mod swaps;

/// Five events in a generation, and four that were told of since.
fn served() -> Arc<Served> {
    let served = testing::served();
    change(&served, Change::Delta(delta(0, 1, 5, 9)));
    served
}

/// A log that notes what it is given, and fails as it is told.
#[derive(Debug, Default)]
struct Noted {
    appends: Mutex<Vec<(Vec<NewRecord>, Option<ProducerRun>)>>,
    fails: bool,
}

#[async_trait]
impl EventLog for Noted {
    fn topic(&self) -> &str {
        "departures"
    }

    async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        Ok(vec![Partition(0)])
    }

    async fn bounds(&self, _: Partition) -> Result<OffsetRange, Error> {
        unreachable!("taking events in asks for no bounds")
    }

    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error> {
        if self.fails {
            return Err(Error::Io { topic: "departures".to_owned(), action: "append", source: "disk on fire".into() });
        }
        if let Some(run) = run.as_ref().filter(|run| run.first_row > 7) {
            return Err(Error::OutOfSequence { producer: run.producer.clone(), got: run.first_row, due: 7 });
        }
        let duplicates = run.as_ref().map_or(0, |run| (7 - run.first_row).min(records.len() as u64));
        let to = records.len() as u64 - duplicates;
        self.appends.lock().unwrap().push((records, run));
        Ok(Appended { ranges: vec![(Partition(0), OffsetRange::new(Position(0), Position(to)))], duplicates })
    }

    async fn next_row(&self, _: &str) -> Result<u64, Error> {
        Ok(7)
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        unreachable!("taking events in does not read")
    }

    async fn trim(&self, _: Partition, _: Position) -> Result<(), Error> {
        unreachable!("taking events in does not trim")
    }
}

fn whole(log: Noted, body_limit: usize) -> (Router, Arc<Noted>) {
    let log = Arc::new(log);
    let ingest = Ingest {
        log: Arc::clone(&log) as Arc<dyn EventLog>,
        key: Some(common::schema::Path::member("carrier")),
        lines: true,
    };
    (router_with_ingest(served(), Telemetry::new(), [(source(), ingest)], body_limit), log)
}

fn app() -> Router {
    whole(Noted::default(), 1 << 20).0
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

fn events(body: impl Into<Body>) -> Request<Body> {
    post("/v1/sources/departures/events", "application/x-ndjson", body)
}

fn get_of(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn send(app: Router, request: Request<Body>) -> Response {
    app.oneshot(request).await.unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[track_caller]
fn is_problem(response: &Response, status: StatusCode) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}

/// The problem that `request` answers, which has this status and type.
async fn problem(app: Router, request: Request<Body>, status: u16, name: &str) -> Value {
    let response = send(app, request).await;
    is_problem(&response, StatusCode::from_u16(status).unwrap());
    let problem = json_of(response).await;
    assert_eq!(problem["type"], format!("urn:highwater:problem:{name}"), "{problem}");
    assert_eq!(problem["status"], status);
    problem
}

fn asked(path: &str, headers: &[(header::HeaderName, &str)]) -> Request<Body> {
    let mut request = get_of(path);
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

async fn text_of(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Serves the whole API on a loopback socket until the token is cancelled.
async fn listening() -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app(), Door::default(), stop.clone()));
    (address, stop, serving)
}
