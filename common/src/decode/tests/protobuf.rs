//! Protobuf: kinds and well-known types, presence, paths, merging; broken messages; schemas and messages of a registry.

use proptest::{collection::vec, prelude::*};
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, Value, prost::Message as _};

use super::*;
use crate::{
    registry::{Login, Registry, SchemaKind, Settings},
    schema::Path,
    testing::registry::TestRegistry,
};

/// A file with the message `Event` of the time `at` and these fields, and what stands beside it.
fn file(fields: &str, beside: &str) -> String {
    format!(
        "syntax = \"proto3\"; package shop; import \"google/protobuf/timestamp.proto\"; \
         import \"google/protobuf/wrappers.proto\"; import \"confluent/type/decimal.proto\"; \
         import \"google/type/decimal.proto\"; \
         message Event {{ google.protobuf.Timestamp at = 1; {fields} }} {beside}"
    )
}

fn writer_schema(text: &str) -> Arc<WriterSchema> {
    Arc::new(WriterSchema { text: text.to_owned(), references: Vec::new(), message: Some("shop.Event".to_owned()) })
}

fn schema_of(columns: Vec<Column>) -> Arc<Schema> {
    let at = Column { path: Path::member("at"), ..Column::new("at", ColumnType::Timestamp) };
    Arc::new(Schema::new(std::iter::once(at).chain(columns).collect()))
}

fn decoder_by(text: &str, columns: Vec<Column>) -> Decoder {
    let format = Format::Protobuf(Schemas::One(writer_schema(text)));
    Decoder::new(Rules { format, ..Rules::new(schema_of(columns), "at") })
}

