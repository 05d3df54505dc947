//! From an aggregate of a view's `SELECT` to the states it is kept in and the way it is finished.

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value,
};

use super::argument::{elements, number, precision_of, quantile_of, relative_error_of};
use crate::{
    expression::{Expression, Fault, plain_arguments, unnested},
    limits::{HISTOGRAM_EDGES_MAX, PERCENTILES_MAX, TOP_K_MAX},
    measure::{
        DISTINCT_PRECISION, Edges, Finish, QUANTILES_RELATIVE_ERROR, StateFunction, StateSpec, names,
        names::{MEASURES, Name},
    },
    schema::{ColumnType, OFFSET, PARTITION},
    suggest,
};

/// The columns that an aggregate may read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The source's own columns.
    pub(super) columns: &'a [(String, ColumnType)],
    /// The one that is the event time.
    pub(super) event_time: &'a str,
}

/// An aggregate, before the states of its view are numbered.
#[derive(Debug)]
pub(super) struct Aggregate {
    form: Form,
    /// What its states read, first what it is about; nothing for `count(*)`.
    inputs: Vec<Expression>,
    filter: Option<Expression>,
    /// What it is called of a column, as `sum` in `sum_delay_minutes`.
    prefix: String,
}

/// What is made of the states.
#[derive(Debug)]
enum Form {
    State(StateFunction),
    Avg,
    Variance { sample: bool, root: bool },
    Distinct { precision: u8 },
    Sketch { precision: u8 },
    Percentile { relative_error: f64, quantile: f64 },
    Percentiles { relative_error: f64, quantiles: Vec<f64> },
    TopK { k: usize },
}

/// Whether `function` is meant as an aggregate, allowed or not.
pub(super) fn is_meant(function: &Function) -> bool {
    names::is_aggregate(&function.name.to_string())
}

/// The aggregate that `function` is.
///
/// # Errors
/// Why it cannot be a measure, and what can.
pub(super) fn aggregate(function: &Function, scope: Scope<'_>) -> Result<Aggregate, Fault> {
    let written = function.name.to_string().to_ascii_lowercase();
    let fault = |message: String| Fault::new(function.span(), message);
    if function.over.is_some() {
        return Err(fault(format!("`{written}` OVER …: window functions are not allowed in a view")).help(all()));
    }
    if is_distinct(function) {
        let unmergeable = format!("`{written}(DISTINCT …)` cannot be merged: a value may be in both parts");
        return Err(fault(unmergeable).help("use approx_distinct(x), whose error is 1.6 %, or make x a dimension"));
    }
    if let Some((why, instead)) = names::unmergeable(&written) {
        return Err(fault(format!("`{written}` is not a measure: {why}")).help(instead).help(all()));
    }
    let name = names::find(&written).ok_or_else(|| fault(format!("`{written}` is not a measure")).help(all()))?;
    let filter = function.filter.as_deref();
    if name.name == "count" && counts_rows(function) {
        let filter = filter.map(|filter| condition(filter, scope)).transpose()?;
        return Ok(Aggregate {
            form: Form::State(StateFunction::Count),
            inputs: Vec::new(),
            filter,
            prefix: "count".to_owned(),
        });
    }
    let call = Function { filter: None, ..function.clone() };
    let arguments = plain_arguments(&call)
        .ok_or_else(|| fault(format!("`{written}` takes its arguments only")).help(usage(name)))?;
    let call = Call { name, arguments: &arguments, filter, scope };
    call.aggregate().unwrap_or_else(|| {
        Err(fault(format!("`{written}` does not take {} arguments", arguments.len())).help(usage(name)))
    })
}

fn usage(name: &Name) -> String {
    format!("write {}", name.usage)
}

fn all() -> String {
    format!("aggregates are {}", suggest::list(MEASURES.iter().map(|name| name.name)))
}

/// A call of an aggregate.
struct Call<'a> {
    name: &'static Name,
    arguments: &'a [&'a Expr],
    filter: Option<&'a Expr>,
    scope: Scope<'a>,
}

