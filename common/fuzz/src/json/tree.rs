//! What serde_json makes of a text, with each number as it is written.

use std::fmt;

use common::{limits::JSON_DEPTH_MAX, schema::Step};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A value and all within it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'t> {
    /// In the order they are written, all of them.
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    String(String),
    Number(&'t str),
    Bool(bool),
    Null,
}

impl<'t> Tree<'t> {
    /// The value that `text` is, if it is one.
    pub(super) fn of(text: &'t [u8]) -> Option<Self> {
        let raw: Result<&RawValue, _> = serde_json::from_slice(text);
        let tree = raw.ok().and_then(|raw| Self::within(raw, 0));
        // A number that no double is near to is well-formed all the same, and serde_json cannot hold it.
        match serde_json::from_slice::<Value>(text) {
            Ok(_) => assert!(tree.is_some(), "serde_json takes it whole, and not by its parts"),
            Err(error) if error.to_string().contains("out of range") => {}
            Err(error) => assert_eq!(tree, None, "serde_json does not take it: {error}"),
        }
        tree
    }

    /// The value that `raw` is, which this many objects and arrays are around. Of raw values serde_json has looked at the grammar
    /// and no further.
    fn within(raw: &'t RawValue, depth: u32) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes()[0] {
            b'{' | b'[' if depth == JSON_DEPTH_MAX => return None,
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let member = |(name, value)| Some((name, Self::within(value, depth + 1)?));
                Self::Object(members.into_iter().map(member).collect::<Option<_>>()?)
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::Array(elements.into_iter().map(|value| Self::within(value, depth + 1)).collect::<Option<_>>()?)
            }
            b'"' => Self::String(serde_json::from_str(text).ok()?),
            b't' | b'f' => Self::Bool(text == "true"),
            b'n' => Self::Null,
            _ => Self::Number(text),
        })
    }

    /// What `steps` lead to. Of a name that repeats, the last value counts.
    pub(super) fn at(&self, steps: &[Step]) -> Option<&Self> {
        let Some((step, rest)) = steps.split_first() else { return Some(self) };
        let inner = match (step, self) {
            (Step::Name(name), Self::Object(members)) => &members.iter().rfind(|(other, _)| other == name)?.1,
            (Step::Index(index), Self::Array(elements)) => elements.get(*index)?,
            _ => return None,
        };
        inner.at(rest)
    }
}

/// The members of an object, each as it is written.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'t> Visitor<'t> for All {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}
