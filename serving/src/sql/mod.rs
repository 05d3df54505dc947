//! SQL over the merged views: a statement is checked and rewritten (`rewrite`), the tables it reads are merged from the tiers
//! (`tables`), and Polars runs the rest (`run`). It reads, and nothing else; it sees views, and nothing else.
//!
//! A view is a table of its bucket, its dimensions and its measures, finished: a row a group. `MEASURE(m)` in a `SELECT` over one
//! view groups that view's *states*, so it is exact for whatever is grouped by; an aggregate of Polars over finished values is only
//! that.

pub(crate) mod calls;
mod fault;
mod parameters;
mod range;
mod rewrite;
mod run;
mod select;
mod tables;

#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::SchemaRef;
use common::names::ViewName;
use sqlparser::{
    ast::{Statement, VisitMut},
    dialect::GenericDialect,
    parser::Parser,
};
use tokio_util::sync::CancellationToken;

pub use self::parameters::Request;
use self::{fault::at, rewrite::Rewrite, tables::Wanted};
use crate::{
    Served,
    query::{Answer, Error, FieldError},
    tiers::Tiers,
};

/// How deep expressions and queries may be nested: the parsers go down by recursion.
pub(crate) const DEPTH_MAX: usize = 48;

/// A statement that can be run.
#[derive(Debug)]
pub struct Prepared {
    /// What Polars runs.
    sql: String,
    /// The tables it reads.
    tables: Vec<Wanted>,
}

impl Prepared {
    /// Checks `request` and finds what it reads.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says what is wrong, and where in the text.
    pub fn new(served: &Served, request: &Request) -> Result<Self, Error> {
        let text = |detail: String| Error::from(FieldError::new("sql", detail));
        let parser = Parser::new(&GenericDialect).with_recursion_limit(DEPTH_MAX).try_with_sql(&request.sql);
        let mut statements = parser.and_then(|mut p| p.parse_statements()).map_err(|error| text(error.to_string()))?;
        let mut statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement @ Statement::Query(_)), true) => statement,
            (Some(Statement::Query(_)), false) => {
                return Err(text("there are several statements, send one".to_owned()));
            }
            (None, _) => return Err(text("there is no statement".to_owned())),
            (Some(_), _) => return Err(text("only SELECT is answered: nothing here can be changed".to_owned())),
        };
        parameters::bind(&mut statement, &request.params)?;
        Self::of(served, statement)
    }

    /// Finds what `statement`, a query without parameters, reads.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says what is wrong, and where in the text.
    pub(crate) fn of(served: &Served, mut statement: Statement) -> Result<Self, Error> {
        let mut rewrite = Rewrite::new(served.views(), &statement);
        match statement.visit(&mut rewrite) {
            ControlFlow::Break(fault) => Err(FieldError::new("sql", at(fault.span, &fault.message)).into()),
            ControlFlow::Continue(()) => Ok(Self { sql: statement.to_string(), tables: rewrite.tables }),
        }
    }

    /// The columns of its answers. CPU work, as [`Self::run`].
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn schema(&self) -> Result<SchemaRef, Error> {
        run::schema(self)
    }

    /// The views it reads.
    pub fn views(&self) -> impl Iterator<Item = &ViewName> {
        self.tables.iter().map(|table| &table.view.name)
    }

    /// Answers it from `tiers`. CPU work that blocks: call it on a thread of its own, since Polars may not be run on one of an
    /// async runtime. `cancelled` stops the merging, not Polars.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(&self, served: &Served, tiers: &Arc<Tiers>, cancelled: &CancellationToken) -> Result<Answer, Error> {
        run::run(self, served.limits(), tiers, cancelled)
    }
}
