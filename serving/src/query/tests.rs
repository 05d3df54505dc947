//! Queries against a naive evaluation over the events themselves, and every way to ask wrongly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use common::{
    grain::{Grain, Zone},
    pipeline::QueryLimits,
    position::Positions,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod rolled;
mod shapes;
use crate::{
    testing::{
        Event, HOUR_US, START_US, commit, delta, event_at, events_before, generation, positions, source, views,
        views_by_name,
    },
    tiers::{Change, Feed},
};

/// Tiers that show 120 events: some in a generation, some in segments, some in tails.
fn tiers() -> Arc<Tiers> {
    let (first, second) = (positions(&[(0, 30), (1, 25)]), positions(&[(0, 45), (1, 30)]));
    let changes = [
        Change::Commit(source(), commit(1, &Positions::new(), &first)),
        Change::Commit(source(), commit(2, &first, &second)),
        Change::Generation(generation(1, 1, &first, &["delays", "totals"])),
        Change::Delta(delta(0, 1, 45, 50)),
        Change::Delta(delta(0, 1, 50, 70)),
        Change::Delta(delta(1, 1, 30, 50)),
    ];
    let empty = Tiers::new(&views(), Feed::Silent);
    Arc::new(changes.into_iter().fold(empty, |tiers, change| tiers.apply(change).unwrap()))
}

fn ask(query: &Value) -> Result<Value, Error> {
    let query = Query::from_json(query.to_string().as_bytes())?;
    let answer = answer(&Served::new(views_by_name()), &tiers(), &query, &CancellationToken::new())?;
    Ok(serde_json::to_value(&answer).unwrap())
}

#[track_caller]
fn rows(query: Value) -> Vec<Value> {
    ask(&query).unwrap()["rows"].as_array().unwrap().clone()
}

/// The naive evaluation: every event, one by one.
#[derive(Debug, Clone, Default)]
struct Naive {
    departures: i64,
    delays: Vec<i64>,
    fares: Vec<i128>,
}

impl Naive {
    fn add(&mut self, event: &Event) {
        self.departures += 1;
        self.delays.extend(event.delay);
        self.fares.extend(event.fare);
    }

    fn measure(&self, name: &str) -> Value {
        let total: i64 = self.delays.iter().sum();
        let some = !self.delays.is_empty();
        let fares = self.fares.iter().sum::<i128>();
        match name {
            "departures" => json!(self.departures),
            "total_delay" => some.then_some(total).into(),
            "mean_delay" => some.then(|| total as f64 / self.delays.len() as f64).into(),
            "least_delay" => self.delays.iter().min().copied().into(),
            "greatest_delay" => self.delays.iter().max().copied().into(),
            "fares" => (!self.fares.is_empty()).then(|| format!("{}.{:02}", fares / 100, fares % 100)).into(),
            other => panic!("{other} has no naive evaluation"),
        }
    }
}

const MEASURES: [&str; 6] = ["departures", "total_delay", "mean_delay", "least_delay", "greatest_delay", "fares"];

