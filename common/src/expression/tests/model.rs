//! Expressions against models that look at one row at a time, over every pair of values that could be special.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    compute::{concat, take_record_batch},
    datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use proptest::prelude::*;

use crate::{expression::Expression, grain::Zone, schema::ColumnType};

type Int = Option<i64>;
type Double = Option<f64>;
type Bool = Option<bool>;

const INTS: [Int; 13] = [
    None,
    Some(i64::MIN),
    Some(i64::MIN + 1),
    Some(-7),
    Some(-2),
    Some(-1),
    Some(0),
    Some(1),
    Some(2),
    Some(3),
    Some(1 << 53 | 1),
    Some(i64::MAX - 1),
    Some(i64::MAX),
];

const DOUBLES: [Double; 11] = [
    None,
    Some(f64::NEG_INFINITY),
    Some(f64::MIN),
    Some(-2.5),
    Some(-0.0),
    Some(0.0),
    Some(5e-324),
    Some(3.5),
    Some(f64::MAX),
    Some(f64::INFINITY),
    Some(f64::NAN),
];

const BOOLS: [Bool; 3] = [None, Some(false), Some(true)];

const TEXTS: [Option<&str>; 9] =
    [None, Some(""), Some("a"), Some("ab"), Some("aab"), Some("äÖ"), Some("a%b"), Some("A_b"), Some("\u{10ffff}.a")];

/// Every pair of `values`, as the columns of rows.
fn pairs<T: Copy>(values: &[T]) -> (Vec<T>, Vec<T>) {
    values.iter().flat_map(|a| values.iter().map(|b| (*a, *b))).unzip()
}

/// `sql` over columns called `a` and `b`.
fn values(sql: &str, column_type: ColumnType, a: ArrayRef, b: ArrayRef) -> ArrayRef {
    let columns = [("a".to_owned(), column_type), ("b".to_owned(), column_type)];
    let expression = Expression::parse(sql, &columns).unwrap_or_else(|error| panic!("{error}"));
    let batch = RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true)]).unwrap();
    expression.evaluate(&batch).unwrap()
}

/// Checks `found`, the values of `sql`, against `expected`, which `same` compares.
fn check<A: std::fmt::Debug + Copy, T: std::fmt::Debug>(
    sql: &str,
    inputs: &(Vec<A>, Vec<A>),
    found: Vec<T>,
    expected: impl Fn(A, A) -> T,
    same: impl Fn(&T, &T) -> bool,
) {
    assert_eq!(found.len(), inputs.0.len());
    let wrong: Vec<String> = inputs
        .0
        .iter()
        .zip(&inputs.1)
        .zip(&found)
        .map(|((a, b), found)| (a, b, found, expected(*a, *b)))
        .filter(|(_, _, found, expected)| !same(found, expected))
        .map(|(a, b, found, expected)| format!("{sql} of {a:?}, {b:?} is {found:?}, expected {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ints(sql: &str) -> ArrayRef {
    let (a, b) = pairs(&INTS);
    values(sql, ColumnType::Int, Arc::new(Int64Array::from(a)), Arc::new(Int64Array::from(b)))
}

fn doubles(sql: &str) -> ArrayRef {
    let (a, b) = pairs(&DOUBLES);
    values(sql, ColumnType::Double, Arc::new(Float64Array::from(a)), Arc::new(Float64Array::from(b)))
}

fn check_ints(sql: &str, expected: impl Fn(Int, Int) -> Int) {
    let found = ints(sql).as_primitive::<Int64Type>().iter().collect();
    check(sql, &pairs(&INTS), found, expected, |a, b| a == b);
}

fn check_doubles(sql: &str, expected: impl Fn(Double, Double) -> Double) {
    let found = doubles(sql).as_primitive::<Float64Type>().iter().collect();
    let bits = |x: &Double| x.map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() });
    check(sql, &pairs(&DOUBLES), found, expected, |a, b| bits(a) == bits(b));
}

fn conditions(array: &ArrayRef) -> Vec<Bool> {
    array.as_boolean().iter().collect()
}

/// Both, if there are both.
fn both<A, B, T>(a: Option<A>, b: Option<B>, of: impl Fn(A, B) -> T) -> Option<T> {
    Some(of(a?, b?))
}

