//! The bytes that Confluent's serializers put before a value: 0, and the number of a registered schema in four bytes, the
//! highest first ("wire format" in the documentation of Confluent's schema registry).

use super::fault::Fault;

/// The schema's id, and the value after it.
pub(super) fn split(framed: &[u8]) -> Result<(u32, &[u8]), Fault> {
    match framed {
        [0, a, b, c, d, value @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), value)),
        [0, ..] => Err(wrong(&format!("only {} bytes", framed.len()))),
        [first, ..] => Err(wrong(&format!("{first}"))),
        [] => Err(wrong("nothing")),
    }
}

fn wrong(found: &str) -> Fault {
    Fault::malformed(format!(
        "at byte 0: found {found}; allowed is Confluent's framing: a 0 and the 4 bytes of a schema's id before the value"
    ))
}
