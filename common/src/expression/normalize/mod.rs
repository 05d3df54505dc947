//! From a parsed expression to its one normalised text: names resolved, every operand that is not an atom in parentheses,
//! one spelling for each construct. What is not listed here is not allowed.
//!
//! - casts give null where a value does not fit: `CAST`, `::` and `TRY_CAST` are all written `TRY_CAST`;
//! - a string compared with a timestamp column, its bucket or its time in a zone is a timestamp literal; timestamps are UTC.

use std::collections::BTreeSet;

use sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, CeilFloorKind, DataType, DateTimeField, Expr, Ident, Spanned, TypedString,
        UnaryOperator, Value,
    },
    tokenizer::Span,
};

use super::{
    bucket::is_bucket,
    derived::{self, Derived},
    engine::Engine,
    fault::{Fault, resolve, unknown_column},
    identifier, literal,
    syntax::{is_atom, is_condition, is_int, is_literal, is_number, is_text, string_literal, unnested},
};
use crate::{limits::EXPRESSION_DEPTH_MAX, schema::ColumnType};

mod calls;

/// The normalised text of `expr` over `columns`, and the columns it reads, sorted.
///
/// # Errors
/// The first thing in it that is not allowed.
pub(super) fn normalize(expr: &Expr, columns: &[(String, ColumnType)]) -> Result<(String, Vec<String>), Fault> {
    let mut normalizer = Normalizer { columns, read: BTreeSet::new(), depth: 0, span: expr.span() };
    let sql = normalizer.text(expr)?;
    Ok((sql, normalizer.read.into_iter().collect()))
}

struct Normalizer<'a> {
    columns: &'a [(String, ColumnType)],
    read: BTreeSet<String>,
    /// How many expressions enclose the one at hand.
    depth: usize,
    /// Where the nearest enclosing expression that knows its place is: sqlparser does not know every expression's.
    span: Span,
}

