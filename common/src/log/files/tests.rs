//! Files of each kind, whole and broken.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write as _, io::Write, sync::Arc};

use ::parquet::arrow::ArrowWriter;
use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
        Int16Array, RecordBatch, StringArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
    },
    datatypes::Int32Type,
};
use tempfile::TempDir;

use super::*;
use crate::schema::{Column, ColumnType, Schema, TimestampFormat};

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { nullable: true, ..Column::new(name, column_type) }
}

fn rules() -> Rules {
    let sent = Column { timestamp_format: TimestampFormat::Millis, ..column("sent_at", ColumnType::Timestamp) };
    let columns = vec![
        column("departed_at", ColumnType::Timestamp),
        sent,
        column("seats", ColumnType::Int),
        column("delay", ColumnType::Double),
        column("fare", ColumnType::Decimal { precision: 20, scale: 2 }),
        column("late", ColumnType::Bool),
        column("carrier", ColumnType::String),
    ];
    let schema = Arc::new(Schema::new(columns));
    Rules::new(schema, "departed_at")
}

/// A file of this name with these bytes, and its rows.
struct Sample {
    directory: TempDir,
    path: PathBuf,
}

impl Sample {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self { directory, path }
    }

    fn rows(&self) -> Result<Rows, Error> {
        Rows::open(&self.path, &rules())
    }

    fn values(&self) -> Vec<String> {
        self.rows().unwrap().map(|row| text_of(row.unwrap())).collect()
    }

    /// The error with the directory taken out.
    fn shown(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn text_of(row: Row) -> String {
    String::from_utf8_lossy(&row.value).into_owned()
}

#[test]
fn l7_every_line_is_a_row_whether_json_or_not() {
    let text = b"\xef\xbb\xbf{\"a\":1}\n\n  \r\n{\"a\":2}\r\nnot json\n\xff\n {\"a\":3} \n{\"a\":4}";
    let sample = Sample::new("flights.ndjson", text);
    assert_eq!(sample.values(), ["{\"a\":1}", "{\"a\":2}", "not json", "\u{fffd}", " {\"a\":3} ", "{\"a\":4}"]);
    let rows: Vec<Row> = sample.rows().unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().map(|row| row.number).eq(0..6));
    assert_eq!(sample.rows().unwrap().total(), Some(6));
    assert_eq!(rows[3].value, &b"\xff"[..]);
}

#[test]
fn event_times_are_found_where_they_can_be() {
    let sample = Sample::new(
        "flights.jsonl",
        br#"{"x":{"departed_at":1},"departed_at":"2013-01-01T00:17:00-05:00"}
{"departed_at":"yesterday"}
{"departed_at":5}
{}
nothing"#,
    );
    let times: Vec<Option<i64>> = sample.rows().unwrap().map(|row| row.unwrap().event_time_us).collect();
    assert_eq!(times, [Some(1_357_017_420_000_000), None, None, None, None]);
}

