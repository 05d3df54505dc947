//! How messages of one type are read into a source's columns: worked out once, before the first message.
//!
//! A field that the message type lacks is null, as is one of a kind that tells absence from a default and that is absent. Of
//! a plain field of proto3, which does not tell, the default is the value: 0, "" or false.

use hashbrown::HashMap;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{
    super::{
        column::Typed,
        misfit::Misfit,
        plan::{Message, Unplanned},
        shape::{self, Node, Target},
    },
    schema::File,
    wire::Wire,
};
use crate::schema::{Column, ColumnType, TimestampFormat};

/// The ways of reading a message and those within it.
#[derive(Debug)]
pub(in super::super) struct Plan {
    pub(super) types: Vec<MessagePlan>,
    /// How many lists are counted.
    pub(super) lists: usize,
}

/// How one message is read.
#[derive(Debug, Default)]
pub(super) struct MessagePlan {
    /// What is to be done with fields, by number; all others are passed over.
    pub(super) fields: Vec<(u32, Field)>,
    /// The columns that have a default where the message is there, and their field is not.
    pub(super) defaults: Vec<(usize, Scalar)>,
}

/// How one field is read.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) read: Read,
    /// The columns of other members of its `oneof`: of these only the last member that is there counts.
    pub(super) clears: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Read {
    /// It is passed over.
    Skip,
    One(Item),
    /// Some elements by their index, counted in this place: a list may come in pieces.
    List {
        list: usize,
        wanted: Vec<(usize, Item)>,
        packed: Option<Scalar>,
    },
    /// Some values of a map by their key.
    Map {
        wanted: Vec<(Vec<u8>, Item)>,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Value {
        scalar: Scalar,
        column: usize,
    },
    /// A message, read by the plan of this number.
    Message(usize),
}

/// A value without parts, or a message that stands for one.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    String,
    /// An enum as the names of its numbers.
    Name(HashMap<i32, String>),
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `confluent.type.Decimal`.
    Decimal,
    /// A message whose first field is the value: the wrappers of `google.protobuf`, `google.type.Decimal`.
    Wrapper(Box<Scalar>),
}

impl Scalar {
    pub(super) fn wire(&self) -> Wire {
        match self {
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Wire::Fixed64,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Wire::Fixed32,
            Self::String | Self::Timestamp | Self::Decimal | Self::Wrapper(_) => Wire::Bytes,
            _ => Wire::Varint,
        }
    }

    /// The value that is not written.
    pub(super) fn default(&self) -> Typed<'_> {
        match self {
            Self::Float | Self::Double => Typed::Double(0.0),
            Self::Bool => Typed::Bool(false),
            Self::String => Typed::Text(""),
            Self::Name(names) => names.get(&0).map_or(Typed::Int(0), |name| Typed::Text(name)),
            Self::Wrapper(inner) => inner.default(),
            Self::Timestamp => Typed::Instant(Some(0)),
            Self::Decimal => Typed::Decimal { unscaled: 0, scale: 0 },
            _ => Typed::Int(0),
        }
    }
}

impl Plan {
    /// The plan for the message of `file` that is meant.
    ///
    /// # Errors
    /// [`Unplanned::NoMessage`], [`Unplanned::Misfit`].
    pub(in super::super) fn new(file: &File, which: Message<'_>, columns: &[Column]) -> Result<Self, Unplanned> {
        let messages = file.messages(which).map_err(Unplanned::NoMessage)?;
        let mut first = None;
        for message in messages {
            match Self::of(&message, columns) {
                Ok(plan) => return Ok(plan),
                Err(misfits) => drop(first.get_or_insert(misfits)),
            }
        }
        Err(Unplanned::Misfit(first.unwrap_or_default()))
    }

    fn of(message: &MessageDescriptor, columns: &[Column]) -> Result<Self, Vec<Misfit>> {
        let (types, misfits) = (Vec::new(), Vec::new());
        let placed = vec![false; columns.len()];
        let mut planner = Planner { columns, nodes: shape::tree(columns), types, lists: 0, placed, misfits };
        planner.message(message, 0);
        for (column, _) in columns.iter().zip(&planner.placed).filter(|(column, placed)| !**placed && !column.nullable)
        {
            planner.misfits.push(Misfit::nothing(column));
        }
        let Planner { types, lists, misfits, .. } = planner;
        if misfits.is_empty() { Ok(Self { types, lists }) } else { Err(misfits) }
    }
}

