//! How the values of the pipeline file are written: durations, sizes, addresses, column types, names.

use std::{net::SocketAddr, str::FromStr};

use bytesize::ByteSize;
use jiff::{SignedDuration, SpanRelativeTo, fmt::friendly::SpanParser};

use crate::{
    limits::NAME_LENGTH_MAX,
    schema::{ColumnType, Origin, Path, TimestampFormat},
};

/// A kind of value that is written as a string.
#[derive(Debug)]
pub(super) struct Kind<T> {
    /// What it is, with its article.
    pub(super) what: &'static str,
    /// How it is written.
    pub(super) allowed: &'static str,
    /// Its value, if the text is of this kind.
    pub(super) parse: fn(&str) -> Option<T>,
}

pub(super) const DURATION: Kind<SignedDuration> = Kind {
    what: "a duration",
    allowed: "a duration is more than 0 and written as \"100ms\", \"10s\", \"5m\", \"1h\" or \"7d\"",
    parse: duration,
};

pub(super) const SIZE: Kind<ByteSize> = Kind {
    what: "a size",
    allowed: "a size is more than 0 and written as \"512KiB\", \"64MiB\" or \"1GiB\"",
    parse: |text| ByteSize::from_str(text).ok().filter(|size| size.as_u64() > 0),
};

pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    what: "an address",
    allowed: "an address is an IP address and a port, as \"127.0.0.1:8080\" or \"[::1]:8080\"",
    parse: |text| text.parse().ok(),
};

pub(super) const TEXT: Kind<String> =
    Kind { what: "a text", allowed: "a text is not empty", parse: |text| (!text.is_empty()).then(|| text.to_owned()) };

pub(super) const CLUSTER: Kind<String> = Kind {
    what: "a cluster's name",
    allowed: "the name has 1 to 64 of a-z, 0-9, - and _, and starts with a letter",
    parse: |text| {
        is_name(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_').then(|| text.to_owned())
    },
};

/// A column's type, and whether it may be null.
pub(super) const COLUMN_TYPE: Kind<(ColumnType, bool)> = Kind {
    what: "a column type",
    allowed: "types are \"int\", \"double\", \"decimal(precision,scale)\" with up to 38 digits, \"string\", \"bool\" and \
              \"timestamp\"; with ? at the end, as \"int?\", the column may be null",
    parse: column_type,
};

pub(super) const TIMESTAMP_FORMAT: Kind<TimestampFormat> = Kind {
    what: "a timestamp format",
    allowed: "formats are \"rfc3339\", \"seconds\", \"millis\", \"micros\" and \"nanos\"",
    parse: |text| match text {
        "rfc3339" => Some(TimestampFormat::Rfc3339),
        "seconds" => Some(TimestampFormat::Seconds),
        "millis" => Some(TimestampFormat::Millis),
        "micros" => Some(TimestampFormat::Micros),
        "nanos" => Some(TimestampFormat::Nanos),
        _ => None,
    },
};

pub(super) const PATH: Kind<Path> = Kind {
    what: "a path",
    allowed: "a path is $ and up to 16 steps, .name, ['any name'] or [0], the first to a name, as \"$.user.id\"",
    parse: Path::parse,
};

pub(super) const ORIGIN: Kind<Origin> = Kind {
    what: "a part of a record",
    allowed: "a column is from \"value\", \"key\", \"header:<name>\", \"topic\", \"partition\", \"offset\" or \"timestamp\"",
    parse: |text| match text {
        "value" => Some(Origin::Value),
        "key" => Some(Origin::Key),
        "topic" => Some(Origin::Topic),
        "partition" => Some(Origin::Partition),
        "offset" => Some(Origin::Offset),
        "timestamp" => Some(Origin::Timestamp),
        _ => text.strip_prefix("header:").filter(|name| !name.is_empty()).map(|name| Origin::Header(name.to_owned())),
    },
};

/// Whether `name` can be a column's: it becomes a name in Delta tables, SQL and answers.
pub(super) fn is_column_name(name: &str) -> bool {
    is_name(name, |c| c.is_ascii_alphanumeric() || c == '_') && !name.eq_ignore_ascii_case(EVENT_DATE)
}

/// The column that the dataset is partitioned by; no source may have one of this name.
const EVENT_DATE: &str = "event_date";

fn is_name(name: &str, allowed: fn(char) -> bool) -> bool {
    name.len() <= NAME_LENGTH_MAX && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(allowed)
}

fn duration(text: &str) -> Option<SignedDuration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    duration.is_positive().then_some(duration)
}

fn column_type(text: &str) -> Option<(ColumnType, bool)> {
    let (name, nullable) = match text.strip_suffix('?') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let column_type = match name {
        "int" => ColumnType::Int,
        "double" => ColumnType::Double,
        "string" => ColumnType::String,
        "bool" => ColumnType::Bool,
        "timestamp" => ColumnType::Timestamp,
        _ => {
            let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            if !(1..=38).contains(&precision) || scale > precision {
                return None;
            }
            ColumnType::Decimal { precision, scale }
        }
    };
    Some((column_type, nullable))
}
