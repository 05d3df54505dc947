//! What is read of any record, held against serde_json, and against the general path.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;
use sonic_rs::LazyValue;

use super::*;
use crate::{schema::Step, testing::exactly};

// What random records are made of: JSON by the grammar, in all its spellings, and then broken.

fn space() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
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
        1 => "[ -!#-\\[\\]-~]{24,40}",
    ];
    vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => r"-?(0|[1-9][0-9]{0,7})",
        2 => r"-?(0|[1-9][0-9]{0,21})",
        2 => r"-?(0|[1-9][0-9]{0,7})\.[0-9]{1,3}",
        2 => r"-?(0|[1-9][0-9]{0,18})\.[0-9]{1,20}",
        2 => r"-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?[eE][+-]?[0-9]{1,3}",
        1 => select(vec![
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
            "18446744073709551615", "18446744073709551616", "9007199254740993", "1.7976931348623157e308",
            "1.7976931348623159e308", "5e-324", "2e-324", "-0", "-0.0", "0e99999999999", "1e-99999999999", "99999999.99",
            "100000000.00", "-99999999.990", "1.0", "10e-1", "62135596800000001", "253402300799999999",
            "253402300800000000", "01", "1.", "-", "+1", ".5", "1e", "NaN",
        ]).prop_map(str::to_owned),
    ]
}

fn time() -> impl Strategy<Value = String> {
    r#""(20[0-9]{2}-[01][0-9]-[0-3][0-9]|0001-01-01|9999-12-31)[Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,7})?(Z|z|[+-][01][0-9]:[03]0)""#
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => number(),
        3 => string(),
        1 => number().prop_map(|number| format!("\"{number}\"")),
        1 => time(),
        2 => select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        let name = prop_oneof![2 => select(vec!["captain", "pilots", "id"]).prop_map(|name| format!("\"{name}\"")), 1 => string()];
        let member = (name, space(), inner.clone()).prop_map(|(name, space, value)| format!("{name}{space}:{value}"));
        prop_oneof![
            (vec(inner, 0..4), space()).prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (vec(member, 0..4), space())
                .prop_map(|(members, space)| format!("{{{space}{}{space}}}", members.join(&format!("{space},")))),
        ]
    })
}

/// One of each type, and some that lie deeper.
fn columns() -> Vec<Column> {
    let mut columns: Vec<Column> = columns_of_all_types().into_iter().chain(nested()).collect();
    columns.push(Column { timestamp_format: TimestampFormat::Nanos, ..column("nanos", ColumnType::Timestamp) });
    columns.push(column("wide", ColumnType::Decimal { precision: 38, scale: 19 }));
    columns
}

