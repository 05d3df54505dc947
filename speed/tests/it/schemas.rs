//! Schemas that change while a source runs: what is added appears when the pipeline asks for it, what does not fit stops the
//! source before a record is lost.

use std::sync::Arc;

use arrow::array::AsArray;
use bytes::Bytes;
use common::{
    decode::{self, Format, OnIncompatible, RegisteredSchemas, Rules, Schemas},
    event::Counts,
    log::{EventLog, NewRecord},
    registry::{Login, Registry, Settings},
    schema::{Column, ColumnType, Schema, TimestampFormat},
    testing::{registry::TestRegistry, view},
};
use jiff::SignedDuration;
use speed::Error;

use crate::world::World;

/// A schema of the time `departed_at` in microseconds, and these fields.
fn avro(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "Event", "fields": [{{"name": "departed_at", "type": "long"}}{fields}]}}"#)
}

/// A value of a schema whose fields all are written as one byte or text, in Confluent's framing.
fn value(id: u32, fields: &[&[u8]]) -> NewRecord {
    let text = |field: &&[u8]| [&[field.len() as u8 * 2], *field].concat();
    let fields: Vec<u8> = fields.iter().flat_map(text).collect();
    let value = [&[0], id.to_be_bytes().as_slice(), &[2], &fields].concat();
    NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() }
}

fn rules(server: &TestRegistry, columns: Vec<Column>, on_incompatible: OnIncompatible) -> Rules {
    let settings = Settings { url: server.url.clone(), login: Login::None, timeout: SignedDuration::from_secs(60) };
    let registry = Arc::new(Registry::new(settings).unwrap());
    let schemas = RegisteredSchemas { registry, subject: "departures-value".to_owned(), on_incompatible };
    let at = Column::new("departed_at", ColumnType::Timestamp);
    let at = Column { timestamp_format: TimestampFormat::Micros, ..at };
    let schema = Arc::new(Schema::new(std::iter::once(at).chain(columns).collect()));
    Rules { format: Format::Avro(Schemas::Registered(schemas)), ..Rules::new(schema, "departed_at") }
}

fn text(name: &str) -> Column {
    Column { nullable: true, ..Column::new(name, ColumnType::String) }
}

/// A world whose one partition takes what `columns` say.
fn world(rules: Rules) -> World {
    let mut world = World::new();
    world.source.rules = rules;
    let sql = "CREATE VIEW v AS SELECT date_trunc('day', departed_at) AS day, count(*) AS departures FROM departures GROUP BY day";
    let source = world.source.clone();
    world.views = std::thread::scope(|scope| scope.spawn(|| vec![view(sql, &source)]).join().unwrap());
    world
}

/// What column `name` of all events has, in the order of their commits.
async fn column(world: &World, name: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for commit in world.commits().await {
        for batch in world.events(&commit).await {
            let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
            found.extend(column.unwrap().as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
        }
    }
    found
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn a_column_that_is_added_is_null_before_and_filled_after() {
    let server = TestRegistry::start().await;
    let string = |name: &str| format!(r#", {{"name": "{name}", "type": "string"}}"#);
    let old = server.register("departures-value", "AVRO", &avro(&string("carrier")), &[]);
    let mut world = world(rules(&server, vec![text("carrier")], OnIncompatible::Stop));
    world.log.append(vec![value(old, &[b"UA"])], None).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    // The writer is ahead of the pipeline: what it added is passed over.
    let new = server.register("departures-value", "AVRO", &avro(&(string("origin") + &string("carrier"))), &[]);
    world.log.append(vec![value(new, &[b"JFK", b"B6"])], None).await.unwrap();
    running.catch_up(&world).await;
    running.stop().await;
    assert_eq!(column(&world, "carrier").await, [some("UA"), some("B6")]);
    // The pipeline asks for it: old events read as null, new ones have it, also from a writer that is behind.
    world.source.rules = rules(&server, vec![text("carrier"), text("origin")], OnIncompatible::Stop);
    let records = vec![value(new, &[b"LGA", b"AA"]), value(old, &[b"DL"])];
    world.log.append(records, None).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    let mut found: Vec<_> = column(&world, "carrier").await.into_iter().zip(column(&world, "origin").await).collect();
    found.sort_unstable();
    assert_eq!(found, [(some("AA"), some("LGA")), (some("B6"), None), (some("DL"), None), (some("UA"), None)]);
}

#[tokio::test]
async fn l7_an_incompatible_schema_stops_the_source_and_loses_nothing() {
    let server = TestRegistry::start().await;
    let good = server.register("departures-value", "AVRO", &avro(r#", {"name": "carrier", "type": "string"}"#), &[]);
    let mut world = world(rules(&server, vec![text("carrier")], OnIncompatible::Stop));
    world.log.append(vec![value(good, &[b"UA"])], None).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    let bad = server.register("departures-value", "AVRO", &avro(r#", {"name": "carrier", "type": "int"}"#), &[]);
    let unfit = || {
        let value = Bytes::from([&[0], bad.to_be_bytes().as_slice(), &[2, 2]].concat());
        NewRecord { value: Some(value), ..NewRecord::default() }
    };
    world.log.append(vec![unfit()], None).await.unwrap();
    let error = running.fails().await;
    assert!(matches!(&error, Error::Decode(decode::Error::Incompatible(_))), "{error}");
    let said = error.to_string();
    assert!(
        said.contains(r#"{"name": "carrier", "type": "int"}"#) && said.contains("carrier string? at $.carrier"),
        "{said}"
    );
    // It does not start again either, while new records are written so.
    let error = world.run().await.fails().await;
    assert_eq!(error.to_string(), said);
    // A person decides that they are dead letters.
    world.source.rules = rules(&server, vec![text("carrier")], OnIncompatible::DeadLetter);
    world.log.append(vec![value(good, &[b"B6"])], None).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    let mut carriers = column(&world, "carrier").await;
    carriers.sort_unstable();
    assert_eq!(carriers, [some("B6"), some("UA")]);
    let totals = world.dataset().await.snapshot().await.unwrap().totals;
    assert_eq!(totals, Counts { events: 2, dead_letters: 1, tombstones: 0 });
}

#[tokio::test]
async fn a_registry_that_fails_is_asked_again_within_bounds() {
    let server = TestRegistry::start().await;
    let id = server.register("departures-value", "AVRO", &avro(""), &[]);
    let world = world(rules(&server, vec![], OnIncompatible::Stop));
    // The newest schema, then the one of the record.
    for _ in 0..2 {
        server.answer_instead(503, "");
    }
    world.log.append(vec![value(id, &[])], None).await.unwrap();
    let running = world.run().await;
    running.catch_up(&world).await;
    running.stop().await;
    for _ in 0..4 {
        server.answer_instead(503, "");
    }
    let error = world.run().await.fails().await;
    assert!(matches!(&error, Error::Decode(decode::Error::Registry(_))), "{error}");
}
