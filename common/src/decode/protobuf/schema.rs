//! `.proto` files: compiled from their text, with what they import, and nothing else of the machine.

use std::collections::HashMap;

use prost_reflect::{FileDescriptor, MessageDescriptor};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File as SourceFile, FileResolver, GoogleFileResolver},
};

use super::super::plan::Message;
use crate::registry::Reference;

/// What the file itself is called. No import can have this name.
const NAME: &str = "the schema.proto";

/// Files that schemas in registries import without referring to them, beside those of `google/protobuf`.
const BUILT_IN: [(&str, &str); 3] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
           message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
           extend google.protobuf.FileOptions { Meta file_meta = 1088; }
           extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
           extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
           extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
           extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3"; package confluent.type;
           message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
    ("google/type/decimal.proto", r#"syntax = "proto3"; package google.type; message Decimal { string value = 1; }"#),
];

/// A compiled file.
#[derive(Debug)]
pub(in super::super) struct File {
    descriptor: FileDescriptor,
}

impl File {
    /// Compiles `text`, which may import `references`.
    ///
    /// # Errors
    /// What is wrong with it, or with what it imports.
    pub(in super::super) fn compile(text: &str, references: &[Reference]) -> Result<Self, String> {
        let given = references.iter().map(|reference| (reference.name.as_str(), reference.text.as_str()));
        // What a schema refers to itself comes before what is built in.
        let files = BUILT_IN.into_iter().chain(given).chain([(NAME, text)]);
        let texts = Texts(files.map(|(name, text)| (name.to_owned(), text.to_owned())).collect());
        let mut resolver = ChainFileResolver::new();
        resolver.add(texts);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(NAME).map_err(|error| explained(&error))?;
        let pool = compiler.descriptor_pool();
        let descriptor = pool.get_file_by_name(NAME).ok_or("it is empty")?;
        Ok(Self { descriptor })
    }

    /// The first of the messages meant, and its number among them.
    ///
    /// # Errors
    /// Why there is none.
    pub(in super::super) fn message(&self, which: Message<'_>) -> Result<(usize, MessageDescriptor), String> {
        let first = self.messages(which)?.into_iter().next();
        first.map(|message| (0, message)).ok_or_else(|| "has no message".to_owned())
    }

    /// The messages meant: one, or all of the file if any may be. At least one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn messages(&self, which: Message<'_>) -> Result<Vec<MessageDescriptor>, String> {
        let mut all = self.descriptor.messages();
        let names =
            || self.descriptor.messages().map(|message| message.full_name().to_owned()).collect::<Vec<_>>().join(", ");
        match which {
            Message::Any if all.len() > 0 => Ok(all.collect()),
            Message::Only if all.len() == 1 => Ok(all.collect()),
            Message::Only => Err(format!("has {} messages, and which is meant is not said: {}", all.len(), names())),
            Message::Any => Err("has no message".to_owned()),
            Message::Named(name) => {
                let found = self.descriptor.parent_pool().get_message_by_name(name);
                found
                    .map(|message| vec![message])
                    .ok_or_else(|| format!("has no message {name}: its messages are {}", names()))
            }
            Message::At(path) => {
                let lost = || format!("has no message at {path:?}");
                let (first, inner) = path.split_first().ok_or_else(lost)?;
                let mut message = all.nth(*first).ok_or_else(lost)?;
                for &step in inner {
                    // As Confluent's Java serializer counts them, whose own parser makes no messages of maps.
                    let child = message.child_messages().filter(|child| !child.is_map_entry()).nth(step);
                    message = child.ok_or_else(lost)?;
                }
                Ok(vec![message])
            }
        }
    }
}

/// The names of the files that the `.proto` file in `text` imports, but for those that need not be given.
///
/// # Errors
/// What is wrong with its grammar.
pub fn imports(text: &str) -> Result<Vec<String>, String> {
    let file = SourceFile::from_source(NAME, text).map_err(|error| explained(&error))?;
    let mut names = file.file_descriptor_proto().dependency.clone();
    names.retain(|name| !name.starts_with("google/protobuf/") && BUILT_IN.iter().all(|(known, _)| known != name));
    Ok(names)
}

/// An error as one line: where it is, and what.
fn explained(error: &Error) -> String {
    format!("{error:?}").lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Files by name, in memory.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<SourceFile, Error> {
        let text = self.0.get(name).ok_or_else(|| Error::file_not_found(name))?;
        SourceFile::from_source(name, text)
    }
}