/// A member of a record: mostly one that a column may take.
fn member() -> impl Strategy<Value = String> {
    let crew = |id, first, second| format!(r#"{{"captain":{{"id":{id}}},"pilots":[{first},{second}]}}"#);
    let fitting = prop_oneof![
        (select(vec!["int", "double", "decimal", "nanos", "wide", "gate no", "at"]), number().boxed()),
        (select(vec!["decimal", "wide"]), number().prop_map(|number| format!("\"{number}\"")).boxed()),
        (select(vec!["string", "strin\\u0067"]), string().boxed()),
        (select(vec!["bool", "plain"]), select(vec!["true", "false", "null"]).prop_map(str::to_owned).boxed()),
        (Just("time"), time().boxed()),
        (Just("crew"), (number(), scalar(), string()).prop_map(move |(a, b, c)| crew(a, b, c)).boxed()),
    ];
    let names = vec!["at", "int", "double", "decimal", "string", "bool", "time", "crew", "gate no", "unknown", "ïnt"];
    let name = prop_oneof![9 => fitting.prop_map(|(name, value)| (format!("\"{name}\""), value)),
        3 => (select(names).prop_map(|name| format!("\"{name}\"")), value()),
        1 => (string(), value())];
    (space(), name, space(), space(), space())
        .prop_map(|(a, (name, value), b, c, d)| format!("{a}{name}{b}:{c}{value}{d}"))
}

/// A JSON object, mostly of what [`columns`] has.
fn object() -> impl Strategy<Value = String> {
    (vec(member(), 0..8), 0..4_u8).prop_map(|(mut members, at)| {
        match at {
            0 => {}
            1 => members.push(r#""at":1"#.to_owned()),
            _ => members.insert(0, r#""at":1"#.to_owned()),
        }
        format!("{{{}}}", members.join(","))
    })
}

/// The bytes of a record: an object as it is, cut off, with bytes changed, or noise.
fn broken_object() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        select(br#"{}[]":,\u0123456789.eE+-tfn "#.to_vec()),
        select(vec![0, 1, 0x1F, 0x7F, 0x80, 0xC3, 0xED, 0xA0, 0xFF]),
        any::<u8>(),
    ];
    let change = (any::<prop::sample::Index>(), 0..4_u8, byte);
    prop_oneof![
        6 => object().prop_map(String::into_bytes),
        2 => (object(), any::<prop::sample::Index>()).prop_map(|(object, cut)| object.as_bytes()[..cut.index(object.len())].to_vec()),
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

/// What makes a record another one where it is put in, though its form may seem the same.
fn intruder() -> impl Strategy<Value = Vec<u8>> {
    let texts = select(vec![
        "\"",
        "\"\"",
        "\"x\"",
        "x\"",
        "\",\"",
        "\\",
        "\\\"",
        "\\\\",
        "\\\\\"",
        "\\n",
        "\\u00e9",
        "\\u0",
        "é",
        ",",
        "}",
        "]",
        "},{",
        "{}",
        "[]",
        ":",
        " ",
        "\n",
        "\0",
        ",\"int\":7",
        ",\"unknown\":\"\"\"\"",
        "\",\"bool\":true,\"x\":\"",
    ]);
    prop_oneof![4 => texts.prop_map(|text| text.as_bytes().to_vec()), 1 => select(vec![vec![0xFF], vec![0xC3]])]
}

/// Records of which many are written alike: some of a few, each with some of its digits and letters changed, and few with
/// something put in.
fn alike() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let place = || any::<prop::sample::Index>();
    let intruders = prop_oneof![3 => Just(Vec::new()), 1 => vec((place(), intruder()), 1..3)];
    let rows = vec((place(), vec((place(), any::<u8>()), 0..3), intruders), 1..48);
    let template = prop_oneof![1 => broken_object(), 2 => object().prop_map(String::into_bytes)];
    (vec(template, 1..7), rows).prop_map(|(templates, rows)| {
        rows.into_iter()
            .map(|(which, changes, intruders)| {
                let mut record = templates[which.index(templates.len())].clone();
                for (at, byte) in changes {
                    let Some(place) = (!record.is_empty()).then(|| at.index(record.len())) else { break };
                    match record[place] {
                        b'0'..=b'9' => record[place] = b'0' + byte % 10,
                        b'a'..=b'z' => record[place] = b'a' + byte % 26,
                        _ => {}
                    }
                }
                for (at, intruder) in intruders {
                    let place = at.index(record.len() + 1);
                    record.splice(place..place, intruder);
                }
                record
            })
            .collect()
    })
}

/// What the general path alone makes of `records`.
pub(super) fn generally(mut decoder: Decoder, records: Vec<Record>) -> Decoded {
    let records: Run = records.into_iter().collect();
    let mut others = Vec::new();
    for at in 0..records.len() {
        let row = at - others.len();
        if let Err(fault) = decoder.append(records.at(at), row) {
            decoder.truncate(row);
            others.push((at, fault));
        }
    }
    let tombstones = others.iter().filter(|(_, fault)| fault.is_none()).count() as u64;
    let events = decoder.finish(Envelopes::around(&records, others.iter().map(|(at, _)| *at)));
    let letter = |(at, fault): (usize, Option<Fault>)| Some(fault?.letter(records.at(at).to_record()));
    Decoded { events, dead_letters: others.into_iter().filter_map(letter).collect(), tombstones }
}

/// The text of the value at `steps` in `value`, the last one of each name, by serde's derived maps.
fn at(value: &str, steps: &[Step]) -> Option<String> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.to_owned()) };
    let inner = match step {
        Step::Name(name) if value.starts_with('{') => {
            sonic_rs::from_str::<HashMap<String, LazyValue<'_>>>(value).unwrap().remove(name)?
        }
        Step::Index(index) if value.starts_with('[') => {
            let mut elements = sonic_rs::from_str::<Vec<LazyValue<'_>>>(value).unwrap();
            if *index >= elements.len() {
                return None;
            }
            elements.swap_remove(*index)
        }
        _ => return None,
    };
    at(inner.as_raw_str(), rest)
}

