//! L1, for every measure and every type: however events are split, ordered, batched and merged, the partials are the same,
//! and so are their files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        StringDictionaryBuilder, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use proptest::{prelude::*, sample::Index};

mod measures;

use super::{Fold, GroupTable, SHARDS, Shards, join};
use crate::{
    expression::Expression,
    grain::Grain,
    measure::{Edges, Error, Finish, Finished, Measure, StateFunction, StateSpec},
    names::{SourceName, ViewName},
    partial,
    schema::{ColumnType, OFFSET, PARTITION},
    view::{Dimension, View, ViewId},
};

const NARROW: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };
const WIDE: ColumnType = ColumnType::Decimal { precision: 38, scale: 4 };

/// The columns of the events, by name.
const COLUMNS: [(&str, ColumnType); 7] = [
    ("whole", ColumnType::Int),
    ("fraction", ColumnType::Double),
    ("narrow", NARROW),
    ("wide", WIDE),
    ("word", ColumnType::String),
    ("flag", ColumnType::Bool),
    ("moment", ColumnType::Timestamp),
];

#[derive(Debug, Clone, Default)]
struct Event {
    time: i64,
    partition: i32,
    offset: i64,
    int: Option<i64>,
    double: Option<f64>,
    narrow: Option<i128>,
    wide: Option<i128>,
    text: Option<String>,
    bool: Option<bool>,
    moment: Option<i64>,
    kept: bool,
}

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3..3_i64, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-3..3_i32).prop_map(|i| f64::from(i) / 10.0),
        2 => -1e6..1e6_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e18,
            -9.3e18, 1e-19, 2.0_f64.powi(-65), 3.0 * 2.0_f64.powi(-65),
        ]),
    ]
}

fn any_decimal(digits: u32) -> impl Strategy<Value = i128> {
    let limit = 10_i128.pow(digits);
    prop_oneof![4 => -3..3_i128, 1 => 1 - limit..limit, 1 => Just(limit - 1), 1 => Just(1 - limit)]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{0,2}", 1 => ".{0,12}"]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![4 => (-3..3_i64).prop_map(|h| h * 1_800_000_000), 1 => -1_i64 << 55..1 << 55]
}

fn maybe<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.8, value)
}

fn any_event() -> impl Strategy<Value = Event> {
    (
        any_time(),
        maybe(any_int()),
        maybe(any_double()),
        maybe(any_decimal(10)),
        maybe(any_decimal(38)),
        maybe(any_text()),
        maybe(any::<bool>()),
        maybe(any_int()),
        any::<bool>(),
    )
        .prop_map(|(time, int, double, narrow, wide, text, bool, moment, kept)| Event {
            time,
            partition: 0,
            offset: 0,
            int,
            double,
            narrow,
            wide,
            text,
            bool,
            moment,
            kept,
        })
}

/// Events of three partitions, at a position each; of some, often of all or of none, no value is null.
fn any_events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let whole = prop_oneof![Just(0), Just(usize::MAX), 0..most];
    (prop::collection::vec(any_event(), 0..most), whole).prop_map(|(events, whole)| {
        let at = |(at, event): (usize, Event)| Event { partition: at as i32 % 3, offset: at as i64 / 3, ..event };
        let events = events.into_iter().enumerate().map(at);
        events.map(|event| if (event.offset as usize) < whole { without_nulls(event) } else { event }).collect()
    })
}