/// The order of doubles: NaN equals itself and is the greatest, and the zeros are equal.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[test]
fn ints_wrap_and_are_null_where_they_are_divided_by_zero() {
    check_ints("a + b", |a, b| both(a, b, i64::wrapping_add));
    check_ints("a - b", |a, b| both(a, b, i64::wrapping_sub));
    check_ints("a * b", |a, b| both(a, b, i64::wrapping_mul));
    check_ints("-a", |a, _| a.map(i64::wrapping_neg));
    check_ints("abs(a)", |a, _| a.map(i64::wrapping_abs));
    check_ints("sign(a)", |a, _| a.map(i64::signum));
    // Rounded down, and so is the remainder: it has the sign of the divisor.
    let floor = |a: i64, b: i64| {
        let (quotient, remainder) = (a.wrapping_div(b), a.wrapping_rem(b));
        if remainder != 0 && (remainder < 0) != (b < 0) { (quotient - 1, remainder + b) } else { (quotient, remainder) }
    };
    for quotient in ["a // b", "div(a, b)"] {
        check_ints(quotient, |a, b| both(a, b.filter(|b| *b != 0), |a, b| floor(a, b).0));
    }
    for remainder in ["a % b", "mod(a, b)"] {
        check_ints(remainder, |a, b| both(a, b.filter(|b| *b != 0), |a, b| floor(a, b).1));
    }
    let found = ints("a / b").as_primitive::<Float64Type>().iter().collect();
    let bits = |x: &Double| x.map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() });
    check("a / b", &pairs(&INTS), found, |a, b| both(a, b, |a, b| a as f64 / b as f64), |a, b| bits(a) == bits(b));
}

#[test]
fn doubles_are_those_of_ieee_754() {
    check_doubles("a + b", |a, b| both(a, b, |a, b| a + b));
    check_doubles("a - b", |a, b| both(a, b, |a, b| a - b));
    check_doubles("a * b", |a, b| both(a, b, |a, b| a * b));
    check_doubles("a / b", |a, b| both(a, b, |a, b| a / b));
    check_doubles("-a", |a, _| a.map(|a| -a));
    check_doubles("abs(a)", |a, _| a.map(f64::abs));
    check_doubles("floor(a)", |a, _| a.map(f64::floor));
    check_doubles("ceil(a)", |a, _| a.map(f64::ceil));
    check_doubles("trunc(a)", |a, _| a.map(f64::trunc));
    check_doubles("round(a)", |a, _| a.map(f64::round_ties_even));
    check_doubles("sqrt(a)", |a, _| a.map(f64::sqrt));
}

#[test]
fn comparisons_are_null_with_null_and_nan_is_the_greatest() {
    type Holds = fn(Ordering) -> bool;
    let operators: [(&str, Holds); 6] = [
        ("=", Ordering::is_eq),
        ("<>", Ordering::is_ne),
        ("<", Ordering::is_lt),
        ("<=", Ordering::is_le),
        (">", Ordering::is_gt),
        (">=", Ordering::is_ge),
    ];
    for (operator, holds) in operators {
        let sql = format!("a {operator} b");
        let of = |a, b| both(a, b, |a, b| holds(order(a, b)));
        check(&sql, &pairs(&DOUBLES), conditions(&doubles(&sql)), of, |a, b| a == b);
        let of = |a: Int, b: Int| both(a, b, |a, b| holds(a.cmp(&b)));
        check(&sql, &pairs(&INTS), conditions(&ints(&sql)), of, |a, b| a == b);
    }
    let differs = |a: Double, b: Double| match (a, b) {
        (Some(a), Some(b)) => Some(order(a, b).is_ne()),
        (a, b) => Some(a.is_some() != b.is_some()),
    };
    let sql = "a IS DISTINCT FROM b";
    check(sql, &pairs(&DOUBLES), conditions(&doubles(sql)), differs, |a, b| a == b);
    let sql = "a IS NOT DISTINCT FROM b";
    check(sql, &pairs(&DOUBLES), conditions(&doubles(sql)), |a, b| differs(a, b).map(|d| !d), |a, b| a == b);
}

#[test]
fn the_greatest_and_the_least_pass_over_null() {
    let of = |a: Int, b: Int, of: fn(i64, i64) -> i64| both(a, b, of).or(a).or(b);
    check_ints("greatest(a, b)", |a, b| of(a, b, i64::max));
    check_ints("least(a, b)", |a, b| of(a, b, i64::min));
    check_ints("coalesce(a, b)", |a, b| a.or(b));
    check_ints("nullif(a, b)", |a, b| a.filter(|_| a != b));
    check_ints("if(a > b, a, b)", |a, b| if a.is_some() && b.is_some() && a > b { a } else { b });
    check_ints("CASE WHEN a > b THEN a WHEN a = b THEN 0 END", |a, b| match (a?, b?) {
        (a, b) if a > b => Some(a),
        (a, b) => (a == b).then_some(0),
    });
    check_ints("CASE a WHEN b THEN 1 ELSE 0 END", |a, b| Some(i64::from(a.is_some() && a == b)));
    let between = |a: Int, b: Int| {
        let (low, high) = (both(b, a, |b, a| a >= b), a.map(|a| a <= 2));
        and(low, high)
    };
    let sql = "a BETWEEN b AND 2";
    check(sql, &pairs(&INTS), conditions(&ints(sql)), between, |a, b| a == b);
    let sql = "a NOT BETWEEN b AND 2";
    check(sql, &pairs(&INTS), conditions(&ints(sql)), |a, b| between(a, b).map(|x| !x), |a, b| a == b);
}