/// Conditions, and what they mean.
type Condition = (&'static str, fn(&Event) -> bool);
const CONDITIONS: [Condition; 5] = [
    ("origin IN ('JFK', 'LGA')", |e| e.origin != "EWR"),
    ("carrier = 'UA'", |e| e.carrier == Some("UA")),
    ("carrier IS NULL OR origin <> 'JFK'", |e| e.carrier.is_none() || e.origin != "JFK"),
    ("carrier <> 'UA'", |e| e.carrier.is_some_and(|c| c != "UA")),
    ("origin = 'nowhere'", |_| false),
];

#[derive(Debug, Clone)]
struct Case {
    from: Option<i64>,
    to: Option<i64>,
    grain: Option<(&'static str, i64)>,
    dimensions: Vec<&'static str>,
    measures: Vec<&'static str>,
    condition: Option<usize>,
    order: Option<(usize, bool)>,
    limit: Option<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let hours = || prop::option::of(0..100_i64);
    let grain = prop::option::of(prop::sample::select(vec![("hour", 1_i64), ("6h", 6), ("day", 24)]));
    let dimensions = prop::sample::subsequence(vec!["carrier", "origin"], 0..=2).prop_shuffle();
    let measures = prop::sample::subsequence(MEASURES.to_vec(), 1..=MEASURES.len()).prop_shuffle();
    let order = prop::option::of((0..3_usize, any::<bool>()));
    let limit = prop::option::of(1..8_usize);
    (hours(), hours(), grain, dimensions, measures, prop::option::of(0..CONDITIONS.len()), order, limit).prop_map(
        |(from, length, grain, dimensions, measures, condition, order, limit)| Case {
            from: from.map(|h| START_US + h * HOUR_US),
            to: length.map(|h| START_US + (from.unwrap_or(0) + h + 1) * HOUR_US),
            grain,
            dimensions,
            measures,
            condition,
            order,
            limit,
        },
    )
}

impl Case {
    fn columns(&self) -> Vec<&'static str> {
        let bucket = self.grain.map(|_| "hour");
        bucket.into_iter().chain(self.dimensions.iter().copied()).chain(self.measures.iter().copied()).collect()
    }

    fn query(&self) -> Value {
        let mut query = json!({"view": "delays", "dimensions": self.dimensions, "measures": self.measures});
        let time = |us: i64| json!(timestamp_text(us));
        let fields = [
            ("from", self.from.map(time)),
            ("to", self.to.map(time)),
            ("grain", self.grain.map(|(name, _)| json!(name))),
            ("where", self.condition.map(|c| json!(CONDITIONS[c].0))),
            ("limit", self.limit.map(|limit| json!(limit))),
            ("order_by", self.order_by().map(|(by, desc)| json!([{"by": self.columns()[by], "desc": desc}]))),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                query[name] = value;
            }
        }
        query
    }

    fn order_by(&self) -> Option<(usize, bool)> {
        self.order.map(|(by, desc)| (by % self.columns().len(), desc))
    }

    fn naive(&self) -> Vec<Value> {
        let mut groups: BTreeMap<(Option<i64>, Vec<Option<&str>>), Naive> = BTreeMap::new();
        for event in events_before(&positions(&[(0, 70), (1, 50)])) {
            let bucket = event.time_us.div_euclid(HOUR_US) * HOUR_US;
            let in_range = self.from.is_none_or(|from| from <= bucket) && self.to.is_none_or(|to| bucket < to);
            if !in_range || !self.condition.is_none_or(|c| CONDITIONS[c].1(&event)) {
                continue;
            }
            let step = self.grain.map(|(_, hours)| bucket.div_euclid(hours * HOUR_US) * hours * HOUR_US);
            let of = |dimension: &&str| if *dimension == "carrier" { event.carrier } else { Some(event.origin) };
            let dimensions = self.dimensions.iter().map(of).collect();
            groups.entry((step, dimensions)).or_default().add(&event);
        }
        let mut rows: Vec<Vec<Value>> = groups
            .into_iter()
            .map(|((step, dimensions), naive)| {
                let bucket = step.map(|us| json!(timestamp_text(us)));
                let dimensions = dimensions.into_iter().map(|d| json!(d));
                bucket.into_iter().chain(dimensions).chain(self.measures.iter().map(|m| naive.measure(m))).collect()
            })
            .collect();
        if let Some((by, desc)) = self.order_by() {
            let decimal = self.columns()[by] == "fares";
            rows.sort_by(|a, b| compare(&a[by], &b[by], desc, decimal));
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        rows.into_iter().map(Value::from).collect()
    }
}

/// Nulls last, whichever the direction; the sort is stable, so ties keep the order of their keys.
fn compare(a: &Value, b: &Value, desc: bool, decimal: bool) -> std::cmp::Ordering {
    let number = |v: &Value| if decimal { v.as_str().unwrap().parse().unwrap() } else { v.as_f64().unwrap() };
    match (a.is_null(), b.is_null()) {
        (true, _) | (_, true) => a.is_null().cmp(&b.is_null()),
        _ => {
            let text = a.is_string() && !decimal;
            let ascending = if text { a.as_str().cmp(&b.as_str()) } else { number(a).total_cmp(&number(b)) };
            if desc { ascending.reverse() } else { ascending }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_what_a_naive_evaluation_of_the_events_says(case in case()) {
        prop_assert_eq!(rows(case.query()), case.naive(), "{}", case.query());
    }
}

#[test]
fn batch_and_live_are_the_two_sides_of_the_mark() {
    let total = |layer| rows(json!({"view": "totals", "layer": layer}))[0][0].as_i64().unwrap();
    assert_eq!((total("batch"), total("live"), total("merged")), (55, 65, 120));
    let both = rows(json!({"view": "delays", "measures": ["departures"]}));
    assert_eq!(both, [json!([120])]);
}

#[test]
fn days_in_a_time_zone_are_written_with_its_offset() {
    let query = json!({"view": "delays", "grain": "day", "timezone": "America/New_York", "measures": ["departures"]});
    let rows = rows(query);
    assert_eq!(rows[0][0], "2013-01-31T00:00:00-05:00");
    let zone_day = |event: Event| (event.time_us - 5 * HOUR_US).div_euclid(24 * HOUR_US);
    let first = (START_US - 24 * HOUR_US).div_euclid(24 * HOUR_US);
    let events = (0..70).map(|o| event_at(0, o)).chain((0..50).map(|o| event_at(1, o)));
    assert_eq!(rows[0][1], events.filter(|e| zone_day(e.clone()) == first).count());
}

#[test]
fn ends_say_where_each_step_ends() {
    let query =
        json!({"view": "delays", "grain": "month", "timezone": "America/New_York", "ends": true, "measures": []});
    let answer = ask(&query).unwrap();
    assert_eq!(answer["columns"][1], json!({"name": "hour_end", "type": "timestamp"}));
    let january = json!(["2013-01-01T00:00:00-05:00", "2013-02-01T00:00:00-05:00"]);
    assert_eq!(answer["rows"][0], january);
    let by_end = json!({"view": "delays", "grain": "day", "ends": true, "order_by": [{"by": "hour_end"}], "limit": 1});
    assert_eq!(rows(by_end)[0][1], "2013-02-02T00:00:00Z");
    check_invalid(&json!({"view": "delays", "ends": true}), "#/ends", "no `grain`");
}

#[test]
fn a_view_of_a_time_zone_is_asked_in_it() {
    let mut views = views_by_name();
    let days = Grain::DAY.in_zone(Zone::named("America/New_York").unwrap());
    let view = views.values_mut().find(|view| view.name.as_str() == "totals").unwrap();
    Arc::make_mut(view).grain = days;
    let plan = |timezone: Option<&str>, grain: &str| {
        let query = Query {
            view: "totals".to_owned(),
            grain: Some(grain.to_owned()),
            timezone: timezone.map(str::to_owned),
            ..Query::default()
        };
        Plan::of(&query, &views, QueryLimits::default()).map(|plan| plan.grain).map_err(|errors| errors[0].to_string())
    };
    assert_eq!(plan(None, "day"), Ok(Some(days)));
    assert_eq!(plan(Some("america/new_york"), "day"), Ok(Some(days)));
    assert_eq!(plan(None, "week"), Ok(Grain::named("week").map(|week| week.in_zone(days.zone().unwrap()))));
    assert!(plan(Some("UTC"), "day").unwrap_err().contains("ask it in the view's own time zone, America/New_York"));
}

#[test]
fn columns_say_their_types_and_how_exact_they_are() {
    let answer = ask(&json!({"view": "delays", "grain": "hour", "dimensions": ["carrier"]})).unwrap();
    let columns = answer["columns"].as_array().unwrap();
    assert_eq!(columns[0], json!({"name": "hour", "type": "timestamp"}));
    assert_eq!(columns[1], json!({"name": "carrier", "type": "string"}));
    assert_eq!(columns[2], json!({"name": "departures", "type": "int64", "exact": true}));
    let of = |name: &str| columns.iter().find(|c| c["name"] == name).unwrap();
    assert_eq!(of("fares")["type"], "decimal(38,2)");
    assert_eq!((&of("p95_delay")["exact"], &of("p95_delay")["relative_error"]), (&json!(false), &json!(0.01)));
    assert_eq!(of("delays")["exact"], false);
    let top = of("top_origins");
    assert_eq!((&top["type"], &top["exact"]), (&json!("list(value string, count int64)"), &json!(false)));
    assert!(top["error_of_total"].as_f64().unwrap() < 0.002 && top["relative_error"].is_null());
}

#[test]
fn lists_are_arrays_of_objects() {
    let answer = rows(json!({"view": "delays", "dimensions": ["carrier"], "measures": ["top_origins", "departures"]}));
    let events = events_before(&positions(&[(0, 70), (1, 50)]));
    for row in answer {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        let own = events.iter().filter(|event| event.carrier == row[0].as_str());
        own.for_each(|event| *counts.entry(event.origin).or_default() += 1);
        let mut expected: Vec<(&str, i64)> = counts.into_iter().collect();
        expected.sort_by_key(|&(origin, count)| (std::cmp::Reverse(count), origin));
        let expected: Vec<Value> = expected[..2].iter().map(|(v, n)| json!({"value": v, "count": n})).collect();
        assert_eq!(row[1], json!(expected));
    }
}

#[test]
fn groups_counts_the_rows_there_are_without_the_limit() {
    let answer = ask(&json!({"view": "delays", "dimensions": ["carrier"], "limit": 1})).unwrap();
    assert_eq!((answer["rows"].as_array().unwrap().len(), &answer["stats"]["groups"]), (1, &json!(4)));
    let keys: BTreeSet<String> = rows(json!({"view": "delays", "dimensions": ["origin"], "measures": []}))
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["EWR", "JFK", "LGA"].map(ToOwned::to_owned).into());
}

#[track_caller]
fn check_invalid(query: &Value, pointer: &str, says: &str) {
    match ask(query) {
        Err(Error::Invalid(errors)) => {
            let found = errors.iter().any(|e| e.pointer == pointer && e.detail.contains(says));
            assert!(found, "no fault at {pointer} that says `{says}` in {errors:?}");
        }
        other => panic!("{query} is {other:?}"),
    }
}

#[test]
fn every_wrong_field_is_named_with_what_is_allowed() {
    let with = |field: &str, value: Value| {
        let mut query = json!({"view": "delays"});
        query[field] = value;
        query
    };
    let cases = [
        (json!([]), "#", "must be an object"),
        (json!({}), "#/view", "is missing"),
        (with("view", json!(1)), "#/view", "is a number, must be a string"),
        (with("view", json!("delay")), "#/view", "did you mean `delays`? There are `delays`, `totals`"),
        (with("dimension", json!([])), "#/dimension", "did you mean `dimensions`?"),
        (with("a/b~c", json!(1)), "#/a~1b~0c", "unknown field"),
        (with("from", json!("yesterday")), "#/from", "RFC 3339"),
        (with("from", json!("2013-02-01T00:00:00")), "#/from", "RFC 3339"),
        (with("grain", json!("minute")), "#/grain", "ask hour or a multiple"),
        (with("grain", json!("fortnight")), "#/grain", "month, quarter, year"),
        (with("timezone", json!("Mars/Olympus")), "#/timezone", "IANA"),
        (with("dimensions", json!("carrier")), "#/dimensions", "must be an array"),
        (with("dimensions", json!(["carrier", 2])), "#/dimensions/1", "must be a string"),
        (
            with("dimensions", json!(["carier"])),
            "#/dimensions/0",
            "did you mean `carrier`? There are `carrier`, `origin`",
        ),
        (with("dimensions", json!(["origin", "origin"])), "#/dimensions/1", "asked twice"),
        (with("measures", json!(["departures", "delay"])), "#/measures/1", "did you mean `delays`?"),
        (with("measures", json!([])), "#/measures", "asks no column"),
        (with("where", json!("origin = ")), "#/where", "origin ="),
        (with("where", json!("dest = 'JFK'")), "#/where", "origin"),
        (with("where", json!("origin")), "#/where", "condition"),
        (with("order_by", json!(["departures"])), "#/order_by/0", "must be an object"),
        (with("order_by", json!([{"by": "carrier"}])), "#/order_by/0/by", "is not a column of this answer"),
        (with("order_by", json!([{"by": "top_origins"}])), "#/order_by/0/by", "which has no order"),
        (with("order_by", json!([{"desc": 1, "by": "departures"}])), "#/order_by/0/desc", "true or false"),
        (with("order_by", json!([{}])), "#/order_by/0/by", "is missing"),
        (with("limit", json!(0)), "#/limit", "from 1 on"),
        (with("limit", json!(1.5)), "#/limit", "is 1.5, must be a whole number"),
        (with("layer", json!("both")), "#/layer", "There are `merged`, `batch`, `live`"),
        (
            json!({"view": "delays", "from": "2013-02-02T00:00:00Z", "to": "2013-02-02T00:00:00Z"}),
            "#/to",
            "must be after `from`",
        ),
        (
            json!({"view": "delays", "grain": "day", "timezone": "Asia/Kolkata"}),
            "#/timezone",
            "inside one of the view's buckets",
        ),
    ];
    for (query, pointer, says) in cases {
        check_invalid(&query, pointer, says);
    }
}

#[test]
fn all_faults_of_a_query_are_told_at_once() {
    let query = json!({"view": "delays", "grain": "x", "dimensions": ["x"], "measures": ["y", "z"], "where": "x"});
    let Err(Error::Invalid(errors)) = ask(&query) else { panic!("the query is valid") };
    let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(pointers, ["#/dimensions/0", "#/measures/0", "#/measures/1", "#/grain", "#/where"]);
}

#[test]
fn a_query_that_nobody_waits_for_stops() {
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let query = Query { view: "delays".to_owned(), ..Query::default() };
    let answer = answer(&Served::new(views_by_name()), &tiers(), &query, &cancelled);
    assert!(matches!(answer, Err(Error::Cancelled)), "{answer:?}");
}
