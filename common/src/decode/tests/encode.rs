//! Events written as records are the same events when they are decoded, in every format; what cannot be written is said.

use arrow::array::{BinaryArray, Int64Array, StringArray};
use arrow::datatypes::Field;
use proptest::{collection::vec, option, prelude::*};

use super::{
    super::{encode::EncodeError, schemas::WriterSchema},
    avro::registered,
    formats::{self, Event, PROTO, event},
    *,
};
use crate::testing::registry::TestRegistry;

fn schema_of(text: &str) -> Schemas {
    Schemas::One(Arc::new(WriterSchema { text: text.to_owned(), references: Vec::new(), message: None }))
}

fn rules(columns: Vec<Column>, format: Format) -> Rules {
    let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
    let columns = std::iter::once(at).chain(columns).collect();
    Rules { format, ..Rules::new(Arc::new(Schema::new(columns)), "at") }
}

fn around() -> Vec<Column> {
    vec![
        Column { origin: Origin::Header("trace".to_owned()), ..column("trace", ColumnType::Int) },
        Column { origin: Origin::Key, ..column("who", ColumnType::String) },
    ]
}

/// The events with a header, and a key of their own where `loaded` is not set.
fn with_around(events: &[Event], around: &[(Option<i64>, String)], loaded: bool) -> RecordBatch {
    let batch = formats::batch(events);
    let around = || around.iter().cycle().take(events.len());
    let keys = around().map(|(_, who)| (!loaded).then_some(who.as_bytes()));
    let columns: [(&str, ArrayRef); 3] = [
        ("trace", Arc::new(around().map(|(trace, _)| *trace).collect::<Int64Array>())),
        ("who", Arc::new(around().map(|(_, who)| Some(who)).collect::<StringArray>())),
        ("_key", Arc::new(keys.collect::<BinaryArray>())),
    ];
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut arrays = batch.columns().to_vec();
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap()
}

/// The records of `batch`, decoded: their values, and the events.
async fn there_and_back(rules: &Rules, batch: &RecordBatch) -> (Vec<crate::log::NewRecord>, RecordBatch) {
    let mut encoder = Encoder::new(rules, Given::default()).await.unwrap();
    encoder.check(batch).await.unwrap();
    let made = encoder.encode(batch).unwrap();
    let record = |(offset, made): (usize, &crate::log::NewRecord)| Record {
        topic: "flights".into(),
        partition: Partition(3),
        offset: offset as u64,
        timestamp_us: NOON_US,
        key: made.key.clone(),
        headers: made.headers.clone(),
        value: made.value.clone(),
    };
    let records: Run = made.iter().enumerate().map(record).collect();
    let mut decoder = Decoder::new(rules.clone());
    decoder.prepare(&records).await.unwrap();
    let decoded = decoder.decode(&records);
    assert_eq!(decoded.dead_letters, []);
    (made, plain(&decoded))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn l7_events_written_as_records_are_the_same_events_in_every_format(
        events in vec(event(), 1..40),
        beside in vec((option::of(any::<i64>()), "[a-z ]{1,9}"), 1..5),
        loaded in any::<bool>(),
    ) {
        let batch = with_around(&events, &beside, loaded);
        let fields = formats::batch(&events).schema().fields().iter().map(|field| field.name().clone()).collect();
        let (schema, avro_values) = formats::avro(&events);
        let message = super::protobuf::descriptor(PROTO, "Event");
        let messages = events.iter().map(|event| formats::protobuf(&message, event)).collect::<Vec<_>>();
        let formats = [
            (Format::default(), None),
            (Format::Csv(CsvLayout { fields, delimiter: b';' }), None),
            (Format::Avro(schema_of(&schema)), Some(avro_values)),
            (Format::Protobuf(schema_of(PROTO)), Some(messages)),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (format, others) in formats {
            let name = format.name();
            let rules = rules(columns_of_all_types().into_iter().chain(around()).collect(), format);
            let (made, again) = runtime.block_on(there_and_back(&rules, &batch));
            for column in rules.schema.columns() {
                prop_assert_eq!(again.column_by_name(&column.name), batch.column_by_name(&column.name), "{}", name);
            }
            prop_assert!(made.iter().zip(beside.iter().cycle()).all(|(made, (_, who))| made.key.as_deref() == Some(who.as_bytes())));
            // `arrow_avro` and `prost_reflect` write the same bytes.
            if let Some(others) = others {
                let values: Vec<Vec<u8>> = made.iter().map(|made| made.value.as_ref().unwrap().to_vec()).collect();
                prop_assert_eq!(values, others, "{}", name);
            }
        }
    }
}

/// Columns deep in a record, of three events: with all of them, with some, and with none.
fn deep() -> (Vec<Column>, RecordBatch) {
    let at = |path: &str, column: Column| Column { path: Path::parse(path).unwrap(), ..column };
    let columns = vec![
        at("$.user.id", column("id", ColumnType::Int)),
        at("$.items[1].price", column("price", ColumnType::Decimal { precision: 9, scale: 2 })),
        at("$.tags['first class']", column("class", ColumnType::String)),
    ];
    let rows = [
        r#"{"at":1,"user":{"id":7},"items":[{},{"price":-1.5}],"tags":{"first class":"yes"}}"#,
        r#"{"at":2,"items":[null,{"price":200}]}"#,
        r#"{"at":3}"#,
    ];
    let decoded = Decoder::new(rules(columns.clone(), Format::default())).decode_records(records(rows));
    assert_eq!(decoded.dead_letters, []);
    (columns, decoded.events)
}

const DEEP_AVRO: &str = r#"{"type": "record", "name": "Deep", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "more", "type": ["string", "null"]},
    {"name": "user", "type": {"type": "record", "name": "User", "fields": [{"name": "id", "type": ["null", "int"]}]}},
    {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
        {"name": "price", "type": ["null", {"type": "fixed", "name": "Price", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 2}]}]}}},
    {"name": "tags", "type": {"type": "map", "values": "string"}}]}"#;

