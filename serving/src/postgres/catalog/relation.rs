//! Tables of the catalogue while a query is answered: columns, rows, and how a name finds its column.

use pgwire::api::Type;

use super::value::Value;

pub(super) type Row = Vec<Value>;

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// What the query calls the table that it is of.
    pub(super) table: String,
    pub(super) name: String,
    pub(super) column_type: Type,
}

/// Rows, and what their values are called.
#[derive(Debug, Clone, Default)]
pub(super) struct Relation {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// Tables among them that never have a row here, so that any column of theirs is null.
    pub(super) vacant: Vec<String>,
}

impl Relation {
    /// The relation called `table`.
    pub(super) fn named(mut self, table: &str, names: &[String]) -> Self {
        for (at, column) in self.columns.iter_mut().enumerate() {
            table.clone_into(&mut column.table);
            if let Some(name) = names.get(at) {
                column.name.clone_from(name);
            }
        }
        if !self.vacant.is_empty() {
            self.vacant = vec![table.to_owned()];
        }
        self
    }

    /// The columns of both.
    pub(super) fn beside(&self, other: &Self) -> Self {
        let columns = self.columns.iter().chain(&other.columns).cloned().collect();
        let vacant = self.vacant.iter().chain(&other.vacant).cloned().collect();
        Self { columns, rows: Vec::new(), vacant }
    }

    /// The columns alone.
    pub(super) fn without_rows(&self) -> Self {
        Self { columns: self.columns.clone(), rows: Vec::new(), vacant: self.vacant.clone() }
    }
}

/// A row in its relation, within that of the query around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) relation: &'a Relation,
    /// `None` where only types are asked.
    pub(super) row: Option<&'a Row>,
    /// The rows of the group, where rows are grouped.
    pub(super) group: Option<&'a [&'a Row]>,
    pub(super) around: Option<&'a Scope<'a>>,
    /// The queries that `WITH` names.
    pub(super) named: &'a [(String, Relation)],
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Column(&'a Column, Option<&'a Value>),
    /// A column of a table that has no rows.
    Vacant,
}

impl<'a> Scope<'a> {
    /// The column `name`, of the table `table` if it is said.
    pub(super) fn find(&self, table: Option<&str>, name: &str) -> Option<Found<'a>> {
        let mut vacant = false;
        let mut scope = Some(self);
        while let Some(one) = scope {
            let is = |column: &Column| {
                column.name.eq_ignore_ascii_case(name)
                    && table.is_none_or(|table| column.table.eq_ignore_ascii_case(table))
            };
            if let Some(at) = one.relation.columns.iter().position(is) {
                return Some(Found::Column(&one.relation.columns[at], one.row.and_then(|row| row.get(at))));
            }
            let tables = &one.relation.vacant;
            let is_vacant = match table {
                Some(table) => tables.iter().any(|name| name.eq_ignore_ascii_case(table)),
                None => !tables.is_empty(),
            };
            if is_vacant && table.is_some() {
                return Some(Found::Vacant);
            }
            vacant |= is_vacant;
            scope = one.around;
        }
        vacant.then_some(Found::Vacant)
    }

    /// A scope of its own within this one.
    pub(super) fn within(&'a self, relation: &'a Relation, row: Option<&'a Row>) -> Self {
        Self { relation, row, group: None, around: Some(self), named: self.named }
    }

    /// This scope at another row.
    pub(super) fn at(&self, row: &'a Row) -> Self {
        Self { row: Some(row), ..*self }
    }
}
