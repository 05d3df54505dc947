//! From text to the one `SELECT` in it: the shape of a view's file, before anything has a type.

use sqlparser::{
    ast::{
        CreateView, Expr, GroupByExpr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Spanned, Statement,
        TableFactor,
    },
    dialect::GenericDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};

use crate::{expression::Fault, names::ViewName};

const SHAPE: &str = "a view is CREATE VIEW name AS SELECT … FROM source [WHERE …] GROUP BY …";

/// A view's statement: nothing in it but what a view may have.
#[derive(Debug)]
pub(super) struct ViewStatement {
    pub(super) name: ViewName,
    /// Where the name stands.
    pub(super) name_span: Span,
    /// The source's name, folded to lower case unless it was quoted.
    pub(super) source: Ident,
    pub(super) projection: Vec<SelectItem>,
    pub(super) filter: Option<Expr>,
    pub(super) group_by: Vec<Expr>,
    /// Where the `SELECT` keyword stands.
    pub(super) select: Span,
}

/// The view's statement in `sql`.
///
/// # Errors
/// What keeps `sql` from being one.
pub(super) fn parse(sql: &str) -> Result<ViewStatement, Vec<Fault>> {
    let tokens = Tokenizer::new(&GenericDialect, sql)
        .tokenize_with_location()
        .map_err(|error| vec![Fault::new(point(error.location), error.message)])?;
    let statements = Parser::new(&GenericDialect).with_tokens_with_locations(tokens.clone()).parse_statements();
    let statements = statements.map_err(|error| vec![syntax_fault(&error, &tokens)])?;
    let mut statements = statements.into_iter();
    let (Some(statement), None) = (statements.next(), statements.next()) else {
        let mut after = tokens.iter().skip_while(|token| token.token != Token::SemiColon);
        let second =
            after.find(|token| matches!(token.token, Token::Word(_))).map_or(Span::empty(), |token| token.span);
        return Err(vec![Fault::new(second, "a view's file holds one statement").help(SHAPE)]);
    };
    let Statement::CreateView(create) = statement else {
        return Err(vec![Fault::new(first_word(&tokens), "this is no view").help(SHAPE)]);
    };
    Shape { tokens: &tokens, faults: Vec::new() }.view(create)
}

struct Shape<'a> {
    tokens: &'a [TokenWithSpan],
    faults: Vec<Fault>,
}

