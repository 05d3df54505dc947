//! Typing and evaluating normalised expressions with Polars. The only code of the crate's expressions that names it, but
//! for the bridge.
//!
//! What an expression gives for a row depends on that row alone, never on the batch it came in: both layers, and a replay
//! with other batches, must agree on it (L1).

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use arrow::{
    array::{Array, ArrayRef, Int32Array, cast::AsArray, new_null_array},
    compute::{concat, take},
    datatypes::Int32Type,
    record_batch::RecordBatch,
};
use polars::{
    prelude::{Column, DataFrame, DataType, Expr, IntoLazy, OptFlags, PolarsError, PolarsResult, Series},
    sql::sql_expr,
};
use polars_expr::{ExpressionConversionState, create_physical_expr, prelude::PhysicalExpr, state::ExecutionState};
use polars_plan::plans::IR;

use super::{
    bridge::{self, RESULT},
    derived::{Derived, split},
    extremes,
};
use crate::schema::ColumnType;

/// A cause of failure, whoever's.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Stack of the thread that plans: without optimisation, Polars takes some 40 KiB for each of
/// [`EXPRESSION_DEPTH_MAX`](crate::limits::EXPRESSION_DEPTH_MAX) levels.
const PLANNING_STACK_BYTES: usize = 32 << 20;

/// An expression as Polars runs it: planned once, for planning costs as much as running it over thousands of rows.
pub(super) struct Engine {
    plan: Arc<dyn PhysicalExpr>,
    /// What Polars reads, as text.
    sql: String,
    inputs: Vec<(String, ColumnType)>,
    /// Computed from the inputs, and read by Polars besides them.
    derived: Vec<Derived>,
    output: ColumnType,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("inputs", &self.inputs).field("output", &self.output).finish_non_exhaustive()
    }
}

impl Engine {
    /// Compiles `sql`, normalised text over `inputs`, and finds the type of its values.
    ///
    /// # Errors
    /// In words, why Polars cannot type it.
    pub(super) fn compile(sql: &str, inputs: Vec<(String, ColumnType)>) -> Result<(Self, ColumnType), String> {
        // A thread of its own: while it plans, Polars may block on a runtime of its own, which panics on a thread of another,
        // and goes deep into the expression.
        let (sql, derived) = split(sql, &inputs)?;
        let read: Vec<_> = inputs.iter().cloned().chain(derived.iter().map(Derived::input)).collect();
        let planned = thread::scope(|scope| {
            let planner = thread::Builder::new().name("plan-expression".to_owned()).stack_size(PLANNING_STACK_BYTES);
            let plan = || {
                let sql = extremes::made_safe(&sql, |part| Ok(typed(part, &read)?.1))?;
                let (plan, output) = typed(&sql, &read)?;
                Ok::<_, String>((plan, output, sql))
            };
            planner.spawn_scoped(scope, plan).map(|thread| thread.join())
        });
        let planned = planned.map_err(|error| format!("no thread to plan it: {error}"))?;
        let (plan, output, sql) = planned.map_err(|_| "Polars panics on it".to_owned())??;
        Ok((Self { plan, sql, inputs, derived, output }, output))
    }

    /// What Polars reads: SQL, and the derived columns in it.
    pub(super) fn evaluated(&self) -> (&str, &[Derived]) {
        (&self.sql, &self.derived)
    }

    /// The columns it reads and their types.
    pub(super) fn inputs(&self) -> &[(String, ColumnType)] {
        &self.inputs
    }

