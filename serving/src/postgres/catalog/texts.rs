//! What SQL does with texts by words of its own: `LIKE`, `TRIM`, `SUBSTRING`, `POSITION`.

use sqlparser::ast::{Expr, TrimWhereField, ValueWithSpan};

use super::{
    Engine,
    evaluate::literal,
    relation::Scope,
    value::{self, Value},
};
use crate::postgres::fault::Fault;

impl Engine<'_> {
    /// Whether a text is like a pattern.
    pub(super) fn like(
        &self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&ValueWithSpan>,
        negated: bool,
        any_case: bool,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let (text, pattern) = (self.value(expr, scope)?.text(), self.value(pattern, scope)?.text());
        let escape = match escape {
            Some(escape) => literal(escape)?.text().unwrap_or_default().chars().next(),
            None => Some('\\'),
        };
        let chars = |text: String| -> Vec<char> {
            if any_case { text.to_lowercase().chars().collect() } else { text.chars().collect() }
        };
        let like =
            text.zip(pattern).map(|(text, pattern)| value::like(&chars(text), &chars(pattern), escape) != negated);
        Ok(like.into())
    }

    /// A text without what is at its ends, spaces if that is not said.
    pub(super) fn trimmed(
        &self,
        expr: &Expr,
        ends: Option<TrimWhereField>,
        what: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let Some(text) = self.value(expr, scope)?.text() else { return Ok(Value::Null) };
        let what = what.map(|what| self.value(what, scope)).transpose()?;
        let what: Vec<char> = what.and_then(|what| what.text()).unwrap_or_else(|| " ".to_owned()).chars().collect();
        Ok(Value::from(match ends {
            Some(TrimWhereField::Leading) => text.trim_start_matches(&what[..]),
            Some(TrimWhereField::Trailing) => text.trim_end_matches(&what[..]),
            _ => text.trim_matches(&what[..]),
        }))
    }

    /// A part of a text, `length` characters from the one numbered `from`, counted from 1.
    pub(super) fn substring(
        &self,
        expr: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Value, Fault> {
        let Some(text) = self.value(expr, scope)?.text() else { return Ok(Value::Null) };
        let number = |part: &Expr| self.value(part, scope).map(|number| number.int());
        let from = from.map(number).transpose()?.flatten().unwrap_or(1).max(1) as usize - 1;
        let length = length.map(number).transpose()?.flatten().map_or(usize::MAX, |length| length.max(0) as usize);
        Ok(text.chars().skip(from).take(length).collect::<String>().into())
    }

    /// Where `what` first is in a text, counted from 1; 0 if it is not.
    pub(super) fn position(&self, what: &Expr, text: &Expr, scope: &Scope<'_>) -> Result<Value, Fault> {
        let (what, text) = (self.value(what, scope)?.text(), self.value(text, scope)?.text());
        let at =
            |(what, text): (String, String)| text.find(&what).map_or(0, |at| text[..at].chars().count() as i64 + 1);
        Ok(what.zip(text).map(at).into())
    }
}