const DEEP_PROTO: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/wrappers.proto\"; \
                          import \"confluent/type/decimal.proto\"; message Other { int32 x = 1; } \
                          message User { google.protobuf.Int64Value id = 1; } message Item { confluent.type.Decimal price = 1; } \
                          message Deep { google.protobuf.Timestamp at = 1; User user = 2; repeated Item items = 3; \
                          map<string, string> tags = 4; }";

#[tokio::test]
async fn l7_columns_deep_in_records_come_back_also_by_schemas_of_a_registry() {
    let server = TestRegistry::start().await;
    let (columns, events) = deep();
    let own = events.columns()[..4].to_vec();
    let avro_id = server.register("avro-value", "AVRO", DEEP_AVRO, &[]);
    let proto_id = server.register("proto-value", "PROTOBUF", DEEP_PROTO, &[]);
    let Format::Avro(avro) = registered(&server, "avro-value", OnIncompatible::Stop) else { unreachable!() };
    let Format::Avro(proto) = registered(&server, "proto-value", OnIncompatible::Stop) else { unreachable!() };
    let named = WriterSchema { text: DEEP_PROTO.to_owned(), references: Vec::new(), message: Some("Deep".to_owned()) };
    for (format, start) in [
        (Format::default(), Vec::new()),
        (Format::Avro(schema_of(DEEP_AVRO)), Vec::new()),
        (Format::Avro(avro), [&[0], avro_id.to_be_bytes().as_slice()].concat()),
        (Format::Protobuf(Schemas::One(Arc::new(named))), Vec::new()),
        (Format::Protobuf(proto), [&[0], proto_id.to_be_bytes().as_slice(), &[2, 6]].concat()),
    ] {
        let name = format.name();
        let (made, again) = there_and_back(&rules(columns.clone(), format), &events).await;
        let cast = |array: &ArrayRef, like: &ArrayRef| arrow::compute::cast(array, like.data_type()).unwrap();
        for (own, again) in own.iter().zip(again.columns()) {
            assert_eq!(&cast(own, again), again, "{name}");
        }
        assert!(made.iter().all(|made| made.value.as_ref().unwrap().starts_with(&start)), "{name}");
    }
}

