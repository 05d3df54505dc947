//! Every measure against a plain computation over the events of each group, whatever way they went.

use arrow::array::{ListArray, StructArray};

use super::*;
use crate::measure::ValueType;

/// The events of each group of `(bucket, text)`, bucketed by 2^50 µs, in canonical order.
fn grouped(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut groups: BTreeMap<(i64, Option<&[u8]>), Vec<&Event>> = BTreeMap::new();
    for event in events {
        let key = (event.time.div_euclid(1 << 50), event.text.as_deref().map(str::as_bytes));
        groups.entry(key).or_default().push(event);
    }
    groups.into_values().collect()
}

fn position(event: &Event) -> (i64, i32, i64) {
    (event.time, event.partition, event.offset)
}

/// A number that orders as doubles do here, and tells NaN from nothing.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

fn total(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap(),
        (a, b) => a.cmp(&b),
    }
}

/// Two-pass, with the squares summed from the least: good to some 1e-12 of the largest square.
fn two_pass(values: &[f64], sample: bool) -> Option<f64> {
    let divisor = values.len().checked_sub(usize::from(sample)).filter(|&divisor| divisor > 0)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let mut squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    squares.sort_by(f64::total_cmp);
    Some(squares.iter().sum::<f64>() / divisor as f64)
}

fn variance(view: &View, input: &str, sample: bool, root: bool) -> Finish {
    let at = |function: &str| state(view, &format!("{function}({input})"));
    Finish::Variance { squares: at("squares"), sum: at("sum"), count: at("count"), sample, root }
}

/// Whether one of these doubles has no place in fixed point.
fn poisons(doubles: &[f64]) -> bool {
    doubles.iter().any(|value| value.is_nan() || value.abs() >= 9_223_372_036_854_775_808.0)
}

