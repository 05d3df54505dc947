#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::Int32Type,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use proptest::prelude::*;

use super::{Error, Expression};
use crate::schema::ColumnType;

mod model;

const FARE: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };

fn columns() -> Vec<(String, ColumnType)> {
    let columns = [
        ("carrier", ColumnType::String),
        ("origin", ColumnType::String),
        ("delay", ColumnType::Int),
        ("fare", FARE),
        ("distance", ColumnType::Double),
        ("cancelled", ColumnType::Bool),
        ("departed_at", ColumnType::Timestamp),
        ("value", ColumnType::Int),
    ];
    columns.map(|(name, column_type)| (name.to_owned(), column_type)).to_vec()
}

/// Four rows; the last is null throughout, but for the time. `carrier` is a dictionary.
fn batch() -> RecordBatch {
    // 2013-01-01 05:17:00.25, 2013-01-01 23:59:59, 2013-02-03 00:00:00 (a Sunday), 1969-12-31 23:59:59.999999.
    let times = [1_357_017_420_250_000, 1_357_084_799_000_000, 1_359_849_600_000_000, -1];
    let carriers: DictionaryArray<Int32Type> =
        [Some("UA"), Some("a carrier of a long name"), Some("UA"), None].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("carrier", Arc::new(carriers)),
        ("origin", Arc::new(StringArray::from(vec![Some("JFK"), Some("L'GA ÄÖ"), Some(""), None]))),
        ("delay", Arc::new(Int64Array::from(vec![Some(-7), Some(0), Some(130), None]))),
        (
            "fare",
            Arc::new(
                Decimal128Array::from(vec![Some(12_345), Some(-50), Some(0), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("distance", Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), Some(-0.0), None]))),
        ("cancelled", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
        ("departed_at", Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"))),
        ("value", Arc::new(Int64Array::from(vec![1, i64::MAX, i64::MIN, 0]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn shown(array: &ArrayRef) -> String {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect::<Vec<_>>().join(" | ")
}

/// Normalised text, type and values of `sql` over [`batch`].
fn outcome(sql: &str) -> String {
    let expression = match Expression::parse(sql, &columns()) {
        Ok(expression) => expression,
        Err(error) => return format!("{sql}\n  error: {error}"),
    };
    let again = Expression::parse(expression.sql(), &columns()).unwrap();
    assert_eq!(again, expression, "normalising {sql} twice is normalising it once");
    let values = expression.evaluate(&batch()).unwrap();
    let text = values.data_type() == &ColumnType::String.arrow() || matches!(expression.as_column(), Some("carrier"));
    assert!(text || *values.data_type() == expression.column_type().arrow(), "{sql} gives {}", values.data_type());
    // Slices, as batches are cut, and no rows give the same.
    let tail = expression.evaluate(&batch().slice(1, 2)).unwrap();
    assert_eq!(shown(&tail), shown(&values.slice(1, 2)), "{sql} over a slice");
    assert_eq!(expression.evaluate(&batch().slice(0, 0)).unwrap().len(), 0, "{sql} over nothing");
    format!("{sql}\n  {} : {}\n  {}", expression.sql(), expression.column_type(), shown(&values))
}

fn outcomes(sqls: &[&str]) -> String {
    sqls.iter().map(|sql| outcome(sql)).collect::<Vec<_>>().join("\n")
}

#[test]
fn columns_and_literals() {
    insta::assert_snapshot!(outcomes(&[
        "carrier",
        "CARRIER",
        " ( \"carrier\" ) ",
        "\"value\"",
        "value",
        "fare",
        "departed_at",
        "1",
        "1.50",
        "1e3",
        "'it''s'",
        "TRUE",
    ]));
}

#[test]
fn arithmetic() {
    insta::assert_snapshot!(outcomes(&[
        "delay + 1",
        "delay*2-(3)",
        "-delay",
        "- - delay",
        "delay / 2",
        "delay // 2",
        "div(delay, 2)",
        "delay % 60",
        "mod(delay, 60)",
        "delay // 0",
        "delay % 0",
        "delay / 0",
        "value + 1",
        "value * 2",
        "distance * delay",
        "fare * 2",
        "fare + 0.5",
        "fare * distance",
        "fare - fare",
        "fare / 3",
        "-fare",
        "fare / 0",
        "round(2.5)",
        "round(-3.5)",
        "fare * CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))",
        "abs(delay)",
        "abs(value)",
        "round(distance)",
        "round(distance + 1)",
        "round(fare, 1)",
        "ceil(distance)",
        "CEILING(fare)",
        "floor(-1.5 * delay)",
        "sign(delay)",
        "sqrt(delay)",
        "greatest(delay, 3)",
        "least(delay, value, 3)",
    ]));
}

#[test]
fn comparisons() {
    insta::assert_snapshot!(outcomes(&[
        "delay > 15",
        "delay <> 0",
        "delay != 0",
        "carrier = 'UA'",
        "origin < carrier",
        "distance > 1",
        "distance = distance",
        "fare >= 0.5",
        "fare = -0.50",
        "delay IS NULL",
        "delay IS NOT NULL",
        "cancelled",
        "NOT cancelled",
        "NOT NULL",
        "coalesce(cancelled, FALSE) AND carrier LIKE 'U%'",
        "cancelled IS TRUE",
        "cancelled IS NOT TRUE",
        "cancelled IS FALSE",
        "cancelled IS NOT FALSE",
        "delay = 0 OR delay > 100 AND NOT cancelled",
        "delay = 0 OR (delay > 100 OR fare IN (0, 1.5)) OR distance NOT IN (1.5, 2)",
        "(delay = 0 AND cancelled) AND (fare > 0 AND distance > 0)",
        "delay IS DISTINCT FROM 0",
        "delay IS NOT DISTINCT FROM NULL",
        "delay BETWEEN -7 AND 0",
        "delay NOT BETWEEN -7 AND 0",
        "delay IN (0, -7, 5)",
        "delay NOT IN (0)",
        "delay IN (0, NULL)",
        "carrier IN ('UA', 'DL')",
        "fare IN (0, 123.45)",
        "distance IN (1, 1.5)",
        "distance IN (1, 2)",
        "distance NOT IN (1.5, NULL)",
        "fare IN (0)",
        "cancelled IN (TRUE)",
        "carrier LIKE 'U_'",
        "carrier LIKE '%long%'",
        "carrier NOT LIKE 'UA'",
        "carrier ILIKE 'ua'",
        "origin LIKE '%.%'",
    ]));
}

#[test]
fn timestamps() {
    insta::assert_snapshot!(outcomes(&[
        "departed_at >= '2013-01-01T05:17:00.25Z'",
        "departed_at > '2013-01-01 05:17:00.25'",
        "departed_at = '2013-01-01T00:17:00.250000-05:00'",
        "'2013-02-03' <= departed_at",
        "departed_at < DATE '1970-01-01'",
        "departed_at = TIMESTAMP '1969-12-31 23:59:59.999999'",
        "departed_at BETWEEN '2013-01-01' AND '2013-01-31'",
        "departed_at IN ('2013-02-03', '1969-12-31T23:59:59.999999Z')",
        "TIMESTAMP '2013-01-01 12:00:00'",
        "coalesce(departed_at, TIMESTAMP '2013-01-01')",
        "EXTRACT(hour FROM departed_at)",
        "date_part('dow', departed_at)",
        "EXTRACT(isodow FROM departed_at)",
        "EXTRACT(year FROM departed_at)",
        "EXTRACT(doy FROM departed_at)",
        "EXTRACT(epoch FROM departed_at)",
        "CAST(departed_at AS BIGINT)",
        "departed_at - departed_at",
        "departed_at > 'yesterday'",
        "departed_at > '2013-01-01T00:00:00.0000001Z'",
        "TIME '12:00:00'",
        "departed_at AT TIME ZONE 'America/New_York'",
        "departed_at at time zone 'utc'",
        "EXTRACT(hour FROM departed_at AT TIME ZONE 'Asia/Kolkata') >= 5",
        "hour(departed_at)",
        "departed_at AT TIME ZONE 'America/New_York' BETWEEN '2013-01-01' AND '2013-01-02'",
        "date_trunc('month', departed_at, 'America/New_York')",
        "time_bucket('15m', departed_at) = '2013-01-01T05:15:00Z'",
        "coalesce(date_trunc('day', departed_at), DATE '2013-01-01')",
        "departed_at::DATE",
        "CAST(delay AS DATE)",
        "departed_at AT TIME ZONE 'Mars/Olympus'",
        "delay AT TIME ZONE 'UTC'",
        "upper(carrier) AT TIME ZONE 'UTC'",
        "date_trunc('day', delay)",
        "date_trunc('hour')",
    ]));
}

#[test]
fn conditionals_and_casts() {
    insta::assert_snapshot!(outcomes(&[
        "CASE WHEN delay > 0 THEN 'late' WHEN delay < 0 THEN 'early' END",
        "CASE carrier WHEN 'UA' THEN 1 ELSE 0 END",
        "CASE departed_at WHEN '2013-02-03' THEN TRUE ELSE FALSE END",
        "CASE WHEN TRUE THEN 1 ELSE delay END",
        "coalesce(delay, 0)",
        "ifnull(carrier, 'none')",
        "nullif(delay, 0)",
        "if(delay > 0, 'late', origin)",
        "if(delay, 1, 2)",
        "trunc(distance)",
        "CAST(delay AS VARCHAR)",
        "delay::double",
        "TRY_CAST(origin AS INT)",
        "CAST(distance AS BIGINT)",
        "CAST(distance AS DECIMAL(10, 1))",
        "CAST(fare AS DOUBLE)",
        "CAST(fare AS DECIMAL(38, 4))",
        "CAST(delay AS BOOLEAN)",
        "CAST(origin AS TIMESTAMP)",
    ]));
}

#[test]
fn strings() {
    insta::assert_snapshot!(outcomes(&[
        "upper(origin)",
        "lower(carrier)",
        "length(origin)",
        "char_length(origin)",
        "octet_length(origin)",
        "substr(origin, 2, 2)",
        "SUBSTRING(origin FROM 2)",
        "left(origin, 2)",
        "right(origin, 2)",
        "trim('J' FROM origin)",
        "trim(origin)",
        "trim(origin, 'J')",
        "trim(leading 'J' FROM origin)",
        "trim(trailing FROM origin)",
        "ltrim(origin, 'J')",
        "rtrim(origin)",
        "replace(origin, 'J', 'K')",
        "replace(origin, '.', 'K')",
        "split_part(carrier, ' ', 3)",
        "split_part(origin, '.', 1)",
        "ltrim(origin, '.')",
        "starts_with(origin, 'J')",
        "ends_with(origin, 'K')",
        "carrier || '-' || origin",
        "concat(carrier, '-', origin)",
        "concat_ws('-', carrier, origin)",
        "regexp_matches(origin, '^J.K$')",
        "regexp_matches(origin, '(')",
        "regexp_matches(origin, carrier)",
    ]));
}

#[test]
fn what_is_not_allowed() {
    insta::assert_snapshot!(outcomes(&[
        "",
        "delay +",
        "delay, carrier",
        "delay AS d",
        "dely + 1",
        "\"DELAY\"",
        "t.delay",
        "sum(delay)",
        "delay > (SELECT 1)",
        "carrier IN (SELECT 'UA')",
        "carrier IN (origin)",
        "row_number() OVER ()",
        "lag(delay) OVER ()",
        "now()",
        "strpos(origin, 'F')",
        "position('F' IN origin)",
        "CAST(origin AS BOOLEAN)",
        "uper(carrier)",
        "ln(delay)",
        "round()",
        "left(origin, delay)",
        "substr(origin, 9999999999)",
        "EXTRACT(fortnight FROM departed_at)",
        "CAST(delay AS SMALLINT)",
        "CAST(delay AS DATE)",
        "carrier LIKE origin",
        "carrier LIKE 'a!%' ESCAPE '!'",
        "carrier + 1",
        "carrier > 1",
        "upper(delay)",
        "delay AND TRUE",
        "NOT delay",
        "CASE WHEN delay THEN 1 END",
        "delay IS TRUE",
        "EXTRACT(EPOCH FROM delay)",
        "NULL",
        "99999999999999999999",
        "X'00'",
        "delay @> 1",
        "INTERVAL '1 hour'",
        "[1, 2]",
        "*",
    ]));
}

#[test]
fn chains_and_lists_have_bounds() {
    let repeat =
        |n: usize, item: &dyn Fn(usize) -> String, between: &str| (0..n).map(item).collect::<Vec<_>>().join(between);
    let evaluates = |sql: &str| Expression::parse(sql, &columns()).is_ok_and(|e| e.evaluate(&batch()).is_ok());
    for (between, item) in [(" AND ", "delay <> $"), (" OR ", "delay = $"), (" + ", "$"), (" || ", "'$'")] {
        let sql = |n: usize| repeat(n, &|at| item.replace('$', &at.to_string()), between);
        assert!(evaluates(&sql(60)), "60{between}");
        assert!(Expression::parse(&sql(70), &columns()).is_err(), "70{between}");
    }
    let doubles = repeat(1000, &|n| format!("{n}.5"), ", ");
    assert!(evaluates(&format!("distance IN ({doubles})")));
    assert!(!evaluates(&format!("fare IN ({doubles})")), "which is a chain of comparisons");
    assert!(!evaluates(&format!("{}1{}", "(".repeat(1000), ")".repeat(1000))));
    assert!(!evaluates(&format!("{}cancelled", "NOT ".repeat(1000))));
}

#[test]
fn what_cannot_be_computed_is_null_in_its_row_only() {
    let fare: ArrayRef =
        Arc::new(Decimal128Array::from((0..10_i128).collect::<Vec<_>>()).with_precision_and_scale(10, 2).unwrap());
    let batch = RecordBatch::try_from_iter([("fare", fare)]).unwrap();
    let inverse = Expression::parse("1 / (fare - 0.03::decimal(10, 2))", &columns()).unwrap();
    let whole = inverse.evaluate(&batch).unwrap();
    let nulls: Vec<usize> = (0..10).filter(|row| whole.is_null(*row)).collect();
    assert_eq!(nulls, [3]);
    for row in 0..10 {
        assert_eq!(&inverse.evaluate(&batch.slice(row, 1)).unwrap(), &whole.slice(row, 1), "row {row} alone");
    }
}

#[test]
fn a_dictionary_gives_what_its_text_gives() {
    let texts = [Some("UA"), None, Some("DL"), Some("UA"), Some(""), None, Some("DL")];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let arrays: [ArrayRef; 2] = [Arc::new(dictionary), Arc::new(StringArray::from(texts.to_vec()))];
    let batches = arrays.map(|array| RecordBatch::try_from_iter_with_nullable([("carrier", array, true)]).unwrap());
    for sql in
        ["lower(carrier)", "carrier = 'UA'", "coalesce(carrier, 'none')", "carrier IS NULL", "length(carrier)", "'x'"]
    {
        let expression = Expression::parse(sql, &columns()).unwrap();
        let [coded, plain] = batches.each_ref().map(|batch| expression.evaluate(batch).unwrap());
        assert_eq!(&coded, &plain, "{sql}");
    }
}

/// A stream must not stop at one value: whatever stands in the columns, every construct gives some value.
#[test]
fn no_value_makes_an_expression_fail() {
    let widest = ColumnType::Decimal { precision: 38, scale: 4 };
    let types = [
        ("i", ColumnType::Int),
        ("x", ColumnType::Double),
        ("m", widest),
        ("s", ColumnType::String),
        ("t", ColumnType::Timestamp),
    ];
    let columns: Vec<_> = types.map(|(name, column_type)| (name.to_owned(), column_type)).to_vec();
    let ints = vec![Some(i64::MIN), Some(-1), Some(0), Some(i64::MAX), None];
    let money = vec![Some(-10_i128.pow(38) + 1), Some(-1), Some(0), Some(10_i128.pow(38) - 1), None];
    let arrays: [(&str, ArrayRef); 5] = [
        ("i", Arc::new(Int64Array::from(ints.clone()))),
        (
            "x",
            Arc::new(Float64Array::from(vec![
                Some(f64::NEG_INFINITY),
                Some(f64::NAN),
                Some(-0.0),
                Some(f64::MAX),
                None,
            ])),
        ),
        ("m", Arc::new(Decimal128Array::from(money).with_precision_and_scale(38, 4).unwrap())),
        ("s", Arc::new(StringArray::from(vec![Some("("), Some("\0"), Some(""), Some("\u{10ffff}é"), None]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(ints).with_timezone("UTC"))),
    ];
    let batch = RecordBatch::try_from_iter(arrays).unwrap();
    let mut sqls: Vec<String> =
        ["EXTRACT(YEAR FROM t)", "EXTRACT(DOY FROM t)", "EXTRACT(WEEK FROM t)", "EXTRACT(EPOCH FROM t)"]
            .map(str::to_owned)
            .to_vec();
    for number in ["i", "x", "m"] {
        for other in ["i", "x", "m", "0", "1.5", "9223372036854775807"] {
            for op in ["+", "-", "*", "/", "//", "%", "<", "="] {
                sqls.push(format!("{number} {op} {other}"));
            }
            sqls.push(format!("greatest({number}, {other})"));
            sqls.push(format!("coalesce({number}, {other})"));
        }
        for function in ["-", "abs", "ceil", "floor", "round", "sign", "sqrt"] {
            sqls.push(format!("{function}({number})"));
        }
        for target in ["BIGINT", "DOUBLE", "DECIMAL(1, 1)", "DECIMAL(38, 38)", "VARCHAR"] {
            sqls.push(format!("CAST({number} AS {target})"));
        }
    }
    for position in ["999999999", "-999999999", "0", "1", "-1"] {
        for call in [
            "left(s, $)",
            "right(s, $)",
            "substr(s, $)",
            "substr(s, $, $)",
            "split_part(s, s, $)",
            "round(x, $)",
            "round(m, $)",
        ] {
            sqls.push(call.replace('$', position));
        }
    }
    for target in ["BIGINT", "DOUBLE", "DECIMAL(38, 4)"] {
        sqls.push(format!("CAST(s AS {target})"));
    }
    sqls.extend(
        ["replace(s, s, s)", "starts_with(s, s)", "ends_with(s, s)", "ltrim(s, s)", "s LIKE '(%'"].map(str::to_owned),
    );
    let mut failed = Vec::new();
    for sql in &sqls {
        // Some mixtures are no expression at all, which is said when the view is read.
        if let Ok(expression) = Expression::parse(sql, &columns)
            && let Err(error) = expression.evaluate(&batch)
        {
            failed.push(format!("{sql}: {error:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn matches_takes_null_for_false() {
    let late = Expression::parse("delay > -100", &columns()).unwrap();
    assert_eq!(late.matches(&batch()).unwrap(), BooleanArray::from(vec![true, true, true, false]));
    let cancelled = Expression::column("cancelled", ColumnType::Bool);
    assert_eq!(cancelled.matches(&batch()).unwrap(), BooleanArray::from(vec![true, false, true, false]));
    let delay = Expression::column("delay", ColumnType::Int);
    assert!(matches!(delay.matches(&batch()), Err(Error::Evaluation { .. })));
}

#[test]
fn plain_columns_are_passed_as_they_are() {
    let carrier = Expression::parse("Carrier", &columns()).unwrap();
    assert_eq!(carrier, Expression::column("carrier", ColumnType::String));
    assert!(matches!(carrier.evaluate(&batch()).unwrap().data_type(), arrow::datatypes::DataType::Dictionary(..)));
}

#[test]
fn a_batch_without_the_column_or_of_another_type_is_an_error() {
    let sum = Expression::parse("delay + 1", &columns()).unwrap();
    assert!(sum.evaluate(&RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))).is_err());
    let delay: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    assert!(sum.evaluate(&RecordBatch::try_from_iter([("delay", delay)]).unwrap()).is_err());
}

/// Polars blocks on a runtime of its own while it plans.
#[tokio::test]
async fn an_expression_may_be_made_on_a_thread_of_an_async_runtime() {
    let sum = Expression::parse("delay + 1", &columns()).unwrap();
    assert_eq!(sum.evaluate(&batch()).unwrap().len(), 4);
}

#[test]
fn expressions_can_be_shared() {
    fn shared<T: Send + Sync + Clone + PartialEq + std::fmt::Debug>(_: &T) {}
    shared(&Expression::parse("delay + 1", &columns()).unwrap());
}

/// SQL with random layout: how the same tokens may be written.
fn layout(tokens: &'static str) -> impl Strategy<Value = String> {
    let tokens: Vec<&str> = tokens.split(' ').collect();
    let choices = prop::collection::vec((0..4_usize, any::<bool>()), tokens.len());
    choices.prop_map(move |choices| {
        let spaced = tokens.iter().zip(choices).map(|(token, (space, upper))| {
            let quoted = token.starts_with(['\'', '"']);
            let token = if upper && !quoted { token.to_uppercase() } else { (*token).to_owned() };
            token + [" ", "\n", "\t  ", " /* a note */ "][space]
        });
        spaced.collect()
    })
}

/// Random conditions over [`batch`], with more parentheses than they need, that mean to Polars what they mean in SQL.
fn conditions() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just("delay"), Just("\"value\""), Just("-3"), Just("1.50"), Just("(distance)")]
        .prop_map(str::to_owned);
    let number = number.prop_recursive(3, 8, 2, |inner| {
        let op = prop::sample::select(vec!["+", "-", "*", "/", "//", "%"]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(left, op, right)| format!("{left} {op} ({right})")),
            inner.clone().prop_map(|x| format!("-({x})")),
            inner.prop_map(|x| format!("coalesce({x}, 0)")),
        ]
    });
    let op = prop::sample::select(vec!["=", "<>", "!=", "<", ">="]);
    let leaf = prop_oneof![
        (number.clone(), op, number.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        number.clone().prop_map(|x| format!("{x} IS NULL")),
        number.prop_map(|x| format!("{x} BETWEEN -7 AND 1.5")),
        Just("delay NOT IN (0, 130)".to_owned()),
        Just("cancelled".to_owned()),
        Just("carrier IN ('UA', 'it''s')".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) AND {right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} OR ({right})")),
            inner.clone().prop_map(|x| format!("NOT ({x})")),
            inner.prop_map(|x| format!("CASE WHEN {x} THEN FALSE ELSE cancelled END")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn normalised_text_is_insensitive_to_layout(
        sql in layout("case when ( delay + 1 ) * 2 > 15 and carrier in ( 'UA' , 'dl' ) then upper ( origin ) else null end"),
    ) {
        let normalised = Expression::parse(&sql, &columns()).unwrap();
        prop_assert_eq!(
            normalised.sql(),
            "CASE WHEN ((((\"delay\" + 1) * 2) > 15) AND (carrier IN ('UA', 'dl'))) THEN upper(origin) ELSE NULL END",
        );
    }

    #[test]
    fn normalising_is_idempotent_and_keeps_the_meaning(sql in conditions()) {
        let once = Expression::parse(&sql, &columns()).unwrap();
        let twice = Expression::parse(once.sql(), &columns()).unwrap();
        prop_assert_eq!(&twice, &once);
        let plain = super::engine::Engine::compile(&sql, once.inputs()).unwrap().0.evaluate(&batch()).unwrap();
        prop_assert_eq!(&once.evaluate(&batch()).unwrap(), &plain, "{}", once.sql());
    }

    #[test]
    fn every_value_crosses_to_polars_and_back(
        ints in prop::collection::vec(any::<Option<i64>>(), 0..50),
        doubles in prop::collection::vec(any::<Option<f64>>(), 0..50),
        texts in prop::collection::vec(any::<Option<String>>(), 0..50),
        bools in prop::collection::vec(any::<Option<bool>>(), 0..50),
        decimals in prop::collection::vec(proptest::option::of(-10_i128.pow(38) + 1..10_i128.pow(38)), 0..50),
        from in 0..50_usize,
    ) {
        let decimal = ColumnType::Decimal { precision: 38, scale: 4 };
        let arrays: [(ArrayRef, ColumnType); 6] = [
            (Arc::new(Int64Array::from(ints.clone())), ColumnType::Int),
            (Arc::new(Float64Array::from(doubles)), ColumnType::Double),
            (Arc::new(StringArray::from(texts)), ColumnType::String),
            (Arc::new(BooleanArray::from(bools)), ColumnType::Bool),
            (Arc::new(Decimal128Array::from(decimals).with_precision_and_scale(38, 4).unwrap()), decimal),
            (Arc::new(TimestampMicrosecondArray::from(ints).with_timezone("UTC")), ColumnType::Timestamp),
        ];
        for (array, column_type) in arrays {
            let from = from.min(array.len());
            let array = array.slice(from, array.len() - from);
            let series = super::bridge::to_polars("x", &array, column_type).unwrap();
            prop_assert_eq!(series.dtype(), &super::bridge::polars_type(column_type));
            prop_assert_eq!(&super::bridge::from_polars(&series, column_type).unwrap(), &array);
        }
    }
}
