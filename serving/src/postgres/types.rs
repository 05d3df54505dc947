//! Types as Postgres numbers and names them, and values of ours written and read as its clients do, in text and in binary.

use std::fmt::Write as _;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use bytes::{BufMut, BytesMut};
use common::schema::ColumnType;
use jiff::{Timestamp, tz::TimeZone};
use pgwire::api::Type;

use super::{catalog::Value, fault::Fault};

/// A type that the catalogue has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) oid: u32,
    pub(super) name: &'static str,
    /// As `format_type` writes it.
    pub(super) written: &'static str,
    /// Bytes of a value; -1 if they differ.
    pub(super) length: i16,
    pub(super) category: char,
    /// The type of its arrays, or 0.
    pub(super) array: u32,
    /// The type of its items, or 0.
    pub(super) item: u32,
}

const fn known(
    oid: u32,
    name: &'static str,
    written: &'static str,
    length: i16,
    category: char,
    array: u32,
    item: u32,
) -> Known {
    Known { oid, name, written, length, category, array, item }
}

/// The types that columns, parameters and the catalogue have, with Postgres' numbers.
pub(super) const KNOWN: [Known; 34] = [
    known(16, "bool", "boolean", 1, 'B', 1000, 0),
    known(17, "bytea", "bytea", -1, 'U', 1001, 0),
    known(18, "char", "\"char\"", 1, 'Z', 1002, 0),
    known(19, "name", "name", 64, 'S', 1003, 0),
    known(20, "int8", "bigint", 8, 'N', 1016, 0),
    known(21, "int2", "smallint", 2, 'N', 1005, 0),
    known(23, "int4", "integer", 4, 'N', 1007, 0),
    known(25, "text", "text", -1, 'S', 1009, 0),
    known(26, "oid", "oid", 4, 'N', 1028, 0),
    known(114, "json", "json", -1, 'U', 199, 0),
    known(700, "float4", "real", 4, 'N', 1021, 0),
    known(701, "float8", "double precision", 8, 'N', 1022, 0),
    known(705, "unknown", "unknown", -2, 'X', 0, 0),
    known(1042, "bpchar", "character", -1, 'S', 1014, 0),
    known(1043, "varchar", "character varying", -1, 'S', 1015, 0),
    known(1082, "date", "date", 4, 'D', 1182, 0),
    known(1114, "timestamp", "timestamp without time zone", 8, 'D', 1115, 0),
    known(1184, "timestamptz", "timestamp with time zone", 8, 'D', 1185, 0),
    known(1700, "numeric", "numeric", -1, 'N', 1231, 0),
    known(2205, "regclass", "regclass", 4, 'N', 2210, 0),
    known(2206, "regtype", "regtype", 4, 'N', 2211, 0),
    known(4089, "regnamespace", "regnamespace", 4, 'N', 4090, 0),
    known(4096, "regrole", "regrole", 4, 'N', 4097, 0),
    known(1000, "_bool", "boolean[]", -1, 'A', 0, 16),
    known(1005, "_int2", "smallint[]", -1, 'A', 0, 21),
    known(1007, "_int4", "integer[]", -1, 'A', 0, 23),
    known(1009, "_text", "text[]", -1, 'A', 0, 25),
    known(1015, "_varchar", "character varying[]", -1, 'A', 0, 1043),
    known(1016, "_int8", "bigint[]", -1, 'A', 0, 20),
    known(1022, "_float8", "double precision[]", -1, 'A', 0, 701),
    known(1028, "_oid", "oid[]", -1, 'A', 0, 26),
    known(1185, "_timestamptz", "timestamp with time zone[]", -1, 'A', 0, 1184),
    known(1231, "_numeric", "numeric[]", -1, 'A', 0, 1700),
    known(1003, "_name", "name[]", -1, 'A', 0, 19),
];

impl Known {
    /// What is known of `of`; that of text, if nothing is.
    pub(super) fn of(of: &Type) -> Self {
        let found = KNOWN.iter().find(|known| known.oid == of.oid());
        *found.unwrap_or(&KNOWN[7])
    }

    /// The one of this name, as Postgres or as the standard has it.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name || known.written == name)
    }
}

