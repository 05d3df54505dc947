#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use arrow::{
    array::{Array, AsArray},
    datatypes::{
        DataType, Decimal128Type, DecimalType as _, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};
use bytes::Bytes;

mod around;
mod avro;
mod csv;
mod encode;
mod formats;
mod properties;
mod protobuf;

use super::{json::Json, part::Reader, *};
use crate::{
    event::{DeadLetter, Reason, Record},
    limits::RECORD_BYTES_MAX,
    position::Partition,
    schema::{Column, Range, TimestampFormat},
};

/// 2013-01-01T12:00:00Z, the time stamp of the test's records.
const NOON_US: i64 = 1_357_041_600_000_000;

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { nullable: true, ..Column::new(name, column_type) }
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
    Decoder::new(Rules { ahead_max, behind_max, ..Rules::new(schema, "at") })
}

/// The reader of a decoder of JSON.
fn json(decoder: &mut Decoder) -> (&mut Json, &mut [ColumnBuilder]) {
    let Reader::Json { json, .. } = &mut decoder.value.reader else { panic!("the decoder reads JSON") };
    (json, &mut decoder.value.builders)
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

impl Decoder {
    /// As [`Self::decode`], of records of which each has bytes of its own.
    pub(crate) fn decode_records(&mut self, records: impl IntoIterator<Item = Record>) -> Decoded {
        self.decode(&records.into_iter().collect())
    }
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
    let mut decoded = decoder.decode_records(records([value]));
    assert_eq!(decoded.events.num_rows(), 0);
    decoded.dead_letters.pop().expect("a dead letter")
}

/// The events in the source's event schema: no strings as dictionaries.
fn plain(decoded: &Decoded) -> RecordBatch {
    let columns = decoded.events.columns().iter().map(|column| match column.data_type() {
        DataType::Dictionary(_, values) => arrow::compute::cast(column, values).unwrap(),
        _ => Arc::clone(column),
    });
    let fields = decoded.events.schema();
    let fields = fields.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, values) => field.as_ref().clone().with_data_type(values.as_ref().clone()),
        _ => field.as_ref().clone(),
    });
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())), columns.collect()).unwrap()
}

/// The value in row 0 of the column after `at`, as text; null as `null`.
fn first_value(decoded: &Decoded) -> String {
    value_in(&plain(decoded), 1, 0)
}

/// The value in a row of a column, as text; null as `null`.
fn value_in(events: &RecordBatch, column: usize, row: usize) -> String {
    let column = events.column(column).slice(row, 1);
    if column.is_null(0) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(0).to_owned(),
        DataType::Boolean => column.as_boolean().value(0).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(0).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(0).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(0),
        _ => column.as_primitive::<TimestampMicrosecondType>().value(0).to_string(),
    }
}

