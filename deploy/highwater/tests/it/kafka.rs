//! The program over topics of a real Kafka broker.

use std::path::Path;

use bytes::Bytes;
use common::{
    log::{EventLog, LogEvent, NewRecord, kafka::Kafka},
    testing::kafka::Broker,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    commands::{PIPELINE, replay, sales, shop, write},
    process::{Server, highwater, succeeds},
};

/// The shop with its orders in the topic `topic` of `broker`, which is made with so many partitions.
pub(crate) fn shop_on(broker: &Broker, topic: &str, partitions: u32) -> tempfile::TempDir {
    let folder = shop();
    write(folder.path(), "pipeline.toml", &pipeline(broker, topic));
    let kafka = Kafka::new(broker.settings()).expect("the settings are good");
    runtime().block_on(kafka.create_topic(topic, partitions, &[])).expect("the broker makes topics");
    folder
}

/// The pipeline of the shop on `topic`. What takes consumer groups long by default takes them short.
pub(crate) fn pipeline(broker: &Broker, topic: &str) -> String {
    PIPELINE.replace("partitions = 2", &format!("topic = \"{topic}\""))
        + &format!("[kafka]\nbrokers = \"{}\"\n[kafka.properties]\n", broker.address())
        + "topic.metadata.refresh.interval.ms = 200\nsession.timeout.ms = 1500\nheartbeat.interval.ms = 300\n\
           reconnect.backoff.max.ms = 200\n"
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime starts")
}

/// What somebody else appends to the topic.
pub(crate) fn append(broker: &Broker, topic: &str, values: &[Value]) {
    let records =
        values.iter().map(|value| NewRecord { value: Some(Bytes::from(value.to_string())), ..NewRecord::default() });
    append_records(broker, topic, records.collect());
}

fn append_records(broker: &Broker, topic: &str, records: Vec<NewRecord>) {
    runtime().block_on(async {
        let kafka = Kafka::new(broker.settings()).expect("the settings are good");
        let log = kafka.topic(topic, "nobody").await.expect("the topic is there");
        log.append(records, None).await.expect("the broker takes records");
    });
}

/// Reads the log of `server` until its commits have taken so many records in all.
fn wait_for_records(server: &mut Server, records: u64) {
    let mut committed = 0;
    while committed < records {
        let line = server.wait_for("committed");
        let counts = line["counts"].as_str().expect("a commit says its counts");
        committed += counts.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
    }
}

fn dead_letters(folder: &Path) -> String {
    succeeds(highwater(["dead-letters", "--source", "orders"]).current_dir(folder))
}

#[test]
fn l7_a_topic_is_read_from_end_to_end() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.end-to-end", 2);
    let mut server = Server::start("run", folder.path());
    assert!(replay(&server, folder.path()).contains("5 rows sent"));
    assert!(replay(&server, folder.path()).contains("0 rows sent to orders, 5 were there before"));
    append(
        broker,
        "orders.end-to-end",
        &[json!({"at": "2026-01-01T01:06:00Z", "customer": "bob", "cents": 3}), json!(7)],
    );
    wait_for_records(&mut server, 7);
    server.stop("TERM");
    assert!(dead_letters(folder.path()).contains("orders: 3 dead letters shown"));

    let server = Server::start("run", folder.path());
    let answer = sales(&server, folder.path(), &["--order-by", "customer"]);
    assert_eq!(answer["rows"], json!([["ann", 2, 350], ["bob", 2, 10]]));
    assert!(replay(&server, folder.path()).contains("5 were there before"));
    server.stop("INT");
}

/// The group would wait for five minutes until the session of the one that was killed has timed out.
#[test]
fn l5_one_that_was_killed_has_its_partitions_back_at_once() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.killed", 2);
    let patient = pipeline(broker, "orders.killed").replace("session.timeout.ms = 1500", "session.timeout.ms = 290000");
    write(folder.path(), "pipeline.toml", &patient);
    let mut server = Server::start("run", folder.path());
    append(broker, "orders.killed", &[json!({"at": "2026-01-01T01:06:00Z", "customer": "ann", "cents": 3})]);
    wait_for_records(&mut server, 1);
    drop(server);

    let mut server = Server::start("run", folder.path());
    append(broker, "orders.killed", &[json!({"at": "2026-01-01T01:07:00Z", "customer": "bob", "cents": 4})]);
    wait_for_records(&mut server, 1);
    server.stop("TERM");
}

/// A worker that was frozen past its session wakes up with events that another one has committed meanwhile. It is told to stop
/// in the same breath, so that it commits what it holds as soon as it can.
#[test]
fn l3_a_worker_that_slept_while_another_took_over_cannot_commit() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.fencing", 2);
    let lazy = pipeline(broker, "orders.fencing").replace("100ms", "1h");
    write(folder.path(), "lazy.toml", &lazy);
    let order =
        |customer: &str, cents: u32| json!({"at": "2026-01-01T01:06:00Z", "customer": customer, "cents": cents});

    let sleeper = Server::start_with("run", &folder.path().join("lazy.toml"));
    append(broker, "orders.fencing", &[order("ann", 1), order("ann", 2), order("bob", 3), order("bob", 4)]);
    // It holds them all when its answers show them; it commits once an hour.
    while sales(&sleeper, folder.path(), &["--order-by", "customer"])["rows"] != json!([["ann", 2, 3], ["bob", 2, 7]]) {
    }
    sleeper.signal("STOP");
    let mut other = Server::start("run", folder.path());
    wait_for_records(&mut other, 4);
    let log = sleeper.stop("TERM");
    assert!(!log.contains("\"message\":\"committed\""), "L3: {log}");

    append(broker, "orders.fencing", &[order("ann", 5)]);
    wait_for_records(&mut other, 1);
    assert_eq!(
        sales(&other, folder.path(), &["--order-by", "customer"])["rows"],
        json!([["ann", 3, 8], ["bob", 2, 7]])
    );
    other.stop("TERM");
}

