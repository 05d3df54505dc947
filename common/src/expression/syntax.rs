//! What can be said of a parsed expression by its shape alone.

use sqlparser::{
    ast::{
        BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
        ValueWithSpan,
    },
    tokenizer::Span,
};

/// `expr` without the parentheses around it.
pub(crate) fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => unnested(inner),
        other => other,
    }
}

/// The text and place of a string literal.
pub(crate) fn string_literal(expr: &Expr) -> Option<(&str, Span)> {
    match unnested(expr) {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => Some((text, *span)),
        _ => None,
    }
}

/// Whether `expr` is a literal, with or without a sign.
pub(super) fn is_literal(expr: &Expr) -> bool {
    match unnested(expr) {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => matches!(unnested(expr), Expr::Value(_)),
        _ => false,
    }
}

/// Whether `expr` is a literal in quotes.
pub(super) fn is_text(expr: &Expr) -> bool {
    string_literal(expr).is_some() || matches!(unnested(expr), Expr::TypedString(_))
}

/// Whether `expr` is a whole number, with or without a sign.
pub(super) fn is_int(expr: &Expr) -> bool {
    number(expr).is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `expr` is a number, with or without a sign.
pub(super) fn is_number(expr: &Expr) -> bool {
    number(expr).is_some()
}

/// A number without its sign.
fn number(expr: &Expr) -> Option<&str> {
    match unnested(expr) {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number(expr),
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => Some(text),
        _ => None,
    }
}

/// Whether `expr` can only be true, false or null, whatever it is made of.
pub(super) fn is_condition(expr: &Expr) -> bool {
    use BinaryOperator as Op;
    match unnested(expr) {
        Expr::BinaryOp { op, .. } => {
            matches!(op, Op::And | Op::Or | Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq)
        }
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Not,
        Expr::Value(ValueWithSpan { value, .. }) => matches!(value, Value::Boolean(_) | Value::Null),
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) => true,
        Expr::IsNotFalse(_) | Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => true,
        Expr::InList { .. } | Expr::Between { .. } | Expr::Like { .. } | Expr::ILike { .. } => true,
        _ => false,
    }
}

/// Whether `expr` is a whole number with which no arithmetic of Polars on positions overflows.
pub(super) fn is_position(expr: &Expr) -> bool {
    is_int(expr) && number(expr).is_some_and(|digits| digits.len() <= 9)
}

/// Whether nothing around `expr`, written without parentheses, could tear it apart.
pub(super) fn is_atom(expr: &Expr) -> bool {
    let expr = unnested(expr);
    let closed = matches!(
        expr,
        Expr::Identifier(_)
            | Expr::AtTimeZone { .. }
            | Expr::Case { .. }
            | Expr::Cast { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Function(_)
            | Expr::IsTrue(_)
            | Expr::IsNotFalse(_)
    );
    closed || is_literal(expr)
}

/// The arguments of a call that has nothing but arguments.
pub(crate) fn plain_arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = function.filter.is_none()
        && function.null_treatment.is_none()
        && function.over.is_none()
        && function.within_group.is_empty()
        && matches!(function.parameters, FunctionArguments::None)
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    if plain { list.args.iter().map(argument).collect() } else { None }
}