    /// One value a row of `batch`.
    ///
    /// # Errors
    /// A column is missing or of another type, or Polars panics. No value is an error.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Cause> {
        let column = |name: &str| {
            batch.column_by_name(name).cloned().ok_or_else(|| format!("the batch has no column `{name}`").into())
        };
        let mut inputs = self.inputs.iter().map(|(name, _)| column(name)).collect::<Result<Vec<ArrayRef>, Cause>>()?;
        for derived in &self.derived {
            inputs.push(derived.values(&column(&derived.column)?)?);
        }
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
        let read = self.inputs.iter().cloned().chain(self.derived.iter().map(Derived::input));
        let columns = read.zip(inputs).map(|((name, input), array)| Ok(bridge::to_polars(&name, array, input)?.into()));
        let values = self.values(columns.collect::<Result<_, Cause>>()?, rows)?;
        let array = bridge::from_polars(&values, self.output)?;
        if array.len() == rows { Ok(array) } else { Err(format!("{} values for {rows} rows", array.len()).into()) }
    }

    /// One value a row. Some of Polars' functions fail on some values, as a decimal that overflows: that row is null, and
    /// the others are what they would be without it.
    fn values(&self, columns: Vec<Column>, rows: usize) -> Result<Series, Cause> {
        match caught(|| run(&*self.plan, columns.clone(), rows))? {
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

/// What `evaluate` gives, or what it panicked with. A value that brings a defect of Polars' to light must stop one source
/// with an error that names the expression, not take down a thread that others share. All that is unwound is Polars' own,
/// and dropped.
fn caught<T>(evaluate: impl FnOnce() -> T) -> Result<T, Cause> {
    panic::catch_unwind(AssertUnwindSafe(evaluate)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("Polars panics on a value: {text}").into()
    })
}

/// The plan of `sql` over `inputs`, and the type of its values, which the plan casts to.
fn typed(sql: &str, inputs: &[(String, ColumnType)]) -> Result<(Arc<dyn PhysicalExpr>, ColumnType), String> {
    let null =
        |(name, input): &(String, ColumnType)| Series::full_null(name.into(), 1, &bridge::polars_type(*input)).into();
    let row: Vec<Column> = inputs.iter().map(null).collect();
    // Run, not only planned: Polars finds some type errors only then. A null makes no other error.
    let values = |expr: &Expr| {
        let plan = planned(expr, &row)?;
        Ok((run(&*plan, row.clone(), 1)?, plan))
    };
    let in_words = |error: PolarsError| first_line(&error);
    let expr = sql_expr(sql).map_err(in_words)?;
    let (value, plan) = values(&expr).map_err(in_words)?;
    let output = column_type(value.dtype())?;
    let wider = bridge::polars_type(output);
    let plan = if *value.dtype() == wider { plan } else { planned(&expr.cast(wider), &row).map_err(in_words)? };
    Ok((plan, output))
}

fn planned(expr: &Expr, row: &[Column]) -> PolarsResult<Arc<dyn PhysicalExpr>> {
    let frame = DataFrame::new(1, row.to_vec())?;
    let schema = frame.schema().clone();
    // Only what makes the expression right and simple; the rest is for plans of more than one step.
    let rules = OptFlags::TYPE_COERCION | OptFlags::TYPE_CHECK | OptFlags::SIMPLIFY_EXPR;
    let mut plan = frame.lazy().with_optimizations(rules).select([expr.clone().alias(RESULT)]).to_alp_optimized()?;
    let IR::Select { expr, .. } = plan.lp_arena.get(plan.lp_top) else {
        return Err(PolarsError::InvalidOperation("it is planned as more than one expression".into()));
    };
    let mut state = ExpressionConversionState::new(false);
    create_physical_expr(&expr[0], &mut plan.expr_arena, &schema, &mut state)
}

fn run(plan: &dyn PhysicalExpr, mut inputs: Vec<Column>, rows: usize) -> PolarsResult<Series> {
    // Of a single row Polars makes scalars, and goes other ways: what is an error in a column may be a panic there.
    let run = if rows == 1 { 2 } else { rows };
    if run > rows {
        inputs = inputs.iter().map(|column| twice(column.as_materialized_series())).collect::<PolarsResult<_>>()?;
    }
    let values = plan.evaluate(&DataFrame::new(run, inputs)?, &ExecutionState::new())?.take_materialized_series();
    Ok(if values.len() > rows { values.slice(0, rows) } else { values })
}

fn twice(series: &Series) -> PolarsResult<Column> {
    let mut twice = series.clone();
    twice.append(series)?;
    Ok(twice.into())
}

pub(super) fn column_type(polars: &DataType) -> Result<ColumnType, String> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

    use arrow::array::Int64Array;
    use polars::prelude::{Field, Schema};
    use polars_expr::prelude::AggregationContext;

    use super::*;

    /// A plan with a defect that only a 7 brings to light.
    struct Defective;

    impl PhysicalExpr for Defective {
        fn evaluate_impl(&self, frame: &DataFrame, _: &ExecutionState) -> PolarsResult<Column> {
            let values = frame.column("n")?;
            assert!(!values.i64()?.iter().any(|n| n == Some(7)), "seven is defective");
            Ok(values.clone())
        }

        fn evaluate_on_groups_impl<'a>(
            &self,
            _: &DataFrame,
            _: &'a polars::prelude::GroupPositions,
            _: &ExecutionState,
        ) -> PolarsResult<AggregationContext<'a>> {
            unreachable!("expressions are not evaluated by group")
        }

        fn to_field(&self, _: &Schema) -> PolarsResult<Field> {
            Ok(Field::new(RESULT, DataType::Int64))
        }

        fn is_scalar(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_panic_of_polars_is_an_error_that_says_so_and_the_engine_goes_on() {
        let inputs = vec![("n".to_owned(), ColumnType::Int)];
        let engine =
            Engine { plan: Arc::new(Defective), sql: "n".to_owned(), inputs, derived: vec![], output: ColumnType::Int };
        let batch = |values: Vec<i64>| {
            let column: ArrayRef = Arc::new(Int64Array::from(values));
            RecordBatch::try_from_iter([("n", column)]).unwrap()
        };
        let error = engine.evaluate(&batch(vec![1, 7])).unwrap_err();
        assert_eq!(error.to_string(), "Polars panics on a value: seven is defective");
        assert_eq!(engine.evaluate(&batch(vec![1, 2])).unwrap().len(), 2);
    }
}