/// Kappa: with no batch run ever, and all that was stored gone, the log alone makes the same answers again.
#[test]
fn l5_views_are_rebuilt_from_the_log_alone() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.kappa", 2);
    let order = |customer: &str, minute: u32| json!({"at": format!("2026-01-01T01:{minute:02}:00Z"), "customer": customer, "cents": minute});
    let orders = [order("ann", 1), order("bob", 2), order("ann", 3), json!("no order"), order("cid", 59)];
    append(broker, "orders.kappa", &orders);
    let answered = || {
        let mut server = Server::start("run", folder.path());
        wait_for_records(&mut server, 5);
        let merged = sales(&server, folder.path(), &["--order-by", "customer"]);
        let live = sales(&server, folder.path(), &["--order-by", "customer", "--layer", "live"]);
        server.stop("TERM");
        assert_eq!(merged["provenance"]["generation"], Value::Null);
        assert_eq!(merged["rows"], live["rows"]);
        (merged["rows"].clone(), dead_letters(folder.path()))
    };
    let first = answered();
    assert_eq!(first.0, json!([["ann", 2, 4], ["bob", 1, 2], ["cid", 1, 59]]));
    std::fs::remove_dir_all(folder.path().join("state/store")).expect("the store is there");
    assert_eq!(answered(), first);
}

/// What a consumer of the topic finds: partition, key, headers and value of so many records, in an order of their own.
fn consumed(broker: &Broker, topic: &str, records: usize) -> Vec<String> {
    let mut found = Vec::new();
    runtime().block_on(async {
        let kafka = Kafka::new(broker.settings()).expect("the settings are good");
        let log = kafka.topic(topic, "a consumer").await.expect("the topic is there");
        let mut reader = log.subscribe().await.expect("it can be read");
        while found.len() < records {
            match reader.next().await.expect("the broker gives records") {
                LogEvent::Assigned(partitions) => {
                    for partition in partitions {
                        let from = log.bounds(partition).await.expect("the partition is there").from;
                        reader.start(partition, from).await.expect("it can be read from there");
                    }
                }
                LogEvent::Revoked(_) => {}
                LogEvent::Records(run) => found.extend(run.records.into_iter().map(|record| {
                    let value = record.value.map(|value| serde_json::from_slice::<Value>(&value).expect("it is JSON"));
                    format!("{:?} {:?} {:?} {value:?}", record.partition, record.key, record.headers)
                })),
            }
        }
        reader.close().await;
    });
    found.sort();
    found
}

#[test]
fn l7_a_dataset_is_replayed_into_another_topic_with_keys_and_headers() {
    let Some(broker) = Broker::shared() else { return };
    let beside =
        "trace = { type = \"string?\", from = \"header:trace\" }\nwho = { type = \"string?\", from = \"key\" }\n";
    let with_columns = |topic: &str| {
        let folder = shop_on(broker, topic, 2);
        let text = pipeline(broker, topic).replace("[kafka]\n", &format!("{beside}[kafka]\n"));
        write(folder.path(), "pipeline.toml", &text);
        folder
    };
    let folder = with_columns("orders.kept");
    let record = |key: Option<&'static str>, trace: Option<&'static str>, minute: u32| {
        let value = json!({"at": format!("2026-01-01T01:{minute:02}:00Z"), "customer": "ann", "cents": minute});
        NewRecord {
            key: key.map(Bytes::from),
            headers: trace.map(|trace| ("trace".to_owned(), Bytes::from(trace))).into_iter().collect(),
            value: Some(Bytes::from(value.to_string())),
        }
    };
    let keys = [Some("k1"), Some("k2"), Some("k 3"), Some("")];
    let keyed = keys.into_iter().zip(1..).map(|(key, minute)| record(key, Some("t-1"), minute));
    append_records(broker, "orders.kept", keyed.chain([record(Some("k1"), None, 30)]).collect());
    let mut server = Server::start("run", folder.path());
    wait_for_records(&mut server, 5);
    server.stop("TERM");

    let target = with_columns("orders.kept-again");
    let mut server = Server::start("run", target.path());
    let replay = |more: &[&str]| {
        let url = server.url();
        let arguments = ["replay", "--source", "orders", "--dataset", "--url", &url];
        succeeds(highwater(arguments).args(more).current_dir(folder.path()))
    };
    assert!(replay(&["--rate", "100000x"]).contains("dataset: 5 rows sent to orders, 0 were there before"));
    assert!(replay(&[]).contains("dataset: 0 rows sent to orders, 5 were there before"));
    wait_for_records(&mut server, 5);
    let answer = sales(&server, target.path(), &[]);
    assert_eq!(answer["rows"], json!([["ann", 5, 40]]));
    server.stop("TERM");
    assert_eq!(consumed(broker, "orders.kept-again", 5), consumed(broker, "orders.kept", 5));
}
