#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

use proptest::prelude::*;

use super::{View, identity, parse};
use crate::{
    grain::{Grain, Zone},
    measure::{Finish, StateFunction, StateSpec},
    pipeline::Sources,
    schema::{ColumnType, Schema},
    testing::departures,
};

mod law;

const DELAYS: &str = "CREATE VIEW delays_by_hour AS
SELECT date_trunc('hour', departed_at) AS hour, carrier, origin,
       count(*)                        AS departures,
       avg(delay_minutes)              AS mean_delay,
       approx_percentile(delay_minutes, 0.95) AS p95_delay,
       approx_distinct(tail_number)    AS aircraft
FROM departures
WHERE delay_minutes IS NOT NULL
GROUP BY hour, carrier, origin;
";

fn sources() -> Sources {
    let source = departures();
    Sources::from([(source.name.clone(), source)])
}

fn parsed(sql: &str) -> Result<View, String> {
    parse(sql, "views/test.sql", &sources())
        .map_err(|diagnostics| diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// The view of `items`, grouped by its first `keys` columns.
fn view(items: &str, keys: usize) -> View {
    let ordinals: Vec<String> = (1..=keys).map(|key| key.to_string()).collect();
    parsed(&format!("CREATE VIEW v AS SELECT {items} FROM departures GROUP BY {}", ordinals.join(", "))).unwrap()
}

/// What is said of each of `statements`, one after the other.
fn said(statements: &[&str]) -> String {
    let said = |sql: &&str| match parsed(sql) {
        Ok(view) => format!("{}\n", view.sql),
        Err(diagnostics) => format!("{diagnostics}\n"),
    };
    statements.iter().map(said).collect::<Vec<_>>().join("\n")
}

/// What is said of a view that has `item` between its bucket and a measure.
fn said_of_items(items: &[&str]) -> String {
    let statements: Vec<String> = items
        .iter()
        .map(|item| {
            format!("CREATE VIEW v AS\nSELECT date_trunc('day', departed_at) AS day,\n       {item},\n       count(*) AS n\nFROM departures\nGROUP BY day")
        })
        .collect();
    said(&statements.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_view_of_the_design() {
    let view = parsed(DELAYS).unwrap();
    assert_eq!(view.name.as_str(), "delays_by_hour");
    assert_eq!(view.source.as_str(), "departures");
    assert_eq!((view.bucket_name.as_str(), view.time_column.as_str()), ("hour", "departed_at"));
    assert_eq!(view.grain, Grain::HOUR);
    assert_eq!(view.filter.as_ref().unwrap().sql(), "delay_minutes IS NOT NULL");
    let dimensions: Vec<&str> = view.dimensions.iter().map(|d| d.input.as_column().unwrap()).collect();
    assert_eq!(dimensions, ["carrier", "origin"]);
    let fields = view.partial_schema();
    let fields: Vec<&str> = fields.fields().iter().map(|field| field.name().as_str()).collect();
    insta::assert_debug_snapshot!(fields);
    let measures: Vec<_> = view.measures.iter().map(|m| (&m.name, &m.finish, m.value_type)).collect();
    insta::assert_debug_snapshot!(measures);
    insta::assert_snapshot!(format!("{}\n{}", view.id, view.sql));
}

#[test]
fn states_are_kept_once() {
    let view = view(
        "date_trunc('day', departed_at), avg(fare), sum(fare), count(fare), count(*), count(1) AS ones, \
         approx_percentile(distance, 0.5), quantile(distance, 0.99) AS p99, approx_quantile(distance, 1), \
         approx_distinct(carrier), approx_count_distinct(carrier) AS again, min(fare), max(fare)  AS most",
        1,
    );
    let states: Vec<_> = view.states.iter().map(|state| state.function.clone()).collect();
    let expected = [
        StateFunction::Sum,
        StateFunction::Count,
        StateFunction::Count,
        StateFunction::Quantiles { relative_error: 0.01 },
        StateFunction::Distinct { precision: 12 },
        StateFunction::Min,
        StateFunction::Max,
    ];
    assert_eq!(states, expected);
    assert_eq!(view.measure("avg_fare").unwrap().finish, Finish::Avg { sum: 0, count: 1 });
    assert_eq!(view.measure("sum_fare").unwrap().value_type, ColumnType::Decimal { precision: 38, scale: 2 }.into());
    assert_eq!(view.measure("p99").unwrap().finish, Finish::Percentile { state: 3, quantile: 0.99 });
    let names: Vec<&str> = view.measures.iter().map(|m| m.name.as_str()).collect();
    insta::assert_debug_snapshot!(names);
}

fn grain_of(bucket: &str) -> Grain {
    view(&format!("{bucket} AS b, count(*)"), 1).grain
}

#[test]
fn every_grain() {
    let us = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    for (step, start) in [
        ("second", "2013-01-31T23:59:58Z"),
        ("MINUTE", "2013-01-31T23:59:00Z"),
        ("hour", "2013-01-31T23:00:00Z"),
        ("day", "2013-01-31T00:00:00Z"),
        ("week", "2013-01-28T00:00:00Z"),
        ("month", "2013-01-01T00:00:00Z"),
        ("quarter", "2013-01-01T00:00:00Z"),
        ("year", "2013-01-01T00:00:00Z"),
    ] {
        let view = view(&format!("date_trunc('{step}', departed_at), count(*)"), 1);
        assert_eq!(view.bucket_name, step.to_lowercase());
        assert_eq!(view.grain.bucket(us("2013-01-31T23:59:58.999999Z")), us(start), "{step}");
        assert_eq!(view.grain, grain_of(&format!("time_bucket(INTERVAL '1 {step}', departed_at)")));
    }
}

#[test]
fn one_bucket_has_many_spellings_and_one_identity() {
    let new_york = Zone::named("America/New_York").unwrap();
    let day = Grain::DAY.in_zone(new_york);
    let quarter_hour = Grain::fixed(900_000_000, 0);
    let shift = Grain::fixed(86_400_000_000, 6 * 3_600_000_000).in_zone(new_york);
    let fiscal = Grain::months(12, 363, 0);
    for (grain, normal, spellings) in [
        (
            day,
            "date_trunc('day', departed_at, 'America/New_York')",
            &[
                "date_trunc('DAY', departed_at AT TIME ZONE 'america/new_york')",
                "(date_trunc('day', (departed_at AT TIME ZONE 'America/New_York')) AT TIME ZONE 'America/New_York')",
                "time_bucket(INTERVAL '1 day', departed_at, 'America/New_York')",
                "time_bucket('24 hours', departed_at AT TIME ZONE 'America/New_York')",
                "time_bucket(INTERVAL 1 DAY, departed_at, DATE '1999-12-31', 'America/New_York')",
            ][..],
        ),
        (
            quarter_hour,
            "time_bucket(INTERVAL '15 minutes', departed_at)",
            &[
                "time_bucket('15m', departed_at)",
                "TIME_BUCKET(INTERVAL '900' SECOND, DEPARTED_AT, INTERVAL '-15 minutes')",
                "time_bucket(INTERVAL '15 minutes', departed_at, TIMESTAMP '2013-01-01 00:45:00', 'UTC')",
            ],
        ),
        (
            shift,
            "time_bucket(INTERVAL '1 day', departed_at, TIMESTAMP '2000-01-03 06:00:00', 'America/New_York')",
            &[
                "time_bucket(INTERVAL '1 day', departed_at, INTERVAL '6 hours', 'America/New_York')",
                "time_bucket(INTERVAL '1 day', departed_at, 'America/New_York', TIMESTAMP '2013-07-01T06:00:00')",
                "time_bucket(INTERVAL '1 day', departed_at, INTERVAL '-18 hours', 'America/New_York')",
            ],
        ),
        (
            fiscal,
            "time_bucket(INTERVAL '1 year', departed_at, TIMESTAMP '2000-04-01 00:00:00')",
            &[
                "time_bucket(INTERVAL '12 months', departed_at, INTERVAL '3 months')",
                "time_bucket(INTERVAL '4 quarters', departed_at, DATE '2013-04-01')",
            ],
        ),
    ] {
        let expected = view(&format!("{normal} AS b, count(*)"), 1);
        assert_eq!(expected.grain, grain);
        assert!(expected.sql.starts_with(&format!("SELECT {normal} AS b")), "{}", expected.sql);
        for spelling in spellings {
            let other = view(&format!("{spelling} AS b, count(*)"), 1);
            assert_eq!((other.grain, &other.id, &other.sql), (grain, &expected.id, &expected.sql), "{spelling}");
        }
    }
}

#[test]
fn the_identity_is_of_the_rules_of_the_zone() {
    let id = |zone: &str| view(&format!("date_trunc('day', departed_at, '{zone}'), count(*)"), 1).id;
    assert_eq!(id("Etc/UTC"), view("date_trunc('day', departed_at), count(*)", 1).id);
    assert_ne!(id("America/New_York"), id("UTC"));
    assert_ne!(id("America/New_York"), id("America/Toronto"));
    let rules = |zone: &str| format!("\n{zone} {:016x}", Zone::named(zone).unwrap().rules());
    let both = view(
        "date_trunc('day', departed_at, 'Asia/Tokyo'), hour(seen_at AT TIME ZONE 'Asia/Kolkata') AS h, count(*)",
        2,
    );
    let definition = identity::definition(&both);
    assert!(definition.ends_with(&format!("{}{}", rules("Asia/Kolkata"), rules("Asia/Tokyo"))), "{definition}");
}

#[test]
fn buckets_of_other_columns_and_local_times_are_dimensions() {
    let view = view(
        "date_trunc('day', departed_at) AS day, date_trunc('month', seen_at, 'america/new_york') AS seen_in, \
         EXTRACT(hour FROM departed_at AT TIME ZONE 'Asia/Kolkata') AS local_hour, count(*)",
        3,
    );
    assert_eq!((view.grain, view.dimensions.len()), (Grain::DAY, 2));
    assert_eq!(view.dimensions[0].input.sql(), "date_trunc('month', seen_at, 'America/New_York')");
    assert_eq!(view.dimensions[0].column_type(), ColumnType::Timestamp);
    assert_eq!(view.dimensions[1].input.sql(), "EXTRACT(HOUR FROM (departed_at AT TIME ZONE 'Asia/Kolkata'))");
    let again = parsed(&format!("CREATE VIEW v AS {}", view.sql)).unwrap();
    assert_eq!(again, view);
}

#[test]
fn buckets_that_are_wrong() {
    let wrong = [
        "date_trunc('day', seen_at)",
        "date_trunc('fortnight', departed_at)",
        "date_trunc('15 minutes', departed_at)",
        "date_trunc('day', departed_at, 'America/NewYork')",
        "date_trunc('day', departed_at, carrier)",
        "date_trunc('day', departed_at AT TIME ZONE 'UTC', 'UTC')",
        "date_trunc('day', departed_at) AT TIME ZONE 'America/New_York'",
        "date_trunc('day', departed_at, 'UTC', 'UTC')",
        "date_trunc('day', upper(carrier))",
        "time_bucket(INTERVAL '15 minutes')",
        "time_bucket(INTERVAL '15 lightyears', departed_at)",
        "time_bucket(15, departed_at)",
        "time_bucket(INTERVAL '0 minutes', departed_at)",
        "time_bucket(INTERVAL '1 month 1 day', departed_at)",
        "time_bucket(INTERVAL '101 years', departed_at)",
        "time_bucket(INTERVAL '1 day', departed_at, INTERVAL '1 month')",
        "time_bucket(INTERVAL '1 month', departed_at, DATE '2000-01-31')",
        "time_bucket(INTERVAL '1 month', departed_at, INTERVAL '-1 day')",
        "time_bucket(INTERVAL '1 day', departed_at, DATE 'yesterday')",
        "time_bucket(INTERVAL '1 day', departed_at, INTERVAL '1 hour', DATE '2000-01-01')",
        "time_bucket(INTERVAL '1 day', departed_at, 'UTC', 'UTC')",
    ];
    let statements = wrong
        .map(|bucket| format!("CREATE VIEW v AS\nSELECT {bucket} AS b, count(*) AS n\nFROM departures\nGROUP BY 1"));
    insta::assert_snapshot!(said(&statements.each_ref().map(String::as_str)));
}

#[test]
fn group_by_takes_names_ordinals_and_expressions() {
    let select = "SELECT date_trunc('hour', departed_at) AS hour, upper(carrier) AS airline, origin AS airport, count(*) FROM departures";
    let by = |keys: &str| parsed(&format!("CREATE VIEW v AS {select} GROUP BY {keys}")).unwrap();
    let view = by("hour, airline, airport");
    for keys in [
        "1, 2, 3",
        "origin, HOUR, upper(carrier)",
        "DATE_TRUNC('HOUR', (departed_at)), UPPER( \"carrier\" ), 3",
        "(airport), airline, 1, hour",
    ] {
        assert_eq!(by(keys), view, "{keys}");
    }
}

#[test]
fn statements_that_are_no_views() {
    insta::assert_snapshot!(said(&[
        "",
        "-- nothing",
        "SELECT 1",
        "CREATE VIEW v AS SELEC 1",
        "CREATE VIEW v AS\nSELECT date_trunc('hour' departed_at)",
        "CREATE VIEW v AS SELECT 'unfinished",
        "CREATE VIEW a AS SELECT 1; CREATE VIEW b AS SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1",
        "CREATE MATERIALIZED VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1",
        "CREATE VIEW v (a, b) AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1",
        "CREATE VIEW \"Äpfel\" AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1",
        "CREATE VIEW a.b AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1",
    ]));
}

#[test]
fn clauses_that_views_do_not_have() {
    let bucket = "date_trunc('hour', departed_at) AS hour";
    let statements = [
        format!("SELECT DISTINCT {bucket}, count(*) FROM departures GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY hour HAVING count(*) > 1"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY hour ORDER BY hour LIMIT 10"),
        format!("SELECT {bucket}, count(*) FROM departures JOIN arrivals ON true GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM departures, arrivals GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM departures d GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM (SELECT * FROM departures) GROUP BY hour"),
        format!("SELECT {bucket}, count(*) GROUP BY hour"),
        format!("WITH d AS (SELECT 1) SELECT {bucket}, count(*) FROM departures GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY hour UNION ALL SELECT 1, 2"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY ALL"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY ROLLUP (hour)"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY hour FOR UPDATE"),
        format!("SELECT {bucket}, count(*) FROM departures PREWHERE TRUE GROUP BY hour"),
        format!("SELECT {bucket}, count(*) FROM departures GROUP BY hour QUALIFY TRUE"),
        "VALUES (1)".to_owned(),
    ];
    let statements: Vec<String> = statements.iter().map(|select| format!("CREATE VIEW v AS\n{select}")).collect();
    insta::assert_snapshot!(said(&statements.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn aggregates_that_cannot_be_merged() {
    insta::assert_snapshot!(said_of_items(&[
        "median(delay_minutes) AS m",
        "count(DISTINCT carrier) AS m",
        "sum(DISTINCT fare) AS m",
        "string_agg(carrier, ',') AS m",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY fare) AS m",
        "mode(carrier) AS m",
        "sum(fare) OVER () AS m",
        "sum(fare) / count(*) AS m",
        "sum(carrier) AS m",
        "sum(cancelled) AS m",
        "sum(seen_at) AS m",
        "stddev(seen_at) AS m",
        "approx_percentile(fare, 95) AS m",
        "approx_percentile(fare, [0.5, 95]) AS m",
        "approx_percentile(fare, []) AS m",
        "approx_percentile(fare, 0.5, 1) AS m",
        "approx_percentile(fare) AS m",
        "approx_distinct(carrier, 0.05) AS m",
        "approx_top_k(carrier, 1000) AS m",
        "arg_max(carrier) AS m",
        "bool_or(fare) AS m",
        "count_if(fare) AS m",
        "count(*) FILTER (WHERE fare) AS m",
        "count_if(cancelled) FILTER (WHERE farr > 1) AS m",
        "count(*) FILTER (WHERE cancelled)",
        "histogram(carrier, [1, 2]) AS m",
        "histogram(fare, 10) AS m",
        "histogram(fare, [2, 1]) AS m",
        "histogram(fare, [1.005]) AS m",
        "histogram(delay_minutes, [0, 'a']) AS m",
        "sum(fare, 2) AS m",
        "sum(max(fare)) AS m",
    ]));
}

/// Every measure, as it is named without an alias and as it is written after.
#[test]
fn measures_have_one_spelling() {
    insta::assert_snapshot!(said_of_items(&[
        "var_samp(fare), variance(delay_minutes), var_pop(fare), stddev(fare), std(distance), stddev_pop(fare)",
        "first(carrier), last_value(origin), earliest(fare), latest(seen_at), any_value(carrier), arbitrary(fare)",
        "arg_min(carrier, fare), max_by(carrier, departed_at), argmax(origin, length(carrier))",
        "every(cancelled), some(cancelled), any(cancelled) AS again, bool_and(fare > 1) AS all_paid",
        "count_if(cancelled) AS a, countif(cancelled AND fare > 1) FILTER (WHERE origin = 'JFK') AS b",
        "approx_distinct(carrier, 14), approx_count_distinct(origin, 12), hll_sketch_agg(carrier, 14), ds_hll(origin)",
        "approx_percentile(fare, 0.5, 0.001), percentile_approx(fare, ARRAY[0.5, 0.999]), approx_median(distance)",
        "approx_top_k(carrier, 10), histogram(fare, [-1, 0.5, 10.25]), histogram(distance, (ARRAY[0, 1e3]))",
        "avg(seen_at), mean(fare) FILTER (WHERE cancelled) AS mean_fare, sum(fare) FILTER (WHERE cancelled) AS fares",
    ]));
}

#[test]
fn measures_of_the_same_events_share_their_states() {
    let view = view(
        "date_trunc('day', departed_at), sum(fare) FILTER (WHERE cancelled) AS a, avg(fare) FILTER (WHERE (cancelled)) AS b, \
         stddev(fare) FILTER (WHERE Cancelled) AS c, var_pop(fare) AS d, avg(fare), approx_median(fare), \
         approx_percentile(fare, [0.1, 0.9]), approx_distinct(carrier), hll_sketch(carrier), approx_top_k(origin, 3), \
         approx_top_k(origin, 9) AS more",
        1,
    );
    let states: Vec<String> = view.states.iter().map(StateSpec::name).collect();
    let expected = [
        "sum(fare) FILTER (WHERE cancelled)",
        "count(fare) FILTER (WHERE cancelled)",
        "squares(fare) FILTER (WHERE cancelled)",
        "squares(fare)",
        "sum(fare)",
        "count(fare)",
        "quantiles(fare, 0.01)",
        "distinct(carrier, 12)",
        "top_k(origin)",
    ];
    assert_eq!(states, expected);
}

#[test]
fn what_is_written_parses_to_the_same_view() {
    let items = "date_trunc('day', departed_at), first(carrier), arg_max(origin, fare), stddev(fare), hll_sketch(carrier, 14), \
                 approx_percentile(fare, [0.5, 0.9], 0.001), approx_top_k(carrier, 10), histogram(fare, [-1, 0.5]), \
                 avg(seen_at), count_if(cancelled) AS a, sum(fare) FILTER (WHERE NOT cancelled) AS b, bool_or(cancelled)";
    let view = view(items, 1);
    let again = parsed(&format!("CREATE VIEW v AS {}", view.sql)).unwrap();
    assert_eq!(again, view);
    // first, arg_max, squares, sum, count, distinct, quantiles, top_k, histogram, two of the mean time, two filtered, max
    assert_eq!(view.states.len(), 14);
    for state in ["_partition", "_offset"] {
        assert!(view.columns().contains(state), "{state}");
    }
}

#[test]
fn columns_that_are_wrong() {
    insta::assert_snapshot!(said_of_items(&[
        "avg(delay) AS mean",
        "avg(delay_minuets + 1) AS mean",
        "carrier",
        "upper(carrier)",
        "upper(carrier) AS n",
        "sum(fare + 1)",
        "origin AS \"bad name\"",
        "*",
        "departures.*",
        "date_trunc('hour', departed_at) AS hour",
        "date_trunc('fortnight', departed_at) AS fortnight",
        "date_trunc('hour', seen_at) AS hour",
        "date_trunc('hour', departed) AS hour",
        "date_trunc('hour') AS hour",
        "extract(hour FROM date_trunc('day', departed_at)) AS hour",
        "carrier || $1 AS c",
    ]));
}

#[test]
fn what_a_view_must_have() {
    insta::assert_snapshot!(said(&[
        "CREATE VIEW v AS SELECT carrier, count(*) FROM departures GROUP BY carrier",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), carrier FROM departures GROUP BY 1, 2",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures GROUP BY 1, 2, 3, carrier, nothing",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM arrivals GROUP BY 1",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departure GROUP BY 1",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures WHERE delay_minutes GROUP BY 1",
        "CREATE VIEW v AS SELECT date_trunc('hour', departed_at), count(*) FROM departures WHERE count(*) > 1 GROUP BY 1",
    ]));
}

#[test]
fn all_faults_are_reported_in_order() {
    insta::assert_snapshot!(said(&["CREATE VIEW v AS
SELECT date_trunc('fortnight', departed_at) AS fortnight,
\tcarier, -- a tab before it
       median(fare)
FROM departures
WHERE 'ä' = origin AND nothing > 1
GROUP BY 1, 2"]));
}

#[test]
fn the_identity_is_of_what_is_asked_not_of_how() {
    let view = parsed(DELAYS).unwrap();
    let same = [
        DELAYS.replace("delays_by_hour", "another_name"),
        DELAYS.replace("hour, carrier, origin;", "3, 1, 2"),
        DELAYS.replace("avg(", "mean(").replace("approx_distinct", "APPROX_COUNT_DISTINCT"),
        DELAYS.replace("FROM departures", "from \"departures\" -- the source"),
        DELAYS.replace("WHERE delay_minutes IS NOT NULL", "where ((Delay_Minutes) is not null)"),
    ];
    for sql in same {
        let other = parsed(&sql).unwrap();
        assert_eq!((&other.id, &other.sql), (&view.id, &view.sql), "{sql}");
    }
    let others = [
        DELAYS.replace("'hour'", "'minute'"),
        DELAYS.replace("IS NOT NULL", "IS NULL"),
        DELAYS.replace("0.95", "0.9"),
        DELAYS.replace("AS aircraft", "AS planes"),
        DELAYS.replace("carrier, origin,", "origin, carrier,"),
        DELAYS.replace("approx_distinct(tail_number)", "approx_distinct(carrier)"),
    ];
    for sql in others {
        assert_ne!(parsed(&sql).unwrap().id, view.id, "{sql}");
    }
}

#[test]
fn the_identity_is_of_the_types_of_the_columns_read() {
    let with_type = |name: &str, column_type: ColumnType| {
        let mut source = departures();
        let mut columns = source.rules.schema.columns().to_vec();
        columns.iter_mut().filter(|c| c.name == name).for_each(|c| c.column_type = column_type);
        source.rules.schema = std::sync::Arc::new(Schema::new(columns));
        parse(DELAYS, "test.sql", &Sources::from([(source.name.clone(), source)])).unwrap().id
    };
    let id = parsed(DELAYS).unwrap().id;
    assert_ne!(with_type("delay_minutes", ColumnType::Double), id);
    assert_ne!(with_type("carrier", ColumnType::Int), id);
    assert_eq!(with_type("distance", ColumnType::Int), id, "a column that is not read");
}

/// The tokens of a view, written with random layout.
fn laid_out() -> impl Strategy<Value = String> {
    let tokens: Vec<&str> =
        "create view delays as select date_trunc ( 'day' , departed_at ) as day , upper ( carrier ) as c , \
        sum ( delay_minutes * 2 + 1 ) as doubled , approx_percentile ( fare , 0.5 ) as p from departures \
        where departed_at >= '2013-01-01' and not ( cancelled or fare < 1.50 ) group by day , c"
            .split_ascii_whitespace()
            .collect();
    let choices = prop::collection::vec((0..4_usize, any::<bool>()), tokens.len());
    choices.prop_map(move |choices| {
        let spaced = tokens.iter().zip(choices).map(|(token, (space, upper))| {
            // A quoted token and an alias mean what they say.
            let fixed = token.starts_with('\'') || ["day", "c", "doubled", "p"].contains(token);
            let token = if upper && !fixed { token.to_uppercase() } else { (*token).to_owned() };
            token + [" ", "\n", "\t  ", " -- a note\n"][space]
        });
        spaced.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn identity_is_insensitive_to_layout_and_normalising_is_idempotent(sql in laid_out()) {
        let view = parsed(&sql).unwrap();
        prop_assert_eq!(view.id.as_str(), "cd69412af96b48e1");
        let again = parsed(&format!("CREATE VIEW again AS {}", view.sql)).unwrap();
        prop_assert_eq!(View { name: view.name.clone(), ..again }, view);
    }
}
