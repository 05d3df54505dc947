//! From a view's statement to the typed view.

use sqlparser::{
    ast::{Expr, Ident, SelectItem, Spanned, Value, ValueWithSpan},
    tokenizer::Span,
};

use super::{
    Dimension, View, ViewId,
    aggregate::{self, Aggregate, Scope},
    identity,
    statement::ViewStatement,
};
use crate::{
    expression::{Expression, Fault, bucket, is_bucket, resolve, unnested},
    grain::Grain,
    limits::{NAME_LENGTH_MAX, VIEW_DIMENSIONS_MAX},
    measure::Measure,
    pipeline::{Source, Sources},
    schema::ColumnType,
    suggest,
};

/// One column of the `SELECT`.
struct Item {
    name: String,
    span: Span,
    kind: Kind,
}

enum Kind {
    Bucket(Grain),
    Dimension(Expression),
    Measure(Aggregate),
}

/// The view that `statement` defines over one of `sources`.
///
/// # Errors
/// Everything found wrong with it.
pub(super) fn view(statement: &ViewStatement, sources: &Sources) -> Result<View, Vec<Fault>> {
    let source =
        sources.get(statement.source.value.as_str()).ok_or_else(|| vec![unknown_source(statement, sources)])?;
    let columns = source.rules.schema.columns().iter().map(|c| (c.name.clone(), c.column_type)).collect();
    let mut typing = Typing { source, columns, faults: Vec::new() };
    let items: Vec<Option<Item>> = statement.projection.iter().map(|item| typing.item(item)).collect();
    let filter = statement.filter.as_ref().and_then(|filter| typing.filter(filter));
    // A column that is wrong already would only be reported again as missing.
    if typing.faults.is_empty() {
        typing.group_by(statement, &items);
        typing.shape(statement, &items);
    }
    if !typing.faults.is_empty() {
        return Err(typing.faults);
    }
    Ok(assemble(statement, source, items.into_iter().flatten(), filter))
}

fn unknown_source(statement: &ViewStatement, sources: &Sources) -> Fault {
    let names = || sources.keys().map(|name| name.as_str());
    let name = &statement.source.value;
    let fault = Fault::new(statement.source.span, format!("there is no source `{name}`"));
    let fault = match suggest::nearest(name, names()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    };
    fault.help(format!("the sources are {}", suggest::list(names())))
}

fn assemble(
    statement: &ViewStatement,
    source: &Source,
    items: impl Iterator<Item = Item>,
    filter: Option<Expression>,
) -> View {
    let mut view = View {
        name: statement.name.clone(),
        id: ViewId::new(""),
        source: source.name.clone(),
        sql: String::new(),
        filter,
        bucket_name: String::new(),
        time_column: source.rules.event_time.clone(),
        grain: Grain::HOUR,
        dimensions: Vec::new(),
        states: Vec::new(),
        measures: Vec::new(),
    };
    for Item { name, kind, .. } in items {
        match kind {
            Kind::Bucket(grain) => (view.bucket_name, view.grain) = (name, grain),
            Kind::Dimension(input) => view.dimensions.push(Dimension { name, input }),
            Kind::Measure(aggregate) => {
                let finish = aggregate.finish(&mut view.states);
                view.measures.push(Measure::new(&name, finish, &view.states));
            }
        }
    }
    view.sql = identity::sql(&view);
    view.id = identity::id(&view);
    view
}

struct Typing<'a> {
    source: &'a Source,
    columns: Vec<(String, ColumnType)>,
    faults: Vec<Fault>,
}

