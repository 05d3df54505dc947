//! What a registry answers, as its API has it ("Schema Registry API Reference" of Confluent's documentation).

use serde::{Deserialize, Deserializer};

use super::SchemaKind;

/// A schema, by its id or as a version of a subject.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) schema: String,
    /// Not there if it is Avro.
    #[serde(default = "avro", rename = "schemaType", deserialize_with = "kind")]
    pub(super) kind: SchemaKind,
    #[serde(default)]
    pub(super) references: Vec<Reference>,
    /// Not there if the schema was asked for by its id.
    pub(super) id: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

/// Why there is no schema.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    error_code: u32,
    #[serde(default)]
    pub(super) message: String,
}

impl Refusal {
    /// Whether the registry itself says that it has no such subject (40401), version (40402) or schema (40403): not some
    /// server between, or one that is no registry.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.error_code, 40_401..=40_403)
    }
}

fn avro() -> SchemaKind {
    SchemaKind::Avro
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SchemaKind, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(match name.as_deref() {
        None | Some("AVRO") => SchemaKind::Avro,
        Some("PROTOBUF") => SchemaKind::Protobuf,
        Some(_) => SchemaKind::Other,
    })
}
