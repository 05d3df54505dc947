//! TLS, certificates of clients, and passwords, each accepted and refused by a real broker.

use std::{collections::BTreeMap, fs};

use super::{
    Kafka,
    lab::{Lab, texts},
};
use crate::{
    log::kafka::Settings,
    pipeline::TlsFiles,
    testing::{certificates::Authority, kafka::Broker},
};

/// A folder with an authority (`ca.pem`), a broker's certificate (`server.pem`) and a client's (`client.pem`), keys included.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    for name in ["server", "client"] {
        let TlsFiles { certificate, key } = authority.sign(name);
        let both = fs::read_to_string(key).unwrap() + &fs::read_to_string(&certificate).unwrap();
        fs::write(certificate, both).unwrap();
    }
    folder
}

/// How a listener is reached with these properties.
fn settings(address: &str, properties: &[(&str, &str)]) -> Settings {
    let quick = ("topic.metadata.refresh.interval.ms", "200");
    let properties = properties.iter().chain([&quick]).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Settings::new(address, BTreeMap::from_iter(properties))
}

/// Whether records go there and back.
async fn is_accepted(settings: Settings) {
    let lab = Lab::on(settings, "secure", 1, &[]).await;
    lab.append(&["secret"]).await;
    assert_eq!(texts(&lab.read().await), ["secret"]);
}

/// What is said of who is not let in.
async fn is_refused(settings: Settings) -> String {
    let kafka = Kafka::new(settings).unwrap();
    let refused = kafka.topic("anything", "anyone").await.expect_err("nobody may come in like this");
    let source = std::error::Error::source(&refused).map(ToString::to_string).unwrap_or_default();
    assert!(!source.contains("hunter2"), "{source}");
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_come_in() {
    let folder = certificates();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let tls = folder.path().display().to_string();
    let options = ["--tls", &tls, "--client-auth", "required", "--user", "alice:wonder-land"];
    let Some(broker) = Broker::start(options) else { return };
    let (ssl, sasl) = broker.secure_addresses().unwrap();
    let (authority, client) = (file("ca.pem"), file("client.pem"));

    let certificate = [("ssl.certificate.location", client.as_str()), ("ssl.key.location", client.as_str())];
    let trusting = [("security.protocol", "ssl"), ("ssl.ca.location", authority.as_str())];
    is_accepted(settings(ssl, &[&trusting[..], &certificate[..]].concat())).await;
    // The system's authorities do not know the broker's.
    let said = is_refused(settings(ssl, &[&[("security.protocol", "ssl")], &certificate[..]].concat())).await;
    assert!(said.contains("certificate verify failed"), "{said}");

    let login = |mechanism, password| {
        let user = [("sasl.mechanisms", mechanism), ("sasl.username", "alice"), ("sasl.password", password)];
        let encrypted = [("security.protocol", "sasl_ssl"), ("ssl.ca.location", authority.as_str())];
        settings(sasl, &[&user[..], &encrypted[..]].concat())
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        is_accepted(login(mechanism, "wonder-land")).await;
        let said = is_refused(login(mechanism, "hunter2")).await;
        assert!(said.to_lowercase().contains("authentication"), "{mechanism}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_property_of_the_pipeline_is_in_what_is_printed() {
    let kafka = Kafka::new(settings("127.0.0.1:1", &[("sasl.password", "hunter2")])).unwrap();
    assert!(!format!("{kafka:?}").contains("hunter2"));
}