/// Every `(value, expected)` is read as expected by a column of this type: a value as text, or the reason it is refused.
#[track_caller]
fn check_column(column: &Column, cases: &[(&str, Result<&str, Reason>)]) {
    for (value, expected) in cases {
        let decoded =
            decoder(vec![column.clone()]).decode_records(records([format!(r#"{{"at":0,"{}":{value}}}"#, column.name)]));
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
fn event_times_are_held_against_the_records_time_stamp() {
    let mut decoder = decoder_within(vec![], Some("1h"), Some("2h"));
    let hour_us = 3_600_000_000;
    let event = |us: i64| format!(r#"{{"at":{us}}}"#);
    let allowed = [event(NOON_US + hour_us), event(NOON_US - 2 * hour_us)];
    assert_eq!(decoder.decode_records(records(allowed)).events.num_rows(), 2);
    let ahead = letter(&mut decoder, event(NOON_US + hour_us + 1));
    assert_eq!(ahead.reason, Reason::TooFarAhead);
    assert_eq!(
        ahead.detail,
        "column at: found 1357045200000001; allowed is up to 2013-01-01T13:00:00Z (1h ahead of the record's time stamp)"
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
    let long = r#"{"a name that is longer than a window shows":1,}"#;
    let cases: [(&[u8], &str); 16] = [
        (b"", "at byte 0: found the end; allowed is an object"),
        (b"  [1]", "at byte 2: found [1]; allowed is an object"),
        (b"null", "at byte 0: found null; allowed is an object"),
        (b"{\"at\":0} x", "at byte 9: found x; allowed is nothing after the object"),
        (b"{\"at\":0,}", "at byte 8: found }; allowed is a name in quotes"),
        (long.as_bytes(), "at byte 47: found }; allowed is a name in quotes"),
        (b"{\"at\":0,\0\"x\":1}", "at byte 8: found \\u{0}\"x\":1}; allowed is a name in quotes"),
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
            let accepted = decoder(vec![]).decode_records(records([&text])).events.num_rows() == 1;
            assert_eq!(accepted, serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_value_over_the_limit_is_too_large() {
    let mut decoder = decoder(vec![]);
    let filled = |length: usize| format!(r#"{{"at":0{}}}"#, " ".repeat(length - 8));
    assert_eq!(decoder.decode_records(records([filled(RECORD_BYTES_MAX)])).events.num_rows(), 1);
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
    let decoded = decoder.decode_records(records(mixed));
    assert_eq!(decoded.dead_letters.len(), 6);
    let clean = decoder.decode_records(records((0..6).map(good)));
    let own = 0..decoder.rules.schema.columns().len();
    assert_eq!(decoded.events.num_rows(), 6);
    assert_eq!(plain(&decoded).columns()[own.clone()], plain(&clean).columns()[own]);
    let offsets = decoded.events.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    assert_eq!(offsets.values().to_vec(), [101, 103, 105, 107, 109, 111]);
}

#[test]
fn every_event_says_where_it_came_from() {
    let decoded = decoder(vec![]).decode_records(records([r#"{"at":1}"#, r#"{"at":2}"#]));
    let events = plain(&decoded);
    let column = |name: &str| events.column_by_name(name).unwrap();
    assert_eq!(column("_topic").as_string::<i32>().value(1), "flights");
    assert_eq!(column("_partition").as_primitive::<Int32Type>().values().to_vec(), [3, 3]);
    assert_eq!(column("_offset").as_primitive::<Int64Type>().values().to_vec(), [100, 101]);
    assert_eq!(column("_timestamp").as_primitive::<TimestampMicrosecondType>().value(0), NOON_US);
    let keys = column("_key").as_binary::<i32>();
    assert_eq!((keys.value(0), keys.is_null(1)), (b"key".as_slice(), true));
}

/// `captain` and `pilot` lie deeper in the record.
fn nested() -> Vec<Column> {
    let at = |path: &str, column: Column| Column { path: crate::schema::Path::parse(path).unwrap(), ..column };
    vec![
        at("$.crew.captain.id", column("captain", ColumnType::Int)),
        at("$.crew.pilots[1]", column("second", ColumnType::String)),
        at("$['gate no']", column("gate", ColumnType::Int)),
        column("plain", ColumnType::Bool),
    ]
}

#[test]
fn paths_lead_through_objects_and_arrays() {
    let row = |record: &str| {
        let decoded = decoder(nested()).decode_records(records([record]));
        assert_eq!(decoded.dead_letters, [], "{record}");
        (1..=4).map(|column| value_in(&plain(&decoded), column, 0)).collect::<Vec<_>>().join(" ")
    };
    for (record, expected) in [
        (r#"{"at":0,"crew":{"captain":{"id":7},"pilots":["a","b"]},"gate no":3,"plain":true}"#, "7 b 3 true"),
        (r#"{ "crew" : { "pilots" : [ {"x":[1]} , "b" , 2 ] , "x" : {"id":1} } , "at" : 0 }"#, "null b null null"),
        // What is not there is null, and so is what the path does not lead to.
        (r#"{"at":0,"crew":{}}"#, "null null null null"),
        (r#"{"at":0,"crew":null,"captain":1,"id":2}"#, "null null null null"),
        (r#"{"at":0,"crew":{"captain":[{"id":7}],"pilots":{"1":"b"}}}"#, "null null null null"),
        (r#"{"at":0,"crew":{"captain":{"id":null},"pilots":[]}}"#, "null null null null"),
        (r#"{"at":0,"crew":["captain",{"id":7}]}"#, "null null null null"),
        // The last value of a name counts, whole.
        (r#"{"at":0,"crew":{"captain":{"id":7}},"crew":{"pilots":["a","b"]}}"#, "null b null null"),
        (r#"{"at":0,"crew":{"captain":{"id":7}},"crew":0}"#, "null null null null"),
        (r#"{"at":0,"crew":{"captain":{"id":7},"captain":{"id":8,"id":9}}}"#, "9 null null null"),
    ] {
        assert_eq!(row(record), expected, "{record}");
    }
    let letter = letter(&mut decoder(nested()), r#"{"at":0,"crew":{"captain":{"id":"x"}}}"#);
    assert_eq!(letter.detail, r#"column captain: found "x"; allowed is a whole number of 64 bits, or null"#);
}

#[test]
fn strings_are_dictionaries_while_they_repeat() {
    let is_coded = |decoded: &Decoded| matches!(decoded.events.column(1).data_type(), DataType::Dictionary(..));
    let mut decoder = decoder(vec![column("x", ColumnType::String)]);
    let decode = |decoder: &mut Decoder, texts: &[String]| {
        let decoded = decoder.decode_records(records(texts.iter().map(|text| format!(r#"{{"at":0,"x":"{text}"}}"#))));
        let events = plain(&decoded);
        let found = events.column(1).as_string::<i32>().iter().map(Option::unwrap);
        assert!(found.eq(texts.iter().map(String::as_str)));
        decoded
    };
    let few: Vec<String> = (0..100).map(|n| format!("text {}", n % 7)).collect();
    let (first, second) = (decode(&mut decoder, &few), decode(&mut decoder, &few[50..]));
    assert!(is_coded(&first) && is_coded(&second));
    let texts = |decoded: &Decoded| Arc::clone(decoded.events.column(1).as_any_dictionary().values());
    assert!(texts(&first).to_data().ptr_eq(&texts(&second).to_data()), "batches share the texts while none is new");
    // Fewer rows than texts are known.
    assert!(!is_coded(&decode(&mut decoder, &few[..10])));
    assert!(is_coded(&decode(&mut decoder, &few)));
    // No two the same, until the dictionary takes no more; then also what was in it.
    let all_new: Vec<String> = (0..5_000).map(|n| format!("no {n}")).collect();
    assert!(!is_coded(&decode(&mut decoder, &all_new)));
    assert!(!is_coded(&decode(&mut decoder, &few)));
}

#[test]
fn usual_records_need_no_second_look() {
    let mut decoder = decoder(columns_of_all_types().into_iter().chain(nested()).collect());
    let mut reads = |record: &str| {
        let (json, builders) = json(&mut decoder);
        let read = json.append_run(std::iter::once(record.as_bytes()), builders, 0);
        decoder.truncate(0);
        assert_eq!(read.odd, read.records == 0);
        !read.odd
    };
    for record in [
        r#"{"at":1,"int":-2,"double":0.5,"decimal":1.25,"string":"s","bool":false,"time":"2013-01-01T00:00:00Z"}"#,
        r#"{"bool":true,"string":"","decimal":"-1.2","double":3,"int":null,"at":1}"#,
        r#" { "at" : 1 , "unknown" : [ { "a" : "\u00e9" } , -1e9 ] , "string" : "caf\u00e9 é" , "int" : 1.0 } "#,
        r#"{"at":1e3,"double":12345678901234567890e-5,"decimal":1.000000000000000000000,"strin\u0067":"a\\b"}"#,
        r#"{"at":1,"crew":{"pilots":[0,"b"],"captain":{"id":7}},"gate no":3}"#,
        r#"{"at":1}"#,
    ] {
        assert!(reads(record), "{record}");
    }
    for record in [r#"{"at":1,"at":2}"#, r#"{"at":1,"crew":{},"crew":{}}"#, r#"{"at":1,"int":"x"}"#, r#"{"at":1"#, "{}"]
    {
        assert!(!reads(record), "{record}");
    }
}

#[test]
fn odd_records_leave_those_around_them_as_they_are() {
    let columns = || columns_of_all_types().into_iter().chain(nested()).collect();
    let values: Vec<Option<String>> = (0..3_000_u32)
        .map(|n| match n {
            _ if n % 211 == 0 => None,
            _ if n % 97 == 0 => Some(format!(r#"{{"at":{n},"int":"x"}}"#)),
            _ if n % 89 == 0 => Some(format!(r#"{{"at":{n},"int":{n}"#)),
            _ if n % 83 == 0 => Some(format!(r#"{{"at":{n},"int":1,"int":{n}}}"#)),
            _ if n % 79 == 0 => Some(format!(r#"{{"at":{n},"string":"{}"}}"#, "é\\n".repeat(40_000))),
            _ if n < 1_000 => Some(format!(r#"{{"at":{n},"int":{n},"string":"s{}","double":0.5}}"#, n % 7)),
            _ => Some(format!(r#"{{"double":1e{},"at":{n},"bool":true,"string":"{n}"}}"#, n % 300)),
        })
        .collect();
    let mut delivered = records(values.iter().map(|value| value.as_deref().unwrap_or_default()));
    for (record, value) in delivered.iter_mut().zip(&values) {
        record.value = record.value.take().filter(|_| value.is_some());
    }
    let together = decoder(columns()).decode_records(delivered.clone());
    let general = properties::generally(decoder(columns()), delivered);
    assert_eq!(together.dead_letters, general.dead_letters);
    assert_eq!((plain(&together), together.tombstones), (plain(&general), general.tombstones));
    assert!(together.dead_letters.len() > 60 && together.tombstones == 15);
}

/// Decodes `values` by both paths, and says which became dead letters.
#[track_caller]
fn decode_both_ways(columns: impl Fn() -> Vec<Column>, values: &[Vec<u8>]) -> Vec<u64> {
    let bet = decoder(columns()).decode_records(records(values));
    let general = properties::generally(decoder(columns()), records(values));
    assert_eq!(bet.dead_letters, general.dead_letters);
    assert_eq!(plain(&bet), plain(&general));
    bet.dead_letters.iter().map(|letter| letter.record.offset - 100).collect()
}

#[test]
fn texts_may_hold_what_ends_values_also_where_chunks_meet() {
    let texts = [
        r#", "x""#,
        r#"a","int":7,"b":""#,
        "},{",
        r#"\"#,
        r#"\""#,
        r#"\\\\"#,
        r#"\"#,
        r#"\\\"#,
        r#"a\",\"int\":7"#,
        "a\tb",
        r#"a" "b"#,
        r#"a""b"#,
        "é,}",
        "\u{10FFFF}\"",
        r#"\uD834\uDD1E"#,
        r#"\uD834"#,
        "]:[",
    ];
    let write = |text: &str, before: usize| {
        let filler = "x".repeat(before);
        format!(r#"{{"at":1,"string":"{filler}{text}","int":2,"unknown":"{text}"}}"#).into_bytes()
    };
    for text in texts {
        let values: Vec<Vec<u8>> = (0..70).flat_map(|before| [write("plain", before), write(text, before)]).collect();
        let letters = decode_both_ways(columns_of_all_types, &values);
        let well_formed = serde_json::from_slice::<serde_json::Value>(&values[1]).is_ok();
        // Each other record, or none.
        assert!(letters.is_empty() == well_formed && letters.iter().all(|offset| offset % 2 == 1), "{text}");
    }
}

#[test]
fn records_may_end_anywhere() {
    let whole = r#"{"at":1,"string":"a, \"b\"","int":-12,"crew":{"captain":{"id":7},"pilots":["a","b"]},"unknown":[{}],"bool":true}"#;
    let columns = || columns_of_all_types().into_iter().chain(nested()).collect();
    let cut = (0..=whole.len()).flat_map(|length| [whole.as_bytes().to_vec(), whole.as_bytes()[..length].to_vec()]);
    let letters = decode_both_ways(columns, &cut.collect::<Vec<_>>());
    assert_eq!(letters, (0..whole.len() as u64).map(|at| 2 * at + 1).collect::<Vec<_>>());
}

#[test]
fn layouts_may_change_from_record_to_record() {
    let layouts = [
        r#"{"at":1,"int":N,"string":"N"}"#,
        r#"{ "at": 1, "int": N, "string": "N" }"#,
        "{\n  \"at\": 1,\n  \"string\": \"N\",\n  \"int\": N\n}\n",
        r#"{"string":"N","at":1,"int":N,"unknown":{"id":N,"x":["N",{}]}}"#,
        r#"{"crew":{"captain":{"id":N,"name":"N"},"pilots":[N,"N"]},"at":1}"#,
        r#"{"crew":{"pilots":["N","N"]},"at":1,"a name that is much longer than what is compared at once":N,"bool":null}"#,
        r#"{"at":1,"crew":N}"#,
        r#"{"at":1}"#,
    ];
    let columns = || columns_of_all_types().into_iter().chain(nested()).collect();
    let written = |n: usize, layout: &str| layout.replace('N', &n.to_string()).into_bytes();
    for kinds in 1..=layouts.len() {
        let in_turn: Vec<Vec<u8>> = (0..600).map(|n| written(n, layouts[n % kinds])).collect();
        assert_eq!(decode_both_ways(columns, &in_turn), [0; 0], "{kinds} in turn");
        let in_runs: Vec<Vec<u8>> = (0..600).map(|n| written(n, layouts[n / 50 % kinds])).collect();
        assert_eq!(decode_both_ways(columns, &in_runs), [0; 0], "{kinds} in runs");
    }
}
