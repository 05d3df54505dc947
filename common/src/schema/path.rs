//! Where in a record's value a column stands.

use std::fmt;

use bytes::Bytes;
use sonic_rs::{JsonValueTrait, LazyValue, PointerNode};

use crate::limits::PATH_STEPS_MAX;

/// From the record's value to a value within, step by step: the singular queries of JSONPath (RFC 9535, section 2.3.5.1),
/// as `$.user.id`, `$.items[0].price` or `$['first name']`. The first step is a name, since a record is an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the member of this name of an object.
    Name(String),
    /// To this element of an array, counted from 0.
    Index(usize),
}

impl Path {
    /// The path to the member `name` of the record itself.
    #[must_use]
    pub fn member(name: &str) -> Self {
        Self { steps: vec![Step::Name(name.to_owned())] }
    }

    /// The path that `text` writes; `None` if it is none, or has more than [`PATH_STEPS_MAX`] steps. A name in brackets
    /// stands between `'` or `"`, and has no backslash and no other mark of its kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = Step::parse(rest)?;
            steps.push(step);
            rest = after;
        }
        let starts_with_name = matches!(steps.first(), Some(Step::Name(_)));
        (starts_with_name && steps.len() <= PATH_STEPS_MAX).then_some(Self { steps })
    }

    /// The steps, in order; at least one.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it is the path to the member `name` of the record itself.
    #[must_use]
    pub fn is_member(&self, name: &str) -> bool {
        matches!(&self.steps[..], [Step::Name(only)] if only == name)
    }

    /// The first value that stands here in the JSON text `value`, which is read no further: for a look at records that
    /// are yet to be decoded. `None` where there is none, or the text is not JSON that far.
    #[must_use]
    pub fn find<'v>(&self, value: &'v [u8]) -> Option<LazyValue<'v>> {
        let pointer = self.steps.iter().map(|step| match step {
            Step::Name(name) => PointerNode::from(name.as_str()),
            Step::Index(index) => PointerNode::from(*index),
        });
        sonic_rs::get(value, pointer).ok()
    }

    /// The text of what stands here in the JSON text `value`: of a string without its quotes, of anything else as it is
    /// written. `None` where there is nothing, or null.
    #[must_use]
    pub fn text(&self, value: &[u8]) -> Option<Bytes> {
        let found = self.find(value)?;
        match found.as_str() {
            Some(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            None if found.is_null() => None,
            None => Some(Bytes::copy_from_slice(found.as_raw_str().as_bytes())),
        }
    }

    /// Whether `other` is this path, or leads to a value within the one this path leads to.
    #[must_use]
    pub fn leads_towards(&self, other: &Self) -> bool {
        other.steps.starts_with(&self.steps)
    }
}

impl Step {
    /// The step that `text`, which is not empty, starts with, and what follows.
    fn parse(text: &str) -> Option<(Self, &str)> {
        if let Some(text) = text.strip_prefix('.') {
            let end = text.find(['.', '[']).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            return is_plain(name).then(|| (Self::Name(name.to_owned()), rest));
        }
        let text = text.strip_prefix('[')?;
        if let Some(mark @ ('\'' | '"')) = text.chars().next() {
            let (name, rest) = text[1..].split_once(mark)?;
            return (!name.contains('\\')).then_some((Self::Name(name.to_owned()), rest.strip_prefix(']')?));
        }
        let (digits, rest) = text.split_once(']')?;
        let canonical = digits == "0" || !digits.starts_with(['0', '+']);
        Some((Self::Index(digits.parse().ok().filter(|_| canonical)?), rest))
    }
}

/// Whether `name` may stand after a point, without brackets.
fn is_plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Name(name) if is_plain(name) => write!(f, ".{name}"),
            Step::Name(name) if name.contains('\'') => write!(f, "[\"{name}\"]"),
            Step::Name(name) => write!(f, "['{name}']"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        let name = |name: &str| Step::Name(name.to_owned());
        for (text, steps, written) in [
            ("$.user", vec![name("user")], "$.user"),
            ("$.user.id", vec![name("user"), name("id")], "$.user.id"),
            ("$.items[0].price", vec![name("items"), Step::Index(0), name("price")], "$.items[0].price"),
            ("$['first name']", vec![name("first name")], "$['first name']"),
            (r#"$["it's"][12]"#, vec![name("it's"), Step::Index(12)], r#"$["it's"][12]"#),
            ("$['plain']", vec![name("plain")], "$.plain"),
            ("$.größe", vec![name("größe")], "$.größe"),
            ("$['']", vec![name("")], "$['']"),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!((path.steps(), path.to_string().as_str()), (&steps[..], written), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "$",
            "user",
            "$user",
            "$.",
            "$..id",
            "$.user.",
            "$[0]",
            "$.a[]",
            "$.a[-1]",
            "$.a[01]",
            "$.a[+1]",
            "$.a[*]",
            "$.a[0",
            "$.a[0]b",
            "$['a",
            "$['a'",
            r"$['a\n']",
            "$.a b",
            "$.1",
            "$.*",
            " $.a",
            "$.a[1:2]",
            "$.a[99999999999999999999]",
        ] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(PATH_STEPS_MAX))).is_some());
        assert!(Path::parse(&format!("${}", ".a".repeat(PATH_STEPS_MAX + 1))).is_none());
    }

    #[test]
    fn the_value_at_a_path_is_found() {
        let found = |path, value: &'static str| {
            Path::parse(path).unwrap().find(value.as_bytes()).map(|found| found.as_raw_str().to_owned())
        };
        assert_eq!(found("$.a.b", r#"{"a":{"b":[1]},"c":"#).as_deref(), Some("[1]"));
        assert_eq!(found("$.a[1].b", r#"{"a":[0,{"b":"x"}]}"#).as_deref(), Some(r#""x""#));
        for value in [r#"{"a":1}"#, r#"{"a":[0]}"#, r#"{"a":{}}"#, "[]", "", r#"{"a"#] {
            assert_eq!(found("$.a.b", value), None, "{value}");
        }
    }

    #[test]
    fn a_path_leads_towards_itself_and_what_is_within() {
        let path = |text| Path::parse(text).unwrap();
        assert!(path("$.a").leads_towards(&path("$.a")));
        assert!(path("$.a").leads_towards(&path("$.a.b")));
        assert!(path("$.a").leads_towards(&path("$.a[0]")));
        assert!(!path("$.a.b").leads_towards(&path("$.a")));
        assert!(!path("$.a").leads_towards(&path("$.ab")));
        assert!(path("$.a").is_member("a") && !path("$.a.a").is_member("a"));
    }
}
