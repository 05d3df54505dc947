//! The schemas that a source's values are written with: one for all, from a file, or one for each id, from a registry.

use std::sync::Arc;

use super::{
    error::{Error, Incompatible},
    misfit::Misfit,
    plan::{Message, Plan, Unplanned, Written},
};
use crate::{
    registry::{Reference, Registered, Registry, SchemaKind},
    schema::Column,
};

/// Where the schemas of a source's values are from.
#[derive(Debug, Clone, PartialEq)]
pub enum Schemas {
    /// All values are of one, and nothing stands before them.
    One(Arc<WriterSchema>),
    /// Each value names its own, in Confluent's framing.
    Registered(RegisteredSchemas),
}

/// The one schema that values are written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSchema {
    /// The schema.
    pub text: String,
    /// The schemas that it refers to by name.
    pub references: Vec<Reference>,
    /// The full name of the message that values are, for Protobuf; `None` if there is only one.
    pub message: Option<String>,
}

/// Schemas of a registry.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredSchemas {
    /// The registry.
    pub registry: Arc<Registry>,
    /// The subject whose newest schema is looked at when the source starts.
    pub subject: String,
    /// What becomes of records whose schema does not fit.
    pub on_incompatible: OnIncompatible,
}

/// What becomes of records whose schema does not fit the source's columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnIncompatible {
    /// The source stops before the first of them, with an error that shows both schemas.
    #[default]
    Stop,
    /// They are dead letters.
    DeadLetter,
}

/// What is wrong with the one schema of a source.
#[derive(Debug)]
pub enum SchemaFault {
    /// It cannot be read.
    Unreadable(String),
    /// It has not the message asked for, or several and none was asked for.
    NoMessage(String),
    /// It does not fit columns: the name of each, and why.
    Misfit(Vec<(String, String)>),
}

impl WriterSchema {
    /// Checks that values of this schema can be read into `columns`. If `whole` is set, one without members is read whole
    /// into each of them.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, kind: SchemaKind, columns: &[Column], whole: bool) -> Result<(), SchemaFault> {
        match Plan::new(self.written(kind), columns, whole) {
            Ok(_) => Ok(()),
            Err(Unplanned::Unreadable(message)) => Err(SchemaFault::Unreadable(message)),
            Err(Unplanned::NoMessage(message)) => Err(SchemaFault::NoMessage(message)),
            Err(Unplanned::Misfit(misfits)) => Err(SchemaFault::Misfit(
                misfits.iter().map(|misfit| (misfit.name.clone(), misfit.to_string())).collect(),
            )),
        }
    }

    pub(super) fn written(&self, kind: SchemaKind) -> Written<'_> {
        let message = self.message.as_deref().map_or(Message::Only, Message::Named);
        Written { kind, text: &self.text, references: &self.references, message }
    }
}

impl RegisteredSchemas {
    /// The plan for reading what `schema` writes into `columns`.
    ///
    /// # Errors
    /// [`Error::Incompatible`]; inside, why a record must be wrong that says it is of this schema and message.
    pub(super) fn plan(
        &self,
        schema: &Registered,
        kind: SchemaKind,
        message: Message<'_>,
        columns: &[Column],
        whole: bool,
    ) -> Result<Result<Plan, String>, Error> {
        let name = format!("schema {} of {}", schema.id, self.registry.settings().url);
        let written = Written { kind, text: &schema.text, references: &schema.references, message };
        let planned = match schema.kind == kind {
            true => Plan::new(written, columns, whole),
            false => Err(Unplanned::Unreadable(format!("it is of the kind {:?}, not {kind:?}", schema.kind))),
        };
        let misfits = match planned {
            Ok(plan) => return Ok(Ok(plan)),
            Err(Unplanned::NoMessage(message)) => return Ok(Err(format!("{name} {message}"))),
            Err(Unplanned::Misfit(misfits)) => misfits,
            Err(Unplanned::Unreadable(message)) => vec![Misfit::of_schema(message)],
        };
        let incompatible = Incompatible::new(name, &schema.text, columns, misfits);
        match self.on_incompatible {
            OnIncompatible::Stop => Err(Error::Incompatible(Box::new(incompatible))),
            OnIncompatible::DeadLetter => Ok(Err(incompatible.brief())),
        }
    }
}
