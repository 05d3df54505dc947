//! `highwater bench` and `highwater inspect`, against a Highwater that runs.

use std::path::Path;

use common::testing::kafka::Broker;
use serde_json::{Value, json};

use crate::{
    commands::{replay, shop, write},
    kafka::shop_on,
    process::{Server, fails, highwater, succeeds},
};

fn produce(server: &Server, folder: &Path, more: &[&str]) -> Value {
    let arguments = ["bench", "produce", "--source", "orders", "rows.ndjson", "--json", "--url", &server.url()];
    let report = succeeds(highwater(arguments).args(more).current_dir(folder));
    serde_json::from_str(&report).expect("the report is JSON")
}

fn inspect(folder: &Path) -> Value {
    let printed = succeeds(highwater(["inspect", "--json"]).current_dir(folder));
    serde_json::from_str(&printed).expect("it is JSON")
}

/// Of the five rows, one is no JSON and has no event time to move, and one is a dead letter whatever its time.
fn check(report: &Value, answer: &Value, count: u64) {
    assert_eq!((&report["records"], &report["failed"]), (&json!(count), &json!(0)), "{report}");
    let visible = &report["visible"];
    assert!(visible["records"].as_u64().is_some_and(|seen| seen > 0), "{report}");
    assert_eq!(visible["unseen"], 0, "{report}");
    let rows = answer["rows"].as_array().expect("an answer has rows");
    let orders: u64 = rows.iter().filter_map(|row| row[1].as_u64()).sum();
    assert_eq!(orders, count / 4 * 3, "{answer}");
}

/// What the view has of the time that the records were moved to.
fn fresh(server: &Server, folder: &Path) -> Value {
    crate::commands::sales(server, folder, &["--from", "2026-06-01T00:00:00Z"])
}

#[test]
fn load_goes_into_the_embedded_log_with_fresh_times_and_is_seen() {
    let folder = shop();
    let server = Server::start("run", folder.path());
    let report = produce(&server, folder.path(), &["--count", "400", "--rate", "4000", "--watch", "sales"]);
    check(&report, &fresh(&server, folder.path()), 400);
    let running = inspect(folder.path());
    assert!(running["sources"][0]["log_error"].as_str().is_some_and(|why| why.contains("/v1/status")), "{running}");
    server.stop("TERM");
    let source = &inspect(folder.path())["sources"][0];
    assert_eq!(source["records"], json!({"events": 300, "dead_letters": 100, "tombstones": 0}));
    assert_eq!(source["lag_records"], 0);
}

#[test]
fn load_goes_into_a_topic_with_keys_and_inspect_says_the_lag() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.bench", 2);
    let server = Server::start("run", folder.path());
    let report = produce(&server, folder.path(), &["--count", "4000", "--watch", "sales"]);
    check(&report, &fresh(&server, folder.path()), 4_000);
    server.stop("TERM");
    let of = |inspected: &Value| inspected["sources"][0].clone();
    let source = of(&inspect(folder.path()));
    assert_eq!((&source["lag_records"], &source["topic"]), (&json!(0), &json!("orders.bench")), "{source}");
    // Nobody reads now. `ann` and `bob` have a partition each, or one together: what counts is that none is lost.
    let arguments = ["bench", "produce", "--source", "orders", "rows.ndjson", "--count", "8"];
    let printed = succeeds(highwater(arguments).current_dir(folder.path()));
    assert!(printed.starts_with("8 records in "), "{printed}");
    let source = of(&inspect(folder.path()));
    assert_eq!(source["lag_records"], 8, "{source}");
    let ends = source["partitions"].as_array().expect("it has partitions").iter();
    assert_eq!(ends.filter_map(|p| p["log"]["to"].as_u64()).sum::<u64>(), 4_008, "{source}");
}

#[test]
fn inspect_says_what_there_is_before_and_after_a_generation() {
    let folder = shop();
    let printed = || succeeds(highwater(["inspect"]).current_dir(folder.path()));
    let empty = printed();
    assert!(empty.contains("no generation yet") && empty.contains("0 records committed"), "{empty}");
    let mut server = Server::start("run", folder.path());
    replay(&server, folder.path());
    server.wait_for("committed");
    server.stop("TERM");
    succeeds(highwater(["batch", "advance"]).current_dir(folder.path()));
    let full = printed();
    assert!(full.contains("generation 1, of 20"), "{full}");
    assert!(full.contains("5 records committed: 3 events, 2 dead letters, 0 tombstones"), "{full}");
    let unknown = fails(highwater(["inspect", "--source", "order"]).current_dir(folder.path()));
    assert!(unknown.contains("no source `order`; there are: orders"), "{unknown}");
}

#[test]
fn load_that_cannot_be_made_fresh_is_refused() {
    let folder = shop();
    write(folder.path(), "empty.ndjson", "{}\n");
    let arguments = ["bench", "produce", "--source", "orders", "empty.ndjson", "--count", "1"];
    let printed = fails(highwater(arguments).current_dir(folder.path()));
    assert!(printed.contains("no row of these files has an event time in `at`"), "{printed}");
}