impl Normalizer<'_> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span, message)
    }

    /// The text of `expr`, without parentheses around it.
    fn text(&mut self, expr: &Expr) -> Result<String, Fault> {
        let outer = self.span;
        let own = expr.span();
        if own != Span::empty() {
            self.span = own;
        }
        self.depth += 1;
        self.must_fit(self.depth, "deep")?;
        let text = self.text_here(expr)?;
        self.depth -= 1;
        self.span = outer;
        Ok(text)
    }

    fn must_fit(&self, size: usize, how: &str) -> Result<(), Fault> {
        if size <= EXPRESSION_DEPTH_MAX {
            return Ok(());
        }
        let fault = self.fault(format!("the expression is too {how}"));
        Err(fault.help(format!("at most {EXPRESSION_DEPTH_MAX} conditions may be chained, or expressions nested")))
    }

    fn text_here(&mut self, expr: &Expr) -> Result<String, Fault> {
        match expr {
            Expr::Nested(inner) => self.text(inner),
            Expr::Identifier(ident) => self.column(ident),
            Expr::Value(value) => self.literal(&value.value),
            Expr::TypedString(typed) => self.typed_string(typed),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::IsNull(e) => self.suffixed(e, "IS NULL"),
            Expr::IsNotNull(e) => self.suffixed(e, "IS NOT NULL"),
            Expr::IsTrue(e) => self.truth(e, "FALSE"),
            Expr::IsNotTrue(e) => Ok(format!("NOT {}", self.truth(e, "FALSE")?)),
            Expr::IsFalse(e) => Ok(format!("NOT {}", self.truth(e, "TRUE")?)),
            Expr::IsNotFalse(e) => self.truth(e, "TRUE"),
            Expr::IsDistinctFrom(l, r) => self.compared(l, "IS DISTINCT FROM", r),
            Expr::IsNotDistinctFrom(l, r) => self.compared(l, "IS NOT DISTINCT FROM", r),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, if *negated { "NOT LIKE" } else { "LIKE" }, pattern)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(expr, if *negated { "NOT ILIKE" } else { "ILIKE" }, pattern)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Cast { expr, data_type, array: false, format, .. } => self.cast(expr, data_type, format.as_ref()),
            Expr::Extract { field, expr, .. } => self.extract(&field.to_string(), expr),
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.call("ceil", &[expr])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.call("floor", &[expr])
            }
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let arguments: Vec<&Expr> =
                    [expr, from].into_iter().chain(substring_for).map(|argument| &**argument).collect();
                self.call("substr", &arguments)
            }
            Expr::Trim { expr, trim_where, trim_what, trim_characters } => {
                self.trim(expr, *trim_where, trim_what.as_deref(), trim_characters.as_deref())
            }
            Expr::AtTimeZone { .. } => self.derived(expr),
            expr if is_bucket(expr) => self.derived(expr),
            Expr::Function(function) => self.function(function),
            other => Err(self.not_allowed(other)),
        }
    }

    fn not_allowed(&self, expr: &Expr) -> Fault {
        let fault = match expr {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                self.fault("a subquery is not allowed here")
            }
            Expr::CompoundIdentifier(_) => self.fault(format!("`{expr}`: write the column's name alone")),
            Expr::Like { .. } | Expr::ILike { .. } => self.fault("LIKE takes one pattern and no ESCAPE"),
            _ => self.fault(format!("`{expr}` is not allowed here")),
        };
        fault.help(
            "allowed are columns, literals, + - * / // % ||, comparisons, AND OR NOT, IS NULL, IN, BETWEEN, LIKE, CASE, CAST, \
             EXTRACT, AT TIME ZONE and scalar functions",
        )
    }

    fn column(&mut self, ident: &Ident) -> Result<String, Fault> {
        let (name, _) = resolve(ident, self.columns).ok_or_else(|| unknown_column(ident, self.columns))?;
        self.read.insert(name.clone());
        Ok(identifier(name))
    }

    /// A part that Polars has no words for.
    fn derived(&mut self, expr: &Expr) -> Result<String, Fault> {
        let (column, how) = derived::read(expr, self.columns)?;
        self.read.insert(column.clone());
        Ok(match how {
            Some(how) => Derived { column, how }.sql(),
            None => identifier(&column),
        })
    }

    fn literal(&self, value: &Value) -> Result<String, Fault> {
        match value {
            Value::Number(text, _) => literal::number(text)
                .ok_or_else(|| self.fault(format!("{text} is too large a number")).help("ints have 64 bits")),
            Value::SingleQuotedString(text) => Ok(literal::string(text)),
            Value::Boolean(true) => Ok("TRUE".to_owned()),
            Value::Boolean(false) => Ok("FALSE".to_owned()),
            Value::Null => Ok("NULL".to_owned()),
            other => Err(self.fault(format!("{other} is not a literal that is known")).help(
                "literals are 12, 1.5, 'text', TRUE, FALSE, NULL, DATE '2013-01-31', TIMESTAMP '2013-01-31 12:00:00'",
            )),
        }
    }

    fn typed_string(&self, typed: &TypedString) -> Result<String, Fault> {
        match (&typed.data_type, &typed.value.value) {
            (DataType::Date | DataType::Timestamp(None, _), Value::SingleQuotedString(text)) => self.timestamp(text),
            _ => Err(self.fault(format!("`{typed}` is not a literal that is known")).help(TIMESTAMP_HELP)),
        }
    }

    fn timestamp(&self, text: &str) -> Result<String, Fault> {
        literal::timestamp(text).ok_or_else(|| self.fault(format!("'{text}' is not a timestamp")).help(TIMESTAMP_HELP))
    }

    /// Text of an operand: in parentheses unless nothing around it could tear it apart.
    fn operand(&mut self, expr: &Expr) -> Result<String, Fault> {
        let text = self.text(expr)?;
        Ok(if is_atom(expr) { text } else { format!("({text})") })
    }

    /// Appends the operands of `expr`, a chain of `AND` or of `OR`, in which parentheses mean nothing: nested ones would soon
    /// be more than parsers allow. Each must be a condition, since Polars takes the operators for those on the bits of ints.
    fn chain(&mut self, expr: &Expr, op: &BinaryOperator, operands: &mut Vec<String>) -> Result<(), Fault> {
        match unnested(expr) {
            Expr::BinaryOp { left, op: inner, right } if inner == op => {
                self.chain(left, op, operands)?;
                self.chain(right, op, operands)
            }
            // This is itself written as a chain of OR.
            Expr::InList { expr: one, list, negated: false }
                if *op == BinaryOperator::Or && list.len() > 1 && !self.is_one_list(one, list) =>
            {
                operands.push(self.text(expr)?);
                Ok(())
            }
            _ => {
                operands.push(self.condition(expr)?);
                Ok(())
            }
        }
    }

    /// Text of an operand that must be true, false or null.
    fn condition(&mut self, expr: &Expr) -> Result<String, Fault> {
        let text = self.operand(expr)?;
        if !is_condition(expr) {
            self.must_be(ColumnType::Bool, "a condition", &text)?;
        }
        Ok(text)
    }

    /// `coalesce(expr, default)`: what Polars' own `IS TRUE` and its kin are not, for they give null for null.
    fn truth(&mut self, expr: &Expr, default: &str) -> Result<String, Fault> {
        let text = self.text(expr)?;
        self.must_be(ColumnType::Bool, "a condition", &text)?;
        Ok(format!("coalesce({text}, {default})"))
    }

    /// Checks that `text`, normalised, is of type `expected`, which is called `what`.
    fn must_be(&self, expected: ColumnType, what: &str, text: &str) -> Result<(), Fault> {
        let inputs = self.columns.iter().filter(|(name, _)| self.read.contains(name)).cloned().collect();
        match Engine::compile(text, inputs) {
            Ok((_, column_type)) if column_type == expected => Ok(()),
            Ok((_, column_type)) => Err(self.fault(format!("`{text}` is {column_type}, not {what}"))),
            Err(message) => Err(self.fault(format!("`{text}` cannot be evaluated: {message}"))),
        }
    }

    fn unary(&mut self, op: UnaryOperator, expr: &Expr) -> Result<String, Fault> {
        match op {
            UnaryOperator::Plus => self.text(expr),
            UnaryOperator::Minus => {
                let text = self.operand(expr)?;
                // Two minus signs would begin a comment.
                Ok(if text.starts_with('-') { format!("-({text})") } else { format!("-{text}") })
            }
            UnaryOperator::Not => Ok(format!("NOT {}", self.condition(expr)?)),
            other => Err(self.fault(format!("the operator {other} is not known"))),
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<String, Fault> {
        use BinaryOperator as Op;
        match op {
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => self.compared(left, &op.to_string(), right),
            Op::Plus
            | Op::Minus
            | Op::Multiply
            | Op::Divide
            | Op::DuckIntegerDivide
            | Op::Modulo
            | Op::StringConcat => {
                // These bind to the left anyway.
                let chained = matches!(unnested(left), Expr::BinaryOp { op: inner, .. } if inner == op);
                let left = if chained { self.text(left)? } else { self.operand(left)? };
                Ok(format!("{left} {op} {}", self.operand(right)?))
            }
            Op::And | Op::Or => {
                let mut operands = Vec::new();
                self.chain(left, op, &mut operands)?;
                self.chain(right, op, &mut operands)?;
                self.must_fit(operands.len(), "long")?;
                Ok(operands.join(&format!(" {op} ")))
            }
            other => Err(self
                .fault(format!("the operator {other} is not known"))
                .help("operators are + - * / // % || = <> < <= > >= AND OR NOT")),
        }
    }

    fn suffixed(&mut self, expr: &Expr, suffix: &str) -> Result<String, Fault> {
        Ok(format!("{} {suffix}", self.operand(expr)?))
    }

    fn compared(&mut self, left: &Expr, op: &str, right: &Expr) -> Result<String, Fault> {
        let (left, right) = (self.beside(left, right)?, self.beside(right, left)?);
        Ok(format!("{left} {op} {right}"))
    }

    /// Whether `expr` is a timestamp column, its bucket, or the time of a zone.
    fn is_time(&self, expr: &Expr) -> bool {
        let derived = matches!(unnested(expr), Expr::AtTimeZone { .. }) || is_bucket(expr);
        derived || self.is_column(expr, ColumnType::Timestamp)
    }

    /// Text of an operand that stands beside `other`: a string beside a time is a timestamp.
    fn beside(&mut self, expr: &Expr, other: &Expr) -> Result<String, Fault> {
        match string_literal(expr) {
            Some((text, span)) if self.is_time(other) => {
                let outer = std::mem::replace(&mut self.span, span);
                let text = self.timestamp(text)?;
                self.span = outer;
                Ok(text)
            }
            _ => self.operand(expr),
        }
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> Result<String, Fault> {
        if let Some(item) = list.iter().find(|item| !is_literal(item)) {
            let span = if item.span() == Span::empty() { self.span } else { item.span() };
            let fault = Fault::new(span, "IN takes literals only");
            return Err(fault.help("write a = b OR a = c to compare with expressions"));
        }
        let operand = self.operand(expr)?;
        let items = list.iter().map(|item| self.beside(item, expr)).collect::<Result<Vec<_>, _>>()?;
        if self.is_one_list(expr, list) {
            let op = if negated { "NOT IN" } else { "IN" };
            let items = if self.is_column(expr, ColumnType::Double) {
                items.into_iter().map(literal::double).collect()
            } else {
                items
            };
            return Ok(format!("{operand} {op} ({})", items.join(", ")));
        }
        self.must_fit(items.len(), "long")?;
        let any = match items.as_slice() {
            [only] => format!("{operand} = {only}"),
            _ => items.iter().map(|item| format!("({operand} = {item})")).collect::<Vec<_>>().join(" OR "),
        };
        Ok(if negated { format!("NOT ({any})") } else { any })
    }

    /// Whether Polars can look `expr` up in `list`: it makes one column of the literals, which must be of one type, and that
    /// of `expr`. Otherwise `expr` is compared with each.
    fn is_one_list(&self, expr: &Expr, list: &[Expr]) -> bool {
        list.iter().all(is_text)
            || (self.is_column(expr, ColumnType::Int) && list.iter().all(is_int))
            || (self.is_column(expr, ColumnType::Double) && list.iter().all(is_number))
    }

    fn is_column(&self, expr: &Expr, of: ColumnType) -> bool {
        let Expr::Identifier(ident) = unnested(expr) else { return false };
        resolve(ident, self.columns).is_some_and(|(_, column_type)| *column_type == of)
    }

    fn between(&mut self, expr: &Expr, negated: bool, low: &Expr, high: &Expr) -> Result<String, Fault> {
        let op = if negated { "NOT BETWEEN" } else { "BETWEEN" };
        let (low, high) = (self.beside(low, expr)?, self.beside(high, expr)?);
        Ok(format!("{} {op} {low} AND {high}", self.operand(expr)?))
    }

    fn like(&mut self, expr: &Expr, op: &str, pattern: &Expr) -> Result<String, Fault> {
        if string_literal(pattern).is_none() {
            return Err(self.fault("the pattern of LIKE must be a string literal"));
        }
        Ok(format!("{} {op} {}", self.operand(expr)?, self.text(pattern)?))
    }

    fn case(&mut self, operand: Option<&Expr>, whens: &[CaseWhen], otherwise: Option<&Expr>) -> Result<String, Fault> {
        let mut text = "CASE".to_owned();
        if let Some(operand) = operand {
            text = format!("{text} {}", self.operand(operand)?);
        }
        for CaseWhen { condition, result } in whens {
            let condition = match operand {
                Some(operand) => self.beside(condition, operand)?,
                None => self.condition(condition)?,
            };
            text = format!("{text} WHEN {condition} THEN {}", self.operand(result)?);
        }
        if let Some(otherwise) = otherwise {
            text = format!("{text} ELSE {}", self.operand(otherwise)?);
        }
        Ok(format!("{text} END"))
    }
}

const TIMESTAMP_HELP: &str = "timestamps are '2013-01-31', '2013-01-31 12:00:00.5' (in UTC) or '2013-01-31T12:00:00-05:00', to the \
                              microsecond";
