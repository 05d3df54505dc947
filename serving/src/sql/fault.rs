//! What is wrong with a statement, and where.

use sqlparser::{
    ast::{Ident, Spanned},
    tokenizer::Span,
};

/// A fault at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(place: &impl Spanned, message: impl Into<String>) -> Self {
        Self { span: place.span(), message: message.into() }
    }

    pub(super) fn at_name(name: &Ident, message: impl Into<String>) -> Self {
        Self { span: name.span, message: message.into() }
    }
}

/// `message` with the place, as sqlparser says it; without one, if it is not known.
pub(super) fn at(span: Span, message: &str) -> String {
    match (span.start.line, span.start.column) {
        (0, _) => message.to_owned(),
        (line, column) => format!("{message} at Line: {line}, Column: {column}"),
    }
}