impl Call<'_> {
    /// `None` if the number of arguments is wrong.
    fn aggregate(&self) -> Option<Result<Aggregate, Fault>> {
        use StateFunction as F;
        let variance =
            |x, sample, root| self.of(F::Squares, x, |_| Ok((Form::Variance { sample, root }, self.name.name)));
        Some(match (self.name.name, self.arguments) {
            ("count", [x]) => self.state(F::Count, x),
            ("count_if", [cond]) => self.count_if(cond),
            ("sum", [x]) => self.sum(x),
            ("min", [x]) => self.state(F::Min, x),
            // Any value will do: the least depends on no order.
            ("any_value", [x]) => self.state(F::Min, x),
            ("max", [x]) => self.state(F::Max, x),
            ("bool_and", [x]) => self.bools(F::Min, x),
            ("bool_or", [x]) => self.bools(F::Max, x),
            ("avg", [x]) => self.of(F::Sum, x, |_| Ok((Form::Avg, "avg"))),
            ("var_samp", [x]) => variance(x, true, false),
            ("var_pop", [x]) => variance(x, false, false),
            ("stddev_samp", [x]) => variance(x, true, true),
            ("stddev_pop", [x]) => variance(x, false, true),
            ("first", [x]) => self.ordered(F::First, x),
            ("last", [x]) => self.ordered(F::Last, x),
            ("arg_min", [x, y]) => self.arg(F::ArgMin, x, y),
            ("arg_max", [x, y]) => self.arg(F::ArgMax, x, y),
            ("approx_distinct", [x, precision @ ..]) if precision.len() <= 1 => self.distinct(x, precision, false),
            ("hll_sketch", [x, precision @ ..]) if precision.len() <= 1 => self.distinct(x, precision, true),
            ("approx_percentile", [x, quantile, error @ ..]) if error.len() <= 1 => self.percentile(x, quantile, error),
            ("approx_median", [x]) => {
                let form = || Form::Percentile { relative_error: QUANTILES_RELATIVE_ERROR, quantile: 0.5 };
                self.of(quantiles(QUANTILES_RELATIVE_ERROR), x, |_| Ok((form(), "p50")))
            }
            ("approx_top_k", [x, k]) => self.top_k(x, k),
            ("histogram", [x, edges]) => self.histogram(x, edges),
            _ => return None,
        })
    }

    /// The aggregate of `x`, which `function` must admit, in the form that `form` says, with the prefix of its name.
    fn of<'n>(
        &self,
        function: StateFunction,
        x: &Expr,
        form: impl FnOnce(ColumnType) -> Result<(Form, &'n str), Fault>,
    ) -> Result<Aggregate, Fault> {
        let x = self.input(&function, x)?;
        let (form, prefix) = form(x.column_type())?;
        let filter = self.filter.map(|filter| condition(filter, self.scope)).transpose()?;
        Ok(Aggregate { form, inputs: vec![x], filter, prefix: prefix.to_owned() })
    }

    /// A state as it is.
    fn state(&self, function: StateFunction, x: &Expr) -> Result<Aggregate, Fault> {
        self.of(function.clone(), x, |_| Ok((Form::State(function), self.name.name)))
    }

    fn sum(&self, x: &Expr) -> Result<Aggregate, Fault> {
        self.of(StateFunction::Sum, x, |column_type| match column_type {
            ColumnType::Timestamp => {
                let fault = Fault::new(x.span(), format!("`{x}` is timestamp, and time stamps have no sum"));
                Err(fault.help(format!("avg({x}) is their mean, EXTRACT(EPOCH FROM {x}) is its seconds")))
            }
            _ => Ok((Form::State(StateFunction::Sum), "sum")),
        })
    }

    /// A state of a condition.
    fn bools(&self, function: StateFunction, x: &Expr) -> Result<Aggregate, Fault> {
        self.of(function.clone(), x, |column_type| match column_type {
            ColumnType::Bool => Ok((Form::State(function), self.name.name)),
            other => Err(not_a_condition(x, other)),
        })
    }

    fn count_if(&self, cond: &Expr) -> Result<Aggregate, Fault> {
        // Apart first, so that a fault is told of the part it is in.
        let mut filter = condition(cond, self.scope)?;
        if let Some(also) = self.filter {
            condition(also, self.scope)?;
            let nested = |expr: &Expr| Box::new(Expr::Nested(Box::new(unnested(expr).clone())));
            let both = Expr::BinaryOp { left: nested(cond), op: BinaryOperator::And, right: nested(also) };
            filter = condition(&both, self.scope)?;
        }
        let form = Form::State(StateFunction::Count);
        Ok(Aggregate { form, inputs: Vec::new(), filter: Some(filter), prefix: "count".to_owned() })
    }

    /// `first` or `last`, by event time, partition and offset.
    fn ordered(&self, function: StateFunction, x: &Expr) -> Result<Aggregate, Fault> {
        let mut aggregate = self.state(function, x)?;
        aggregate.inputs.push(Expression::column(self.scope.event_time, ColumnType::Timestamp));
        aggregate.inputs.extend(position());
        Ok(aggregate)
    }

    fn arg(&self, function: StateFunction, x: &Expr, y: &Expr) -> Result<Aggregate, Fault> {
        let mut aggregate = self.state(function, x)?;
        aggregate.inputs.push(Expression::from_ast(y, self.scope.columns)?);
        Ok(aggregate)
    }

    fn distinct(&self, x: &Expr, precision: &[&Expr], sketch: bool) -> Result<Aggregate, Fault> {
        let precision = precision.first().map_or(Ok(DISTINCT_PRECISION), |expr| precision_of(expr))?;
        self.of(StateFunction::Distinct { precision }, x, |_| {
            Ok(if sketch {
                (Form::Sketch { precision }, "hll_sketch")
            } else {
                (Form::Distinct { precision }, "distinct")
            })
        })
    }

    fn percentile(&self, x: &Expr, quantile: &Expr, error: &[&Expr]) -> Result<Aggregate, Fault> {
        let relative_error = error.first().map_or(Ok(QUANTILES_RELATIVE_ERROR), |expr| relative_error_of(expr))?;
        if let Some(elements) = elements(quantile) {
            let quantiles = elements.iter().map(quantile_of).collect::<Result<Vec<_>, _>>()?;
            if quantiles.is_empty() || quantiles.len() > PERCENTILES_MAX {
                return Err(Fault::new(quantile.span(), format!("{} quantiles", quantiles.len()))
                    .help(format!("a list has 1 to {PERCENTILES_MAX} of them")));
            }
            let form = Form::Percentiles { relative_error, quantiles };
            return self.of(self::quantiles(relative_error), x, |_| Ok((form, "percentiles")));
        }
        let quantile = quantile_of(quantile)?;
        let prefix = format!("p{}", (quantile * 100.0).to_string().replace('.', "_"));
        let form = Form::Percentile { relative_error, quantile };
        self.of(self::quantiles(relative_error), x, |_| Ok((form, &prefix)))
    }

    fn top_k(&self, x: &Expr, k: &Expr) -> Result<Aggregate, Fault> {
        let number = number(k).and_then(|text| text.parse().ok()).filter(|k| (1..=TOP_K_MAX).contains(k));
        let wrong = || Fault::new(k.span(), format!("k is a whole number from 1 to {TOP_K_MAX}"));
        let k = number.ok_or_else(|| wrong().help("it is how many values are answered"))?;
        let mut aggregate = self.of(StateFunction::TopK, x, |_| Ok((Form::TopK { k }, "top")))?;
        aggregate.inputs.extend(position());
        Ok(aggregate)
    }

    fn histogram(&self, x: &Expr, edges: &Expr) -> Result<Aggregate, Fault> {
        let wrong = |message: String| {
            Fault::new(edges.span(), message)
                .help("edges are a list of numbers, each greater than the one before: [10, 20, 50]")
        };
        let elements = elements(edges).ok_or_else(|| wrong(format!("`{edges}` is no list")))?;
        if elements.len() > HISTOGRAM_EDGES_MAX {
            return Err(wrong(format!("{} edges are too many: at most {HISTOGRAM_EDGES_MAX}", elements.len())));
        }
        let text = |expr: &Expr| number(expr).ok_or_else(|| wrong(format!("`{expr}` is not a number")));
        let texts = elements.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        // Which states admit a type does not depend on the edges; what edges there can be depends on the type.
        let x_type = self.input(&StateFunction::Squares, x)?.column_type();
        let edges = Edges::parse(texts.iter().map(String::as_str), x_type).map_err(wrong)?;
        self.state(StateFunction::Histogram(edges), x)
    }

    fn input(&self, function: &StateFunction, x: &Expr) -> Result<Expression, Fault> {
        let expression = Expression::from_ast(x, self.scope.columns)?;
        let column_type = expression.column_type();
        if function.admits(column_type) {
            return Ok(expression);
        }
        let fault =
            Fault::new(x.span(), format!("`{}` is {column_type}, not {}", expression.sql(), function.admitted()));
        Err(match column_type {
            ColumnType::Bool => fault.help(format!("count_if({}) counts where it holds", expression.sql())),
            ColumnType::Timestamp => fault.help(format!("EXTRACT(EPOCH FROM {}) is its seconds", expression.sql())),
            _ => fault.help(format!("TRY_CAST({} AS BIGINT) or AS DOUBLE makes it a number", expression.sql())),
        })
    }
}

