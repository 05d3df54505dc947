//! Expressions of queries over the catalogue.

use std::cmp::Ordering;

use arrow::{array::StringArray, compute::kernels::regexp::regexp_is_match_scalar};
use pgwire::api::Type;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Query, Subscript, TrimWhereField, UnaryOperator, Value as Literal, ValueWithSpan, Visit, Visitor,
};

use super::{
    Engine, functions,
    relation::{Found, Scope},
    select::in_order,
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
            Expr::AnyOp { left, compare_op, right, .. } => self.any(left, compare_op, right, scope, false),
            Expr::AllOp { left, compare_op, right } => self.any(left, compare_op, right, scope, true),
            Expr::Like { negated, expr, pattern, escape_char, .. } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, false, scope)
            }
            Expr::ILike { negated, expr, pattern, escape_char, .. } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, true, scope)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|operand| self.value(operand, scope)).transpose()?;
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
                else_result.as_ref().map_or(Ok(Value::Null), |other| self.value(other, scope))
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
                let Some(text) = self.value(expr, scope)?.text() else { return Ok(Value::Null) };
                let what = trim_what.as_ref().map(|what| self.value(what, scope)).transpose()?;
                let what: Vec<char> =
                    what.and_then(|what| what.text()).unwrap_or_else(|| " ".to_owned()).chars().collect();
                Ok(Value::from(match trim_where {
                    Some(TrimWhereField::Leading) => text.trim_start_matches(&what[..]),
                    Some(TrimWhereField::Trailing) => text.trim_end_matches(&what[..]),
                    _ => text.trim_matches(&what[..]),
                }))
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let Some(text) = self.value(expr, scope)?.text() else { return Ok(Value::Null) };
                let part = |part: &Option<Box<Expr>>| part.as_ref().map(|part| self.value(part, scope)).transpose();
                let from = part(substring_from)?.and_then(|from| from.int()).unwrap_or(1).max(1) as usize - 1;
                let length =
                    part(substring_for)?.and_then(|length| length.int()).map_or(usize::MAX, |l| l.max(0) as usize);
                Ok(text.chars().skip(from).take(length).collect::<String>().into())
            }
            Expr::Position { expr, r#in } => {
                let (what, text) = (self.value(expr, scope)?.text(), self.value(r#in, scope)?.text());
                let found = what
                    .zip(text)
                    .map(|(what, text)| text.find(&what).map_or(0, |at| text[..at].chars().count() as i64 + 1));
                Ok(found.into())
            }
            Expr::Function(function) => self.function(function, scope),
            other => Err(Fault::unsupported(format!("`{other}` in a query over the catalogue"))),
        }
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

    fn first_column(&self, query: &Query, scope: &Scope<'_>) -> Result<Vec<Value>, Fault> {
        Ok(self.query(query, scope)?.rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }

    fn binary(&self, left: &Expr, op: &BinaryOperator, right: &Expr, scope: &Scope<'_>) -> Result<Value, Fault> {
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

    fn any(
        &self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
        all: bool,
    ) -> Result<Value, Fault> {
        let value = self.value(left, scope)?;
        let items = match right {
            Expr::Subquery(query) => self.first_column(query, scope)?,
            Expr::Nested(inner) if matches!(**inner, Expr::Subquery(_)) => match &**inner {
                Expr::Subquery(query) => self.first_column(query, scope)?,
                _ => Vec::new(),
            },
            other => match self.value(other, scope)? {
                Value::Null => return Ok(Value::Null),
                array => array.items(),
            },
        };
        let mut holds = all;
        for item in &items {
            let one = operated(op, &value, item)?.holds();
            if all { holds &= one } else { holds |= one }
        }
        Ok(holds.into())
    }

    fn like(
        &self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&ValueWithSpan>,
        negated: bool,
        any_case: bool,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let (text, pattern) = (self.value(expr, scope)?.text(), self.value(pattern, scope)?.text());
        let escape = match escape {
            Some(escape) => literal(escape)?.text().unwrap_or_default().chars().next(),
            None => Some('\\'),
        };
        let chars = |text: String| -> Vec<char> {
            if any_case { text.to_lowercase().chars().collect() } else { text.chars().collect() }
        };
        let like =
            text.zip(pattern).map(|(text, pattern)| value::like(&chars(text), &chars(pattern), escape) != negated);
        Ok(like.into())
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
                Err(_) => Ok(types::KNOWN
                    .iter()
                    .find(|known| known.name == name || known.written == name)
                    .map(|known| i64::from(known.oid))
                    .into()),
            },
            (value @ Value::Int(_), _) if is_name_like(to) && functions::has_names(from) => {
                Ok(functions::name_of(self.facts, from, value.int().unwrap_or_default()).into())
            }
            (value, _) => value::cast(value.clone(), to).ok_or_else(|| bad(&value)),
        }
    }

    fn function(&self, function: &Function, scope: &Scope<'_>) -> Result<Value, Fault> {
        let name = last_name(&function.name);
        let list = match &function.args {
            FunctionArguments::None => return self.call(&name, Vec::new()),
            FunctionArguments::Subquery(query) => return Ok(Value::Array(self.first_column(query, scope)?)),
            FunctionArguments::List(list) => list,
        };
        if AGGREGATES.contains(&name.as_str()) {
            return self.aggregate(&name, function, scope);
        }
        let mut args = Vec::with_capacity(list.args.len());
        for arg in &list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                args.push(self.value(expr, scope)?);
            }
        }
        self.call(&name, args)
    }

    fn aggregate(&self, name: &str, function: &Function, scope: &Scope<'_>) -> Result<Value, Fault> {
        let FunctionArguments::List(list) = &function.args else { return Ok(Value::Null) };
        let args: Vec<&Expr> = list
            .args
            .iter()
            .filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect();
        let order = list.clauses.iter().find_map(|clause| match clause {
            sqlparser::ast::FunctionArgumentClause::OrderBy(order) => Some(order.as_slice()),
            _ => None,
        });
        let order = order.unwrap_or_default();
        let rows = scope.group.unwrap_or_default();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let at = Scope { group: None, ..scope.at(row) };
            let value = args.first().map_or(Ok(Value::Bool(true)), |arg| self.value(arg, &at))?;
            let keys = order.iter().map(|one| self.value(&one.expr, &at)).collect::<Result<Vec<_>, _>>()?;
            values.push((keys, value));
        }
        values.sort_by(|a, b| in_order(order, &a.0, &b.0));
        let values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        let separator = args.get(1).map(|arg| self.value(arg, scope)).transpose()?;
        Ok(functions::aggregated(name, values, separator.and_then(|separator| separator.text()).as_deref()))
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
                let known = AGGREGATES.contains(&name.as_str()) || functions::result(&name).is_some();
                let unknown = || Fault::new("42883", format!("function {name} does not exist"));
                if known { Ok(()) } else { Err(unknown()) }
            }
            _ => Ok(()),
        }
    }
}

