//! The tables of a query over the catalogue, joined.

use std::collections::HashMap;

use pgwire::api::Type;
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor,
    TableWithJoins,
};

use super::{
    Engine,
    calls::{expression, last_name},
    relation::{Column, Found, Relation, Row, Scope},
    tables,
    value::Value,
};
use crate::postgres::fault::Fault;

impl Engine<'_> {
    /// All rows of `from` beside each other.
    pub(super) fn from(&self, from: &[TableWithJoins], around: &Scope<'_>) -> Result<Relation, Fault> {
        let mut whole = Relation { rows: vec![Row::new()], ..Relation::default() };
        for one in from {
            let right = self.factor(&one.relation, &whole, around)?;
            whole = self.joined(&whole, right, None, false, around)?;
            for join in &one.joins {
                whole = self.join(&whole, join, around)?;
            }
        }
        Ok(whole)
    }

    fn join(&self, left: &Relation, join: &Join, around: &Scope<'_>) -> Result<Relation, Fault> {
        let right = self.factor(&join.relation, left, around)?;
        let (constraint, outer) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Some(constraint), false),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Some(constraint), true),
            JoinOperator::CrossJoin(_) => (None, false),
            _ => return Err(Fault::unsupported("this kind of join over the catalogue")),
        };
        let condition = match constraint {
            Some(JoinConstraint::On(condition)) => Some(condition.clone()),
            Some(JoinConstraint::Using(names)) => using(names, left, &right),
            Some(JoinConstraint::Natural) => return Err(Fault::unsupported("NATURAL JOIN over the catalogue")),
            Some(JoinConstraint::None) | None => None,
        };
        self.joined(left, right, condition.as_ref(), outer, around)
    }

    /// Each row of `left` beside each of `right` that `on` holds for; with `outer`, beside nulls if there is none.
    fn joined(
        &self,
        left: &Relation,
        right: Relation,
        on: Option<&Expr>,
        outer: bool,
        around: &Scope<'_>,
    ) -> Result<Relation, Fault> {
        let mut whole = left.beside(&right);
        if !self.rows {
            return Ok(whole);
        }
        let equal = on.map(|on| equations(on, left, &right)).unwrap_or_default();
        let mut index: HashMap<Vec<Option<String>>, Vec<&Row>> = HashMap::new();
        for row in &right.rows {
            index.entry(equal.iter().map(|(_, at)| row[*at].text()).collect()).or_default().push(row);
        }
        let mut rows = Vec::new();
        for row in &left.rows {
            let key: Vec<Option<String>> = equal.iter().map(|(at, _)| row[*at].text()).collect();
            let mut found = false;
            for other in index.get(&key).into_iter().flatten() {
                self.step()?;
                let both: Row = row.iter().chain(*other).cloned().collect();
                let scope = around.within(&whole, Some(&both));
                if on.map_or(Ok(true), |on| self.value(on, &scope).map(|value| value.holds()))? {
                    found = true;
                    rows.push(both);
                }
            }
            if !found && outer {
                let nulls = std::iter::repeat_n(Value::Null, right.columns.len());
                rows.push(row.iter().cloned().chain(nulls).collect());
            }
        }
        whole.rows = rows;
        Ok(whole)
    }

    fn factor(&self, factor: &TableFactor, left: &Relation, around: &Scope<'_>) -> Result<Relation, Fault> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => self.table(name, alias.as_ref(), around),
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                self.made(name, &args.args, alias.as_ref(), left, around)
            }
            TableFactor::Function { name, args, alias, .. } => self.made(name, args, alias.as_ref(), left, around),
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                let scope = around.within(left, left.rows.first());
                let mut items = Vec::new();
                for expr in array_exprs {
                    items.extend(self.value(expr, &scope)?.items());
                }
                Ok(one_column("unnest", Type::TEXT, items, alias.as_ref()))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let relation = self.query(subquery, around)?;
                Ok(match alias {
                    Some(alias) => relation.named(&alias.name.value, &column_names(alias)),
                    None => relation,
                })
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.from(std::slice::from_ref(table_with_joins), around)
            }
            other => Err(Fault::unsupported(format!("`{other}` in a query over the catalogue"))),
        }
    }

    fn table(&self, name: &ObjectName, alias: Option<&TableAlias>, around: &Scope<'_>) -> Result<Relation, Fault> {
        let called = last_name(name);
        let schema = name.0.len().checked_sub(2).map(|at| name.0[at].to_string().replace('"', "").to_lowercase());
        let own = around.named.iter().rev().find(|(own, _)| schema.is_none() && own.eq_ignore_ascii_case(&called));
        let relation = match own {
            Some((_, relation)) => relation.clone(),
            None => tables::read(self.facts, schema.as_deref(), &called)
                .ok_or_else(|| Fault::new("42P01", format!("relation \"{name}\" does not exist")))?,
        };
        let relation = if self.rows { relation } else { relation.without_rows() };
        Ok(match alias {
            Some(alias) => relation.named(&alias.name.value, &column_names(alias)),
            None => relation.named(&called, &[]),
        })
    }

    /// The rows that a function makes. It may refer to the first row on its left only, which is all that clients do.
    fn made(
        &self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
        left: &Relation,
        around: &Scope<'_>,
    ) -> Result<Relation, Fault> {
        let called = last_name(name);
        let scope = around.within(left, left.rows.first());
        let args = args.iter().map(|arg| match expression(arg) {
            Some(expr) if self.rows => self.value(expr, &scope),
            _ => Ok(Value::Null),
        });
        let args = args.collect::<Result<Vec<_>, _>>()?;
        Ok(match called.as_str() {
            "generate_series" => {
                let bound = |at: usize| args.get(at).and_then(Value::int);
                let range = bound(0).zip(bound(1)).map(|(from, to)| from..=to.min(from.saturating_add(10_000)));
                one_column(&called, Type::INT4, range.into_iter().flatten().map(Value::Int).collect(), alias)
            }
            "unnest" => {
                let items = args.first().map(Value::items).unwrap_or_default();
                one_column(&called, Type::TEXT, items, alias)
            }
            "string_to_array" => {
                let value = self.call(&called, args)?;
                one_column(&called, Type::TEXT_ARRAY, if self.rows { vec![value] } else { Vec::new() }, alias)
            }
            // What these list there is none of here.
            "pg_get_keywords" | "pg_available_extensions" | "pg_show_all_settings" | "aclexplode" => {
                Relation { vacant: vec![called.clone()], ..Relation::default() }
                    .named(alias.map_or(called.as_str(), |alias| alias.name.value.as_str()), &[])
            }
            _ => return Err(Fault::new("42883", format!("function {called} makes no rows here"))),
        })
    }
}

