//! Reads tables of a TOML file, and notes everything that is wrong with them and where.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Diagnostic, secrets, values::Kind};
use crate::suggest;

/// Gives the value of an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A table of the file.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    /// Its path, as `sources.departures`; empty for the whole file.
    pub(super) path: String,
    /// Its bytes in the file; empty if the file does not have it.
    pub(super) span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), span: 0..0, table: Some(table) }
    }

    /// The path of `key` in this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    /// The keys with their places and values, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
        let entries = self.table.into_iter().flatten();
        let mut entries: Vec<_> = entries.map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }
}

/// Reads one file. What it notes may quote secrets, which [`secrets::hide`] takes away.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    environment: Environment<'a>,
    /// What was found wrong so far.
    pub(super) faults: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    /// A reader of `text`, which is what `file` holds.
    pub(super) fn new(file: &'a str, text: &'a str, environment: Environment<'a>) -> Self {
        Self { file, text, environment, faults: Vec::new() }
    }

    /// A path in the file, which is relative to where the file is.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        Path::new(self.file).with_file_name("").join(path)
    }

    /// Notes a fault of the bytes `span`.
    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Diagnostic::at(self.file, self.text, span, message).help(help));
    }

    /// Notes every key of `section` that is not `allowed`.
    pub(super) fn only(&mut self, section: &Section<'_>, allowed: &[&str]) {
        for (key, span, _) in section.entries() {
            if allowed.contains(&key) {
                continue;
            }
            let mut fault =
                Diagnostic::at(self.file, self.text, span, format!("unknown key `{}`", section.path_of(key)));
            if let Some(near) = suggest::nearest(key, allowed.iter().copied()) {
                fault = fault.help(format!("did you mean `{near}`?"));
            }
            let place = if section.path.is_empty() { "here".to_owned() } else { format!("in [{}]", section.path) };
            self.faults.push(fault.help(format!("the keys {place} are {}", suggest::list(allowed.iter().copied()))));
        }
    }

    /// The table at `key` with no keys but `allowed`; an empty one if there is none.
    pub(super) fn section<'t>(&mut self, parent: &Section<'t>, key: &str, allowed: &[&str]) -> Section<'t> {
        let section = match parent.get(key) {
            Some(value) => self.table(value, parent.path_of(key)),
            None => Section { path: parent.path_of(key), span: parent.span.clone(), table: None },
        };
        self.only(&section, allowed);
        section
    }

    /// `value` as a table of this path; an empty one, after a fault, if it is none.
    pub(super) fn table<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, path: String) -> Section<'t> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("`{path}` is {}", with_article(value.get_ref()));
            self.fault(value.span(), message, format!("it is a table: [{path}]"));
        }
        Section { path, span: value.span(), table }
    }

    /// The value of `key`, or `default` if it is not there (or wrong, which is noted).
    pub(super) fn or<T>(&mut self, section: &Section<'_>, key: &str, kind: &Kind<T>, default: T) -> T {
        self.optional(section, key, kind).unwrap_or(default)
    }

    /// The value of `key`; `None` if it is not there (or wrong, which is noted).
    pub(super) fn optional<T>(&mut self, section: &Section<'_>, key: &str, kind: &Kind<T>) -> Option<T> {
        let value = section.get(key)?;
        self.value(value, &section.path_of(key), kind)
    }

    /// The value of `key`; notes if it is not there.
    pub(super) fn required<T>(&mut self, section: &Section<'_>, key: &str, kind: &Kind<T>) -> Option<T> {
        if section.get(key).is_none() {
            self.fault(section.span.clone(), format!("`{}` is missing", section.path_of(key)), kind.allowed);
        }
        self.optional(section, key, kind)
    }

    /// `value`, called `path`, as what `kind` says.
    pub(super) fn value<T>(&mut self, value: &Spanned<DeValue<'_>>, path: &str, kind: &Kind<T>) -> Option<T> {
        let text = match value.get_ref() {
            DeValue::String(text) => self.expanded(text, value.span())?,
            other => {
                let message = format!("`{path}` is {}, not {} in quotes", with_article(other), kind.what);
                self.fault(value.span(), message, kind.allowed);
                return None;
            }
        };
        let parsed = (kind.parse)(&text);
        if parsed.is_none() {
            let shown = if secrets::may_be(path) { String::new() } else { format!("\"{text}\", which is ") };
            self.fault(value.span(), format!("`{path}` is {shown}not {}", kind.what), kind.allowed);
        }
        parsed
    }

    /// The whole number at `key`, from `range`, or `default`.
    pub(super) fn count(
        &mut self,
        section: &Section<'_>,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(value) = section.get(key) else { return default };
        let number =
            integer(value.get_ref()).and_then(|number| u32::try_from(number).ok()).filter(|n| range.contains(n));
        number.unwrap_or_else(|| {
            let path = section.path_of(key);
            let allowed = format!("it is a whole number from {} to {}", range.start(), range.end());
            self.fault(value.span(), format!("`{path}` is {}", self.excerpt(value)), allowed);
            default
        })
    }

    /// What stands in the file for `value`.
    pub(super) fn excerpt(&self, value: &Spanned<DeValue<'_>>) -> &'a str {
        self.text.get(value.span()).unwrap_or_default()
    }

    /// `text` with each `${NAME}` replaced by the environment variable's value; `$${` stands for `${`.
    fn expanded(&mut self, text: &str, span: Range<usize>) -> Option<String> {
        let (mut rest, mut expanded, mut whole) = (text, String::new(), true);
        while let Some(dollar) = rest.find("${") {
            if rest[..dollar].ends_with('$') {
                expanded.push_str(&rest[..dollar - 1]);
                expanded.push_str("${");
                rest = &rest[dollar + 2..];
                continue;
            }
            expanded.push_str(&rest[..dollar]);
            let after = &rest[dollar + 2..];
            let Some(end) = after.find('}') else {
                self.fault(self.within(&span, &rest[dollar..]), "`${` is not closed", ENVIRONMENT_HELP);
                return None;
            };
            let name = &after[..end];
            match (self.environment)(name) {
                Some(value) => expanded.push_str(&value),
                None => {
                    let at = self.within(&span, &rest[dollar..dollar + end + 3]);
                    self.fault(at, format!("the environment variable `{name}` is not set"), ENVIRONMENT_HELP);
                    whole = false;
                }
            }
            rest = &after[end + 1..];
        }
        whole.then(|| expanded + rest)
    }

    /// Where `part` stands within `span`; all of `span` if it is written with escapes.
    fn within(&self, span: &Range<usize>, part: &str) -> Range<usize> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        written.find(part).map_or(span.clone(), |at| span.start + at..span.start + at + part.len())
    }
}

const ENVIRONMENT_HELP: &str = "${NAME} is replaced by the environment variable NAME; write $${ for ${ itself";

/// The whole number that `value` is, if it fits an i64.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

/// The number that `value` is, whole or not; never NaN.
pub(super) fn double(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Float(float) => float.as_str().replace('_', "").parse().ok()?,
        other => integer(other)? as f64,
    };
    (!f64::is_nan(number)).then_some(number)
}

fn with_article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    format!("{} {name}", if name.starts_with(['a', 'i']) { "an" } else { "a" })
}