fn without_nulls(event: Event) -> Event {
    Event {
        int: event.int.or(Some(1)),
        double: event.double.or(Some(0.5)),
        narrow: event.narrow.or(Some(-2)),
        wide: event.wide.or(Some(3)),
        text: event.text.or(Some(String::new())),
        bool: event.bool.or(Some(true)),
        moment: event.moment.or(Some(4)),
        ..event
    }
}

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The events as a batch; text as `Dictionary(Int32, Utf8)` if `coded`.
fn batch(events: &[Event], coded: bool) -> RecordBatch {
    let times = |of: fn(&Event) -> Option<i64>| {
        let times: TimestampMicrosecondArray = events.iter().map(of).collect();
        array(times.with_timezone("UTC"))
    };
    let decimals = |of: fn(&Event) -> Option<i128>, column_type: ColumnType| {
        let decimals: Decimal128Array = events.iter().map(of).collect();
        array(decimals.with_data_type(column_type.arrow()))
    };
    let texts = events.iter().map(|e| e.text.as_deref());
    let text = if coded {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        // A code that no row has, so that codes and interned numbers differ.
        builder.append_value("unused");
        texts.for_each(|text| builder.append_option(text));
        let column = builder.finish();
        array(column.slice(1, events.len()))
    } else {
        array(texts.collect::<StringArray>())
    };
    RecordBatch::try_from_iter_with_nullable([
        ("happened", times(|e| Some(e.time)), false),
        ("whole", array(events.iter().map(|e| e.int).collect::<Int64Array>()), true),
        ("fraction", array(events.iter().map(|e| e.double).collect::<Float64Array>()), true),
        ("narrow", decimals(|e| e.narrow, NARROW), true),
        ("wide", decimals(|e| e.wide, WIDE), true),
        ("word", text, true),
        ("flag", array(events.iter().map(|e| e.bool).collect::<BooleanArray>()), true),
        ("moment", times(|e| e.moment), true),
        ("kept", array(events.iter().map(|e| Some(e.kept)).collect::<BooleanArray>()), true),
        (PARTITION, array(events.iter().map(|e| Some(e.partition)).collect::<Int32Array>()), false),
        (OFFSET, array(events.iter().map(|e| Some(e.offset)).collect::<Int64Array>()), false),
    ])
    .unwrap()
}

/// Every state there is, of every input it admits.
fn all_states() -> Vec<StateSpec> {
    let functions = [
        StateFunction::Count,
        StateFunction::Sum,
        StateFunction::Squares,
        StateFunction::Min,
        StateFunction::Max,
        StateFunction::Distinct { precision: 4 },
        StateFunction::Distinct { precision: 12 },
        StateFunction::Quantiles { relative_error: 0.01 },
    ];
    let mut states = vec![StateSpec::new(StateFunction::Count, None)];
    for function in functions {
        let inputs = COLUMNS.iter().filter(|(_, column_type)| function.admits(*column_type));
        states.extend(
            inputs
                .map(|&(name, column_type)| StateSpec::new(function.clone(), [Expression::column(name, column_type)])),
        );
    }
    for (at, &(name, column_type)) in COLUMNS.iter().enumerate() {
        let x = || Expression::column(name, column_type);
        let time = || Expression::column("happened", ColumnType::Timestamp);
        let position = || [PARTITION, OFFSET].map(|name| Expression::column(name, ColumnType::Int));
        states.push(StateSpec::new(StateFunction::TopK, [x()].into_iter().chain(position())));
        for function in [StateFunction::First, StateFunction::Last] {
            states.push(StateSpec::new(function, [x(), time()].into_iter().chain(position())));
        }
        for further in [1, 3] {
            let (name, column_type) = COLUMNS[(at + further) % COLUMNS.len()];
            let by = Expression::column(name, column_type);
            states.push(StateSpec::new(StateFunction::ArgMin, [x(), by.clone()]));
            states.push(StateSpec::new(StateFunction::ArgMax, [x(), by]));
        }
        if StateFunction::Squares.admits(column_type) {
            let edges = Edges::parse(["-1", "0", "2", "1000"].into_iter(), column_type).unwrap();
            states.push(StateSpec::new(StateFunction::Histogram(edges), [x()]));
        }
    }
    let kept = states.iter().step_by(3).cloned();
    let kept = kept.map(|state| StateSpec { filter: Some(Expression::column("kept", ColumnType::Bool)), ..state });
    let flagged = StateSpec::new(StateFunction::Count, None);
    let flagged = StateSpec { filter: Some(Expression::column("flag", ColumnType::Bool)), ..flagged };
    let filtered: Vec<StateSpec> = kept.chain([flagged]).collect();
    states.into_iter().chain(filtered).collect()
}

fn view(name: &str, dimensions: &[&str], filter: Option<&str>, width_us: i64) -> Arc<View> {
    view_of(name, dimensions, filter, width_us, all_states())
}

fn view_of(name: &str, dimensions: &[&str], filter: Option<&str>, width_us: i64, states: Vec<StateSpec>) -> Arc<View> {
    let column = |name: &str| COLUMNS.iter().find(|(n, _)| *n == name).copied().unwrap();
    let dimension =
        |name: &&str| Dimension { name: (*name).to_owned(), input: Expression::column(name, column(name).1) };
    Arc::new(View {
        name: ViewName::new(name).unwrap(),
        id: ViewId::new("0123456789abcdef"),
        source: SourceName::new("events").unwrap(),
        sql: String::new(),
        filter: filter.map(|name| Expression::column(name, ColumnType::Bool)),
        bucket_name: "bucket".to_owned(),
        time_column: "happened".to_owned(),
        grain: Grain::fixed(width_us, 0),
        dimensions: dimensions.iter().map(dimension).collect(),
        states,
        measures: Vec::new(),
    })
}