/// The type that SQL writes as `name`; text if there is none here.
pub(super) fn named(name: &str) -> Type {
    let name = name.to_lowercase().replace('"', "");
    let (name, array) = match name.strip_suffix("[]") {
        Some(item) => (item, true),
        None => (name.as_str(), false),
    };
    let name = name.trim_start_matches("pg_catalog.");
    let name = name.split('(').next().unwrap_or_default().trim();
    let name = match name {
        "int" | "integer" => "int4",
        "float" | "double" => "float8",
        "decimal" | "dec" => "numeric",
        "timestamp with time zone" => "timestamptz",
        "string" => "text",
        other => other,
    };
    let known = Known::named(name);
    let oid = known.map_or(25, |known| if array { known.array } else { known.oid });
    Type::from_oid(oid).unwrap_or(Type::TEXT)
}

/// The type of a column.
pub(super) fn of(column_type: ColumnType) -> Type {
    match column_type {
        ColumnType::Int => Type::INT8,
        ColumnType::Double => Type::FLOAT8,
        ColumnType::Decimal { .. } => Type::NUMERIC,
        ColumnType::String => Type::TEXT,
        ColumnType::Bool => Type::BOOL,
        ColumnType::Timestamp => Type::TIMESTAMPTZ,
    }
}

/// The modifier of a column's type: precision and scale of a decimal, -1 of all others.
pub(super) fn modifier(column_type: ColumnType) -> i32 {
    match column_type {
        ColumnType::Decimal { precision, scale } => (i32::from(precision) << 16 | i32::from(scale)) + 4,
        _ => -1,
    }
}

/// From 1970 to 2000, which Postgres counts microseconds from.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Writes the value of `row` of `column` with its length before it.
pub(super) fn write(
    buffer: &mut BytesMut,
    column: &ArrayRef,
    row: usize,
    binary: bool,
    zone: &TimeZone,
) -> Result<(), Fault> {
    if column.is_null(row) {
        buffer.put_i32(-1);
        return Ok(());
    }
    let start = buffer.len();
    buffer.put_i32(0);
    match (column.data_type(), binary) {
        (DataType::Int64, true) => buffer.put_i64(column.as_primitive::<Int64Type>().value(row)),
        (DataType::Int64, false) => text(buffer, column.as_primitive::<Int64Type>().value(row)),
        (DataType::Float64, true) => buffer.put_f64(column.as_primitive::<Float64Type>().value(row)),
        (DataType::Float64, false) => match column.as_primitive::<Float64Type>().value(row) {
            value if value.is_infinite() => text(buffer, if value > 0.0 { "Infinity" } else { "-Infinity" }),
            value => text(buffer, value),
        },
        (DataType::Boolean, true) => buffer.put_u8(u8::from(column.as_boolean().value(row))),
        (DataType::Boolean, false) => text(buffer, if column.as_boolean().value(row) { "t" } else { "f" }),
        (DataType::Utf8, _) => buffer.put_slice(column.as_string::<i32>().value(row).as_bytes()),
        (DataType::Decimal128(_, scale), true) => {
            numeric(buffer, column.as_primitive::<Decimal128Type>().value(row), *scale);
        }
        (DataType::Decimal128(_, _), false) => {
            text(buffer, column.as_primitive::<Decimal128Type>().value_as_string(row));
        }
        (DataType::Timestamp(_, _), true) => {
            buffer.put_i64(column.as_primitive::<TimestampMicrosecondType>().value(row).saturating_sub(EPOCH_US));
        }
        (DataType::Timestamp(_, _), false) => {
            text(buffer, timestamp_text(column.as_primitive::<TimestampMicrosecondType>().value(row), zone));
        }
        (other, _) => return Err(Fault::new("XX000", format!("a column of {other} has no type here"))),
    }
    close(buffer, start);
    Ok(())
}

