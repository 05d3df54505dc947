//! Reading a message by a plan.

use super::{
    super::{column::Typed, plan::Wrong},
    plan::{Field, Item, Plan, Read, Scalar},
    wire::{Cursor, Result, Wire},
};
use crate::limits::JSON_DEPTH_MAX;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Plan {
    /// Reads `value`, all of it, into `found`, which has a place for each column and [`Typed::Absent`] in it.
    ///
    /// # Errors
    /// Where it is no message.
    pub(in super::super) fn read<'v>(&'v self, value: &'v [u8], found: &mut [Typed<'v>]) -> Result<()> {
        let lists = if self.lists == 0 { Vec::new() } else { vec![0; self.lists] };
        Walk { plan: self, found, lists }.message(0, Cursor::new(value), JSON_DEPTH_MAX)
    }
}

struct Walk<'v, 'f> {
    plan: &'v Plan,
    found: &'f mut [Typed<'v>],
    /// How many elements each list has had.
    lists: Vec<usize>,
}

impl<'v> Walk<'v, '_> {
    /// Reads a message that `cursor` spans. One that comes twice is merged: a later field counts more than an earlier.
    fn message(&mut self, number: usize, mut cursor: Cursor<'v>, depth: u32) -> Result<()> {
        if depth == 0 {
            return Err(cursor.wrong("less nesting"));
        }
        let plan = &self.plan.types[number];
        for (column, default) in &plan.defaults {
            if self.found[*column] == Typed::Absent {
                self.found[*column] = default.default();
            }
        }
        // Fields mostly come in the order of their numbers.
        let mut next = 0;
        while !cursor.is_at_end() {
            let (number, wire) = cursor.tag()?;
            if plan.fields.get(next).is_none_or(|(other, _)| *other != number) {
                match plan.fields.binary_search_by_key(&number, |(other, _)| *other) {
                    Ok(at) => next = at,
                    Err(_) => {
                        cursor.skip(number, wire)?;
                        continue;
                    }
                }
            }
            self.field(&plan.fields[next].1, &mut cursor, (number, wire), depth)?;
            next += 1;
        }
        Ok(())
    }

    #[inline]
    fn field(&mut self, field: &'v Field, cursor: &mut Cursor<'v>, tag: (u32, Wire), depth: u32) -> Result<()> {
        field.clears.iter().for_each(|&column| self.found[column] = Typed::Absent);
        let (number, wire) = tag;
        match &field.read {
            Read::Skip => cursor.skip(number, wire),
            Read::One(item) => self.item(item, cursor, wire, depth),
            Read::List { list, wanted, packed: Some(scalar) }
                if wire == Wire::Bytes && scalar.wire() != Wire::Bytes =>
            {
                let mut packed = cursor.bytes()?;
                while !packed.is_at_end() {
                    self.element(*list, wanted, &mut packed, (number, scalar.wire()), depth)?;
                }
                Ok(())
            }
            Read::List { list, wanted, .. } => self.element(*list, wanted, cursor, tag, depth),
            Read::Map { wanted } => self.entry(wanted, cursor, wire, depth),
        }
    }

    #[inline]
    fn item(&mut self, item: &'v Item, cursor: &mut Cursor<'v>, wire: Wire, depth: u32) -> Result<()> {
        match item {
            Item::Value { scalar, column } => {
                if wire != scalar.wire() {
                    return Err(cursor.wrong("a value written as the field's type is"));
                }
                self.found[*column] = value(scalar, cursor)?;
                Ok(())
            }
            Item::Message(plan) if wire == Wire::Bytes => self.message(*plan, cursor.bytes()?, depth - 1),
            Item::Message(_) => Err(cursor.wrong("a message in the field")),
        }
    }

    fn element(
        &mut self,
        list: usize,
        wanted: &'v [(usize, Item)],
        cursor: &mut Cursor<'v>,
        (number, wire): (u32, Wire),
        depth: u32,
    ) -> Result<()> {
        let index = self.lists[list];
        self.lists[list] += 1;
        match wanted.iter().find(|(at, _)| *at == index) {
            Some((_, item)) => self.item(item, cursor, wire, depth),
            None => cursor.skip(number, wire),
        }
    }

    /// An entry of a map is a message: the key is its first field, the value its second.
    fn entry(&mut self, wanted: &'v [(Vec<u8>, Item)], cursor: &mut Cursor<'v>, wire: Wire, depth: u32) -> Result<()> {
        if wire != Wire::Bytes {
            return Err(cursor.wrong("an entry of a map in the field"));
        }
        let entry = cursor.bytes()?;
        let (mut key, mut value, mut fields) = (&[][..], None, entry);
        while !fields.is_at_end() {
            match fields.tag()? {
                (1, Wire::Bytes) => key = fields.bytes()?.rest(),
                (2, wire) => {
                    value = Some((fields, wire));
                    fields.skip(2, wire)?;
                }
                (number, wire) => fields.skip(number, wire)?,
            }
        }
        let Some((_, item)) = wanted.iter().find(|(name, _)| name == key) else { return Ok(()) };
        match (value, item) {
            (Some((mut value, wire)), item) => self.item(item, &mut value, wire, depth - 1),
            (None, Item::Value { scalar, column }) => {
                self.found[*column] = scalar.default();
                Ok(())
            }
            (None, Item::Message(plan)) => {
                let empty = Cursor { at: entry.end, ..entry };
                self.message(*plan, empty, depth - 1)
            }
        }
    }
}

