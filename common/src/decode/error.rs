//! Why a source cannot be decoded at all: no record is to blame, and a person must look.

use super::misfit::{self, Misfit};
use crate::{registry, schema::Column};

/// Why decoding a source stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema that a record was written with could not be had.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Records are written by a schema that cannot be read into the source's columns. The message shows both.
    #[error(transparent)]
    Incompatible(Box<Incompatible>),
}

impl Error {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_transient())
    }
}

/// A schema, and the columns that it does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{name} does not fit the columns of the source\n{}\n{name}:\n{text}\nthe columns:\n{columns}", lines(misfits))]
pub struct Incompatible {
    name: String,
    text: String,
    columns: String,
    misfits: Vec<Misfit>,
}

impl Incompatible {
    pub(super) fn new(name: String, text: &str, columns: &[Column], misfits: Vec<Misfit>) -> Self {
        Self { name, text: text.to_owned(), columns: misfit::listed(columns), misfits }
    }

    /// The same in one line, without the schemas.
    pub(super) fn brief(&self) -> String {
        let misfits: Vec<String> = self.misfits.iter().map(ToString::to_string).collect();
        format!("{} does not fit the columns of the source: {}", self.name, misfits.join("; "))
    }
}

fn lines(misfits: &[Misfit]) -> String {
    misfits.iter().map(|misfit| format!("  {misfit}")).collect::<Vec<_>>().join("\n")
}
