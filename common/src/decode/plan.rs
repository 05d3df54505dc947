//! How values written by a schema are read into columns: worked out once a schema, whatever kind of schema it is.

use super::{avro, column::Typed, misfit::Misfit, protobuf};
use crate::{
    registry::{Reference, SchemaKind},
    schema::Column,
};

/// A schema as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'s> {
    pub(super) kind: SchemaKind,
    pub(super) text: &'s str,
    /// What it refers to.
    pub(super) references: &'s [Reference],
    /// Which of its messages is meant, if it has several.
    pub(super) message: Message<'s>,
}

/// One of a Protobuf file's messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message<'s> {
    /// The only one.
    Only,
    /// The one of this full name.
    Named(&'s str),
    /// The one that these numbers lead to: among those of the file, then among those within it, and so on.
    At(&'s [usize]),
    /// Any that fits.
    Any,
}

/// The way from a value to the columns.
#[derive(Debug)]
pub(super) enum Plan {
    Avro(avro::Plan),
    Protobuf(protobuf::Plan),
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Unplanned {
    /// The schema is none of its kind.
    Unreadable(String),
    /// It has no such message.
    NoMessage(String),
    /// It does not fit these columns.
    Misfit(Vec<Misfit>),
}

/// Where a value stops being one of its schema, and what is allowed there.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) allowed: &'static str,
}

impl Plan {
    /// The plan for reading what `schema` writes into `columns`. If `whole` is set, what has no members is read whole into
    /// each of them.
    pub(super) fn new(schema: Written<'_>, columns: &[Column], whole: bool) -> Result<Self, Unplanned> {
        match schema.kind {
            SchemaKind::Avro => {
                let references: Vec<&str> = schema.references.iter().map(|reference| reference.text.as_str()).collect();
                let parsed = avro::Schema::parse(schema.text, &references).map_err(Unplanned::Unreadable)?;
                avro::Plan::new(&parsed, columns, whole).map(Self::Avro).map_err(Unplanned::Misfit)
            }
            SchemaKind::Protobuf => {
                let file = protobuf::File::compile(schema.text, schema.references).map_err(Unplanned::Unreadable)?;
                protobuf::Plan::new(&file, schema.message, columns).map(Self::Protobuf)
            }
            SchemaKind::Other => Err(Unplanned::Unreadable("it is neither Avro nor Protobuf".to_owned())),
        }
    }

    /// Reads `value`, all of it, into `found`, which has a place for each column and [`Typed::Absent`] in it.
    pub(super) fn read<'v>(&'v self, value: &'v [u8], found: &mut [Typed<'v>]) -> Result<(), Wrong> {
        match self {
            Self::Avro(plan) => plan.read(value, found),
            Self::Protobuf(plan) => plan.read(value, found),
        }
    }
}