#[inline]
fn value<'v>(scalar: &'v Scalar, cursor: &mut Cursor<'v>) -> Result<Typed<'v>> {
    Ok(match scalar {
        // Negative numbers are written as if of 64 bits; what is above 32 bits is cut off.
        Scalar::Int32 => Typed::Int((cursor.varint()? as i32).into()),
        Scalar::Int64 => Typed::Int(cursor.varint()? as i64),
        Scalar::Uint32 => Typed::Int((cursor.varint()? as u32).into()),
        Scalar::Uint64 => unsigned(cursor.varint()?),
        Scalar::Sint32 => Typed::Int((zigzag(cursor.varint()? & u64::from(u32::MAX)) as i32).into()),
        Scalar::Sint64 => Typed::Int(zigzag(cursor.varint()?)),
        Scalar::Fixed32 => Typed::Int(u32::from_le_bytes(cursor.array()?).into()),
        Scalar::Fixed64 => unsigned(u64::from_le_bytes(cursor.array()?)),
        Scalar::Sfixed32 => Typed::Int(i32::from_le_bytes(cursor.array()?).into()),
        Scalar::Sfixed64 => Typed::Int(i64::from_le_bytes(cursor.array()?)),
        Scalar::Float => Typed::Double(f32::from_le_bytes(cursor.array()?).into()),
        Scalar::Double => Typed::Double(f64::from_le_bytes(cursor.array()?)),
        Scalar::Bool => Typed::Bool(cursor.varint()? != 0),
        Scalar::String => {
            let bytes = cursor.bytes()?;
            let text = std::str::from_utf8(bytes.rest());
            Typed::Text(text.map_err(|_| Wrong { at: bytes.at, allowed: "a text in UTF-8" })?)
        }
        Scalar::Name(names) => {
            let number = cursor.varint()? as i32;
            names.get(&number).map_or(Typed::Int(number.into()), |name| Typed::Text(name))
        }
        Scalar::Timestamp => timestamp(cursor.bytes()?)?,
        Scalar::Decimal => decimal(cursor.bytes()?)?,
        Scalar::Wrapper(inner) => {
            let mut fields = cursor.bytes()?;
            let mut wrapped = inner.default();
            while !fields.is_at_end() {
                match fields.tag()? {
                    (1, wire) if wire == inner.wire() => wrapped = value(inner, &mut fields)?,
                    (number, wire) => fields.skip(number, wire)?,
                }
            }
            wrapped
        }
    })
}

fn unsigned(value: u64) -> Typed<'static> {
    i64::try_from(value).map_or(Typed::Large(value), Typed::Int)
}

fn zigzag(encoded: u64) -> i64 {
    (encoded >> 1) as i64 ^ -((encoded & 1) as i64)
}

/// `google.protobuf.Timestamp`: seconds, and nanoseconds that count forward from them. Nanoseconds beyond a second are no
/// time.
fn timestamp(mut fields: Cursor<'_>) -> Result<Typed<'static>> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    while !fields.is_at_end() {
        match fields.tag()? {
            (1, Wire::Varint) => seconds = fields.varint()? as i64,
            (2, Wire::Varint) => nanos = (fields.varint()? as i32).into(),
            (number, wire) => fields.skip(number, wire)?,
        }
    }
    let whole = (0..NANOS_PER_SECOND).contains(&nanos);
    let micros = seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(nanos / 1_000));
    Ok(Typed::Instant(micros.filter(|_| whole)))
}

/// `confluent.type.Decimal`: the bytes of a number, the highest first, and how many of its digits are after the point.
fn decimal(mut fields: Cursor<'_>) -> Result<Typed<'static>> {
    let (mut bytes, mut scale) = (&[][..], 0_i32);
    while !fields.is_at_end() {
        match fields.tag()? {
            (1, Wire::Bytes) => bytes = fields.bytes()?.rest(),
            (3, Wire::Varint) => scale = fields.varint()? as i32,
            (number, wire) => fields.skip(number, wire)?,
        }
    }
    Ok(match (u32::try_from(scale), Typed::decimal(bytes, 0)) {
        (Ok(scale), Typed::Decimal { unscaled, .. }) => Typed::Decimal { unscaled, scale },
        // Digits before the point that are all zeros.
        (Err(_), Typed::Decimal { unscaled, .. }) => {
            let power = 10_i128.checked_pow(scale.unsigned_abs());
            let value = power.and_then(|power| unscaled.checked_mul(power));
            value.map_or(Typed::Huge, |unscaled| Typed::Decimal { unscaled, scale: 0 })
        }
        (_, huge) => huge,
    })
}