/// Also beside nulls in other rows, as here.
#[test]
fn nan_is_the_greatest_and_never_the_least_but_of_itself() {
    let extreme = |sql: &str, of: fn(Ordering) -> bool| {
        let expected = |a: Double, b: Double| both(a, b, |a, b| if of(order(a, b)) { a } else { b }).or(a).or(b);
        let found: Vec<Double> = doubles(sql).as_primitive::<Float64Type>().iter().collect();
        let same =
            |a: &Double, b: &Double| both(*a, *b, |a, b| order(a, b).is_eq()).unwrap_or(a.is_none() && b.is_none());
        check(sql, &pairs(&DOUBLES), found, expected, same);
    };
    extreme("greatest(a, b)", Ordering::is_gt);
    extreme("least(a, b)", Ordering::is_lt);
    extreme("greatest(a, least(b, a), b)", Ordering::is_gt);
}

fn and(a: Bool, b: Bool) -> Bool {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

#[test]
fn logic_has_three_values() {
    let (a, b) = pairs(&BOOLS);
    let found = |sql: &str| {
        let arrays: [ArrayRef; 2] =
            [a.clone(), b.clone()].map(|values| Arc::new(BooleanArray::from(values)) as ArrayRef);
        let [a, b] = arrays;
        conditions(&values(sql, ColumnType::Bool, a, b))
    };
    let not = |a: Bool| a.map(|a| !a);
    let or = |a, b| not(and(not(a), not(b)));
    type Model<'a> = &'a dyn Fn(Bool, Bool) -> Bool;
    let cases: [(&str, Model<'_>); 9] = [
        ("a AND b", &and),
        ("a OR b", &or),
        ("NOT a", &|a, _| not(a)),
        ("a AND NOT b OR b AND NOT a", &|a, b| or(and(a, not(b)), and(b, not(a)))),
        ("a IS TRUE", &|a, _| Some(a == Some(true))),
        ("a IS NOT FALSE", &|a, _| Some(a != Some(false))),
        ("if(a, b, NOT b)", &|a, b| if a == Some(true) { b } else { not(b) }),
        ("a = b", &|a, b| both(a, b, |a, b| a == b)),
        ("greatest(a, b)", &|a: Bool, b: Bool| both(a, b, |a, b| a || b).or(a).or(b)),
    ];
    for (sql, expected) in cases {
        check(sql, &(a.clone(), b.clone()), found(sql), expected, |a, b| a == b);
    }
}

/// `LIKE`, by its definition.
fn like(text: &[char], pattern: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, _) => text.is_empty(),
        (Some('%'), _) => like(text, &pattern[1..]) || (!text.is_empty() && like(&text[1..], pattern)),
        (Some('_'), Some(_)) => like(&text[1..], &pattern[1..]),
        (Some(p), Some(t)) => p == t && like(&text[1..], &pattern[1..]),
        (Some(_), None) => false,
    }
}

fn text_values(sql: &str) -> ArrayRef {
    let (a, b) = pairs(&TEXTS);
    values(sql, ColumnType::String, Arc::new(StringArray::from(a)), Arc::new(StringArray::from(b)))
}

fn check_texts(sql: &str, expected: impl Fn(Option<&str>, Option<&str>) -> Option<String>) {
    let found = text_values(sql);
    let found = found.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect();
    check(sql, &pairs(&TEXTS), found, expected, |a, b| a == b);
}