impl Typing<'_> {
    fn item(&mut self, item: &SelectItem) -> Option<Item> {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            other => {
                let fault = Fault::new(other.span(), format!("`{other}` is not allowed in a view"));
                self.faults.push(fault.help("name each dimension and measure"));
                return None;
            }
        };
        let item =
            self.kind(expr).and_then(|kind| Ok(Item { name: name(&kind, expr, alias)?, span: item.span(), kind }));
        item.map_err(|fault| self.faults.push(placed(fault, item_span(expr, alias)))).ok()
    }

    fn kind(&self, expr: &Expr) -> Result<Kind, Fault> {
        match unnested(expr) {
            meant if is_bucket(meant) => match self.bucket(meant)? {
                Some(grain) => Ok(Kind::Bucket(grain)),
                None => Expression::from_ast(meant, &self.columns).map(Kind::Dimension),
            },
            Expr::Function(function) if aggregate::is_meant(function) => {
                aggregate::aggregate(function, self.scope()).map(Kind::Measure)
            }
            other => Expression::from_ast(other, &self.columns).map(Kind::Dimension),
        }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { columns: &self.columns, event_time: &self.source.rules.event_time }
    }

    /// The grain of `expr`, a bucket, if it is one of the event time: those of other columns are dimensions.
    fn bucket(&self, expr: &Expr) -> Result<Option<Grain>, Fault> {
        let (column, grain) = bucket(expr, &self.columns)?;
        Ok((column == self.source.rules.event_time).then_some(grain))
    }

    fn filter(&mut self, filter: &Expr) -> Option<Expression> {
        let expression =
            Expression::from_ast(filter, &self.columns).and_then(|expression| match expression.column_type() {
                ColumnType::Bool => Ok(expression),
                other => Err(Fault::new(filter.span(), format!("WHERE takes a condition, and this is {other}"))
                    .help("a condition is true or false, as delay_minutes > 15")),
            });
        expression.map_err(|fault| self.faults.push(placed(fault, filter.span()))).ok()
    }

    /// `GROUP BY` must name the bucket and the dimensions, all of them and nothing else.
    fn group_by(&mut self, statement: &ViewStatement, items: &[Option<Item>]) {
        let known = self.faults.len();
        let mut grouped = vec![false; items.len()];
        for expr in &statement.group_by {
            match self.grouped(expr, items) {
                Ok(index) => grouped[index] = true,
                Err(fault) => self.faults.push(placed(fault, statement.select)),
            }
        }
        for (item, grouped) in items.iter().zip(grouped) {
            let Some(Item { name, span, kind: Kind::Bucket(_) | Kind::Dimension(_) }) = item else { continue };
            // What is wrong in GROUP BY may have been meant to be this.
            if !grouped && self.faults.len() == known {
                let fault = Fault::new(*span, format!("`{name}` is neither an aggregate nor in GROUP BY"));
                self.faults.push(fault.help("GROUP BY names the bucket and each dimension"));
            }
        }
    }

    /// Which of `items` is meant by `expr`, an item of `GROUP BY`: a name, an ordinal or an expression.
    fn grouped(&self, expr: &Expr, items: &[Option<Item>]) -> Result<usize, Fault> {
        let index = match unnested(expr) {
            Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text
                .parse::<usize>()
                .ok()
                .and_then(|ordinal| ordinal.checked_sub(1))
                .filter(|index| *index < items.len()),
            Expr::Identifier(ident) => self.named(ident, items),
            meant if is_bucket(meant) && self.bucket(meant)?.is_some() => {
                let grain = self.bucket(meant)?;
                position(items, |item| matches!(item.kind, Kind::Bucket(bucket) if Some(bucket) == grain))
            }
            other => {
                let expression = Expression::from_ast(other, &self.columns)?;
                position(items, |item| matches!(&item.kind, Kind::Dimension(input) if *input == expression))
            }
        };
        let fault = |message: String| {
            let names = items.iter().flatten().filter(|item| !matches!(item.kind, Kind::Measure(_)));
            Fault::new(expr.span(), message)
                .help(format!("GROUP BY takes {}", suggest::list(names.map(|item| item.name.as_str()))))
        };
        match index {
            Some(index) if matches!(&items[index], Some(Item { kind: Kind::Measure(_), .. })) => {
                Err(fault(format!("`{expr}` is an aggregate")))
            }
            Some(index) => Ok(index),
            None => Err(fault(format!("`{expr}` is not in the SELECT"))),
        }
    }

    /// The item that a name in `GROUP BY` means: by its own name or, failing that, by the column it is.
    fn named(&self, ident: &Ident, items: &[Option<Item>]) -> Option<usize> {
        let exact = position(items, |item| item.name == ident.value);
        let loose =
            || position(items, |item| ident.quote_style.is_none() && item.name.eq_ignore_ascii_case(&ident.value));
        let column = || {
            let (column, _) = resolve(ident, &self.columns)?;
            position(items, |item| matches!(&item.kind, Kind::Dimension(input) if input.as_column() == Some(column)))
        };
        exact.or_else(loose).or_else(column)
    }

    /// What must be there once, and what must not be there twice.
    fn shape(&mut self, statement: &ViewStatement, items: &[Option<Item>]) {
        let items: Vec<&Item> = items.iter().flatten().collect();
        let buckets: Vec<&&Item> = items.iter().filter(|item| matches!(item.kind, Kind::Bucket(_))).collect();
        let event_time = &self.source.rules.event_time;
        match buckets.as_slice() {
            [_] => {}
            [] => self.faults.push(
                Fault::new(statement.select, "the view has no bucket")
                    .help(format!("select date_trunc('hour', {event_time}) AS hour, say, and group by it")),
            ),
            [_, second, ..] => self.faults.push(Fault::new(second.span, "the view has a bucket already")),
        }
        if !items.iter().any(|item| matches!(item.kind, Kind::Measure(_))) {
            self.faults.push(Fault::new(statement.select, "the view has no measure").help("count(*) is one, say"));
        }
        let dimensions = items.iter().filter(|item| matches!(item.kind, Kind::Dimension(_))).count();
        if dimensions > VIEW_DIMENSIONS_MAX {
            let message = format!("{dimensions} dimensions are too many");
            self.faults
                .push(Fault::new(statement.select, message).help(format!("at most {VIEW_DIMENSIONS_MAX} are allowed")));
        }
        for (index, item) in items.iter().enumerate() {
            if items[..index].iter().any(|other| other.name == item.name) {
                let fault = Fault::new(item.span, format!("the name `{}` is taken", item.name));
                self.faults.push(fault.help("give one of them another name with AS"));
            }
        }
    }
}

