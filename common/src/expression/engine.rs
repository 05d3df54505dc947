//! Typing and evaluating normalised expressions with Polars. The only code of the crate's expressions that names it, but
//! for the bridge.
//!
//! What an expression gives for a row depends on that row alone, never on the batch it came in: both layers, and a replay
//! with other batches, must agree on it (L1).

use arrow::{
    array::{Array, ArrayRef, Int32Array, cast::AsArray, new_null_array},
    compute::{concat, take},
    datatypes::Int32Type,
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
        let null = |(name, input): &(String, ColumnType)| {
            Series::full_null(name.into(), 1, &bridge::polars_type(*input)).into()
        };
        // Run, not only planned: Polars finds some type errors only then. A null makes no other error.
        let typed = run(inputs.iter().map(null).collect(), 1, expr.clone()).map_err(|error| first_line(&error))?;
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
    ///
    /// # Errors
    /// A column is missing or of another type. No value is an error.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Cause> {
        let column = |name| {
            batch.column_by_name(name).cloned().ok_or_else(|| format!("the batch has no column `{name}`").into())
        };
        let inputs = self.inputs.iter().map(|(name, _)| column(name)).collect::<Result<Vec<ArrayRef>, Cause>>()?;
        match inputs.as_slice() {
            [only] => match self.over_dictionary(only)? {
                Some(values) => Ok(values),
                None => self.over(&inputs, batch.num_rows()),
            },
            _ => self.over(&inputs, batch.num_rows()),
        }
    }

    /// The values over `column`, if it is a dictionary shorter than its rows: computed once a distinct value.
    fn over_dictionary(&self, column: &ArrayRef) -> Result<Option<ArrayRef>, Cause> {
        let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { return Ok(None) };
        let distinct = dictionary.values();
        if distinct.len() >= column.len() {
            return Ok(None);
        }
        // Null is one more value: of COALESCE, say, it need not make null.
        let null_code = i32::try_from(distinct.len())?;
        let inputs = concat(&[distinct, &new_null_array(distinct.data_type(), 1)])?;
        let values = self.over(&[inputs], distinct.len() + 1)?;
        let codes: Int32Array = dictionary.keys().iter().map(|code| Some(code.unwrap_or(null_code))).collect();
        Ok(Some(take(&values, &codes, None)?))
    }

    fn over(&self, inputs: &[ArrayRef], rows: usize) -> Result<ArrayRef, Cause> {
        let columns = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|((name, input), array)| Ok(bridge::to_polars(name, array, *input)?.into()));
        let values = self.values(columns.collect::<Result<_, Cause>>()?, rows)?;
        let array = bridge::from_polars(&values, self.output)?;
        if array.len() == rows { Ok(array) } else { Err(format!("{} values for {rows} rows", array.len()).into()) }
    }

    /// One value a row. Some of Polars' functions fail on some values, as a decimal that overflows: that row is null, and
    /// the others are what they would be without it.
    fn values(&self, columns: Vec<Column>, rows: usize) -> PolarsResult<Series> {
        match run(columns.clone(), rows, self.expr.clone()) {
            // A constant gives one value, whatever the rows.
            Ok(values) if values.len() == 1 => Ok(values.new_from_index(0, rows)),
            Ok(values) => Ok(values),
            Err(_) if rows <= 1 => Ok(Series::full_null(RESULT, rows, &bridge::polars_type(self.output))),
            Err(_) => {
                let half = rows / 2;
                let part = |from: usize, length: usize| columns.iter().map(|c| c.slice(from as i64, length)).collect();
                let mut values = self.values(part(0, half), half)?;
                values.append(&self.values(part(half, rows - half), rows - half)?)?;
                Ok(values)
            }
        }
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
                                      CAST(… AS BIGINT), which are microseconds, instead"
            .to_owned()),
        other => Err(format!("its value is {other}, which no column can have")),
    }
}

/// What Polars says, without the plan it prints below.
fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
