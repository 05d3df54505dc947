//! Queries over the catalogue, as the rows that Postgres itself gives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    super::statement::{Statement, statements},
    *,
};
use crate::{postgres::settings::Settings, testing::views};

fn facts() -> Facts {
    let settings = Settings::new("any");
    Facts {
        user: "any".to_owned(),
        database: "views".to_owned(),
        settings: settings.values,
        tables: tables_of(views()),
    }
}

fn asked(sql: &str) -> Result<Answer, Fault> {
    let Statement::Query(query) = statements(sql)?.pop().unwrap() else { panic!("{sql} is no query") };
    answer(&facts(), &query, true)
}

/// The rows, as text with `|` between.
fn rows(sql: &str) -> Vec<String> {
    let answer = asked(sql).unwrap_or_else(|fault| panic!("{sql}: {fault:?}"));
    let text = |value: &Value| value.text().unwrap_or_else(|| "∅".to_owned());
    answer.rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn queries_have_the_rows_that_postgres_gives() {
    for (sql, expected) in [
        ("SELECT relname FROM pg_class WHERE relname ~ '^(tot.*)$'", vec!["totals"]),
        (
            "SELECT relname FROM pg_catalog.pg_class WHERE relname OPERATOR(pg_catalog.~) '^(delays)$' COLLATE pg_catalog.default",
            vec!["delays"],
        ),
        (
            "SELECT c.relname, i.indexrelid FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid ORDER BY 1 DESC",
            vec!["totals|∅", "delays|∅"],
        ),
        (
            "SELECT count(*), min(attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'totals'",
            vec!["2|departures"],
        ),
        (
            "SELECT relname, (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid) FROM pg_class c WHERE EXISTS \
             (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'fares')",
            vec!["delays|11"],
        ),
        (
            "SELECT 'totals'::regclass::oid = c.oid, c.oid::regclass::text FROM pg_class c WHERE c.oid = 'totals'::regclass",
            vec!["t|totals"],
        ),
        ("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'fares'", vec!["numeric(38,2)"]),
        ("SELECT array_to_string(ARRAY(SELECT relname FROM pg_class ORDER BY 1), ', ')", vec!["delays, totals"]),
        (
            "SELECT relkind, array_agg(relname ORDER BY relname DESC), string_agg(relname, '+') FROM pg_class GROUP BY relkind",
            vec!["r|{totals,delays}|delays+totals"],
        ),
        (
            "WITH t AS (SELECT relname n FROM pg_class) SELECT n FROM t UNION SELECT 'x' UNION SELECT 'x' ORDER BY 1 LIMIT 2 OFFSET 1",
            vec!["totals", "x"],
        ),
        (
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg/_%' ESCAPE '/' AND nspname <> ALL (ARRAY['public'])",
            vec!["information_schema"],
        ),
        (
            "SELECT CASE WHEN NULL THEN 1 WHEN 2 IN (1, NULL) THEN 2 ELSE 3 END, NULL AND false, NULL OR true, 7 / 2",
            vec!["3|f|t|3"],
        ),
        ("SELECT s[2], (parse_ident('a.b'))[1] FROM string_to_array('x,y', ',') s", vec!["y|a"]),
        ("SELECT i FROM generate_series(2, 3) AS i WHERE i = ANY ('{1,3}')", vec!["3"]),
        ("SELECT DISTINCT table_schema FROM information_schema.columns", vec!["public"]),
        (
            "SELECT trim(trailing ';' from 'x;'), upper(left('abc', 2)), position('c' in 'abc'), quote_ident('A b')",
            vec!["x|AB|3|\"A b\""],
        ),
        ("SELECT pubname FROM pg_publication p JOIN pg_publication_rel r ON p.oid = r.prpubid", vec![]),
    ] {
        assert_eq!(rows(sql), expected, "{sql}");
    }
}

#[test]
fn types_are_told_without_a_row() {
    let Statement::Query(query) =
        statements("SELECT oid, relname, relkind, 1, 'x', true, now FROM pg_class, pg_index").unwrap().pop().unwrap()
    else {
        panic!("it is a query")
    };
    let types: Vec<Type> = answer(&facts(), &query, false).unwrap().columns.into_iter().map(|(_, of)| of).collect();
    assert_eq!(types, [Type::OID, Type::NAME, Type::CHAR, Type::INT4, Type::TEXT, Type::BOOL, Type::TEXT]);
}

#[test]
fn what_is_wrong_says_what() {
    for (sql, code) in [
        ("SELECT nothing FROM pg_class", "42703"),
        ("SELECT nothing() FROM pg_class", "42883"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 'nothing'::regclass", "42P01"),
        ("SELECT 'x'::int", "22P02"),
        ("SELECT $1", "42P02"),
        ("SELECT count(*) FROM generate_series(1, 9000) a, generate_series(1, 9000) b", "54001"),
    ] {
        assert_eq!(asked(sql).expect_err(sql).code, code, "{sql}");
    }
}
