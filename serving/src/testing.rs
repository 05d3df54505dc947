//! What this crate's tests share: two views, events that are a function of where they stand, and their partials.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use common::{
    expression::Expression,
    feed::{Delta, Standing},
    fold::Fold,
    generation::{Generation, Mark},
    grain::Grain,
    measure::{Finish, Measure, StateFunction, StateSpec},
    names::{SourceName, ViewName},
    partial,
    position::{OffsetRange, Partition, Position, Positions, Version},
    schema::{Column, ColumnType, OFFSET, PARTITION, Schema as EventSchema},
    view::{Dimension, View, ViewId},
};

use crate::{
    Served,
    tiers::{Batch, BatchOf, Change, Chunk, Feed, Loaded, Segmented, Tiers},
};

pub(crate) const HOUR_US: i64 = 3_600_000_000;
/// 2013-02-01T00:00:00Z.
pub(crate) const START_US: i64 = 1_359_676_800_000_000;

const FARE: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };

/// An event of the source `departures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) time_us: i64,
    pub(crate) carrier: Option<&'static str>,
    pub(crate) origin: &'static str,
    pub(crate) delay: Option<i64>,
    pub(crate) fare: Option<i128>,
}

/// The event at an offset of a partition: always the same, as in a log.
pub(crate) fn event_at(partition: u32, offset: u64) -> Event {
    let mut state = (u64::from(partition) << 32) ^ offset ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    Event {
        partition,
        offset,
        time_us: START_US + next(90 * 3600) as i64 * 1_000_000,
        carrier: [Some("UA"), Some("DL"), Some("AA"), None][next(4) as usize],
        origin: ["JFK", "LGA", "EWR"][next(3) as usize],
        delay: (next(5) > 0).then_some(next(200) as i64 - 40),
        fare: (next(5) > 0).then_some(i128::from(next(100_000))),
    }
}

pub(crate) fn source() -> SourceName {
    SourceName::new("departures").unwrap()
}

pub(crate) fn name(view: &str) -> ViewName {
    ViewName::new(view).unwrap()
}

fn column(name: &str, column_type: ColumnType) -> Expression {
    Expression::column(name, column_type)
}

fn view(
    name_: &str,
    id: &str,
    grain: Grain,
    dimensions: &[&str],
    states: Vec<StateSpec>,
    measures: Vec<Measure>,
) -> View {
    View {
        name: name(name_),
        id: ViewId::new(id),
        source: source(),
        sql: format!("SELECT … AS {name_} FROM departures"),
        filter: None,
        bucket_name: "hour".to_owned(),
        time_column: "departed_at".to_owned(),
        grain,
        dimensions: dimensions
            .iter()
            .map(|d| Dimension { name: (*d).to_owned(), input: column(d, ColumnType::String) })
            .collect(),
        states,
        measures,
    }
}

/// `delays` by hour, carrier and origin with measures of every finish, and `totals` by day, which must agree with it.
pub(crate) fn views() -> Vec<Arc<View>> {
    let spec = |function, input: Option<Expression>| StateSpec::new(function, input);
    let delay = || Some(column("delay", ColumnType::Int));
    let states = vec![
        spec(StateFunction::Count, None),
        spec(StateFunction::Sum, delay()),
        spec(StateFunction::Count, delay()),
        spec(StateFunction::Min, delay()),
        spec(StateFunction::Max, delay()),
        spec(StateFunction::Sum, Some(column("fare", FARE))),
        spec(StateFunction::Distinct { precision: 12 }, delay()),
        spec(StateFunction::Quantiles { relative_error: 0.01 }, delay()),
        StateSpec::new(
            StateFunction::TopK,
            [column("origin", ColumnType::String), column(PARTITION, ColumnType::Int), column(OFFSET, ColumnType::Int)],
        ),
    ];
    let measure = |name: &str, finish| Measure::new(name, finish, &states);
    let measures = vec![
        measure("departures", Finish::State(0)),
        measure("total_delay", Finish::State(1)),
        measure("mean_delay", Finish::Avg { sum: 1, count: 2 }),
        measure("least_delay", Finish::State(3)),
        measure("greatest_delay", Finish::State(4)),
        measure("fares", Finish::State(5)),
        measure("delays", Finish::Distinct(6)),
        measure("p95_delay", Finish::Percentile { state: 7, quantile: 0.95 }),
        measure("top_origins", Finish::TopK { state: 8, k: 2 }),
    ];
    let count = measure("departures", Finish::State(0));
    vec![
        Arc::new(view("delays", "00000000000000d1", Grain::HOUR, &["carrier", "origin"], states, measures)),
        Arc::new(view(
            "totals",
            "00000000000000d2",
            Grain::DAY,
            &[],
            vec![spec(StateFunction::Count, None)],
            vec![count],
        )),
    ]
}

