//! The same events in every format: the same columns, bit for bit. What others write is read: `arrow_avro`, `prost_reflect` and
//! `csv` are the writers here.

use ::csv::WriterBuilder;
use arrow::{
    array::{
        ArrayData, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    datatypes::Field,
};
use arrow_avro::{
    schema::AvroSchema,
    writer::{WriterBuilder as AvroWriter, format::AvroBinaryFormat},
};
use proptest::{collection::vec, option, prelude::*};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value, prost::Message as _};

use super::*;

/// An event with a value of each type.
#[derive(Debug, Clone)]
pub(super) struct Event {
    at: i64,
    int: Option<i64>,
    double: Option<f64>,
    /// Hundredths.
    decimal: Option<i64>,
    /// Never empty, which CSV does not tell from null.
    string: Option<String>,
    bool: Option<bool>,
    /// Microseconds.
    time: Option<i64>,
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let time = || -62_135_596_800_000_000..=253_402_300_799_999_999_i64;
    let numbers = (
        time(),
        option::of(any::<i64>()),
        option::of(-1e300..1e300_f64),
        option::of(-9_999_999_999..=9_999_999_999_i64),
    );
    let others = (option::of("[a-c]{1,2}|.{1,40}"), option::of(any::<bool>()), option::of(time()));
    (numbers, others).prop_map(|((at, int, double, decimal), (string, bool, time))| Event {
        at,
        int,
        double,
        decimal,
        string,
        bool,
        time,
    })
}

fn hundredths(value: i64) -> String {
    format!("{}{}.{:02}", if value < 0 { "-" } else { "" }, value.abs() / 100, value.abs() % 100)
}

fn rfc3339(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).unwrap().to_string()
}

fn json(event: &Event) -> Vec<u8> {
    let decimal = event.decimal.map(hundredths);
    let value = serde_json::json!({
        "at": event.at, "int": event.int, "double": event.double, "decimal": decimal, "string": event.string,
        "bool": event.bool, "time": event.time.map(rfc3339)
    });
    value.to_string().into_bytes()
}

fn csv(event: &Event) -> Vec<u8> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    let text = |value: Option<String>| value.unwrap_or_default();
    let fields = [
        event.at.to_string(),
        text(event.int.map(|value| value.to_string())),
        text(event.double.map(|value| format!("{value:e}"))),
        text(event.decimal.map(hundredths)),
        text(event.string.clone()),
        text(event.bool.map(|value| value.to_string())),
        text(event.time.map(rfc3339)),
    ];
    writer.write_record(fields).unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn batch(events: &[Event]) -> RecordBatch {
    let time = |times: Vec<Option<i64>>| TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let column = |name, array: ArrayRef| (name, array);
    let decimals = events.iter().map(|e| e.decimal.map(i128::from)).collect::<Decimal128Array>();
    let columns = [
        column("at", Arc::new(time(events.iter().map(|e| Some(e.at)).collect()))),
        column("int", Arc::new(events.iter().map(|e| e.int).collect::<Int64Array>())),
        column("double", Arc::new(events.iter().map(|e| e.double).collect::<Float64Array>())),
        column("decimal", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
        column("string", Arc::new(events.iter().map(|e| e.string.clone()).collect::<StringArray>())),
        column("bool", Arc::new(events.iter().map(|e| e.bool).collect::<BooleanArray>())),
        column("time", Arc::new(time(events.iter().map(|e| e.time).collect()))),
    ];
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), *name != "at"));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// The schema and the values as `arrow_avro` writes them.
pub(super) fn avro(events: &[Event]) -> (String, Vec<Vec<u8>>) {
    let batch = batch(events);
    let schema = AvroSchema::try_from(batch.schema().as_ref()).unwrap().json_string;
    let mut encoder = AvroWriter::new(batch.schema().as_ref().clone()).build_encoder::<AvroBinaryFormat>().unwrap();
    encoder.encode(&batch).unwrap();
    (schema, encoder.flush().iter().map(|row| row.to_vec()).collect())
}

