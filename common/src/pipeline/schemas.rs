//! `[sources.<name>.avro]` and `[sources.<name>.protobuf]`: the schema file that values are written with, or the registry that
//! knows it.

use std::{fs, ops::Range, path::Path, sync::Arc};

use jiff::SignedDuration;
use toml::{Spanned, de::DeValue};
use url::Url;

use super::{
    reader::{Reader, Section},
    values::{DURATION, Kind, TEXT},
};
use crate::{
    decode::{OnIncompatible, RegisteredSchemas, SchemaFault, Schemas, WriterSchema, imports},
    registry::{Login, Reference, Registry, SchemaKind, Secret, Settings},
    schema::Column,
};

/// `timeout` of a registry where the file has none.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// The keys that only say something of a schema in a file.
const FILE_KEYS: &[&str] = &["message"];

/// The keys that only say something of a registry.
const REGISTRY_KEYS: &[&str] =
    &["subject", "username", "password", "password_file", "token", "token_file", "timeout", "on_incompatible"];

const URL: Kind<Url> = Kind {
    what: "a registry's address",
    allowed: "it is a URL, as \"http://localhost:8081\" or \"https://registry.example.com/path\", without name and password",
    parse: |text| {
        // Addresses are shown in messages, and secrets are not.
        let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none();
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        Url::parse(text).ok().filter(|url| is_web(url) && is_plain(url))
    },
};

const ON_INCOMPATIBLE: Kind<OnIncompatible> = Kind {
    what: "a way on",
    allowed: "it is \"stop\", or \"dead_letter\" where records whose schema does not fit are dead letters",
    parse: |text| match text {
        "stop" => Some(OnIncompatible::Stop),
        "dead_letter" => Some(OnIncompatible::DeadLetter),
        _ => None,
    },
};

/// What the schemas are for.
#[derive(Clone, Copy)]
pub(super) struct Use<'u> {
    /// The table that says where they are, and the kind that they are of.
    pub(super) table: &'static str,
    pub(super) kind: SchemaKind,
    /// The columns that are read by them, and where each stands in the file.
    pub(super) columns: &'u [Column],
    pub(super) place_of: &'u dyn Fn(&str) -> Range<usize>,
    /// Whether they are of keys, which need have no members.
    pub(super) of_keys: bool,
    /// The subject of the registry if the file names none.
    pub(super) subject: &'u str,
}

/// The schemas that the table of `parent` says; `None` if they cannot be known, which is noted.
pub(super) fn schemas(reader: &mut Reader<'_>, parent: &Section<'_>, of: Use<'_>) -> Option<Schemas> {
    let file_keys = if of.kind == SchemaKind::Protobuf { FILE_KEYS } else { &[] };
    let table = reader.section(parent, of.table, &[&["schema", "registry"], file_keys, REGISTRY_KEYS].concat());
    match (table.get("schema"), table.get("registry")) {
        (Some(schema), None) => {
            only_without(reader, &table, REGISTRY_KEYS, "the schema is in a file: no registry is asked");
            one(reader, &table, schema, of).map(|schema| Schemas::One(Arc::new(schema)))
        }
        (None, Some(_)) => {
            only_without(reader, &table, FILE_KEYS, "each record says which schema and message it is of");
            registered(reader, &table, of).map(Schemas::Registered)
        }
        (schema, _) => {
            let (span, what) = match schema {
                Some(schema) => (schema.span(), "has both a schema and a registry"),
                None => (table.span.clone(), "has neither a schema nor a registry"),
            };
            let help = "set `schema` to the file of the schema that all values are plainly written with, or `registry` to \
                        the address of the registry whose ids stand before them";
            reader.fault(span, format!("[{}] {what}", table.path), help);
            None
        }
    }
}

/// Notes each of `keys` that is there, and has nothing to say.
fn only_without(reader: &mut Reader<'_>, table: &Section<'_>, keys: &[&str], help: &str) {
    for (key, span, _) in table.entries().into_iter().filter(|(key, ..)| keys.contains(key)) {
        reader.fault(span, format!("`{}` says nothing here", table.path_of(key)), help);
    }
}