const HOUR: i64 = 3_600_000_000;

/// Views with no dimension, with one of each type, with all at once, and with filters.
fn views() -> Vec<Arc<View>> {
    let every = |nth: usize| all_states().into_iter().step_by(nth).collect();
    let mut views = vec![
        view("total", &[], None, 24 * HOUR),
        view("filtered", &["word"], Some("kept"), HOUR),
        view_of("filtered_by_null", &["word", "flag"], Some("flag"), HOUR, every(3)),
        view_of("all", &["word", "whole", "fraction", "narrow", "wide", "flag", "moment"], None, HOUR, every(2)),
    ];
    views.extend(COLUMNS.iter().map(|(name, _)| view_of(name, &[name], None, HOUR, every(11))));
    views
}

fn folded(views: &[Arc<View>], batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let mut fold = Fold::new(views);
    batches.iter().for_each(|batch| fold.fold(batch).unwrap());
    fold.take().unwrap()
}

/// Merges all partials of a view, two at a time, the pairs being picked.
fn merged(view: &View, mut partials: Vec<RecordBatch>, picks: &[Index]) -> RecordBatch {
    let mut picks = picks.iter().cycle();
    while partials.len() > 1 {
        let a = partials.swap_remove(picks.next().unwrap().index(partials.len()));
        let b = partials.swap_remove(picks.next().unwrap().index(partials.len()));
        partials.push(partial::merge(view, [&a, &b]).unwrap());
    }
    partial::merge(view, &partials).unwrap()
}

/// How events are cut up on their way.
#[derive(Debug, Clone)]
struct Way {
    order: Vec<usize>,
    /// Ends of commits, each folded apart and merged.
    commits: Vec<Index>,
    /// Ends of batches.
    batches: Vec<Index>,
    coded: Vec<bool>,
    picks: Vec<Index>,
}

fn any_way(events: usize) -> impl Strategy<Value = Way> {
    (
        Just((0..events).collect::<Vec<_>>()).prop_shuffle(),
        prop::collection::vec(any::<Index>(), 0..5),
        prop::collection::vec(any::<Index>(), 0..5),
        prop::collection::vec(any::<bool>(), 1..4),
        prop::collection::vec(any::<Index>(), 1..8),
    )
        .prop_map(|(order, commits, batches, coded, picks)| Way { order, commits, batches, coded, picks })
}

fn events_and_ways(most: usize) -> impl Strategy<Value = (Vec<Event>, Way)> {
    any_events(most).prop_flat_map(|events| {
        let way = any_way(events.len());
        (Just(events), way)
    })
}

/// Cuts `all` at the indices, some pieces maybe empty.
fn cut<'a, T>(all: &'a [T], at: &[Index]) -> Vec<&'a [T]> {
    let mut ends: Vec<usize> = at.iter().map(|index| index.index(all.len() + 1)).collect();
    ends.extend([0, all.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| &all[ends[0]..ends[1]]).collect()
}

/// The partials of events that went this way; one fold is used again for every commit, as the speed layer does.
fn partials_by(way: &Way, views: &[Arc<View>], events: &[Event]) -> Vec<RecordBatch> {
    let events: Vec<Event> = way.order.iter().map(|&at| events[at].clone()).collect();
    let mut coded = way.coded.iter().cycle();
    let mut fold = Fold::new(views);
    let mut commits = Vec::new();
    for commit in cut(&events, &way.commits) {
        for events in cut(commit, &way.batches) {
            fold.fold(&batch(events, *coded.next().unwrap())).unwrap();
        }
        commits.push(fold.take().unwrap());
    }
    let of_view = |at: usize| commits.iter().map(|commit| commit[at].clone()).collect();
    views.iter().enumerate().map(|(at, view)| merged(view, of_view(at), &way.picks)).collect()
}