/// Writes a value of the catalogue, of this type.
pub(super) fn write_value(buffer: &mut BytesMut, value: &Value, column_type: &Type, binary: bool) {
    let Some(written) = value.text() else {
        buffer.put_i32(-1);
        return;
    };
    let start = buffer.len();
    buffer.put_i32(0);
    match (column_type, value, binary) {
        (&Type::BOOL, Value::Bool(value), true) => buffer.put_u8(u8::from(*value)),
        (&Type::INT2, Value::Int(value), true) => buffer.put_i16(*value as i16),
        (&Type::INT4, Value::Int(value), true) => buffer.put_i32(*value as i32),
        (&Type::OID | &Type::REGCLASS | &Type::REGTYPE | &Type::REGNAMESPACE, Value::Int(value), true) => {
            buffer.put_u32(*value as u32);
        }
        (&Type::INT8, Value::Int(value), true) => buffer.put_i64(*value),
        (&Type::FLOAT4, value, true) => buffer.put_f32(as_double(value) as f32),
        (&Type::FLOAT8, value, true) => buffer.put_f64(as_double(value)),
        (_, Value::Array(items), true) => array(buffer, items, column_type),
        _ => buffer.put_slice(written.as_bytes()),
    }
    close(buffer, start);
}

fn as_double(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Double(value) => *value,
        _ => f64::NAN,
    }
}

fn array(buffer: &mut BytesMut, items: &[Value], column_type: &Type) {
    let item = Type::from_oid(Known::of(column_type).item).unwrap_or(Type::TEXT);
    buffer.put_i32(i32::from(!items.is_empty()));
    buffer.put_i32(i32::from(items.contains(&Value::Null)));
    buffer.put_u32(item.oid());
    if !items.is_empty() {
        buffer.put_i32(items.len() as i32);
        buffer.put_i32(1);
    }
    for value in items {
        write_value(buffer, value, &item, true);
    }
}

fn text(buffer: &mut BytesMut, value: impl std::fmt::Display) {
    write!(buffer, "{value}").expect("memory takes what is written");
}

/// Says how long the value is that began at `start`.
fn close(buffer: &mut BytesMut, start: usize) {
    let length = (buffer.len() - start - 4) as i32;
    buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A time as Postgres writes it, with the offset that `zone` has then.
fn timestamp_text(us: i64, zone: &TimeZone) -> String {
    let Ok(time) = Timestamp::from_microsecond(us) else { return format!("{us}us") };
    let time = time.to_zoned(zone.clone());
    let seconds = time.offset().seconds();
    let mut written = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if let fraction @ 1.. = time.subsec_nanosecond() / 1000 {
        let _ = write!(written, ".{}", format!("{fraction:06}").trim_end_matches('0'));
    }
    let (hours, rest) = (seconds / 3600, seconds.abs() % 3600);
    let _ = write!(written, "{}{:02}", if seconds < 0 { '-' } else { '+' }, hours.abs());
    if rest > 0 {
        let _ = write!(written, ":{:02}", rest / 60);
    }
    written
}

/// `value` / 10^`scale` as Postgres' binary numeric: digits of base 10,000, the first worth 10,000^weight.
fn numeric(buffer: &mut BytesMut, value: i128, scale: i8) {
    let scale = usize::from(scale.unsigned_abs());
    let mut digits = value.unsigned_abs().to_string();
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    let whole = digits.len() - scale;
    let before = (4 - whole % 4) % 4;
    let after = (4 - scale % 4) % 4;
    let padded = format!("{}{digits}{}", "0".repeat(before), "0".repeat(after));
    let groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0')))
        .collect();
    let weight = (whole + before) as i16 / 4 - 1;
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let kept = &groups[first..last];
    buffer.put_i16(kept.len() as i16);
    buffer.put_i16(if kept.is_empty() { 0 } else { weight - first as i16 });
    buffer.put_u16(if value < 0 { 0x4000 } else { 0 });
    buffer.put_u16(scale as u16);
    kept.iter().for_each(|group| buffer.put_i16(*group));
}

/// A parameter as text that SQL reads as a value of its type.
pub(super) fn parameter(bytes: &[u8], of: &Type, binary: bool, number: usize) -> Result<String, Fault> {
    let bad = || {
        let message = format!("parameter ${number} is no {}", Known::of(of).written);
        Fault::new(if binary { "22P03" } else { "22P02" }, message)
    };
    if !binary {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("22021", "a parameter is not UTF-8"))?;
        return Ok(text.to_owned());
    }
    let fixed = |length: usize| if bytes.len() == length { Ok(bytes) } else { Err(bad()) };
    fn number_of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("the length was looked at")
    }
    Ok(match *of {
        Type::BOOL => if fixed(1)?[0] == 0 { "false" } else { "true" }.to_owned(),
        Type::INT2 => i16::from_be_bytes(number_of(fixed(2)?)).to_string(),
        Type::INT4 => i32::from_be_bytes(number_of(fixed(4)?)).to_string(),
        Type::OID | Type::REGCLASS | Type::REGTYPE => u32::from_be_bytes(number_of(fixed(4)?)).to_string(),
        Type::INT8 => i64::from_be_bytes(number_of(fixed(8)?)).to_string(),
        Type::FLOAT4 => f32::from_be_bytes(number_of(fixed(4)?)).to_string(),
        Type::FLOAT8 => f64::from_be_bytes(number_of(fixed(8)?)).to_string(),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let us = i64::from_be_bytes(number_of(fixed(8)?)).checked_add(EPOCH_US).ok_or_else(bad)?;
            Timestamp::from_microsecond(us).map_err(|_| bad())?.to_string()
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(number_of(fixed(4)?)));
            let us = days * 86_400_000_000 + EPOCH_US;
            Timestamp::from_microsecond(us).map_err(|_| bad())?.strftime("%Y-%m-%d").to_string()
        }
        Type::NUMERIC => read_numeric(bytes).ok_or_else(bad)?,
        _ => std::str::from_utf8(bytes).map_err(|_| bad())?.to_owned(),
    })
}