/// The message as others compile it: by `protox` alone, without what is built in here.
pub(super) fn descriptor(text: &str, name: &str) -> MessageDescriptor {
    use protox::file::{ChainFileResolver, DescriptorSetFileResolver, File, GoogleFileResolver};
    let set = |name, text| File::from_source(name, text).unwrap().file_descriptor_proto().clone();
    let confluent = "syntax = \"proto3\"; package confluent.type; message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }";
    let google = "syntax = \"proto3\"; package google.type; message Decimal { string value = 1; }";
    let files = [
        set("test.proto", text),
        set("confluent/type/decimal.proto", confluent),
        set("google/type/decimal.proto", google),
    ];
    let mut resolver = ChainFileResolver::new();
    resolver
        .add(DescriptorSetFileResolver::new(prost_reflect::prost_types::FileDescriptorSet { file: files.to_vec() }));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file("test.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name(name).unwrap()
}

/// Field 1 of the test's messages: five seconds and seven nanoseconds.
const AT: &[u8] = &[0x0A, 4, 8, 5, 16, 7];

/// What the column `x` has of a message with the field `x = 2` that is declared so, and written so after the time.
fn read(declared: &str, beside: &str, column: Column, written: &[u8]) -> String {
    let mut decoder = decoder_by(&file(declared, beside), vec![column]);
    let mut decoded = decoder.decode_records(records([[AT, written].concat()]));
    decoded.dead_letters.pop().map_or_else(|| first_value(&decoded), |letter| letter.detail)
}

fn written(kind: &str, value: Value) -> Vec<u8> {
    let mut message = DynamicMessage::new(descriptor(&file(&format!("{kind} x = 2;"), COLOURS), "shop.Event"));
    message.set_field_by_name("x", value);
    message.encode_to_vec()
}

const COLOURS: &str = "enum Colour { RED = 0; GREEN = 7; }";

#[test]
fn every_kind_has_its_columns() {
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let (int, double, string, boolean) = (ColumnType::Int, ColumnType::Double, ColumnType::String, ColumnType::Bool);
    for (kind, value, column_type, expected) in [
        ("int32", Value::I32(-7), int, "-7"),
        ("int64", Value::I64(i64::MIN), int, "-9223372036854775808"),
        ("uint32", Value::U32(u32::MAX), int, "4294967295"),
        ("uint64", Value::U64(1 << 40), int, "1099511627776"),
        ("uint64", Value::U64(u64::MAX), double, "18446744073709552000"),
        ("sint32", Value::I32(i32::MIN), int, "-2147483648"),
        ("sint64", Value::I64(-2), int, "-2"),
        ("fixed32", Value::U32(u32::MAX), int, "4294967295"),
        ("fixed64", Value::U64(9), decimal, "9.00"),
        ("sfixed32", Value::I32(-9), int, "-9"),
        ("sfixed64", Value::I64(-9), double, "-9"),
        ("float", Value::F32(0.5), double, "0.5"),
        ("double", Value::F64(-0.25), double, "-0.25"),
        ("bool", Value::Bool(true), boolean, "true"),
        ("string", Value::String("h\u{e9}".to_owned()), string, "h\u{e9}"),
        ("string", Value::String("1.5".to_owned()), decimal, "1.50"),
        ("string", Value::String("1970-01-01T00:00:01Z".to_owned()), ColumnType::Timestamp, "1000000"),
        ("Colour", Value::EnumNumber(7), string, "GREEN"),
        ("Colour", Value::EnumNumber(7), int, "7"),
    ] {
        let found = read(&format!("{kind} x = 2;"), COLOURS, column("x", column_type), &written(kind, value)[..]);
        assert_eq!(found, expected, "{kind} as {column_type}");
    }
}

#[test]
fn absence_is_null_where_it_is_told_from_a_default() {
    for (declared, column_type, expected) in [
        ("int32 x = 2;", ColumnType::Int, "0"),
        ("string x = 2;", ColumnType::String, ""),
        ("bool x = 2;", ColumnType::Bool, "false"),
        ("double x = 2;", ColumnType::Double, "0"),
        ("Colour x = 2;", ColumnType::String, "RED"),
        ("optional int32 x = 2;", ColumnType::Int, "null"),
        ("oneof one { int32 x = 2; int32 y = 3; }", ColumnType::Int, "null"),
        ("google.protobuf.Int64Value x = 2;", ColumnType::Int, "null"),
        ("google.protobuf.Timestamp x = 2;", ColumnType::Timestamp, "null"),
        ("confluent.type.Decimal x = 2;", ColumnType::Decimal { precision: 5, scale: 1 }, "null"),
    ] {
        assert_eq!(read(declared, COLOURS, column("x", column_type), &[]), expected, "{declared}");
    }
    // And what is there and empty has the default.
    for (declared, column_type, expected) in [
        ("google.protobuf.Int64Value x = 2;", ColumnType::Int, "0"),
        ("google.protobuf.StringValue x = 2;", ColumnType::String, ""),
        ("google.protobuf.Timestamp x = 2;", ColumnType::Timestamp, "0"),
        ("confluent.type.Decimal x = 2;", ColumnType::Decimal { precision: 5, scale: 1 }, "0.0"),
    ] {
        assert_eq!(read(declared, COLOURS, column("x", column_type), &[0x12, 0]), expected, "{declared}");
    }
    let proto2 = "syntax = \"proto2\"; package shop; message Event { required string at = 1; optional int32 x = 2 [default = 7]; }";
    let mut decoder = decoder_by(proto2, vec![column("x", ColumnType::Int)]);
    let decoded = decoder.decode_records(records([b"\x0a\x141970-01-01T00:00:01Z"]));
    assert_eq!(first_value(&decoded), "null", "also where proto2 declares a default");
}

#[test]
fn well_known_messages_are_values() {
    let decimal = column("x", ColumnType::Decimal { precision: 10, scale: 2 });
    let message = |bytes: &[u8]| [&[0x12, bytes.len() as u8], bytes].concat();
    let confluent = |bytes: &[u8]| read("confluent.type.Decimal x = 2;", "", decimal.clone(), &message(bytes));
    assert_eq!(confluent(&[10, 2, 0xFF, 0x38, 16, 4, 24, 1]), "-20.00");
    assert_eq!(confluent(&[10, 1, 5, 24, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), "500.00");
    assert!(confluent(&[10, 1, 5, 24, 3]).starts_with("column x: found 5e-3; allowed is"));
    assert!(
        confluent(&[[10, 17].as_slice(), &[0x7F; 17]].concat())
            .starts_with("column x: found a number of more than 128 bits;")
    );
    let text = message(b"\x0a\x041.25");
    assert_eq!(read("google.type.Decimal x = 2;", "", decimal, &text), "1.25");
    assert_eq!(read("google.protobuf.StringValue x = 2;", "", column("x", ColumnType::String), &text), "1.25");
    let time = |bytes: &[u8]| {
        read("google.protobuf.Timestamp x = 2;", "", column("x", ColumnType::Timestamp), &message(bytes))
    };
    assert_eq!(time(&[8, 1, 16, 0xE7, 7]), "1000000");
    assert_eq!(time(&[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 16, 0xE8, 7]), "-999999");
    assert!(time(&[16, 0x80, 0x94, 0xEB, 0xDC, 3]).starts_with("column x: found a time beyond all calendars;"));
    let millis = Column { timestamp_format: TimestampFormat::Millis, ..column("x", ColumnType::Timestamp) };
    assert_eq!(read("int64 x = 2;", "", millis, &[16, 3]), "3000");
}

/// Paths of all sorts, and a message for them.
fn deep() -> (String, Vec<Column>) {
    let fields = "User user = 2; repeated User friends = 3; map<string, int32> counts = 4; repeated sint32 numbers = 5; \
                  oneof which { string a = 6; User b = 7; bool c = 8; } map<string, User> people = 9; \
                  repeated string names = 10;";
    let user = "message User { string name = 1; optional int32 id = 2; User friend = 3; }";
    let at = |path: &str, column: Column| Column { path: Path::parse(path).unwrap(), ..column };
    let columns = vec![
        at("$.user.name", column("name", ColumnType::String)),
        at("$.user.friend.id", column("friend", ColumnType::Int)),
        at("$.friends[1].id", column("second", ColumnType::Int)),
        at("$.counts.red", column("red", ColumnType::Int)),
        at("$.numbers[2]", column("third", ColumnType::Int)),
        at("$.a", column("a", ColumnType::String)),
        at("$.b.name", column("b", ColumnType::String)),
        at("$.people.Ada.id", column("ada", ColumnType::Int)),
        at("$.names[0]", column("first", ColumnType::String)),
    ];
    (file(fields, user), columns)
}

fn row(decoder: &mut Decoder, message: Vec<u8>) -> String {
    let columns = decoder.rules.schema.columns().len();
    let decoded = decoder.decode_records(records([message]));
    assert_eq!(decoded.dead_letters, []);
    (1..columns).map(|column| value_in(&plain(&decoded), column, 0)).collect::<Vec<_>>().join(" ")
}

#[test]
fn paths_lead_through_messages_lists_and_maps() {
    let (text, columns) = deep();
    let mut decoder = decoder_by(&text, columns);
    let event = descriptor(&text, "shop.Event");
    let user = |name: &str, id: Option<i32>, friend: Option<Value>| {
        let mut user = DynamicMessage::new(event.parent_pool().get_message_by_name("shop.User").unwrap());
        user.set_field_by_name("name", Value::String(name.to_owned()));
        id.into_iter().for_each(|id| user.set_field_by_name("id", Value::I32(id)));
        friend.into_iter().for_each(|friend| user.set_field_by_name("friend", friend));
        Value::Message(user)
    };
    let mut message = DynamicMessage::new(event.clone());
    message.set_field_by_name("user", user("Bo", None, Some(user("", Some(4), None))));
    message.set_field_by_name("friends", Value::List(vec![user("x", Some(1), None), user("y", Some(2), None)]));
    let key = |key: &str| MapKey::String(key.to_owned());
    message.set_field_by_name("counts", Value::Map([(key("blue"), Value::I32(1)), (key("red"), Value::I32(3))].into()));
    message.set_field_by_name("numbers", Value::List([5, 6, -7, 8].map(Value::I32).to_vec()));
    message.set_field_by_name("b", user("Cy", None, None));
    message.set_field_by_name("people", Value::Map([(key("Ada"), user("", Some(9), None))].into()));
    message.set_field_by_name("names", Value::List(vec![Value::String("n".to_owned()), Value::String("m".to_owned())]));
    let bytes = [AT, &message.encode_to_vec()].concat();
    assert_eq!(row(&mut decoder, bytes.clone()), "Bo 4 2 3 -7 null Cy 9 n");
    assert_eq!(row(&mut decoder, AT.to_vec()), "null null null null null null null null null");
    // The last member of a oneof counts, elements come in pieces and unpacked, messages are merged.
    let more = [
        &bytes[..],
        &[0x32, 1, b'A'],                             // a = "A", in place of b
        &[0x12, 2, 0x1A, 0],                          // user.friend once more, with nothing new
        &[0x28, 1],                                   // a fifth number
        &[0x22, 7, 0x0A, 3, b'r', b'e', b'd', 16, 8], // counts.red once more
    ]
    .concat();
    assert_eq!(row(&mut decoder, more), "Bo 4 2 8 -7 A null 9 n");
    let pieces = [AT, &[0x28, 2, 0x2A, 1, 4, 0x28, 6]].concat();
    assert_eq!(row(&mut decoder, pieces), "null null null null 3 null null null null");
    let other_member = [AT, &[0x32, 1, b'A', 0x40, 0]].concat();
    assert_eq!(row(&mut decoder, other_member), "null null null null null null null null null");
}

#[test]
fn what_nobody_wants_is_passed_over_and_checked() {
    let mut decoder = decoder_by(&file("", ""), vec![]);
    let unknown = [
        &[0x50, 0x96, 1][..],
        &[0x59, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x62, 2, 0xFF, 0xFF],
        &[0x6D, 1, 2, 3, 4],
        &[0x73, 0x50, 1, 0x7B, 0x7C, 0x74],
        AT,
    ];
    assert_eq!(decoder.decode_records(records([unknown.concat()])).events.num_rows(), 1);
    for (bytes, expected) in [
        (&[0x50][..], "at byte 7: allowed is as many bytes as the value needs"),
        (&[0x00], "at byte 6: allowed is the number of a field"),
        (&[0x56, 1], "at byte 7: allowed is a field"),
        (&[0x62, 9, 1], "at byte 8: allowed is as many bytes as the value needs"),
        (&[0x73, 0x7C], "at byte 8: allowed is the end of the group that is open"),
        (&[0x73], "at byte 7: allowed is as many bytes as the value needs"),
        (
            &[0x50, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            "at byte 17: allowed is a varint of at most ten bytes",
        ),
        (&[0x08, 1], "at byte 7: allowed is a value written as the field's type is"),
    ] {
        assert_eq!(letter(&mut decoder, [AT, bytes].concat()).detail, expected, "{bytes:?}");
    }
    let deep = letter(&mut decoder, [AT, &[0x73; 500]].concat());
    assert!(deep.detail.ends_with("allowed is less nesting"), "{}", deep.detail);
    let text = read("string x = 2;", "", column("x", ColumnType::String), &[0x12, 1, 0xFF]);
    assert_eq!(text, "at byte 8: allowed is a text in UTF-8");
    let unknown_name = read("Colour x = 2;", COLOURS, column("x", ColumnType::String), &[16, 9]);
    assert_eq!(unknown_name, "column x: found 9; allowed is a string, or null");
}

#[test]
fn what_does_not_fit_is_said_of_each_column() {
    let misfit = |declared: &str, column: Column| {
        let columns = schema_of(vec![column]).columns().to_vec();
        match writer_schema(&file(declared, COLOURS)).check(SchemaKind::Protobuf, &columns, false) {
            Err(SchemaFault::Misfit(misfits)) => misfits.into_iter().map(|(_, message)| message).collect::<String>(),
            other => panic!("{declared}: {other:?}"),
        }
    };
    let required = Column { nullable: false, ..column("y", ColumnType::Int) };
    assert_eq!(
        misfit("int32 x = 2;", required),
        "column y int at $.y: found nothing in the schema; allowed is a field, since the column may not be null"
    );
    assert_eq!(
        misfit("repeated Colour x = 2;", column("x", ColumnType::Int)),
        "column x int? at $.x: found repeated enum shop.Colour in the schema; allowed is a whole number, also one in a \
         wrapper, or an enum"
    );
    for (declared, column_type) in [
        ("double x = 2;", ColumnType::Int),
        ("double x = 2;", ColumnType::Decimal { precision: 9, scale: 2 }),
        ("bytes x = 2;", ColumnType::String),
        ("int32 x = 2;", ColumnType::String),
        ("int64 x = 2;", ColumnType::Timestamp),
        ("string x = 2;", ColumnType::Bool),
        ("Event x = 2;", ColumnType::Int),
        ("map<string, int32> x = 2;", ColumnType::Int),
        ("google.protobuf.BoolValue x = 2;", ColumnType::Int),
    ] {
        assert!(misfit(declared, column("x", column_type)).starts_with("column x "), "{declared} as {column_type}");
    }
    let schema = |text: &str, message: Option<&str>| WriterSchema {
        text: text.to_owned(),
        references: Vec::new(),
        message: message.map(str::to_owned),
    };
    let two = file("", "message Other {}");
    let check =
        |schema: WriterSchema| format!("{:?}", schema.check(SchemaKind::Protobuf, schema_of(vec![]).columns(), false));
    assert!(
        check(schema(&two, None)).contains("has 2 messages, and which is meant is not said: shop.Event, shop.Other")
    );
    assert!(
        check(schema(&two, Some("shop.Evnt")))
            .contains("has no message shop.Evnt: its messages are shop.Event, shop.Other")
    );
    assert!(check(schema("syntax = \"proto3\"; message A { Foo x = 1; }", None)).contains("Foo"));
    assert!(check(schema("import \"gone.proto\";", None)).contains("gone.proto"));
}

#[tokio::test]
async fn the_framing_leads_to_the_message() {
    let server = TestRegistry::start().await;
    let person = "syntax = \"proto3\"; package people; message Person { string name = 1; }";
    server.register("person", "PROTOBUF", person, &[]);
    let text = "syntax = \"proto3\"; package shop; import \"people.proto\"; import \"confluent/meta.proto\"; \
                import \"google/protobuf/timestamp.proto\"; \
                message First { int32 x = 1 [(confluent.field_meta) = { doc: \"ten\" }]; } \
                message Outer { map<string, int32> counts = 3; message Inner { google.protobuf.Timestamp at = 1; \
                people.Person by = 2; } Inner inner = 1; }";
    let id = server.register("events-value", "PROTOBUF", text, &[("people.proto", "person", 1)]);
    let settings = Settings { url: server.url.clone(), login: Login::None, timeout: SignedDuration::from_secs(60) };
    let registry = Arc::new(Registry::new(settings).unwrap());
    let on_incompatible = OnIncompatible::Stop;
    let schemas = RegisteredSchemas { registry, subject: "events-value".to_owned(), on_incompatible };
    let by = Column { path: Path::parse("$.by.name").unwrap(), ..column("by", ColumnType::String) };
    let format = Format::Protobuf(Schemas::Registered(schemas));
    let rules = Rules { format, ..Rules::new(schema_of(vec![by]), "at") };
    let mut decoder = Decoder::new(rules.clone());
    let framed = |path: &[u8], value: &[u8]| [&[0], id.to_be_bytes().as_slice(), path, value].concat();
    let value = [AT, &[0x12, 4, 0x0A, 2, b'B', b'o']].concat();
    let good = framed(&[4, 2, 0], &value);
    let run = records([good.clone(), framed(&[4, 8, 0], &value), framed(&[], &[]), framed(&[1], &value), good]);
    let run: Run = run.into_iter().collect();
    decoder.prepare(&run).await.unwrap();
    let decoded = decoder.decode(&run);
    assert_eq!((decoded.events.num_rows(), first_value(&decoded).as_str()), (2, "Bo"));
    let details: Vec<String> =
        decoded.dead_letters.iter().map(|l| l.detail.replace(server.url.as_str(), "…")).collect();
    assert_eq!(details[0], "schema 2 of … has no message at [4, 0]");
    assert_eq!(details[1..], ["at byte 5: allowed are the numbers that lead to a message"; 2]);
    // The first message does not fit.
    let run: Run = records([framed(&[0], &[])]).into_iter().collect();
    let error = decoder.prepare(&run).await.unwrap_err().to_string();
    assert!(
        error.contains("schema 2 of") && error.contains("message First {") && error.contains("at timestamp at $.at"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn random_bytes_become_events_or_letters(values in vec(prop_oneof![vec(any::<u8>(), 0..80), vec(0..0x60_u8, 0..40)], 1..40)) {
        let (text, columns) = deep();
        let mut decoder = decoder_by(&text, columns);
        let values: Vec<Vec<u8>> = values.iter().map(|value| [AT, value].concat()).collect();
        let decoded = decoder.decode_records(records(&values));
        prop_assert_eq!(decoded.events.num_rows() + decoded.dead_letters.len(), values.len());
        // What is read here is a message to others too.
        let event = descriptor(&text, "shop.Event");
        let offsets = decoded.events.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        let first = |row: usize| value_in(&plain(&decoded), 9, row);
        for (row, offset) in offsets.values().iter().enumerate() {
            let value = &values[*offset as usize - 100];
            if let Ok(message) = DynamicMessage::decode(event.clone(), value.as_slice()) {
                let names = message.get_field_by_name("names").unwrap();
                let name = names.as_list().unwrap().first().map(|name| name.as_str().unwrap().to_owned());
                prop_assert_eq!(first(row), name.unwrap_or_else(|| "null".to_owned()));
            }
        }
    }
}
