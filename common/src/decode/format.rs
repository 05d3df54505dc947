//! What format the values and the keys of a source are in.

use super::{
    csv::CsvLayout,
    schemas::{RegisteredSchemas, Schemas},
};
use crate::registry::SchemaKind;

/// The format of a source's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// One JSON object.
    Json(Framing),
    /// One CSV line.
    Csv(CsvLayout),
    /// One value in Avro's binary encoding.
    Avro(Schemas),
    /// One Protobuf message.
    Protobuf(Schemas),
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(Framing::None)
    }
}

impl Format {
    /// Its name in the pipeline file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Avro(_) => "avro",
            Self::Protobuf(_) => "protobuf",
        }
    }

    /// The schemas of a registry that values are written with, and their kind.
    pub(super) fn registered(&self) -> Option<(SchemaKind, &RegisteredSchemas)> {
        match self {
            Self::Avro(Schemas::Registered(schemas)) => Some((SchemaKind::Avro, schemas)),
            Self::Protobuf(Schemas::Registered(schemas)) => Some((SchemaKind::Protobuf, schemas)),
            Self::Avro(Schemas::One(_)) | Self::Protobuf(Schemas::One(_)) | Self::Json(_) | Self::Csv(_) => None,
        }
    }

    /// Whether a value is text, so that line breaks may stand between values.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Json(Framing::None) | Self::Csv(_))
    }

    /// Whether a value is JSON and nothing else, so that lines of JSON are values.
    #[must_use]
    pub fn is_plain_json(&self) -> bool {
        *self == Self::Json(Framing::None)
    }
}

/// The format of a source's keys, as far as columns are taken from them.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum KeyFormat {
    /// UTF-8 text; a column has all of it.
    #[default]
    Text,
    /// As values are; columns stand where their paths lead.
    As(Format),
}

/// What stands before each value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    #[default]
    None,
    /// Five bytes, as Confluent's serializers write them: 0, and the id of a registered schema.
    Confluent,
}
