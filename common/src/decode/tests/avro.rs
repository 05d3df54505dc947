//! Avro: paths, resolution, decimals, unions; broken values; schemas from a registry, and what happens when they change.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    event::Reason,
    registry::{Login, Registry, Settings},
    schema::{Origin, Path},
    testing::registry::TestRegistry,
};

// The binary encoding, by hand.

fn long(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}

fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [long(text.as_ref().len() as i64), text.as_ref().to_vec()].concat()
}

/// A schema of a record with the time `at` and these fields.
fn record_schema(fields: &str) -> String {
    let at = r#"{"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}"#;
    let comma = if fields.is_empty() { "" } else { ", " };
    format!(r#"{{"type": "record", "name": "Event", "fields": [{at}{comma}{fields}]}}"#)
}

fn at_column() -> Column {
    Column::new("at", ColumnType::Timestamp)
}

fn schema_of(columns: Vec<Column>) -> Arc<Schema> {
    Arc::new(Schema::new(std::iter::once(at_column()).chain(columns).collect()))
}

fn writer_schema(text: &str) -> Arc<WriterSchema> {
    Arc::new(WriterSchema { text: text.to_owned(), references: Vec::new(), message: None })
}

fn decoder_by(schema: &str, columns: Vec<Column>) -> Decoder {
    let format = Format::Avro(Schemas::One(writer_schema(schema)));
    Decoder::new(Rules { format, ..Rules::new(schema_of(columns), "at") })
}

/// What the column `x` of one field `x` has: its value as text, or the detail of the dead letter.
fn read(field_type: &str, column: Column, value: &[u8]) -> String {
    let schema = record_schema(&format!(r#"{{"name": "x", "type": {field_type}}}"#));
    let mut decoded = decoder_by(&schema, vec![column]).decode_records(records([[long(5), value.to_vec()].concat()]));
    decoded.dead_letters.pop().map_or_else(|| first_value(&decoded), |letter| letter.detail)
}

/// Why a field `x` of this type cannot be read into `column`.
fn misfit(field_type: &str, column: Column) -> String {
    let schema = record_schema(&format!(r#"{{"name": "x", "type": {field_type}}}"#));
    match writer_schema(&schema).check(crate::registry::SchemaKind::Avro, &[at_column(), column], false) {
        Err(SchemaFault::Misfit(misfits)) => misfits.into_iter().map(|(_, message)| message).collect(),
        other => panic!("{other:?}"),
    }
}

fn logical(of: &str, logical: &str) -> String {
    format!(r#"{{"type": "{of}", "logicalType": "{logical}"}}"#)
}

#[test]
fn values_are_promoted_as_avro_has_it() {
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let bytes_decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}"#;
    let fixed_decimal =
        r#"{"type": "fixed", "name": "D", "size": 3, "logicalType": "decimal", "precision": 5, "scale": 2}"#;
    let uuid = r#"{"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}"#;
    let colour = r#"{"type": "enum", "name": "C", "symbols": ["red", "green"]}"#;
    let cases: Vec<(&str, ColumnType, Vec<u8>, &str)> = vec![
        (r#""int""#, ColumnType::Int, long(-7), "-7"),
        (r#""long""#, ColumnType::Int, long(i64::MIN), "-9223372036854775808"),
        (r#""int""#, ColumnType::Double, long(3), "3"),
        (r#""long""#, ColumnType::Double, long(-3), "-3"),
        (r#""float""#, ColumnType::Double, 0.5_f32.to_le_bytes().to_vec(), "0.5"),
        (r#""double""#, ColumnType::Double, (-1e15_f64).to_le_bytes().to_vec(), "-1000000000000000"),
        (bytes_decimal, decimal, text([0xFF, 0x38]), "-20.00"),
        (fixed_decimal, decimal, vec![0, 1, 2], "2.58"),
        (r#""long""#, decimal, long(7), "7.00"),
        (r#""string""#, decimal, text("1.5"), "1.50"),
        (r#""string""#, ColumnType::String, text("h\u{e9}"), "h\u{e9}"),
        (r#""bytes""#, ColumnType::String, text("b"), "b"),
        (colour, ColumnType::String, long(1), "green"),
        (uuid, ColumnType::String, (0..16).collect(), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (r#""boolean""#, ColumnType::Bool, vec![1], "true"),
        (r#""string""#, ColumnType::Timestamp, text("1970-01-01T00:00:01Z"), "1000000"),
        (r#"["null", "int"]"#, ColumnType::Double, [long(1), long(4)].concat(), "4"),
        (r#"["null", "int"]"#, ColumnType::Double, long(0), "null"),
        (r#"["int", "string"]"#, ColumnType::Int, [long(0), long(9)].concat(), "9"),
        (r#""null""#, ColumnType::Bool, vec![], "null"),
    ];
    for (field_type, column_type, value, expected) in cases {
        assert_eq!(read(field_type, column("x", column_type), &value), expected, "{field_type} as {column_type}");
    }
    for (unit, count, expected) in [("millis", 1_001, "1001000"), ("micros", 7, "7"), ("nanos", -1, "-1")] {
        let of = logical("long", &format!("timestamp-{unit}"));
        assert_eq!(read(&of, column("x", ColumnType::Timestamp), &long(count)), expected);
        assert_eq!(
            read(&of, column("x", ColumnType::Int), &long(count)),
            count.to_string(),
            "an int column has the count"
        );
    }
    let seconds = Column { timestamp_format: TimestampFormat::Seconds, ..column("x", ColumnType::Timestamp) };
    assert_eq!(read(r#""int""#, seconds, &long(3)), "3000000");
}

#[test]
fn a_value_that_does_not_fit_is_a_letter_that_names_the_column() {
    let range = Column { range: Some(Range::Int { min: 0, max: 9 }), nullable: false, ..column("x", ColumnType::Int) };
    let decimal = column("x", ColumnType::Decimal { precision: 4, scale: 2 });
    for (field_type, column, value, expected) in [
        (r#""int""#, range.clone(), long(10), "column x: found 10; allowed is 0 to 9"),
        (r#"["null", "int"]"#, range, long(0), "column x: found null; allowed is a whole number of 64 bits"),
        (
            r#"["int", "string"]"#,
            column("x", ColumnType::Int),
            [long(1), text("7")].concat(),
            "column x: found \"7\"; allowed is a whole number of 64 bits, or null",
        ),
        (
            r#"["int", {"type": "array", "items": "int"}]"#,
            column("x", ColumnType::Int),
            [long(1), long(0)].concat(),
            "column x: found a value of several parts; allowed is a whole number of 64 bits, or null",
        ),
        (
            r#""double""#,
            column("x", ColumnType::Double),
            f64::NAN.to_le_bytes().to_vec(),
            "column x: found NaN; allowed is a finite number, or null",
        ),
        (
            r#""long""#,
            decimal,
            long(100),
            "column x: found 100; allowed is a number, or one in quotes, of at most 4 digits, 2 of them after the point, or null",
        ),
        (
            &logical("long", "timestamp-millis"),
            column("x", ColumnType::Timestamp),
            long(i64::MAX),
            "column x: found a time beyond all calendars; allowed is a time as RFC 3339 has it, like \"2013-01-01T05:17:00Z\", in the years 1 to 9999, or null",
        ),
    ] {
        assert_eq!(read(field_type, column, &value), expected);
    }
}

#[test]
fn a_value_that_is_none_of_its_schema_is_malformed() {
    for (field_type, value, expected) in [
        (r#""long""#, vec![], "at byte 1: allowed is as many bytes as the value needs"),
        (r#""long""#, vec![0x80; 9], "at byte 1: allowed is as many bytes as the value needs"),
        (r#""long""#, vec![0xFF; 10], "at byte 1: allowed is a number of 64 bits"),
        (r#""int""#, long(1 << 40), "at byte 1: allowed is a number of 32 bits"),
        (r#""string""#, long(-1), "at byte 1: allowed is a length that is not negative"),
        (r#""string""#, long(i64::MAX), "at byte 11: allowed is as many bytes as the value needs"),
        (r#""string""#, text([0xFF]), "at byte 1: allowed is a text in UTF-8"),
        (r#""boolean""#, vec![2], "at byte 1: allowed is 0 or 1 for a boolean"),
        (r#"["null", "int"]"#, long(2), "at byte 1: allowed is the number of a branch of the union"),
        (
            r#"{"type": "enum", "name": "C", "symbols": ["red"]}"#,
            long(1),
            "at byte 1: allowed is the number of a symbol of the enum",
        ),
        (
            r#"["null", {"type": "array", "items": "null"}]"#,
            [long(1), long(i64::MAX)].concat(),
            "at byte 12: allowed is no more elements than the value has bytes",
        ),
        (r#""null""#, vec![0], "at byte 1: allowed is nothing after the value"),
    ] {
        let column_type = match field_type {
            r#""string""# => ColumnType::String,
            r#""boolean""# => ColumnType::Bool,
            _ if field_type.contains("enum") => ColumnType::String,
            _ => ColumnType::Int,
        };
        let column = match field_type.contains("array") {
            true => Column { path: Path::parse("$.x[0]").unwrap(), ..column("x", column_type) },
            false => column("x", column_type),
        };
        let found = read(field_type, column, &value);
        assert_eq!(found, expected, "{field_type}");
    }
}

#[test]
fn paths_lead_through_records_maps_arrays_and_unions() {
    let fields = r#"
        {"name": "unknown", "type": {"type": "map", "values": "double"}},
        {"name": "user", "type": ["null", {"type": "record", "name": "User", "fields": [
            {"name": "name", "type": "string"}, {"name": "id", "type": "long"},
            {"name": "friend", "type": ["null", "User"]}]}]},
        {"name": "items", "type": {"type": "array", "items": {"type": "map", "values": "int"}}}"#;
    let at = |path: &str, column: Column| Column { path: Path::parse(path).unwrap(), ..column };
    let columns = vec![
        at("$.user.id", column("id", ColumnType::Int)),
        at("$.user.friend.name", column("friend", ColumnType::String)),
        at("$.items[1].price", column("price", ColumnType::Int)),
        at("$.items[0].tax", column("tax", ColumnType::Int)),
    ];
    let mut decoder = decoder_by(&record_schema(fields), columns);
    let map = |entries: &[(&str, i64)]| {
        let entries: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), long(*value)].concat()).collect();
        [long(-1), long(entries.len() as i64), entries, long(0)].concat()
    };
    let doubles = [long(1), text("k"), 0.5_f64.to_le_bytes().to_vec(), long(0)].concat();
    let friend = [text("Ada"), long(2), long(0)].concat();
    let user = [long(1), text("Bo"), long(1), long(1), friend].concat();
    let items = [long(1), map(&[("tax", 7)]), long(1), map(&[("price", 9)]), long(0)].concat();
    let mut row = |value: Vec<u8>| {
        let decoded = decoder.decode_records(records([value]));
        assert_eq!(decoded.dead_letters, []);
        (1..=4).map(|column| value_in(&plain(&decoded), column, 0)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row([long(0), doubles.clone(), user, items].concat()), "1 Ada 9 7");
    assert_eq!(row([long(0), doubles, long(0), long(0)].concat()), "null null null null");
}

#[test]
fn what_the_writer_lacks_is_null_and_what_it_has_more_is_passed_over() {
    let schema = record_schema(
        r#"{"name": "more", "type": {"type": "array", "items": ["null", "string"]}}, {"name": "y", "type": "int"}"#,
    );
    let mut decoder = decoder_by(&schema, vec![column("x", ColumnType::String), column("y", ColumnType::Int)]);
    let more = [long(2), long(0), long(1), text("z"), long(0)].concat();
    let decoded = decoder.decode_records(records([[long(0), more, long(7)].concat()]));
    assert_eq!(decoded.dead_letters, []);
    assert_eq!(
        (value_in(&plain(&decoded), 1, 0), value_in(&plain(&decoded), 2, 0)),
        ("null".to_owned(), "7".to_owned())
    );
}

#[test]
fn what_does_not_fit_is_said_of_each_column() {
    let required = Column { nullable: false, ..column("y", ColumnType::Int) };
    assert_eq!(
        misfit(r#""int""#, required),
        "column y int at $.y: found nothing in the schema; allowed is a field, since the column may not be null"
    );
    assert_eq!(
        misfit(r#""long""#, column("x", ColumnType::Timestamp)),
        "column x timestamp? at $.x: found long in the schema; allowed is a long of a timestamp type or a string as RFC 3339 \
         has it (a plain long needs `format` in the pipeline)"
    );
    for (field_type, column_type) in [
        (r#""double""#, ColumnType::Int),
        (r#""string""#, ColumnType::Int),
        (r#""double""#, ColumnType::Decimal { precision: 38, scale: 10 }),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}"#,
            ColumnType::Decimal { precision: 38, scale: 2 },
        ),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 0}"#,
            ColumnType::Decimal { precision: 10, scale: 2 },
        ),
        (r#""long""#, ColumnType::String),
        (r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}"#, ColumnType::String),
        (r#""int""#, ColumnType::Bool),
        (&logical("int", "date"), ColumnType::Timestamp),
        (&logical("long", "local-timestamp-micros"), ColumnType::Timestamp),
        (r#"{"type": "map", "values": "int"}"#, ColumnType::Int),
        (r#"["null", "string"]"#, ColumnType::Int),
    ] {
        assert!(misfit(field_type, column("x", column_type)).starts_with("column x "), "{field_type} as {column_type}");
    }
}

// Schemas of a registry.

fn framed(id: u32, value: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), value].concat()
}

pub(super) fn registered(server: &TestRegistry, subject: &str, on_incompatible: OnIncompatible) -> Format {
    let settings = Settings { url: server.url.clone(), login: Login::None, timeout: SignedDuration::from_secs(60) };
    let registry = Arc::new(Registry::new(settings).unwrap());
    Format::Avro(Schemas::Registered(RegisteredSchemas { registry, subject: subject.to_owned(), on_incompatible }))
}

async fn prepared(decoder: &mut Decoder, values: Vec<Vec<u8>>) -> Result<Decoded, Error> {
    let records: Run = records(values).into_iter().collect();
    decoder.prepare(&records).await?;
    Ok(decoder.decode(&records))
}

#[tokio::test]
async fn each_value_is_read_by_the_schema_it_names() {
    let server = TestRegistry::start().await;
    let old = server.register("events-value", "AVRO", &record_schema(r#"{"name": "x", "type": "int"}"#), &[]);
    let swapped = r#"{"type": "record", "name": "Event", "fields": [{"name": "y", "type": "string"},
        {"name": "x", "type": ["null", "long"]}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
    let new = server.register("events-value", "AVRO", swapped, &[]);
    let columns = vec![column("x", ColumnType::Double), column("y", ColumnType::String)];
    let format = registered(&server, "events-value", OnIncompatible::Stop);
    let rules = Rules { format, ..Rules::new(schema_of(columns), "at") };
    rules.check_newest().await.unwrap();
    let mut decoder = Decoder::new(rules);
    let older = framed(old, &[long(1_000), long(3)].concat());
    let newer = framed(new, &[text("why"), long(1), long(4), long(2)].concat());
    let unknown = framed(77, &[]);
    let values = vec![older.clone(), newer, older.clone(), unknown, vec![1, 2], vec![], older[..3].to_vec(), older];
    let decoded = prepared(&mut decoder, values.clone()).await.unwrap();
    let events = plain(&decoded);
    let rows: Vec<String> =
        (0..4).map(|row| (0..3).map(|column| value_in(&events, column, row)).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["1000 3 null", "2000 4 why", "1000 3 null", "1000 3 null"]);
    let details: Vec<String> =
        decoded.dead_letters.iter().map(|l| l.detail.replace(server.url.as_str(), "…")).collect();
    let framing = "allowed is Confluent's framing: a 0 and the 4 bytes of a schema's id before the value";
    let expected = [
        "schema 77 is not in the registry at …".to_owned(),
        format!("at byte 0: found 1; {framing}"),
        format!("at byte 0: found nothing; {framing}"),
        format!("at byte 0: found only 3 bytes; {framing}"),
    ];
    assert_eq!(details, expected);
    let reasons: Vec<Reason> = decoded.dead_letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::Schema, Reason::Malformed, Reason::Malformed, Reason::Malformed]);
    let asked = server.asked().len();
    prepared(&mut decoder, values).await.unwrap();
    assert_eq!(server.asked().len(), asked, "nothing is asked twice");
}

#[tokio::test]
async fn an_incompatible_schema_stops_the_source_and_both_are_shown() {
    let server = TestRegistry::start().await;
    let good = server.register("events-value", "AVRO", &record_schema(r#"{"name": "x", "type": "int"}"#), &[]);
    let rules = |on_incompatible| {
        let columns = vec![Column { nullable: false, ..column("x", ColumnType::Int) }];
        Rules { format: registered(&server, "events-value", on_incompatible), ..Rules::new(schema_of(columns), "at") }
    };
    let mut decoder = Decoder::new(rules(OnIncompatible::Stop));
    let value = framed(good, &[long(0), long(1)].concat());
    assert_eq!(prepared(&mut decoder, vec![value.clone()]).await.unwrap().events.num_rows(), 1);

    let bad = server.register("events-value", "AVRO", &record_schema(r#"{"name": "x", "type": "string"}"#), &[]);
    let values = vec![value, framed(bad, &[long(0), text("1")].concat())];
    let error = prepared(&mut decoder, values.clone()).await.unwrap_err();
    assert!(!error.is_transient());
    let said = error.to_string().replace(server.url.as_str(), "http://registry/");
    insta::assert_snapshot!(said);
    let newest = rules(OnIncompatible::Stop).check_newest().await.unwrap_err();
    assert_eq!(newest.to_string(), error.to_string(), "known before the first record");

    rules(OnIncompatible::DeadLetter).check_newest().await.unwrap();
    let decoded = prepared(&mut Decoder::new(rules(OnIncompatible::DeadLetter)), values).await.unwrap();
    assert_eq!((decoded.events.num_rows(), decoded.dead_letters.len()), (1, 1));
    let detail = decoded.dead_letters[0].detail.replace(server.url.as_str(), "http://registry/");
    let expected = "schema 2 of http://registry/ does not fit the columns of the source: column x int at $.x: found string in \
                    the schema; allowed is int or long";
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn what_is_no_avro_schema_stops_the_source() {
    let server = TestRegistry::start().await;
    let protobuf = server.register("a", "PROTOBUF", "syntax = \"proto3\";", &[]);
    let broken = server.register("b", "AVRO", "{", &[]);
    for (id, expected) in [(protobuf, "it is of the kind Protobuf, not Avro"), (broken, "it is not JSON")] {
        let rules =
            Rules { format: registered(&server, "a", OnIncompatible::Stop), ..Rules::new(schema_of(vec![]), "at") };
        let error = prepared(&mut Decoder::new(rules), vec![framed(id, &[0])]).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_fails_is_asked_again() {
    let server = TestRegistry::start().await;
    let id = server.register("events-value", "AVRO", &record_schema(""), &[]);
    let format = registered(&server, "events-value", OnIncompatible::Stop);
    let mut decoder = Decoder::new(Rules { format, ..Rules::new(schema_of(vec![]), "at") });
    server.answer_instead(503, "");
    let error = prepared(&mut decoder, vec![framed(id, &long(1))]).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(prepared(&mut decoder, vec![framed(id, &long(1))]).await.unwrap().events.num_rows(), 1);
}

#[tokio::test]
async fn keys_are_records_or_whole() {
    let server = TestRegistry::start().await;
    let whole = server.register("events-key", "AVRO", "\"string\"", &[]);
    let record = server.register(
        "events-key",
        "AVRO",
        r#"{"type": "record", "name": "Key", "fields": [{"name": "id", "type": "string"}]}"#,
        &[],
    );
    let at = Column { origin: Origin::Timestamp, ..at_column() };
    let id = Column { origin: Origin::Key, ..column("id", ColumnType::String) };
    let keys = KeyFormat::As(registered(&server, "events-key", OnIncompatible::Stop));
    let rules = Rules { keys, ..Rules::new(Arc::new(Schema::new(vec![at, id])), "at") };
    rules.check_newest().await.unwrap();
    let mut decoder = Decoder::new(rules);
    let mut records = records(["{}", "{}", "{}", "{}"]);
    records[0].key = Some(framed(whole, &text("a")).into());
    records[1].key = Some(framed(record, &text("b")).into());
    records[2].key = None;
    records[3].key = Some(Bytes::from_static(b"c"));
    let records: Run = records.into_iter().collect();
    decoder.prepare(&records).await.unwrap();
    let decoded = decoder.decode(&records);
    let found: Vec<String> = (0..3).map(|row| value_in(&plain(&decoded), 1, row)).collect();
    assert_eq!(found, ["a", "b", "null"]);
    assert!(decoded.dead_letters[0].detail.starts_with("the key: at byte 0: found 99;"));
}

proptest! {
    #[test]
    fn random_bytes_become_events_or_letters(values in vec(prop_oneof![vec(any::<u8>(), 0..80), vec(0..8_u8, 0..40)], 1..40)) {
        let fields = r#"{"name": "int", "type": "int"}, {"name": "string", "type": ["null", "string"]},
            {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": ["null", "Event", "double"]}}},
            {"name": "bool", "type": ["boolean", "null", "long"]}"#;
        let columns = ["int", "string", "bool"].map(|name| columns_of_all_types().into_iter().find(|c| c.name == name).unwrap());
        let mut decoder = decoder_by(&record_schema(fields), columns.to_vec());
        let decoded = decoder.decode_records(records(&values));
        prop_assert_eq!(decoded.events.num_rows() + decoded.dead_letters.len(), values.len());
    }
}
