//! What there is and how it stands.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use super::*;
use crate::tiers::{Feed, Tiers};

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

/// Counts the errors that are logged.
struct Errors(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn that_nothing_can_be_answered_yet_is_no_error_in_the_log() {
    let errors = Arc::new(AtomicUsize::new(0));
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(Errors(Arc::clone(&errors))));
    let app = router(Arc::new(Served::new(views_by_name())), Telemetry::new());
    let app = serve::served(app, &CancellationToken::new());
    assert_eq!(send(app, get_of("/readyz")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(errors.load(Ordering::Relaxed), 0);
    tracing::error!("the counter counts");
    assert_eq!(errors.load(Ordering::Relaxed), 1);
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
async fn l6_ready_is_who_misses_nothing_and_who_lives_is_another_question() {
    let served = Arc::new(Served::new(views_by_name()));
    let app = router(Arc::clone(&served), Telemetry::new());
    let is_ready = async || send(app.clone(), get_of("/readyz")).await.status() == StatusCode::OK;
    problem(app.clone(), get_of("/readyz"), 503, "not-ready").await;
    // All that is durable is read, but nobody has told of what is not.
    served.show(testing::served().tiers().unwrap());
    let told = problem(app.clone(), get_of("/readyz"), 503, "not-ready").await;
    assert!(told["detail"].as_str().unwrap().contains("has not spoken of departures"), "{told}");
    // A tail that does not chain: deltas between are missing.
    change(&served, Change::Delta(delta(0, 1, 7, 9)));
    let told = problem(app.clone(), get_of("/readyz"), 503, "not-ready").await;
    assert!(told["detail"].as_str().unwrap().contains("offsets [5, 9)"), "{told}");
    change(&served, Change::Delta(delta(0, 2, 5, 9)));
    assert!(is_ready().await);
    // What is missing for a moment leaves it ready, and its answers say it.
    change(&served, Change::Delta(delta(0, 3, 12, 13)));
    let answer = json_of(send(app.clone(), get_of("/v1/views/totals")).await).await;
    assert_eq!(answer["provenance"]["complete"], false);
    assert!(is_ready().await);
    assert_eq!(send(app.clone(), get_of("/livez")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_no_waiting_mends_does_not_keep_a_process_from_being_ready() {
    let served = Arc::new(Served::new(views_by_name()));
    served.show(Arc::new(Tiers::new(&views(), Feed::Absent)));
    let app = router(Arc::clone(&served), Telemetry::new());
    assert_eq!(send(app.clone(), get_of("/readyz")).await.status(), StatusCode::OK);
    let answer = json_of(send(app, get_of("/v1/views/totals")).await).await;
    assert_eq!(answer["provenance"]["complete"], false);
}

#[tokio::test]
async fn the_last_verdict_is_shown_of_the_views_that_one_sees() {
    let served = served();
    let verdict = json!({
        "at_us": 1_000_000, "elapsed_ms": 5, "equal": false, "from_us": null, "to_us": 2_000_000, "report": {},
        "views": {"delays": {"cells": 90, "differences": 1, "left_out_before_us": 500_000}, "totals": {"cells": 10, "differences": 0}},
    });
    let status =
        async |app: Router, token| json_of(send(app, access::with_token(get_of("/v1/status"), token)).await).await;
    let app = access::guarded_app(router(Arc::clone(&served), Telemetry::new()));
    assert_eq!(status(app.clone(), "reader").await["audit"], Value::Null);
    served.judge(Some(serde_json::from_value(verdict).unwrap()));
    let audit = &status(app.clone(), "reader").await["audit"];
    assert_eq!((&audit["at"], &audit["equal"]), (&json!("1970-01-01T00:00:01Z"), &json!(false)));
    assert_eq!((&audit["from"], &audit["to"]), (&Value::Null, &json!("1970-01-01T00:00:02Z")));
    let delays = json!({"cells": 90, "differences": 1, "left_out_before": "1970-01-01T00:00:00.5Z"});
    assert_eq!(audit["views"]["delays"], delays);
    assert_eq!(status(app, "board").await["audit"]["views"], json!({"totals": {"cells": 10, "differences": 0}}));
}