fn check_variance(finished: &Finished, row: usize, values: &[f64], expected: Option<f64>) {
    let got = finished.values.is_valid(row).then(|| finished.values.as_primitive::<Float64Type>().value(row));
    let largest = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    match (got, expected) {
        (Some(got), Some(expected)) => {
            assert!((got - expected).abs() <= 1e-12 * largest * largest + 1e-18, "{values:?}: {got}, not {expected}");
        }
        (got, expected) => assert_eq!(got, expected, "{values:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn finished_values_of_shape_are_those_of_a_plain_computation((events, way) in events_and_ways(80)) {
        let view = view("by_text", &["word"], None, 1 << 50);
        let partial = partials_by(&way, &[Arc::clone(&view)], &events).remove(0);
        let of = |finish| finished(&view, &partial, finish).unwrap();
        let state = |name| of(Finish::State(state(&view, name)));
        let variances = [true, false].map(|sample| of(variance(&view, "whole", sample, false)));
        let deviation = of(variance(&view, "whole", true, true));
        let of_doubles = of(variance(&view, "fraction", false, false));
        let (first, last) = (state("first(whole)"), state("last(word)"));
        let flagged = state("count(*) FILTER (WHERE flag)");
        let (least, greatest) = (state("arg_min(word, whole)"), state("arg_max(fraction, narrow)"));
        for (row, group) in grouped(&events).into_iter().enumerate() {
            let ints: Vec<f64> = group.iter().filter_map(|e| e.int).map(|int| int as f64).collect();
            for (finished, sample) in variances.iter().zip([true, false]) {
                check_variance(finished, row, &ints, two_pass(&ints, sample));
            }
            if variances[0].values.is_valid(row) {
                let variance = variances[0].values.as_primitive::<Float64Type>().value(row);
                prop_assert_eq!(deviation.values.as_primitive::<Float64Type>().value(row), variance.sqrt());
            }
            let doubles: Vec<f64> = group.iter().filter_map(|e| e.double).collect();
            let expected = if poisons(&doubles) { None } else { two_pass(&doubles, false) };
            check_variance(&of_doubles, row, &doubles, expected);

            let expected = group.iter().filter(|e| e.bool == Some(true)).count() as i64;
            prop_assert_eq!(flagged.values.as_primitive::<Int64Type>().value(row), expected);

            let expected = group.iter().filter(|e| e.int.is_some()).min_by_key(|e| position(e)).and_then(|e| e.int);
            prop_assert_eq!(first.values.as_primitive::<Int64Type>().iter().nth(row).unwrap(), expected);
            let expected = group.iter().filter(|e| e.text.is_some()).max_by_key(|e| position(e));
            let expected = expected.and_then(|e| e.text.as_deref());
            prop_assert_eq!(last.values.as_string::<i32>().iter().nth(row).unwrap(), expected);

            let pairs = group.iter().filter_map(|e| Some((e.int?, e.text.as_deref()?)));
            let expected = pairs.min().map(|(_, text)| text);
            prop_assert_eq!(least.values.as_string::<i32>().iter().nth(row).unwrap(), expected);
            let pairs = group.iter().filter_map(|e| Some((e.narrow?, e.double?)));
            let expected = pairs.max_by(|a, b| a.0.cmp(&b.0).then_with(|| total(a.1, b.1))).map(|(_, double)| bits(double));
            let got = greatest.values.as_primitive::<Float64Type>().iter().nth(row).unwrap();
            prop_assert_eq!(got.map(f64::to_bits), expected);
        }
    }

    #[test]
    fn lists_are_those_of_a_plain_computation((events, way) in events_and_ways(80)) {
        let view = view("by_text", &["word"], None, 1 << 50);
        let partial = partials_by(&way, &[Arc::clone(&view)], &events).remove(0);
        let of = |finish| finished(&view, &partial, finish).unwrap().values;
        let bins = of(Finish::State(state(&view, "histogram(whole, [-1, 0, 2, 1000])")));
        let top = of(Finish::TopK { state: state(&view, "top_k(whole)"), k: 3 });
        let quantiles = Finish::Percentiles { state: state(&view, "quantiles(whole, 0.01)"), quantiles: [0.0, 1.0].into() };
        let ends = of(quantiles);
        for (row, group) in grouped(&events).into_iter().enumerate() {
            let ints: Vec<i64> = group.iter().filter_map(|e| e.int).collect();
            let edges = [i64::MIN, -1, 0, 2, 1000];
            let expected: Vec<i64> = edges
                .iter()
                .enumerate()
                .map(|(at, edge)| {
                    let below = |int: &i64| edges.get(at + 1).is_none_or(|next| int < next);
                    ints.iter().filter(|int| *int >= edge && below(int)).count() as i64
                })
                .collect();
            let (_, counts) = items(bins.as_list(), row);
            prop_assert_eq!(counts, expected);

            let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
            ints.iter().for_each(|int| *counts.entry(*int).or_default() += 1);
            let mut expected: Vec<(i64, i64)> = counts.into_iter().collect();
            expected.sort_by_key(|&(int, count)| (std::cmp::Reverse(count), int));
            expected.truncate(3);
            let (values, counts) = items(top.as_list(), row);
            prop_assert_eq!(values.into_iter().flatten().zip(counts).collect::<Vec<_>>(), expected);

            prop_assert_eq!(ends.is_null(row), ints.is_empty());
            if let (Some(least), Some(greatest)) = (ints.iter().min(), ints.iter().max()) {
                let ends = ends.as_list::<i32>().value(row);
                for (got, exact) in ends.as_primitive::<Float64Type>().values().iter().zip([least, greatest]) {
                    prop_assert!((got - *exact as f64).abs() <= 0.010_000_1 * (*exact as f64).abs());
                }
            }
        }
    }
}

/// The first and the last field of each item.
fn items(lists: &ListArray, row: usize) -> (Vec<Option<i64>>, Vec<i64>) {
    let items = lists.value(row);
    let items: &StructArray = items.as_struct();
    let column = |at: usize| items.column(at).as_primitive::<Int64Type>();
    (column(0).iter().collect(), column(items.num_columns() - 1).values().to_vec())
}

/// One group of these doubles, finished.
fn finished_doubles(values: &[f64], finish: impl Fn(&View) -> Finish) -> Option<f64> {
    let view = view("total", &[], None, HOUR);
    let event = |&double: &f64| Event { double: Some(double), ..Event::default() };
    let events: Vec<Event> = values.iter().map(event).collect();
    let partial = folded(&[Arc::clone(&view)], &[batch(&events, false)]).remove(0);
    let finished = finished(&view, &partial, finish(&view)).unwrap();
    finished.values.is_valid(0).then(|| finished.values.as_primitive::<Float64Type>().value(0))
}

#[test]
fn variances_of_skewed_tiny_and_huge_inputs_are_the_nearest_doubles() {
    let of = |values: &[f64], sample, root| finished_doubles(values, |view| variance(view, "fraction", sample, root));
    // The textbook formula in doubles gives 0 or less for all of these.
    assert_eq!(of(&[1e9, 1e9 + 1.0, 1e9 + 2.0], true, false), Some(1.0));
    assert_eq!(of(&[1e15, 1e15 + 1.0, 1e15 + 2.0], true, true), Some(1.0));
    let huge = 2.0_f64.powi(62);
    assert_eq!(of(&[huge, -huge], false, true), Some(huge));
    assert_eq!(of(&[huge, huge + 1024.0], false, true), Some(512.0));
    let tiny = 2.0_f64.powi(-60);
    assert_eq!(of(&[tiny, 3.0 * tiny], false, true), Some(tiny));
    assert_eq!(of(&[1e18, 1.0, 2.0, 3.0, 0.0], false, false).map(|v| (v / 1.6e35 - 1.0).abs() < 1e-15), Some(true));
    assert_eq!(of(&[0.1; 1000], true, false), Some(0.0));
    assert_eq!(of(&[0.1], true, false), None);
    assert_eq!(of(&[0.1], false, false), Some(0.0));
    assert_eq!(of(&[1.0, f64::NAN], false, false), None);
    assert_eq!(of(&[1.0, 1e300], false, false), None);
    // Below the unit of 2^-64 there is nothing: that is the bound.
    assert_eq!(of(&[2.0_f64.powi(-70), 2.0_f64.powi(-71)], false, false), Some(0.0));
}

#[test]
fn a_poisoned_variance_says_so() {
    let view = view("total", &[], None, HOUR);
    let events = [1.0, f64::INFINITY].map(|double| Event { double: Some(double), ..Event::default() });
    let partial = folded(&[Arc::clone(&view)], &[batch(&events, false)]).remove(0);
    let finished = finished(&view, &partial, variance(&view, "fraction", true, true)).unwrap();
    assert_eq!((finished.poisoned, finished.values.null_count()), (1, 1));
}

#[test]
fn the_mean_of_times_is_a_time_rounded_down() {
    let view = view("total", &[], None, HOUR);
    let mean = |moments: &[i64]| {
        let events: Vec<Event> =
            moments.iter().map(|&moment| Event { moment: Some(moment), ..Event::default() }).collect();
        let partial = folded(&[Arc::clone(&view)], &[batch(&events, false)]).remove(0);
        let finish = Finish::Avg { sum: state(&view, "sum(moment)"), count: state(&view, "count(moment)") };
        let finished = finished(&view, &partial, finish).unwrap();
        finished.values.as_primitive::<TimestampMicrosecondType>().value(0)
    };
    assert_eq!(mean(&[1, 2]), 1);
    assert_eq!(mean(&[-1, -2]), -2);
    assert_eq!(mean(&[i64::MAX, i64::MAX - 2]), i64::MAX - 1);
}

#[test]
fn states_of_shape_that_are_not_canonical_are_corrupt() {
    let view = view("total", &[], None, HOUR);
    let event = Event { int: Some(1), text: Some("a".to_owned()), ..Event::default() };
    let partial = folded(&[Arc::clone(&view)], &[batch(&[event], false)]).remove(0);
    for (name, bytes) in [
        ("first(whole)", &[0; 31][..]),
        ("arg_min(word, whole)", &[0; 7]),
        ("arg_min(word, whole)", &[0, 0, 0, 0, 0, 0, 0, 0, 0xff]),
        ("top_k(whole)", &[2]),
        ("top_k(whole)", &[0]),
        ("top_k(whole)", &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("top_k(whole)", &[1, 0, 0]),
    ] {
        let mut columns = partial.columns().to_vec();
        columns[1 + state(&view, name)] = Arc::new(arrow::array::BinaryArray::from(vec![bytes]));
        let broken = RecordBatch::try_new(partial.schema(), columns).unwrap();
        assert!(matches!(partial::merge(&view, [&broken]), Err(Error::Corrupt { .. })), "{name} {bytes:?}");
        let finish = Finish::State(state(&view, name));
        assert!(matches!(finished(&view, &broken, finish), Err(Error::Corrupt { .. })), "{name} {bytes:?}");
    }
}

#[test]
fn counts_of_bins_past_63_bits_are_errors() {
    let view = view("total", &[], None, HOUR);
    let partial = folded(&[Arc::clone(&view)], &[batch(&[Event::default()], false)]).remove(0);
    let merged = |count: i64| {
        let bytes: Vec<u8> = [0, count, 0, 0, 0].iter().flat_map(|count: &i64| count.to_le_bytes()).collect();
        let mut columns = partial.columns().to_vec();
        columns[1 + state(&view, "histogram(whole, [-1, 0, 2, 1000])")] =
            Arc::new(arrow::array::FixedSizeBinaryArray::new(40, bytes.into(), None));
        let full = RecordBatch::try_new(partial.schema(), columns).unwrap();
        partial::merge(&view, [&full, &full])
    };
    assert!(merged(i64::MAX / 2).is_ok());
    assert!(matches!(merged(i64::MAX), Err(Error::Overflow { .. })));
    assert!(matches!(merged(-1), Err(Error::Corrupt { .. })));
}

#[test]
fn a_sketch_is_answered_as_bytes_of_the_same_state_as_the_estimate() {
    let view = view("total", &[], None, HOUR);
    let events: Vec<Event> = (0..3).map(|int| Event { int: Some(int), ..Event::default() }).collect();
    let partial = folded(&[Arc::clone(&view)], &[batch(&events, false)]).remove(0);
    let at = state(&view, "distinct(whole, 12)");
    assert_eq!(Finish::Sketch(at).value_type(&view.states), ValueType::Bytes);
    let image = finished(&view, &partial, Finish::Sketch(at)).unwrap().values;
    // As the Python package has it for 0, 1 and 2, but for the order of its three coupons.
    assert_eq!(image.as_binary::<i32>().value(0)[..8], [2, 1, 7, 12, 3, 8, 3, 8]);
    let estimate = finished(&view, &partial, Finish::Distinct(at)).unwrap().values;
    assert_eq!(estimate.as_primitive::<Int64Type>().value(0), 3);
}
