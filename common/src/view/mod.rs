//! Views: named questions over one source, each one `SELECT` (DESIGN §4).

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{
    expression::Expression,
    grain::Grain,
    measure::{Measure, StateSpec},
    names::{SourceName, ViewName},
    schema::{ColumnType, timestamp_type},
};

mod aggregate;
mod argument;
mod identity;
mod parse;
mod select;
mod statement;

pub use identity::STATE_FORMAT;
pub use parse::parse;
pub(crate) use parse::parse_with_place;

/// The identity of a view: a hash of its normalised definition and of the types of the columns it reads. A changed view
/// is a new view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ViewId(Arc<str>);

impl ViewId {
    /// The identity with this text: 16 hexadecimal digits.
    #[must_use]
    pub fn new(hex: &str) -> Self {
        Self(hex.into())
    }

    /// The identity as text, fit for a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A dimension: what a view groups by besides the bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Its name in partials, queries and answers.
    pub name: String,
    /// Where its values come from; an expression over event columns.
    pub input: Expression,
}

impl Dimension {
    /// The type of its values; they may be null.
    #[must_use]
    pub fn column_type(&self) -> ColumnType {
        self.input.column_type()
    }
}

/// A named question: source, filter, grain, dimensions, measures.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The name it is asked by.
    pub name: ViewName,
    /// What it is, whatever it is called.
    pub id: ViewId,
    /// The source it is about.
    pub source: SourceName,
    /// The normalised `SELECT`.
    pub sql: String,
    /// Which events count; all if `None`.
    pub filter: Option<Expression>,
    /// The name of the bucket column in queries and answers (`hour` in `date_trunc('hour', …) AS hour`).
    pub bucket_name: String,
    /// The event column that is bucketed: the source's event-time column.
    pub time_column: String,
    /// The time step.
    pub grain: Grain,
    /// The dimensions, in the order of the `SELECT`.
    pub dimensions: Vec<Dimension>,
    /// The states that the measures are finished from, each once.
    pub states: Vec<StateSpec>,
    /// The measures, in the order of the `SELECT`.
    pub measures: Vec<Measure>,
}

impl View {
    /// The Arrow schema of this view's partials: the bucket (µs, UTC, not null), the dimensions, the states.
    #[must_use]
    pub fn partial_schema(&self) -> SchemaRef {
        let bucket = Field::new(&self.bucket_name, timestamp_type(), false);
        let dimensions = self.dimensions.iter().map(|d| Field::new(&d.name, d.column_type().arrow(), true));
        let states = self.states.iter().map(StateSpec::field);
        let fields: Vec<Field> = std::iter::once(bucket).chain(dimensions).chain(states).collect();
        Arc::new(ArrowSchema::new(fields))
    }

    /// The types of a partial's key columns: the bucket, then the dimensions.
    #[must_use]
    pub fn key_types(&self) -> Vec<ColumnType> {
        let dimensions = self.dimensions.iter().map(Dimension::column_type);
        std::iter::once(ColumnType::Timestamp).chain(dimensions).collect()
    }

    /// The expressions that this view evaluates: of its states, its dimensions and its filter.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let inputs = self.states.iter().flat_map(StateSpec::reads);
        let dimensions = self.dimensions.iter().map(|dimension| &dimension.input);
        inputs.chain(dimensions).chain(&self.filter)
    }

    /// The event columns that this view reads, by name.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&str> {
        let columns = self.expressions().flat_map(|expression| expression.columns()).map(String::as_str);
        columns.chain([self.time_column.as_str()]).collect()
    }

    /// The measure of this name.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|m| m.name == name)
    }

    /// The dimension of this name.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions.iter().find(|d| d.name == name)
    }
}

#[cfg(test)]
mod tests;
