//! Questions and their answers: what `POST /v1/query`, its link, SQL and live push have in common with nothing else.

use super::*;

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
    let change = |next: Change| change(&served, next);
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
    change(&served, Change::Generation(generation(4, 1, &positions(&[(0, 5)]), &["delays", "totals"])));
    let told = problem(router(served, Telemetry::new()), body(Some(&next)), 410, "cursor-gone").await;
    assert!(told["detail"].as_str().unwrap().contains("generation 3"), "{told}");
    assert_eq!(told["errors"][0]["pointer"], "#/cursor");
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
