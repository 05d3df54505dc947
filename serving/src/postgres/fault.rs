//! What is wrong, as Postgres says it: a SQLSTATE, a message, and where in the text.

use pgwire::error::ErrorInfo;
use sqlparser::tokenizer::Location;

use crate::{access::Refused, query};

/// A fault of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The SQLSTATE.
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The line and the column, from 1.
    place: Option<(u64, u64)>,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None }
    }

    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("{what} is not supported"))
    }

    pub(super) fn read_only(what: &str) -> Self {
        Self::new("25006", format!("cannot execute {what} in a read-only transaction: nothing here can be changed"))
    }

    pub(super) fn at(mut self, place: Location) -> Self {
        self.place = (place.line > 0).then_some((place.line, place.column));
        self
    }

    /// A fault whose message may end by saying where, as those of the parser do.
    pub(super) fn placed(code: &'static str, message: &str) -> Self {
        let numbers = |text: &str| -> Option<(u64, u64)> {
            let (line, column) = text.split_once(", Column: ")?;
            let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
            Some((line.parse().ok()?, column[..digits].parse().ok()?))
        };
        match message.rsplit_once(" at Line: ").and_then(|(before, after)| Some((before, numbers(after)?))) {
            Some((before, place)) => Self { code, message: before.to_owned(), place: Some(place) },
            None => Self::new(code, message),
        }
    }

    /// As it is sent, about the statement `sql`.
    pub(super) fn info(self, sql: &str, severity: &str) -> ErrorInfo {
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), self.message);
        info.severity_nonlocalized = Some(severity.to_owned());
        info.position = self.place.map(|place| position(sql, place).to_string());
        info
    }
}

/// The number of the character, from 1, at a line and a column.
fn position(sql: &str, (line, column): (u64, u64)) -> u64 {
    let before = sql.split('\n').take(line.saturating_sub(1) as usize).map(|line| line.chars().count() as u64 + 1);
    before.sum::<u64>() + column
}

impl From<query::Error> for Fault {
    fn from(error: query::Error) -> Self {
        match error {
            query::Error::Invalid(errors) => {
                let detail = errors.first().map(|error| error.detail.clone()).unwrap_or_default();
                Self::placed(state_of(&detail), &detail)
            }
            query::Error::Sql(detail) => Self::placed(state_of(&detail), &detail),
            query::Error::TooManyGroups { .. } => Self::new("54000", error.to_string()),
            query::Error::Cancelled => Self::new("57014", "canceling statement due to user request"),
            query::Error::Filter(_) | query::Error::Measure(_) => Self::new("22000", error.to_string()),
            other => Self::new("XX000", other.to_string()),
        }
    }
}

/// The SQLSTATE of what the engine says is wrong with a statement.
fn state_of(detail: &str) -> &'static str {
    const STATES: [(&str, &str); 8] = [
        ("there is no view", "42P01"),
        ("has no measure", "42703"),
        ("sql parser error", "42601"),
        ("unable to find column", "42703"),
        ("not found", "42703"),
        ("unknown column", "42703"),
        ("only SELECT", "25006"),
        ("nothing here can be", "25006"),
    ];
    STATES.iter().find(|(part, _)| detail.contains(part)).map_or("42000", |(_, state)| state)
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Unauthorized(_) => "28000",
            Refused::Forbidden(_) => "42501",
            Refused::TooMany(_) => "53400",
        };
        Self::new(code, refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_character_of_the_text() {
        let fault = Fault::placed("42601", "sql parser error: Expected: end, found: x at Line: 2, Column: 3");
        assert_eq!(fault.message, "sql parser error: Expected: end, found: x");
        assert_eq!(fault.info("é\nabc", "ERROR").position.as_deref(), Some("5"));
        assert_eq!(Fault::placed("42601", "no place").info("", "ERROR").position, None);
    }
}
