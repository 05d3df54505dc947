//! Scalar expressions over event columns or dimensions: plain columns are taken as they are, everything else is
//! evaluated by Polars (`polars::sql::sql_expr`) on the batch.

use arrow::{
    array::{ArrayRef, BooleanArray},
    record_batch::RecordBatch,
};

use crate::schema::ColumnType;

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
    /// Polars failed on a batch.
    #[error("evaluating `{sql}` failed")]
    Evaluation {
        /// The expression.
        sql: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A typed scalar expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    sql: String,
    columns: Vec<String>,
    column_type: ColumnType,
}

impl Expression {
    /// The expression that is just the column `name`.
    #[must_use]
    pub fn column(name: &str, column_type: ColumnType) -> Self {
        Self { sql: name.to_owned(), columns: vec![name.to_owned()], column_type }
    }

    /// Parses and types `sql` over `columns` (name and type of each that may be used).
    ///
    /// # Errors
    /// [`Error::Invalid`]: a syntax error, an unknown column, an aggregate, or a result type no column can have.
    pub fn parse(sql: &str, columns: &[(String, ColumnType)]) -> Result<Self, Error> {
        let _ = (sql, columns);
        unimplemented!("views helper")
    }

    /// The normalised text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The columns it reads.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
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
        let _ = batch;
        unimplemented!("views helper")
    }

    /// Which rows of `batch` the expression, a `Bool` one, holds for; null counts as false.
    ///
    /// # Errors
    /// [`Error::Evaluation`].
    pub fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let _ = batch;
        unimplemented!("views helper")
    }
}
