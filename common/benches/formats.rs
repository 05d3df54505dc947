//! How many records a second one core decodes in each format, of the same events, and beside them readers of others: batches
//! of `arrow_avro`, and dynamic messages of `prost_reflect`, which only parse and make no columns.
//!
//! `cargo bench -p common --bench formats -- [rows] [rounds]`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and nobody links it")]

#[path = "decode/data.rs"]
mod data;

use std::{hint::black_box, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Int64Type, Schema as ArrowSchema, TimestampMicrosecondType},
};
use arrow_avro::{
    reader::ReaderBuilder,
    schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, FingerprintStrategy, SchemaStore},
    writer::{WriterBuilder, format::AvroSoeFormat},
};
use bytes::Bytes;
use common::{
    decode::{CsvLayout, Decoder, Format, Rules, Schemas, WriterSchema},
    event::Run,
};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value, prost::Message as _};

const ROWS: usize = 1 << 19;
const ROUNDS: usize = 7;

/// What Confluent's framing takes.
const FRAMING: usize = 5;

/// The id in it.
const ID: u32 = 1;

const PROTO: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message Click { \
                     google.protobuf.Timestamp ts = 1; int64 user_id = 2; string country = 3; string page = 4; \
                     string device = 5; int32 status = 6; int32 latency_ms = 7; string amount = 8; \
                     string session_id = 9; }";

/// A way to read values: gives how many it read.
type Way<'a> = (&'static str, &'a [Bytes], Box<dyn FnMut(&Run) -> usize>);

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (rows, rounds) = (arguments.next().unwrap_or(ROWS), arguments.next().unwrap_or(ROUNDS));
    let json = data::lines(rows, false);
    let clicks = clicks(&json);
    let (schema, framed) = avro(&clicks);
    let avro: Vec<Bytes> = framed.iter().map(|value| value.slice(FRAMING..)).collect();
    let message = message();
    let protobuf: Vec<Bytes> = (0..rows).map(|row| protobuf(&clicks, row, &message)).collect();
    let csv: Vec<Bytes> = (0..rows).map(|row| csv(&clicks, row)).collect();

    let fields = data::rules().schema.columns().iter().map(|column| column.name.clone()).collect();
    let one = |text: &str| {
        Schemas::One(Arc::new(WriterSchema { text: text.to_owned(), references: Vec::new(), message: None }))
    };
    let mut ways: Vec<Way<'_>> = vec![
        ("json", &json, ours(Format::default())),
        ("csv", &csv, ours(Format::Csv(CsvLayout { fields, delimiter: b',' }))),
        ("avro", &avro, ours(Format::Avro(one(&schema)))),
        ("protobuf", &protobuf, ours(Format::Protobuf(one(PROTO)))),
        ("arrow_avro", &framed, arrow_avro(&schema)),
        ("prost_reflect", &protobuf, prost_reflect(message)),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for ((_, values, way), times) in ways.iter_mut().zip(&mut times) {
            let (mut seconds, mut read) = (0.0, 0);
            for run in data::runs(values) {
                let start = thread_seconds();
                read += way(&run);
                seconds += thread_seconds() - start;
            }
            times.push(seconds * 1e9 / rows as f64);
            assert_eq!(read, rows, "every record of the benchmark is an event");
        }
    }
    println!("{rows} records, {rounds} rounds\n{:14} {:>8} {:>10} {:>10} {:>10}", "", "bytes", "ns", "M/s", "MB/s");
    for ((name, values, _), mut times) in ways.iter().zip(times) {
        times.sort_unstable_by(f64::total_cmp);
        let (ns, bytes) = (times[times.len() / 2], values.iter().map(Bytes::len).sum::<usize>() as f64 / rows as f64);
        println!("{name:14} {bytes:8.0} {ns:10.1} {:10.2} {:10.0}", 1e3 / ns, bytes * 1e3 / ns);
    }
}

fn ours(format: Format) -> Box<dyn FnMut(&Run) -> usize> {
    let mut decoder = Decoder::new(Rules { format, ..data::rules() });
    Box::new(move |records| black_box(decoder.decode(records)).events.num_rows())
}