/// The partials of events that went this way through shards: commits folded apart, some merged as partials, and what had come
/// together taken now and then.
fn gathered_by(way: &Way, views: &[Arc<View>], events: &[Event], bytes_max: usize) -> Vec<RecordBatch> {
    let events: Vec<Event> = way.order.iter().map(|&at| events[at].clone()).collect();
    let mut coded = way.coded.iter().cycle();
    let shards: Vec<_> = views.iter().map(|view| Arc::new(Shards::new(view))).collect();
    let mut taken: Vec<Vec<RecordBatch>> = vec![Vec::new(); views.len()];
    for commit in cut(&events, &way.commits) {
        let coded = *coded.next().unwrap();
        if coded {
            let mut fold = Fold::onto(shards.clone(), bytes_max);
            for events in cut(commit, &way.batches) {
                fold.fold(&batch(events, coded)).unwrap();
            }
            if way.picks[0].index(5) < 2 { fold.settle().unwrap() } else { fold.leave().unwrap() }
        } else {
            let partials = folded(views, &[batch(commit, coded)]);
            shards.iter().zip(&partials).for_each(|(shards, partial)| shards.merge(partial).unwrap());
        }
        if way.picks[0].index(3) == 0 {
            for (taken, shards) in taken.iter_mut().zip(&shards) {
                shards.settle().unwrap();
                shards.ensure_spread().unwrap();
                taken.extend(shards.take().unwrap());
            }
        }
        if way.picks[0].index(2) == 0 {
            shards.iter().for_each(|shards| shards.rest());
        }
    }
    let mut whole = Vec::new();
    for ((view, shards), mut taken) in views.iter().zip(&shards).zip(taken) {
        if taken.is_empty() && way.coded[0] {
            whole.push(settled(view, shards));
            continue;
        }
        let last = shards.take().unwrap();
        if taken.is_empty() {
            // Shards have no group in common.
            whole.push(partial::join(view, &last).unwrap());
        } else {
            taken.extend(last);
            whole.push(partial::merge(view, &taken).unwrap());
        }
        assert_eq!(shards.take().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
    whole
}

/// All groups of `shards`, as they are read where they were folded, one interval after the other.
fn settled(view: &View, shards: &Shards) -> RecordBatch {
    let tables = shards.take_settled().unwrap();
    let intervals: Vec<_> = tables.iter().map(|table| table.intervals(Grain::WEEK)).collect();
    let starts: BTreeSet<i64> = intervals.iter().flat_map(BTreeMap::keys).copied().collect();
    let part = |start: i64| {
        let of_shards = |shards: Range<usize>| {
            let of = tables.iter().zip(&intervals);
            let groups: Vec<_> =
                of.filter_map(|(table, of)| Some((table, table.of(of.get(&start)?, &shards)))).collect();
            join(view, &groups).unwrap()
        };
        let parts = [0..1, 1..100, 100..SHARDS].map(of_shards);
        let part = partial::join(view, &parts).unwrap();
        assert_eq!(part, of_shards(0..SHARDS));
        part
    };
    // Intervals are in order, and so is each.
    let parts: Vec<RecordBatch> = starts.into_iter().map(part).collect();
    arrow::compute::concat_batches(&view.partial_schema(), &parts).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn l1_every_split_order_and_merge_gives_the_same_bytes((events, way) in events_and_ways(60)) {
        let views = views();
        let expected = folded(&views, &[batch(&events, false)]);
        let got = partials_by(&way, &views, &events);
        for ((view, expected), got) in views.iter().zip(&expected).zip(&got) {
            prop_assert_eq!(expected, got, "{}", view.name);
            let file = partial::to_parquet(expected).unwrap();
            prop_assert_eq!(&file, &partial::to_parquet(got).unwrap(), "{}", view.name);
            prop_assert_eq!(&partial::from_parquet(view, file).unwrap(), expected, "{}", view.name);
        }
    }

    #[test]
    fn l1_merging_with_nothing_and_merging_once_more_change_nothing((events, _) in events_and_ways(30)) {
        for view in views() {
            let one = folded(&[Arc::clone(&view)], &[batch(&events, true)]).remove(0);
            let nothing = partial::merge(&view, []).unwrap();
            prop_assert_eq!(nothing.num_rows(), 0);
            prop_assert_eq!(&partial::merge(&view, [&nothing, &one, &nothing]).unwrap(), &one);
            prop_assert_eq!(&partial::merge(&view, [&one]).unwrap(), &one);
        }
    }

    #[test]
    fn partials_are_sorted_and_have_each_group_once((events, _) in events_and_ways(60)) {
        let all = view("all", &["fraction", "wide", "word", "flag", "moment"], None, HOUR);
        let partial = folded(&[all], &[batch(&events, true)]).remove(0);
        let keys: Vec<_> = (0..partial.num_rows()).map(|row| key_of(&partial, row)).collect();
        prop_assert!(keys.is_sorted_by(|a, b| a < b), "{:?}", keys);
        let expected: BTreeSet<_> = events.iter().map(|e| e.time.div_euclid(HOUR)).collect();
        let buckets: BTreeSet<_> = keys.iter().map(|key| key.0.div_euclid(HOUR)).collect();
        prop_assert_eq!(buckets, expected);
    }

    #[test]
    fn finished_values_are_those_of_a_plain_computation((events, way) in events_and_ways(80)) {
        let view = view("by_text", &["word"], None, 1 << 50);
        let partial = partials_by(&way, &[Arc::clone(&view)], &events).remove(0);
        check_against_plain(&view, &partial, &events);
    }
}

proptest! {
    // Each case makes hundreds of tables.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn l1_shards_come_to_the_partial_of_one_fold((events, way) in events_and_ways(60), bytes_max in 0..20_000_usize) {
        let views = views();
        let expected = folded(&views, &[batch(&events, false)]);
        let got = gathered_by(&way, &views, &events, bytes_max);
        for ((view, expected), got) in views.iter().zip(&expected).zip(&got) {
            prop_assert_eq!(expected, got, "{}", view.name);
        }
    }
}

#[test]
fn l1_rows_that_many_threads_bring_are_each_folded_once() {
    const THREADS: i64 = 4;
    const ROWS: i64 = 4_000;
    let view = view_of("many", &["whole"], None, HOUR, all_states().into_iter().step_by(5).collect());
    let events = |thread: i64| -> Vec<Event> {
        let event = |row: i64| Event {
            time: row * HOUR / 500,
            int: Some(row * 7919 % 1_000),
            offset: thread * ROWS + row,
            ..Event::default()
        };
        (0..ROWS).map(event).collect()
    };
    let expected: Vec<Event> = (0..THREADS).flat_map(events).collect();
    let expected = folded(&[Arc::clone(&view)], &[batch(&expected, false)]).remove(0);

    let shards = Arc::new(Shards::new(&view));
    shards.scatter();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut fold = Fold::onto(vec![Arc::clone(&shards)], usize::MAX);
            let events = events(thread);
            scope.spawn(move || {
                events.chunks(50).for_each(|events| fold.fold(&batch(events, false)).unwrap());
                fold.leave().unwrap();
            });
        }
    });
    assert_eq!(settled(&view, &shards), expected);
    assert_eq!(shards.bytes(), Shards::new(&view).bytes());
}

