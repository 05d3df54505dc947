//! Writing a message. What its type has and no column asks for is absent.

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, SetFieldError, Value,
    prost::{Message as _, bytes::Bytes},
};

use super::super::{
    avro::spare,
    encode::{Cell, Placed, Unwritable},
    shape::{Node, Target},
};
use crate::schema::TimestampFormat;

/// Appends the event as a `message` to `out`.
///
/// # Errors
/// The column, or the field, that stands in the way.
pub(in super::super) fn write(
    message: &MessageDescriptor,
    event: &Placed<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    out.extend(written(message, &event.nodes[0], event)?.encode_to_vec());
    Ok(())
}

fn written(message: &MessageDescriptor, node: &Node, event: &Placed<'_>) -> Result<DynamicMessage, Unwritable> {
    let mut out = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let name = field.full_name();
        let target = node.names.get(field.name().as_bytes()).copied();
        let Some(target) = target.filter(|_| !event.is_null(target)) else {
            if field.cardinality() == Cardinality::Required {
                return Err(Unwritable::other(format!("the schema requires the field {name}, and no column fills it")));
            }
            match target {
                Some(Target::Column(_)) if !field.supports_presence() && !field.is_list() && !field.is_map() => {
                    let why = format!("it is null, and an absent {name} is a default: the schema cannot say null");
                    return Err(Unwritable::column(event.column(target.expect("it is there")), why));
                }
                _ => continue,
            }
        };
        let refuse = |what: String| Unwritable::column(event.column(target), format!("the field {name} {what}"));
        let value = of_field(&field, target, event)?;
        let value = value.ok_or_else(|| refuse(format!("of the schema cannot say {}", shown(target, event))))?;
        out.try_set_field(&field, value).map_err(|error: SetFieldError| refuse(error.to_string()))?;
    }
    Ok(out)
}

fn shown(target: Target, event: &Placed<'_>) -> String {
    match target {
        Target::Column(column) => event.cells[column].text().unwrap_or_default(),
        Target::Node(_) => "what has parts".to_owned(),
    }
}

/// What stands at `target`, which is not null, as a value of the field; `None` if it cannot be one.
fn of_field(field: &FieldDescriptor, target: Target, event: &Placed<'_>) -> Result<Option<Value>, Unwritable> {
    let node = event.node(Some(target));
    match (node, field.kind()) {
        (Some(node), kind) if field.is_list() => list(&kind, node, event),
        (Some(node), Kind::Message(entry)) if field.is_map() => map(&entry.map_entry_value_field().kind(), node, event),
        (None, _) if field.is_list() || field.is_map() => Ok(None),
        (_, kind) => one(&kind, target, event),
    }
}

fn one(kind: &Kind, target: Target, event: &Placed<'_>) -> Result<Option<Value>, Unwritable> {
    match (target, kind) {
        (Target::Column(column), _) => Ok(scalar(kind, event.cells[column])),
        (Target::Node(node), Kind::Message(message)) => {
            written(message, &event.nodes[node], event).map(|message| Some(Value::Message(message)))
        }
        (Target::Node(_), _) => Ok(None),
    }
}

/// Elements before the last that no column asks for have the default.
fn list(kind: &Kind, node: &Node, event: &Placed<'_>) -> Result<Option<Value>, Unwritable> {
    let element = |at: usize| match node.element(at).filter(|target| !event.is_null(Some(*target))) {
        Some(target) => one(kind, target, event),
        None => Ok(Some(Value::default_value(kind))),
    };
    let elements = (0..event.elements(node)).map(element).collect::<Result<Option<Vec<_>>, _>>();
    Ok(elements?.map(Value::List))
}

fn map(kind: &Kind, node: &Node, event: &Placed<'_>) -> Result<Option<Value>, Unwritable> {
    let entry = |(name, target): &(&[u8], Target)| {
        let key = MapKey::String(String::from_utf8_lossy(name).into_owned());
        one(kind, *target, event).map(|value| value.map(|value| (key, value)))
    };
    let entries = event.members(node).iter().map(entry).collect::<Result<Option<_>, _>>();
    Ok(entries?.map(Value::Map))
}

/// The value as one of this kind; `None` if that cannot say it.
fn scalar(kind: &Kind, cell: Cell<'_>) -> Option<Value> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(cell.whole()?.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(cell.whole()?.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(cell.whole()?.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(cell.whole()?.try_into().ok()?),
        Kind::Enum(names) => match cell {
            Cell::Text(name) => Value::EnumNumber(names.get_value_by_name(name)?.number()),
            _ => Value::EnumNumber(cell.whole()?.try_into().ok()?),
        },
        Kind::Message(message) => Value::Message(known(message, cell)?),
        _ => match (kind, cell) {
            (Kind::Float, Cell::Double(value)) => {
                #[allow(clippy::cast_possible_truncation, reason = "refused if it is another number then")]
                let short = value as f32;
                Value::F32((f64::from(short) == value).then_some(short)?)
            }
            (Kind::Double, Cell::Double(value)) => Value::F64(value),
            (Kind::Bool, Cell::Bool(value)) => Value::Bool(value),
            (Kind::String, Cell::Text(_) | Cell::Decimal { .. } | Cell::Time(_, TimestampFormat::Rfc3339)) => {
                Value::String(cell.text()?)
            }
            _ => return None,
        },
    })
}

/// The value as one of the messages that stand for one.
fn known(message: &MessageDescriptor, cell: Cell<'_>) -> Option<DynamicMessage> {
    let mut out = DynamicMessage::new(message.clone());
    let fields: Vec<Value> = match (message.full_name(), cell) {
        ("google.protobuf.Timestamp", Cell::Time(at_us, _)) => {
            let nanos = i32::try_from(at_us.rem_euclid(1_000_000) * 1_000).ok()?;
            vec![Value::I64(at_us.div_euclid(1_000_000)), Value::I32(nanos)]
        }
        ("confluent.type.Decimal", Cell::Decimal { unscaled, scale }) => {
            let (bytes, digits) = (unscaled.to_be_bytes(), unscaled.unsigned_abs().to_string().len());
            let value = Bytes::copy_from_slice(&bytes[spare(&bytes)..]);
            vec![Value::Bytes(value), Value::U32(u32::try_from(digits).ok()?), Value::I32(scale.into())]
        }
        ("google.protobuf.Timestamp" | "confluent.type.Decimal", _) => return None,
        ("google.type.Decimal", Cell::Decimal { .. }) => vec![Value::String(cell.text()?)],
        // A wrapper.
        _ => vec![scalar(&message.get_field(1)?.kind(), cell)?],
    };
    for (number, value) in (1..).zip(fields) {
        out.try_set_field_by_number(number, value).ok()?;
    }
    Some(out)
}
