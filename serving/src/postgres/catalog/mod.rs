//! What clients ask of Postgres' own tables: `pg_catalog`, `information_schema`, and functions without a table.
//!
//! They ask in a SQL that Polars has not: queries that refer to the row around them, `OPERATOR(pg_catalog.~)`, `::regclass`, functions
//! that make rows. The tables are small and in memory, so queries over them are answered by walking their expressions, row by row, within
//! a bound of steps. Nothing here ever reads a view's data.

mod calls;
mod evaluate;
mod functions;
mod infer;
mod joins;
mod operators;
mod relation;
mod select;
mod tables;
mod texts;
mod value;

#[cfg(test)]
mod tests;

use std::{cell::Cell, collections::BTreeMap, ops::ControlFlow, sync::Arc};

use common::view::View;
use pgwire::api::Type;
use sqlparser::ast::{Query, TableFactor, Visit, Visitor};

pub(super) use self::{
    functions::{VERSION, has_names, name_of},
    value::Value,
};
use self::{
    relation::{Relation, Scope},
    tables::Table,
};
use super::fault::Fault;

/// Steps that one query may take: some seconds of work.
const STEPS_MAX: u64 = 20_000_000;

/// What the catalogue says, to one asker.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) user: String,
    pub(super) database: String,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) tables: Tables,
}

/// The views that the asker may read.
pub(super) type Tables = Vec<Table>;

/// The views as tables of the catalogue.
pub(super) fn tables_of(views: impl IntoIterator<Item = Arc<View>>) -> Tables {
    tables::tables(views)
}

/// Columns and rows.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) columns: Vec<(String, Type)>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// What a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Tables of the catalogue, and nothing else.
    Catalogue,
    /// No table.
    Nothing,
    /// Views, whatever else.
    Views,
}

/// What `query` is about.
pub(super) fn about(query: &Query) -> About {
    let mut tables = TableNames { about: About::Nothing, named: Vec::new() };
    let _ = query.visit(&mut tables);
    tables.about
}

struct TableNames {
    about: About,
    named: Vec<String>,
}

impl Visitor for TableNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(named.map(|table| table.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let name = name.to_string().replace('"', "").to_lowercase();
        if self.named.contains(&name) {
            return ControlFlow::Continue(());
        }
        let of_catalogue = ["pg_", "pg_catalog.", "information_schema."].iter().any(|start| name.starts_with(start));
        self.about = match (self.about, of_catalogue) {
            (About::Views, _) | (_, false) => About::Views,
            _ => About::Catalogue,
        };
        ControlFlow::Continue(())
    }
}

/// Answers `query`, or says only what its columns are.
pub(super) fn answer(facts: &Facts, query: &Query, rows: bool) -> Result<Answer, Fault> {
    let engine = Engine { facts, steps: Cell::new(0), rows };
    let nothing = Relation::default();
    let root = Scope { relation: &nothing, row: None, group: None, around: None, named: &[] };
    let relation = engine.query(query, &root)?;
    let columns = relation.columns.into_iter().map(|column| (column.name, column.column_type)).collect();
    Ok(Answer { columns, rows: relation.rows })
}

/// Answers one query.
struct Engine<'a> {
    facts: &'a Facts,
    steps: Cell<u64>,
    /// Whether rows are asked, or only columns.
    rows: bool,
}

impl Engine<'_> {
    /// Counts a step.
    fn step(&self) -> Result<(), Fault> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > STEPS_MAX {
            return Err(Fault::new("54001", "the query over the catalogue takes too many steps"));
        }
        Ok(())
    }
}
