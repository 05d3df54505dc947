//! Formats of values and keys, and columns from other parts of a record.

use jiff::SignedDuration;

use super::{load, said};
use crate::{
    decode::{CsvLayout, Format, Framing, KeyFormat, OnIncompatible, Schemas},
    pipeline::{Pipeline, Source},
    registry::{Login, Secret, Settings},
    schema::Origin,
};

/// The source of a file with these lines in `[sources.orders]`, these tables, and these columns beside the event time.
fn file(lines: &str, tables: &str, columns: &str) -> String {
    format!(
        "name = \"shop\"\n[sources.orders]\nevent_time = \"at\"\n{lines}\n{tables}\n[sources.orders.columns]\nat = \"timestamp\"\n{columns}\n"
    )
}

fn source(lines: &str, tables: &str, columns: &str) -> Source {
    match load(&file(lines, tables, columns), &[]) {
        Ok(pipeline) => pipeline.sources["orders"].clone(),
        Err(_) => panic!("{}", said(&file(lines, tables, columns), &[])),
    }
}

#[test]
fn values_are_plain_json_unless_the_file_says_otherwise() {
    let rules = source("", "", "").rules;
    assert_eq!((rules.format, rules.keys), (Format::Json(Framing::None), KeyFormat::Text));
    let framed = source("format = \"json\"", "[sources.orders.json]\nframing = \"confluent\"", "").rules;
    assert_eq!(framed.format, Format::Json(Framing::Confluent));
    let keys = source("", "[sources.orders.keys]\nformat = \"json\"\njson.framing = \"confluent\"", "").rules.keys;
    assert_eq!(keys, KeyFormat::As(Format::Json(Framing::Confluent)));
    let csv =
        source("format = \"csv\"", "[sources.orders.csv]\nfields = [\"x\", \"at\"]\ndelimiter = \"\\t\"", "").rules;
    let fields = ["x", "at"].map(str::to_owned).to_vec();
    assert_eq!(csv.format, Format::Csv(CsvLayout { fields, delimiter: b'\t' }));
}

#[test]
fn columns_may_be_from_any_part_of_a_record() {
    let columns = "customer = { type = \"int\", from = \"key\" }\ntrace = { type = \"string?\", from = \"header:trace id\" }\n\
                   topic = { type = \"string\", from = \"topic\" }\npart = { type = \"int\", from = \"partition\" }\n\
                   nr = { type = \"int\", from = \"offset\" }\nlogged = { type = \"timestamp\", from = \"timestamp\" }\n\
                   x = { type = \"int\", from = \"value\" }";
    let origins: Vec<Origin> =
        source("", "", columns).rules.schema.columns().iter().map(|c| c.origin.clone()).collect();
    let trace = Origin::Header("trace id".to_owned());
    let (value, key) = (Origin::Value, Origin::Key);
    let expected =
        [value.clone(), key, trace, Origin::Topic, Origin::Partition, Origin::Offset, Origin::Timestamp, value];
    assert_eq!(origins, expected);
}

#[test]
fn everything_wrong_with_formats_is_reported() {
    insta::assert_snapshot!(said(&file("format = \"xml\"", "", ""), &[]));
    insta::assert_snapshot!(said(
        &file(
            "key = \"x\"\nformat = \"json\"",
            "[sources.orders.csv]\nfields = [\"at\"]\n[sources.orders.keys]\nformat = \"csv\"\n[sources.orders.json]\nframing = \"avro\"",
            "x = { type = \"int\", from = \"key\", path = \"$.id\" }\ny = { type = \"string\", from = \"offset\" }\n\
             z = { type = \"string\", from = \"header:\" }\nw = { type = \"string\", from = \"topic\", path = \"$.w\" }",
        ),
        &[]
    ));
    let csv = |table: &str| said(&file("format = \"csv\"", table, "x = { type = \"int\", path = \"$.x.y\" }"), &[]);
    insta::assert_snapshot!(
        [
            csv(""),
            csv("[sources.orders.csv]\nfields = \"at\""),
            csv("[sources.orders.csv]\nfields = [\"at\", \"x\", \"at\"]\ndelimiter = \",,\""),
            csv("[sources.orders.csv]\nfields = [\"x\"]"),
        ]
        .join("\n\n")
    );
    insta::assert_snapshot!(said(&file("", "", "id = { type = \"int\", from = \"key\", path = \"$.x\" }"), &[]));
}

/// As [`load`], with these files beside the pipeline file.
fn load_beside(toml: &str, files: &[(&str, &str)]) -> Result<Pipeline, String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files.iter().chain(&[("pipeline.toml", toml)]) {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let home = format!("{}/", directory.path().display());
    let environment = |name: &str| (name == "REGISTRY_PASSWORD").then(|| "open sesame".to_owned());
    let loaded = Pipeline::load_with(&directory.path().join("pipeline.toml"), &environment);
    loaded.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n").replace(&home, ""))
}

const AVSC: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "x", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

const PROTO: &str =
    "syntax = \"proto3\"; package shop; import \"common.proto\"; import \"google/protobuf/timestamp.proto\";
    message Order { google.protobuf.Timestamp at = 1; Money x = 2; } message Other {}";

