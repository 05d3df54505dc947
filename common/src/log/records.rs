//! Records on their way over HTTP, each with its key, headers and value: what a line of text cannot carry.
//!
//! A body is records one after the other: the key, how many headers there are, the name and the value of each, the value. Bytes are
//! their length as four bytes, little endian, and themselves; a length of `ff ff ff ff` is none.

use bytes::{Buf, Bytes};

use super::NewRecord;

/// What a body of records is called.
pub const CONTENT_TYPE: &str = "application/vnd.highwater.records";

const NONE: u32 = u32::MAX;

/// Appends `record` to `out`.
pub fn encode(record: &NewRecord, out: &mut Vec<u8>) {
    bytes(out, record.key.as_deref());
    out.extend_from_slice(&length(record.headers.len()).to_le_bytes());
    for (name, value) in &record.headers {
        bytes(out, Some(name.as_bytes()));
        bytes(out, Some(value));
    }
    bytes(out, record.value.as_deref());
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("no record is as large")
}

fn bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend_from_slice(&bytes.map_or(NONE, |bytes| length(bytes.len())).to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// The records of `body`.
///
/// # Errors
/// Which record is none, counted from 1.
pub fn decode(mut body: Bytes) -> Result<Vec<NewRecord>, String> {
    let mut records = Vec::new();
    while body.has_remaining() {
        let record = one(&mut body).ok_or_else(|| format!("record {} is cut off, or is none", records.len() + 1))?;
        records.push(record);
    }
    Ok(records)
}

fn one(body: &mut Bytes) -> Option<NewRecord> {
    let key = take(body)?;
    let count = body.try_get_u32_le().ok()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = String::from_utf8(take(body)??.to_vec()).ok()?;
        headers.push((name, take(body)??));
    }
    Some(NewRecord { key, headers, value: take(body)? })
}

fn take(body: &mut Bytes) -> Option<Option<Bytes>> {
    let length = body.try_get_u32_le().ok()?;
    if length == NONE {
        return Some(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= body.remaining())?;
    Some(Some(body.split_to(length)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_nothing_else_is() {
        let record =
            |key: Option<&'static str>, headers: &[(&str, &'static str)], value: Option<&'static str>| NewRecord {
                key: key.map(Bytes::from),
                headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from(*value))).collect(),
                value: value.map(Bytes::from),
            };
        let records = [
            record(Some("k"), &[("trace", "a"), ("trace", "")], Some("{}")),
            record(None, &[], None),
            record(Some(""), &[], Some("\n\0")),
        ];
        let mut body = Vec::new();
        records.iter().for_each(|record| encode(record, &mut body));
        assert_eq!(decode(Bytes::from(body.clone())).unwrap(), records);
        for end in 1..body.len() {
            if let Ok(fewer) = decode(Bytes::copy_from_slice(&body[..end])) {
                assert!(records.starts_with(&fewer) && fewer.len() < records.len(), "{end}");
            }
        }
        let refused = decode(Bytes::from_static(b"{\"a\":1}\n{\"a\":2}\n")).unwrap_err();
        assert_eq!(refused, "record 1 is cut off, or is none");
    }
}
