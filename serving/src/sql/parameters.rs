//! A statement as it is asked, and its parameters: `$1`, `$2`, … stand for values, which are never read as SQL.

use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value as Json;
use sqlparser::ast::{Expr, Statement, Value, visit_expressions_mut};
use utoipa::ToSchema;

use crate::query::{Error, FieldError, Fields};

/// The body of `POST /v1/sql`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// One `SELECT`.
    pub sql: String,
    /// What `$1`, `$2`, … stand for: null, booleans, numbers and texts.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub params: Vec<Json>,
}

impl Request {
    /// Reads a request from JSON.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not JSON, [`Error::Invalid`] with every field whose shape is wrong.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let value: Json = serde_json::from_slice(body)?;
        let mut fields = Fields::of(&value, "", &["sql", "params"])?;
        let sql = fields.required_string("sql");
        let params = fields.array("params").map(<[Json]>::to_vec).unwrap_or_default();
        if fields.errors.is_empty() { Ok(Self { sql, params }) } else { Err(Error::Invalid(fields.errors)) }
    }
}

/// Puts `parameters` where `statement` names them.
pub(super) fn bind(statement: &mut Statement, parameters: &[Json]) -> Result<(), Error> {
    let values: Vec<Expr> = parameters
        .iter()
        .enumerate()
        .map(|(at, parameter)| {
            literal(parameter)
                .ok_or_else(|| FieldError::new(&format!("params/{at}"), "must be null, a boolean, a number or a text"))
        })
        .collect::<Result<_, _>>()?;
    let bound = visit_expressions_mut(statement, |expr| {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| values.get(number.checked_sub(1)?)) {
            Some(value) => {
                *expr = value.clone();
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(name.clone()),
        }
    });
    match bound {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => {
            let detail = format!("has {} values, and the statement asks for `{name}`", values.len());
            Err(FieldError::new("params", detail).into())
        }
    }
}

fn literal(parameter: &Json) -> Option<Expr> {
    let value = match parameter {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => Value::Number(number.to_string(), false),
        Json::String(text) => Value::SingleQuotedString(text.replace('\'', "''")),
        _ => return None,
    };
    Some(match &value {
        Value::Number(text, _) if text.starts_with('-') => Expr::Nested(Box::new(Expr::value(value))),
        _ => Expr::value(value),
    })
}
