//! Expressions of queries over the catalogue.

use std::cmp::Ordering;

use pgwire::api::Type;
use sqlparser::ast::{
    AccessExpr, CaseWhen, Expr, FunctionArguments, Ident, Query, Subscript, Value as Literal, ValueWithSpan,
};

use super::{
    Engine,
    calls::{is_aggregate, is_bare_function, last_name},
    functions,
    operators::{Quantifier, among, unary},
    relation::{Found, Scope},
    tables,
    value::{self, Value},
};
use crate::postgres::{fault::Fault, types};

impl Engine<'_> {
    /// The value of `expr`.
    pub(super) fn value(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Value, Fault> {
        self.step()?;
        match expr {
            Expr::Identifier(name) => self.column(None, name, scope),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, name] => self.column(Some(table), name, scope),
                _ => Ok(Value::Null),
            },
            Expr::Value(value) => literal(value),
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.value(inner, scope),
            Expr::IsNull(inner) => Ok(self.value(inner, scope)?.is_null().into()),
            Expr::IsNotNull(inner) => Ok((!self.value(inner, scope)?.is_null()).into()),
            Expr::IsTrue(inner) => Ok(self.value(inner, scope)?.holds().into()),
            Expr::IsNotTrue(inner) => Ok((!self.value(inner, scope)?.holds()).into()),
            Expr::IsFalse(inner) => Ok((self.value(inner, scope)? == Value::Bool(false)).into()),
            Expr::IsDistinctFrom(a, b) => Ok((self.value(a, scope)? != self.value(b, scope)?).into()),
            Expr::IsNotDistinctFrom(a, b) => Ok((self.value(a, scope)? == self.value(b, scope)?).into()),
            Expr::UnaryOp { op, expr } => unary(op, &self.value(expr, scope)?),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Expr::Between { expr, negated, low, high } => {
                let value = self.value(expr, scope)?;
                let above = value.compared(&self.value(low, scope)?).map(|by| by != Ordering::Less);
                let below = value.compared(&self.value(high, scope)?).map(|by| by != Ordering::Greater);
                Ok(above.zip(below).map(|(above, below)| (above && below) != *negated).into())
            }
            Expr::InList { expr, list, negated } => {
                let value = self.value(expr, scope)?;
                let list = list.iter().map(|item| self.value(item, scope)).collect::<Result<Vec<_>, _>>()?;
                Ok(among(&value, &list).map(|found| found != *negated).into())
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let (value, list) = (self.value(expr, scope)?, self.first_column(subquery, scope)?);
                Ok(among(&value, &list).map(|found| found != *negated).into())
            }
            Expr::AnyOp { left, compare_op, right, .. } => self.held(left, compare_op, right, scope, Quantifier::Any),
            Expr::AllOp { left, compare_op, right } => self.held(left, compare_op, right, scope, Quantifier::All),
            Expr::Like { negated, expr, pattern, escape_char, .. } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, false, scope)
            }
            Expr::ILike { negated, expr, pattern, escape_char, .. } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, true, scope)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Expr::Cast { expr: inner, data_type, .. } => {
                let value = self.value(inner, scope)?;
                self.cast(value, &self.column_type(inner, scope), &types::named(&data_type.to_string()))
            }
            Expr::TypedString(typed) => {
                self.cast(literal(&typed.value)?, &Type::TEXT, &types::named(&typed.data_type.to_string()))
            }
            Expr::Exists { subquery, negated } => Ok((self.query(subquery, scope)?.rows.is_empty() == *negated).into()),
            Expr::Subquery(query) => Ok(self.first_column(query, scope)?.into_iter().next().unwrap_or(Value::Null)),
            Expr::Array(array) => {
                let items = array.elem.iter().map(|item| self.value(item, scope)).collect::<Result<_, _>>()?;
                Ok(Value::Array(items))
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope),
            Expr::Trim { expr, trim_where, trim_what, .. } => {
                self.trimmed(expr, *trim_where, trim_what.as_deref(), scope)
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), scope)
            }
            Expr::Position { expr, r#in } => self.position(expr, r#in, scope),
            Expr::Function(function) => self.function(function, scope),
            other => Err(Fault::unsupported(format!("`{other}` in a query over the catalogue"))),
        }
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let operand = operand.map(|operand| self.value(operand, scope)).transpose()?;
        for when in conditions {
            let condition = self.value(&when.condition, scope)?;
            let holds = match &operand {
                Some(operand) => operand.compared(&condition) == Some(Ordering::Equal),
                None => condition.holds(),
            };
            if holds {
                return self.value(&when.result, scope);
            }
        }
        otherwise.map_or(Ok(Value::Null), |other| self.value(other, scope))
    }

    fn column(&self, table: Option<&Ident>, name: &Ident, scope: &Scope<'_>) -> Result<Value, Fault> {
        match scope.find(table.map(|table| table.value.as_str()), &name.value) {
            Some(Found::Column(_, value)) => Ok(value.cloned().unwrap_or(Value::Null)),
            Some(Found::Vacant) => Ok(Value::Null),
            None if table.is_none() && is_bare_function(&name.value) => {
                self.call(&name.value.to_lowercase(), Vec::new())
            }
            None => {
                let message = match table {
                    Some(table) => format!("column {}.{} does not exist", table.value, name.value),
                    None => format!("column \"{}\" does not exist", name.value),
                };
                Err(Fault::new("42703", message).at(name.span.start))
            }
        }
    }

    pub(super) fn first_column(&self, query: &Query, scope: &Scope<'_>) -> Result<Vec<Value>, Fault> {
        Ok(self.query(query, scope)?.rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }

    fn access(&self, root: &Expr, chain: &[AccessExpr], scope: &Scope<'_>) -> Result<Value, Fault> {
        let mut value = self.value(root, scope)?;
        for access in chain {
            let AccessExpr::Subscript(Subscript::Index { index }) = access else {
                return Err(Fault::unsupported("this way to a part of a value"));
            };
            let at = self.value(index, scope)?.int().and_then(|at| usize::try_from(at - 1).ok());
            value = at.and_then(|at| value.items().get(at).cloned()).unwrap_or(Value::Null);
        }
        Ok(value)
    }

    /// Names become numbers where a type is of numbers with names, and the other way round.
    fn cast(&self, value: Value, from: &Type, to: &Type) -> Result<Value, Fault> {
        let bad = |value: &Value| {
            let text = value.text().unwrap_or_default();
            Fault::new("22P02", format!("invalid input syntax for type {}: \"{text}\"", types::Known::of(to).written))
        };
        match (value, to) {
            (Value::Text(name), &Type::REGCLASS) => match name.parse::<i64>() {
                Ok(oid) => Ok(Value::Int(oid)),
                Err(_) => tables::relation_oid(self.facts, &name)
                    .map(Value::Int)
                    .ok_or_else(|| Fault::new("42P01", format!("relation \"{name}\" does not exist"))),
            },
            (Value::Text(name), &Type::REGTYPE) => match name.parse::<i64>() {
                Ok(oid) => Ok(Value::Int(oid)),
                Err(_) => Ok(types::Known::named(&name).map(|known| i64::from(known.oid)).into()),
            },
            (value @ Value::Int(_), _) if is_name_like(to) && functions::has_names(from) => {
                Ok(functions::name_of(self.facts, from, value.int().unwrap_or_default()).into())
            }
            (value, _) => value::cast(value.clone(), to).ok_or_else(|| bad(&value)),
        }
    }

    /// Finds faults that show without a row: names that are not there, in queries whose tables have no rows.
    pub(super) fn check(&self, expr: &Expr, scope: &Scope<'_>) -> Result<(), Fault> {
        match expr {
            Expr::Identifier(name) => self.column(None, name, scope).map(drop),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, name] => self.column(Some(table), name, scope).map(drop),
                _ => Ok(()),
            },
            Expr::Function(function) if matches!(function.args, FunctionArguments::List(_)) => {
                let name = last_name(&function.name);
                let known = is_aggregate(&name) || functions::result(&name).is_some();
                let unknown = || Fault::new("42883", format!("function {name} does not exist"));
                if known { Ok(()) } else { Err(unknown()) }
            }
            _ => Ok(()),
        }
    }
}

fn is_name_like(to: &Type) -> bool {
    matches!(*to, Type::TEXT | Type::VARCHAR | Type::NAME)
}

pub(super) fn literal(value: &ValueWithSpan) -> Result<Value, Fault> {
    Ok(match &value.value {
        Literal::Null => Value::Null,
        Literal::Boolean(value) => (*value).into(),
        Literal::Number(number, _) => match number.parse::<i64>() {
            Ok(int) => Value::Int(int),
            Err(_) => number.parse().map(Value::Double).unwrap_or(Value::Null),
        },
        Literal::SingleQuotedString(text)
        | Literal::EscapedStringLiteral(text)
        | Literal::UnicodeStringLiteral(text)
        | Literal::NationalStringLiteral(text) => text.as_str().into(),
        Literal::DollarQuotedString(text) => text.value.as_str().into(),
        Literal::Placeholder(name) => {
            return Err(Fault::new("42P02", format!("there is no parameter {name}")).at(value.span.start));
        }
        other => return Err(Fault::unsupported(format!("the literal {other}"))),
    })
}
