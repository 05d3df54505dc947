//! A dead letter as JSON, for people and their tools.

use serde_json::{Map, Value, json};

use crate::event::DeadLetter;

/// `letter` as a JSON object: topic, partition, offset, timestamp (as RFC 3339), key, headers, value, reason, column, detail.
/// Bytes that are not UTF-8 stand under `key_hex`, `value_hex` in hexadecimal digits instead.
#[must_use]
pub fn to_json(letter: &DeadLetter) -> Value {
    let record = &letter.record;
    let timestamp = jiff::Timestamp::from_microsecond(record.timestamp_us);
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::from_iter([("name".to_owned(), json!(name))]);
        insert_bytes(&mut header, "value", Some(value.as_ref()));
        Value::Object(header)
    });
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(&*record.topic));
    object.insert("partition".to_owned(), json!(record.partition));
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), timestamp.map_or(json!(record.timestamp_us), |t| json!(t.to_string())));
    insert_bytes(&mut object, "key", record.key.as_deref());
    object.insert("headers".to_owned(), headers.collect());
    insert_bytes(&mut object, "value", record.value.as_deref());
    object.insert("reason".to_owned(), json!(letter.reason));
    object.insert("column".to_owned(), json!(letter.column));
    object.insert("detail".to_owned(), json!(letter.detail));
    Value::Object(object)
}

fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => object.insert(format!("{name}_hex"), json!(hex::encode(bytes.unwrap_or_default()))),
    };
}