impl Shape<'_> {
    fn view(mut self, create: CreateView) -> Result<ViewStatement, Vec<Fault>> {
        if create.to_string() != format!("CREATE VIEW {} AS {}", create.name, create.query) {
            self.faults.push(Fault::new(first_word(self.tokens), "CREATE VIEW takes a name only").help(SHAPE));
        }
        let name = self.name(&create.name);
        let Some(select) = self.select(*create.query) else { return Err(self.faults) };
        let source = self.source(&select);
        self.clauses(&select);
        let group_by = match select.group_by {
            GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => expressions,
            _ => {
                let fault =
                    Fault::new(self.keyword(Keyword::GROUP), "GROUP BY takes names, expressions or ordinals only");
                self.faults.push(fault.help("name the bucket and each dimension"));
                Vec::new()
            }
        };
        match (name, source) {
            (Some(name), Some(source)) if self.faults.is_empty() => Ok(ViewStatement {
                name,
                name_span: create.name.span(),
                source,
                projection: select.projection,
                filter: select.selection,
                group_by,
                select: select.select_token.0.span,
            }),
            _ => Err(self.faults),
        }
    }

    fn name(&mut self, name: &ObjectName) -> Option<ViewName> {
        let Some(ident) = only_ident(name) else {
            self.faults.push(Fault::new(name.span(), format!("`{name}`: a view's name has one part")));
            return None;
        };
        let name = ViewName::new(&ident.value);
        name.map_err(|error| self.faults.push(Fault::new(ident.span, error.to_string()))).ok()
    }

    fn select(&mut self, query: Query) -> Option<Select> {
        let clauses = [
            (query.with.is_some(), Keyword::WITH, "a view reads one source"),
            (query.order_by.is_some(), Keyword::ORDER, "a view's rows have no order; order the answer of a query"),
            (query.limit_clause.is_some(), Keyword::LIMIT, "a view keeps all groups; limit the answer of a query"),
            (query.fetch.is_some(), Keyword::FETCH, "a view keeps all groups; limit the answer of a query"),
        ];
        let known = self.faults.len();
        self.forbid(&clauses);
        let plain = query.to_string() == query.body.to_string();
        match *query.body {
            SetExpr::Select(select) => {
                if !plain && self.faults.len() == known {
                    self.faults.push(
                        Fault::new(select.select_token.0.span, "this clause is not allowed in a view").help(SHAPE),
                    );
                }
                Some(*select)
            }
            SetExpr::SetOperation { op, .. } => {
                let at = [Keyword::UNION, Keyword::INTERSECT, Keyword::EXCEPT, Keyword::MINUS].map(|k| self.keyword(k));
                let at = at.into_iter().find(|span| *span != Span::empty()).unwrap_or(Span::empty());
                self.faults
                    .push(Fault::new(at, format!("{op} is not allowed in a view")).help("a view reads one source"));
                None
            }
            other => {
                self.faults.push(Fault::new(other.span(), "a view is one SELECT").help(SHAPE));
                None
            }
        }
    }

    /// Whatever a `SELECT` may have besides what a view has.
    fn clauses(&mut self, select: &Select) {
        let known = self.faults.len();
        self.forbid(&[
            (select.distinct.is_some(), Keyword::DISTINCT, "the groups of a view are distinct already"),
            (
                select.having.is_some(),
                Keyword::HAVING,
                "groups are finished only in answers; filter the answer of a query",
            ),
            (!select.named_window.is_empty(), Keyword::WINDOW, "a view has aggregates only, no window functions"),
            (select.qualify.is_some(), Keyword::QUALIFY, "a view has aggregates only, no window functions"),
            (select.top.is_some(), Keyword::TOP, "a view keeps all groups; limit the answer of a query"),
            (select.from.iter().any(|from| !from.joins.is_empty()), Keyword::JOIN, "a view reads one source"),
        ]);
        let mut rest = select.clone();
        rest.projection = Vec::new();
        rest.from = Vec::new();
        rest.selection = None;
        rest.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        if self.faults.len() == known && rest.to_string().trim() != "SELECT" {
            self.faults
                .push(Fault::new(select.select_token.0.span, "this clause is not allowed in a view").help(SHAPE));
        }
    }

    fn forbid(&mut self, clauses: &[(bool, Keyword, &str)]) {
        for (present, keyword, why) in clauses {
            if *present {
                let name = if *keyword == Keyword::ORDER { "ORDER BY".to_owned() } else { format!("{keyword:?}") };
                let fault = Fault::new(self.keyword(*keyword), format!("{name} is not allowed in a view"));
                self.faults.push(fault.help(*why));
            }
        }
    }

    fn source(&mut self, select: &Select) -> Option<Ident> {
        let fault = match select.from.as_slice() {
            [] => Fault::new(select.select_token.0.span, "there is no FROM"),
            [from] => match &from.relation {
                TableFactor::Table { name, .. } if from.relation.to_string() == name.to_string() => {
                    match only_ident(name) {
                        Some(ident) => return Some(ident),
                        None => Fault::new(name.span(), format!("`{name}`: a source's name has one part")),
                    }
                }
                other => Fault::new(other.span(), format!("`{other}`: FROM takes the name of a source only")),
            },
            [_, second, ..] => Fault::new(second.span(), "a view reads one source"),
        };
        self.faults.push(fault.help(SHAPE));
        None
    }

    /// Where `keyword` first stands; empty if it does not.
    fn keyword(&self, keyword: Keyword) -> Span {
        let is = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == keyword);
        self.tokens.iter().find(is).map_or(Span::empty(), |token| token.span)
    }
}

fn first_word(tokens: &[TokenWithSpan]) -> Span {
    tokens.iter().find(|token| matches!(token.token, Token::Word(_))).map_or(Span::empty(), |token| token.span)
}

/// The only part of `name`, folded to lower case unless it is quoted, as SQL has it.
fn only_ident(name: &ObjectName) -> Option<Ident> {
    let [part] = name.0.as_slice() else { return None };
    let mut ident = part.as_ident()?.clone();
    if ident.quote_style.is_none() {
        ident.value.make_ascii_lowercase();
    }
    Some(ident)
}

fn point(location: Location) -> Span {
    Span::new(location, location)
}

/// sqlparser says only in its message where a syntax error is, and nothing of where the text ends.
fn syntax_fault(error: &ParserError, tokens: &[TokenWithSpan]) -> Fault {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return Fault::new(Span::empty(), error.to_string());
    };
    let located = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.trim().parse().ok()?)))
    });
    match located {
        Some((message, location)) => Fault::new(point(location), format!("syntax error: {message}")),
        None => {
            let end = tokens.last().map_or(Span::empty(), |token| point(token.span.end));
            Fault::new(end, format!("syntax error: {text}")).help(SHAPE)
        }
    }
}
