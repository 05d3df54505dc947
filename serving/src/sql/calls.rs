//! Calls of functions in a part of a statement: its own, not those of queries within it.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{Expr, Function, Query, Spanned, Visit, Visitor},
    tokenizer::Span,
};

/// Where `part` first calls a function that `is_wanted`.
pub(crate) fn first(part: &impl Visit, is_wanted: impl Fn(&Function) -> bool) -> Option<Span> {
    match part.visit(&mut Finder { is_wanted, depth: 0 }) {
        ControlFlow::Break(span) => Some(span),
        ControlFlow::Continue(()) => None,
    }
}

struct Finder<F> {
    is_wanted: F,
    /// How many queries are around what is looked at.
    depth: usize,
}

impl<F: Fn(&Function) -> bool> Visitor for Finder<F> {
    type Break = Span;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        match expr {
            Expr::Function(function) if self.depth == 0 && (self.is_wanted)(function) => {
                ControlFlow::Break(function.span())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