pub(crate) fn views_by_name() -> BTreeMap<ViewName, Arc<View>> {
    views().into_iter().map(|view| (view.name.clone(), view)).collect()
}

pub(crate) fn schema() -> EventSchema {
    let column = |name: &str, column_type, nullable| Column { nullable, ..Column::new(name, column_type) };
    EventSchema::new(vec![
        column("departed_at", ColumnType::Timestamp, false),
        column("carrier", ColumnType::String, true),
        column("origin", ColumnType::String, false),
        column("delay", ColumnType::Int, true),
        column("fare", FARE, true),
    ])
}

/// `events` in the source's event schema.
pub(crate) fn batch_of(events: &[Event]) -> RecordBatch {
    let times = || TimestampMicrosecondArray::from_iter_values(events.iter().map(|e| e.time_us)).with_timezone("UTC");
    let fares = Decimal128Array::from_iter(events.iter().map(|e| e.fare)).with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times()),
        Arc::new(StringArray::from_iter(events.iter().map(|e| e.carrier))),
        Arc::new(StringArray::from_iter_values(events.iter().map(|e| e.origin))),
        Arc::new(Int64Array::from_iter(events.iter().map(|e| e.delay))),
        Arc::new(fares),
        Arc::new(StringArray::from_iter_values(events.iter().map(|_| "departures"))),
        Arc::new(Int32Array::from_iter_values(events.iter().map(|e| e.partition as i32))),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.offset as i64))),
        Arc::new(times()),
        Arc::new(BinaryArray::from_iter(events.iter().map(|_| None::<&[u8]>))),
    ];
    RecordBatch::try_new(schema().event_schema(), columns).unwrap()
}

/// The partial of `events` for each view.
pub(crate) fn fold(events: &[Event]) -> Vec<(ViewId, RecordBatch)> {
    let views = views();
    let mut fold = Fold::new(&views);
    fold.fold(&batch_of(events)).unwrap();
    views.iter().map(|v| v.id.clone()).zip(fold.take().unwrap()).collect()
}

/// The events of `[from, to)` of a partition.
pub(crate) fn events_in(partition: u32, from: u64, to: u64) -> impl Iterator<Item = Event> {
    (from..to).map(move |offset| event_at(partition, offset))
}

/// The events before `positions`.
pub(crate) fn events_before(positions: &Positions) -> Vec<Event> {
    positions.iter().flat_map(|(partition, to)| events_in(partition.0, 0, to.0)).collect()
}

pub(crate) fn positions(of: &[(u32, u64)]) -> Positions {
    of.iter().map(|(partition, at)| (Partition(*partition), Position(*at))).collect()
}

/// The delta of `[from, to)`.
pub(crate) fn delta(partition: u32, epoch: u64, from: u64, to: u64) -> Delta {
    Delta {
        source: source(),
        partition: Partition(partition),
        epoch,
        range: OffsetRange::new(Position(from), Position(to)),
        as_of_us: Some(START_US + to as i64),
        oldest_us: Some(START_US + from as i64),
        partials: fold(&events_in(partition, from, to).collect::<Vec<_>>()),
    }
}

/// The reader of a partition, the only one, that has told so much and has read all there is.
pub(crate) fn standing(partition: u32, epoch: u64, told: u64) -> Standing {
    Standing {
        source: source(),
        partition: Partition(partition),
        epoch,
        told: Position(told),
        lag_records: Some(0),
        partitions: 1,
    }
}