/// A key in an order that is not the kernel's own: doubles as sign and magnitude, with NaN last.
type Key = (i64, Option<(i32, u64)>, Option<i128>, Option<Vec<u8>>, Option<bool>, Option<i64>);

fn key_of(partial: &RecordBatch, row: usize) -> Key {
    let valid = |at: usize| partial.column(at).is_valid(row);
    let double = partial.column(1).as_primitive::<Float64Type>().value(row);
    let order = if double.is_nan() {
        (2, 0)
    } else if double < 0.0 {
        (-1, !double.to_bits())
    } else {
        (1, double.to_bits())
    };
    (
        partial.column(0).as_primitive::<TimestampMicrosecondType>().value(row),
        valid(1).then_some(order),
        valid(2).then(|| partial.column(2).as_primitive::<Decimal128Type>().value(row)),
        valid(3).then(|| partial.column(3).as_string::<i32>().value(row).as_bytes().to_vec()),
        valid(4).then(|| partial.column(4).as_boolean().value(row)),
        valid(5).then(|| partial.column(5).as_primitive::<TimestampMicrosecondType>().value(row)),
    )
}

fn finished(view: &View, partial: &RecordBatch, finish: Finish) -> Result<Finished, Error> {
    let measure = Measure::new("measure", finish, &view.states);
    let finished = measure.finish(&view.states, &partial.columns()[1 + view.dimensions.len()..])?;
    assert_eq!(*finished.values.data_type(), measure.value_type.arrow());
    Ok(finished)
}

fn state(view: &View, name: &str) -> usize {
    view.states.iter().position(|s| s.name() == name).unwrap_or_else(|| panic!("no state {name}"))
}

