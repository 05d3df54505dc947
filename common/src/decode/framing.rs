//! The bytes that Confluent's serializers put before a value ("wire format" in the documentation of its schema registry): 0,
//! the id of a registered schema in four bytes, the highest first, and for Protobuf the way to the message within it: how
//! many numbers follow, then each of them, all as zigzag varints. A lone 0 stands for the first message.

use super::fault::Fault;
use crate::{limits::PATH_STEPS_MAX, registry::SchemaKind};

/// The bytes before a value, but for the way to a message.
const ID_END: usize = 5;

/// What stands before a value of the schema `id`, but for the way to a message.
pub(super) fn of(id: u32) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice()].concat()
}

/// Appends the way to the message of this number in its file.
pub(super) fn push_message(framing: &mut Vec<u8>, number: usize) {
    if number == 0 {
        return framing.push(0);
    }
    framing.push(2);
    let mut rest = number << 1;
    while rest >= 0x80 {
        framing.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    framing.push(rest as u8);
}

/// How many bytes stand before the value in `framed`.
pub(super) fn length(kind: SchemaKind, framed: &[u8]) -> Result<usize, Fault> {
    match framed {
        [0, _, _, _, _, ..] => {}
        [0, ..] => return Err(wrong(&format!("only {} bytes", framed.len()))),
        [first, ..] => return Err(wrong(&first.to_string())),
        [] => return Err(wrong("nothing")),
    }
    if kind != SchemaKind::Protobuf {
        return Ok(ID_END);
    }
    let message = "at byte 5: allowed are the numbers that lead to a message";
    path(&framed[ID_END..]).map(|(_, length)| ID_END + length).ok_or_else(|| Fault::malformed(message.to_owned()))
}

/// The id of the schema and the way to the message in `framing`, whose length [`length`] said.
pub(super) fn parse(kind: SchemaKind, framing: &[u8]) -> (u32, Vec<usize>) {
    let id = framing[1..].first_chunk().map_or(0, |id| u32::from_be_bytes(*id));
    let path = if kind == SchemaKind::Protobuf { path(&framing[ID_END..]) } else { None };
    (id, path.map_or_else(Vec::new, |(path, _)| path))
}

/// The way to a message, and how many bytes it takes.
fn path(bytes: &[u8]) -> Option<(Vec<usize>, usize)> {
    let mut at = 0;
    let count = number(bytes, &mut at)?;
    if count == 0 {
        return Some((vec![0], at));
    }
    // Deeper than any column's path no message need be.
    if count > PATH_STEPS_MAX {
        return None;
    }
    let path = (0..count).map(|_| number(bytes, &mut at)).collect::<Option<Vec<_>>>()?;
    Some((path, at))
}

/// A zigzag varint that is not negative and fits 31 bits.
fn number(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut encoded = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        encoded |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return (encoded & 1 == 0 && encoded <= u32::MAX.into()).then_some((encoded >> 1) as usize);
        }
    }
    None
}

fn wrong(found: &str) -> Fault {
    Fault::malformed(format!(
        "at byte 0: found {found}; allowed is Confluent's framing: a 0 and the 4 bytes of a schema's id before the value"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn the_way_to_a_message_has_any_length() {
        for (bytes, expected) in [
            (&[0, 99][..], Some((vec![0], 1))),
            (&[2, 0, 99], Some((vec![0], 2))),
            (&[4, 2, 0x80, 1, 99], Some((vec![1, 64], 4))),
            (&[], None),
            (&[2], None),
            (&[1, 0], None),
            (&[2, 1], None),
            (&[0xFF; 9], None),
            (&[34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(path(bytes), expected, "{bytes:?}");
        }
        let framed = [0, 0, 0, 1, 2, 2, 6, 7, 7];
        let end = length(SchemaKind::Protobuf, &framed).unwrap();
        assert_eq!((end, parse(SchemaKind::Protobuf, &framed[..end])), (7, (258, vec![3])));
        assert_eq!(length(SchemaKind::Avro, &framed).unwrap(), 5);
    }
}
