//! Plain text as a column's value: a field of a CSV line, a header, a whole key.

use super::{
    number,
    scan::{Kind, Value},
};
use crate::schema::{Column, ColumnType, TimestampFormat};

/// `text` as what a column takes from JSON: a number, `true` or `false` where the column is of such a type and the text is
/// one, else a string.
pub(super) fn value<'t>(column: &Column, text: &'t str) -> Value<'t> {
    let kind = match (column.column_type, column.timestamp_format) {
        (ColumnType::Bool, _) if text.eq_ignore_ascii_case("true") => Kind::Bool(true),
        (ColumnType::Bool, _) if text.eq_ignore_ascii_case("false") => Kind::Bool(false),
        (ColumnType::String | ColumnType::Bool, _) | (ColumnType::Timestamp, TimestampFormat::Rfc3339) => Kind::String,
        _ => match number::is_number(text) {
            true if text.contains(['.', 'e', 'E']) => Kind::Number,
            true => Kind::Integer,
            false => Kind::String,
        },
    };
    Value { kind, text }
}
