//! The commands as a user types them: what they print, and how they answer bad input.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use crate::process::{Server, fails, flights, highwater, succeeds, text};

pub(crate) const PIPELINE: &str = r#"
name = "shop"
[commit]
interval = "100ms"
[serving]
listen = "127.0.0.1:0"
[batch]
advance_every = "1h"
[sources.orders]
partitions = 2
event_time = "at"
key = "customer"
[sources.orders.columns]
at = "timestamp"
customer = "string"
cents = { type = "int", min = 0 }
"#;

const VIEW: &str = "CREATE VIEW sales AS SELECT date_trunc('hour', at) AS hour, customer, count(*) AS orders, \
                    sum(cents) AS cents FROM orders GROUP BY hour, customer;";

pub(crate) const ROWS: &str = r#"{"at":"2026-01-01T00:10:00Z","customer":"ann","cents":100}
{"at":"2026-01-01T00:50:00Z","customer":"ann","cents":250}
{"at":"2026-01-01T00:55:00Z","customer":"bob","cents":-5}
this is no JSON
{"at":"2026-01-01T01:05:00Z","customer":"bob","cents":7}
"#;

/// A folder with a small pipeline and a file of rows.
pub(crate) fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "pipeline.toml", PIPELINE);
    fs::create_dir(folder.path().join("views")).expect("the folder is new");
    write(folder.path(), "views/sales.sql", VIEW);
    write(folder.path(), "rows.ndjson", ROWS);
    folder
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("the folder is writable");
}

/// What `query sales` answers, as the API gives it.
pub(crate) fn sales(server: &Server, folder: &Path, more: &[&str]) -> Value {
    let arguments = ["query", "sales", "--format", "json", "--dimensions", "customer", "--url", &server.url()];
    let answer = succeeds(highwater(arguments).args(more).current_dir(folder));
    serde_json::from_str(&answer).expect("the answer is JSON")
}

/// What `GET` of this path answers, head and all, if it is asked with these `headers`, each with its line's end.
pub(crate) fn get(server: &Server, path: &str, headers: &str) -> String {
    let mut connection = TcpStream::connect(server.address).expect("it listens");
    write!(connection, "GET {path} HTTP/1.1\r\nhost: any\r\nconnection: close\r\n{headers}\r\n").expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    answer
}

pub(crate) fn replay(server: &Server, folder: &Path) -> String {
    let arguments = ["replay", "--source", "orders", "rows.ndjson", "--url", &server.url()];
    succeeds(highwater(arguments).current_dir(folder))
}

#[test]
fn check_says_what_a_pipeline_holds() {
    let printed = succeeds(highwater(["check", "--pipeline"]).arg(flights().join("pipeline.toml")));
    assert!(printed.contains("pipeline `flights` is valid"), "{printed}");
    assert!(printed.contains("view departures_by_hour by hour, carrier, origin"), "{printed}");
}

#[test]
fn check_says_everything_that_is_wrong_with_file_and_line() {
    let folder = shop();
    write(folder.path(), "pipeline.toml", &PIPELINE.replace("partitions", "partition"));
    write(folder.path(), "views/sales.sql", &VIEW.replace("sum(cents)", "median(cents)"));
    let printed = fails(highwater(["check"]).current_dir(folder.path()));
    assert!(printed.contains("pipeline.toml:10:1"), "{printed}");
    assert!(printed.contains("`partitions`"), "{printed}");
    assert!(printed.contains("sales.sql:1:"), "{printed}");
    assert!(printed.contains("approx_percentile"), "{printed}");
    assert!(printed.contains("2 errors"), "{printed}");
}

#[test]
fn a_command_that_finds_no_server_says_how_to_start_one() {
    let folder = shop();
    let printed = fails(highwater(["query", "sales", "--url", "http://127.0.0.1:1/"]).current_dir(folder.path()));
    assert!(printed.contains("start one with `highwater run`"), "{printed}");
}

#[test]
fn a_token_is_told_once_and_the_file_has_hashes_of_it() {
    let folder = shop();
    let made = highwater(["token", "board", "--views", "sales"]).output().expect("the program starts");
    let (file, told) = (text(&made.stdout), text(&made.stderr));
    write(folder.path(), "pipeline.toml", &(PIPELINE.replace("127.0.0.1", "0.0.0.0") + &file));
    succeeds(highwater(["check"]).current_dir(folder.path()));
    let token = told.lines().find(|line| line.len() == 64 && line.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(token.is_some_and(|token| !file.contains(token)), "{told}");

    for name in ["a b", "a.b", "", "\"", "ä"] {
        let refused = fails(&mut highwater(["token", name]));
        assert!(refused.contains("a name has 1 to 64"), "{refused}");
    }
    for (given, why) in [("too short", "20 characters"), ("\n", "no token"), ("ä very long one with words", "ASCII")] {
        let mut command = highwater(["token", "board", "--stdin"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        child.stdin.take().expect("it is piped").write_all(given.as_bytes()).expect("it reads");
        let refused = text(&child.wait_with_output().expect("it ends").stderr);
        assert!(refused.contains(why), "{given}: {refused}");
    }
}

#[test]
fn l7_rows_go_in_once_and_broken_ones_are_dead_letters() {
    let folder = shop();
    let mut server = Server::start("run", folder.path());
    assert!(replay(&server, folder.path()).contains("5 rows sent"));
    assert!(replay(&server, folder.path()).contains("0 rows sent to orders, 5 were there before"));
    server.wait_for("committed");
    server.stop("TERM");

    let printed = succeeds(highwater(["dead-letters", "--source", "orders"]).current_dir(folder.path()));
    assert!(printed.contains("orders: 2 dead letters shown"), "{printed}");
    assert!(printed.contains("malformed") && printed.contains("this is no JSON"), "{printed}");
    assert!(printed.contains("range") && printed.contains("cents"), "{printed}");

    let server = Server::start("run", folder.path());
    let answer = sales(&server, folder.path(), &["--order-by", "customer"]);
    assert_eq!(answer["rows"], serde_json::json!([["ann", 2, 350], ["bob", 1, 7]]));
    let refused = fails(highwater(["query", "sales", "-m", "cent", "--url", &server.url()]).current_dir(folder.path()));
    assert!(refused.contains("/measures/0") && refused.contains("cents"), "{refused}");
    server.stop("INT");
}

#[test]
fn l6_roles_apart_over_one_store_answer_the_same_and_say_what_is_missing() {
    let folder = shop();
    let mut speed = Server::start("speed", folder.path());
    replay(&speed, folder.path());
    speed.wait_for("committed");
    speed.stop("TERM");

    let advance = || {
        let report = succeeds(highwater(["batch", "advance", "--json"]).current_dir(folder.path()));
        serde_json::from_str::<Value>(&report).expect("the report is JSON")
    };
    assert_eq!(advance()["outcome"], "published");
    assert_eq!(advance()["outcome"], "unchanged");

    let serve = Server::start("serve", folder.path());
    let answer = sales(&serve, folder.path(), &[]);
    assert_eq!(answer["rows"], serde_json::json!([["ann", 2, 350], ["bob", 1, 7]]));
    assert_eq!(answer["provenance"]["generation"], 1);
    assert_eq!(answer["provenance"]["complete"], false, "no live feed reaches this process");
    assert_eq!(sales(&serve, folder.path(), &["--layer", "batch"])["rows"], answer["rows"]);
    assert_eq!(sales(&serve, folder.path(), &["--layer", "live"])["rows"], serde_json::json!([]));
    serve.stop("TERM");
}