async fn refused(rules: &Rules, batch: Option<&RecordBatch>) -> String {
    let mut encoder = match Encoder::new(rules, Given::default()).await {
        Ok(encoder) => encoder,
        Err(error) => return error.to_string(),
    };
    encoder.check(batch.expect("the rules are refused")).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_cannot_be_written_is_said_by_name() {
    let of = |origin| Column { origin, ..column("x", ColumnType::Int) };
    let why = refused(&rules(vec![of(Origin::Offset)], Format::default()), None).await;
    assert_eq!(why, "column `x` cannot be written: it is where and when the log has a record, which a log gives anew");
    let plain = rules(vec![column("x", ColumnType::String)], Format::default());
    let columns = [("x".to_owned(), Protection::Mask)].into();
    let masked = Rules { protected: Some(Protected { columns, key: None }), ..plain.clone() };
    assert!(refused(&masked, None).await.starts_with("column `x` cannot be written: it is protected"));
    let framed = Rules { format: Format::Json(Framing::Confluent), ..plain };
    assert_eq!(refused(&framed, None).await, "values are framed JSON, and which schema an event was of is not kept");
    let when = Column { origin: Origin::Timestamp, ..column("when", ColumnType::Timestamp) };
    let timed = Rules { event_time: "when".to_owned(), ..rules(vec![when], Format::default()) };
    let refused_anew = Encoder::new(&timed, Given { anew: true, ..Given::default() }).await.unwrap_err().to_string();
    assert!(refused_anew.starts_with("column `when` cannot be written: it is the event time"), "{refused_anew}");
    let at = |path: &str, name: &str| Column { path: Path::parse(path).unwrap(), ..column(name, ColumnType::Int) };
    let both = rules(vec![at("$.a.b", "b"), at("$.a[0]", "x")], Format::default());
    assert!(refused(&both, None).await.starts_with("column `x` cannot be written: at $.a[0] there is an object"));
    let server = TestRegistry::start().await;
    let nothing = rules(vec![column("x", ColumnType::Int)], registered(&server, "none-value", OnIncompatible::Stop));
    assert!(refused(&nothing, None).await.contains("no schema of the subject none-value"));
}

#[tokio::test]
async fn an_event_that_would_be_another_one_is_said_before_it_is_sent() {
    let text = |json: &str| {
        Decoder::new(rules(vec![column("x", ColumnType::String)], Format::default()))
            .decode_records(records([json]))
            .events
    };
    let fields = vec!["at".to_owned(), "x".to_owned()];
    let csv = rules(vec![column("x", ColumnType::String)], Format::Csv(CsvLayout { fields, delimiter: b',' }));
    let why = refused(&csv, Some(&text(r#"{"at":1,"x":""}"#))).await;
    assert_eq!(why, "event 0: column `x` cannot be written: its value  would be read as null");

    let avro = |field: &str| {
        let at = r#"{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#;
        let schema = format!(r#"{{"type": "record", "name": "E", "fields": [{at}, {field}]}}"#);
        rules(vec![column("x", ColumnType::String)], Format::Avro(schema_of(&schema)))
    };
    let x = r#"{"name": "x", "type": "string"}"#;
    let why = refused(&avro(x), Some(&text(r#"{"at":1000}"#))).await;
    assert_eq!(why, "event 0: column `x` cannot be written: the schema has string at $.x, which cannot be null");
    let why = refused(&avro(x), Some(&text(r#"{"at":1,"x":"a"}"#))).await;
    assert!(why.contains("column `at` cannot be written: the schema has long timestamp-millis at $.at"), "{why}");
    let why = refused(&avro(r#"{"name": "y", "type": "int"}"#), Some(&text(r#"{"at":1000}"#))).await;
    assert_eq!(why, "event 0: the schema wants int at $.y, and no column is taken from there");
    let why = refused(
        &avro(r#"{"name": "x", "type": {"type": "enum", "name": "X", "symbols": ["b"]}}"#),
        Some(&text(r#"{"at":1000,"x":"a"}"#)),
    )
    .await;
    assert_eq!(why, "event 0: column `x` cannot be written: the schema has enum at $.x, which cannot say a");

    let proto = "syntax = \"proto3\"; message E { int64 at = 1; string x = 2; }";
    let proto = rules(vec![column("x", ColumnType::String)], Format::Protobuf(schema_of(proto)));
    let why = refused(&proto, Some(&text(r#"{"at":1}"#))).await;
    assert_eq!(
        why,
        "event 0: column `x` cannot be written: it is null, and an absent E.x is a default: the schema cannot say null"
    );
    let late = Rules { behind_max: Some(jiff::SignedDuration::from_hours(1)), ..avro(x) };
    let why = refused(&late, Some(&text(r#"{"at":1000,"x":"a"}"#))).await;
    assert!(why.contains("it would be a dead letter (too_far_behind)"), "{why}");
    let wrong = Encoder::new(&proto, Given::default())
        .await
        .unwrap()
        .encode(&RecordBatch::new_empty(Arc::new(ArrowSchema::empty())));
    assert!(matches!(wrong, Err(EncodeError::Batch(_))));
}

#[tokio::test]
async fn what_is_given_is_written_and_what_a_log_gives_may_become_another() {
    let offset = Column { origin: Origin::Offset, ..column("at_offset", ColumnType::Int) };
    let rules = rules(vec![column("x", ColumnType::String), offset], Format::Json(Framing::Confluent));
    let framed = |json: &str| Bytes::from([&[0, 0, 0, 0, 9], json.as_bytes()].concat());
    let record = |offset: u64, value| Record { offset, value: Some(value), ..records(["{}"]).remove(0) };
    let read = Decoder::new(rules.clone()).decode_records(vec![record(41, framed(r#"{"at":1,"x":"a"}"#))]);
    assert_eq!(read.dead_letters, []);
    let given = Given { schema_id: Some(7), anew: true, ..Given::default() };
    let mut encoder = Encoder::new(&rules, given).await.unwrap();
    encoder.check(&read.events).await.unwrap();
    let made = encoder.encode(&read.events).unwrap().remove(0);
    assert_eq!(made.value.unwrap(), [&[0, 0, 0, 0, 7], br#"{"at":1,"x":"a"}"#.as_slice()].concat());
    // All else is compared still.
    let strict = Encoder::new(&rules, Given { anew: false, ..given }).await.unwrap_err().to_string();
    assert!(strict.contains("column `at_offset` cannot be written"), "{strict}");
}
