//! CSV lines, held against the `csv` crate and against the same values in JSON.

use ::csv::WriterBuilder;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::event::Reason;

fn decoder_of_lines(columns: Vec<Column>, delimiter: u8) -> Decoder {
    let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
    let columns: Vec<Column> = std::iter::once(at).chain(columns).collect();
    // In another order than the columns, and with a field that is no column.
    let mut fields: Vec<String> = columns.iter().rev().map(|column| column.name.clone()).collect();
    fields.push("unknown".to_owned());
    let format = Format::Csv(CsvLayout { fields, delimiter });
    Decoder::new(Rules { format, ..Rules::new(Arc::new(Schema::new(columns)), "at") })
}

#[test]
fn a_line_is_one_record() {
    let mut decoder = decoder_of_lines(columns_of_all_types(), b',');
    let good = "2013-01-01T00:00:00Z,TRUE,\"a \"\"b\"\", c\",1.25,-0.5,7,5,x";
    for line in [good.to_owned(), format!("{good}\r\n"), format!("{good}\n"), good.replace("7,5,x", "7.0,5,")] {
        let decoded = decoder.decode_records(records([&line]));
        assert_eq!(decoded.dead_letters, [], "{line}");
        let row: Vec<String> = (0..7).map(|at| value_in(&plain(&decoded), at, 0)).collect();
        assert_eq!(row, ["5", "7", "-0.5", "1.25", "a \"b\", c", "true", "1356998400000000"]);
    }
    let nulls = decoder.decode_records(records([",,,,,,5,"]));
    assert!((1..7).all(|at| value_in(&plain(&nulls), at, 0) == "null"), "an empty field is null");
    for (line, detail) in [
        ("", "found 0 fields; allowed are exactly 8"),
        ("5", "found 1 field; allowed are exactly 8"),
        (",,,,,,5", "found 7 fields; allowed are exactly 8"),
        (",,,,,,5,,", "found 9 fields; allowed are exactly 8"),
        (",,,,,,5,,,", "found more fields; allowed are exactly 8"),
        (",,,,,,5,\n,,,,,,6,", "at byte 9: found another line; allowed is one line a record"),
        (",,,,,x,5,", "column int: found x; allowed is a whole number of 64 bits, or null"),
        (",yes,,,,,5,", "column bool: found yes; allowed is true or false, or null"),
        (
            ",,,,,,,",
            "column at: found nothing; allowed is a whole number of microseconds since 1970-01-01 UTC, in the years 1 to 9999",
        ),
    ] {
        let letter = letter(&mut decoder, line);
        assert_eq!(letter.detail, detail, "{line:?}");
        let reason = match (letter.column.is_some(), detail.contains("nothing")) {
            (true, true) => Reason::Missing,
            (true, false) => Reason::Type,
            (false, _) => Reason::Malformed,
        };
        assert_eq!(letter.reason, reason);
    }
    assert_eq!(letter(&mut decoder, b"\xFF,,,,,,5,").reason, Reason::Malformed);
}

#[test]
fn an_empty_line_of_one_field_is_a_null() {
    let at = Column { origin: crate::schema::Origin::Timestamp, ..Column::new("at", ColumnType::Timestamp) };
    let columns = vec![at, column("x", ColumnType::String)];
    let format = Format::Csv(CsvLayout { fields: vec!["x".to_owned()], delimiter: b'\t' });
    let mut decoder = Decoder::new(Rules { format, ..Rules::new(Arc::new(Schema::new(columns)), "at") });
    let decoded = decoder.decode_records(records(["", "a,b", "\n"]));
    let found: Vec<String> = (0..3).map(|row| value_in(&plain(&decoded), 1, row)).collect();
    assert_eq!(found, ["null", "a,b", "null"]);
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_is_read(texts in vec(vec("[a-z\"',;\t\r\n\u{e9} ]{0,9}", 3), 1..20), delimiter in proptest::sample::select(b",;\t|".to_vec())) {
        let columns = ["a", "b", "c"].map(|name| column(name, ColumnType::String));
        let mut decoder = decoder_of_lines(columns.to_vec(), delimiter);
        let line = |texts: &Vec<String>| {
            let mut writer = WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
            let fields = texts.iter().rev().map(String::as_str).chain(["1", "x"]);
            writer.write_record(fields).unwrap();
            writer.into_inner().unwrap()
        };
        let decoded = decoder.decode_records(records(texts.iter().map(line)));
        prop_assert_eq!(&decoded.dead_letters, &[]);
        let events = plain(&decoded);
        for (row, texts) in texts.iter().enumerate() {
            let found: Vec<String> = (1..4).map(|column| value_in(&events, column, row)).collect();
            let expected: Vec<String> = texts.iter().map(|text| if text.is_empty() { "null".to_owned() } else { text.clone() }).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn random_lines_become_events_or_letters(lines in vec(prop_oneof![vec(any::<u8>(), 0..60), "[0-9,\"\n]{0,40}".prop_map(String::into_bytes)], 1..40)) {
        let mut decoder = decoder_of_lines(columns_of_all_types(), b',');
        let decoded = decoder.decode_records(records(&lines));
        prop_assert_eq!(decoded.events.num_rows() + decoded.dead_letters.len(), lines.len());
    }
}
