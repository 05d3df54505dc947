//! Scalar expressions over event columns or dimensions: plain columns are taken as they are, everything else is
//! evaluated by Polars (`polars::sql::sql_expr`) on the batch.
//!
//! An expression looks at one row at a time, and no value makes it fail: see [`Expression::parse`] for what it means.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, cast::AsArray},
    compute::prep_null_mask_filter,
    record_batch::RecordBatch,
};
use sqlparser::{
    ast::{Expr, Spanned},
    dialect::GenericDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use crate::{grain::Zone, schema::ColumnType};

mod bridge;
mod bucket;
mod derived;
mod engine;
pub mod exchange;
mod extremes;
mod fault;
mod functions;
mod identifier;
mod literal;
mod normalize;
mod syntax;

pub(crate) use bucket::{bucket, is_bucket};
pub use derived::{Derived, How};
use engine::Engine;
pub(crate) use fault::{Fault, resolve};
pub(crate) use identifier::identifier;
pub(crate) use syntax::{plain_arguments, unnested};

/// Why an expression could not be made or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not an expression over the columns there are.
    #[error("`{sql}`: {message}")]
    Invalid {
        /// The expression.
        sql: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A batch lacks a column, or has it of another type; or a condition was asked for and this is none; or Polars panicked on
    /// a value, which is a defect of its.
    #[error("evaluating `{sql}` failed")]
    Evaluation {
        /// The expression.
        sql: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A typed scalar expression. Cheap to clone; equal if its text and type are.
#[derive(Debug, Clone)]
pub struct Expression {
    sql: Arc<str>,
    columns: Arc<[String]>,
    column_type: ColumnType,
    /// `None` if it is just a column.
    engine: Option<Arc<Engine>>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.sql == other.sql && self.column_type == other.column_type
    }
}

impl Expression {
    /// The expression that is just the column `name`.
    #[must_use]
    pub fn column(name: &str, column_type: ColumnType) -> Self {
        Self { sql: identifier(name).into(), columns: Arc::new([name.to_owned()]), column_type, engine: None }
    }

    /// Parses and types `sql` over `columns` (name and type of each that may be used).
    ///
    /// Names are taken as they are or, unless quoted, in any case. Timestamps are UTC, and a string compared with a
    /// timestamp column is one. No value makes an expression fail, since a stream must not stop at one value:
    ///
    /// - ints wrap at 64 bits; `/` of ints is a double; `//`, `div`, `%` and `mod` round down, and are null for 0;
    /// - decimals are computed in 38 digits with the larger scale; what does not fit, or is divided by 0, is null;
    /// - a cast gives null where a value does not fit; NaN equals itself and is the greatest double; `round` takes halves
    ///   to the even neighbour;
    /// - Polars' smaller types are widened to the column type, and dates are timestamps at midnight;
    /// - `t AT TIME ZONE 'America/New_York'` is what the clock there shows at `t`, as a timestamp; `date_trunc` and
    ///   `time_bucket` give the start of the bucket that `t` falls in (see [`crate::grain`]).
    ///
    /// # Errors
    /// [`Error::Invalid`]: a syntax error, an unknown column, an aggregate, or a result type no column can have.
    pub fn parse(sql: &str, columns: &[(String, ColumnType)]) -> Result<Self, Error> {
        let invalid = |message: String| Error::Invalid { sql: sql.to_owned(), message };
        let mut parser = Parser::new(&GenericDialect).try_with_sql(sql).map_err(|error| invalid(error.to_string()))?;
        let expr = parser.parse_expr().map_err(|error| invalid(error.to_string()))?;
        let after = parser.peek_token();
        if after.token != Token::EOF {
            return Err(invalid(format!("`{}` is unexpected: one expression is allowed", after.token)));
        }
        Self::from_ast(&expr, columns).map_err(|fault| {
            let separator = |text: &str| if text.ends_with('?') { " " } else { "; " };
            invalid(fault.help.iter().fold(fault.message, |text, help| format!("{text}{}{help}", separator(&text))))
        })
    }

    /// [`Self::parse`] of what sqlparser has parsed already.
    ///
    /// # Errors
    /// What is wrong and where.
    pub(crate) fn from_ast(expr: &Expr, columns: &[(String, ColumnType)]) -> Result<Self, Fault> {
        let (sql, read) = normalize::normalize(expr, columns)?;
        let inputs: Vec<_> = columns.iter().filter(|(name, _)| read.contains(name)).cloned().collect();
        if let [(name, column_type)] = inputs.as_slice()
            && sql == identifier(name)
        {
            return Ok(Self::column(name, *column_type));
        }
        let (engine, column_type) = Engine::compile(&sql, inputs)
            .map_err(|message| Fault::new(expr.span(), format!("`{sql}` cannot be evaluated: {message}")))?;
        Ok(Self { sql: sql.into(), columns: read.into(), column_type, engine: Some(Arc::new(engine)) })
    }

    /// The normalised text: SQL that parses to an equal expression.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The column it is, if it is just a column.
    #[must_use]
    pub fn as_column(&self) -> Option<&str> {
        self.engine.is_none().then(|| self.columns[0].as_str())
    }

    /// What Polars evaluates, for whoever evaluates it otherwise: SQL over the columns and over these derived ones.
    #[must_use]
    pub fn evaluated(&self) -> (&str, &[Derived]) {
        self.engine.as_ref().map_or((&self.sql, &[]), |engine| engine.evaluated())
    }

    /// The time zones whose rules it depends on.
    pub(crate) fn zones(&self) -> impl Iterator<Item = Zone> {
        self.evaluated().1.iter().filter_map(|derived| match derived.how {
            How::Bucket(grain) => grain.zone(),
            How::Clock(zone) => Some(zone),
        })
    }

    /// The texts and numbers that stand in it, as they are written.
    #[must_use]
    pub fn literals(&self) -> Vec<String> {
        let tokens = Tokenizer::new(&GenericDialect, &self.sql).tokenize().unwrap_or_default();
        let literal = |token| match token {
            Token::SingleQuotedString(text) | Token::Number(text, _) => Some(text),
            _ => None,
        };
        tokens.into_iter().filter_map(literal).collect()
    }

    /// The columns it reads, each once, sorted.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The columns it reads and their types.
    pub(crate) fn inputs(&self) -> Vec<(String, ColumnType)> {
        match &self.engine {
            Some(engine) => engine.inputs().to_vec(),
            None => vec![(self.columns[0].clone(), self.column_type)],
        }
    }

    /// The type of its values.
    #[must_use]
    pub fn column_type(&self) -> ColumnType {
        self.column_type
    }

    /// One value a row of `batch`, in the Arrow type of [`Self::column_type`] (a plain string column may come back as the
    /// dictionary it was). CPU work: call it off the async runtime.
    ///
    /// # Errors
    /// [`Error::Evaluation`].
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        let result = match &self.engine {
            Some(engine) => engine.evaluate(batch),
            None => self.taken(batch),
        };
        result.map_err(|source| Error::Evaluation { sql: self.sql.to_string(), source })
    }

    fn taken(&self, batch: &RecordBatch) -> Result<ArrayRef, engine::Cause> {
        let column = batch.column_by_name(&self.columns[0]).ok_or("the batch has no such column")?;
        Ok(Arc::clone(column))
    }

    /// Which rows of `batch` the expression, a `Bool` one, holds for; null counts as false, so the result has no nulls.
    ///
    /// # Errors
    /// [`Error::Evaluation`].
    pub fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let values = self.evaluate(batch)?;
        let Some(values) = values.as_boolean_opt() else {
            let source = format!("it is {}, not a condition", self.column_type).into();
            return Err(Error::Evaluation { sql: self.sql.to_string(), source });
        };
        Ok(if values.null_count() == 0 { values.clone() } else { prep_null_mask_filter(values) })
    }
}

#[cfg(test)]
mod tests;
