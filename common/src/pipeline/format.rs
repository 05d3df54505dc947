//! `format`, `keys` and the tables beside them in `[sources.<name>]`: how a source's values and keys are read.

use std::ops::Range;

use toml::{Spanned, de::DeValue};

use super::{
    reader::{Reader, Section},
    schemas::{self, Use},
    values::{Kind, TEXT},
};
use crate::{
    decode::{CsvLayout, Format, Framing, KeyFormat},
    limits::COLUMNS_MAX,
    registry::SchemaKind,
    schema::{Column, Origin},
    suggest,
};

/// The keys of `[sources.<name>]` that are read here.
pub(super) const KEYS: [&str; 6] = ["format", "keys", "json", "csv", "avro", "protobuf"];

/// The formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Text,
    Json,
    Csv,
    Avro,
    Protobuf,
}

/// Formats that have a table of their own.
const TABLES: [(Name, &str); 4] =
    [(Name::Json, "json"), (Name::Csv, "csv"), (Name::Avro, "avro"), (Name::Protobuf, "protobuf")];

const VALUE_FORMAT: Kind<Name> =
    Kind { what: "a format", allowed: "formats are \"json\", \"csv\", \"avro\" and \"protobuf\"", parse: table_of };

const KEY_FORMAT: Kind<Name> = Kind {
    what: "a format of keys",
    allowed: "formats of keys are \"text\", \"json\", \"avro\" and \"protobuf\"",
    parse: |text| match text {
        "text" => Some(Name::Text),
        _ => table_of(text).filter(|name| *name != Name::Csv),
    },
};

const FRAMING: Kind<Framing> = Kind {
    what: "a framing",
    allowed: "it is \"none\", or \"confluent\" where each value has five bytes before it, as Confluent's serializers write them",
    parse: |text| match text {
        "none" => Some(Framing::None),
        "confluent" => Some(Framing::Confluent),
        _ => None,
    },
};

const DELIMITER: Kind<u8> = Kind {
    what: "a delimiter",
    allowed: "a delimiter is one ASCII character, as \",\" or \"\\t\", and no quote or line break",
    parse: |text| match text.as_bytes() {
        [byte] if byte.is_ascii() && !b"\"\r\n\0".contains(byte) => Some(*byte),
        _ => None,
    },
};

fn table_of(text: &str) -> Option<Name> {
    TABLES.iter().find(|(_, name)| *name == text).map(|(name, _)| *name)
}

/// The format of the values of `source`, whose records are in `topic`; `None` if it cannot be known, which is noted.
pub(super) fn of_values(
    reader: &mut Reader<'_>,
    source: &Section<'_>,
    topic: &str,
    columns: &[Column],
) -> Option<Format> {
    let format = named(reader, source, &VALUE_FORMAT, Name::Json)?;
    let columns = of(columns, &Origin::Value);
    let place_of = |column: &str| place_of(source, column);
    let part = Part { columns: &columns, place_of: &place_of, of_keys: false, subject: &format!("{topic}-value") };
    read(reader, source, format, part)
}

/// The format of the keys of `source`, likewise.
pub(super) fn of_keys(
    reader: &mut Reader<'_>,
    source: &Section<'_>,
    topic: &str,
    columns: &[Column],
) -> Option<KeyFormat> {
    let keys = reader.section(source, "keys", &["format", "json", "avro", "protobuf"]);
    let format = named(reader, &keys, &KEY_FORMAT, Name::Text)?;
    let columns = of(columns, &Origin::Key);
    let place_of = |column: &str| place_of(source, column);
    if format != Name::Text {
        let part = Part { columns: &columns, place_of: &place_of, of_keys: true, subject: &format!("{topic}-key") };
        return Some(KeyFormat::As(read(reader, &keys, format, part)?));
    }
    for column in columns.iter().filter(|column| !column.path.is_member(&column.name)) {
        let message = format!("`{}` is at {} of the key, and keys are text", column.name, column.path);
        let help = format!("[{}] format = \"json\" says that keys are JSON; a text has no paths", keys.path);
        reader.fault(place_of(&column.name), message, help);
    }
    Some(KeyFormat::Text)
}

