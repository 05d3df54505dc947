//! Values of the catalogue, and what SQL does with them: comparing, casting, writing as text.

use std::cmp::Ordering;

use pgwire::api::Type;

/// A value; its type is that of its column.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::postgres) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Array(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Value {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether a condition that has this value holds.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Text(text) => truth(text) == Some(true),
            _ => false,
        }
    }

    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Double(value) => Some(value.round() as i64),
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn double(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// As Postgres writes it; `None` if it is null.
    pub(in crate::postgres) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Text(text) => text.clone(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::item).collect();
                format!("{{{}}}", items.join(","))
            }
        })
    }

    /// As an item of an array in text.
    fn item(&self) -> String {
        let Some(text) = self.text() else { return "NULL".to_owned() };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '=' | '/' | '%');
        if !text.is_empty() && text.chars().all(plain) && !text.eq_ignore_ascii_case("null") {
            return text;
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// How it compares; `None` if either is null. Text that stands beside another type is read as that type.
    pub(super) fn compared(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Text(b)) => Some(a.cmp(&truth(b)?)),
            (Self::Text(a), Self::Bool(b)) => Some(truth(a)?.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Double(_), _) | (_, Self::Int(_) | Self::Double(_)) => {
                self.double()?.partial_cmp(&other.double()?)
            }
            _ => Some(self.text()?.cmp(&other.text()?)),
        }
    }

    /// The items of an array; one that is written as text is read.
    pub(super) fn items(&self) -> Vec<Self> {
        match self {
            Self::Array(items) => items.clone(),
            Self::Text(text) => {
                let inner = text.trim_start_matches('{').trim_end_matches('}');
                inner.split(',').filter(|item| !item.is_empty()).map(Self::from).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `value` as a `to`; `None` if it is no such value.
pub(super) fn cast(value: Value, to: &Type) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    Some(match *to {
        Type::BOOL => match &value {
            Value::Int(number) => Value::Bool(*number != 0),
            Value::Text(text) => Value::Bool(truth(text)?),
            _ => value,
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Value::Int(value.int()?),
        // Numbers that stand for names stay numbers until they are written.
        Type::REGCLASS | Type::REGTYPE | Type::REGNAMESPACE | Type::REGROLE => Value::Int(value.int()?),
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => Value::Double(value.double()?),
        Type::TEXT_ARRAY | Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY | Type::OID_ARRAY => {
            Value::Array(value.items())
        }
        _ => match value {
            Value::Array(_) => value,
            Value::Bool(value) => Value::from(if value { "true" } else { "false" }),
            other => Value::from(other.text()),
        },
    })
}

/// Whether `text` is like `pattern`, where `%` stands for any characters and `_` for one.
pub(super) fn like(text: &[char], pattern: &[char], escape: Option<char>) -> bool {
    match pattern {
        [] => text.is_empty(),
        [c, literal, rest @ ..] if Some(*c) == escape => {
            text.first() == Some(literal) && like(&text[1..], rest, escape)
        }
        ['%', rest @ ..] => (0..=text.len()).any(|from| like(&text[from..], rest, escape)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest, escape),
        [c, rest @ ..] => text.first() == Some(c) && like(&text[1..], rest, escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_beside_another_type_is_read_as_that_type() {
        assert_eq!(Value::Int(10).compared(&Value::from("9")), Some(Ordering::Greater));
        assert_eq!(Value::Bool(true).compared(&Value::from("t")), Some(Ordering::Equal));
        assert_eq!(Value::Null.compared(&Value::Null), None);
    }

    #[test]
    fn arrays_are_written_as_postgres_does() {
        let array = Value::Array(vec![Value::from("a b"), Value::Null, Value::Int(3), Value::from("")]);
        assert_eq!(array.text().as_deref(), Some("{\"a b\",NULL,3,\"\"}"));
    }

    #[test]
    fn patterns() {
        let like = |text: &str, pattern: &str| {
            super::like(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>(), Some('/'))
        };
        assert!(like("pg_class", "pg/_%") && !like("pgxclass", "pg/_%") && like("pgxclass", "pg_%"));
        assert!(like("", "%") && !like("", "_") && !like("a", "/"));
    }
}
