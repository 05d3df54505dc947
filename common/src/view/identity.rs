//! A view's normalised text, and the identity that is its hash.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::{Grain, View, ViewId};
use crate::{
    expression::{Expression, identifier},
    measure::{Finish, StateSpec},
    schema::ColumnType,
};

/// The version of the states' encodings. Whoever changes what bytes a state has, or what an expression means, raises it:
/// every view becomes a new one and is computed anew.
pub const STATE_FORMAT: u32 = 2;

/// The steps a bucket may have: the name in `date_trunc`, and the grain.
pub(super) const GRAINS: [(&str, Grain); 5] = [
    ("second", Grain { width_us: SECOND_US, origin_us: 0 }),
    ("minute", Grain { width_us: 60 * SECOND_US, origin_us: 0 }),
    ("hour", Grain { width_us: 3_600 * SECOND_US, origin_us: 0 }),
    ("day", Grain { width_us: DAY_US, origin_us: 0 }),
    // 1970-01-05 was the first Monday.
    ("week", Grain { width_us: 7 * DAY_US, origin_us: 4 * DAY_US }),
];

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// The normalised `SELECT` of `view`: the bucket, the dimensions, the measures. Parses to an equal view.
pub(super) fn sql(view: &View) -> String {
    let grain = GRAINS.iter().find(|(_, grain)| *grain == view.grain).map_or("hour", |(name, _)| name);
    let bucket = format!("date_trunc('{grain}', {})", identifier(&view.time_column));
    let dimensions = view.dimensions.iter().map(|d| (d.input.sql().to_owned(), &d.name));
    let measures = view.measures.iter().map(|m| (finish_sql(&m.finish, &view.states), &m.name));
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

fn finish_sql(finish: &Finish, states: &[StateSpec]) -> String {
    let input = |state: usize| states[state].input().map_or("*", Expression::sql);
    match *finish {
        Finish::State(state) => states[state].name(),
        Finish::Avg { sum, .. } => format!("avg({})", input(sum)),
        Finish::Distinct(state) => format!("approx_distinct({})", input(state)),
        Finish::Percentile { state, quantile } => format!("approx_percentile({}, {quantile})", input(state)),
    }
}

/// The identity of `view`, whose `sql` is set. The name it is asked by is no part of it.
pub(super) fn id(view: &View) -> ViewId {
    let inputs = view.states.iter().flat_map(StateSpec::reads);
    let expressions = inputs.chain(view.dimensions.iter().map(|d| &d.input)).chain(&view.filter);
    let mut columns = BTreeMap::from([(view.time_column.clone(), ColumnType::Timestamp)]);
    for expression in expressions {
        columns.extend(expression.inputs());
    }
    let columns: Vec<String> = columns.iter().map(|(name, column_type)| format!("{name} {column_type}")).collect();
    let definition = format!("{STATE_FORMAT}\n{}\n{}", view.sql, columns.join("\n"));
    ViewId::new(&format!("{:016x}", xxh3_64(definition.as_bytes())))
}
