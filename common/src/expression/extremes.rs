//! `greatest` and `least` of doubles, as Polars has to be told them. Its own pass over NaN or do not, depending on whether
//! other rows have nulls; an expression must look at one row (L1). Here NaN is greater than all others, as it is when compared.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{Expr, Function, visit_expressions_mut},
    dialect::GenericDialect,
    parser::Parser,
};

use super::syntax::plain_arguments;
use crate::schema::ColumnType;

const NAN: &str = "TRY_CAST('NaN' AS DOUBLE)";

/// `sql`, normalised, with every `greatest` and `least` of doubles made safe. `type_of` types SQL.
///
/// # Errors
/// Those of `type_of`.
pub(super) fn made_safe(sql: &str, type_of: impl Fn(&str) -> Result<ColumnType, String>) -> Result<String, String> {
    if !sql.contains("greatest(") && !sql.contains("least(") {
        return Ok(sql.to_owned());
    }
    let mut expr = parsed(sql)?;
    let visited = visit_expressions_mut(&mut expr, |part| match safe(part, &type_of) {
        Ok(None) => ControlFlow::Continue(()),
        Ok(Some(safe)) => {
            *part = safe;
            ControlFlow::Continue(())
        }
        Err(message) => ControlFlow::Break(message),
    });
    match visited {
        ControlFlow::Continue(()) => Ok(expr.to_string()),
        ControlFlow::Break(message) => Err(message),
    }
}

fn safe(part: &Expr, type_of: impl Fn(&str) -> Result<ColumnType, String>) -> Result<Option<Expr>, String> {
    let Expr::Function(function) = part else { return Ok(None) };
    let greatest = match function.name.to_string().as_str() {
        "greatest" => true,
        "least" => false,
        _ => return Ok(None),
    };
    match type_of(&part.to_string())? {
        ColumnType::Double => parsed(&if greatest { of_greatest(function) } else { of_least(function) }).map(Some),
        _ => Ok(None),
    }
}

/// NaN where there is one; else all is as in Polars.
fn of_greatest(function: &Function) -> String {
    let any: Vec<String> = arguments(function).map(|a| format!("(({a}) = {NAN})")).collect();
    format!("(CASE WHEN {} THEN {NAN} ELSE {function} END)", any.join(" OR "))
}

/// The least of what is not NaN; where nothing is, what there is.
fn of_least(function: &Function) -> String {
    let others: Vec<String> = arguments(function).map(|a| format!("nullif(({a}), {NAN})")).collect();
    let all: Vec<String> = arguments(function).map(Expr::to_string).collect();
    format!("coalesce(least({}), {})", others.join(", "), all.join(", "))
}

fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    plain_arguments(function).unwrap_or_default().into_iter()
}

fn parsed(sql: &str) -> Result<Expr, String> {
    let parser = Parser::new(&GenericDialect).try_with_sql(sql);
    parser.and_then(|mut parser| parser.parse_expr()).map_err(|error| error.to_string())
}
