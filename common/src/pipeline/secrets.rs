//! What in the pipeline file may be a secret: no fault quotes it, whatever it is a fault of.
//!
//! A secret may stand beside anything, as in an inline table, and a file that is no TOML has no keys to go by. So lines are judged
//! by what is written on them too, and those of tables whose keys are not ours altogether.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::Diagnostic;

/// What is called by one of these, or stands on the line of a setting with one, is not shown.
const WORDS: &[&str] =
    &["password", "passphrase", "secret", "token", "credential", "jaas", "private", "_key", "sha256", "scram"];

/// Tables of properties and options of others, some of which are secret, and of pseudonyms' key.
const TABLES: &[&str] = &["properties", "options", "privacy"];

/// Whether the value at `path`, as `serving.tokens.board.sha256`, may be a secret, or be one by mistake.
pub(super) fn may_be(path: &str) -> bool {
    has_word(path.rsplit('.').next().unwrap_or(path))
}

fn has_word(text: &str) -> bool {
    let text = text.to_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Takes away the excerpt of every fault whose line may hold a secret. `text` is the file, `root` what could be read of it.
pub(super) fn hide(text: &str, root: &DeTable<'_>, faults: &mut [Diagnostic]) {
    let settings = text.lines().enumerate().filter(|(_, line)| line.contains('=') && has_word(line));
    let mut lines: BTreeSet<usize> = settings.map(|(at, _)| at + 1).collect();
    lines_of_tables(text, root, false, &mut lines);
    for fault in faults {
        if fault.line.is_some_and(|line| lines.contains(&line)) {
            fault.hide_excerpt();
        }
    }
}

/// Adds the lines, counted from 1, of values in [`TABLES`]; all of `table` are, if it is within one.
fn lines_of_tables(text: &str, table: &DeTable<'_>, within: bool, lines: &mut BTreeSet<usize>) {
    let line = |byte: usize| text[..byte.min(text.len())].matches('\n').count() + 1;
    for (key, value) in table {
        let is_within = within || TABLES.contains(&key.get_ref().as_ref());
        match value.get_ref() {
            DeValue::Table(table) => lines_of_tables(text, table, is_within, lines),
            _ if is_within || has_word(key.get_ref()) => lines.extend(line(key.span().start)..=line(value.span().end)),
            _ => {}
        }
    }
}
