//! Queries over the catalogue: from, where, groups, columns, order.

use std::{cmp::Ordering, collections::HashSet};

use pgwire::api::Type;
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Value as Literal,
};

use super::{
    Engine,
    calls::aggregates,
    infer::column_name,
    relation::{Column, Relation, Row, Scope},
    value::Value,
};
use crate::postgres::fault::Fault;

/// A row of an answer, and what it is ordered by.
type Ordered = (Row, Vec<Value>);

/// A row that columns are made of, and the rows of its group, where there are groups.
type Grouped<'r> = (Row, Option<Vec<&'r Row>>);

impl Engine<'_> {
    /// The rows of `query`, which stands within `around`.
    pub(super) fn query(&self, query: &Query, around: &Scope<'_>) -> Result<Relation, Fault> {
        let mut named = around.named.to_vec();
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let scope = Scope { named: &named, ..*around };
            let columns: Vec<String> = table.alias.columns.iter().map(|column| column.name.value.clone()).collect();
            let relation = self.query(&table.query, &scope)?.named(&table.alias.name.value, &columns);
            named.push((table.alias.name.value.clone(), relation));
        }
        let around = Scope { named: &named, ..*around };
        let order = order_of(query.order_by.as_ref())?;
        let (relation, mut rows) = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, order, &around)?,
            body => {
                let mut whole = self.body(body, &around)?;
                let rows = std::mem::take(&mut whole.rows);
                let keyed = rows.into_iter().map(|row| {
                    let scope = Scope { relation: &whole, row: Some(&row), group: None, ..around };
                    let keys =
                        order.iter().map(|one| self.key(&one.expr, &whole, &row, &scope)).collect::<Result<_, _>>()?;
                    Ok((row, keys))
                });
                let keyed = keyed.collect::<Result<Vec<Ordered>, Fault>>()?;
                (whole, keyed)
            }
        };
        rows.sort_by(|a, b| in_order(order, &a.1, &b.1));
        let rows = self.limited(rows.into_iter().map(|(row, _)| row), query.limit_clause.as_ref(), &around)?;
        Ok(Relation { rows, ..relation })
    }

    fn limited(
        &self,
        rows: impl Iterator<Item = Row>,
        limit: Option<&LimitClause>,
        around: &Scope<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let (limit, offset) = match limit {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        };
        let count = |expr: Option<&Expr>, usual: usize| -> Result<usize, Fault> {
            let Some(expr) = expr else { return Ok(usual) };
            Ok(self.value(expr, around)?.int().and_then(|count| usize::try_from(count).ok()).unwrap_or(usual))
        };
        Ok(rows.skip(count(offset, 0)?).take(count(limit, usize::MAX)?).collect())
    }

    fn body(&self, body: &SetExpr, around: &Scope<'_>) -> Result<Relation, Fault> {
        match body {
            SetExpr::Select(select) => {
                let (relation, rows) = self.select(select, &[], around)?;
                Ok(Relation { rows: rows.into_iter().map(|(row, _)| row).collect(), ..relation })
            }
            SetExpr::Query(query) => self.query(query, around),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } => {
                let mut whole = self.body(left, around)?;
                whole.rows.extend(self.body(right, around)?.rows);
                if !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName) {
                    whole.rows = distinct(std::mem::take(&mut whole.rows));
                }
                Ok(whole)
            }
            SetExpr::Values(values) => {
                let rows = values.rows.iter().map(|row| row.iter().map(|expr| self.value(expr, around)).collect());
                let rows = rows.collect::<Result<Vec<Row>, Fault>>()?;
                let first = values.rows.first().map(|row| row.iter().enumerate());
                let columns = first.into_iter().flatten().map(|(at, expr)| Column {
                    table: String::new(),
                    name: format!("column{}", at + 1),
                    column_type: self.column_type(expr, around),
                });
                Ok(Relation { columns: columns.collect(), rows, vacant: Vec::new() })
            }
            other => Err(Fault::unsupported(format!("a query over the catalogue has no {other}"))),
        }
    }

    /// The rows of `select` with what `order` says of each.
    fn select(
        &self,
        select: &Select,
        order: &[OrderByExpr],
        around: &Scope<'_>,
    ) -> Result<(Relation, Vec<Ordered>), Fault> {
        let mut from = self.from(&select.from, around)?;
        let mut rows = std::mem::take(&mut from.rows);
        if !self.rows {
            rows.clear();
        }
        if let Some(condition) = &select.selection {
            let mut kept = Vec::new();
            for row in rows {
                let scope = around.within(&from, Some(&row));
                if self.value(condition, &scope)?.holds() {
                    kept.push(row);
                }
            }
            rows = kept;
        }
        let items = self.items(select, &from, around)?;
        let columns = items.iter().map(|(name, expr)| Column {
            table: String::new(),
            name: name.clone(),
            column_type: self.item_type(expr, &around.within(&from, None)),
        });
        let answer = Relation { columns: columns.collect(), rows: Vec::new(), vacant: Vec::new() };
        let groups = self.groups(select, &items, &from, &rows, around)?;
        let mut answered = Vec::new();
        for (row, group) in &groups {
            let scope = Scope { group: group.as_deref(), ..around.within(&from, Some(row)) };
            if let Some(having) = &select.having
                && !self.value(having, &scope)?.holds()
            {
                continue;
            }
            let values = items.iter().map(|(_, item)| match item {
                Item::Column(at) => Ok(row[*at].clone()),
                Item::Expr(expr) => self.value(expr, &scope),
            });
            let values = values.collect::<Result<Row, Fault>>()?;
            let keys = order.iter().map(|one| self.key(&one.expr, &answer, &values, &scope));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            answered.push((values, keys));
        }
        if matches!(select.distinct, Some(Distinct::Distinct)) {
            let mut seen = HashSet::new();
            answered.retain(|(row, _)| seen.insert(format!("{row:?}")));
        }
        Ok((answer, answered))
    }

    /// The rows that the columns are made of, each with its group where there are groups.
    fn groups<'r>(
        &self,
        select: &Select,
        items: &[(String, Item<'_>)],
        from: &Relation,
        rows: &'r [Row],
        around: &Scope<'_>,
    ) -> Result<Vec<Grouped<'r>>, Fault> {
        let by = match &select.group_by {
            GroupByExpr::Expressions(by, _) => by.as_slice(),
            GroupByExpr::All(_) => return Err(Fault::unsupported("GROUP BY ALL")),
        };
        let aggregated = items.iter().any(|(_, item)| matches!(item, Item::Expr(expr) if aggregates(expr)));
        if by.is_empty() && !aggregated {
            return Ok(rows.iter().map(|row| (row.clone(), None)).collect());
        }
        let mut groups: Vec<(Vec<Value>, Vec<&Row>)> = Vec::new();
        if by.is_empty() {
            groups.push((Vec::new(), rows.iter().collect()));
        } else {
            for row in rows {
                let scope = around.within(from, Some(row));
                let key = by.iter().map(|expr| match (ordinal(expr), items) {
                    (Some(at), items) if at < items.len() => match &items[at].1 {
                        Item::Column(at) => Ok(row[*at].clone()),
                        Item::Expr(expr) => self.value(expr, &scope),
                    },
                    _ => self.value(expr, &scope),
                });
                let key = key.collect::<Result<Vec<_>, _>>()?;
                match groups.iter_mut().find(|(other, _)| *other == key) {
                    Some((_, rows)) => rows.push(row),
                    None => groups.push((key, vec![row])),
                }
            }
        }
        let nothing = || vec![Value::Null; from.columns.len()];
        let first = |rows: &[&Row]| rows.first().map_or_else(nothing, |row| (*row).clone());
        Ok(groups.into_iter().map(|(_, rows)| (first(&rows), Some(rows))).collect())
    }

    /// The columns of the answer: their names, and what they are of.
    fn items<'s>(
        &self,
        select: &'s Select,
        from: &Relation,
        around: &Scope<'_>,
    ) -> Result<Vec<(String, Item<'s>)>, Fault> {
        let mut items = Vec::new();
        let all = |table: Option<&str>| -> Vec<(String, Item<'s>)> {
            let columns = from.columns.iter().enumerate();
            let columns = columns.filter(|(_, c)| table.is_none_or(|table| c.table.eq_ignore_ascii_case(table)));
            columns.map(|(at, column)| (column.name.clone(), Item::Column(at))).collect()
        };
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => items.push((column_name(expr), Item::Expr(expr))),
                SelectItem::ExprWithAlias { expr, alias } => items.push((alias.value.clone(), Item::Expr(expr))),
                SelectItem::Wildcard(_) => items.extend(all(None)),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let table = name.0.last().map(ToString::to_string).unwrap_or_default().replace('"', "");
                    items.extend(all(Some(&table)));
                }
                other => return Err(Fault::unsupported(format!("columns as {other}"))),
            }
        }
        for (_, item) in &items {
            if let Item::Expr(expr) = item {
                self.check(expr, &around.within(from, None))?;
            }
        }
        Ok(items)
    }

    fn item_type(&self, item: &Item<'_>, scope: &Scope<'_>) -> Type {
        match item {
            Item::Column(at) => scope.relation.columns[*at].column_type.clone(),
            Item::Expr(expr) => self.column_type(expr, scope),
        }
    }

    /// What a row is ordered by: a column of the answer, by number or name, or an expression.
    fn key(&self, expr: &Expr, answer: &Relation, values: &Row, scope: &Scope<'_>) -> Result<Value, Fault> {
        if let Some(value) = ordinal(expr).and_then(|at| values.get(at)) {
            return Ok(value.clone());
        }
        if let Expr::Identifier(name) = expr
            && let Some(at) = answer.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&name.value))
        {
            return Ok(values[at].clone());
        }
        self.value(expr, scope)
    }
}

