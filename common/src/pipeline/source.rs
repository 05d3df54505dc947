//! `[sources.<name>]` of the pipeline file.

use std::{ops::Range, sync::Arc};

use toml::{Spanned, de::DeValue};

use super::{
    OnGap, PARTITIONS, Source, format, kafka, privacy,
    reader::{Reader, Section, double, integer},
    values::{COLUMN_TYPE, DURATION, Kind, ORIGIN, PATH, TEXT, TIMESTAMP_FORMAT, is_column_name},
};
use crate::{
    decode::{Format, PseudonymKey, Rules},
    limits::PARTITIONS_MAX,
    names::SourceName,
    schema::{self, Column, ColumnType, Origin, Path, Schema, TimestampFormat},
    suggest,
};

const KEYS: &[&str] = &["partitions", "on_gap", "event_time", "key", "ahead_max", "behind_max", "keep", "columns"];
const COLUMN_KEYS: &[&str] = &["type", "from", "path", "format", "min", "max", "protect"];

const COLUMN_NAME: Kind<String> =
    Kind { what: "a column's name", allowed: "it is the name of a column", parse: TEXT.parse };
const ON_GAP: Kind<OnGap> = Kind {
    what: "a way with gaps",
    allowed: "it is \"stop\", or \"record\" to go on after what is lost, which every answer then names",
    parse: |text| match text {
        "stop" => Some(OnGap::Stop),
        "record" => Some(OnGap::Record),
        _ => None,
    },
};
const EVENT_TIME: Kind<String> = Kind {
    what: "a column's name",
    allowed: "it is the name of a timestamp column that is never null",
    parse: TEXT.parse,
};

/// The source `name` as `value` has it, its pseudonyms made with the key; `None` if its columns or event time cannot be
/// known, which is noted.
pub(super) fn source(
    reader: &mut Reader<'_>,
    name: &str,
    name_span: Range<usize>,
    value: &Spanned<DeValue<'_>>,
    pseudonyms: Option<PseudonymKey>,
) -> Option<Source> {
    let mut section = reader.table(value, format!("sources.{name}"));
    section.span = name_span.clone();
    reader.only(&section, &[KEYS, &format::KEYS, &kafka::SOURCE_KEYS].concat());
    let source_name = name;
    let name =
        SourceName::new(name).map_err(|error| reader.fault(name_span, error.to_string(), "rename the source")).ok();
    let partitions = reader.count(&section, "partitions", 1..=PARTITIONS_MAX, PARTITIONS);
    let kafka = kafka::topic(reader, &section);
    let on_gap = reader.or(&section, "on_gap", &ON_GAP, OnGap::default());
    let ahead_max = reader.optional(&section, "ahead_max", &DURATION);
    let behind_max = reader.optional(&section, "behind_max", &DURATION);
    let keep = reader.optional(&section, "keep", &DURATION);
    let columns = columns(reader, &section);
    let event_time = reader.required(&section, "event_time", &EVENT_TIME);
    let key = reader.optional(&section, "key", &COLUMN_NAME);
    let columns = columns?;
    let topic = kafka.as_ref().map_or(source_name, |topic| topic.name.as_str());
    let values = format::of_values(reader, &section, topic, &columns);
    let keys = format::of_keys(reader, &section, topic, &columns);
    let key = key.filter(|key| key_is_valid(reader, &section, key, &columns, values.as_ref()));
    let event_time = event_time.filter(|name| event_time_is_valid(reader, &section, name, &columns))?;
    let (format, keys) = (values?, keys?);
    let protected = privacy::protected(reader, &section, &columns, pseudonyms);
    let schema = Arc::new(Schema::new(columns));
    let rules = Rules { schema, event_time, ahead_max, behind_max, format, keys, protected };
    Some(Source { name: name?, kafka, partitions, on_gap, key, keep, rules })
}

