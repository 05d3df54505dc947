//! Columns from keys and headers, and from what the log says of a record.

use super::*;
use crate::schema::{Origin, Path};

fn from(origin: Origin, column: Column) -> Column {
    Column { origin, ..column }
}

fn header(name: &str) -> Origin {
    Origin::Header(name.to_owned())
}

/// A decoder of `columns`, the first of them the event time.
fn decoder_of(columns: Vec<Column>, keys: KeyFormat) -> Decoder {
    let event_time = columns[0].name.clone();
    Decoder::new(Rules { keys, ..Rules::new(Arc::new(Schema::new(columns)), &event_time) })
}

fn record(key: Option<&[u8]>, headers: &[(&str, &[u8])], value: &str) -> Record {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value))).collect();
    let mut record = records([value]).remove(0);
    (record.key, record.headers) = (key.map(Bytes::copy_from_slice), headers);
    record
}

/// The columns of the first event as text, or the detail of the dead letter.
fn row(decoder: &mut Decoder, record: Record) -> String {
    let columns = decoder.rules.schema.columns().len();
    let mut decoded = decoder.decode_records(vec![record]);
    match decoded.dead_letters.pop() {
        Some(letter) => format!("{:?}: {}", letter.reason, letter.detail),
        None => (0..columns).map(|at| value_in(&plain(&decoded), at, 0)).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn columns_are_taken_from_all_parts_of_a_record() {
    let at = from(Origin::Timestamp, Column::new("at", ColumnType::Timestamp));
    let mut decoder = decoder_of(
        vec![
            at,
            from(Origin::Offset, Column::new("offset", ColumnType::Int)),
            column("x", ColumnType::Int),
            from(Origin::Topic, Column::new("topic", ColumnType::String)),
            from(Origin::Key, column("customer", ColumnType::Int)),
            from(Origin::Partition, Column::new("partition", ColumnType::Int)),
            from(header("trace"), column("trace", ColumnType::String)),
            from(header("retry"), column("retry", ColumnType::Bool)),
            from(Origin::Key, column("key", ColumnType::String)),
        ],
        KeyFormat::Text,
    );
    let headers: [(&str, &[u8]); 3] = [("trace", b"first"), ("retry", b"true"), ("trace", "l\u{e4}st".as_bytes())];
    let first = record(Some(b"77"), &headers, r#"{"x":1,"at":2}"#);
    assert_eq!(row(&mut decoder, first), format!("{NOON_US} 100 1 flights 77 3 l\u{e4}st true 77"));
    assert_eq!(row(&mut decoder, record(None, &[], "{}")), format!("{NOON_US} 100 null flights null 3 null null null"));
    for (key, headers, detail) in [
        (
            Some(&b"x"[..]),
            [("trace", &b""[..])],
            "Type: column customer: found x; allowed is a whole number of 64 bits, or null",
        ),
        (Some(b"\xFF"), [("trace", b"")], "Malformed: the key: the value is not UTF-8 from byte 0 on"),
        (None, [("trace", b"\xFF")], "Malformed: the header trace is not UTF-8"),
        (None, [("retry", b"yes")], "Type: column retry: found yes; allowed is true or false, or null"),
    ] {
        assert_eq!(row(&mut decoder, record(key, &headers, "{}")), detail);
    }
    // What came before leaves no trace.
    assert_eq!(row(&mut decoder, record(Some(b"5"), &[], "{}")), format!("{NOON_US} 100 null flights 5 3 null null 5"));
}

#[test]
fn keys_of_json_have_paths() {
    let id = Column { path: Path::parse("$.id.n").unwrap(), nullable: false, ..Column::new("id", ColumnType::Int) };
    let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
    let columns = vec![from(Origin::Key, at), from(Origin::Key, id), column("id_too", ColumnType::Int)];
    let json = Format::Json(Framing::None);
    let mut decoder = decoder_of(columns.clone(), KeyFormat::As(json));
    let row = |decoder: &mut Decoder, key: Option<&[u8]>| row(decoder, record(key, &[], r#"{"id_too":1,"id":2}"#));
    assert_eq!(row(&mut decoder, Some(br#"{"at":5,"id":{"n":7}}"#)), "5 7 1");
    assert_eq!(
        row(&mut decoder, None),
        "Missing: column at: found nothing; allowed is a whole number of microseconds since 1970-01-01 UTC, in the years 1 to 9999"
    );
    assert_eq!(
        row(&mut decoder, Some(b"{")),
        "Malformed: the key: at byte 1: found the end; allowed is a name in quotes or `}`"
    );
    assert_eq!(
        row(&mut decoder, Some(br#"{"at":5,"id":{"n":"7"}}"#)),
        r#"Type: column id: found "7"; allowed is a whole number of 64 bits"#
    );
    let mut framed = decoder_of(columns, KeyFormat::As(Format::Json(Framing::Confluent)));
    assert_eq!(row(&mut framed, Some(b"\0\0\0\0\x09{\"at\":5,\"id\":{\"n\":7}}")), "5 7 1");
    let letter = row(&mut framed, Some(b"{}"));
    assert!(letter.starts_with("Malformed: the key: at byte 0: found 123; allowed is Confluent's framing"), "{letter}");
}

#[test]
fn an_event_time_from_anywhere_is_held_against_the_record() {
    let late = |origin: Origin, key: &str, headers: &[(&str, &[u8])]| {
        let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
        let schema = Arc::new(Schema::new(vec![from(origin, at)]));
        let rules = Rules { ahead_max: Some(SignedDuration::from_hours(1)), ..Rules::new(schema, "at") };
        row(&mut Decoder::new(rules), record(Some(key.as_bytes()), headers, "{}"))
    };
    let expected = "TooFarAhead: column at: found 2013-01-01T14:00:00Z; allowed is up to 2013-01-01T13:00:00Z \
                    (1h ahead of the record's time stamp)";
    let two_hours = (NOON_US + 7_200_000_000).to_string();
    assert_eq!(late(Origin::Key, &two_hours, &[]), expected);
    assert_eq!(late(header("at"), "", &[("at", two_hours.as_bytes())]), expected);
    assert_eq!(late(Origin::Timestamp, "", &[]), NOON_US.to_string());
}

#[test]
fn l7_a_tombstone_is_counted_whatever_its_key_says() {
    let columns = vec![
        from(Origin::Timestamp, Column::new("at", ColumnType::Timestamp)),
        from(Origin::Key, Column::new("id", ColumnType::Int)),
    ];
    let mut decoder = decoder_of(columns, KeyFormat::Text);
    let mut tombstone = record(Some(b"7"), &[], "");
    tombstone.value = None;
    let mut keyless = tombstone.clone();
    keyless.key = None;
    let decoded =
        decoder.decode_records(vec![record(Some(b"7"), &[], "{}"), tombstone, keyless, record(None, &[], "{}")]);
    assert_eq!((decoded.events.num_rows(), decoded.tombstones, decoded.dead_letters.len()), (1, 2, 1));
}
