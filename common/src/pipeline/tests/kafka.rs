//! Sources whose records come from Kafka, and how it is reached.

use std::fs;

use super::{LEAST, VIEW, load, said};
use crate::{log::kafka::Settings, pipeline::KafkaTopic};

/// The least, with a topic and these lines of `[kafka]`.
fn with_topic(lines: &str) -> String {
    LEAST.replace("event_time", "topic = \"flights.departures\"\nevent_time") + "\n[kafka]\n" + lines
}

#[test]
fn a_topic_makes_a_source_kafkas() {
    let pipeline = load(&with_topic("brokers = \"one:9092, two:9093\""), &[("by_hour.sql", VIEW)]).unwrap();
    let source = &pipeline.sources["departures"];
    assert_eq!(source.kafka, Some(KafkaTopic { name: "flights.departures".to_owned(), group: None }));
    assert_eq!(pipeline.group(source), "highwater-flights-departures");
    assert_eq!(pipeline.kafka.unwrap().brokers(), "one:9092, two:9093");
    assert_eq!(load(LEAST, &[]).unwrap().kafka, None);
}

#[test]
fn the_live_feed_has_a_topic_where_there_is_kafka() {
    let topic = |lines: &str| load(&with_topic(lines), &[]).unwrap().feed_topic();
    assert_eq!(topic("brokers = \"one:9092\"").as_deref(), Some("highwater-flights-live"));
    assert_eq!(topic("brokers = \"one:9092\"\nfeed = \"flights.live\"").as_deref(), Some("flights.live"));
    assert_eq!(load(LEAST, &[]).unwrap().feed_topic(), None);
}

#[test]
fn properties_are_librdkafkas_in_either_spelling() {
    let toml = with_topic(
        "brokers = \"one:9092\"\n[kafka.properties]\nsecurity.protocol = \"sasl_ssl\"\nsasl.mechanisms = \"PLAIN\"\n\
         \"sasl.password\" = \"${CLUSTER}\"\n\"fetch.wait.max.ms\" = 50\n\"socket.keepalive.enable\" = false\n",
    );
    let expected = Settings::new("one:9092", [].into())
        .with("security.protocol", "sasl_ssl")
        .with("sasl.mechanisms", "PLAIN")
        .with("sasl.password", "from-the-environment")
        .with("fetch.wait.max.ms", "50")
        .with("socket.keepalive.enable", "false");
    let kafka = load(&toml, &[]).unwrap().kafka.unwrap();
    assert_eq!(kafka, expected);
    assert!(!format!("{kafka:?}").contains("from-the-environment"));
}

#[test]
fn a_secret_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "hunter2\n").unwrap();
    let toml = with_topic(&format!("brokers = \"one:9092\"\nproperties.sasl.password = {{ file = {file:?} }}\n"));
    let expected = Settings::new("one:9092", [].into()).with("sasl.password", "hunter2");
    assert_eq!(load(&toml, &[]).unwrap().kafka, Some(expected));
}

/// Wherever the fault is: beside a secret in an inline table, in a key that is misspelt, or in a file that is no TOML.
#[test]
fn no_fault_quotes_a_line_with_a_secret() {
    let topic = LEAST.replace("event_time", "topic = \"t\"\nevent_time");
    for lines in [
        "kafka = { brokers = \"one\", properties = { sasl.username = \"hunter2\" } }",
        "kafka = { brokers = \"one:1\", propertys = { \"sasl.password\" = \"hunter2\" } }",
        "kafka = { brokers = \"one:1\", properties = { retries = 3, sasl.password = \"hunter2\", sasl.mecanism = 7 } }",
        "kafkaa = { brokers = \"one:1\", properties = { anything = \"hunter2\" } }",
        "kafka = { brokers = \"one:1\", properties = { \"sasl.password\" = hunter2 } }",
        "kafka.brokers = \"one:1\"\nkafka.properties.sasl.password = hunter2",
        "kafka.brokers = \"one\"\nkafka.properties.\"sasl.oauthbearer.client.secret\" = \"\"\"\nhunter2\"\"\" 7",
        "serving.tokens.board = { sha256 = \"hunter2\", role = \"read\" }",
        "serving.tokens.board = { sha256 = \"00\", scram_sha_256 = \"hunter2\", role = \"reed\" }",
        "privacy.key = hunter2",
        "store = { url = \"s3://b\", options = { secret_acces_key = \"hunter2\" } }",
    ] {
        let toml = topic.replacen("\n\n", &format!("\n{lines}\n\n"), 1);
        assert!(toml.contains(lines));
        let said = said(&toml, &[]);
        assert!(said.contains("error:") && said.contains("pipeline.toml:"), "{lines}: {said}");
        assert!(!said.contains("hunter2"), "{lines}: {said}");
    }
}

#[test]
fn everything_wrong_with_kafka_is_reported() {
    let topic = "topic = \"flights/departures\"\ngroup = \"\"\npartitions = 3\nevent_time";
    let toml = LEAST.replace("event_time", topic)
        + "\n[kafka]\nbroker = \"one\"\nbrokers = \"one\"\n[kafka.properties]\nisolation.level = \"read_uncommitted\"\n\
           sasl.pasword = \"hunter2\"\nfetch.min.bytes = \"hunter2\"\nssl.key.password = { file = \"not/there\" }\n\
           sasl.password = \"${NOT_SET}\"\nclient.id = [\"hunter2\"]\n";
    let said_of_it = said(&toml, &[]);
    insta::assert_snapshot!(said_of_it);
    insta::assert_snapshot!(said(&LEAST.replace("event_time", "group = \"g\"\nevent_time"), &[]));
    insta::assert_snapshot!(said(&LEAST.replace("event_time", "topic = \"t\"\nevent_time"), &[]));
}
