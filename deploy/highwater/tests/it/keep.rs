//! Loading history and keeping what is stored, as a user types it.

use std::fs;

use common::testing::s3::Server as S3;
use serde_json::{Value, json};

use crate::{
    commands::{PIPELINE, ROWS, sales, shop, write},
    objects,
    process::{Server, fails, highwater, succeeds},
};

const CSV: &str =
    "at,customer,cents\n2025-12-31T22:00:00Z,ann,1\n2025-12-31T23:30:00Z,cid,20\n2025-12-31T23:40:00Z,cid,none\n";

fn json_lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn l7_history_is_loaded_once_from_files_and_patterns_and_kept_in_order() {
    let folder = shop();
    fs::create_dir(folder.path().join("history")).expect("the folder is new");
    write(folder.path(), "history/2025.csv", CSV);
    write(folder.path(), "history/2026.ndjson", ROWS);
    let load = || {
        let printed =
            succeeds(highwater(["load", "--source", "orders", "history/*", "--json"]).current_dir(folder.path()));
        json_lines(&printed)
    };
    let first = load();
    let figures = |report: &Value| [&report["events"], &report["dead_letters"], &report["before"]].map(Value::clone);
    assert_eq!(first.iter().map(figures).collect::<Vec<_>>(), [[2, 1, 0], [3, 2, 0]].map(|f| f.map(Value::from)));
    assert_eq!(load().iter().map(figures).collect::<Vec<_>>(), [[0, 0, 3], [0, 0, 5]].map(|f| f.map(Value::from)));
    let letters = succeeds(highwater(["dead-letters", "--source", "orders", "--json"]).current_dir(folder.path()));
    assert!(letters.contains(r#"{"name":"file","value":"history/2025.csv"},{"name":"row","value":"3"}"#), "{letters}");

    let batch = |arguments: &[&str]| {
        let printed = succeeds(highwater(["batch"]).args(arguments).arg("--json").current_dir(folder.path()));
        serde_json::from_str::<Value>(&printed).expect("the report is JSON")
    };
    assert_eq!(batch(&["advance"])["outcome"], "published");
    assert_eq!(batch(&["compact"])["orders"]["files_before"], 0, "each date has one file");
    assert_eq!(
        batch(&["vacuum"]),
        json!({"runs": 0, "generations": 0, "chunks": 0, "data_files": 0, "segments": 0, "staged_files": 0})
    );
    assert_eq!(batch(&["vacuum", "--grace", "0s"])["data_files"], 0);
    let mut serve = Server::start("serve", folder.path());
    serve.wait_for("caught up");
    let answer = sales(&serve, folder.path(), &["--layer", "batch", "--order-by", "customer"]);
    assert_eq!(answer["rows"], json!([["ann", 3, 351], ["bob", 1, 7], ["cid", 1, 20]]));
    serve.stop("TERM");

    let refused = fails(highwater(["load", "--source", "orders", "nothing/*"]).current_dir(folder.path()));
    assert!(refused.contains("no file matches `nothing/*`"), "{refused}");
    let refused = fails(highwater(["load", "--source", "order", "history/*"]).current_dir(folder.path()));
    assert!(refused.contains("no source `order`; there are: orders"), "{refused}");
}

#[test]
fn l7_history_is_loaded_once_from_a_bucket() {
    let Some(s3) = S3::shared() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let bucket = runtime.block_on(s3.bucket());
    let folder = shop();
    write(folder.path(), "pipeline.toml", &objects::pipeline(&bucket, &s3.address()));
    let history = common::testing::s3::store(&s3.address(), &bucket, "history");
    for (path, text) in [("2025/a.csv", CSV), ("2026/b.ndjson", ROWS), ("2026/notes.txt", "not for loading")] {
        runtime.block_on(history.put(&path.into(), text.into())).expect("the server takes it");
    }
    let load = || {
        let files = [format!("s3://{bucket}/history/*/*.csv"), format!("s3://{bucket}/history/2026/b.ndjson")];
        let arguments = ["load", "--source", "orders", "--json"];
        json_lines(&succeeds(highwater(arguments).args(files).current_dir(folder.path())))
    };
    let events = |reports: Vec<Value>| reports.iter().map(|report| report["events"].clone()).collect::<Vec<_>>();
    assert_eq!(events(load()), [2, 3]);
    assert_eq!(events(load()), [0, 0]);
}

#[test]
fn l7_protected_values_are_nowhere_in_the_store() {
    let folder = shop();
    let protected = PIPELINE.replace(
        "customer = \"string\"",
        "customer = { type = \"string\", protect = \"pseudonym\" }\n[privacy]\nkey = \"no secret of anybody\"\n[sources.orders.columns.cents]",
    );
    let protected = protected.replace("cents = { type = \"int\", min = 0 }", "type = \"int\"\nmin = 0");
    write(folder.path(), "pipeline.toml", &protected);
    let mut server = Server::start("run", folder.path());
    crate::commands::replay(&server, folder.path());
    server.wait_for("committed");
    let answer = sales(&server, folder.path(), &["--order-by", "-orders"]);
    server.stop("TERM");
    let pseudonym = answer["rows"][0][0].as_str().expect("a customer is text").to_owned();
    assert_eq!(answer["rows"][0], json!([pseudonym, 2, 350]));
    assert!(pseudonym.len() == 32 && pseudonym.chars().all(|c| c.is_ascii_hexdigit()), "{pseudonym}");
    let letters = succeeds(highwater(["dead-letters", "--source", "orders", "--json"]).current_dir(folder.path()));
    assert_eq!(letters.lines().count(), 2);
    assert!(!letters.contains("bob") && !letters.contains("no JSON"), "{letters}");
    // A view computed again from raw files has the same pseudonyms.
    succeeds(highwater(["batch", "recompute"]).current_dir(folder.path()));
    let mut serve = Server::start("serve", folder.path());
    serve.wait_for("caught up");
    assert_eq!(sales(&serve, folder.path(), &["--layer", "batch", "--order-by", "-orders"])["rows"], answer["rows"]);
    serve.stop("TERM");
}

#[test]
fn l7_a_dataset_is_replayed_into_another_log_and_a_stretch_of_it_is() {
    let folder = shop();
    // Of two dates, so that one commit has two files.
    write(
        folder.path(),
        "rows.ndjson",
        &format!("{ROWS}{}", r#"{"at":"2026-01-02T00:10:00Z","customer":"ann","cents":1}"#),
    );
    succeeds(highwater(["load", "--source", "orders", "rows.ndjson"]).current_dir(folder.path()));
    let target = shop();
    let server = Server::start("run", target.path());
    let replay = |more: &[&str]| {
        let url = server.url();
        let arguments = ["replay", "--source", "orders", "--dataset", "--url", &url];
        succeeds(highwater(arguments).args(more).current_dir(folder.path()))
    };
    assert!(replay(&["--to", "2026-01-01T00:50:00Z"]).contains("dataset: 1 rows sent"));
    assert!(replay(&["--from", "2026-01-01T00:50:00Z"]).contains("dataset: 3 rows sent"));
    assert!(
        replay(&["--from", "2026-01-01T00:50:00Z"]).contains("dataset: 0 rows sent to orders, 3 were there before")
    );
    // They are in the log; answers show them as soon as they are folded.
    let all = json!([["ann", 3, 351], ["bob", 1, 7]]);
    while sales(&server, target.path(), &["--order-by", "customer"])["rows"] != all {}
    server.stop("TERM");
}

#[test]
fn l7_rows_of_files_become_records_of_the_sources_format_or_nothing_is_sent() {
    let folder = shop();
    let csv = PIPELINE.replace("key = \"customer\"", "format = \"csv\"").replace(
        "[sources.orders.columns]",
        "[sources.orders.csv]\nfields = [\"customer\", \"at\", \"cents\"]\n[sources.orders.columns]\n\
         trace = { type = \"int?\", from = \"header:trace\" }",
    );
    write(folder.path(), "pipeline.toml", &csv);
    let server = Server::start("run", folder.path());
    let url = server.url();
    let arguments = ["replay", "--source", "orders", "rows.ndjson", "--url", &url];
    let refused = fails(highwater(arguments).current_dir(folder.path()));
    assert!(refused.contains("rows.ndjson, row 3 is no event") && refused.contains("column `cents`"), "{refused}");
    let good = ROWS.lines().filter(|line| line.contains("ann")).map(|line| line.replace('}', ",\"trace\":7}\n"));
    write(folder.path(), "rows.ndjson", &good.collect::<String>());
    assert!(succeeds(highwater(arguments).current_dir(folder.path())).contains("2 rows sent to orders"));
    while sales(&server, folder.path(), &[])["rows"] != json!([["ann", 2, 350]]) {}
    let placed = format!("{csv}place = {{ type = \"int\", from = \"offset\" }}\n");
    write(folder.path(), "other.toml", &placed);
    let refused = fails(highwater(arguments).args(["--pipeline", "other.toml"]).current_dir(folder.path()));
    assert!(
        refused.contains("column `place` cannot be written: it is where and when the log has a record"),
        "{refused}"
    );
    server.stop("TERM");
}
