//! From an aggregate of a view's `SELECT` to the states it is kept in and the way it is finished.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value, ValueWithSpan,
};

use crate::{
    expression::{Expression, Fault, is_aggregate, plain_arguments, unnested},
    measure::{Finish, StateFunction, StateSpec},
    schema::ColumnType,
};

/// 2^12 registers: a relative standard error of 1.6 %, at most 4 KiB a group.
pub(super) const DISTINCT_PRECISION: u8 = 12;

/// The relative error of a percentile.
pub(super) const QUANTILES_RELATIVE_ERROR: f64 = 0.01;

const AGGREGATES_HELP: &str = "aggregates are count(*), count(x), sum(x), min(x), max(x), avg(x), approx_distinct(x) and \
                               approx_percentile(x, 0.95)";

/// An aggregate, before the states of its view are numbered.
#[derive(Debug)]
pub(super) enum Aggregate {
    /// `count`, `sum`, `min`, `max`: a state as it is.
    State(StateSpec),
    /// `avg` of an expression.
    Avg(Expression),
    /// `approx_distinct` of an expression.
    Distinct(Expression),
    /// `approx_percentile` of an expression.
    Percentile(Expression, f64),
}

/// Whether `function` is meant as an aggregate, allowed or not.
pub(super) fn is_meant(function: &Function) -> bool {
    is_aggregate(&function.name.to_string())
}

/// The aggregate that `function` is, over `columns`.
///
/// # Errors
/// Why it cannot be a measure, and what can.
pub(super) fn aggregate(function: &Function, columns: &[(String, ColumnType)]) -> Result<Aggregate, Fault> {
    let name = function.name.to_string().to_ascii_lowercase();
    let fault = |message: String| Fault::new(function.span(), message);
    if function.over.is_some() {
        return Err(fault(format!("`{name}` OVER …: window functions are not allowed in a view")).help(AGGREGATES_HELP));
    }
    if function.filter.is_some() {
        let example = format!("{name}(CASE WHEN condition THEN x END)");
        return Err(fault("FILTER is not allowed in a view".to_owned()).help(format!("write {example} instead")));
    }
    if is_distinct(function) {
        let unmergeable = format!("`{name}(DISTINCT …)` cannot be merged: a value may be in both parts");
        return Err(fault(unmergeable).help("use approx_distinct(x), whose error is 1.6 %, or make x a dimension"));
    }
    if name == "count" && counts_rows(function) {
        return Ok(Aggregate::State(StateSpec::new(StateFunction::Count, None)));
    }
    if let Some((why, instead)) = unmergeable(&name) {
        return Err(fault(format!("`{name}` is not a measure: {why}")).help(instead).help(AGGREGATES_HELP));
    }
    let arguments = plain_arguments(function)
        .ok_or_else(|| fault(format!("`{name}` takes its arguments only")).help(AGGREGATES_HELP))?;
    match (name.as_str(), arguments.as_slice()) {
        ("count", [x]) => state(StateFunction::Count, x, columns),
        ("sum", [x]) => state(StateFunction::Sum, x, columns),
        ("min", [x]) => state(StateFunction::Min, x, columns),
        ("max", [x]) => state(StateFunction::Max, x, columns),
        ("avg" | "mean", [x]) => Ok(Aggregate::Avg(input(StateFunction::Sum, x, columns)?)),
        ("approx_distinct" | "approx_count_distinct", [x]) => {
            let function = StateFunction::Distinct { precision: DISTINCT_PRECISION };
            Ok(Aggregate::Distinct(input(function, x, columns)?))
        }
        ("approx_percentile" | "approx_quantile" | "quantile", [x, quantile]) => {
            let function = StateFunction::Quantiles { relative_error: QUANTILES_RELATIVE_ERROR };
            let quantile = quantile_of(quantile)?;
            Ok(Aggregate::Percentile(input(function, x, columns)?, quantile))
        }
        (_, arguments) => {
            Err(fault(format!("`{name}` does not take {} arguments", arguments.len())).help(AGGREGATES_HELP))
        }
    }
}

fn state(function: StateFunction, x: &Expr, columns: &[(String, ColumnType)]) -> Result<Aggregate, Fault> {
    Ok(Aggregate::State(StateSpec::new(function, [input(function, x, columns)?])))
}

