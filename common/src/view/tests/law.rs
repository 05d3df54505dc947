//! The Lambda law over views as users write them: calendar grains, and dimensions of every type with every value that could
//! be special.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
        RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{Int32Type, TimestampMicrosecondType},
    util::display::{ArrayFormatter, FormatOptions},
};
use proptest::{prelude::*, sample::Index};

use super::view;
use crate::{fold::Fold, grain::Zone, partial, view::View};

#[derive(Debug, Clone)]
struct Event {
    time: i64,
    carrier: Option<&'static str>,
    delay: Option<i64>,
    fare: Option<i128>,
    distance: Option<f64>,
    cancelled: Option<bool>,
    seen: Option<i64>,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Days around the changes of New York's clock in 2013, so that buckets are shared.
    let time =
        prop_oneof![1_362_700_000_000_000..1_363_200_000_000_000_i64, 1_383_300_000_000_000..1_383_800_000_000_000_i64];
    let doubles = [None, Some(f64::NAN), Some(-f64::NAN), Some(-0.0), Some(0.0), Some(f64::INFINITY), Some(1.5)];
    let event = (
        time,
        prop::sample::select(vec![None, Some(""), Some("UA"), Some("ua"), Some("a carrier of a long name")]),
        prop::sample::select(vec![None, Some(0), Some(-1), Some(i64::MAX), Some(i64::MIN)]),
        prop::sample::select(vec![None, Some(0), Some(-50), Some(9_999_999_999)]),
        prop::sample::select(doubles.to_vec()),
        prop::sample::select(vec![None, Some(true), Some(false)]),
        prop::sample::select(vec![None, Some(-1), Some(0), Some(1_362_898_800_000_000), Some(1_362_898_799_999_999)]),
    );
    let event = event.prop_map(|(time, carrier, delay, fare, distance, cancelled, seen)| Event {
        time,
        carrier,
        delay,
        fare,
        distance,
        cancelled,
        seen,
    });
    prop::collection::vec(event, 0..60)
}

/// `events` as a batch; text as a dictionary if `coded`.
fn batch(events: &[Event], coded: bool) -> RecordBatch {
    let text = events.iter().map(|e| e.carrier);
    let text: ArrayRef = match coded {
        true => Arc::new(text.collect::<DictionaryArray<Int32Type>>()),
        false => Arc::new(text.collect::<StringArray>()),
    };
    let times = |of: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let fares = events.iter().map(|e| e.fare).collect::<Decimal128Array>().with_precision_and_scale(10, 2).unwrap();
    let columns: [(&str, ArrayRef); 7] = [
        ("carrier", text),
        ("delay_minutes", Arc::new(events.iter().map(|e| e.delay).collect::<Int64Array>())),
        ("fare", Arc::new(fares)),
        ("distance", Arc::new(events.iter().map(|e| e.distance).collect::<Float64Array>())),
        ("cancelled", Arc::new(events.iter().map(|e| e.cancelled).collect::<BooleanArray>())),
        ("departed_at", times(|e| Some(e.time))),
        ("seen_at", times(|e| e.seen)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn partial_of(view: &Arc<View>, batches: &[RecordBatch]) -> RecordBatch {
    let mut fold = Fold::new(std::slice::from_ref(view));
    batches.iter().for_each(|batch| fold.fold(batch).unwrap());
    fold.take().unwrap().remove(0)
}

fn views() -> Vec<Arc<View>> {
    let dimensions = "delay_minutes, fare, distance, carrier, cancelled, seen_at, upper(carrier) AS airline, \
                      distance * 2 AS twice, CAST(seen_at AS DATE) AS seen_on, \
                      date_trunc('month', seen_at, 'America/New_York') AS seen_in, count(*) AS n";
    let one = |bucket: &str| Arc::new(view(&format!("{bucket} AS bucket_start, {dimensions}"), 11));
    [
        "date_trunc('day', departed_at, 'America/New_York')",
        "date_trunc('month', departed_at AT TIME ZONE 'Asia/Kolkata')",
        "time_bucket(INTERVAL '36 hours', departed_at, INTERVAL '5 hours', 'America/New_York')",
        "time_bucket(INTERVAL '20 minutes', departed_at, 'Asia/Kathmandu')",
        "date_trunc('quarter', departed_at)",
    ]
    .map(one)
    .to_vec()
}

/// The groups of a partial, written out, and how many events each has.
fn groups(partial: &RecordBatch) -> BTreeMap<String, i64> {
    let options = FormatOptions::default().with_null("null");
    let columns = &partial.columns()[..partial.num_columns() - 1];
    let formatters: Vec<_> = columns.iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let counts = partial.columns().last().unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let row = |row: usize| formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..partial.num_rows()).map(|at| (row(at), counts.value(at))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn l1_partials_of_calendar_grains_and_dimensions_of_every_type_merge(
        events in events(),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
        coded in any::<bool>(),
        turned in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len() + 1)).collect();
        cuts.extend([0, events.len()]);
        cuts.sort_unstable();
        let mut parts: Vec<&[Event]> = cuts.windows(2).map(|cut| &events[cut[0]..cut[1]]).collect();
        if turned {
            parts.reverse();
        }
        for view in views() {
            let whole = partial_of(&view, &[batch(&events, coded)]);
            let in_batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part, !coded)).collect();
            prop_assert_eq!(&partial_of(&view, &in_batches), &whole, "{} batch by batch", view.sql);
            let partials: Vec<RecordBatch> = in_batches.iter().map(|one| partial_of(&view, std::slice::from_ref(one))).collect();
            let merged = partial::merge(&view, &partials).unwrap();
            prop_assert_eq!(partial::to_parquet(&merged).unwrap(), partial::to_parquet(&whole).unwrap(), "{}", view.sql);
        }
    }

    /// Null is a group, NaN is one group, the zeros are one, and the empty text is not null.
    #[test]
    fn groups_are_those_of_equal_values(events in events()) {
        let zone = Zone::named("America/New_York").unwrap();
        let view = Arc::new(view(
            "date_trunc('day', departed_at, 'America/New_York'), carrier, distance, cancelled, seen_at, fare, count(*) AS n",
            6,
        ));
        let partial = partial_of(&view, &[batch(&events, true)]);
        let mut expected: BTreeMap<_, i64> = BTreeMap::new();
        for event in &events {
            let day = jiff::Timestamp::from_microsecond(event.time).unwrap().to_zoned(zone.time_zone().clone()).date();
            let distance = event.distance.map(|d| if d.is_nan() { f64::NAN.to_bits() } else { (d + 0.0).to_bits() });
            *expected.entry((day, event.carrier, distance, event.cancelled, event.seen, event.fare)).or_default() += 1;
        }
        let found = groups(&partial);
        prop_assert_eq!(found.len(), expected.len(), "{:?}", found);
        let sorted = |counts: Vec<i64>| { let mut counts = counts; counts.sort_unstable(); counts };
        prop_assert_eq!(sorted(found.into_values().collect()), sorted(expected.into_values().collect()));
        let days = partial.column(0).as_primitive::<TimestampMicrosecondType>();
        for start in days.values() {
            let local = jiff::Timestamp::from_microsecond(*start).unwrap().to_zoned(zone.time_zone().clone());
            prop_assert_eq!(local.time(), jiff::civil::Time::midnight());
        }
        let nulls = events.iter().any(|e| e.carrier.is_none());
        prop_assert_eq!(partial.column(1).null_count() > 0, nulls);
    }
}