/// A column of an answer.
#[derive(Debug)]
enum Item<'s> {
    /// A column of the tables.
    Column(usize),
    Expr(&'s Expr),
}

/// The place that `expr` numbers from 1, from 0.
fn ordinal(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Literal::Number(number, _) = &value.value else { return None };
    number.parse::<usize>().ok()?.checked_sub(1)
}

fn order_of(order: Option<&OrderBy>) -> Result<&[OrderByExpr], Fault> {
    match order.map(|order| &order.kind) {
        None => Ok(&[]),
        Some(OrderByKind::Expressions(expressions)) => Ok(expressions),
        Some(OrderByKind::All(_)) => Err(Fault::unsupported("ORDER BY ALL")),
    }
}

/// As Postgres orders: nulls last, first where it is descending.
pub(super) fn in_order(order: &[OrderByExpr], a: &[Value], b: &[Value]) -> Ordering {
    for (one, (a, b)) in order.iter().zip(a.iter().zip(b)) {
        let descending = one.options.asc == Some(false);
        let nulls_first = one.options.nulls_first.unwrap_or(descending);
        let by = match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => {
                let by = a.compared(b).unwrap_or(Ordering::Equal);
                if descending { by.reverse() } else { by }
            }
        };
        if by != Ordering::Equal {
            return by;
        }
    }
    Ordering::Equal
}

fn distinct(rows: Vec<Row>) -> Vec<Row> {
    let mut seen = HashSet::new();
    rows.into_iter().filter(|row| seen.insert(format!("{row:?}"))).collect()
}
