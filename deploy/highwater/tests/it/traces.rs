//! Spans at a collector: a small real HTTP server that keeps what the program sends it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message;

use crate::{
    commands::{get, replay, shop},
    process::{Server, fails, highwater},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Where it listens, and the bodies of the requests to `/v1/traces`.
fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    let (bodies, received) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let bodies = bodies.clone();
            thread::spawn(move || {
                while let Some(body) = take(&connection) {
                    bodies.send(body).expect("the test waits for it");
                }
            });
        }
    });
    (format!("http://{address}"), received)
}

/// The body of the next request of a connection; `None` at its end.
fn take(mut connection: &TcpStream) -> Option<Vec<u8>> {
    let mut lines = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("the body has a length");
    let mut body = vec![0; length.parse().expect("the length is a number")];
    lines.read_exact(&mut body).ok()?;
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some(body)
}

#[test]
fn spans_of_requests_queries_and_commits_come_to_a_collector() {
    let folder = shop();
    let (endpoint, received) = collector();
    let mut command = highwater(["run", "--log-format", "json", "--pipeline"]);
    command.arg(folder.path().join("pipeline.toml")).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let mut server = Server::of(command);
    replay(&server, folder.path());
    server.wait_for("committed");
    let answer = get(&server, "/v1/views/sales", &format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n"));
    assert!(answer.contains(&format!("x-request-id: {TRACE}\r\n")), "{answer}");
    // What waits is sent at the end.
    server.stop("TERM");

    let spans: Vec<Span> = received
        .try_iter()
        .map(|body| ExportTraceServiceRequest::decode(body.as_slice()).expect("it is OTLP"))
        .flat_map(|request| request.resource_spans)
        .inspect(|of_resource| {
            let name = of_resource.resource.iter().flat_map(|resource| &resource.attributes);
            assert!(name.clone().any(|a| a.key == "service.name" && format!("{a:?}").contains("highwater")));
        })
        .flat_map(|of_resource| of_resource.scope_spans)
        .flat_map(|of_scope| of_scope.spans)
        .collect();
    let traced = |name: &str| spans.iter().find(|s| s.name == name && hex::encode(&s.trace_id) == TRACE);
    let request = traced("request").expect("the request is a span in the trace of its caller");
    assert_eq!(hex::encode(&request.parent_span_id), CALLER);
    let query = traced("query").expect("the query is a span");
    assert_eq!(query.parent_span_id, request.span_id);
    assert!(spans.iter().any(|span| span.name == "commit"), "{spans:?}");
}

#[test]
fn a_collector_that_cannot_be_one_stops_the_start() {
    let said = fails(highwater(["check"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "::"));
    assert!(said.contains("traces cannot be sent where OTEL_EXPORTER_OTLP_ENDPOINT says"), "{said}");
}