/// The groups are those of `(bucket, text)`, bucketed by 2^50 µs.
fn check_against_plain(view: &View, partial: &RecordBatch, events: &[Event]) {
    let mut groups: BTreeMap<(i64, Option<&[u8]>), Vec<&Event>> = BTreeMap::new();
    for event in events {
        groups
            .entry((event.time.div_euclid(1 << 50), event.text.as_deref().map(str::as_bytes)))
            .or_default()
            .push(event);
    }
    assert_eq!(partial.num_rows(), groups.len());
    let of = |finish| finished(view, partial, finish);
    let state = |name| Finish::State(state(view, name));
    let int = |f: &Finished, row| f.values.is_valid(row).then(|| f.values.as_primitive::<Int64Type>().value(row));
    let double = |f: &Finished, row| f.values.is_valid(row).then(|| f.values.as_primitive::<Float64Type>().value(row));

    let groups: Vec<Vec<&Event>> = groups.into_values().collect();
    let ints = |g: &[&Event]| g.iter().filter_map(|e| e.int).collect::<Vec<_>>();
    let sums: Vec<Option<i128>> = groups
        .iter()
        .map(|g| Some(ints(g)).filter(|ints| !ints.is_empty()).map(|ints| ints.iter().copied().map(i128::from).sum()))
        .collect();
    match of(state("sum(whole)")) {
        Ok(f) => (0..groups.len()).for_each(|row| assert_eq!(int(&f, row).map(i128::from), sums[row])),
        Err(Error::Overflow { .. }) => assert!(sums.iter().flatten().any(|&sum| i64::try_from(sum).is_err())),
        Err(error) => panic!("{error}"),
    }
    let count = of(state("count(*)")).unwrap();
    let count_text = of(state("count(word)")).unwrap();
    let (least, greatest) = (of(state("min(whole)")).unwrap(), of(state("max(word)")).unwrap());
    let (sum, average) = {
        let (sum, count) = (self::state(view, "sum(whole)"), self::state(view, "count(whole)"));
        (of(state("sum(fraction)")).unwrap(), of(Finish::Avg { sum, count }).unwrap())
    };
    let distinct = of(state("distinct(whole, 12)")).unwrap();
    let median = Finish::Percentile { state: self::state(view, "quantiles(whole, 0.01)"), quantile: 0.5 };
    let median = of(median).unwrap();
    let mut poisoned = 0;
    for (row, group) in groups.iter().enumerate() {
        let mut ints = ints(group);
        ints.sort_unstable();
        assert_eq!(int(&count, row), Some(group.len() as i64));
        assert_eq!(int(&count_text, row), Some(group.iter().filter(|e| e.text.is_some()).count() as i64));
        assert_eq!(int(&least, row), ints.first().copied());
        let greatest = greatest.values.as_string::<i32>().iter().nth(row).unwrap();
        assert_eq!(greatest, group.iter().filter_map(|e| e.text.as_deref()).max());
        // Of up to 2^53 the quotient of doubles is the rounded quotient; sums beyond have their own tests.
        if sums[row].is_none_or(|sum| sum.unsigned_abs() < 1 << 53) {
            assert_eq!(double(&average, row), sums[row].map(|sum| sum as f64 / ints.len() as f64));
        }
        let expected: BTreeSet<_> = ints.iter().collect();
        assert!((int(&distinct, row).unwrap() - expected.len() as i64).abs() <= 1);
        match (double(&median, row), ints.get(ints.len().div_ceil(2).saturating_sub(1))) {
            (Some(median), Some(&exact)) => {
                assert!((median - exact as f64).abs() <= 0.010_000_1 * (exact as f64).abs())
            }
            (median, exact) => assert!(median.is_none() && exact.is_none()),
        }
        let doubles: Vec<f64> = group.iter().filter_map(|e| e.double).collect();
        let outside = doubles.iter().any(|d| d.is_nan() || d.abs() >= 9_223_372_036_854_775_808.0);
        poisoned += usize::from(outside);
        match double(&sum, row) {
            None => assert!(outside || doubles.is_empty()),
            Some(sum) => {
                assert!(!outside);
                let magnitude: f64 = doubles.iter().map(|d| d.abs()).sum();
                assert!((sum - doubles.iter().sum::<f64>()).abs() <= magnitude * 1e-14 + 1e-17);
            }
        }
    }
    assert_eq!(sum.poisoned, poisoned);
}

