//! A small source and views over it, for the tests of every crate.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    decode::Rules,
    names::SourceName,
    pipeline::{OnGap, Source},
    schema::{Column, ColumnType, Schema},
    view::{self, View},
};

/// The source `departures`, with a column of every type:
/// `carrier string?, origin string?, tail_number string?, delay_minutes int?, fare decimal(10,2)?, distance double?,
/// cancelled bool?, departed_at timestamp (the event time), seen_at timestamp?`.
///
/// # Panics
/// Never.
#[must_use]
pub fn departures() -> Source {
    let column = |name: &str, column_type| Column { nullable: name != "departed_at", ..Column::new(name, column_type) };
    let columns = vec![
        column("carrier", ColumnType::String),
        column("origin", ColumnType::String),
        column("tail_number", ColumnType::String),
        column("delay_minutes", ColumnType::Int),
        column("fare", ColumnType::Decimal { precision: 10, scale: 2 }),
        column("distance", ColumnType::Double),
        column("cancelled", ColumnType::Bool),
        column("departed_at", ColumnType::Timestamp),
        column("seen_at", ColumnType::Timestamp),
    ];
    Source {
        kafka: None,
        on_gap: OnGap::default(),
        name: SourceName::new("departures").expect("a constant that is a valid name"),
        partitions: 4,
        key: None,
        keep: None,
        rules: Rules::new(Arc::new(Schema::new(columns)), "departed_at"),
    }
}

/// The view that `sql`, a whole `CREATE VIEW name AS SELECT …`, defines over `source`.
///
/// # Panics
/// If `sql` is not a view over `source`, with the diagnostics.
#[must_use]
pub fn view(sql: &str, source: &Source) -> Arc<View> {
    let sources = BTreeMap::from([(source.name.clone(), source.clone())]);
    match view::parse(sql, "test.sql", &sources) {
        Ok(view) => Arc::new(view),
        Err(diagnostics) => {
            let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n\n"))
        }
    }
}
