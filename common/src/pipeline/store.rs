//! `[store]` of the pipeline file: where the store is, and how it is reached.
//!
//! Values of options may be secrets: no message says one.

use std::{fs, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use url::Url;

use super::{
    STORE_URL,
    reader::{Reader, Section},
    values::{Kind, TEXT},
};
use crate::store::Options;

const STORE: Kind<String> = Kind {
    what: "a store's URL",
    allowed: "a store is \"file:directory\" (relative to this file), \"file:///directory\", \"s3://bucket/prefix\", \
              \"gs://bucket/prefix\", \"az://container/prefix\", \"abfss://container@account.dfs.core.windows.net/prefix\" or \
              \"memory:\"",
    parse: TEXT.parse,
};

const OPTION: Kind<String> = Kind {
    what: "an option's value",
    allowed: "an option is a text, a number, true, false, or { file = \"path\" } whose content it is",
    parse: |text| Some(text.to_owned()),
};

/// `[store]`; a directory in its URL, and files of secrets, are relative to `directory`.
pub(super) fn store(reader: &mut Reader<'_>, root: &Section<'_>, directory: &Path) -> Option<(Url, Options)> {
    let section = reader.section(root, "store", &["url", "options"]);
    let url = url(reader, &section, directory)?;
    let mut options = Options::default();
    let Some(value) = section.get("options") else { return Some((url, options)) };
    for (name, span, value) in reader.table(value, section.path_of("options")).entries() {
        let path = section.path_of(&format!("options.{name}"));
        let Some(text) = option(reader, &path, value, directory) else { continue };
        if let Err(why) = options.set(&url, name, &text) {
            reader.fault(span, why, OPTION.allowed);
        }
    }
    Some((url, options))
}

fn url(reader: &mut Reader<'_>, section: &Section<'_>, directory: &Path) -> Option<Url> {
    let text = reader.or(section, "url", &STORE, STORE_URL.to_owned());
    let url = match text.split_once(':') {
        Some(("memory", "")) => Url::parse("memory:").ok(),
        Some(("file", path)) if path.starts_with("//") => {
            Url::parse(&text).ok().filter(|url| url.to_file_path().is_ok())
        }
        Some(("file", path)) if !path.is_empty() => Url::from_file_path(directory.join(path)).ok(),
        Some(("s3" | "s3a" | "gs" | "az" | "abfs" | "abfss", bucket)) if bucket.starts_with("//") => {
            Url::parse(&text).ok().filter(|url| url.has_host())
        }
        _ => None,
    };
    if url.is_none() {
        let span = section.get("url").map_or(section.span.clone(), Spanned::span);
        reader.fault(span, format!("`store.url` is \"{text}\", which is no store that is known"), STORE.allowed);
    }
    url
}

/// The value of an option or a secret, which may be the content of a file.
pub(super) fn option(
    reader: &mut Reader<'_>,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    directory: &Path,
) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => secret_file(reader, path, table, value.span(), directory),
        DeValue::Integer(_) | DeValue::Boolean(_) => Some(reader.excerpt(value).to_owned()),
        _ => reader.value(value, path, &OPTION),
    }
}

/// What the file of a secret holds, without the line's end that editors add.
pub(super) fn secret_file(
    reader: &mut Reader<'_>,
    path: &str,
    table: &DeTable<'_>,
    span: Range<usize>,
    directory: &Path,
) -> Option<String> {
    let Some(file) = table.get("file").filter(|_| table.len() == 1) else {
        reader.fault(span, format!("`{path}` is a table of other keys than file"), OPTION.allowed);
        return None;
    };
    let name = reader.value(file, &format!("{path}.file"), &TEXT)?;
    match fs::read_to_string(directory.join(&name)) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            reader.fault(file.span(), format!("the file of `{path}` cannot be read: {error}"), OPTION.allowed);
            None
        }
    }
}