/// What a column of the view is called: by its alias or, where one is plain, by the name it suggests.
fn name(kind: &Kind, expr: &Expr, alias: Option<&Ident>) -> Result<String, Fault> {
    let default = || match kind {
        Kind::Bucket(grain) => Some(grain.name()).filter(|name| !name.contains(' ')),
        Kind::Dimension(input) => input.as_column().map(str::to_owned),
        Kind::Measure(aggregate) => aggregate.default_name(),
    };
    let name = alias.map(|alias| alias.value.clone()).or_else(default);
    let name = name.ok_or_else(|| Fault::new(expr.span(), "this has no name").help("give it one with AS"))?;
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.len() <= NAME_LENGTH_MAX && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(letters)
    {
        return Ok(name);
    }
    let span = alias.map_or_else(|| expr.span(), |alias| alias.span);
    let allowed = format!("names have 1 to {NAME_LENGTH_MAX} of a-z, A-Z, 0-9 and _, and start with a letter");
    Err(Fault::new(span, format!("`{name}` cannot be a name")).help(allowed))
}

fn position(items: &[Option<Item>], is: impl Fn(&Item) -> bool) -> Option<usize> {
    items.iter().position(|item| item.as_ref().is_some_and(&is))
}

fn item_span(expr: &Expr, alias: Option<&Ident>) -> Span {
    expr.span().union(&alias.map_or(Span::empty(), |alias| alias.span))
}

/// `fault`, at `span` if it does not know its place.
fn placed(fault: Fault, span: Span) -> Fault {
    if fault.span == Span::empty() { Fault { span, ..fault } } else { fault }
}
