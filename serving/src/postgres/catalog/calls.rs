//! Calls of functions and aggregates in queries over the catalogue: what they are given, and which they are.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, ObjectName, OrderByExpr,
};

use super::{Engine, functions, relation::Scope, select::in_order, value::Value};
use crate::{postgres::fault::Fault, sql::calls::first};

const AGGREGATES: [&str; 9] =
    ["count", "min", "max", "sum", "array_agg", "string_agg", "bool_and", "bool_or", "json_agg"];

impl Engine<'_> {
    /// The value of a call.
    pub(super) fn function(&self, function: &Function, scope: &Scope<'_>) -> Result<Value, Fault> {
        let name = last_name(&function.name);
        if let FunctionArguments::Subquery(query) = &function.args {
            return Ok(Value::Array(self.first_column(query, scope)?));
        }
        if is_aggregate(&name) && matches!(function.args, FunctionArguments::List(_)) {
            return self.aggregate(&name, function, scope);
        }
        let args = arguments(function).map(|arg| self.value(arg, scope)).collect::<Result<_, _>>()?;
        self.call(&name, args)
    }

    /// The value of an aggregate over the rows of the group.
    fn aggregate(&self, name: &str, function: &Function, scope: &Scope<'_>) -> Result<Value, Fault> {
        let (order, rows) = (order(function), scope.group.unwrap_or_default());
        let mut args = arguments(function);
        let (of, separator) = (args.next(), args.next());
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let at = Scope { group: None, ..scope.at(row) };
            // Of no expression, as of `*`, rows are counted.
            let value = of.map_or(Ok(Value::Bool(true)), |of| self.value(of, &at))?;
            let keys = order.iter().map(|one| self.value(&one.expr, &at)).collect::<Result<Vec<_>, _>>()?;
            values.push((keys, value));
        }
        values.sort_by(|a, b| in_order(order, &a.0, &b.0));
        let values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        let separator = separator.map(|separator| self.value(separator, scope)).transpose()?;
        Ok(functions::aggregated(name, values, separator.and_then(|separator| separator.text()).as_deref()))
    }
}

/// The expressions that a function is called with.
pub(super) fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let args = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::Subquery(_) | FunctionArguments::None => &[],
    };
    args.iter().filter_map(expression)
}

/// The expression that an argument is; `None` for `*` and what has a name.
pub(super) fn expression(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// What an aggregate orders its rows by.
fn order(function: &Function) -> &[OrderByExpr] {
    let FunctionArguments::List(list) = &function.args else { return &[] };
    let order = list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::OrderBy(order) => Some(order.as_slice()),
        _ => None,
    });
    order.unwrap_or_default()
}

/// Whether the function `name` is an aggregate.
pub(super) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// Whether `expr` aggregates rows; queries in it do not count.
pub(super) fn aggregates(expr: &Expr) -> bool {
    first(expr, |function| is_aggregate(&last_name(&function.name))).is_some()
}

/// Whether this name is a function that is called without parentheses.
pub(super) fn is_bare_function(name: &str) -> bool {
    ["current_user", "session_user", "user", "current_catalog", "current_schema", "current_role"]
        .iter()
        .any(|function| function.eq_ignore_ascii_case(name))
}

/// The last part of a name with dots, as Postgres folds it.
pub(super) fn last_name(name: &ObjectName) -> String {
    let last = name.0.last().map(ToString::to_string).unwrap_or_default();
    last.strip_prefix('"').map_or_else(|| last.to_lowercase(), |quoted| quoted.trim_end_matches('"').to_owned())
}
