//! The other formats: any bytes become an event or a letter, and always the same. An event is one by JSON's rules too: written
//! as JSON, it decodes to itself.

use std::sync::Arc;

use common::{
    decode::{CsvLayout, Decoder, Format, Rules, Schemas, WriterSchema},
    event::Run,
    schema::{Column, ColumnType, Path, Schema, TimestampFormat},
};
use serde_json::{Value, json};

use crate::{
    cell::Cell,
    records::{Fate, fates, records},
};

const AVRO: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "int", "type": ["null", "int", "string"]},
    {"name": "wide", "type": "long"},
    {"name": "float", "type": "float"},
    {"name": "double", "type": "double"},
    {"name": "decimal", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}},
    {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 3, "logicalType": "decimal", "precision": 5, "scale": 2}},
    {"name": "text", "type": ["string", "null"]},
    {"name": "colour", "type": {"type": "enum", "name": "C", "symbols": ["red", "green"]}},
    {"name": "bool", "type": "boolean"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "list", "type": {"type": "array", "items": ["null", "int", "Event"]}},
    {"name": "map", "type": {"type": "map", "values": "bytes"}},
    {"name": "passed", "type": {"type": "map", "values": {"type": "array", "items": ["null", "double"]}}}
]}"#;

const PROTOBUF: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
    import "confluent/type/decimal.proto";
    enum Colour { RED = 0; GREEN = 7; }
    message Event {
        google.protobuf.Timestamp at = 1; optional sint32 int = 2; uint64 wide = 3; float float = 4;
        google.protobuf.DoubleValue double = 5; confluent.type.Decimal decimal = 6; string fixed = 7; optional string text = 8;
        Colour colour = 9; bool bool = 10; google.protobuf.Timestamp time = 11; repeated int32 list = 12;
        map<string, string> map = 13; repeated Event passed = 14;
    }"#;

/// The first byte of `input` is a format, the others are one record. A decoder takes it, a part of it, and it again.
pub fn formats(input: &[u8]) {
    let (choice, value) = input.split_first().unwrap_or((&0, &[]));
    let columns = columns(choice % 3 != 0);
    let schema = |text: &str, message: Option<&str>| {
        let message = message.map(str::to_owned);
        Schemas::One(Arc::new(WriterSchema { text: text.to_owned(), references: Vec::new(), message }))
    };
    let format = match choice % 3 {
        0 => Format::Csv(CsvLayout {
            fields: columns.iter().rev().map(|column| column.name.clone()).collect(),
            delimiter: b',',
        }),
        1 => Format::Avro(schema(AVRO, None)),
        _ => Format::Protobuf(schema(PROTOBUF, Some("Event"))),
    };
    let part = &value[..value.len() / 2];
    let found = decoded(format.clone(), &columns, &records([value, part, value]));
    assert_eq!(found[0], found[2], "the same record twice");
    let part = decoded(format, &columns, &records([part]));
    assert_eq!(found[1], part[0], "alone, and after another");
    for fate in found {
        check_event(&columns, fate);
    }
}

fn decoded(format: Format, columns: &[Column], run: &Run) -> Vec<Fate> {
    let schema = Arc::new(Schema::new(columns.to_vec()));
    let mut decoder = Decoder::new(Rules { format, ..Rules::new(schema, "at") });
    fates(&decoder.decode(run), columns.len())
}

/// What the formats have; lines have nothing that is `nested`.
fn columns(nested: bool) -> Vec<Column> {
    let column = |(name, column_type)| Column { nullable: name != "at", ..Column::new(name, column_type) };
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let members = [
        ("at", ColumnType::Timestamp),
        ("int", ColumnType::Int),
        ("wide", decimal(25, 3)),
        ("float", ColumnType::Double),
        ("double", ColumnType::Double),
        ("decimal", decimal(10, 2)),
        ("fixed", decimal(5, 2)),
        ("text", ColumnType::String),
        ("colour", ColumnType::String),
        ("bool", ColumnType::Bool),
        ("time", ColumnType::Timestamp),
    ];
    let within = [("$.list[1]", ColumnType::Int), ("$.map.key", ColumnType::String)];
    let at_place = |(place, column_type)| {
        let path = Path::parse(place).expect("it is a path");
        Column { path, ..column((place, column_type)) }
    };
    members.into_iter().map(column).chain(within.into_iter().filter(|_| nested).map(at_place)).collect()
}

/// If a record has become an event, the same event in JSON becomes the same.
fn check_event(columns: &[Column], fate: Fate) {
    let Ok(cells) = &fate else { return };
    let flat = |column: &Column| {
        let timestamp_format = TimestampFormat::Micros;
        Column { path: Path::member(&column.name), timestamp_format, ..column.clone() }
    };
    let flat: Vec<Column> = columns.iter().map(flat).collect();
    let member = |(column, cell): (&Column, &Cell)| {
        let value = match (cell, column.column_type) {
            (Cell::Null, _) => Value::Null,
            (Cell::Int(value) | Cell::Time(value), _) => json!(value),
            // Shortest, and exact for whoever takes the nearest.
            (Cell::Double(bits), _) => json!(f64::from_bits(*bits)),
            (Cell::Decimal(value), ColumnType::Decimal { scale, .. }) => json!(format!("{value}e-{scale}")),
            (Cell::Text(text), _) => json!(text),
            (Cell::Bool(value), _) => json!(value),
            (Cell::Decimal(_), other) => panic!("a decimal in a column that is {other}"),
        };
        (column.name.clone(), value)
    };
    let object: serde_json::Map<_, _> = flat.iter().zip(cells).map(member).collect();
    let value = Value::Object(object).to_string();
    let again = decoded(Format::default(), &flat, &records([value.as_bytes()]));
    assert_eq!(again, [fate], "{value}");
}