/// What is read in a format: the values or the keys of a source.
#[derive(Clone, Copy)]
struct Part<'p> {
    columns: &'p [Column],
    /// Where a column stands in the file.
    place_of: &'p dyn Fn(&str) -> Range<usize>,
    of_keys: bool,
    /// The subject of their schemas, as Confluent's serializers name it.
    subject: &'p str,
}

fn of(columns: &[Column], origin: &Origin) -> Vec<Column> {
    columns.iter().filter(|column| column.origin == *origin).cloned().collect()
}

/// The format that `section` names. No other may have a table there.
fn named(reader: &mut Reader<'_>, section: &Section<'_>, kind: &Kind<Name>, default: Name) -> Option<Name> {
    let name = match section.get("format") {
        Some(_) => reader.optional(section, "format", kind)?,
        None => default,
    };
    for (_, table) in TABLES.iter().filter(|(other, _)| *other != name) {
        if let Some(value) = section.get(table) {
            let path = section.path_of(table);
            let message = format!("`{path}` says how {table} is read, and the format is another");
            let help = format!("set `{}` to \"{table}\", or remove [{path}]", section.path_of("format"));
            reader.fault(value.span(), message, help);
        }
    }
    Some(name)
}

fn read(reader: &mut Reader<'_>, section: &Section<'_>, format: Name, part: Part<'_>) -> Option<Format> {
    let schemas = |reader: &mut Reader<'_>, table, kind| {
        let Part { columns, place_of, of_keys, subject } = part;
        schemas::schemas(reader, section, Use { table, kind, columns, place_of, of_keys, subject })
    };
    match format {
        Name::Text => None,
        Name::Json => {
            let table = reader.section(section, "json", &["framing"]);
            Some(Format::Json(reader.or(&table, "framing", &FRAMING, Framing::None)))
        }
        Name::Csv => csv(reader, section, part).map(Format::Csv),
        Name::Avro => schemas(reader, "avro", SchemaKind::Avro).map(Format::Avro),
        Name::Protobuf => schemas(reader, "protobuf", SchemaKind::Protobuf).map(Format::Protobuf),
    }
}

fn csv(reader: &mut Reader<'_>, source: &Section<'_>, part: Part<'_>) -> Option<CsvLayout> {
    let table = reader.section(source, "csv", &["fields", "delimiter"]);
    let delimiter = reader.or(&table, "delimiter", &DELIMITER, b',');
    let Some(value) = table.get("fields") else {
        let message = format!("`{}` is missing", table.path_of("fields"));
        reader.fault(table.span.clone(), message, FIELDS_HELP);
        return None;
    };
    let fields = texts(reader, value, &table.path_of("fields"), FIELDS_HELP)?;
    let layout = CsvLayout { fields, delimiter };
    for column in part.columns.iter().filter(|column| layout.field(&column.path).is_none()) {
        let message = format!("`{}` is at {}, which is no field of a line", column.name, column.path);
        let fields = suggest::list(layout.fields.iter().map(String::as_str));
        let help = format!("the fields are {fields}, and have no paths");
        reader.fault((part.place_of)(&column.name), message, help);
    }
    Some(layout)
}

const FIELDS_HELP: &str =
    "it names the fields of a line in their order, as [\"at\", \"carrier\", \"delay\"], each once";

/// The texts in the array `value`, all different.
fn texts(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str, help: &str) -> Option<Vec<String>> {
    let Some(items) = value.get_ref().as_array().filter(|items| (1..=COLUMNS_MAX).contains(&items.len())) else {
        reader.fault(value.span(), format!("`{path}` is {}", reader.excerpt(value)), help);
        return None;
    };
    let kind = Kind { what: "a name", ..TEXT };
    let mut texts: Vec<String> = Vec::with_capacity(items.len());
    for item in items.iter() {
        let text = reader.value(item, path, &kind)?;
        if texts.contains(&text) {
            reader.fault(item.span(), format!("`{path}` names {text} twice"), help);
            return None;
        }
        texts.push(text);
    }
    Some(texts)
}

/// Where the column `name` stands in the file.
fn place_of(source: &Section<'_>, name: &str) -> Range<usize> {
    let columns = source.get("columns").and_then(|columns| columns.get_ref().as_table());
    columns.and_then(|columns| columns.get(name)).map_or(source.span.clone(), Spanned::span)
}
