//! Formats of values and keys, and columns from other parts of a record.

use super::{load, said};
use crate::{
    decode::{CsvLayout, Format, Framing, KeyFormat},
    pipeline::Source,
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
