//! One `SELECT` over one view: what of its conditions the merge can take, and what grouping by `MEASURE` means.

use std::{ops::ControlFlow, sync::Arc};

use common::{
    expression::Expression,
    schema::ColumnType,
    suggest,
    view::{Dimension, View},
};
use sqlparser::{
    ast::{
        BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderBy,
        Select, SelectItem, Value, visit_expressions_mut,
    },
    tokenizer::Span,
};

use super::{
    calls,
    fault::Fault,
    range::Range,
    rewrite::ordered,
    tables::{Column, Reads, Wanted},
};

/// Where `select` itself, or its order, asks for a `MEASURE`; queries inside it do not count.
pub(super) fn measures(select: &Select, order_by: Option<&OrderBy>) -> Option<Span> {
    let of_items = || select.projection.iter().find_map(|item| calls::first(item, is_measure));
    let of_conditions =
        || calls::first(&select.having, is_measure).or_else(|| calls::first(&select.selection, is_measure));
    of_items().or_else(of_conditions).or_else(|| order_by.and_then(|order_by| calls::first(order_by, is_measure)))
}

fn is_measure(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("measure")
}

/// The table of a `SELECT` without `MEASURE`: the view, of the groups that those of its conditions hold for that say something of
/// bucket and dimensions. The statement keeps the others.
pub(super) fn filtered(view: &Arc<View>, select: &mut Select, reads: &Reads) -> Wanted {
    let columns = keys(view);
    let (mut known, mut left, mut range) = (Vec::new(), Vec::new(), Range::ALL);
    conjuncts(select.selection.as_ref(), &mut |condition| {
        let sql = unqualified(condition).to_string();
        let parsed = Expression::parse(&sql, &columns).ok();
        match parsed.filter(|parsed| parsed.column_type() == ColumnType::Bool) {
            Some(_) => match Range::of(condition, view) {
                Some(one) => range = range.and(one),
                None => known.push((format!("({sql})"), condition.clone())),
            },
            None => left.push(condition.clone()),
        }
    });
    // Each was parsed alone, so together they are too, unless they are too many: then Polars has them.
    let joined: Vec<&str> = known.iter().map(|(sql, _)| sql.as_str()).collect();
    let filter = (!known.is_empty()).then(|| Expression::parse(&joined.join(" AND "), &columns).ok()).flatten();
    if filter.is_none() {
        left.extend(known.into_iter().map(|(_, condition)| condition));
    }
    select.selection = left.into_iter().reduce(and);
    Wanted { range, ..Wanted::whole(view, reads, filter) }
}

fn and(left: Expr, right: Expr) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    Expr::BinaryOp { left: nested(left), op: BinaryOperator::And, right: nested(right) }
}

/// `condition` without the parts that mean a range of buckets alone, and that range.
fn ranged(condition: Expr, view: &View) -> (Option<Expr>, Range) {
    let (mut left, mut range) = (Vec::new(), Range::ALL);
    conjuncts(Some(&condition), &mut |part| match Range::of(part, view) {
        Some(one) => range = range.and(one),
        None => left.push(part.clone()),
    });
    (left.into_iter().reduce(and), range)
}

fn conjuncts<'a>(condition: Option<&'a Expr>, each: &mut impl FnMut(&'a Expr)) {
    match condition {
        None => {}
        Some(Expr::Nested(inner)) => conjuncts(Some(inner), each),
        Some(Expr::BinaryOp { left, op: BinaryOperator::And, right }) => {
            conjuncts(Some(left), each);
            conjuncts(Some(right), each);
        }
        Some(other) => each(other),
    }
}

/// The bucket and the dimensions, which groups can be made of.
fn keys(view: &View) -> Vec<(String, ColumnType)> {
    let bucket = (view.bucket_name.clone(), ColumnType::Timestamp);
    let dimensions = view.dimensions.iter().map(|d| (d.name.clone(), Dimension::column_type(d)));
    std::iter::once(bucket).chain(dimensions).collect()
}