fn input(function: StateFunction, x: &Expr, columns: &[(String, ColumnType)]) -> Result<Expression, Fault> {
    let expression = Expression::from_ast(x, columns)?;
    let column_type = expression.column_type();
    if function.admits(column_type) {
        return Ok(expression);
    }
    let fault = Fault::new(x.span(), format!("`{}` is {column_type}, not {}", expression.sql(), function.admitted()));
    Err(match column_type {
        ColumnType::Bool => {
            fault.help(format!("count(CASE WHEN {} THEN 1 END) counts where it holds", expression.sql()))
        }
        ColumnType::Timestamp => fault.help(format!("EXTRACT(EPOCH FROM {}) is its seconds", expression.sql())),
        _ => fault.help(format!("TRY_CAST({} AS BIGINT) or AS DOUBLE makes it a number", expression.sql())),
    })
}

fn quantile_of(expr: &Expr) -> Result<f64, Fault> {
    let value = match unnested(expr) {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse::<f64>().ok(),
        _ => None,
    };
    value.filter(|quantile| (0.0..=1.0).contains(quantile)).ok_or_else(|| {
        Fault::new(expr.span(), "a quantile is a number from 0 to 1").help("0.95 is the 95th percentile")
    })
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// Whether the arguments are `*` or a constant that is never null.
fn counts_rows(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => true,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => value.value != Value::Null,
        _ => false,
    }
}

/// Why the aggregate `name` is no measure, and what to keep instead.
fn unmergeable(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "median" => ("medians of two parts do not give the median of the whole", "use approx_percentile(x, 0.5)"),
        "quantile_cont" | "quantile_disc" | "percentile_cont" | "percentile_disc" => {
            ("exact quantiles of two parts do not give that of the whole", "use approx_percentile(x, q)")
        }
        "string_agg" | "listagg" | "group_concat" | "array_agg" => {
            ("it depends on the order of the events and grows without bound", "make the column a dimension")
        }
        "first" | "last" | "any_value" => ("it depends on the order of the events", "use min(x) or max(x)"),
        "mode" => {
            ("the most frequent value of each part does not give that of the whole", "group by the column and count(*)")
        }
        "stddev" | "stddev_pop" | "stddev_samp" | "variance" | "var_pop" | "var_samp" => {
            ("it is made of sums", "keep count(x), sum(x) and sum(x * x), and finish it from their answers")
        }
        "corr" | "covar_pop" | "covar_samp" => {
            ("it is made of sums", "keep count(x), sum(x), sum(y) and sum(x * y), and finish it from their answers")
        }
        "bool_or" => ("max does the same", "use max(x): true is greater than false"),
        "bool_and" => ("min does the same", "use min(x): false is less than true"),
        _ => return None,
    })
}

impl Aggregate {
    /// How the measure is finished, with its states in `states`: each stands there once, whoever shares it.
    pub(super) fn finish(self, states: &mut Vec<StateSpec>) -> Finish {
        let mut index = |function, inputs| {
            let state = StateSpec { function, inputs, filter: None };
            states.iter().position(|known| *known == state).unwrap_or_else(|| {
                states.push(state);
                states.len() - 1
            })
        };
        match self {
            Self::State(state) => Finish::State(index(state.function, state.inputs)),
            Self::Avg(x) => {
                let sum = index(StateFunction::Sum, vec![x.clone()]);
                Finish::Avg { sum, count: index(StateFunction::Count, vec![x]) }
            }
            Self::Distinct(x) => {
                Finish::Distinct(index(StateFunction::Distinct { precision: DISTINCT_PRECISION }, vec![x]))
            }
            Self::Percentile(x, quantile) => {
                let function = StateFunction::Quantiles { relative_error: QUANTILES_RELATIVE_ERROR };
                Finish::Percentile { state: index(function, vec![x]), quantile }
            }
        }
    }

    /// The name of a measure without an alias, as `sum_delay_minutes`; `None` if it is of more than a column.
    pub(super) fn default_name(&self) -> Option<String> {
        match self {
            Self::State(state) => {
                let Some(x) = state.input() else { return Some("count".to_owned()) };
                let function = match state.function {
                    StateFunction::Sum => "sum",
                    StateFunction::Min => "min",
                    StateFunction::Max => "max",
                    _ => "count",
                };
                Some(format!("{function}_{}", x.as_column()?))
            }
            Self::Avg(x) => Some(format!("avg_{}", x.as_column()?)),
            Self::Distinct(x) => Some(format!("distinct_{}", x.as_column()?)),
            Self::Percentile(x, quantile) => {
                let percentile = (quantile * 100.0).to_string().replace('.', "_");
                Some(format!("p{percentile}_{}", x.as_column()?))
            }
        }
    }
}
