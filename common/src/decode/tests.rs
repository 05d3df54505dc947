#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use arrow::{
    array::{Array, AsArray},
    datatypes::{Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;

use super::*;
use crate::{
    event::{DeadLetter, Reason},
    position::Partition,
    schema::{Column, Range, TimestampFormat},
};

/// 2013-01-01T12:00:00Z, the time of the test's clock.
const NOON_US: i64 = 1_357_041_600_000_000;

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now_us(&self) -> i64 {
        NOON_US
    }
}

fn column(name: &str, column_type: ColumnType) -> Column {
    let timestamp_format = TimestampFormat::Rfc3339;
    Column { name: name.to_owned(), column_type, timestamp_format, nullable: true, range: None }
}

/// `at`, the event time in microseconds, and `columns`.
fn decoder(columns: Vec<Column>) -> Decoder {
    decoder_within(columns, None, None)
}

fn decoder_within(columns: Vec<Column>, ahead_max: Option<&str>, behind_max: Option<&str>) -> Decoder {
    let at = Column { timestamp_format: TimestampFormat::Micros, ..column("at", ColumnType::Timestamp) };
    let schema = Arc::new(Schema::new(std::iter::once(at).chain(columns).collect()));
    let duration = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    let (ahead_max, behind_max) = (duration(ahead_max), duration(behind_max));
    Decoder::new(Rules { schema, event_time: "at".to_owned(), ahead_max, behind_max }, Arc::new(Noon))
}

/// One of each type.
fn columns_of_all_types() -> Vec<Column> {
    vec![
        column("int", ColumnType::Int),
        column("double", ColumnType::Double),
        column("decimal", ColumnType::Decimal { precision: 10, scale: 2 }),
        column("string", ColumnType::String),
        column("bool", ColumnType::Bool),
        column("time", ColumnType::Timestamp),
    ]
}

fn records<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Vec<Record> {
    let record = |(offset, value): (usize, V)| Record {
        topic: "flights".into(),
        partition: Partition(3),
        offset: offset as u64 + 100,
        timestamp_us: NOON_US,
        key: (offset % 2 == 0).then(|| Bytes::from("key")),
        headers: vec![("trace".to_owned(), Bytes::from_static(b"\xFF"))],
        value: Some(Bytes::copy_from_slice(value.as_ref())),
    };
    values.into_iter().enumerate().map(record).collect()
}

/// The one dead letter that `value` becomes.
#[track_caller]
fn letter(decoder: &mut Decoder, value: impl AsRef<[u8]>) -> DeadLetter {
    let mut decoded = decoder.decode(records([value]));
    assert_eq!(decoded.events.num_rows(), 0);
    decoded.dead_letters.pop().expect("a dead letter")
}

/// The value in row 0 of the column after `at`, as text; null as `null`.
fn first_value(decoded: &Decoded) -> String {
    let column = decoded.events.column(1);
    if column.is_null(0) {
        return "null".to_owned();
    }
    match column.data_type() {
        arrow::datatypes::DataType::Utf8 => column.as_string::<i32>().value(0).to_owned(),
        arrow::datatypes::DataType::Boolean => column.as_boolean().value(0).to_string(),
        arrow::datatypes::DataType::Int64 => column.as_primitive::<Int64Type>().value(0).to_string(),
        arrow::datatypes::DataType::Float64 => column.as_primitive::<Float64Type>().value(0).to_string(),
        arrow::datatypes::DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(0),
        _ => column.as_primitive::<TimestampMicrosecondType>().value(0).to_string(),
    }
}