/// The commit of `version`, which moves from `before` to `after`.
pub(crate) fn commit(version: u64, before: &Positions, after: &Positions) -> Segmented {
    let from = |partition| before.get(partition).map_or(0, |at: &Position| at.0);
    let events: Vec<Event> = after.iter().flat_map(|(p, to)| events_in(p.0, from(p), to.0)).collect();
    Segmented { version: Version(version), positions: after.clone(), segment: fold(&events) }
}

/// Generation `number`, which covers the events before `positions` as of `version`, for the views named.
pub(crate) fn generation(number: u64, version: u64, positions: &Positions, named: &[&str]) -> Loaded {
    let mark = Mark { version: Version(version), positions: positions.clone() };
    let folded = fold(&events_before(positions));
    let of = |view: &Arc<View>| {
        let partial = folded.iter().find(|(id, _)| id == &view.id).unwrap().1.clone();
        let batch = match named.contains(&view.name.as_str()) {
            true => Batch {
                mark: Some(Version(version)),
                chunks: chunks(number, view, &partial).into(),
                ..Batch::default()
            },
            false => Batch::default(),
        };
        BatchOf { view: view.id.clone(), batch, earlier: Vec::new() }
    };
    let generation = Generation {
        format: 1,
        number,
        created_at_us: START_US,
        marks: [(source(), mark)].into(),
        views: BTreeMap::new(),
    };
    Loaded { generation: Arc::new(generation), sources: [(source(), views().iter().map(of).collect())].into() }
}

/// What serves the first five events of partition 0, all of them in generation 3, and listens for more.
pub(crate) fn served() -> Arc<Served> {
    let (served, five) = (Arc::new(Served::new(views_by_name())), positions(&[(0, 5)]));
    served.show(Arc::new(Tiers::new(&views(), Feed::Silent)));
    change(&served, Change::Commit(source(), commit(1, &positions(&[]), &five)));
    change(&served, Change::Generation(generation(3, 1, &five, &["delays", "totals"])));
    served
}

/// 120 events of two partitions: the first of each in generation 1, the rest in tails.
pub(crate) fn tiers() -> Arc<Tiers> {
    let first = positions(&[(0, 30), (1, 25)]);
    let changes = [
        Change::Commit(source(), commit(1, &positions(&[]), &first)),
        Change::Generation(generation(1, 1, &first, &["delays", "totals"])),
        Change::Delta(delta(0, 1, 30, 70)),
        Change::Delta(delta(1, 1, 25, 50)),
    ];
    let empty = Tiers::new(&views(), Feed::Silent);
    Arc::new(changes.into_iter().fold(empty, |tiers, change| tiers.apply(change).unwrap()))
}

/// Shows what `change` makes of what is shown.
pub(crate) fn change(served: &Served, change: Change) {
    served.show(Arc::new(Arc::unwrap_or_clone(served.tiers().unwrap()).apply(change).unwrap()));
}

/// The rows of `partial` in chunks of two days.
fn chunks(generation: u64, view: &View, partial: &RecordBatch) -> Vec<Chunk> {
    use arrow::{array::AsArray, datatypes::TimestampMicrosecondType};
    let starts = (0..3).map(|n| START_US + (n * 2 - 1) * 24 * HOUR_US);
    let buckets = partial.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let chunk = |from_us: i64| {
        let to_us = from_us + 48 * HOUR_US;
        let (from, to) = (buckets.partition_point(|b| *b < from_us), buckets.partition_point(|b| *b < to_us));
        let path = format!("chunks/{}/{generation}-{from_us}", view.id);
        Chunk { path, from_us, to_us, table: partial.slice(from, to - from).into() }
    };
    starts.map(chunk).collect()
}

/// What `tables` of `view` are together, canonically.
pub(crate) fn merged(view: &View, tables: &[RecordBatch]) -> RecordBatch {
    partial::merge(view, tables).unwrap()
}