fn one_column(called: &str, column_type: Type, items: Vec<Value>, alias: Option<&TableAlias>) -> Relation {
    let table = alias.map_or(called, |alias| alias.name.value.as_str());
    let name = alias.and_then(|alias| alias.columns.first()).map_or(table, |column| column.name.value.as_str());
    let column = Column { table: table.to_owned(), name: name.to_owned(), column_type };
    Relation { columns: vec![column], rows: items.into_iter().map(|item| vec![item]).collect(), vacant: Vec::new() }
}

fn column_names(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| column.name.value.clone()).collect()
}

/// The condition that `USING` stands for.
fn using(names: &[ObjectName], left: &Relation, right: &Relation) -> Option<Expr> {
    let column = |relation: &Relation, name: &str| {
        let column = relation.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))?;
        Some(Expr::CompoundIdentifier(vec![Ident::new(&column.table), Ident::new(name)]))
    };
    let equal = names.iter().filter_map(|name| {
        let name = last_name(name);
        let (left, right) = (column(left, &name)?, column(right, &name)?);
        Some(Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) })
    });
    equal.reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) })
}

/// The columns of both sides that `on` says are equal: rows are found by them, not tried one by one.
fn equations(on: &Expr, left: &Relation, right: &Relation) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    match on {
        Expr::Nested(inner) => return equations(inner, left, right),
        Expr::BinaryOp { left: a, op: BinaryOperator::And, right: b } => {
            found.extend(equations(a, left, right));
            found.extend(equations(b, left, right));
        }
        Expr::BinaryOp { left: a, op: BinaryOperator::Eq, right: b } => {
            let sides = (place(a, left).zip(place(b, right))).or_else(|| place(b, left).zip(place(a, right)));
            found.extend(sides);
        }
        _ => {}
    }
    found
}

/// Where the column that `expr` names stands in `relation`, if it says the table.
fn place(expr: &Expr, relation: &Relation) -> Option<usize> {
    let Expr::CompoundIdentifier(parts) = expr else { return None };
    let [.., table, name] = parts.as_slice() else { return None };
    let scope = Scope { relation, row: None, group: None, around: None, named: &[] };
    match scope.find(Some(&table.value), &name.value)? {
        Found::Column(column, _) => relation.columns.iter().position(|other| std::ptr::eq(other, column)),
        Found::Vacant => None,
    }
}