pub(super) const PROTO: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; \
                     message Event { google.protobuf.Timestamp at = 1; optional int64 int = 2; optional double double = 3; \
                     optional string decimal = 4; optional string string = 5; optional bool bool = 6; \
                     google.protobuf.Timestamp time = 7; }";

pub(super) fn protobuf(message: &MessageDescriptor, event: &Event) -> Vec<u8> {
    let time = |us: i64| {
        let timestamp = message.parent_pool().get_message_by_name("google.protobuf.Timestamp").unwrap();
        let mut time = DynamicMessage::new(timestamp);
        time.set_field_by_name("seconds", Value::I64(us.div_euclid(1_000_000)));
        time.set_field_by_name("nanos", Value::I32(us.rem_euclid(1_000_000) as i32 * 1_000));
        Value::Message(time)
    };
    let mut written = DynamicMessage::new(message.clone());
    let fields = [
        ("at", Some(time(event.at))),
        ("int", event.int.map(Value::I64)),
        ("double", event.double.map(Value::F64)),
        ("decimal", event.decimal.map(|value| Value::String(hundredths(value)))),
        ("string", event.string.clone().map(Value::String)),
        ("bool", event.bool.map(Value::Bool)),
        ("time", event.time.map(time)),
    ];
    for (name, value) in fields {
        value.into_iter().for_each(|value| written.set_field_by_name(name, value));
    }
    written.encode_to_vec()
}

fn decoded(format: Format, values: Vec<Vec<u8>>) -> Decoded {
    let at = Column { timestamp_format: TimestampFormat::Micros, ..Column::new("at", ColumnType::Timestamp) };
    let columns = std::iter::once(at).chain(columns_of_all_types()).collect();
    let rules = Rules { format, ..Rules::new(Arc::new(Schema::new(columns)), "at") };
    Decoder::new(rules).decode_records(records(values))
}

/// All bytes of the columns.
fn bits(events: &RecordBatch) -> Vec<Vec<Vec<u8>>> {
    fn of(data: &ArrayData, bits: &mut Vec<Vec<u8>>) {
        bits.extend(data.buffers().iter().map(|buffer| buffer.as_slice().to_vec()));
        bits.extend(data.nulls().map(|nulls| nulls.inner().sliced().as_slice().to_vec()));
        data.child_data().iter().for_each(|child| of(child, bits));
    }
    let column = |column: &ArrayRef| {
        let mut bits = Vec::new();
        of(&column.to_data(), &mut bits);
        bits
    };
    events.columns().iter().map(column).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_are_the_same_in_every_format(events in vec(event(), 1..60)) {
        let json = decoded(Format::default(), events.iter().map(json).collect());
        prop_assert_eq!(&json.dead_letters, &[]);
        let own = batch(&events);
        let seven = (0..7).collect::<Vec<_>>();
        let found = plain(&json).project(&seven).unwrap();
        prop_assert_eq!(found.columns(), own.columns());

        let fields = found.schema().fields().iter().map(|field| field.name().clone()).collect();
        let csv_format = Format::Csv(CsvLayout { fields, delimiter: b',' });
        let (schema, avro_values) = avro(&events);
        let schema = WriterSchema { text: schema, references: Vec::new(), message: None };
        let avro_format = Format::Avro(Schemas::One(Arc::new(schema)));
        let schema = WriterSchema { text: PROTO.to_owned(), references: Vec::new(), message: None };
        let protobuf_format = Format::Protobuf(Schemas::One(Arc::new(schema)));
        let message = super::protobuf::descriptor(PROTO, "Event");
        let formats = [
            (csv_format, events.iter().map(csv).collect()),
            (avro_format, avro_values),
            (protobuf_format, events.iter().map(|event| protobuf(&message, event)).collect()),
        ];
        for (format, values) in formats {
            let name = format.name();
            let other = decoded(format, values);
            prop_assert_eq!(&other.dead_letters, &[], "{}", name);
            prop_assert_eq!(other.events.schema(), json.events.schema(), "{}", name);
            prop_assert_eq!(bits(&other.events), bits(&json.events), "{}", name);
        }
    }
}
