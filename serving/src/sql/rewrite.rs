//! Rewriting a statement so that Polars can run it: every view that it reads becomes a table of its own, and every grouping with
//! `MEASURE` becomes the table of its groups. What is no view and no name of the statement itself is refused, and so is what reads
//! files, or multiplies tables without a condition.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use common::{names::ViewName, suggest, view::View};
use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    Spanned, Statement, TableAlias, TableFactor, Visit, Visitor, VisitorMut,
};

use super::{
    fault::Fault,
    select,
    tables::{Reads, Wanted},
};

/// What the tables that views become are called: a name that no view can have.
const TABLE: &str = "__view_";

/// The rewriting of one statement.
#[derive(Debug)]
pub(super) struct Rewrite<'v> {
    views: &'v BTreeMap<ViewName, Arc<View>>,
    /// The names that the statement gives to queries in it.
    own: HashSet<String>,
    /// Every column that may be read of a view.
    reads: Reads,
    pub(super) tables: Vec<Wanted>,
}

impl<'v> Rewrite<'v> {
    pub(super) fn new(views: &'v BTreeMap<ViewName, Arc<View>>, statement: &Statement) -> Self {
        let mut names = Names::default();
        let _ = statement.visit(&mut names);
        Self { views, own: names.own, reads: names.reads, tables: Vec::new() }
    }

    /// The view that `factor` names; `None` if that is a name of the statement's own.
    fn view(&self, name: &ObjectName) -> Result<Option<&'v Arc<View>>, Fault> {
        let text = name.to_string().replace('"', "");
        if self.own.contains(&text.to_lowercase()) || text.starts_with(TABLE) {
            return Ok(None);
        }
        match self.views.get(text.as_str()).or_else(|| self.views.get(text.to_lowercase().as_str())) {
            Some(view) => Ok(Some(view)),
            None => {
                let hint = suggest::hint(&text, self.views.keys().map(ViewName::as_str));
                Err(Fault::new(name, format!("there is no view `{text}`{hint}")))
            }
        }
    }

    /// Lets `factor`, which names a view, name the table `wanted`. It is called as before.
    fn replace(&mut self, factor: &mut TableFactor, wanted: Wanted) {
        if let TableFactor::Table { name, alias, .. } = factor {
            let table = format!("{TABLE}{}", self.tables.len());
            let called = name.0.last().map(|part| part.to_string().replace('"', "")).unwrap_or_default();
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::with_quote('"', called),
                columns: Vec::new(),
                at: None,
            });
            *name = ObjectName::from(vec![Ident::new(table.clone())]);
            self.tables.push(Wanted { table, ..wanted });
        }
    }

    fn select(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<(), Fault> {
        let only = match select.from.as_slice() {
            [from] if from.joins.is_empty() => match &from.relation {
                TableFactor::Table { name, args: None, .. } => self.view(name)?,
                _ => None,
            },
            _ => None,
        };
        let measured = select::measures(select, order_by.as_deref());
        let wanted = match (only, measured) {
            (None, None) => return Ok(()),
            (None, Some(span)) => {
                return Err(Fault {
                    span,
                    message: "MEASURE is of one view: group it in a query of its own (FROM a view, without a join), and join that".to_owned(),
                });
            }
            (Some(view), Some(_)) => select::grouped(view, select, order_by)?,
            (Some(view), None) => select::filtered(view, select, &self.reads),
        };
        let mut factor = select.from[0].relation.clone();
        self.replace(&mut factor, wanted);
        select.from[0].relation = factor;
        Ok(())
    }
}

fn flow(result: Result<(), Fault>) -> ControlFlow<Fault> {
    result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

impl VisitorMut for Rewrite<'_> {
    type Break = Fault;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Fault> {
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return ControlFlow::Break(Fault::new(query, "nothing here can be locked: leave FOR … away"));
        }
        match query.body.as_mut() {
            SetExpr::Select(select) => flow(self.select(select, query.order_by.as_mut())),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                ControlFlow::Break(Fault::new(query, "only SELECT is answered: nothing here can be changed"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Fault> {
        if let Some(into) = &select.into {
            return ControlFlow::Break(Fault::new(&into.name, "nothing here can be written: leave INTO away"));
        }
        if select.from.len() > 1 {
            let message = "tables side by side are multiplied: JOIN them ON what they have in common";
            return ControlFlow::Break(Fault { span: select.from[1].span(), message: message.to_owned() });
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if !is_conditional(&join.join_operator) {
                let message = "a join needs ON or USING: without one, every row would meet every other";
                return ControlFlow::Break(Fault { span: join.span(), message: message.to_owned() });
            }
        }
        flow(self.select(select, None))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Fault> {
        let view = match factor {
            TableFactor::Table { name, args: None, .. } => self.view(name),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => Ok(None),
            _ => Err(Fault::new(factor, "only views and queries over them can be read")),
        };
        match view {
            Ok(None) => ControlFlow::Continue(()),
            Err(fault) => ControlFlow::Break(fault),
            Ok(Some(view)) => {
                let wanted = Wanted::whole(view, &self.reads, None);
                self.replace(factor, wanted);
                ControlFlow::Continue(())
            }
        }
    }
}

fn is_conditional(join: &JoinOperator) -> bool {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)
    | JoinOperator::Semi(constraint)
    | JoinOperator::LeftSemi(constraint)
    | JoinOperator::RightSemi(constraint)
    | JoinOperator::Anti(constraint)
    | JoinOperator::LeftAnti(constraint)
    | JoinOperator::RightAnti(constraint)) = join
    else {
        return false;
    };
    match constraint {
        JoinConstraint::On(condition) => compares_columns(condition),
        JoinConstraint::Using(columns) => !columns.is_empty(),
        _ => false,
    }
}

/// Whether a condition has an equation of two columns that all others are joined to by AND.
fn compares_columns(condition: &Expr) -> bool {
    use sqlparser::ast::BinaryOperator as Op;
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    match condition {
        Expr::Nested(inner) => compares_columns(inner),
        Expr::BinaryOp { left, op: Op::And, right } => compares_columns(left) || compares_columns(right),
        Expr::BinaryOp { left, op: Op::Eq, right } => is_column(left) && is_column(right),
        _ => false,
    }
}

/// The names that a statement gives and reads.
#[derive(Debug, Default)]
struct Names {
    own: HashSet<String>,
    reads: Reads,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.own.insert(table.alias.name.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        self.reads.all |= select.projection.iter().any(all);
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let JoinOperator::Join(JoinConstraint::Using(names))
            | JoinOperator::Inner(JoinConstraint::Using(names))
            | JoinOperator::Left(JoinConstraint::Using(names))
            | JoinOperator::LeftOuter(JoinConstraint::Using(names))
            | JoinOperator::FullOuter(JoinConstraint::Using(names)) = &join.join_operator
            {
                self.reads.names.extend(names.iter().map(|name| name.to_string().replace('"', "")));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => drop(self.reads.names.insert(name.value.clone())),
            Expr::CompoundIdentifier(parts) => self.reads.names.extend(parts.last().map(|name| name.value.clone())),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The expressions of an `ORDER BY`.
pub(super) fn ordered(order_by: &mut OrderBy) -> impl Iterator<Item = &mut Expr> {
    match &mut order_by.kind {
        OrderByKind::Expressions(expressions) => {
            expressions.iter_mut().map(|one| &mut one.expr).collect::<Vec<_>>().into_iter()
        }
        OrderByKind::All(_) => Vec::new().into_iter(),
    }
}
