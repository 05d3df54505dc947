//! Records as other producers write them, decoded: Confluent's framing, keys, headers, tombstones.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::DataType,
};
use jiff::SignedDuration;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer},
};

use super::lab::Lab;
use crate::{
    decode::{Decoder, Format, KeyFormat, OnIncompatible, RegisteredSchemas, Rules, Schemas},
    event::{Reason, Run},
    limits::KAFKA_TIMEOUT,
    registry::{Login, Registry, Settings},
    schema::{Column, ColumnType, Origin, Schema, TimestampFormat},
    testing::registry::TestRegistry,
};

const VALUE: &str = r#"{"type": "record", "name": "Departure", "fields": [{"name": "at", "type": "long"},
                        {"name": "carrier", "type": ["null", "string"]}]}"#;

fn framed(id: u32, value: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), value].concat()
}

fn rules(server: &TestRegistry) -> Rules {
    let settings = Settings { url: server.url.clone(), login: Login::None, timeout: SignedDuration::from_secs(60) };
    let registry = Arc::new(Registry::new(settings).unwrap());
    let schemas = |subject: &str| {
        let (registry, on_incompatible) = (Arc::clone(&registry), OnIncompatible::Stop);
        Format::Avro(Schemas::Registered(RegisteredSchemas { registry, subject: subject.to_owned(), on_incompatible }))
    };
    let text = |name: &str, origin| Column { origin, nullable: true, ..Column::new(name, ColumnType::String) };
    let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
    let columns = vec![
        at,
        text("carrier", Origin::Value),
        text("tail", Origin::Key),
        text("trace", Origin::Header("trace".to_owned())),
    ];
    let keys = KeyFormat::As(schemas("departures-key"));
    Rules { format: schemas("departures-value"), keys, ..Rules::new(Arc::new(Schema::new(columns)), "at") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_framed_values_keys_headers_and_tombstones_are_all_accounted_for() {
    let Some(lab) = Lab::new("formats", 1, &[]).await else { return };
    let server = TestRegistry::start().await;
    let key = server.register("departures-key", "AVRO", "\"string\"", &[]);
    let value = server.register("departures-value", "AVRO", VALUE, &[]);
    let producer = lab.producer(&[]);
    let send = |key: Option<Vec<u8>>, trace: Option<&[u8]>, value: Option<Vec<u8>>| {
        let mut record = BaseRecord::<[u8], [u8]>::to(&lab.topic).partition(0);
        (record.key, record.payload) = (key.as_deref(), value.as_deref());
        let headers = OwnedHeaders::new().insert(Header { key: "other", value: Some(b"\xFF") });
        record.headers = Some(headers.insert(Header { key: "trace", value: trace }));
        producer.send(record).unwrap();
    };
    let tail = framed(key, b"\x0CN14228");
    send(Some(tail.clone()), Some(b"t-1"), Some(framed(value, b"\x02\x02\x04UA")));
    send(None, None, Some(framed(value, b"\x04\x00")));
    send(Some(tail.clone()), None, None);
    send(Some(tail), Some(b"t-2"), Some(framed(value, b"\x02\x02\x08UA")));
    send(None, None, Some(framed(99, b"")));
    producer.flush(KAFKA_TIMEOUT).unwrap();

    let records: Run = lab.read().await.into_iter().collect();
    let mut decoder = Decoder::new(rules(&server));
    decoder.prepare(&records).await.unwrap();
    let decoded = decoder.decode(&records);
    assert_eq!((decoded.events.num_rows(), decoded.tombstones), (2, 1));
    let reasons: Vec<Reason> = decoded.dead_letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::Malformed, Reason::Schema]);
    let text = |name: &str| {
        let column = cast(decoded.events.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(text("carrier"), [some("UA"), None]);
    assert_eq!(text("tail"), [some("N14228"), None]);
    assert_eq!(text("trace")[0], some("t-1"));
    assert!(decoded.events.column_by_name("_key").unwrap().is_null(1));
}
