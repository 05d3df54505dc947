//! Statements against what the query API answers, and every way to ask what is not answered.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;

use serde_json::{Value, json};

use super::*;
use crate::{
    query::{self, Query},
    testing::{tiers, views_by_name},
};

fn asked(sql: &str, params: Value) -> Result<Value, Error> {
    let request = Request::from_json(json!({"sql": sql, "params": params}).to_string().as_bytes())?;
    let run = move || {
        let served = Served::new(views_by_name());
        let answer = Prepared::new(&served, &request)?.run(&served, &tiers(), &CancellationToken::new())?;
        Ok(serde_json::to_value(&answer).unwrap())
    };
    thread::Builder::new().stack_size(common::limits::SQL_STACK_BYTES).spawn(run).unwrap().join().unwrap()
}

#[track_caller]
fn rows(sql: &str) -> Value {
    asked(sql, json!([])).unwrap_or_else(|error| panic!("{sql}: {error}"))["rows"].clone()
}

fn queried(query: Value) -> Value {
    let query = Query::from_json(query.to_string().as_bytes()).unwrap();
    let answer = query::answer(&Served::new(views_by_name()), &tiers(), &query, &CancellationToken::new()).unwrap();
    serde_json::to_value(&answer).unwrap()["rows"].clone()
}

#[test]
fn l1_measure_groups_states_as_the_query_api_does() {
    let measures = ["departures", "mean_delay", "fares", "delays", "p95_delay", "greatest_delay"];
    let asked = measures.map(|m| format!("MEASURE({m})")).join(", ");
    let expected = queried(
        json!({"view": "delays", "dimensions": ["carrier"], "measures": measures, "order_by": [{"by": "carrier"}]}),
    );
    let answer = rows(&format!("SELECT carrier, {asked} FROM delays GROUP BY carrier ORDER BY carrier NULLS LAST"));
    assert_eq!(answer, expected);
    let total = rows(&format!("SELECT {asked} FROM delays"));
    assert_eq!(total, queried(json!({"view": "delays", "measures": measures})));
}

#[test]
fn groups_are_of_expressions_names_and_numbers() {
    let by_day = queried(
        json!({"view": "delays", "grain": "day", "measures": ["departures", "delays"], "where": "origin <> 'EWR'"}),
    );
    for group in ["date_trunc('day', hour)", "day", "1"] {
        let sql = format!(
            "SELECT date_trunc('day', hour) AS day, MEASURE(departures) AS n, MEASURE(delays) FROM delays AS d \
             WHERE d.origin <> 'EWR' GROUP BY {group} ORDER BY 1"
        );
        assert_eq!(rows(&sql), by_day, "{group}");
    }
    let sums = rows(
        "SELECT upper(origin) o, MEASURE(departures) * 2 AS twice FROM delays GROUP BY upper(origin) HAVING MEASURE(departures) > 1 ORDER BY MEASURE(departures) DESC LIMIT 2",
    );
    let mut expected: Vec<(i64, String)> =
        queried(json!({"view": "delays", "dimensions": ["origin"], "measures": ["departures"]}))
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row[1].as_i64().unwrap() * 2, row[0].as_str().unwrap().to_owned()))
            .collect();
    expected.sort_by(|a, b| b.cmp(a));
    let first = &sums.as_array().unwrap()[0];
    assert_eq!((first[1].as_i64().unwrap(), sums.as_array().unwrap().len()), (expected[0].0, 2));
}

#[test]
fn a_view_is_a_table_of_finished_rows() {
    let whole = queried(
        json!({"view": "delays", "grain": "hour", "dimensions": ["carrier", "origin"], "measures": ["departures", "fares"]}),
    );
    let table =
        rows("SELECT hour, carrier, origin, departures, fares FROM delays ORDER BY hour, carrier NULLS FIRST, origin");
    assert_eq!(table, whole);
    assert_eq!(rows("SELECT sum(departures) FROM delays"), json!([[120]]));
    assert_eq!(
        rows("SELECT count(*) AS n FROM delays WHERE origin = 'JFK' AND hour >= '2013-02-02'")[0][0],
        whole
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row[2] == "JFK" && row[0].as_str().unwrap() >= "2013-02-02")
            .count()
    );
    let columns = asked("SELECT * FROM totals", json!([])).unwrap()["columns"].clone();
    assert_eq!(columns, json!([{"name": "hour", "type": "timestamp"}, {"name": "departures", "type": "int64"}]));
}

#[test]
fn joins_windows_and_queries_within_queries() {
    let joined = rows(
        "WITH by_day AS (SELECT date_trunc('day', hour) AS day, MEASURE(departures) AS n FROM delays GROUP BY 1) \
         SELECT t.hour, t.departures, by_day.n FROM totals t JOIN by_day ON t.hour = by_day.day ORDER BY t.hour",
    );
    let joined = joined.as_array().unwrap();
    assert!(joined.len() >= 3);
    assert!(joined.iter().all(|row| row[1] == row[2]), "two views of the same events agree: {joined:?}");
    let ranked = rows(
        "SELECT carrier, n, sum(n) OVER (ORDER BY n) AS running FROM (SELECT carrier, MEASURE(departures) AS n FROM delays GROUP BY carrier) x ORDER BY n",
    );
    let last = ranked.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last[2], 120);
    let both =
        rows("SELECT carrier FROM delays WHERE origin = 'JFK' UNION SELECT carrier FROM delays WHERE origin = 'LGA'");
    assert_eq!(both.as_array().unwrap().len(), 4);
    assert_eq!(rows("SELECT 1 + 1 AS two"), json!([[2]]));
}