#[test]
fn text_is_made_of_characters() {
    check_texts("a || b", |a, b| both(a, b, |a, b| format!("{a}{b}")));
    check_texts("concat(a, '-', b)", |a, b| Some(format!("{}-{}", a.unwrap_or(""), b.unwrap_or(""))));
    check_texts("upper(a)", |a, _| a.map(str::to_uppercase));
    check_texts("replace(a, 'a', 'xy')", |a, _| a.map(|a| a.replace('a', "xy")));
    let sliced =
        |a: &str, from: usize, to: usize| a.chars().skip(from).take(to.saturating_sub(from)).collect::<String>();
    check_texts("left(a, 2)", |a, _| a.map(|a| sliced(a, 0, 2)));
    check_texts("right(a, 2)", |a, _| a.map(|a| sliced(a, a.chars().count().saturating_sub(2), 9)));
    check_texts("substr(a, 2)", |a, _| a.map(|a| sliced(a, 1, 9)));
    check_texts("substr(a, 2, 1)", |a, _| a.map(|a| sliced(a, 1, 2)));
    // Positions count from 1; what is before the first is there, and empty.
    check_texts("substr(a, 0, 2)", |a, _| a.map(|a| sliced(a, 0, 1)));
    check_texts("substr(a, -1, 3)", |a, _| a.map(|a| sliced(a, 0, 1)));
    let found = text_values("length(a)");
    let found = found.as_primitive::<Int64Type>().iter().collect();
    check("length(a)", &pairs(&TEXTS), found, |a, _| a.map(|a| a.chars().count() as i64), |a, b| a == b);
    for pattern in ["", "%", "a%", "%b", "_", "__", "a\\%b", "%.%", "a_b", "A_b", "%a%b%"] {
        let chars: Vec<char> = pattern.chars().collect();
        let of = |a: Option<&str>, _| a.map(|a| like(&a.chars().collect::<Vec<_>>(), &chars));
        let sql = format!("a LIKE '{pattern}'");
        check(&sql, &pairs(&TEXTS), conditions(&text_values(&sql)), of, |a, b| a == b);
    }
    for (sql, of) in [
        ("starts_with(a, 'a')", (|a| a.starts_with('a')) as fn(&str) -> bool),
        ("ends_with(a, 'b')", |a| a.ends_with('b')),
        ("regexp_matches(a, '^a+b$')", |a| a == "ab" || a == "aab"),
        ("regexp_like(a, '.')", |a| !a.is_empty()),
    ] {
        check(sql, &pairs(&TEXTS), conditions(&text_values(sql)), |a, _| a.map(of), |a, b| a == b);
    }
}

/// A timestamp of every month, in two zones.
#[test]
fn clocks_show_what_jiff_says() {
    let times: Vec<Int> = (0..400).map(|n| Some(1_356_998_399_999_999 + n * 79_234_567_891)).chain([None]).collect();
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC"));
    let found = |sql: &str| values(sql, ColumnType::Timestamp, Arc::clone(&array), Arc::clone(&array));
    for zone in ["America/New_York", "Asia/Kathmandu", "UTC"] {
        let local = |time: Int| {
            let time = jiff::Timestamp::from_microsecond(time?).unwrap();
            Some(time.to_zoned(Zone::named(zone).unwrap().time_zone().clone()))
        };
        let part = |sql: &str, of: fn(&jiff::Zoned) -> i64| {
            let sql = sql.replace('$', &format!("a AT TIME ZONE '{zone}'"));
            let found = found(&sql).as_primitive::<Int64Type>().iter().collect();
            check(&sql, &(times.clone(), times.clone()), found, |a, _| local(a).as_ref().map(of), |a, b| a == b);
        };
        part("EXTRACT(HOUR FROM $)", |local| local.hour().into());
        part("hour($)", |local| local.hour().into());
        part("date_part('dow', ($))", |local| local.weekday().to_sunday_zero_offset().into());
        part("dayofyear($)", |local| local.day_of_year().into());
        let sql = format!(
            "date_trunc('day', a, '{zone}') = date_trunc('day', a AT TIME ZONE '{zone}') AND a >= '2013-01-01'"
        );
        let of = |a: Int, _| a.map(|a| a >= 1_356_998_400_000_000);
        check(&sql, &(times.clone(), times.clone()), conditions(&found(&sql)), of, |a, b| a == b);
        let sql = format!("CAST(a AT TIME ZONE '{zone}' AS DATE)");
        let midnight = |time: Int| {
            let civil = local(time)?.date().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
            Some(civil.timestamp().as_microsecond())
        };
        let found = found(&sql).as_primitive::<TimestampMicrosecondType>().iter().collect();
        check(&sql, &(times.clone(), times.clone()), found, |a, _| midnight(a), |a, b| a == b);
    }
}