/// The first message of `file` that can be read into `columns`, and its number in the file.
///
/// # Errors
/// Why there is none.
pub(in super::super) fn first_that_fits(file: &File, columns: &[Column]) -> Result<(usize, MessageDescriptor), String> {
    let mut misfits = Vec::new();
    for (number, message) in file.messages(Message::Any)?.into_iter().enumerate() {
        match Plan::of(&message, columns) {
            Ok(_) => return Ok((number, message)),
            Err(others) => misfits.extend(others),
        }
    }
    Err(misfits.first().map_or_else(|| "the schema has no message".to_owned(), ToString::to_string))
}

struct Planner<'s> {
    columns: &'s [Column],
    nodes: Vec<Node>,
    types: Vec<MessagePlan>,
    lists: usize,
    /// Which columns have a place in the schema.
    placed: Vec<bool>,
    misfits: Vec<Misfit>,
}

impl Planner<'_> {
    /// Plans a message that the columns of `node` are in, and gives its number.
    fn message(&mut self, message: &MessageDescriptor, node: usize) -> usize {
        let number = self.types.len();
        self.types.push(MessagePlan::default());
        let mut plan = MessagePlan::default();
        for field in message.fields() {
            let target = self.nodes[node].names.get(field.name().as_bytes()).copied();
            let read = target.map_or(Read::Skip, |target| self.field(&field, target));
            if let Read::One(Item::Value { scalar, column }) = &read
                && !field.supports_presence()
            {
                plan.defaults.push((*column, scalar.clone()));
            }
            let clears = self.others_of_oneof(&field, node);
            if !clears.is_empty() || !matches!(read, Read::Skip) {
                plan.fields.push((field.number(), Field { read, clears }));
            }
        }
        plan.fields.sort_by_key(|(number, _)| *number);
        self.types[number] = plan;
        number
    }

    /// The columns in `node` that are members, or in members, of the field's `oneof`, other than the field.
    fn others_of_oneof(&self, field: &FieldDescriptor, node: usize) -> Vec<usize> {
        let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else { return Vec::new() };
        let others = oneof.fields().filter(|other| other.number() != field.number());
        let targets = others.filter_map(|other| self.nodes[node].names.get(other.name().as_bytes()).copied());
        let columns = |target| match target {
            Target::Column(column) => vec![column],
            Target::Node(node) => self.nodes[node].columns.clone(),
        };
        targets.flat_map(columns).collect()
    }

    fn field(&mut self, field: &FieldDescriptor, target: Target) -> Read {
        match target {
            Target::Column(column) if field.is_list() || field.is_map() || field.is_group() => {
                let found =
                    if field.is_map() { "map".to_owned() } else { format!("repeated {}", described(&field.kind())) };
                self.misfit(column, &found);
                Read::Skip
            }
            _ if field.is_group() => Read::Skip,
            Target::Node(node) if field.is_map() => self.map(field, node),
            Target::Node(node) if field.is_list() => self.list(field, node),
            target => self.item(&field.kind(), target).map_or(Read::Skip, Read::One),
        }
    }

    fn map(&mut self, field: &FieldDescriptor, node: usize) -> Read {
        let Kind::Message(entry) = field.kind() else { return Read::Skip };
        if entry.map_entry_key_field().kind() != Kind::String {
            return Read::Skip;
        }
        let kind = entry.map_entry_value_field().kind();
        let names = self.nodes[node].names.clone();
        let wanted = names.into_iter().filter_map(|(name, target)| Some((name, self.item(&kind, target)?)));
        Read::Map { wanted: wanted.collect() }
    }

    fn list(&mut self, field: &FieldDescriptor, node: usize) -> Read {
        let elements = self.nodes[node].elements.clone();
        let wanted =
            elements.into_iter().filter_map(|(index, target)| Some((index, self.item(&field.kind(), target)?)));
        let wanted: Vec<(usize, Item)> = wanted.collect();
        let packed = wanted.iter().find_map(|(_, item)| match item {
            Item::Value { scalar, .. } if scalar.wire() != Wire::Bytes => Some(scalar.clone()),
            _ => None,
        });
        self.lists += 1;
        Read::List { list: self.lists - 1, wanted, packed }
    }

    fn item(&mut self, kind: &Kind, target: Target) -> Option<Item> {
        match (target, kind) {
            (Target::Column(column), kind) => {
                self.placed[column] = true;
                let scalar = scalar(kind, &self.columns[column]);
                if scalar.is_none() {
                    self.misfit(column, &described(kind));
                }
                scalar.map(|scalar| Item::Value { scalar, column })
            }
            (Target::Node(node), Kind::Message(message)) => Some(Item::Message(self.message(message, node))),
            (Target::Node(_), _) => None,
        }
    }

    fn misfit(&mut self, column: usize, found: &str) {
        self.placed[column] = true;
        let declared = &self.columns[column];
        self.misfits.push(Misfit::new(declared, found, allowed(declared)));
    }
}