pub(super) const AGGREGATES: [&str; 9] =
    ["count", "min", "max", "sum", "array_agg", "string_agg", "bool_and", "bool_or", "json_agg"];

fn is_bare_function(name: &str) -> bool {
    ["current_user", "session_user", "user", "current_catalog", "current_schema", "current_role"]
        .iter()
        .any(|function| function.eq_ignore_ascii_case(name))
}

fn is_name_like(to: &Type) -> bool {
    matches!(*to, Type::TEXT | Type::VARCHAR | Type::NAME)
}

/// The last part of a name with dots, as Postgres folds it.
pub(super) fn last_name(name: &ObjectName) -> String {
    let last = name.0.last().map(ToString::to_string).unwrap_or_default();
    last.strip_prefix('"').map_or_else(|| last.to_lowercase(), |quoted| quoted.trim_end_matches('"').to_owned())
}

fn literal(value: &ValueWithSpan) -> Result<Value, Fault> {
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

fn unary(op: &UnaryOperator, value: &Value) -> Result<Value, Fault> {
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
fn among(value: &Value, list: &[Value]) -> Option<bool> {
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

/// Whether `expr` aggregates rows; queries in it do not count.
pub(super) fn is_aggregate(expr: &Expr) -> bool {
    struct Finder {
        depth: usize,
        found: bool,
    }
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> std::ops::ControlFlow<()> {
            self.depth += 1;
            std::ops::ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> std::ops::ControlFlow<()> {
            self.depth -= 1;
            std::ops::ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
            if let Expr::Function(function) = expr {
                let name = last_name(&function.name);
                self.found |= self.depth == 0 && AGGREGATES.contains(&name.as_str());
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut finder = Finder { depth: 0, found: false };
    let _ = expr.visit(&mut finder);
    finder.found
}

/// What Postgres calls a column of `expr`.
pub(super) fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.clone()).unwrap_or_default(),
        Expr::Function(function) => last_name(&function.name),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column_name(inner),
        Expr::CompoundFieldAccess { root, .. } => column_name(root),
        Expr::Cast { expr, data_type, .. } => match column_name(expr) {
            name if name == "?column?" => types::Known::of(&types::named(&data_type.to_string())).name.to_owned(),
            name => name,
        },
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Subquery(query) => match query.body.as_select().and_then(|select| select.projection.first()) {
            Some(sqlparser::ast::SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
            Some(sqlparser::ast::SelectItem::UnnamedExpr(expr)) => column_name(expr),
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}