/// Expressions of every construct over the columns of [`any_rows`].
const EVERY: [&str; 36] = [
    "i + 1",
    "i * 1000003 // 7",
    "i % 5",
    "i / 3",
    "x * 2 - i",
    "m * m",
    "m / (m - 0.01)",
    "round(m, 1)",
    "trunc(x, 1)",
    "greatest(x, i)",
    "least(i, x, 2.5)",
    "greatest(i, 2)",
    "abs(m)",
    "i BETWEEN -1 AND 2",
    "i IN (1, 2, NULL)",
    "x IN (1, 2.5)",
    "s IN ('a', 'b')",
    "s LIKE 'a%'",
    "s ILIKE '%A'",
    "regexp_matches(s, '^a')",
    "upper(s) || '-' || coalesce(s, 'none')",
    "substr(s, 2, 1)",
    "split_part(s, 'a', 2)",
    "trim(s, 'a')",
    "concat_ws('/', s, s)",
    "TRY_CAST(s AS BIGINT)",
    "CAST(x AS BIGINT)",
    "CAST(i AS DECIMAL(5, 2))",
    "CASE WHEN x > 1 THEN 'big' WHEN b THEN s END",
    "nullif(s, 'a')",
    "NOT b OR i > 0",
    "b IS NOT TRUE",
    "EXTRACT(DOW FROM t)",
    "EXTRACT(HOUR FROM t AT TIME ZONE 'Europe/Berlin')",
    "date_trunc('month', t, 'America/New_York')",
    "t > '2013-01-01' AND time_bucket(INTERVAL '15 minutes', t) < t",
];

const MONEY: ColumnType = ColumnType::Decimal { precision: 38, scale: 2 };

fn any_rows() -> impl Strategy<Value = RecordBatch> {
    let int = prop::sample::select(&INTS[..]);
    let double = prop::sample::select(&DOUBLES[..]);
    let money = prop::option::of(prop_oneof![-3..300_i128, Just(10_i128.pow(38) - 1)]);
    let text = prop::sample::select(&TEXTS[..]);
    let time = prop::option::of(1_300_000_000_000_000..1_400_000_000_000_000_i64);
    let row = (int, double, money, text, time, prop::sample::select(&BOOLS[..]));
    (prop::collection::vec(row, 1..40), any::<bool>()).prop_map(|(rows, coded)| {
        let money = arrow::array::Decimal128Array::from(rows.iter().map(|r| r.2).collect::<Vec<_>>());
        let texts: Vec<Option<&str>> = rows.iter().map(|r| r.3).collect();
        let text: ArrayRef = match coded {
            true => Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
            false => Arc::new(StringArray::from(texts)),
        };
        let times = TimestampMicrosecondArray::from(rows.iter().map(|r| r.4).collect::<Vec<_>>());
        let columns: [(&str, ArrayRef); 6] = [
            ("i", Arc::new(Int64Array::from(rows.iter().map(|r| r.0).collect::<Vec<_>>()))),
            ("x", Arc::new(Float64Array::from(rows.iter().map(|r| r.1).collect::<Vec<_>>()))),
            ("m", Arc::new(money.with_precision_and_scale(38, 2).unwrap())),
            ("s", text),
            ("t", Arc::new(times.with_timezone("UTC"))),
            ("b", Arc::new(BooleanArray::from(rows.iter().map(|r| r.5).collect::<Vec<_>>()))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What an expression gives for a row is that of the row alone, whatever batch it comes in and where.
    #[test]
    fn l1_expressions_look_at_one_row(rows in any_rows(), from in any::<prop::sample::Index>(), step in 1..40_usize) {
        use ColumnType::{Bool, Double, Int, String, Timestamp};
        let types = [("i", Int), ("x", Double), ("m", MONEY), ("s", String), ("t", Timestamp), ("b", Bool)];
        let columns: Vec<_> = types.map(|(name, column_type)| (name.to_owned(), column_type)).to_vec();
        let count = rows.num_rows();
        let turned = (0..count).map(|row| ((from.index(count) + row * step) % count) as u32);
        let turned = UInt32Array::from_iter_values(turned);
        let elsewhere = take_record_batch(&rows, &turned).unwrap();
        for sql in EVERY {
            let expression = Expression::parse(sql, &columns).unwrap();
            let whole = expression.evaluate(&rows).unwrap();
            let alone: Vec<ArrayRef> = (0..count).map(|row| expression.evaluate(&rows.slice(row, 1)).unwrap()).collect();
            let alone = concat(&alone.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(&alone, &whole, "{}", sql);
            let moved = arrow::compute::take(&whole, &turned, None).unwrap();
            prop_assert_eq!(&expression.evaluate(&elsewhere).unwrap(), &moved, "{}", sql);
        }
    }
}
