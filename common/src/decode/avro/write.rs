//! Writing a value by a schema (Apache Avro 1.12, "Binary Encoding"). What the schema has and no column asks for is null or empty, or
//! the value cannot be written.

use super::{
    super::{
        encode::{Cell, Placed, Unwritable},
        shape::Target,
    },
    schema::{Logical, Schema, Type, TypeId},
};
use crate::schema::TimestampFormat;

impl Schema {
    /// Appends the event to `out`.
    ///
    /// # Errors
    /// The column, or the field of the schema, that stands in the way.
    pub(in super::super) fn write(&self, event: &Placed<'_>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        Walk { schema: self, event }.value(self.root, Some(Target::Node(0)), "", out)
    }
}

struct Walk<'w> {
    schema: &'w Schema,
    event: &'w Placed<'w>,
}

impl Walk<'_> {
    /// Writes what stands at `target` as the type `id`, which the schema has at `place`.
    fn value(&self, id: TypeId, target: Option<Target>, place: &str, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let event = self.event;
        let node = event.node(target);
        match self.schema.get(id) {
            Type::Union(branches) => return self.union(branches, target, place, out),
            Type::Null if event.is_null(target) => {}
            // Its fields may say that they are null.
            Type::Record(_, fields) if node.is_some() || target.is_none() => {
                for (name, of) in fields {
                    let within = node.and_then(|node| node.names.get(name.as_bytes()).copied());
                    self.value(*of, within, &format!("{place}.{name}"), out)?;
                }
            }
            Type::Array(items) if node.is_some() || target.is_none() => {
                let count = node.map_or(0, |node| event.elements(node));
                block(out, count);
                for at in 0..count {
                    let element = node.and_then(|node| node.element(at));
                    self.value(*items, element, &format!("{place}[{at}]"), out)?;
                }
                if count > 0 {
                    block(out, 0);
                }
            }
            Type::Map(values) if node.is_some() || target.is_none() => {
                let members = node.map(|node| event.members(node)).unwrap_or_default();
                block(out, members.len());
                for (name, within) in &members {
                    bytes(out, name);
                    self.value(*values, Some(*within), place, out)?;
                }
                if !members.is_empty() {
                    block(out, 0);
                }
            }
            _ => {
                let described = self.schema.describe(id);
                let Some(target) = target else {
                    let why = format!("the schema wants {described} at ${place}, and no column is taken from there");
                    return Err(Unwritable::other(why));
                };
                let refuse = |what: &str| {
                    Unwritable::column(event.column(target), format!("the schema has {described} at ${place}, {what}"))
                };
                let cell = match target {
                    Target::Column(column) => event.cells[column],
                    Target::Node(_) => return Err(refuse("which has no parts")),
                };
                if cell == Cell::Null {
                    return Err(refuse("which cannot be null"));
                }
                let is_leaf = leaf(self.schema.get(id), cell, out);
                let text = || cell.text().unwrap_or_default();
                is_leaf.ok_or_else(|| refuse(&format!("which cannot say {}", text())))?;
            }
        }
        Ok(())
    }

    /// Writes the first branch that can say what stands at `target`: null if it is, and there is such a branch.
    fn union(
        &self,
        branches: &[TypeId],
        target: Option<Target>,
        place: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritable> {
        let is_null = self.event.is_null(target);
        let null_first = |at: &usize| !matches!(self.schema.get(branches[*at]), Type::Null) == is_null;
        let mut order: Vec<usize> = (0..branches.len()).collect();
        order.sort_by_key(null_first);
        let (start, mut refused) = (out.len(), None);
        for at in order {
            block(out, at);
            match self.value(branches[at], target, place, out) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    out.truncate(start);
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.unwrap_or_else(|| Unwritable::other(format!("the schema's union at ${place} is empty"))))
    }
}

/// Appends a value without parts; `None` if `of` cannot say it.
fn leaf(of: &Type, cell: Cell<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (of, cell) {
        (Type::Boolean, Cell::Bool(value)) => out.push(value.into()),
        (Type::Int(Logical::None), _) => long(out, i32::try_from(cell.whole()?).ok()?.into()),
        (Type::Long(logical), Cell::Time(at_us, _)) if unit(*logical).is_some() => {
            long(out, i64::try_from(unit(*logical)?.count(at_us)?).ok()?);
        }
        (Type::Long(_), _) => long(out, i64::try_from(cell.whole()?).ok()?),
        (Type::Float, Cell::Double(value)) => {
            #[allow(clippy::cast_possible_truncation, reason = "refused if it is another number then")]
            let short = value as f32;
            out.extend_from_slice(&(f64::from(short) == value).then_some(short)?.to_le_bytes());
        }
        (Type::Double, Cell::Double(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Type::Bytes(Logical::Decimal { scale, .. }), Cell::Decimal { .. }) => {
            let unscaled = cell.unscaled(*scale)?.to_be_bytes();
            bytes(out, &unscaled[spare(&unscaled)..]);
        }
        (Type::Fixed(size, Logical::Decimal { scale, .. }), Cell::Decimal { unscaled, .. }) => {
            let digits = cell.unscaled(*scale)?.to_be_bytes();
            let digits = &digits[spare(&digits)..];
            let sign = if unscaled < 0 { 0xFF } else { 0 };
            out.extend(std::iter::repeat_n(sign, size.checked_sub(digits.len())?));
            out.extend_from_slice(digits);
        }
        (Type::String, Cell::Text(_) | Cell::Decimal { .. } | Cell::Time(_, TimestampFormat::Rfc3339)) => {
            bytes(out, cell.text()?.as_bytes());
        }
        (Type::Bytes(Logical::None), Cell::Text(text)) => bytes(out, text.as_bytes()),
        (Type::Fixed(_, Logical::Uuid), Cell::Text(text)) => {
            out.extend_from_slice(uuid::Uuid::try_parse(text).ok()?.as_bytes());
        }
        (Type::Enum(symbols), Cell::Text(text)) => block(out, symbols.iter().position(|symbol| symbol == text)?),
        _ => return None,
    }
    Some(())
}

fn unit(logical: Logical) -> Option<TimestampFormat> {
    match logical {
        Logical::TimestampMillis => Some(TimestampFormat::Millis),
        Logical::TimestampMicros => Some(TimestampFormat::Micros),
        Logical::TimestampNanos => Some(TimestampFormat::Nanos),
        _ => None,
    }
}

/// How many of the first bytes of a number say nothing but its sign.
pub(in super::super) fn spare(number: &[u8; 16]) -> usize {
    let says_nothing = |at: &usize| matches!((number[*at], number[at + 1]), (0, 0..=0x7F) | (0xFF, 0x80..=0xFF));
    (0..number.len() - 1).take_while(says_nothing).count()
}

/// A zigzag varint.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A count, or the number of a branch.
fn block(out: &mut Vec<u8>, count: usize) {
    long(out, i64::try_from(count).expect("no record has so many"));
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    block(out, bytes.len());
    out.extend_from_slice(bytes);
}