fn quantiles(relative_error: f64) -> StateFunction {
    StateFunction::Quantiles { relative_error }
}

/// What decides between events of one time, and tells any two events apart.
fn position() -> [Expression; 2] {
    [PARTITION, OFFSET].map(|column| Expression::column(column, ColumnType::Int))
}

fn condition(expr: &Expr, scope: Scope<'_>) -> Result<Expression, Fault> {
    let condition = Expression::from_ast(expr, scope.columns)?;
    match condition.column_type() {
        ColumnType::Bool => Ok(condition),
        other => Err(not_a_condition(expr, other)),
    }
}

fn not_a_condition(expr: &Expr, column_type: ColumnType) -> Fault {
    Fault::new(expr.span(), format!("`{expr}` is {column_type}, not a condition")).help("compare it with something")
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

impl Aggregate {
    /// How the measure is finished, with its states in `states`: each stands there once, whoever shares it.
    pub(super) fn finish(self, states: &mut Vec<StateSpec>) -> Finish {
        let (inputs, filter) = (self.inputs, self.filter);
        let mut index = |function| {
            let state = StateSpec { function, inputs: inputs.clone(), filter: filter.clone() };
            states.iter().position(|known| *known == state).unwrap_or_else(|| {
                states.push(state);
                states.len() - 1
            })
        };
        match self.form {
            Form::State(function) => Finish::State(index(function)),
            Form::Avg => Finish::Avg { sum: index(StateFunction::Sum), count: index(StateFunction::Count) },
            Form::Variance { sample, root } => Finish::Variance {
                squares: index(StateFunction::Squares),
                sum: index(StateFunction::Sum),
                count: index(StateFunction::Count),
                sample,
                root,
            },
            Form::Distinct { precision } => Finish::Distinct(index(StateFunction::Distinct { precision })),
            Form::Sketch { precision } => Finish::Sketch(index(StateFunction::Distinct { precision })),
            Form::Percentile { relative_error, quantile } => {
                Finish::Percentile { state: index(quantiles(relative_error)), quantile }
            }
            Form::Percentiles { relative_error, quantiles } => {
                let state = index(StateFunction::Quantiles { relative_error });
                Finish::Percentiles { state, quantiles: quantiles.into() }
            }
            Form::TopK { k } => Finish::TopK { state: index(StateFunction::TopK), k },
        }
    }

    /// The name of a measure without an alias, as `sum_delay_minutes`; `None` if it is of more than a column.
    pub(super) fn default_name(&self) -> Option<String> {
        if self.filter.is_some() {
            return None;
        }
        match self.inputs.first() {
            None => Some(self.prefix.clone()),
            Some(x) => Some(format!("{}_{}", self.prefix, x.as_column()?)),
        }
    }
}
