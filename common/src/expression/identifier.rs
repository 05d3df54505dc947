//! Names of columns as SQL text.

use sqlparser::keywords::ALL_KEYWORDS;

/// Keywords of SQL that are read as names wherever an expression can stand. Most views have a column called one of these.
const HARMLESS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];

/// `name` as SQL: bare where that can only be read as this name, quoted otherwise.
pub(crate) fn identifier(name: &str) -> String {
    let mut characters = name.chars();
    let starts_well = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let bare = starts_well && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let keyword = !HARMLESS.contains(&name) && ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_ok();
    if bare && !keyword { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