/// How a field of this kind is read into `column`; `None` if it does not fit.
fn scalar(kind: &Kind, column: &Column) -> Option<Scalar> {
    let scalar = scalar_of(kind, column.column_type)?;
    fits(&scalar, column).then_some(scalar)
}

fn scalar_of(kind: &Kind, to: ColumnType) -> Option<Scalar> {
    Some(match kind {
        Kind::Int32 => Scalar::Int32,
        Kind::Int64 => Scalar::Int64,
        Kind::Uint32 => Scalar::Uint32,
        Kind::Uint64 => Scalar::Uint64,
        Kind::Sint32 => Scalar::Sint32,
        Kind::Sint64 => Scalar::Sint64,
        Kind::Fixed32 => Scalar::Fixed32,
        Kind::Fixed64 => Scalar::Fixed64,
        Kind::Sfixed32 => Scalar::Sfixed32,
        Kind::Sfixed64 => Scalar::Sfixed64,
        Kind::Float => Scalar::Float,
        Kind::Double => Scalar::Double,
        Kind::Bool => Scalar::Bool,
        Kind::String => Scalar::String,
        Kind::Bytes => return None,
        Kind::Enum(_) if to == ColumnType::Int => Scalar::Int32,
        Kind::Enum(names) => {
            Scalar::Name(names.values().map(|value| (value.number(), value.name().to_owned())).collect())
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => Scalar::Timestamp,
            "confluent.type.Decimal" => Scalar::Decimal,
            "google.type.Decimal"
            | "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.BoolValue"
            | "google.protobuf.StringValue" => Scalar::Wrapper(Box::new(scalar_of(&message.get_field(1)?.kind(), to)?)),
            _ => return None,
        },
    })
}

fn fits(scalar: &Scalar, column: &Column) -> bool {
    let has_unit = column.timestamp_format != TimestampFormat::Rfc3339;
    match (column.column_type, scalar) {
        (_, Scalar::Wrapper(inner)) => fits(inner, column),
        (ColumnType::String, scalar) => matches!(scalar, Scalar::String | Scalar::Name(_)),
        (ColumnType::Bool, scalar) => matches!(scalar, Scalar::Bool),
        (ColumnType::Timestamp, Scalar::Timestamp) => true,
        (ColumnType::Timestamp, Scalar::String) => !has_unit,
        (ColumnType::Timestamp, scalar) => has_unit && is_whole(scalar),
        (ColumnType::Double, Scalar::Float | Scalar::Double) => true,
        (ColumnType::Decimal { .. }, Scalar::Decimal | Scalar::String) => true,
        (ColumnType::Int | ColumnType::Double | ColumnType::Decimal { .. }, scalar) => is_whole(scalar),
    }
}

fn is_whole(scalar: &Scalar) -> bool {
    !matches!(
        scalar,
        Scalar::Float
            | Scalar::Double
            | Scalar::Bool
            | Scalar::String
            | Scalar::Name(_)
            | Scalar::Timestamp
            | Scalar::Decimal
            | Scalar::Wrapper(_)
    )
}

fn allowed(column: &Column) -> &'static str {
    match column.column_type {
        ColumnType::Int => "a whole number, also one in a wrapper, or an enum",
        ColumnType::Double => "a number, also one in a wrapper",
        ColumnType::Decimal { .. } => {
            "confluent.type.Decimal, google.type.Decimal, a whole number, or a number in a string"
        }
        ColumnType::String => "string, also one in a wrapper, or an enum",
        ColumnType::Bool => "bool, also one in a wrapper",
        ColumnType::Timestamp if column.timestamp_format == TimestampFormat::Rfc3339 => {
            "google.protobuf.Timestamp or a string as RFC 3339 has it (a whole number needs `format` in the pipeline)"
        }
        ColumnType::Timestamp => "google.protobuf.Timestamp or a whole number",
    }
}

fn described(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!("message {}", message.full_name()),
        Kind::Enum(names) => format!("enum {}", names.full_name()),
        other => format!("{other:?}").to_lowercase(),
    }
}
