//! A column that is added to the pipeline: the dataset has it from then on, and what came before reads as null.

use serde_json::{Value, json};

use crate::{
    commands::{PIPELINE, replay, sales, shop, write},
    process::{Server, highwater, succeeds},
};

const ROWS: &str = r#"{"at":"2026-01-01T01:10:00Z","customer":"ann","cents":1,"channel":"web"}
{"at":"2026-01-01T01:20:00Z","customer":"bob","cents":2,"channel":"web"}
{"at":"2026-01-01T01:30:00Z","customer":"bob","cents":3}
"#;

const VIEW: &str = "CREATE VIEW channels AS SELECT date_trunc('hour', at) AS hour, channel, count(*) AS orders FROM orders \
                    GROUP BY hour, channel;";

#[test]
fn an_added_column_is_null_before_and_filled_after() {
    let folder = shop();
    let folder = folder.path();
    let mut server = Server::start("run", folder);
    replay(&server, folder);
    server.wait_for("committed");
    server.stop("TERM");

    write(folder, "pipeline.toml", &format!("{PIPELINE}channel = \"string?\"\n"));
    write(folder, "views/channels.sql", VIEW);
    write(folder, "rows.ndjson", ROWS);
    let mut server = Server::start("run", folder);
    let arguments = ["replay", "--source", "orders", "--producer", "more", "rows.ndjson", "--url", &server.url()];
    succeeds(highwater(arguments).current_dir(folder));
    server.wait_for("committed");
    assert_eq!(sales(&server, folder, &["--order-by", "customer"])["rows"], json!([["ann", 3, 351], ["bob", 3, 12]]));
    server.stop("TERM");

    // The new view covers what came before it once the batch layer has read it again.
    succeeds(highwater(["batch", "recompute"]).current_dir(folder));
    let server = Server::start("serve", folder);
    let arguments = ["query", "channels", "--format", "json", "--dimensions", "channel", "--url", &server.url()];
    let answer: Value = serde_json::from_str(&succeeds(highwater(arguments).current_dir(folder))).expect("it is JSON");
    let mut rows = answer["rows"].as_array().expect("rows are a list").clone();
    rows.sort_by_key(ToString::to_string);
    assert_eq!(Value::from(rows), json!([["web", 2], [null, 4]]));
    server.stop("TERM");
}