#[test]
fn parameters_are_values_and_never_sql() {
    let sql = "SELECT MEASURE(departures) FROM delays WHERE origin = $1 AND hour < $2";
    let some = asked(sql, json!(["JFK", "2013-02-03T00:00:00Z"])).unwrap();
    let expected = queried(
        json!({"view": "delays", "measures": ["departures"], "where": "origin = 'JFK'", "to": "2013-02-03T00:00:00Z"}),
    );
    assert_eq!(some["rows"], expected);
    let none = asked("SELECT origin FROM delays WHERE origin = $1", json!(["' OR origin = 'JFK"])).unwrap();
    assert_eq!(none["rows"], json!([]));
    let Err(Error::Invalid(errors)) = asked("SELECT $2", json!([1])) else { panic!("there is no second value") };
    assert_eq!(errors[0].pointer, "#/params");
}

#[track_caller]
fn refused(sql: &str, says: &str) {
    let error = asked(sql, json!([])).expect_err(sql).to_string();
    assert!(error.contains(says), "{sql}: {error}");
}

#[test]
fn what_is_not_answered_says_why_and_where() {
    for (sql, says) in [
        ("SELEC 1", "Line: 1, Column: 1"),
        ("DROP TABLE delays", "only SELECT"),
        ("INSERT INTO delays VALUES (1)", "only SELECT"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("", "no statement"),
        (
            "SELECT *\nFROM delay",
            "there is no view `delay`, did you mean `delays`? There are `delays`, `totals` at Line: 2, Column: 6",
        ),
        ("SELECT * FROM read_csv('/etc/passwd')", "only views"),
        ("SELECT * FROM read_parquet('s3://x/y')", "only views"),
        ("SELECT * FROM '/etc/passwd'", "there is no view"),
        ("SELECT * INTO x FROM delays", "INTO"),
        ("SELECT * FROM delays, totals", "JOIN them ON"),
        ("SELECT * FROM delays CROSS JOIN totals", "needs ON or USING"),
        ("SELECT * FROM delays d JOIN totals t ON 1 = 1", "needs ON or USING"),
        ("SELECT MEASURE(departures) FROM delays d JOIN totals t ON d.hour = t.hour", "MEASURE is of one view"),
        ("SELECT MEASURE(departure) FROM delays", "did you mean `departures`?"),
        ("SELECT MEASURE(top_origins) FROM delays", "is a list"),
        ("SELECT MEASURE(1) FROM delays", "the name of one measure"),
        ("SELECT MEASURE(departures) FROM delays WHERE departures > 1", "bucket and dimensions"),
        ("SELECT origin, MEASURE(departures) FROM delays GROUP BY 3", "no column 3"),
        ("SELECT nothing FROM delays", "nothing"),
    ] {
        refused(sql, says);
    }
}

/// How many rows of partials a statement merges, and its rows.
fn merged(sql: &str) -> (u64, Value) {
    let answer = asked(sql, json!([])).unwrap_or_else(|error| panic!("{sql}: {error}"));
    (answer["stats"]["rows_merged"].as_u64().unwrap(), answer["rows"].clone())
}

#[test]
fn l1_a_range_of_buckets_reads_fewer_rows_and_answers_the_same() {
    let (all, _) = merged("SELECT MEASURE(departures) FROM delays");
    let measured = "SELECT origin, MEASURE(departures), MEASURE(p95_delay) FROM delays";
    // Where the bucket is only compared as something else, all rows are looked at.
    for (ranged, looked_at) in [
        ("hour >= '2013-02-02'", "NOT (hour < '2013-02-02')"),
        ("hour < '2013-02-02T00:00:00Z' AND carrier = 'UA'", "NOT (hour >= '2013-02-02') AND carrier = 'UA'"),
        (
            "'2013-02-01T05:00:00Z' < hour AND (hour <= TIMESTAMP '2013-02-03 05:00:00')",
            "NOT (hour <= '2013-02-01T05:00:00Z' OR hour > '2013-02-03T05:00:00Z')",
        ),
        (
            "hour BETWEEN '2013-02-01T03:00:00Z' AND '2013-02-01T07:00:00Z'",
            "NOT (hour < '2013-02-01T03:00:00Z' OR hour > '2013-02-01T07:00:00Z')",
        ),
        ("hour = '2013-02-01T03:00:00Z'", "NOT (hour <> '2013-02-01T03:00:00Z')"),
    ] {
        let (rows, answer) = merged(&format!("{measured} WHERE {ranged} GROUP BY origin ORDER BY origin"));
        let (_, expected) = merged(&format!("{measured} WHERE {looked_at} GROUP BY origin ORDER BY origin"));
        assert_eq!(answer, expected, "{ranged}");
        assert!(rows < all, "{ranged} merges {rows} of {all} rows");
        let plain = |condition: &str| {
            merged(&format!("SELECT hour, carrier, origin, departures FROM delays WHERE {condition} ORDER BY 1, 2, 3"))
        };
        let ((rows, answer), (_, expected)) = (plain(ranged), plain(looked_at));
        assert_eq!(answer, expected, "{ranged}");
        assert!(rows < all, "{ranged} merges {rows} of {all} rows");
    }
    assert_eq!(merged("SELECT departures FROM delays WHERE hour < '2000-01-01'"), (0, json!([])));
}