#[test]
fn l1_zeros_and_nans_of_any_sign_are_one_group_and_one_extreme() {
    let view = view("fraction", &["fraction"], None, HOUR);
    let event = |double: f64| Event { double: Some(double), ..Event::default() };
    let one = folded(&[Arc::clone(&view)], &[batch(&[event(0.0), event(f64::NAN)], false)]);
    let other = folded(&[view], &[batch(&[event(-f64::NAN), event(-0.0)], false)]);
    assert_eq!(one, other);
    assert_eq!(one[0].num_rows(), 2);
    assert_eq!(partial::to_parquet(&one[0]).unwrap(), partial::to_parquet(&other[0]).unwrap());
}

#[test]
fn l1_many_groups_in_any_order_give_the_same_file() {
    let views = [view("whole", &["whole"], None, HOUR), view("word", &["word"], Some("kept"), HOUR)];
    let event = |i: i64| {
        let scattered = i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 20;
        Event {
            time: i % 5 * HOUR,
            int: Some(scattered % 20_011),
            double: Some(scattered as f64 / 8.0),
            text: Some(format!("page {}", scattered % 1_009)),
            kept: i % 3 > 0,
            ..Event::default()
        }
    };
    let forward: Vec<Event> = (0..40_000).map(event).collect();
    let backward: Vec<Event> = forward.iter().rev().cloned().collect();
    let at_once = folded(&views, &[batch(&forward, true)]);
    let mut fold = Fold::new(&views);
    let mut commits = Vec::new();
    for (at, events) in backward.chunks(7_001).enumerate() {
        fold.fold(&batch(events, at % 2 == 0)).unwrap();
        commits.push(fold.take().unwrap());
    }
    assert!(at_once[0].num_rows() > 30_000);
    for (at, view) in views.iter().enumerate() {
        let merged = partial::merge(view, commits.iter().map(|commit| &commit[at])).unwrap();
        assert_eq!(partial::to_parquet(&merged).unwrap(), partial::to_parquet(&at_once[at]).unwrap());
    }
}

