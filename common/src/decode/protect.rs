//! Protection: values of some columns are replaced before anything of an event is folded or written.
//!
//! It is a part of decoding, so both layers see the same values, and a recompute comes to the same views. The key of a record
//! may be such a value, so of a source with a protected column it becomes a pseudonym too. A dead letter is a record that was
//! not understood: where in it a protected value stands is not known, so nothing of its content is kept.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, DictionaryArray, RecordBatch, StringArray, new_null_array},
    datatypes::{DataType, Field, Int32Type, Schema},
};

use crate::{event::DeadLetter, schema::KEY};

/// What becomes of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// A keyed hash: equal values stay equal, and nobody without the key can tell which they are, nor try them all.
    Pseudonym,
    /// Always the same text.
    Mask,
    /// Null.
    Drop,
}

/// What stands for a masked value.
const MASKED: &str = "***";

/// What stands in a dead letter for what was found in it.
const WITHHELD: &str = "withheld, since columns of the source are protected";

/// Bytes of the hash that are kept: two of a billion values are alike with a chance of 2^-69.
const HASH_BYTES: usize = 16;

/// The key of pseudonyms. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PseudonymKey([u8; 32]);

impl PseudonymKey {
    /// The key that `secret`, some text of any length, stands for.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(blake3::derive_key("highwater 2026-11-22 pseudonyms of columns", secret.as_bytes()))
    }

    fn pseudonym(&self, value: &[u8]) -> String {
        let hash = blake3::keyed_hash(&self.0, value);
        hex::encode(&hash.as_bytes()[..HASH_BYTES])
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey")
    }
}

/// The protected columns of one source, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// What becomes of each.
    pub columns: BTreeMap<String, Protection>,
    /// The key of pseudonyms: of columns, and of records' keys.
    pub key: Option<PseudonymKey>,
}

impl Protected {
    /// `events` with protected values replaced.
    pub(super) fn events(&self, events: &RecordBatch) -> RecordBatch {
        let schema = events.schema();
        let mut fields = Vec::with_capacity(schema.fields().len());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (field, column) in schema.fields().iter().zip(events.columns()) {
            let column = match self.columns.get(field.name()) {
                Some(protection) => self.column(*protection, column),
                None if field.name() == KEY => self.record_key(column),
                None => Arc::clone(column),
            };
            fields.push(Field::new(field.name(), column.data_type().clone(), field.is_nullable()));
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("each column was replaced by one like it")
    }

    fn column(&self, protection: Protection, column: &ArrayRef) -> ArrayRef {
        match (protection, &self.key) {
            (Protection::Drop, _) | (Protection::Pseudonym, None) => new_null_array(column.data_type(), column.len()),
            (Protection::Pseudonym, Some(key)) => texts(column, |text| key.pseudonym(text.as_bytes())),
            (Protection::Mask, _) => texts(column, |_| MASKED.to_owned()),
        }
    }

    fn record_key(&self, column: &ArrayRef) -> ArrayRef {
        let Some(key) = &self.key else { return new_null_array(column.data_type(), column.len()) };
        let hashed = column.as_binary::<i32>().iter().map(|bytes| bytes.map(|bytes| key.pseudonym(bytes).into_bytes()));
        Arc::new(hashed.collect::<BinaryArray>())
    }

    /// `letter` without anything that was in its record.
    pub(super) fn letter(&self, mut letter: DeadLetter) -> DeadLetter {
        let record = &mut letter.record;
        (record.key, record.value) = (None, None);
        record.headers.clear();
        letter.detail = WITHHELD.to_owned();
        letter
    }
}

/// `column`, of strings, with each text replaced. Of a dictionary each text is replaced once.
fn texts(column: &ArrayRef, replace: impl Fn(&str) -> String) -> ArrayRef {
    let replaced = |texts: &StringArray| -> ArrayRef {
        Arc::new(texts.iter().map(|text| text.map(&replace)).collect::<StringArray>())
    };
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let values = replaced(dictionary.values().as_string::<i32>());
            Arc::new(DictionaryArray::new(dictionary.keys().clone(), values))
        }
        _ => replaced(column.as_string::<i32>()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{
        decode::{Decoder, Rules},
        event::Record,
        position::Partition,
        schema::{Column, ColumnType, Schema as Columns},
    };

    fn decoded(value: &str, protection: Protection, key: Option<PseudonymKey>) -> crate::event::Decoded {
        let optional = |name| Column { nullable: true, ..Column::new(name, ColumnType::String) };
        let columns = vec![Column::new("at", ColumnType::Timestamp), optional("who"), optional("what")];
        let mut rules = Rules::new(Arc::new(Columns::new(columns)), "at");
        rules.protected = Some(Protected { columns: BTreeMap::from([("who".to_owned(), protection)]), key });
        let record = |offset| Record {
            topic: "t".into(),
            partition: Partition(0),
            offset,
            timestamp_us: 0,
            key: Some("ann".into()),
            headers: vec![("from".to_owned(), "ann".into())],
            value: Some(value.to_owned().into()),
        };
        Decoder::new(rules).decode(&(0..3).map(record).collect())
    }

    fn column(events: &RecordBatch, name: &str) -> Vec<Option<String>> {
        let texts = arrow::compute::cast(events.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    const ROW: &str = r#"{"at":"2026-01-01T00:00:00Z","who":"ann","what":"tea"}"#;

    #[test]
    fn values_are_replaced_and_others_stay() {
        let key = PseudonymKey::new("a long enough secret");
        let events = decoded(ROW, Protection::Pseudonym, Some(key)).events;
        let pseudonym = key.pseudonym(b"ann");
        assert_eq!(pseudonym.len(), 32);
        assert_eq!(column(&events, "who"), vec![Some(pseudonym.clone()); 3]);
        assert_eq!(column(&events, "what"), vec![Some("tea".to_owned()); 3]);
        let keys = events.column_by_name(KEY).unwrap().as_binary::<i32>().value(0);
        assert_eq!(keys, pseudonym.as_bytes(), "the record's key is a pseudonym of the same value");
        assert_ne!(PseudonymKey::new("another secret").pseudonym(b"ann"), pseudonym);
        assert_eq!(column(&decoded(ROW, Protection::Mask, None).events, "who"), vec![Some(MASKED.to_owned()); 3]);
        assert_eq!(column(&decoded(ROW, Protection::Drop, None).events, "who"), vec![None; 3]);
        let events = decoded(ROW, Protection::Mask, None).events;
        assert_eq!(events.column_by_name(KEY).unwrap().null_count(), 3, "without a key, records' keys are dropped");
    }

    #[test]
    fn l7_a_dead_letter_has_its_reason_and_nothing_of_its_record() {
        let row = r#"{"at":"no time","who":"ann","what":"tea"}"#;
        let decoded = decoded(row, Protection::Mask, None);
        assert_eq!(decoded.dead_letters.len(), 3);
        let letter = &decoded.dead_letters[1];
        assert_eq!((letter.column.as_deref(), letter.record.offset), (Some("at"), 1));
        let text = crate::dead_letter::to_json(letter).to_string();
        assert!(!text.contains("ann") && !text.contains("no time"), "{text}");
        assert_eq!(format!("{:?}", PseudonymKey::new("hush")), "PseudonymKey");
    }
}
