//! Operators of queries over the catalogue.

use std::cmp::Ordering;

use arrow::{array::StringArray, compute::kernels::regexp::regexp_is_match_scalar};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::{Engine, relation::Scope, value::Value};
use crate::postgres::fault::Fault;

/// Of how many items a comparison must hold: `= ANY (…)`, `= ALL (…)`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quantifier {
    Any,
    All,
}

impl Engine<'_> {
    pub(super) fn binary(
        &self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let a = self.value(left, scope)?;
        match op {
            BinaryOperator::And if !a.is_null() && !a.holds() => return Ok(Value::Bool(false)),
            BinaryOperator::Or if a.holds() => return Ok(Value::Bool(true)),
            _ => {}
        }
        let b = self.value(right, scope)?;
        match op {
            BinaryOperator::And => Ok(match (a.is_null(), b.is_null(), b.holds()) {
                (_, false, false) => Value::Bool(false),
                (false, false, true) => Value::Bool(true),
                _ => Value::Null,
            }),
            BinaryOperator::Or => Ok(match (a.is_null(), b.is_null(), b.holds()) {
                (_, _, true) => Value::Bool(true),
                (false, false, false) => Value::Bool(false),
                _ => Value::Null,
            }),
            _ => operated(op, &a, &b),
        }
    }

    /// Whether the operator holds between `left` and the items of `right`, a query or an array.
    pub(super) fn held(
        &self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
        of: Quantifier,
    ) -> Result<Value, Fault> {
        let value = self.value(left, scope)?;
        let Some(items) = self.each_of(right, scope)? else { return Ok(Value::Null) };
        let held = items.iter().map(|item| operated(op, &value, item).map(|held| held.holds()));
        let held = held.collect::<Result<Vec<bool>, _>>()?;
        Ok(match of {
            Quantifier::Any => held.contains(&true),
            Quantifier::All => !held.contains(&false),
        }
        .into())
    }

    /// The items of a query or an array; `None` of null.
    fn each_of(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Option<Vec<Value>>, Fault> {
        match expr {
            Expr::Subquery(query) => self.first_column(query, scope).map(Some),
            Expr::Nested(inner) => self.each_of(inner, scope),
            other => Ok(match self.value(other, scope)? {
                Value::Null => None,
                array => Some(array.items()),
            }),
        }
    }
}

/// The operator before one value.
pub(super) fn unary(op: &UnaryOperator, value: &Value) -> Result<Value, Fault> {
    Ok(match (op, value) {
        (_, Value::Null) => Value::Null,
        (UnaryOperator::Not | UnaryOperator::BangNot, value) => (!value.holds()).into(),
        (UnaryOperator::Minus, Value::Int(value)) => Value::Int(-value),
        (UnaryOperator::Minus, Value::Double(value)) => Value::Double(-value),
        (UnaryOperator::Plus, value) => value.clone(),
        (op, _) => return Err(Fault::unsupported(format!("the operator {op}"))),
    })
}

/// Whether `value` is among `list`; `None` if that is not known, for nulls.
pub(super) fn among(value: &Value, list: &[Value]) -> Option<bool> {
    if list.iter().any(|item| value.compared(item) == Some(Ordering::Equal)) {
        return Some(true);
    }
    (!value.is_null() && !list.iter().any(Value::is_null) || list.is_empty()).then_some(false)
}

/// The operator, without the schema that psql names.
fn symbol(op: &BinaryOperator) -> String {
    match op {
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        BinaryOperator::NotEq => "<>".to_owned(),
        other => other.to_string(),
    }
}

/// The operator between two values.
fn operated(op: &BinaryOperator, a: &Value, b: &Value) -> Result<Value, Fault> {
    let by = |test: fn(Ordering) -> bool| Value::from(a.compared(b).map(test));
    let symbol = symbol(op);
    Ok(match symbol.as_str() {
        "=" => by(Ordering::is_eq),
        "<>" | "!=" => by(Ordering::is_ne),
        "<" => by(Ordering::is_lt),
        "<=" => by(Ordering::is_le),
        ">" => by(Ordering::is_gt),
        ">=" => by(Ordering::is_ge),
        "||" => match (a, b) {
            (Value::Null, _) | (_, Value::Null) => Value::Null,
            (Value::Array(left), right) => Value::Array(left.iter().cloned().chain(right.items()).collect()),
            (left, right) => {
                Value::from(format!("{}{}", left.text().unwrap_or_default(), right.text().unwrap_or_default()))
            }
        },
        "~" | "!~" | "~*" | "!~*" => {
            let (Some(text), Some(pattern)) = (a.text(), b.text()) else { return Ok(Value::Null) };
            let flags = symbol.ends_with('*').then_some("i");
            let matches = regexp_is_match_scalar(&StringArray::from(vec![text]), &pattern, flags);
            let matches = matches.map_err(|error| Fault::new("2201B", error.to_string()))?;
            (matches.value(0) != symbol.starts_with('!')).into()
        }
        "+" | "-" | "*" | "/" | "%" => arithmetic(&symbol, a, b)?,
        "&" => a.int().zip(b.int()).map(|(a, b)| a & b).into(),
        other => return Err(Fault::unsupported(format!("the operator {other}"))),
    })
}

fn arithmetic(symbol: &str, a: &Value, b: &Value) -> Result<Value, Fault> {
    if a.is_null() || b.is_null() {
        return Ok(Value::Null);
    }
    let overflow = || Fault::new("22003", "value out of range");
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        if *b == 0 && matches!(symbol, "/" | "%") {
            return Err(Fault::new("22012", "division by zero"));
        }
        let result = match symbol {
            "+" => a.checked_add(*b),
            "-" => a.checked_sub(*b),
            "*" => a.checked_mul(*b),
            "/" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        };
        return result.map(Value::Int).ok_or_else(overflow);
    }
    let (a, b) =
        a.double().zip(b.double()).ok_or_else(|| Fault::new("42883", format!("no operator {symbol} for these")))?;
    Ok(Value::Double(match symbol {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        _ => a % b,
    }))
}