#[test]
fn a_column_of_another_type_is_an_error_that_names_it() {
    let view = view("by_text", &["word"], None, HOUR);
    let events = batch(&[Event::default()], false);
    let wrong =
        RecordBatch::try_from_iter(events.schema_ref().fields().iter().zip(events.columns()).map(|(field, column)| {
            let column = if field.name() == "fraction" { events.column(1) } else { column };
            (field.name().clone(), Arc::clone(column))
        }));
    let Err(Error::View { source, .. }) = Fold::new(&[Arc::clone(&view)]).fold(&wrong.unwrap()) else {
        panic!("a column of another type was folded");
    };
    match *source {
        Error::Type { column, got: DataType::Int64, expected: DataType::Float64 } => assert_eq!(column, "fraction"),
        other => panic!("{other:?}"),
    }
    let partial = folded(&[Arc::clone(&view)], &[events]).remove(0);
    let other = self::view("by_bool", &["flag"], None, HOUR);
    match partial::merge(&other, [&partial]) {
        Err(Error::Type { column, got: DataType::Null, expected: DataType::Boolean }) => assert_eq!(column, "flag"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(partial::from_parquet(&other, partial::to_parquet(&partial).unwrap()), Err(Error::Type { .. })));
    let less = partial.project(&[0, 1, 2]).unwrap();
    assert!(matches!(partial::merge(&view, [&less]), Err(Error::Type { got: DataType::Null, .. })));
}

#[test]
fn an_event_without_a_time_is_an_error() {
    let events = batch(&[Event::default()], false);
    let columns = events.schema_ref().fields().iter().zip(events.columns()).map(|(field, column)| {
        let none: TimestampMicrosecondArray = [None::<i64>].into_iter().collect();
        let none: ArrayRef = Arc::new(none.with_timezone("UTC"));
        (field.name().clone(), if field.name() == "happened" { none } else { Arc::clone(column) })
    });
    let events = RecordBatch::try_from_iter(columns).unwrap();
    let result = Fold::new(&views()).fold(&events);
    let Err(Error::View { view, source }) = result else { panic!("{result:?}") };
    assert_eq!(view, views()[0].name);
    assert!(matches!(*source, Error::Null { column } if column == "happened"));
}

/// So that whoever reads the log knows what to change.
#[test]
fn an_expression_that_fails_is_named_with_its_view() {
    let columns = [("word".to_owned(), ColumnType::String)];
    let upper = Expression::parse("upper(word)", &columns).unwrap();
    let view = view("by_upper", &["word"], None, HOUR);
    let dimensions = vec![Dimension { name: "upper".to_owned(), input: upper }];
    let view = Arc::new(View { dimensions, ..(*view).clone() });
    let events = batch(&[Event::default()], false);
    let word = events.schema_ref().index_of("word").unwrap();
    let others: Vec<usize> = (0..events.num_columns()).filter(|column| *column != word).collect();
    let error = Fold::new(&[view]).fold(&events.project(&others).unwrap()).unwrap_err();
    let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let causes: Vec<String> = causes.by_ref().map(ToString::to_string).collect();
    assert_eq!(causes[0], "folding view by_upper failed");
    assert!(causes.iter().any(|cause| cause == "evaluating `upper(word)` failed"), "{causes:?}");
}

#[test]
fn a_table_without_keys_has_one_group() {
    let count = StateSpec::new(StateFunction::Count, None);
    let mut table = GroupTable::new(&[], &[count]);
    assert!(table.is_empty());
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    table.merge(&[], &[Arc::clone(&counts)]).unwrap();
    assert_eq!(table.len(), 1);
    let (keys, states) = table.take().unwrap();
    assert!(keys.is_empty() && table.is_empty());
    assert_eq!(states[0].as_primitive::<Int64Type>().values(), &[6]);
    let negative: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
    assert!(matches!(table.merge(&[], &[negative]), Err(Error::Corrupt { .. })));
    let greatest: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    let mut table = GroupTable::new(&[], &[StateSpec::new(StateFunction::Count, None)]);
    assert!(matches!(table.merge(&[], &[greatest]), Err(Error::Overflow { .. })));
}

#[test]
fn sums_overflow_only_when_they_are_finished() {
    let view = view("total", &[], None, HOUR);
    let event = |int: i64, wide: i128| Event { int: Some(int), wide: Some(wide), ..Event::default() };
    let most = 10_i128.pow(38) - 1;
    let up = [event(i64::MAX, most), event(i64::MAX, most), event(i64::MAX, most)];
    let down = [event(-i64::MAX, -most), event(-i64::MAX, -most)];
    let partial_of = |events: &[Event]| folded(&[Arc::clone(&view)], &[batch(events, false)]).remove(0);
    let too_much = partial_of(&up);
    for name in ["sum(whole)", "sum(wide)"] {
        let finish = Finish::State(state(&view, name));
        match finished(&view, &too_much, finish) {
            Err(Error::Overflow { state, .. }) => assert_eq!(state, name),
            other => panic!("{other:?}"),
        }
    }
    let (sum, count) = (state(&view, "sum(wide)"), state(&view, "count(wide)"));
    let average = finished(&view, &too_much, Finish::Avg { sum, count }).unwrap();
    assert_eq!(average.values.as_primitive::<Float64Type>().value(0), 1e34);
    let balanced = partial::merge(&view, [&too_much, &partial_of(&down)]).unwrap();
    let int = finished(&view, &balanced, Finish::State(state(&view, "sum(whole)"))).unwrap();
    assert_eq!(int.values.as_primitive::<Int64Type>().value(0), i64::MAX);
    let wide = finished(&view, &balanced, Finish::State(sum)).unwrap();
    assert_eq!(wide.values.as_primitive::<Decimal128Type>().value(0), most);
}

#[test]
fn sketches_that_are_not_canonical_are_corrupt() {
    let view = view("total", &[], None, HOUR);
    let partial =
        folded(&[Arc::clone(&view)], &[batch(&[Event { int: Some(1), ..Event::default() }], false)]).remove(0);
    for name in ["distinct(whole, 12)", "quantiles(whole, 0.01)"] {
        let mut columns = partial.columns().to_vec();
        columns[1 + state(&view, name)] = Arc::new(arrow::array::BinaryArray::from(vec![b"\x0c\x00".as_slice()]));
        let broken = RecordBatch::try_new(partial.schema(), columns).unwrap();
        assert!(matches!(partial::merge(&view, [&broken]), Err(Error::Corrupt { .. })), "{name}");
        let finish = Finish::State(state(&view, name));
        assert!(matches!(finished(&view, &broken, finish), Err(Error::Corrupt { .. })), "{name}");
    }
}
