//! The names and types of expressions over the catalogue: what clients are told before there is a row, and where there is none.

use pgwire::api::Type;
use sqlparser::ast::{BinaryOperator, Expr, FunctionArguments, SelectItem, Value as Literal};

use super::{
    Engine,
    calls::{arguments, last_name},
    functions,
    relation::{Found, Scope},
};
use crate::postgres::types;

impl Engine<'_> {
    /// The type of `expr`; text where it is not known.
    pub(super) fn column_type(&self, expr: &Expr, scope: &Scope<'_>) -> Type {
        match expr {
            Expr::Identifier(name) => match scope.find(None, &name.value) {
                Some(Found::Column(column, _)) => column.column_type.clone(),
                Some(Found::Vacant) => Type::TEXT,
                None => functions::result(&name.value.to_lowercase()).unwrap_or(Type::TEXT),
            },
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, name] => match scope.find(Some(&table.value), &name.value) {
                    Some(Found::Column(column, _)) => column.column_type.clone(),
                    _ => Type::TEXT,
                },
                _ => Type::TEXT,
            },
            Expr::Value(value) => match &value.value {
                Literal::Boolean(_) => Type::BOOL,
                Literal::Number(number, _) => match (number.parse::<i32>(), number.parse::<i64>()) {
                    (Ok(_), _) => Type::INT4,
                    (_, Ok(_)) => Type::INT8,
                    _ => Type::FLOAT8,
                },
                _ => Type::TEXT,
            },
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::UnaryOp { expr: inner, .. } => {
                self.column_type(inner, scope)
            }
            Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::Exists { .. } => Type::BOOL,
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::StringConcat => Type::TEXT,
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo => wider(self.column_type(left, scope), self.column_type(right, scope)),
                _ => Type::BOOL,
            },
            Expr::Case { conditions, else_result, .. } => {
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                let known =
                    results.filter(|result| !is_null(result)).map(|result| self.column_type(result, scope)).next();
                known.unwrap_or(Type::TEXT)
            }
            Expr::Cast { data_type, .. } => types::named(&data_type.to_string()),
            Expr::TypedString(typed) => types::named(&typed.data_type.to_string()),
            Expr::Subquery(query) => match self.query(query, &Scope { row: None, ..*scope }) {
                Ok(relation) => relation.columns.first().map_or(Type::TEXT, |column| column.column_type.clone()),
                Err(_) => Type::TEXT,
            },
            Expr::Array(_) => Type::TEXT_ARRAY,
            Expr::CompoundFieldAccess { .. } | Expr::Trim { .. } | Expr::Substring { .. } => Type::TEXT,
            Expr::Position { .. } => Type::INT4,
            Expr::Function(function) => {
                let name = last_name(&function.name);
                if let FunctionArguments::Subquery(_) = function.args {
                    return Type::TEXT_ARRAY;
                }
                let of_first = || arguments(function).next().map_or(Type::TEXT, |of| self.column_type(of, scope));
                match name.as_str() {
                    "count" | "sum" => Type::INT8,
                    "bool_and" | "bool_or" => Type::BOOL,
                    "array_agg" => Type::TEXT_ARRAY,
                    "json_agg" => Type::JSON,
                    "min" | "max" | "coalesce" | "nullif" | "unnest" | "greatest" | "least" => of_first(),
                    name => functions::result(name).unwrap_or(Type::TEXT),
                }
            }
            _ => Type::TEXT,
        }
    }
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
            Some(SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
            Some(SelectItem::UnnamedExpr(expr)) => column_name(expr),
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Literal::Null))
}

fn wider(a: Type, b: Type) -> Type {
    let rank = |of: &Type| match *of {
        Type::INT2 => 0,
        Type::INT4 => 1,
        Type::OID => 2,
        Type::INT8 => 3,
        _ => 4,
    };
    if rank(&a) >= rank(&b) { a } else { b }
}