/// `expr` with columns named without their table.
fn unqualified(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some(last) = parts.pop()
        {
            *expr = Expr::Identifier(last);
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

/// Makes of `select`, which asks for measures of groups of `view`, one over the table of its groups.
pub(super) fn grouped(view: &Arc<View>, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<Wanted, Fault> {
    let columns = keys(view);
    let parse = |expr: &Expr| {
        let parsed = Expression::parse(&unqualified(expr).to_string(), &columns);
        parsed
            .map_err(|error| Fault::new(expr, format!("{error}; bucket and dimensions can be grouped and filtered by")))
    };
    let (filter, range) = match select.selection.take() {
        Some(condition) => ranged(condition, view),
        None => (None, Range::ALL),
    };
    let filter = filter.map(|condition| parse(&condition)).transpose()?;
    if let Some(filter) = filter.as_ref().filter(|filter| filter.column_type() != ColumnType::Bool) {
        return Err(Fault::new(select, format!("`{}` in WHERE is no condition", filter.sql())));
    }
    let mut groups = Groups { view, keys: Vec::new(), measures: Vec::new() };
    for expr in group_by(select)? {
        let expr = unqualified(&resolved(&expr, select, view)?);
        groups.keys.push((expr.clone(), parse(&expr)?));
    }
    for item in &mut select.projection {
        groups.item(item)?;
    }
    select.having.iter_mut().try_for_each(|having| groups.rewrite(having))?;
    if let Some(order_by) = order_by {
        ordered(order_by).try_for_each(|expr| groups.rewrite(expr))?;
    }
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.selection = select.having.take();
    let keys = groups.keys.iter().enumerate().map(|(at, (_, key))| Column { name: key_name(at), input: key.clone() });
    let keys = keys.collect();
    Ok(Wanted { table: String::new(), view: Arc::clone(view), range, filter, keys, measures: groups.measures })
}

fn key_name(at: usize) -> String {
    format!("__key_{at}")
}

fn group_by(select: &Select) -> Result<Vec<Expr>, Fault> {
    match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => Ok(expressions.clone()),
        other => Err(Fault::new(other, "groups are named one by one: GROUP BY a, b")),
    }
}

/// What a member of `GROUP BY` means: the number or the name of a column of the `SELECT`, or itself.
fn resolved(expr: &Expr, select: &Select, view: &View) -> Result<Expr, Fault> {
    let of = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    };
    match expr {
        Expr::Value(value) => {
            let Value::Number(number, _) = &value.value else { return Ok(expr.clone()) };
            let number = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let item = number.and_then(|number| of(select.projection.get(number)?));
            item.ok_or_else(|| Fault::new(expr, format!("there is no column {expr} to group by")))
        }
        Expr::Identifier(name) if !is_key(view, &name.value) => {
            let aliased = select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => Some(expr.clone()),
                _ => None,
            });
            Ok(aliased.unwrap_or_else(|| expr.clone()))
        }
        _ => Ok(expr.clone()),
    }
}

fn is_key(view: &View, name: &str) -> bool {
    view.bucket_name.eq_ignore_ascii_case(name) || view.dimensions.iter().any(|d| d.name.eq_ignore_ascii_case(name))
}

struct Groups<'v> {
    view: &'v Arc<View>,
    keys: Vec<(Expr, Expression)>,
    /// Indices into the view's measures.
    measures: Vec<usize>,
}

