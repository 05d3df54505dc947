//! What is wrong with an expression and where, and the columns that names in it mean.

use sqlparser::{ast::Ident, tokenizer::Span};

use crate::{schema::ColumnType, suggest};

/// Why an expression is not allowed, and where in the text that was parsed.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Where; maybe empty.
    pub(crate) span: Span,
    /// What is wrong.
    pub(crate) message: String,
    /// What is allowed, and what may have been meant.
    pub(crate) help: Vec<String>,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: Vec::new() }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// The column of `columns` that `ident` means: the one of exactly this name or, unless it is quoted, the only one of this
/// name in any case.
pub(crate) fn resolve<'a>(ident: &Ident, columns: &'a [(String, ColumnType)]) -> Option<&'a (String, ColumnType)> {
    let exact = columns.iter().find(|(name, _)| *name == ident.value);
    let mut loose = columns.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&ident.value));
    exact.or_else(|| match (ident.quote_style, loose.next(), loose.next()) {
        (None, Some(only), None) => Some(only),
        _ => None,
    })
}

/// The fault of a name that is none of `columns`.
pub(crate) fn unknown_column(ident: &Ident, columns: &[(String, ColumnType)]) -> Fault {
    let names = || columns.iter().map(|(name, _)| name.as_str());
    let fault = Fault::new(ident.span, format!("there is no column `{}`", ident.value));
    let fault = match suggest::nearest(&ident.value, names()) {
        Some(name) => fault.help(format!("did you mean `{name}`?")),
        None => fault,
    };
    fault.help(format!("the columns are {}", suggest::list(names())))
}