fn read_numeric(bytes: &[u8]) -> Option<String> {
    let at = |place: usize| Some(i16::from_be_bytes(bytes.get(2 * place..2 * place + 2)?.try_into().ok()?));
    let (groups, weight, sign, scale) = (at(0)?, at(1)?, at(2)? as u16, usize::try_from(at(3)?).ok()?);
    if !matches!(sign, 0 | 0x4000) || !(-100..100).contains(&weight) || scale > 100 {
        return None;
    }
    let digit = |place: i16| if (0..groups).contains(&place) { at(4 + place as usize) } else { Some(0) };
    let mut whole = String::new();
    for place in 0..=weight.max(0) {
        write!(whole, "{:04}", if weight < 0 { 0 } else { digit(place)? }).ok()?;
    }
    let mut fraction = String::new();
    for place in 1..=scale.div_ceil(4) as i16 {
        write!(fraction, "{:04}", digit(weight + place)?).ok()?;
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{}{whole}{point}{fraction}", if sign == 0 { "" } else { "-" }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_are_those_of_the_protocol() {
        for known in KNOWN {
            assert_eq!(Type::from_oid(known.oid).unwrap().name(), known.name);
        }
        assert_eq!(named("VARCHAR(10)"), Type::VARCHAR);
        assert_eq!(named("pg_catalog.int2[]"), Type::INT2_ARRAY);
        assert_eq!(named("TIMESTAMP WITH TIME ZONE"), Type::TIMESTAMPTZ);
    }

    #[test]
    fn times_are_written_with_the_offset_of_the_zone() {
        let us = 1_359_676_800_000_000;
        assert_eq!(timestamp_text(us, &TimeZone::UTC), "2013-02-01 00:00:00+00");
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        assert_eq!(timestamp_text(us + 1_500, &zone), "2013-02-01 05:30:00.0015+05:30");
        assert_eq!(timestamp_text(us, &TimeZone::get("America/New_York").unwrap()), "2013-01-31 19:00:00-05");
    }

    proptest! {
        #[test]
        fn binary_numbers_are_what_they_were(value in any::<i64>(), scale in 0_i8..12) {
            let mut buffer = BytesMut::new();
            numeric(&mut buffer, i128::from(value), scale);
            let read = read_numeric(&buffer).unwrap();
            let unscaled: i128 = read.replace('.', "").parse().unwrap();
            prop_assert_eq!(unscaled, i128::from(value));
            prop_assert_eq!(read.split_once('.').map_or(0, |(_, fraction)| fraction.len()), scale as usize);
        }
    }
}
