//! `[kafka]` of the pipeline file, and what a source says of its topic.
//!
//! Values of properties may be secrets: no message says one.

use std::{collections::BTreeMap, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    reader::{Reader, Section},
    store,
    values::{Kind, TEXT},
};
use crate::log::kafka::{Settings, check_property};

/// The keys of a source whose records come from Kafka.
pub(super) const SOURCE_KEYS: [&str; 2] = ["topic", "group"];

const KEYS: &[&str] = &["brokers", "feed", "properties"];

/// The topic of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its name.
    pub name: String,
    /// The consumer group, if the file names it; see [`super::Pipeline::group`].
    pub group: Option<String>,
}

const BROKERS: Kind<String> = Kind {
    what: "a list of brokers",
    allowed: "brokers are addresses with commas between, as \"kafka-1:9092, kafka-2:9092\"",
    parse: |text| {
        let mut brokers = text.split(',').map(str::trim);
        let is_broker = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        brokers.all(is_broker).then(|| text.to_owned())
    },
};

const TOPIC: Kind<String> = Kind {
    what: "a topic's name",
    allowed: "a topic's name has 1 to 249 of a-z, A-Z, 0-9, ., _ and -",
    parse: |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (!text.is_empty() && text.len() <= 249 && text.chars().all(allowed)).then(|| text.to_owned())
    },
};

const PROPERTY: Kind<String> = Kind {
    what: "a value of librdkafka",
    allowed: "a property is a text, a number, true, false, or { file = \"path\" } whose content it is",
    parse: |text| Some(text.to_owned()),
};

/// `[kafka]`, if there is one, and the topic of the live feed that it names; files of secrets are relative to `directory`.
pub(super) fn settings(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    directory: &Path,
) -> Option<(Settings, Option<String>)> {
    root.get("kafka")?;
    let section = reader.section(root, "kafka", KEYS);
    let brokers = reader.required(&section, "brokers", &BROKERS);
    let feed = reader.optional(&section, "feed", &TOPIC);
    let mut properties = BTreeMap::new();
    if let Some(value) = section.get("properties") {
        let path = section.path_of("properties");
        reader.table(value, path.clone());
        let mut found = Properties { reader, directory, path, properties: &mut properties };
        if let Some(table) = value.get_ref().as_table() {
            found.read("", table);
        }
    }
    Some((Settings::new(brokers?, properties), feed))
}

/// The topic of a source, if it has one.
pub(super) fn topic(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<KafkaTopic> {
    let name = reader.optional(section, "topic", &TOPIC);
    let group = reader.optional(section, "group", &TEXT);
    let alone = |reader: &mut Reader<'_>, key: &str, why: &str, help: &str| {
        if let Some(value) = section.get(key) {
            reader.fault(value.span(), format!("`{}` {why}", section.path_of(key)), help);
        }
    };
    match section.get("topic") {
        Some(_) => alone(
            reader,
            "partitions",
            "is of the embedded log",
            "a topic of Kafka has the partitions it was made with",
        ),
        None => alone(reader, "group", "is of a topic of Kafka", "`topic` names it"),
    }
    Some(KafkaTopic { name: name?, group })
}

/// Reads properties, written as `"sasl.username"` or as `sasl.username`, which TOML takes for tables.
struct Properties<'r, 'a> {
    reader: &'r mut Reader<'a>,
    directory: &'r Path,
    path: String,
    properties: &'r mut BTreeMap<String, String>,
}

impl Properties<'_, '_> {
    fn read(&mut self, prefix: &str, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let property = format!("{prefix}{}", key.get_ref());
            let text = match value.get_ref() {
                DeValue::Table(table) if table.len() == 1 && table.contains_key("file") => {
                    let path = format!("{}.{property}", self.path);
                    store::secret_file(self.reader, &path, table, value.span(), self.directory)
                }
                DeValue::Table(table) => {
                    self.read(&format!("{property}."), table);
                    continue;
                }
                DeValue::Integer(_) | DeValue::Boolean(_) | DeValue::Float(_) => {
                    Some(self.reader.excerpt(value).to_owned())
                }
                _ => self.reader.value(value, &format!("{}.{property}", self.path), &PROPERTY),
            };
            let Some(text) = text else { continue };
            match check_property(&property, &text) {
                Ok(()) => _ = self.properties.insert(property, text),
                Err(why) => self.reader.fault(key.span(), why, PROPERTY.allowed),
            }
        }
    }
}