impl Groups<'_> {
    /// Rewrites a column of the `SELECT`; it is called as it was, or as what it is of.
    fn item(&mut self, item: &mut SelectItem) -> Result<(), Fault> {
        match item {
            SelectItem::ExprWithAlias { expr, .. } => self.rewrite(expr),
            SelectItem::UnnamedExpr(expr) => {
                let name = match &*expr {
                    Expr::Identifier(name) => name.value.clone(),
                    Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.clone()).unwrap_or_default(),
                    Expr::Function(function) if is_measure(function) => argument(function)?.value,
                    other => other.to_string(),
                };
                let mut expr = expr.clone();
                self.rewrite(&mut expr)?;
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
                Ok(())
            }
            other => Err(Fault::new(other, "with MEASURE, columns are named one by one")),
        }
    }

    /// Names the table's columns where `expr` has keys and measures.
    fn rewrite(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        if let Some(at) = self.keys.iter().position(|(key, _)| *key == unqualified(expr)) {
            *expr = Expr::Identifier(Ident::with_quote('"', key_name(at)));
            return Ok(());
        }
        if let Expr::Function(function) = expr
            && is_measure(function)
        {
            let name = argument(function)?;
            let index = self.measure(&name)?;
            *expr = Expr::Identifier(Ident::with_quote('"', self.view.measures[index].name.clone()));
            return Ok(());
        }
        self.within(expr)
    }

    /// Rewrites what `expr` is made of.
    fn within(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        match expr {
            Expr::BinaryOp { left, right, .. } => {
                self.rewrite(left)?;
                self.rewrite(right)
            }
            Expr::UnaryOp { expr, .. } | Expr::Nested(expr) | Expr::Cast { expr, .. } => self.rewrite(expr),
            Expr::IsNull(expr) | Expr::IsNotNull(expr) => self.rewrite(expr),
            Expr::Between { expr, low, high, .. } => {
                [expr, low, high].into_iter().try_for_each(|part| self.rewrite(part))
            }
            Expr::InList { expr, list, .. } => {
                self.rewrite(expr)?;
                list.iter_mut().try_for_each(|item| self.rewrite(item))
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                operand.iter_mut().chain(else_result).try_for_each(|part| self.rewrite(part))?;
                conditions.iter_mut().try_for_each(|when| {
                    self.rewrite(&mut when.condition)?;
                    self.rewrite(&mut when.result)
                })
            }
            Expr::Function(function) => self.call(function),
            _ => Ok(()),
        }
    }

    fn call(&mut self, function: &mut Function) -> Result<(), Fault> {
        if let FunctionArguments::List(list) = &mut function.args {
            for argument in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                    self.rewrite(expr)?;
                }
            }
        }
        if let Some(sqlparser::ast::WindowType::WindowSpec(window)) = &mut function.over {
            window.partition_by.iter_mut().try_for_each(|expr| self.rewrite(expr))?;
            window.order_by.iter_mut().try_for_each(|one| self.rewrite(&mut one.expr))?;
        }
        Ok(())
    }

    /// The number of the measure `name`, whose values have a type that SQL knows.
    fn measure(&mut self, name: &Ident) -> Result<usize, Fault> {
        let measures = &self.view.measures;
        let scalar =
            || measures.iter().filter(|measure| measure.value_type.scalar().is_some()).map(|m| m.name.as_str());
        let found = measures.iter().position(|measure| measure.name == name.value);
        let found =
            found.or_else(|| measures.iter().position(|measure| measure.name.eq_ignore_ascii_case(&name.value)));
        match found {
            Some(index) if measures[index].value_type.scalar().is_some() => {
                if !self.measures.contains(&index) {
                    self.measures.push(index);
                }
                Ok(index)
            }
            Some(_) => Err(Fault::at_name(
                name,
                format!("`{name}` is a list, which SQL here has no columns of; ask it with /v1/query"),
            )),
            None => {
                let (view, hint) = (&self.view.name, suggest::hint(&name.value, scalar()));
                Err(Fault::at_name(name, format!("view {view} has no measure `{name}`{hint}")))
            }
        }
    }
}

/// The measure that `MEASURE(…)` names.
fn argument(function: &Function) -> Result<Ident, Fault> {
    let argument = match &function.args {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))] => Some(name.clone()),
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts)))] => parts.last().cloned(),
            _ => None,
        },
        _ => None,
    };
    argument
        .filter(|_| function.over.is_none() && function.filter.is_none())
        .ok_or_else(|| Fault::new(function, "MEASURE takes the name of one measure, and nothing after it"))
}
