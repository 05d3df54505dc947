//! The API through the router, and a few times through a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, sync::Mutex};

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
use tower::ServiceExt;

use super::*;

mod grafana;
mod openapi;
use crate::{
    testing::{commit, delta, generation, positions, source, views, views_by_name},
    tiers::{Change, Feed, Tiers},
};

fn served() -> Arc<Served> {
    let five = positions(&[(0, 5)]);
    let changes = [
        Change::Commit(source(), commit(1, &positions(&[]), &five)),
        Change::Generation(generation(3, 1, &five, &["delays", "totals"])),
        Change::Delta(delta(0, 1, 5, 9)),
    ];
    let empty = Tiers::new(&views(), Feed::Silent);
    let served = Arc::new(Served::new(views_by_name()));
    served.show(Arc::new(changes.into_iter().fold(empty, |tiers, change| tiers.apply(change).unwrap())));
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

#[tokio::test]
async fn a_query_is_answered_with_columns_rows_provenance_and_stats() {
    let response = send(app(), post("/v1/query", "application/json", r#"{"view":"totals"}"#)).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let mut answer = json_of(response).await;
    answer["stats"]["elapsed_us"] = json!(0);
    let expected = json!({
        "columns": [{"name": "departures", "type": "int64", "exact": true}],
        "rows": [[9]],
        "provenance": {
            "generation": 3, "mark": {"departures": 1}, "head": {"departures": 1}, "positions": {"departures": {"0": 9}},
            "as_of": "2013-02-01T00:00:00.000009Z", "lag_records": null, "complete": true, "warnings": []
        },
        "stats": {"elapsed_us": 0, "rows_merged": answer["stats"]["rows_merged"], "groups": 1}
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_bad_query_is_a_problem_that_points_at_the_field() {
    let query = post("/v1/query", "application/json; charset=utf-8", r#"{"view":"totals","limit":-1}"#);
    let told = problem(app(), query, 422, "invalid-query").await;
    assert_eq!(told["errors"][0]["pointer"], "#/limit");
    let told = problem(app(), post("/v1/query", "application/json", "{\"view\": tot"), 400, "invalid-json").await;
    assert!(told["detail"].as_str().unwrap().contains("line 1 column"), "{told}");
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

#[tokio::test]
async fn a_link_asks_what_a_post_does() {
    let link = "/v1/views/delays?dimensions=origin&measures=departures,mean_delay&order_by=-departures&where=origin%20%3C%3E%20'EWR'";
    let linked = send(app(), get_of(link)).await;
    assert_eq!(linked.headers()[header::CACHE_CONTROL], "no-cache");
    let body = json!({
        "view": "delays", "dimensions": ["origin"], "measures": ["departures", "mean_delay"], "where": "origin <> 'EWR'",
        "order_by": [{"by": "departures", "desc": true}]
    });
    let posted = json_of(send(app(), post("/v1/query", "application/json", body.to_string())).await).await;
    let linked = json_of(linked).await;
    assert_eq!((&linked["rows"], &linked["columns"]), (&posted["rows"], &posted["columns"]));
    let told = problem(app(), get_of("/v1/views/delays?limit=few&colour=red"), 422, "invalid-query").await;
    assert_eq!(told["errors"].as_array().unwrap().len(), 2, "{told}");
    problem(app(), get_of("/v1/views/nothing"), 404, "unknown-view").await;
}

#[tokio::test]
async fn rows_come_in_the_form_that_is_accepted() {
    let path = "/v1/views/delays?grain=day&dimensions=carrier&measures=departures,top_origins,fares&limit=2";
    let whole = json_of(send(app(), get_of(path)).await).await;
    let (first, names) = (&whole["rows"][0], ["hour", "carrier", "departures", "top_origins", "fares"]);
    let lines = send(app(), asked(path, &[(header::ACCEPT, "application/x-ndjson")])).await;
    assert_eq!(lines.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let provenance: Value = serde_json::from_str(lines.headers()["highwater-provenance"].to_str().unwrap()).unwrap();
    assert_eq!(provenance["generation"], 3);
    let lines = text_of(lines).await;
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    for (at, name) in names.iter().enumerate() {
        assert_eq!(line[name], first[at]);
    }
    let table = text_of(send(app(), asked(path, &[(header::ACCEPT, "text/csv")])).await).await;
    assert!(table.starts_with("hour,carrier,departures,top_origins,fares\r\n2013-02-0"), "{table}");
    assert!(table.contains("\"[{\"\"count\"\":") || table.contains("\"[{\"\"value\"\":"), "{table}");
    let stream = send(app(), asked(path, &[(header::ACCEPT, "application/vnd.apache.arrow.stream")])).await;
    let bytes = stream.into_body().collect().await.unwrap().to_bytes();
    let batches: Vec<_> =
        arrow_ipc::reader::StreamReader::try_new(&*bytes, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    assert!(batches[0].schema_ref().metadata()["highwater.provenance"].contains("\"generation\":3"));
    problem(app(), asked(path, &[(header::ACCEPT, "image/png")]), 406, "not-acceptable").await;
    let totals = asked("/v1/views/delays?totals=true", &[(header::ACCEPT, "text/csv")]);
    problem(app(), totals, 406, "not-acceptable").await;
}

#[tokio::test]
async fn an_answer_is_sent_again_only_if_its_own_rows_changed() {
    let served = served();
    let app = || router(Arc::clone(&served), Telemetry::new());
    let change = |change: Change| {
        let tiers = Arc::unwrap_or_clone(served.tiers().unwrap()).apply(change).unwrap();
        served.show(Arc::new(tiers));
    };
    // The first day only; partition 0's offsets up to 9 are in it or not.
    let path = "/v1/views/delays?dimensions=origin&from=2013-02-01T00:00:00Z&to=2013-02-02T00:00:00Z";
    let first = send(app(), get_of(path)).await;
    let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let status = async |path: &str| send(app(), asked(path, &[(header::IF_NONE_MATCH, &etag)])).await.status();
    assert_eq!(status(path).await, StatusCode::NOT_MODIFIED);
    assert_eq!(status("/v1/views/delays?dimensions=carrier").await, StatusCode::OK);
    // The next generation covers more and says the same.
    change(Change::Commit(source(), commit(2, &positions(&[(0, 5)]), &positions(&[(0, 9)]))));
    change(Change::Generation(generation(4, 2, &positions(&[(0, 9)]), &["delays", "totals"])));
    assert_eq!(status(path).await, StatusCode::NOT_MODIFIED);
    let day =
        |offset| crate::testing::event_at(0, offset).time_us < crate::testing::START_US + 24 * crate::testing::HOUR_US;
    let (outside, inside) = ((9..).find(|o| !day(*o)).unwrap(), (9..).find(|o| day(*o)).unwrap());
    for (offset, expected) in [(outside.min(inside), !day(outside.min(inside))), (outside.max(inside), false)] {
        let from = served.tiers().unwrap().source(&source()).unwrap().reach()[&Partition(0)].0;
        let falls_outside = (from..=offset).all(|offset| !day(offset));
        change(Change::Delta(delta(0, 1, from, offset + 1)));
        let expected = expected && falls_outside;
        assert_eq!(status(path).await == StatusCode::NOT_MODIFIED, expected, "offset {offset}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_settings_and_are_named() {
    let limits =
        common::pipeline::QueryLimits { rows: 2, groups: 3, size: bytesize::ByteSize(100), ..Default::default() };
    let served = Served::new(views_by_name()).with_limits(limits);
    served.show(self::served().tiers().unwrap());
    let served = Arc::new(served);
    let ask = |body: String| post("/v1/query", "application/json", body);
    let app = || router(Arc::clone(&served), Telemetry::new());
    let told = problem(app(), ask(format!("{{\"view\":\"{}\"}}", "x".repeat(100))), 413, "body-too-large").await;
    assert!(told["detail"].as_str().unwrap().contains("`serving.query_size`"), "{told}");
    let told =
        problem(app(), ask(json!({"view": "delays", "grain": "hour"}).to_string()), 422, "too-many-groups").await;
    assert!(told["detail"].as_str().unwrap().contains("`serving.query_groups`"), "{told}");
    let told = problem(app(), ask(json!({"view": "delays", "limit": 3}).to_string()), 422, "invalid-query").await;
    assert!(told["detail"].as_str().unwrap().contains("`serving.query_rows`"), "{told}");
    let cut = json_of(send(app(), ask(json!({"view": "delays", "dimensions": ["origin"]}).to_string())).await).await;
    assert_eq!(cut["rows"].as_array().unwrap().len(), 2);
    assert!(cut["provenance"]["warnings"][0].as_str().unwrap().contains("`serving.query_rows`"), "{cut}");
}

#[tokio::test]
async fn a_cursor_of_a_generation_that_is_gone_is_a_410() {
    let served = served();
    let body = |cursor: Option<&str>| {
        let query = json!({"view": "delays", "dimensions": ["origin"], "limit": 1, "paged": true, "cursor": cursor});
        post("/v1/query", "application/json", query.to_string())
    };
    let first = send(router(Arc::clone(&served), Telemetry::new()), body(None)).await;
    assert!(!first.headers().contains_key(header::ETAG));
    let next = json_of(first).await["next"].as_str().unwrap().to_owned();
    let second = json_of(send(router(Arc::clone(&served), Telemetry::new()), body(Some(&next))).await).await;
    assert_eq!(second["rows"].as_array().unwrap().len(), 1);
    let generation = Change::Generation(generation(4, 1, &positions(&[(0, 5)]), &["delays", "totals"]));
    served.show(Arc::new(Arc::unwrap_or_clone(served.tiers().unwrap()).apply(generation).unwrap()));
    let told = problem(router(served, Telemetry::new()), body(Some(&next)), 410, "cursor-gone").await;
    assert!(told["detail"].as_str().unwrap().contains("generation 3"), "{told}");
    assert_eq!(told["errors"][0]["pointer"], "#/cursor");
}

#[tokio::test]
async fn wrong_routes_methods_and_content_types_are_problems() {
    let told = problem(app(), get_of("/v1/nothing"), 404, "unknown-route").await;
    assert_eq!(told["detail"], "there is no GET /v1/nothing");
    let response = send(app(), get_of("/v1/query")).await;
    assert_eq!(response.headers()[header::ALLOW], "POST");
    is_problem(&response, StatusCode::METHOD_NOT_ALLOWED);
    let response = send(app(), post("/v1/views", "application/json", "{}")).await;
    is_problem(&response, StatusCode::METHOD_NOT_ALLOWED);
    let response = send(app(), get_of("/v1/sources/departures/events")).await;
    is_problem(&response, StatusCode::METHOD_NOT_ALLOWED);
    let told = problem(app(), post("/v1/query", "text/csv", "{}"), 415, "unsupported-media-type").await;
    assert!(told["detail"].as_str().unwrap().contains("must be application/json"), "{told}");
    let json = post("/v1/sources/departures/events", "application/json", "{}");
    problem(app(), json, 415, "unsupported-media-type").await;
    let mut compressed = events("\x1f");
    compressed.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    let told = problem(app(), compressed, 415, "unsupported-media-type").await;
    assert!(told["detail"].as_str().unwrap().contains("identity"), "{told}");
    problem(app(), get_of("/v1/sources/%ff/producers/p"), 404, "unknown-route").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let long = format!("{{\"view\":\"{}\"}}", "x".repeat(70_000));
    problem(app(), post("/v1/query", "application/json", long), 413, "body-too-large").await;
    let (app, log) = whole(Noted::default(), 10);
    let told = problem(app, events("{\"a\":12345678}"), 413, "body-too-large").await;
    assert!(told["detail"].as_str().unwrap().contains("10 bytes"), "{told}");
    assert!(log.appends.lock().unwrap().is_empty());
}

#[tokio::test]
async fn before_catching_up_nothing_is_answered() {
    let app = || router(Arc::new(Served::new(views_by_name())), Telemetry::new());
    for path in ["/readyz", "/v1/status"] {
        let response = send(app(), get_of(path)).await;
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        is_problem(&response, StatusCode::SERVICE_UNAVAILABLE);
    }
    problem(app(), post("/v1/query", "application/json", r#"{"view":"totals"}"#), 503, "not-ready").await;
    assert_eq!(send(app(), get_of("/livez")).await.status(), StatusCode::OK);
    assert_eq!(send(app(), get_of("/v1/views")).await.status(), StatusCode::OK);
    let metrics = send(app(), get_of("/metrics")).await;
    assert_eq!(metrics.headers()[header::CONTENT_TYPE], telemetry::CONTENT_TYPE);
    let metrics = metrics.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&metrics).contains("\nhighwater_generation 0\n"));
    assert_eq!(send(self::app(), get_of("/readyz")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn views_and_status_say_what_there_is() {
    let views = json_of(send(app(), get_of("/v1/views")).await).await;
    let totals = &views["views"][1];
    assert_eq!(
        (&totals["name"], &totals["grain"], &totals["source"]),
        (&json!("totals"), &json!("day"), &json!("departures"))
    );
    assert_eq!(totals["measures"], json!([{"name": "departures", "type": "int64", "exact": true, "additive": true}]));
    let status = json_of(send(app(), get_of("/v1/status")).await).await;
    assert_eq!(status["generation"], json!({"number": 3, "created_at": "2013-02-01T00:00:00Z"}));
    let of_source = &status["sources"][0];
    assert_eq!((&of_source["mark"], &of_source["head"]), (&json!(1), &json!(1)));
    assert_eq!((&of_source["covered"], &of_source["positions"]), (&json!({"0": 5}), &json!({"0": 9})));
}

#[tokio::test]
async fn l7_events_are_appended_whole_and_answered_with_positions() {
    let (app, log) = whole(Noted::default(), 1 << 20);
    let response = send(app, events("{\"carrier\":\"UA\"}\n\nbroken\n{\"carrier\":null}")).await;
    let answer = json_of(response).await;
    let positions = json!([{"partition": 0, "from": 0, "to": 3}]);
    assert_eq!(answer, json!({"accepted": 3, "duplicates": 0, "positions": positions}));
    let appends = log.appends.lock().unwrap();
    let (records, run) = &appends[0];
    assert_eq!(run, &None);
    let keys: Vec<_> = records.iter().map(|r| r.key.clone()).collect();
    assert_eq!(keys, [Some(Bytes::from_static(b"UA")), None, None]);
    assert_eq!(records[1].value.as_deref(), Some(b"broken".as_slice()));
}

#[tokio::test]
async fn a_body_of_a_format_that_is_no_text_is_one_record() {
    let log = Arc::new(Noted::default());
    let ingest = Ingest { log: Arc::clone(&log) as Arc<dyn EventLog>, key: None, lines: false };
    let app = router_with_ingest(served(), Telemetry::new(), [(source(), ingest)], 8 << 20);
    let path = "/v1/sources/departures/events";
    let body = Bytes::from_static(b"\0\n\xFF\n");
    let answer = json_of(send(app.clone(), post(path, "application/octet-stream", body.clone())).await).await;
    assert_eq!(answer["accepted"], 1);
    assert_eq!(log.appends.lock().unwrap()[0].0[0].value, Some(body));
    problem(app.clone(), events("{}"), 415, "unsupported-media-type").await;
    let large = vec![0; common::limits::RECORD_BYTES_MAX + 1];
    problem(app, post(path, "application/octet-stream", large), 413, "record-too-large").await;
}

fn numbered(producer: Option<&str>, row: Option<&str>) -> Request<Body> {
    let mut request = events("{\"n\":1}\n{\"n\":2}\n{\"n\":3}");
    let headers = [("highwater-producer", producer), ("highwater-row", row)];
    for (name, value) in headers {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    request
}

#[tokio::test]
async fn a_producer_numbers_its_rows_and_asks_where_it_stands() {
    let answer = json_of(send(app(), numbered(Some("replay"), Some("5"))).await).await;
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(1), &json!(2)));
    let told = problem(app(), numbered(Some("replay"), Some("9")), 409, "out-of-sequence").await;
    assert_eq!(told["next_row"], 7);
    for (producer, row) in [(Some("p"), None), (None, Some("1")), (Some("p"), Some("x")), (Some(""), Some("1"))] {
        problem(app(), numbered(producer, row), 400, "invalid-header").await;
    }
    let answer = json_of(send(app(), get_of("/v1/sources/departures/producers/replay")).await).await;
    assert_eq!(answer, json!({"next_row": 7}));
    problem(app(), get_of("/v1/sources/trains/producers/replay"), 404, "unknown-source").await;
}

#[tokio::test]
async fn events_that_cannot_be_taken_are_refused_whole() {
    let told =
        problem(app(), post("/v1/sources/trains/events", "application/x-ndjson", "{}"), 404, "unknown-source").await;
    assert!(told["detail"].as_str().unwrap().contains("there are departures"), "{told}");
    let (app, log) = whole(Noted::default(), 8 << 20);
    let long = format!("{{}}\n\n{}\n", "x".repeat(RECORD_BYTES_MAX + 1));
    let told = problem(app, events(long), 413, "record-too-large").await;
    assert!(told["detail"].as_str().unwrap().contains("line 3"), "{told}");
    assert!(log.appends.lock().unwrap().is_empty());
    let (app, _) = whole(Noted { fails: true, ..Noted::default() }, 1 << 20);
    let told = problem(app, events("{}"), 503, "log-failed").await;
    assert!(!told["detail"].as_str().unwrap().contains("fire"), "{told}");
}

#[tokio::test]
async fn a_body_of_blank_lines_is_no_events() {
    let answer = json_of(send(app(), events("\n \r\n")).await).await;
    assert_eq!(answer, json!({"accepted": 0, "duplicates": 0, "positions": []}));
}

#[tokio::test]
async fn the_page_asks_nobody_but_this_server() {
    let response = send(app(), get_of("/")).await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"));
    let page = response.into_body().collect().await.unwrap().to_bytes();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
    let files: Vec<&str> = page.split('"').filter(|part| part.starts_with("/page/")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(send(app(), get_of(file)).await.status(), StatusCode::OK, "{file}");
    }
    for file in ["page", "api", "chart", "format"] {
        let script =
            send(app(), get_of(&format!("/page/{file}.js"))).await.into_body().collect().await.unwrap().to_bytes();
        let script = std::str::from_utf8(&script).unwrap();
        let addresses = script.matches("://").count() - script.matches("\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, 0, "{file}.js names an address");
    }
}

/// Serves the whole API on a loopback socket until the token is cancelled.
async fn listening() -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app(), stop.clone()));
    (address, stop, serving)
}

#[tokio::test]
async fn a_socket_answers_and_stops_when_told() {
    let (address, stop, serving) = listening().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask =
        client.post(format!("http://{address}/v1/query")).json(&json!({"view": "delays", "dimensions": ["carrier"]}));
    let answer: Value = ask.send().await.unwrap().json().await.unwrap();
    let total: i64 = answer["rows"].as_array().unwrap().iter().map(|row| row[1].as_i64().unwrap()).sum();
    assert_eq!(total, 9);
    let sent = client.post(format!("http://{address}/v1/sources/departures/events")).body("{\"a\":1}\n");
    assert_eq!(sent.send().await.unwrap().status().as_u16(), 200);
    drop(client);
    stop.cancel();
    serving.await.unwrap().unwrap();
}

fn settings(per_second: Option<u32>) -> common::pipeline::Serving {
    use common::pipeline::{Role, Serving, Token};
    // The hashes of `reader`, `board`, `writer` and `root`, as sha256sum prints them.
    let token = |name: &str, hash: &str, role, views: Option<&str>| {
        let byte = |at: usize| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
        let views = views.map(|view| [view.to_owned()].into());
        Token { name: name.to_owned(), sha256: std::array::from_fn(byte), role, views }
    };
    let tokens = vec![
        token("reader", READER, Role::Read, None),
        token("board", BOARD, Role::Read, Some("totals")),
        token("writer", WRITER, Role::Write, None),
        token("root", ROOT, Role::Admin, None),
    ];
    Serving { tokens, requests_per_second: per_second, ..Serving::default() }
}

const READER: &str = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";
const BOARD: &str = "859169b38185780daa5497983ff20d2994390058d8a71f2847ac7846f970971e";
const WRITER: &str = "b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5";
const ROOT: &str = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2";

fn with_token(mut request: Request<Body>, token: &str) -> Request<Body> {
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_token_may_what_its_role_says_and_no_more() {
    let app = || guarded(app(), &settings(None));
    let query = || post("/v1/query", "application/json", r#"{"view":"delays"}"#);
    let sql = || post("/v1/sql", "application/json", r#"{"sql":"SELECT sum(departures) FROM delays"}"#);
    let response = send(app(), query()).await;
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    is_problem(&response, StatusCode::UNAUTHORIZED);
    problem(app(), with_token(query(), "guessed"), 401, "unauthorized").await;
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(send(app(), get_of(path)).await.status(), StatusCode::OK, "{path}");
    }
    let allowed =
        async |request: Request<Body>, token: &str| send(app(), with_token(request, token)).await.status().as_u16();
    for (token, expected) in [
        ("reader", [200, 403, 403, 200]),
        ("board", [403, 403, 403, 403]),
        ("writer", [403, 200, 403, 403]),
        ("root", [200, 200, 200, 200]),
    ] {
        let got = [
            allowed(query(), token).await,
            allowed(events("{\"a\":1}"), token).await,
            allowed(get_of("/metrics"), token).await,
            allowed(sql(), token).await,
        ];
        assert_eq!(got, expected, "{token}");
    }
    assert_eq!(allowed(get_of("/v1/views/totals"), "board").await, 200);
    assert_eq!(allowed(get_of("/v1/live?view=delays"), "board").await, 403);
    let views = json_of(send(app(), with_token(get_of("/v1/views"), "board")).await).await;
    assert_eq!(views["views"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_requests_of_one_token_are_refused() {
    let app = guarded(app(), &settings(Some(1)));
    let ask = |token| with_token(get_of("/v1/views"), token);
    assert_eq!(send(app.clone(), ask("reader")).await.status(), StatusCode::OK);
    let told = problem(app.clone(), ask("reader"), 429, "too-many-requests").await;
    assert!(told["detail"].as_str().unwrap().contains("`serving.requests_per_second`"), "{told}");
    assert_eq!(send(app, ask("root")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_are_counted_and_have_an_id() {
    let app = app();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced =
        send(app.clone(), asked("/v1/views", &[(header::HeaderName::from_static("traceparent"), trace)])).await;
    assert_eq!(traced.headers()["x-request-id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(traced.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let (one, two) = (send(app.clone(), get_of("/livez")).await, send(app.clone(), get_of("/nothing")).await);
    assert_ne!(one.headers()["x-request-id"], two.headers()["x-request-id"]);
    let metrics = text_of(send(app, get_of("/metrics")).await).await;
    for line in [
        "highwater_http_requests_total{route=\"/v1/views\",method=\"GET\",status=\"200\"} 1",
        "highwater_http_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "highwater_live_listeners 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_statement_is_answered_in_every_form() {
    let ask = |accept: &'static str, sql: &str| {
        let mut request = post("/v1/sql", "application/json", json!({"sql": sql, "params": ["JFK"]}).to_string());
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        request
    };
    let sql = "SELECT origin, MEASURE(departures) AS n FROM delays WHERE origin = $1 GROUP BY origin";
    let whole = json_of(send(app(), ask("application/json", sql)).await).await;
    assert_eq!(whole["columns"], json!([{"name": "origin", "type": "string"}, {"name": "n", "type": "int64"}]));
    assert_eq!((&whole["provenance"]["generation"], &whole["provenance"]["complete"]), (&json!(3), &json!(true)));
    let table = text_of(send(app(), ask("text/csv", sql)).await).await;
    assert_eq!(table, format!("origin,n\r\nJFK,{}\r\n", whole["rows"][0][1]));
    let told = problem(app(), ask("*/*", "SELECT * FROM delay"), 422, "invalid-query").await;
    assert_eq!(told["errors"][0]["pointer"], "#/sql");
    assert!(told["detail"].as_str().unwrap().contains("Line: 1, Column: 15"), "{told}");
}

#[tokio::test]
async fn live_push_begins_with_a_snapshot() {
    let response = send(app(), get_of("/v1/live?view=delays&dimensions=origin")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let first = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(first.starts_with("event: snapshot\nid: 1m."), "{first}");
    problem(app(), get_of("/v1/live"), 422, "invalid-query").await;
    problem(app(), get_of("/v1/live?view=delays&paged=true"), 422, "invalid-query").await;
    problem(app(), get_of("/v1/live?view=nothing"), 422, "invalid-query").await;
}
