//! Reading the fields of a JSON object one by one, so that every fault is named by a pointer, with what is allowed.

use std::fmt;

use common::suggest;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A fault of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, as a fragment: `#/dimensions/0`.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

impl FieldError {
    /// A fault at `path`, as `dimensions/0`; the empty path is the whole body.
    pub(crate) fn new(path: &str, detail: impl Into<String>) -> Self {
        let slash = if path.is_empty() { "" } else { "/" };
        Self { pointer: format!("#{slash}{path}"), detail: detail.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// The fields of one object, and the faults found so far. A fault yields the field's default, so that all are found.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
    pub(crate) errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// The fields of the object `value` at `path`, of which only `allowed` may be there.
    pub(crate) fn of(value: &'a Value, path: &str, allowed: &[&str]) -> Result<Self, FieldError> {
        let Value::Object(object) = value else {
            return Err(FieldError::new(path, format!("is {}, must be an object", kind(value))));
        };
        let mut fields = Self { object, path: path.to_owned(), errors: Vec::new() };
        for name in object.keys().filter(|name| !allowed.contains(&name.as_str())) {
            let detail = format!("unknown field{}", suggest::hint(name, allowed.iter().copied()));
            fields.fault(&escape(name), detail);
        }
        Ok(fields)
    }

    /// Notes a fault of the field at `name`.
    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let path = self.at(name);
        self.errors.push(FieldError::new(&path, detail));
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// The field, unless it is absent or null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        if value.as_str().is_none() {
            self.fault(name, format!("is {}, must be a string", kind(value)));
        }
        value.as_str().map(ToOwned::to_owned)
    }

    pub(crate) fn required_string(&mut self, name: &str) -> String {
        if self.value(name).is_none() {
            self.fault(name, "is missing, must be a string");
        }
        self.string(name).unwrap_or_default()
    }

    pub(crate) fn bool(&mut self, name: &str) -> bool {
        let Some(value) = self.value(name) else { return false };
        if value.as_bool().is_none() {
            self.fault(name, format!("is {}, must be true or false", kind(value)));
        }
        value.as_bool().unwrap_or_default()
    }

    /// A whole number from 1 to `max`.
    pub(crate) fn count(&mut self, name: &str, max: usize) -> Option<usize> {
        let value = self.value(name)?;
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=max).contains(n));
        if count.is_none() {
            let most = if max == usize::MAX { "on".to_owned() } else { format!("to {max}") };
            self.fault(name, format!("is {}, must be a whole number from 1 {most}", brief(value)));
        }
        count
    }

    pub(crate) fn array(&mut self, name: &str) -> Option<&'a [Value]> {
        let value = self.value(name)?;
        if !value.is_array() {
            self.fault(name, format!("is {}, must be an array", kind(value)));
        }
        value.as_array().map(Vec::as_slice)
    }

    pub(crate) fn strings(&mut self, name: &str) -> Option<Vec<String>> {
        let values = self.array(name)?;
        let mut strings = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            match value.as_str() {
                Some(text) => strings.push(text.to_owned()),
                None => self.fault(&format!("{name}/{index}"), format!("is {}, must be a string", kind(value))),
            }
        }
        Some(strings)
    }
}

/// A word for what `value` is.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn brief(value: &Value) -> String {
    if value.is_number() { value.to_string() } else { kind(value).to_owned() }
}

/// A key as it stands in a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