#[test]
fn compressed_text_is_read_over_several_members() {
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let gz = [gzip(b"{\"a\":1}\n{\"a\""), gzip(b":2}\n")].concat();
    let sample = Sample::new("flights.ndjson.gz", &gz);
    assert_eq!(sample.values(), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(sample.rows().unwrap().total(), None);
    let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
    let zst = [zstd(b"seats\n1\n"), zstd(b"2\n")].concat();
    assert_eq!(Sample::new("flights.csv.zst", &zst).values(), ["{\"seats\":1}", "{\"seats\":2}"]);

    let sample = Sample::new("flights.ndjson.gz", &gz[..gz.len() - 12]);
    let mut rows = sample.rows().unwrap();
    assert_eq!(text_of(rows.next().unwrap().unwrap()), "{\"a\":1}");
    let error = rows.next().unwrap().unwrap_err();
    assert!(sample.shown(&error).starts_with("flights.ndjson.gz, line 2: "), "{error}");
}

#[test]
fn csv_fields_become_json_by_the_types_of_the_source() {
    let text = "\
carrier,seats,delay,fare,late,departed_at,sent_at,more
UA,170,-2.5,12.50,TRUE,2013-01-01T05:17:00Z,1357017420000,x
\"a \"\"b\"\"
\u{e9}\",,,,,,,
,+7,NaN,1e3,false,not a time,1.5,
,007,.5,0012.1,1,,-9223372036854775809,
";
    let sample = Sample::new("flights.csv", text.as_bytes());
    assert_eq!(
        sample.values(),
        [
            r#"{"carrier":"UA","seats":170,"delay":-2.5,"fare":12.50,"late":true,"departed_at":"2013-01-01T05:17:00Z","sent_at":1357017420000,"more":"x"}"#,
            "{\"carrier\":\"a \\\"b\\\"\\n\u{e9}\",\"seats\":null,\"delay\":null,\"fare\":null,\"late\":null,\"departed_at\":null,\"sent_at\":null,\"more\":null}",
            r#"{"carrier":null,"seats":"+7","delay":"NaN","fare":1e3,"late":false,"departed_at":"not a time","sent_at":"1.5","more":null}"#,
            r#"{"carrier":null,"seats":"007","delay":".5","fare":"0012.1","late":"1","departed_at":null,"sent_at":"-9223372036854775809","more":null}"#,
        ]
    );
    assert_eq!(sample.rows().unwrap().total(), Some(4));
    assert_eq!(sample.rows().unwrap().next().unwrap().unwrap().event_time_us, Some(1_357_017_420_000_000));
}

#[test]
fn l7_csv_records_that_do_not_fit_are_passed_on_as_they_were() {
    let sample = Sample::new("flights.csv", b"carrier,seats\nUA\n\"a,b\",1,2\n\xff,1\nUA,1\n");
    let rows: Vec<Bytes> = sample.rows().unwrap().map(|row| row.unwrap().value).collect();
    assert_eq!(rows, [&b"UA"[..], b"\"a,b\",1,2", b"\xff,1", br#"{"carrier":"UA","seats":1}"#]);
    assert!(rows[..3].iter().all(|row| serde_json::from_slice::<serde_json::Value>(row).is_err()));
}

fn flights(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn parquet_rows_become_json_by_both_schemas() {
    // 2013-01-01T05:17:00Z, and half a second later.
    let times = [1_357_017_420_000, 1_357_017_420_500];
    let carriers: DictionaryArray<Int32Type> = [Some("UA"), None].into_iter().collect();
    let fares = Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(20, 2).unwrap();
    let bytes = flights(vec![
        ("departed_at", Arc::new(TimestampMillisecondArray::from(times.to_vec()).with_timezone("America/New_York"))),
        ("sent_at", Arc::new(TimestampNanosecondArray::from(times.map(|ms| ms * 1_000_000).to_vec()))),
        ("seats", Arc::new(Float64Array::from(vec![170.0, f64::NAN]))),
        ("delay", Arc::new(Float32Array::from(vec![0.1, -2.0]))),
        ("fare", Arc::new(fares)),
        ("late", Arc::new(BooleanArray::from(vec![true, false]))),
        ("carrier", Arc::new(carriers)),
        ("day", Arc::new(Date32Array::from(vec![15_706, 0]))),
        ("small", Arc::new(Int16Array::from(vec![Some(-7), None]))),
        ("large", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("note", Arc::new(StringArray::from(vec!["a\"b", ""]))),
        ("blob", Arc::new(BinaryArray::from(vec![&b"left out"[..], b""]))),
    ]);
    let sample = Sample::new("flights.parquet", &bytes);
    assert_eq!(
        sample.values(),
        [
            r#"{"departed_at":"2013-01-01T05:17:00Z","sent_at":1357017420000,"seats":170,"delay":0.1,"fare":-12.50,"late":true,"carrier":"UA","day":"2013-01-01","small":-7,"large":18446744073709551615,"note":"a\"b"}"#,
            r#"{"departed_at":"2013-01-01T05:17:00.5Z","sent_at":1357017420500,"seats":null,"delay":-2.0,"fare":null,"late":false,"carrier":null,"day":"1970-01-01","small":null,"large":0,"note":""}"#,
        ]
    );
    assert_eq!(sample.rows().unwrap().total(), Some(2));
}

#[test]
fn rows_are_skipped_forth_and_back() {
    let count = REPLAY_ROWS;
    let mut text = String::new();
    for row in 0..count {
        writeln!(text, "{{\"seats\":{row}}}").unwrap();
    }
    let seats: Vec<f64> = (0..count).map(f64::from).collect();
    let samples = [
        Sample::new("flights.ndjson", text.as_bytes()),
        Sample::new(
            "flights.csv",
            text.replace("{\"seats\":", "").replace('}', "").replacen('0', "seats\n0", 1).as_bytes(),
        ),
        Sample::new("flights.parquet", &flights(vec![("seats", Arc::new(Float64Array::from(seats)))])),
    ];
    for sample in samples {
        let mut rows = sample.rows().unwrap();
        for row in [3, 9_000, 8_999, 0, 5000, u64::from(count) - 1] {
            rows.skip_to(row).unwrap();
            let read = rows.next().unwrap().unwrap();
            assert_eq!(
                (read.number, text_of(read)),
                (row, format!("{{\"seats\":{row}}}")),
                "{}",
                sample.path.display()
            );
        }
        assert!(rows.next().is_none());
        rows.skip_to(u64::from(count) + 7).unwrap();
        assert!(rows.next().is_none());
    }
}
/// More than two batches of a Parquet file.
const REPLAY_ROWS: u32 = 10_000;

#[test]
fn errors_name_the_file_the_place_and_what_is_allowed() {
    let shown = |name: &str, bytes: &[u8]| {
        let sample = Sample::new(name, bytes);
        let error = sample.rows().map(|rows| rows.map(Result::unwrap).count()).unwrap_err();
        sample.shown(&error)
    };
    assert_eq!(
        shown("flights.xlsx", b""),
        "flights.xlsx: not a kind of file that can be replayed; use .ndjson, .jsonl or .csv (also with .gz or .zst after it), \
         or .parquet"
    );
    assert!(shown("flights.parquet.gz", b"").contains("not a kind of file"));
    assert_eq!(shown("flights.csv", b"a,b,a\n"), "flights.csv: the header names column `a` twice");
    assert!(shown("flights.parquet", b"no").starts_with("flights.parquet: "));
    let binary = flights(vec![("carrier", Arc::new(BinaryArray::from(vec![&b"UA"[..]])))]);
    assert_eq!(
        shown("flights.parquet", &binary),
        "flights.parquet: column `carrier` is Binary, which has no form in JSON"
    );
    let missing = Rows::open(Path::new("/nowhere/flights.csv"), &rules()).unwrap_err();
    assert_eq!(missing.to_string(), "/nowhere/flights.csv could not be opened");
}

#[test]
fn a_line_without_end_is_refused_not_held_in_memory() {
    let sample = Sample::new("flights.ndjson", &[b"{}\n".to_vec(), vec![b'x'; LOG_RECORD_BYTES_MAX + 2]].concat());
    let mut rows = sample.rows().unwrap();
    assert_eq!(rows.total(), None);
    assert!(rows.next().unwrap().is_ok());
    let error = rows.next().unwrap().unwrap_err();
    assert_eq!(
        sample.shown(&error),
        "flights.ndjson, line 2: more than 67108864 bytes without an end; no record may be so large"
    );
}

#[test]
fn an_empty_file_has_no_rows() {
    for name in ["flights.ndjson", "flights.csv"] {
        let sample = Sample::new(name, b"");
        assert_eq!((sample.values().len(), sample.rows().unwrap().total()), (0, Some(0)), "{name}");
    }
}