fn arrow_avro(schema: &str) -> Box<dyn FnMut(&Run) -> usize> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(ID), AvroSchema::new(schema.to_owned())).unwrap();
    let builder = ReaderBuilder::new().with_batch_size(1 << 14).with_writer_schema_store(store);
    let mut decoder = builder.build_decoder().unwrap();
    Box::new(move |records| {
        for at in 0..records.len() {
            let value = records.value(at).unwrap();
            assert_eq!(decoder.decode(value).unwrap(), value.len());
        }
        black_box(decoder.flush().unwrap()).map_or(0, |batch| batch.num_rows())
    })
}

fn prost_reflect(message: MessageDescriptor) -> Box<dyn FnMut(&Run) -> usize> {
    Box::new(move |records| {
        let parse = |at: usize| DynamicMessage::decode(message.clone(), records.value(at).unwrap()).unwrap();
        (0..records.len()).for_each(|at| drop(black_box(parse(at))));
        records.len()
    })
}

/// The events of `lines`, no strings as dictionaries.
fn clicks(lines: &[Bytes]) -> RecordBatch {
    let mut decoder = Decoder::new(data::rules());
    let batches = data::runs(lines).map(|run| plain(&decoder.decode(&run).events)).collect::<Vec<_>>();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn plain(events: &RecordBatch) -> RecordBatch {
    let own = 0..data::rules().schema.columns().len();
    let columns = events.columns()[own.clone()].iter().map(|column| match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values).unwrap(),
        _ => Arc::clone(column),
    });
    let columns: Vec<_> = columns.collect();
    let schema = events.schema();
    let fields = schema.fields()[own].iter().zip(&columns);
    let fields = fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

/// The schema, and the values in Confluent's framing.
fn avro(clicks: &RecordBatch) -> (String, Vec<Bytes>) {
    let schema = AvroSchema::try_from(clicks.schema().as_ref()).unwrap().json_string;
    let writer = WriterBuilder::new(clicks.schema().as_ref().clone());
    let writer = writer.with_fingerprint_strategy(FingerprintStrategy::Id(ID));
    let mut encoder = writer.build_encoder::<AvroSoeFormat>().unwrap();
    encoder.encode(clicks).unwrap();
    (schema, encoder.flush().iter().collect())
}

fn message() -> MessageDescriptor {
    let file = protox::file::File::from_source("click.proto", PROTO).unwrap();
    let mut resolver = protox::file::ChainFileResolver::new();
    let set = prost_reflect::prost_types::FileDescriptorSet { file: vec![file.file_descriptor_proto().clone()] };
    resolver.add(protox::file::DescriptorSetFileResolver::new(set));
    resolver.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file("click.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name("Click").unwrap()
}

fn protobuf(clicks: &RecordBatch, row: usize, message: &MessageDescriptor) -> Bytes {
    let ts = clicks.column(0).as_primitive::<TimestampMicrosecondType>().value(row);
    let mut timestamp = DynamicMessage::new(message.get_field(1).unwrap().kind().as_message().unwrap().clone());
    timestamp.set_field_by_name("seconds", Value::I64(ts.div_euclid(1_000_000)));
    timestamp.set_field_by_name("nanos", Value::I32(ts.rem_euclid(1_000_000) as i32 * 1_000));
    let mut click = DynamicMessage::new(message.clone());
    click.set_field_by_name("ts", Value::Message(timestamp));
    for (at, field) in message.fields().enumerate().skip(1) {
        let column = clicks.column(at);
        let value = match (column.data_type(), field.kind()) {
            (DataType::Int64, prost_reflect::Kind::Int64) => Value::I64(column.as_primitive::<Int64Type>().value(row)),
            (DataType::Int64, _) => Value::I32(column.as_primitive::<Int64Type>().value(row) as i32),
            (DataType::Utf8, _) => Value::String(column.as_string::<i32>().value(row).to_owned()),
            _ => Value::String(column.as_primitive::<Decimal128Type>().value_as_string(row)),
        };
        click.set_field(&field, value);
    }
    click.encode_to_vec().into()
}

fn csv(clicks: &RecordBatch, row: usize) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for column in clicks.columns() {
        let field = match column.data_type() {
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
            DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
            DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
            _ => (column.as_primitive::<TimestampMicrosecondType>().value(row) / 1_000).to_string(),
        };
        writer.write_field(field).unwrap();
    }
    writer.write_record(None::<&[u8]>).unwrap();
    writer.into_inner().unwrap().into()
}

/// The seconds that this thread has had a core.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which the call fills in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has the clock of a thread");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