/// Every `(value, expected)` is read as expected by a column of this type: a value as text, or the reason it is refused.
#[track_caller]
fn check_column(column: &Column, cases: &[(&str, Result<&str, Reason>)]) {
    for (value, expected) in cases {
        let decoded =
            decoder(vec![column.clone()]).decode(records([format!(r#"{{"at":0,"{}":{value}}}"#, column.name)]));
        let found = match decoded.dead_letters.first() {
            Some(letter) => Err(letter.reason),
            None => Ok(first_value(&decoded)),
        };
        assert_eq!(found, expected.map(str::to_owned), "{value} as {}", column.column_type);
    }
}

const TYPE: Result<&str, Reason> = Err(Reason::Type);

#[test]
fn ints_are_whole_numbers_of_64_bits_however_written() {
    let cases = [
        ("0", Ok("0")),
        ("-7", Ok("-7")),
        ("1.0", Ok("1")),
        ("12e2", Ok("1200")),
        ("9223372036854775807", Ok("9223372036854775807")),
        ("-9223372036854775808", Ok("-9223372036854775808")),
        ("9223372036854775808", TYPE),
        ("1.5", TYPE),
        ("1e-1", TYPE),
        (r#""1""#, TYPE),
        ("true", TYPE),
        ("[1]", TYPE),
        ("{}", TYPE),
        ("null", Ok("null")),
    ];
    check_column(&column("x", ColumnType::Int), &cases);
}

#[test]
fn doubles_are_finite_numbers() {
    let cases = [
        ("1", Ok("1")),
        ("-0.5", Ok("-0.5")),
        ("1e400", TYPE),
        ("123456789012345678901234567890", Ok("123456789012345680000000000000")),
        (r#""NaN""#, TYPE),
        ("null", Ok("null")),
    ];
    check_column(&column("x", ColumnType::Double), &cases);
}

#[test]
fn decimals_are_taken_digit_by_digit() {
    let cases = [
        ("1.10", Ok("1.10")),
        (r#""1.1""#, Ok("1.10")),
        (r#""\u0031.1""#, Ok("1.10")),
        ("1.1000", Ok("1.10")),
        ("0.29", Ok("0.29")),
        ("-99999999.99", Ok("-99999999.99")),
        ("100000000", TYPE),
        ("1.101", TYPE),
        (r#""1.1 ""#, TYPE),
        (r#""""#, TYPE),
        ("true", TYPE),
    ];
    check_column(&column("x", ColumnType::Decimal { precision: 10, scale: 2 }), &cases);
}

#[test]
fn strings_and_bools_are_nothing_else() {
    let strings = [
        (r#""""#, Ok("")),
        (r#""a\"\\\/\b\f\n\r\tA""#, Ok("a\"\\/\u{8}\u{c}\n\r\tA")),
        (r#""\uD83D\uDE00 é""#, Ok("\u{1F600} é")),
        (r#""\u0000""#, Ok("\0")),
        ("1", TYPE),
        ("false", TYPE),
    ];
    check_column(&column("x", ColumnType::String), &strings);
    check_column(
        &column("x", ColumnType::Bool),
        &[("true", Ok("true")), ("false", Ok("false")), ("1", TYPE), (r#""true""#, TYPE)],
    );
}

#[test]
fn timestamps_are_read_by_their_format() {
    let time = column("x", ColumnType::Timestamp);
    let cases = [
        (r#""1970-01-01T00:00:01Z""#, Ok("1000000")),
        // As .NET escapes it.
        (r#""1970-01-01T01:00:01\u002B01:00""#, Ok("1000000")),
        (r#""1970-01-01""#, TYPE),
        ("1", TYPE),
    ];
    check_column(&time, &cases);
    let with = |timestamp_format| Column { timestamp_format, ..time.clone() };
    check_column(&with(TimestampFormat::Seconds), &[("1", Ok("1000000")), ("1.0", Ok("1000000")), ("1.5", TYPE)]);
    check_column(&with(TimestampFormat::Millis), &[("1", Ok("1000")), (r#""1""#, TYPE), ("1e300", TYPE)]);
    check_column(&with(TimestampFormat::Nanos), &[("1999", Ok("1")), ("-1", Ok("-1"))]);
}

#[test]
fn ranges_are_inclusive() {
    let int = |min, max| Column { range: Some(Range::Int { min, max }), ..column("x", ColumnType::Int) };
    let range = Err(Reason::Range);
    check_column(&int(-1, 2), &[("-2", range), ("-1", Ok("-1")), ("2", Ok("2")), ("3", range), ("null", Ok("null"))]);
    let double = |min, max| Column { range: Some(Range::Double { min, max }), ..column("x", ColumnType::Double) };
    check_column(&double(0.5, 1.0), &[("0.4", range), ("0.5", Ok("0.5")), ("1", Ok("1")), ("1.1", range)]);
    for (column, value, allowed) in [
        (int(0, 1000), "1001", "0 to 1000"),
        (int(1, i64::MAX), "0", "1 or more"),
        (double(f64::NEG_INFINITY, 0.5), "0.75", "0.5 or less"),
    ] {
        let letter = letter(&mut decoder(vec![column]), format!(r#"{{"at":0,"x":{value}}}"#));
        assert_eq!(letter.detail, format!("column x: found {value}; allowed is {allowed}"));
    }
}

#[test]
fn a_column_that_may_not_be_null_must_be_there() {
    let required = Column { nullable: false, ..column("x", ColumnType::String) };
    let mut decoder = decoder(vec![required]);
    let absent = letter(&mut decoder, r#"{"at":0}"#);
    assert_eq!((absent.reason, absent.column.as_deref()), (Reason::Missing, Some("x")));
    assert_eq!(absent.detail, "column x: found nothing; allowed is a string");
    let null = letter(&mut decoder, r#"{"at":0,"x":null}"#);
    assert_eq!((null.reason, null.column.as_deref()), (Reason::Missing, Some("x")));
    assert_eq!(null.detail, "column x: found null; allowed is a string");
    // The event time is required even where the schema lets it be null.
    assert_eq!(letter(&mut decoder, r#"{"x":"y"}"#).column.as_deref(), Some("at"));
}

#[test]
fn event_times_are_held_against_the_clock_and_the_record() {
    let mut decoder = decoder_within(vec![], Some("1h"), Some("2h"));
    let hour_us = 3_600_000_000;
    let event = |us: i64| format!(r#"{{"at":{us}}}"#);
    let allowed = [event(NOON_US + hour_us), event(NOON_US - 2 * hour_us)];
    assert_eq!(decoder.decode(records(allowed)).events.num_rows(), 2);
    let ahead = letter(&mut decoder, event(NOON_US + hour_us + 1));
    assert_eq!(ahead.reason, Reason::TooFarAhead);
    assert_eq!(
        ahead.detail,
        "column at: found 1357045200000001; allowed is up to 2013-01-01T13:00:00Z (1h ahead of the clock)"
    );
    let behind = letter(&mut decoder, event(NOON_US - 2 * hour_us - 1));
    assert_eq!((behind.reason, behind.column.as_deref()), (Reason::TooFarBehind, Some("at")));
    assert_eq!(
        behind.detail,
        "column at: found 1357034399999999; allowed is from 2013-01-01T10:00:00Z on (2h behind the record's time stamp)"
    );
}

#[test]
fn what_is_not_one_json_object_in_utf8_is_malformed() {
    let mut decoder = decoder(columns_of_all_types());
    let deep = format!(r#"{{"at":0,"x":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let deep_detail = format!("at byte 138: found {}…; allowed is less nesting", "[".repeat(64));
    let cases: [(&[u8], &str); 14] = [
        (b"", "at byte 0: found the end; allowed is an object"),
        (b"  [1]", "at byte 2: found [1]; allowed is an object"),
        (b"null", "at byte 0: found null; allowed is an object"),
        (b"{\"at\":0} x", "at byte 9: found x; allowed is nothing after the object"),
        (b"{\"at\":0,}", "at byte 8: found }; allowed is a name in quotes"),
        (b"{\"at\":0", "at byte 7: found the end; allowed is `,` or `}`"),
        (b"{\"at\" 0}", "at byte 6: found 0}; allowed is `:`"),
        (b"{\"at\":01}", "at byte 7: found 1}; allowed is `,` or `}`"),
        (b"{\"at\":-}", "at byte 7: found }; allowed is a digit"),
        (b"{\"at\":tru}", "at byte 6: found tru}; allowed is a value"),
        (b"{\"x\":\"\n\"}", "at byte 6: found \\n\"}; allowed is an escape in place of a control character"),
        (b"{\"x\":\"\\x\"}", "at byte 6: found \\x\"}; allowed is one of `\"\\/bfnrtu` after `\\`"),
        (b"{\"x\":\"\xFF\"}", "the value is not UTF-8 from byte 6 on"),
        (deep.as_bytes(), &deep_detail),
    ];
    for (value, detail) in cases {
        let letter = letter(&mut decoder, value);
        assert_eq!((letter.reason, letter.column, letter.detail.as_str()), (Reason::Malformed, None, detail));
    }
    for surrogate in [r"\uD800", r"\uDC00", r"\uD800\uD800", r"\uD800x", r"\uD800\n", r"\u12", r"\u12G4"] {
        let letter = letter(&mut decoder, format!(r#"{{"at":0,"unknown":"{surrogate}"}}"#));
        assert_eq!(letter.reason, Reason::Malformed, "{surrogate}");
    }
}

#[test]
fn objects_and_arrays_nest_as_deep_as_serde_json_lets_them() {
    for pairs in 58..68 {
        let (open, close) = (r#"[{"y":"#.repeat(pairs), "}]".repeat(pairs));
        for text in [format!(r#"{{"at":0,"x":{open}1{close}}}"#), format!(r#"{{"at":0,"x":{open}[]{close}}}"#)] {
            let accepted = decoder(vec![]).decode(records([&text])).events.num_rows() == 1;
            assert_eq!(accepted, serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_value_over_the_limit_is_too_large() {
    let mut decoder = decoder(vec![]);
    let filled = |length: usize| format!(r#"{{"at":0{}}}"#, " ".repeat(length - 8));
    assert_eq!(decoder.decode(records([filled(RECORD_BYTES_MAX)])).events.num_rows(), 1);
    let letter = letter(&mut decoder, filled(RECORD_BYTES_MAX + 1));
    assert_eq!(letter.reason, Reason::TooLarge);
    assert_eq!(letter.detail, "the value has 4194305 bytes; allowed are at most 4194304");
}

#[test]
fn details_quote_long_values_in_part() {
    let mut decoder = decoder(vec![column("x", ColumnType::Int)]);
    let letter = letter(&mut decoder, format!(r#"{{"at":0,"x":"{}"}}"#, "é".repeat(100)));
    let detail = format!("column x: found \"{}…; allowed is a whole number of 64 bits, or null", "é".repeat(63));
    assert_eq!(letter.detail, detail);
}

#[test]
fn of_a_name_that_repeats_the_last_value_counts() {
    let x = column("x", ColumnType::Int);
    check_column(&x, &[(r#""no", "x": 2"#, Ok("2")), (r#"1, "x": null"#, Ok("null")), (r#"1, "\u0078": 3"#, Ok("3"))]);
}

#[test]
fn a_broken_record_leaves_no_trace_in_the_events() {
    let mut decoder = decoder(columns_of_all_types());
    let good = |n: usize| {
        format!(r#"{{"at":{n},"int":{n},"double":{n},"decimal":{n},"string":"s{n}","bool":true,"time":null}}"#)
    };
    // Each breaks one column later than the one before, with all columns before it already taken.
    let broken = ["int", "double", "decimal", "string", "bool", "time"].map(|name| {
        let values = columns_of_all_types().into_iter().map(|c| match c.name.as_str() {
            other if other == name => format!(r#","{name}":[]"#),
            "string" => r#","string":"left over""#.to_owned(),
            "bool" => r#","bool":false"#.to_owned(),
            "time" => r#","time":"2013-01-01T00:00:00Z""#.to_owned(),
            number => format!(r#","{number}":99"#),
        });
        format!(r#"{{"at":99{}}}"#, values.collect::<String>())
    });
    let mixed: Vec<String> = broken.into_iter().enumerate().flat_map(|(n, broken)| [broken, good(n)]).collect();
    let decoded = decoder.decode(records(mixed));
    assert_eq!(decoded.dead_letters.len(), 6);
    let clean = decoder.decode(records((0..6).map(good)));
    let own = 0..decoder.rules.schema.columns().len();
    assert_eq!(decoded.events.num_rows(), 6);
    assert_eq!(decoded.events.columns()[own.clone()], clean.events.columns()[own]);
    let offsets = decoded.events.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    assert_eq!(offsets.values().to_vec(), [101, 103, 105, 107, 109, 111]);
}

#[test]
fn every_event_says_where_it_came_from() {
    let decoded = decoder(vec![]).decode(records([r#"{"at":1}"#, r#"{"at":2}"#]));
    let events = &decoded.events;
    let column = |name: &str| events.column_by_name(name).unwrap();
    assert_eq!(column("_topic").as_string::<i32>().value(1), "flights");
    assert_eq!(column("_partition").as_primitive::<Int32Type>().values().to_vec(), [3, 3]);
    assert_eq!(column("_offset").as_primitive::<Int64Type>().values().to_vec(), [100, 101]);
    assert_eq!(column("_timestamp").as_primitive::<TimestampMicrosecondType>().value(0), NOON_US);
    let keys = column("_key").as_binary::<i32>();
    assert_eq!((keys.value(0), keys.is_null(1)), (b"key".as_slice(), true));
}

// What random records are made of: JSON by the grammar, in all its spellings, and then broken.

fn space() -> impl Strategy<Value = String> {
    prop_oneof![5 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 .:+-]{0,12}",
        2 => any::<String>().prop_map(|s| {
            let quoted = serde_json::to_string(&s).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        }),
        1 => r#"\\["\\/bfnrt]"#,
        1 => r"\\u[0-9a-fA-F]{4}",
        1 => r"\\uD8[0-9a-f]{2}\\uDC[0-9A-F]{2}",
    ];
    vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => r"-?(0|[1-9][0-9]{0,7})",
        2 => r"-?(0|[1-9][0-9]{0,4})\.[0-9]{1,4}([eE][+-]?[0-9]{1,2})?",
        3 => string(),
        1 => r#""-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?""#,
        1 => r#""20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,7})?(Z|[+-][01][0-9]:[03]0)""#,
        2 => select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        let member =
            (string(), space(), inner.clone()).prop_map(|(name, space, value)| format!("{name}{space}:{value}"));
        prop_oneof![
            (vec(inner, 0..4), space()).prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (vec(member, 0..4), space())
                .prop_map(|(members, space)| format!("{{{space}{}{space}}}", members.join(&format!("{space},")))),
        ]
    })
}

/// A JSON object, mostly of the columns that [`columns_of_all_types`] has.
fn object() -> impl Strategy<Value = String> {
    let names =
        ["at", "int", "double", "decimal", "string", "bool", "time", "unknown", r"\u0069nt", "strin\\u0067", "ïnt"];
    let name = prop_oneof![9 => select(names.to_vec()).prop_map(|name| format!("\"{name}\"")), 1 => string()];
    let member = (space(), name, space(), space(), value(), space());
    let member = member.prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
    (vec(member, 0..8), any::<bool>()).prop_map(|(mut members, timed)| {
        if timed {
            members.push(r#""at":1"#.to_owned());
        }
        format!("{{{}}}", members.join(","))
    })
}

/// The bytes of a record: an object as it is, cut off, with bytes changed, or noise.
fn broken_object() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        select(br#"{}[]":,\u0123456789.eE+-tfn "#.to_vec()),
        select(vec![0, 0x1F, 0x7F, 0x80, 0xC3, 0xED, 0xA0, 0xFF]),
        any::<u8>(),
    ];
    let change = (any::<prop::sample::Index>(), 0..4_u8, byte);
    prop_oneof![
        4 => object().prop_map(String::into_bytes),
        3 => (object(), any::<prop::sample::Index>()).prop_map(|(object, cut)| object.as_bytes()[..cut.index(object.len())].to_vec()),
        4 => (object(), vec(change, 1..4)).prop_map(|(object, changes)| {
            changes.into_iter().fold(object.into_bytes(), |mut bytes, (at, kind, byte)| {
                let at = at.index(bytes.len() + 1);
                match kind {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
                bytes
            })
        }),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// What serde_json and jiff make of a column's value: its text as [`first_value`] has it, or the reason it is refused.
/// `None` where they cannot tell, as they go through doubles.
fn expected(column: &Column, value: Option<&Value>) -> Option<Result<Value, Reason>> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Some(Ok(Value::Null));
    };
    let same = |fits: bool| Some(if fits { Ok(value.clone()) } else { Err(Reason::Type) });
    match (column.column_type, value) {
        (ColumnType::String, value) => same(value.is_string()),
        (ColumnType::Bool, value) => same(value.is_boolean()),
        (ColumnType::Int, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(_), _) => same(true),
            (None, Some(double)) if double.abs() < 9e15 => {
                Some(if double.fract() == 0.0 { Ok((double as i64).into()) } else { Err(Reason::Type) })
            }
            _ => None,
        },
        (ColumnType::Double, Value::Number(_)) => same(true),
        (ColumnType::Timestamp, Value::String(text)) => Some(time::rfc3339(text).map(Value::from).ok_or(Reason::Type)),
        (ColumnType::Decimal { .. }, Value::Number(_) | Value::String(_)) => None,
        _ => same(false),
    }
}

/// The value in row 0 of column `at`, as serde_json would have it.
fn found(decoded: &Decoded, at: usize) -> Value {
    let column = decoded.events.column(at);
    if column.is_null(0) {
        return Value::Null;
    }
    match column.data_type() {
        arrow::datatypes::DataType::Utf8 => column.as_string::<i32>().value(0).into(),
        arrow::datatypes::DataType::Boolean => column.as_boolean().value(0).into(),
        arrow::datatypes::DataType::Int64 => column.as_primitive::<Int64Type>().value(0).into(),
        arrow::datatypes::DataType::Float64 => column.as_primitive::<Float64Type>().value(0).into(),
        arrow::datatypes::DataType::Decimal128(..) => {
            column.as_primitive::<Decimal128Type>().value(0).to_string().into()
        }
        _ => column.as_primitive::<TimestampMicrosecondType>().value(0).into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_record_is_malformed_exactly_where_serde_json_says_so(value in broken_object()) {
        let parsed = serde_json::from_slice::<Value>(&value);
        // A number too large for a double is well-formed all the same; serde_json cannot hold it.
        prop_assume!(!matches!(&parsed, Err(error) if error.to_string().contains("out of range")));
        let well_formed = parsed.is_ok_and(|value| value.is_object());
        let decoded = decoder(columns_of_all_types()).decode(records([&value]));
        let malformed = decoded.dead_letters.iter().any(|letter| letter.reason == Reason::Malformed);
        prop_assert_eq!(malformed, !well_formed, "{:?}: {:?}", String::from_utf8_lossy(&value), decoded.dead_letters);
    }

    #[test]
    fn values_are_what_serde_json_reads(object in object()) {
        let Ok(parsed) = serde_json::from_str::<Value>(&object) else { return Ok(()) };
        for column in columns_of_all_types() {
            // The event time must not be what fails.
            let mut timed = parsed.as_object().unwrap().clone();
            timed.insert("at".to_owned(), 1.into());
            let Some(expected) = expected(&column, timed.get(&column.name)) else { continue };
            let members = &object[1..object.len() - 1];
            let text = format!("{{{members}{}\"at\":1}}", if members.is_empty() { "" } else { "," });
            let decoded = decoder(vec![column.clone()]).decode(records([&text]));
            match (decoded.dead_letters.first(), expected) {
                (Some(letter), expected) => prop_assert_eq!(Err(letter.reason), expected, "{}: {}", text, letter.detail),
                (None, Ok(Value::Number(expected))) if column.column_type == ColumnType::Double => {
                    // Without its feature float_roundtrip, serde_json may be off by a unit in the last place.
                    let (found, expected) = (found(&decoded, 1).as_f64().unwrap(), expected.as_f64().unwrap());
                    prop_assert!((found - expected).abs() <= expected.abs() * 1e-15, "{} {}", found, expected);
                }
                (None, expected) => prop_assert_eq!(Ok(found(&decoded, 1)), expected, "{}", text),
            }
        }
    }

    #[test]
    fn a_record_is_read_the_same_whatever_came_before(values in vec(broken_object(), 1..12)) {
        let together = decoder(columns_of_all_types()).decode(records(&values));
        let mut row = 0;
        for record in records(&values) {
            let alone = decoder(columns_of_all_types()).decode(vec![record]);
            match alone.dead_letters.first() {
                Some(letter) => prop_assert!(together.dead_letters.contains(letter)),
                None => {
                    prop_assert_eq!(&alone.events, &together.events.slice(row, 1));
                    row += 1;
                }
            }
        }
        prop_assert_eq!(row, together.events.num_rows());
    }

    #[test]
    fn l7_every_record_is_an_event_a_dead_letter_or_a_tombstone(values in vec(proptest::option::of(broken_object()), 0..20)) {
        let mut delivered = records(values.iter().map(|value| value.as_deref().unwrap_or_default()));
        for (record, value) in delivered.iter_mut().zip(&values) {
            if value.is_none() {
                record.value = None;
            }
        }
        let decoded = decoder(columns_of_all_types()).decode(delivered.clone());
        let offsets = decoded.events.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        let mut events = offsets.values().iter().map(|&offset| offset as u64).peekable();
        let mut letters = decoded.dead_letters.iter().peekable();
        let mut tombstones = 0;
        for record in &delivered {
            if events.next_if_eq(&record.offset).is_some() {
                prop_assert!(record.value.is_some());
            } else if let Some(letter) = letters.next_if(|letter| letter.record.offset == record.offset) {
                prop_assert_eq!(&letter.record, record, "a dead letter is kept whole");
                prop_assert!(record.value.is_some() && !letter.detail.is_empty());
            } else {
                prop_assert_eq!(&record.value, &None, "a record was dropped: {:?}", record);
                tombstones += 1;
            }
        }
        prop_assert!(events.next().is_none() && letters.next().is_none());
        prop_assert_eq!(tombstones, decoded.tombstones);
    }
}
