//! The JSON decoder beside serde_json: the same records are objects, and say the same.

mod judge;
mod tree;

use std::sync::Arc;

use common::{
    decode::{Decoder, Rules},
    schema::{Schema, TimestampFormat},
};
use jiff::SignedDuration;

use self::judge::Judge;
use crate::{
    records::{fates, records},
    schema::columns,
};

/// What stands between the parts of an input: the record separator of ASCII, which JSON has no use for.
const SEPARATOR: u8 = 0x1E;

const FORMATS: [TimestampFormat; 5] = [
    TimestampFormat::Micros,
    TimestampFormat::Rfc3339,
    TimestampFormat::Seconds,
    TimestampFormat::Millis,
    TimestampFormat::Nanos,
];

/// The first part of `input` is a schema, each other one the value of a record. One decoder takes all of them, twice: so the second
/// time it has learned how each is written. Both times each record must become what serde_json says it is.
pub fn json(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == SEPARATOR);
    let (rules, choice) = parts.next().and_then(|part| part.split_first()).unwrap_or((&0, &[]));
    let format = FORMATS[usize::from(rules % 5)];
    let ahead_max = (rules / 5 % 2 == 1).then_some(SignedDuration::from_hours(1));
    let schema = Arc::new(Schema::new(columns(format, choice)));
    let values: Vec<&[u8]> = parts.collect();

    let mut decoder = Decoder::new(Rules { ahead_max, ..Rules::new(Arc::clone(&schema), "at") });
    let judge = Judge { columns: schema.columns(), ahead_max };
    let expected: Vec<_> = values.iter().map(|value| judge.fate(value)).collect();
    let run = records(values.iter().copied());
    for time in ["first", "second"] {
        let found = fates(&decoder.decode(&run), schema.columns().len());
        assert_eq!(found.len(), values.len(), "L7: every record has a fate");
        for ((found, expected), value) in found.iter().zip(&expected).zip(&values) {
            assert_eq!(found, expected, "the {time} time, of {}", value.escape_ascii());
        }
    }
}