fn one(
    reader: &mut Reader<'_>,
    table: &Section<'_>,
    value: &Spanned<DeValue<'_>>,
    of: Use<'_>,
) -> Option<WriterSchema> {
    let file = reader.value(value, &table.path_of("schema"), &TEXT)?;
    let path = reader.beside(&file);
    let text = read(reader, value.span(), &path)?;
    let references = match of.kind {
        SchemaKind::Protobuf => imported(reader, value.span(), &path, &text)?,
        _ => Vec::new(),
    };
    let message = reader.optional(table, "message", &TEXT);
    let schema = WriterSchema { text, references, message };
    match schema.check(of.kind, of.columns, of.of_keys) {
        Ok(()) => return Some(schema),
        Err(SchemaFault::Unreadable(message)) => {
            reader.fault(
                value.span(),
                format!("{file}: {message}"),
                format!("the file is to hold one {} schema", of.table),
            );
        }
        Err(SchemaFault::NoMessage(message)) => {
            let span = table.get("message").map_or(value.span(), Spanned::span);
            let help = format!("`{}` names the message, as \"shop.Order\"", table.path_of("message"));
            reader.fault(span, format!("{file} {message}"), help);
        }
        Err(SchemaFault::Misfit(misfits)) => {
            for (column, message) in misfits {
                let help = format!("the schema is {file}; change the column, or the schema with what writes by it");
                reader.fault((of.place_of)(&column), message, help);
            }
        }
    }
    None
}

/// The files that a `.proto` file imports, and those that these import: all beside it.
fn imported(reader: &mut Reader<'_>, span: Range<usize>, path: &Path, text: &str) -> Option<Vec<Reference>> {
    let mut files: Vec<Reference> = Vec::new();
    let mut texts = vec![text.to_owned()];
    while let Some(text) = texts.pop() {
        // What is wrong with the file itself is said when it is compiled.
        for name in imports(&text).unwrap_or_default() {
            if files.iter().any(|file| file.name == name) {
                continue;
            }
            let text = read(reader, span.clone(), &path.with_file_name(&name))?;
            texts.push(text.clone());
            files.push(Reference { name, text });
        }
    }
    Some(files)
}

fn registered(reader: &mut Reader<'_>, table: &Section<'_>, of: Use<'_>) -> Option<RegisteredSchemas> {
    let login = login(reader, table);
    let timeout = reader.or(table, "timeout", &DURATION, TIMEOUT);
    let on_incompatible = reader.or(table, "on_incompatible", &ON_INCOMPATIBLE, OnIncompatible::Stop);
    let subject = reader.or(table, "subject", &TEXT, of.subject.to_owned());
    let url = reader.required(table, "registry", &URL)?;
    match Registry::new(Settings { url, login: login?, timeout }) {
        Ok(registry) => Some(RegisteredSchemas { registry: Arc::new(registry), subject, on_incompatible }),
        Err(error) => {
            reader.fault(table.span.clone(), error.to_string(), "this machine cannot ask any registry");
            None
        }
    }
}

fn login(reader: &mut Reader<'_>, table: &Section<'_>) -> Option<Login> {
    let user = reader.optional(table, "username", &TEXT);
    let password = secret(reader, table, "password", "password_file");
    let token = secret(reader, table, "token", "token_file");
    let wrong = match (user, password?, token?) {
        (None, None, None) => return Some(Login::None),
        (Some(user), Some(password), None) => return Some(Login::Basic { user, password }),
        (None, None, Some(token)) => return Some(Login::Bearer(token)),
        (_, _, Some(_)) => "has a token and a name or password",
        (Some(_), None, None) => "has a name and no password",
        (None, Some(_), None) => "has a password and no name",
    };
    let help = "a registry is asked with `username` and `password` (or `password_file`), with `token` (or `token_file`), or \
                with none of them";
    reader.fault(table.span.clone(), format!("[{}] {wrong}", table.path), help);
    None
}

/// What stands at `key`, or in the file that `file_key` names; `None` after a fault.
fn secret(reader: &mut Reader<'_>, table: &Section<'_>, key: &str, file_key: &str) -> Option<Option<Secret>> {
    let given = match table.get(key) {
        Some(value) if value.get_ref().is_str() => Some(Secret(reader.optional(table, key, &TEXT)?)),
        Some(value) => {
            let message = format!("`{}` is not a text in quotes", table.path_of(key));
            reader.fault(value.span(), message, format!("write it in quotes, or name a file by `{file_key}`"));
            return None;
        }
        None => None,
    };
    let Some(value) = table.get(file_key) else { return Some(given) };
    if given.is_some() {
        let message = format!("`{}` and `{}` are the same", table.path_of(key), table.path_of(file_key));
        reader.fault(value.span(), message, "remove one of them");
        return None;
    }
    let file = reader.value(value, &table.path_of(file_key), &TEXT)?;
    let text = read(reader, value.span(), &reader.beside(&file))?;
    Some(Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())))
}

fn read(reader: &mut Reader<'_>, span: Range<usize>, path: &Path) -> Option<String> {
    fs::read_to_string(path)
        .map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            reader.fault(span, message, "paths are relative to this file");
        })
        .ok()
}
