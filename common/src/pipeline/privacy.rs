//! `[privacy]` of the pipeline file, and `protect` of a column: what becomes of values that nobody shall read.

use std::{collections::BTreeMap, path::Path};

use super::{
    reader::{Reader, Section},
    store,
    values::Kind,
};
use crate::{
    decode::{Protected, Protection, PseudonymKey},
    schema::{Column, ColumnType},
};

/// The fewest characters of a key: what is shorter can be guessed, and with it every value.
const KEY_CHARS_MIN: usize = 16;

const KEY_HELP: &str = "[privacy] key is a secret of at least 16 characters, as \"${PSEUDONYM_KEY}\" or { file = \"/run/secrets/pseudonyms\" }";

const PROTECTION: Kind<Protection> = Kind {
    what: "a protection",
    allowed: "it is \"pseudonym\" (a keyed hash), \"mask\" (always ***) or \"drop\" (null)",
    parse: |text| match text {
        "pseudonym" => Some(Protection::Pseudonym),
        "mask" => Some(Protection::Mask),
        "drop" => Some(Protection::Drop),
        _ => None,
    },
};

/// The key of pseudonyms, if the file has one.
pub(super) fn key(reader: &mut Reader<'_>, root: &Section<'_>, directory: &Path) -> Option<PseudonymKey> {
    root.get("privacy")?;
    let section = reader.section(root, "privacy", &["key"]);
    let Some(value) = section.get("key") else {
        reader.fault(section.span.clone(), "`privacy.key` is missing", KEY_HELP);
        return None;
    };
    let secret = store::option(reader, "privacy.key", value, directory)?;
    if secret.chars().count() < KEY_CHARS_MIN {
        reader.fault(value.span(), "`privacy.key` is too short", KEY_HELP);
        return None;
    }
    Some(PseudonymKey::new(&secret))
}

/// The protected columns of the source in `section`, if it has such.
pub(super) fn protected(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    columns: &[Column],
    key: Option<PseudonymKey>,
) -> Option<Protected> {
    let table = section.get("columns").map(|value| reader.table(value, section.path_of("columns")))?;
    let mut protected = BTreeMap::new();
    for (name, span, value) in table.entries() {
        let column = columns.iter().find(|column| column.name == name);
        let (Some(column), true) = (column, value.get_ref().is_table()) else { continue };
        let of_column = reader.table(value, table.path_of(name));
        let Some(protection) = reader.optional(&of_column, "protect", &PROTECTION) else { continue };
        let fault = match protection {
            Protection::Drop if !column.nullable => {
                Some(("a column that is dropped is null", "let its type end with ?"))
            }
            Protection::Pseudonym | Protection::Mask if column.column_type != ColumnType::String => {
                Some(("only strings have pseudonyms and masks", "\"drop\" is for all types"))
            }
            Protection::Pseudonym if key.is_none() => Some(("pseudonyms need a key", KEY_HELP)),
            _ => None,
        };
        match fault {
            Some((why, help)) => reader.fault(span, format!("`{name}`: {why}"), help),
            None => _ = protected.insert(name.to_owned(), protection),
        }
    }
    (!protected.is_empty()).then_some(Protected { columns: protected, key })
}
