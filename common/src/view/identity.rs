//! A view's normalised text, and the identity that is its hash.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::{View, ViewId};
use crate::{expression::identifier, schema::ColumnType};

/// The version of the states' encodings. Whoever changes what bytes a state has, or what an expression means, raises it:
/// every view becomes a new one and is computed anew.
pub const STATE_FORMAT: u32 = 2;

/// The normalised `SELECT` of `view`: the bucket, the dimensions, the measures. Parses to an equal view.
pub(super) fn sql(view: &View) -> String {
    let bucket = view.grain.sql(&identifier(&view.time_column));
    let dimensions = view.dimensions.iter().map(|d| (d.input.sql().to_owned(), &d.name));
    let measures = view.measures.iter().map(|m| (m.finish.sql(&view.states), &m.name));
    let items: Vec<String> = std::iter::once((bucket, &view.bucket_name))
        .chain(dimensions)
        .chain(measures)
        .map(|(sql, name)| if sql == identifier(name) { sql } else { format!("{sql} AS {}", identifier(name)) })
        .collect();
    let filter = view.filter.as_ref().map(|filter| format!(" WHERE {}", filter.sql())).unwrap_or_default();
    let keys: Vec<String> = std::iter::once(&view.bucket_name)
        .chain(view.dimensions.iter().map(|d| &d.name))
        .map(|name| identifier(name))
        .collect();
    format!(
        "SELECT {} FROM {}{filter} GROUP BY {}",
        items.join(", "),
        identifier(view.source.as_str()),
        keys.join(", ")
    )
}

/// The identity of `view`, whose `sql` is set.
pub(super) fn id(view: &View) -> ViewId {
    ViewId::new(&format!("{:016x}", xxh3_64(definition(view).as_bytes())))
}

/// All that decides what states `view` has: the name it is asked by is no part of it.
pub(super) fn definition(view: &View) -> String {
    let mut columns = BTreeMap::from([(view.time_column.clone(), ColumnType::Timestamp)]);
    let mut zones: BTreeMap<&str, u64> = BTreeMap::new();
    for expression in view.expressions() {
        columns.extend(expression.inputs());
        zones.extend(expression.zones().map(|zone| (zone.name(), zone.rules())));
    }
    zones.extend(view.grain.zone().map(|zone| (zone.name(), zone.rules())));
    let columns: Vec<String> = columns.iter().map(|(name, column_type)| format!("{name} {column_type}")).collect();
    // Not the version of the whole database: most releases change the rules of a few zones only.
    let zones: String = zones.iter().map(|(name, rules)| format!("\n{name} {rules:016x}")).collect();
    format!("{STATE_FORMAT}\n{}\n{}{zones}", view.sql, columns.join("\n"))
}