const COMMON: &str = "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }";

#[test]
fn schemas_are_in_files_beside_the_pipeline() {
    let avro = file("format = \"avro\"", "[sources.orders.avro]\nschema = \"order.avsc\"", "x = \"string\"");
    let pipeline = load_beside(&avro, &[("order.avsc", AVSC)]).unwrap();
    let Format::Avro(Schemas::One(schema)) = &pipeline.sources["orders"].rules.format else { panic!("{pipeline:?}") };
    assert_eq!((schema.text.as_str(), &schema.message), (AVSC, &None));
    let table = "[sources.orders.protobuf]\nschema = \"order.proto\"\nmessage = \"shop.Order\"";
    let protobuf = file("format = \"protobuf\"", table, "cents = { type = \"int?\", path = \"$.x.cents\" }");
    let pipeline = load_beside(&protobuf, &[("order.proto", PROTO), ("common.proto", COMMON)]).unwrap();
    let Format::Protobuf(Schemas::One(schema)) = &pipeline.sources["orders"].rules.format else {
        panic!("{pipeline:?}")
    };
    assert_eq!((schema.message.as_deref(), schema.references[0].name.as_str()), (Some("shop.Order"), "common.proto"));
}

#[test]
fn registries_are_asked_as_the_file_says() {
    let table = |login: &str| {
        format!(
            "[sources.orders.avro]\nregistry = \"https://registry.example.com/path\"\nsubject = \"o\"\n\
             timeout = \"3s\"\non_incompatible = \"dead_letter\"\n{login}"
        )
    };
    let settings = |login: &str| {
        let toml = file("format = \"avro\"", &table(login), "");
        let pipeline = load_beside(&toml, &[("token", "a token\n")]).unwrap();
        let Format::Avro(Schemas::Registered(schemas)) = &pipeline.sources["orders"].rules.format else {
            panic!("{pipeline:?}")
        };
        assert!(!format!("{pipeline:?}").contains("sesame"), "secrets are never shown");
        assert_eq!((schemas.subject.as_str(), schemas.on_incompatible), ("o", OnIncompatible::DeadLetter));
        schemas.registry.settings().clone()
    };
    let expected = |login| Settings {
        url: "https://registry.example.com/path".parse().unwrap(),
        login,
        timeout: SignedDuration::from_secs(3),
    };
    assert_eq!(settings(""), expected(Login::None));
    let basic = settings("username = \"ali\"\npassword = \"${REGISTRY_PASSWORD}\"");
    let password = Secret("open sesame".to_owned());
    assert_eq!(basic, expected(Login::Basic { user: "ali".to_owned(), password }));
    assert_eq!(settings("token_file = \"token\""), expected(Login::Bearer(Secret("a token".to_owned()))));
    let keys = "[sources.orders.keys]\nformat = \"avro\"\navro.registry = \"http://localhost:8081\"";
    let KeyFormat::As(Format::Avro(Schemas::Registered(schemas))) = source("", keys, "").rules.keys else { panic!() };
    assert_eq!(schemas.subject, "orders-key");
}

#[test]
fn everything_wrong_with_schemas_is_reported() {
    let avro = |table: &str, columns: &str| {
        let toml = file("format = \"avro\"", &format!("[sources.orders.avro]\n{table}"), columns);
        load_beside(&toml, &[("order.avsc", AVSC), ("broken.avsc", "{"), ("secret", "x")]).unwrap_err()
    };
    let protobuf = |table: &str| {
        let toml = file("format = \"protobuf\"", &format!("[sources.orders.protobuf]\n{table}"), "x = \"int\"");
        load_beside(
            &toml,
            &[("order.proto", PROTO), ("common.proto", COMMON), ("lost.proto", "import \"gone.proto\";")],
        )
        .unwrap_err()
    };
    insta::assert_snapshot!(
        [
            avro("", ""),
            avro("schema = \"gone.avsc\"", ""),
            avro("schema = \"broken.avsc\"", ""),
            avro(
                "schema = \"order.avsc\"\nsubject = \"o\"\nmessage = \"Order\"",
                "x = \"int\"\ny = \"int\"\nz = \"int?\""
            ),
            avro("registry = \"localhost:8081\"\non_incompatible = \"ignore\"", ""),
            avro("registry = \"http://localhost:8081\"\nusername = \"ali\"", ""),
            avro("registry = \"http://localhost:8081\"\npassword = \"a\"\npassword_file = \"secret\"", ""),
            avro("registry = \"http://localhost:8081\"\npassword = \"a\"\ntoken = \"b\"", ""),
            avro("registry = \"http://localhost:8081\"\nusername = \"ali\"\npassword = 1234", ""),
            protobuf("schema = \"order.proto\""),
            protobuf("schema = \"order.proto\"\nmessage = \"Ordr\""),
            protobuf("schema = \"order.proto\"\nmessage = \"shop.Order\""),
            protobuf("schema = \"lost.proto\""),
            protobuf("registry = \"http://localhost:8081\"\nmessage = \"shop.Order\""),
        ]
        .join("\n\n")
    );
}