/// The columns in the order of the file; `None` if one of them is wrong.
fn columns(reader: &mut Reader<'_>, source: &Section<'_>) -> Option<Vec<Column>> {
    let Some(value) = source.get("columns") else {
        let path = source.path_of("columns");
        reader.fault(
            source.span.clone(),
            format!("`{path}` is missing"),
            format!("[{path}] names each column with its type"),
        );
        return None;
    };
    let section = reader.table(value, source.path_of("columns"));
    let mut columns: Vec<Column> = Vec::new();
    let mut whole = true;
    for (name, span, value) in section.entries() {
        if !is_column_name(name) {
            let message = format!("`{name}` cannot be a column's name");
            let help = "names have 1 to 64 of a-z, A-Z, 0-9 and _, start with a letter and are not event_date";
            reader.fault(span.clone(), message, help);
            whole = false;
        }
        if let Some(other) = columns.iter().find(|c| c.name.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` and `{}` differ in case only", other.name);
            reader.fault(span, message, "many readers of Delta tables do not tell them apart");
            whole = false;
        }
        let Some(column) = column_of(reader, name, value, section.path_of(name)) else {
            whole = false;
            continue;
        };
        if let Some(other) = columns.iter().find(|other| overlap(other, &column)) {
            let message = format!("`{name}` is at {} and `{}` at {}", column.path, other.name, other.path);
            reader.fault(value.span(), message, "a value is of one column, and then no other column lies within it");
        }
        columns.push(column);
    }
    whole.then_some(columns)
}

fn overlap(a: &Column, b: &Column) -> bool {
    let has_path = matches!(a.origin, Origin::Value | Origin::Key);
    has_path && a.origin == b.origin && (a.path.leads_towards(&b.path) || b.path.leads_towards(&a.path))
}

/// A column: `"int?"`, or `{ type = "int?", min = 0 }`.
fn column_of(reader: &mut Reader<'_>, name: &str, value: &Spanned<DeValue<'_>>, path: String) -> Option<Column> {
    if !value.get_ref().is_table() {
        let (column_type, nullable) = reader.value(value, &path, &COLUMN_TYPE)?;
        return Some(Column { nullable, ..Column::new(name, column_type) });
    }
    let section = reader.table(value, path);
    reader.only(&section, COLUMN_KEYS);
    let (column_type, nullable) = reader.required(&section, "type", &COLUMN_TYPE)?;
    let origin = origin(reader, &section, column_type);
    let path = reader.or(&section, "path", &PATH, Path::member(name));
    let timestamp_format = reader.or(&section, "format", &TIMESTAMP_FORMAT, TimestampFormat::default());
    if let Some(format) = section.get("format").filter(|_| column_type != ColumnType::Timestamp) {
        reader.fault(format.span(), format!("a {column_type} column has no format"), "only timestamps have one");
    }
    let range = range(reader, &section, column_type);
    Some(Column { name: name.to_owned(), column_type, origin, path, timestamp_format, nullable, range })
}

/// Where the column is taken from. What the log itself says has one type only, and no path within.
fn origin(reader: &mut Reader<'_>, section: &Section<'_>, column_type: ColumnType) -> Origin {
    let origin = reader.or(section, "from", &ORIGIN, Origin::Value);
    let only = match &origin {
        Origin::Topic => ColumnType::String,
        Origin::Partition | Origin::Offset => ColumnType::Int,
        Origin::Timestamp => ColumnType::Timestamp,
        Origin::Value | Origin::Key | Origin::Header(_) => column_type,
    };
    if let Some(from) = section.get("from").filter(|_| only != column_type) {
        let message = format!("a {column_type} column cannot be from {}", reader.excerpt(from));
        reader.fault(from.span(), message, format!("declare it as \"{only}\""));
    }
    if let Some(path) = section.get("path").filter(|_| !matches!(origin, Origin::Value | Origin::Key)) {
        let message = format!("`{}` leads nowhere", section.path_of("path"));
        reader.fault(path.span(), message, "only values and keys have paths within");
    }
    origin
}

fn range(reader: &mut Reader<'_>, section: &Section<'_>, column_type: ColumnType) -> Option<schema::Range> {
    let given = section.get("min").or(section.get("max"))?;
    let (range, is_empty) = match column_type {
        ColumnType::Int => {
            let min = bound(reader, section, "min", integer, "a whole number of 64 bits", i64::MIN);
            let max = bound(reader, section, "max", integer, "a whole number of 64 bits", i64::MAX);
            (schema::Range::Int { min, max }, min > max)
        }
        ColumnType::Double => {
            let min = bound(reader, section, "min", double, "a number", f64::NEG_INFINITY);
            let max = bound(reader, section, "max", double, "a number", f64::INFINITY);
            (schema::Range::Double { min, max }, min > max)
        }
        _ => {
            let message = format!("a {column_type} column has no min or max");
            reader.fault(given.span(), message, "only int and double columns have a range");
            return None;
        }
    };
    if is_empty {
        reader.fault(given.span(), "min is greater than max", "min and max are both allowed values");
    }
    Some(range)
}

fn bound<T>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    read: fn(&DeValue<'_>) -> Option<T>,
    allowed: &str,
    open: T,
) -> T {
    let Some(value) = section.get(key) else { return open };
    read(value.get_ref()).unwrap_or_else(|| {
        let message = format!("`{}` is {}", section.path_of(key), reader.excerpt(value));
        reader.fault(value.span(), message, format!("it is {allowed}"));
        open
    })
}

/// The column called `name`, which stands at `key`; notes if there is none.
fn column<'c>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    name: &str,
    columns: &'c [Column],
) -> Option<&'c Column> {
    let found = columns.iter().find(|column| column.name == name);
    if found.is_none() {
        let names = || columns.iter().map(|column| column.name.as_str());
        let meant = suggest::nearest(name, names()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let span = section.get(key).map_or(section.span.clone(), Spanned::span);
        let message = format!("`{}` is \"{name}\", which is no column of the source", section.path_of(key));
        reader.fault(span, message, format!("{meant}the columns are {}", suggest::list(names())));
    }
    found
}

/// What is sent over HTTP is given its key where it is taken in, before it is decoded.
fn key_is_valid(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    name: &str,
    columns: &[Column],
    format: Option<&Format>,
) -> bool {
    let Some(column) = column(reader, section, "key", name, columns) else { return false };
    let plain = format.is_none_or(Format::is_plain_json) && column.origin == Origin::Value;
    if !plain {
        let span = section.get("key").map_or(section.span.clone(), Spanned::span);
        let message = format!("`{}` cannot be read from what is sent", section.path_of("key"));
        reader.fault(span, message, "only columns from the value of plain JSON can be the key; remove it");
    }
    plain
}

fn event_time_is_valid(reader: &mut Reader<'_>, section: &Section<'_>, name: &str, columns: &[Column]) -> bool {
    let Some(column) = column(reader, section, "event_time", name, columns) else { return false };
    let why = match (column.column_type, column.nullable) {
        (ColumnType::Timestamp, false) => return true,
        (ColumnType::Timestamp, true) => format!("the event time `{name}` may not be null"),
        (other, _) => format!("the event time `{name}` is {other}, not a timestamp"),
    };
    let span = section.get("event_time").map_or(section.span.clone(), Spanned::span);
    reader.fault(span, why, "declare the column as \"timestamp\", without ?");
    false
}
