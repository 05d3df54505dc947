//! Typing and evaluating normalised expressions with Polars. The only code of the crate's expressions that names it, but
//! for the bridge.
//!
//! What Polars does, for whoever writes a view: int arithmetic wraps at 64 bits; `/` of ints is a double; `div`, `//` and
//! `%` by zero are null; a cast of a value that does not fit is null.

use arrow::{
    array::{Array, ArrayRef},
    record_batch::RecordBatch,
};
use polars::{
    prelude::{Column, DataFrame, DataType, Expr, IntoLazy, PolarsResult, Series},
    sql::sql_expr,
};

use super::bridge::{self, RESULT};
use crate::schema::ColumnType;

/// A cause of failure, whoever's.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An expression as Polars runs it.
#[derive(Debug)]
pub(super) struct Engine {
    expr: Expr,
    inputs: Vec<(String, ColumnType)>,
    output: ColumnType,
}

impl Engine {
    /// Compiles `sql`, normalised text over `inputs`, and finds the type of its values.
    ///
    /// # Errors
    /// In words, why Polars cannot type it.
    pub(super) fn compile(sql: &str, inputs: Vec<(String, ColumnType)>) -> Result<(Self, ColumnType), String> {
        let expr = sql_expr(sql).map_err(|error| first_line(&error))?.alias(RESULT);
        let empty: Vec<Column> = inputs
            .iter()
            .map(|(name, input)| Series::new_empty(name.into(), &bridge::polars_type(*input)).into())
            .collect();
        // Run, not only planned: Polars finds some type errors only then.
        let typed = run(empty, 0, expr.clone()).map_err(|error| first_line(&error))?;
        let output = column_type(typed.dtype())?;
        let expr = match bridge::polars_type(output) {
            same if same == *typed.dtype() => expr,
            wider => expr.cast(wider),
        };
        Ok((Self { expr, inputs, output }, output))
    }

    /// The columns it reads and their types.
    pub(super) fn inputs(&self) -> &[(String, ColumnType)] {
        &self.inputs
    }

    /// One value a row of `batch`.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Cause> {
        let inputs = self.inputs.iter().map(|(name, input)| {
            let column = batch.column_by_name(name).ok_or_else(|| format!("the batch has no column `{name}`"))?;
            Ok(bridge::to_polars(name, column, *input)?.into())
        });
        let inputs = inputs.collect::<Result<Vec<Column>, Cause>>()?;
        let rows = batch.num_rows();
        let values = run(inputs, rows, self.expr.clone())?;
        // A constant gives one value, whatever the rows.
        let values = if values.len() == 1 && rows != 1 { values.new_from_index(0, rows) } else { values };
        let array = bridge::from_polars(&values, self.output)?;
        if array.len() == rows { Ok(array) } else { Err(format!("{} values for {rows} rows", array.len()).into()) }
    }
}

fn run(inputs: Vec<Column>, rows: usize, expr: Expr) -> PolarsResult<Series> {
    let result = DataFrame::new(rows, inputs)?.lazy().select([expr]).collect()?;
    Ok(result.column(&RESULT)?.as_materialized_series().clone())
}

fn column_type(polars: &DataType) -> Result<ColumnType, String> {
    match polars {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(ColumnType::Int),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Ok(ColumnType::Int),
        DataType::Float32 | DataType::Float64 => Ok(ColumnType::Double),
        DataType::Boolean => Ok(ColumnType::Bool),
        DataType::String => Ok(ColumnType::String),
        DataType::Date | DataType::Datetime(_, None) => Ok(ColumnType::Timestamp),
        DataType::Decimal(precision, scale) => {
            let digits = |n: usize| u8::try_from(n).expect("Polars' decimals have at most 38 digits");
            Ok(ColumnType::Decimal { precision: digits(*precision), scale: digits(*scale) })
        }
        DataType::Null => Err("its value is always null".to_owned()),
        DataType::Duration(_) => Err("its value is a duration, which no column can have: subtract \
                                      EXTRACT(EPOCH FROM …), which are seconds, instead"
            .to_owned()),
        other => Err(format!("its value is {other}, which no column can have")),
    }
}

/// What Polars says, without the plan it prints below.
fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
