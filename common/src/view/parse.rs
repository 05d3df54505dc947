//! Views from their SQL: one `CREATE VIEW name AS SELECT …` a file (DESIGN §4).
//!
//! Its stages are the modules beside it: [`statement`](super::statement) finds the `SELECT`, [`select`](super::select)
//! types it, [`aggregate`](super::aggregate) turns its aggregates into states, [`identity`](super::identity) names it.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

use super::{View, select, statement};
use crate::{
    expression::Fault,
    pipeline::{Diagnostic, Sources},
};

/// The view that `sql` defines over one of `sources`. `file` is what diagnostics call the text.
///
/// # Errors
/// Everything found wrong with it, in the order of the text; at least one.
pub fn parse(sql: &str, file: &str, sources: &Sources) -> Result<View, Vec<Diagnostic>> {
    parse_with_place(sql, file, sources).map(|(view, _)| view)
}

/// [`parse`], with the bytes of `sql` where the view's name stands.
///
/// # Errors
/// See [`parse`].
pub(crate) fn parse_with_place(
    sql: &str,
    file: &str,
    sources: &Sources,
) -> Result<(View, Range<usize>), Vec<Diagnostic>> {
    let view = statement::parse(sql).and_then(|statement| {
        let view = select::view(&statement, sources)?;
        Ok((view, bytes(sql, statement.name_span)))
    });
    view.map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.span.start);
        faults.into_iter().map(|fault| diagnostic(fault, sql, file)).collect()
    })
}

fn diagnostic(fault: Fault, sql: &str, file: &str) -> Diagnostic {
    let diagnostic = if fault.span == Span::empty() {
        Diagnostic::of_file(file, fault.message)
    } else {
        Diagnostic::at(file, sql, bytes(sql, fault.span), fault.message)
    };
    fault.help.into_iter().fold(diagnostic, Diagnostic::help)
}

/// The bytes of `span`, whose lines and columns count from 1, in characters.
fn bytes(text: &str, span: Span) -> Range<usize> {
    let byte = |at: Location| {
        let line = text.split_inclusive('\n').take((at.line as usize).saturating_sub(1)).map(str::len).sum::<usize>();
        let characters = text[line..].chars().take((at.column as usize).saturating_sub(1));
        line + characters.map(char::len_utf8).sum::<usize>()
    };
    byte(span.start)..byte(span.end)
}
