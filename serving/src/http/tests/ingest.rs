//! Taking events in.

use super::*;

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

#[tokio::test]
async fn l7_whole_records_keep_their_keys_and_headers_whatever_the_format() {
    use common::log::records::{CONTENT_TYPE, encode};
    let log = Arc::new(Noted::default());
    let ingest = |lines| Ingest { log: Arc::clone(&log) as Arc<dyn EventLog>, key: None, lines };
    let record = NewRecord {
        key: Some(Bytes::from_static(b"k\n")),
        headers: vec![("trace".to_owned(), Bytes::from_static(b"7"))],
        value: Some(Bytes::from_static(b"\0\n")),
    };
    let mut body = Vec::new();
    encode(&record, &mut body);
    encode(&NewRecord::default(), &mut body);
    let path = "/v1/sources/departures/events";
    for lines in [true, false] {
        let app = router_with_ingest(served(), Telemetry::new(), [(source(), ingest(lines))], 8 << 20);
        let answer = json_of(send(app.clone(), post(path, CONTENT_TYPE, body.clone())).await).await;
        assert_eq!(answer["accepted"], 2);
        let cut = body[..body.len() - 1].to_vec();
        let told = problem(app.clone(), post(path, CONTENT_TYPE, cut), 400, "body-incomplete").await;
        assert!(told["detail"].as_str().unwrap().contains("record 2 is cut off"), "{told}");
        let mut large = Vec::new();
        let value = Some(Bytes::from(vec![0; RECORD_BYTES_MAX + 1]));
        encode(&NewRecord { value, ..NewRecord::default() }, &mut large);
        problem(app, post(path, CONTENT_TYPE, large), 413, "record-too-large").await;
    }
    let appends = log.appends.lock().unwrap();
    assert!(
        appends.len() == 2 && appends.iter().all(|(records, _)| *records == [record.clone(), NewRecord::default()])
    );
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