/// What a column makes of a value, as [`value_in`] writes it, or why it is refused.
fn expected(column: &Column, value: Option<&str>) -> Result<String, Reason> {
    let Some(value) = value.filter(|value| *value != "null") else {
        return if column.name == "at" { Err(Reason::Missing) } else { Ok("null".to_owned()) };
    };
    let is_number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let text = value.starts_with('"').then(|| serde_json::from_str::<String>(value).unwrap());
    let whole = || -> Option<i64> { is_number.then(|| exactly(value, 0)?.try_into().ok()).flatten() };
    let found = match column.column_type {
        ColumnType::String => text,
        ColumnType::Bool => ["true", "false"].contains(&value).then(|| value.to_owned()),
        ColumnType::Int => whole().map(|value| value.to_string()),
        ColumnType::Double => {
            let double = is_number.then(|| value.parse::<f64>().unwrap()).filter(|double| double.is_finite());
            double.map(|double| double.to_string())
        }
        ColumnType::Decimal { precision, scale } => {
            let number = text.filter(|text| serde_json::from_str::<Value>(text).is_ok() || text.contains('e'));
            let number = number.filter(|text| number::is_number(text)).or(is_number.then(|| value.to_owned()));
            let value = number.and_then(|number| exactly(&number, scale.into()));
            let value = value.filter(|value| value.unsigned_abs() < 10_u128.pow(precision.into()));
            value.map(|value| Decimal128Type::format_decimal(value, precision, scale as i8))
        }
        ColumnType::Timestamp => match column.timestamp_format {
            TimestampFormat::Rfc3339 => text.and_then(|text| time::rfc3339(text.as_bytes())),
            format => whole().and_then(|count| time::epoch(count, format)),
        }
        .map(|us| us.to_string()),
    };
    found.ok_or(Reason::Type)
}

/// As many cases as `PROPTEST_CASES` says, or 512. However many there are, a few of a hundred are numbers that serde_json
/// cannot hold.
fn config() -> ProptestConfig {
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(512),
    };
    ProptestConfig { max_global_rejects: config.cases, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn records_are_what_serde_json_makes_of_them(value in broken_object()) {
        let parsed = serde_json::from_slice::<Value>(&value);
        // A number too large for a double is well-formed all the same; serde_json cannot hold it.
        prop_assume!(!matches!(&parsed, Err(error) if error.to_string().contains("out of range")));
        let mut decoder = decoder(columns());
        let decoded = decoder.decode_records(records([&value]));
        let letter = decoded.dead_letters.first();
        let text = String::from_utf8_lossy(&value);
        if !parsed.is_ok_and(|value| value.is_object()) {
            prop_assert_eq!(letter.map(|letter| letter.reason), Some(Reason::Malformed), "{}", text);
            return Ok(());
        }
        let events = plain(&decoded);
        for (number, column) in decoder.rules.schema.columns().iter().enumerate() {
            match expected(column, at(text.trim(), column.path.steps()).as_deref()) {
                Ok(_) if letter.is_some() => {}
                Ok(expected) => prop_assert_eq!(value_in(&events, number, 0), expected, "{} of {}", &column.name, text),
                Err(reason) => {
                    let found = letter.map(|letter| (letter.reason, letter.column.as_deref()));
                    prop_assert_eq!(found, Some((reason, Some(column.name.as_str()))), "{}", text);
                    return Ok(());
                }
            }
        }
        prop_assert_eq!(letter, None, "{}", text);
    }

    #[test]
    fn both_paths_make_the_same_of_every_record(values in prop_oneof![alike(), vec(broken_object(), 1..12)]) {
        let bet = decoder(columns()).decode_records(records(&values));
        let general = generally(decoder(columns()), records(&values));
        prop_assert_eq!(&bet.dead_letters, &general.dead_letters);
        prop_assert_eq!(plain(&bet), plain(&general));
        // Doubles that compare equal may differ in their bits.
        let bits = |decoded: &Decoded| {
            let doubles = decoded.events.column_by_name("double").unwrap().as_primitive::<Float64Type>().clone();
            doubles.values().iter().map(|double| double.to_bits()).collect::<Vec<_>>()
        };
        prop_assert_eq!(bits(&bet), bits(&general));
    }

    #[test]
    fn a_record_is_read_the_same_whatever_came_before(values in alike()) {
        let together = decoder(columns()).decode_records(records(&values));
        let events = plain(&together);
        let mut row = 0;
        for record in records(&values) {
            let alone = decoder(columns()).decode_records(vec![record]);
            match alone.dead_letters.first() {
                Some(letter) => prop_assert!(together.dead_letters.contains(letter)),
                None => {
                    prop_assert_eq!(plain(&alone), events.slice(row, 1));
                    row += 1;
                }
            }
        }
        prop_assert_eq!(row, events.num_rows());
    }

    #[test]
    fn l7_every_record_is_an_event_a_dead_letter_or_a_tombstone(values in vec(proptest::option::of(broken_object()), 0..20)) {
        let mut delivered = records(values.iter().map(|value| value.as_deref().unwrap_or_default()));
        for (record, value) in delivered.iter_mut().zip(&values) {
            if value.is_none() {
                record.value = None;
            }
        }
        let decoded = decoder(columns()).decode_records(delivered.clone());
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
