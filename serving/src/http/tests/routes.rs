//! What is nowhere, and what is refused before it is read; and the whole of it behind a socket.

use super::*;

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
