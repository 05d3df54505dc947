//! What is asked of finished rows: fill, compare, top, totals, having, pages and changes.

use super::*;

fn hour(text: &str) -> String {
    format!("2013-02-{text}:00:00Z")
}

#[test]
fn steps_that_nothing_fell_into_have_rows_where_fill_asks_them() {
    let ask = |fill: &str, dimensions: &[&str]| {
        rows(json!({
            "view": "delays", "from": hour("01T00"), "to": hour("02T00"), "grain": "hour", "dimensions": dimensions,
            "measures": ["departures", "mean_delay", "fares", "delays"], "fill": fill
        }))
    };
    let there = rows(json!({
        "view": "delays", "from": hour("01T00"), "to": hour("02T00"), "grain": "hour",
        "measures": ["departures", "mean_delay", "fares", "delays"]
    }));
    assert!(there.len() < 24, "the test is of a day with gaps");
    for (fill, nothing) in [("null", json!([null, null, null, null])), ("zero", json!([0, null, "0.00", 0]))] {
        let filled = ask(fill, &[]);
        assert_eq!(filled.len(), 24);
        for (at, row) in filled.iter().enumerate() {
            let start = hour(&format!("01T{at:02}"));
            assert_eq!(row[0], start);
            match there.iter().find(|there| there[0] == start) {
                Some(there) => assert_eq!(row, there),
                None => assert_eq!(row.as_array().unwrap()[1..], nothing.as_array().unwrap()[..], "{fill}"),
            }
        }
    }
    let carried = ask("previous", &[]);
    let mut last = json!([null, null, null, null]);
    for row in &carried {
        if let Some(there) = there.iter().find(|there| there[0] == row[0]) {
            last = json!(there.as_array().unwrap()[1..]);
        }
        assert_eq!(json!(row.as_array().unwrap()[1..]), last);
    }
    let by_origin = ask("zero", &["origin"]);
    assert_eq!(by_origin.len(), 72, "each group has each step");
    let total: i64 = by_origin.iter().map(|row| row[2].as_i64().unwrap()).sum();
    assert_eq!(total, there.iter().map(|row| row[1].as_i64().unwrap()).sum::<i64>());
    let starts: Vec<_> = by_origin[..3].iter().map(|row| row[1].as_str().unwrap()).collect();
    assert_eq!(starts, ["EWR", "JFK", "LGA"], "rows are in canonical order");
}

#[test]
fn a_range_where_nothing_fell_is_filled_too() {
    let empty = json!({
        "view": "delays", "from": "2020-01-01T00:00:00Z", "to": "2020-01-03T00:00:00Z", "grain": "day", "fill": "zero",
        "measures": ["departures"]
    });
    assert_eq!(rows(empty), [json!(["2020-01-01T00:00:00Z", 0]), json!(["2020-01-02T00:00:00Z", 0])]);
    let endless = json!({"view": "delays", "from": "0001-01-01T00:00:00Z", "grain": "hour", "fill": "null"});
    let Err(Error::TooManyGroups { limit }) = ask(&endless) else { panic!("eighteen million rows were made") };
    assert_eq!(limit, common::limits::QUERY_GROUPS_MAX);
}

#[test]
fn an_earlier_range_stands_beside_the_one_asked() {
    let of = |from: &str, to: &str| {
        rows(
            json!({"view": "delays", "from": hour(from), "to": hour(to), "dimensions": ["origin"], "measures": ["departures", "delays"]}),
        )
    };
    let (now, before) = (of("02T00", "03T00"), of("01T00", "02T00"));
    let find = |rows: &[Value], key: &Value| rows.iter().find(|row| &row[0] == key).cloned();
    for compare in ["1 day", "24h", "previous"] {
        let answer = ask(&json!({
            "view": "delays", "from": hour("02T00"), "to": hour("03T00"), "dimensions": ["origin"],
            "measures": ["departures", "delays"], "compare": compare, "totals": true
        }));
        let answer = answer.unwrap();
        assert_eq!(answer["columns"][3]["name"], "departures_before");
        for row in answer["rows"].as_array().unwrap() {
            let values = |side: &[Value]| {
                find(side, &row[0]).map_or([json!(null), json!(null)], |r| [r[1].clone(), r[2].clone()])
            };
            assert_eq!([&row[1], &row[2]], values(&now).each_ref(), "{compare}");
            assert_eq!([&row[3], &row[4]], values(&before).each_ref(), "{compare}");
        }
        let sum = |rows: &[Value]| rows.iter().map(|row| row[1].as_i64().unwrap()).sum::<i64>();
        let totals = &answer["totals"];
        assert_eq!(
            (totals["departures"].as_i64(), totals["departures_before"].as_i64()),
            (Some(sum(&now)), Some(sum(&before)))
        );
    }
}

#[test]
fn steps_are_compared_with_the_step_so_much_earlier() {
    let query = json!({
        "view": "delays", "from": hour("02T00"), "to": hour("03T00"), "grain": "6h", "measures": ["departures"],
        "compare": "1 day", "fill": "zero"
    });
    let by_step = |from: &str, to: &str| {
        rows(
            json!({"view": "delays", "from": hour(from), "to": hour(to), "grain": "6h", "measures": ["departures"], "fill": "zero"}),
        )
    };
    let (now, before) = (by_step("02T00", "03T00"), by_step("01T00", "02T00"));
    let both = rows(query);
    assert_eq!(both.len(), 4);
    for (at, row) in both.iter().enumerate() {
        assert_eq!((&row[0], &row[1], &row[2]), (&now[at][0], &now[at][1], &before[at][1]));
    }
    let unaligned =
        json!({"view": "delays", "from": hour("02T00"), "to": hour("03T00"), "grain": "hour", "compare": "30 minutes"});
    check_invalid(&unaligned, "#/compare", "inside one of the view's buckets");
}

#[test]
fn top_merges_the_states_of_all_others() {
    let by = |dimensions: &[&str], filter: Option<&str>| {
        rows(
            json!({"view": "delays", "dimensions": dimensions, "where": filter, "measures": ["departures", "delays", "p95_delay"]}),
        )
    };
    let mut ranked = by(&["origin"], None);
    ranked.sort_by_key(|row| std::cmp::Reverse(row[1].as_i64().unwrap()));
    let top = json!({
        "view": "delays", "dimensions": ["origin"], "measures": ["departures", "delays", "p95_delay"],
        "top": {"n": 1, "by": "departures"}, "totals": true
    });
    let answer = ask(&top).unwrap();
    let first = ranked[0][0].as_str().unwrap();
    let rest = by(&[], Some(&format!("origin <> '{first}'")));
    let kept = json!([first, false, ranked[0][1], ranked[0][2], ranked[0][3]]);
    let other = json!([null, true, rest[0][0], rest[0][1], rest[0][2]]);
    assert_eq!(answer["rows"], json!([kept, other]), "the others' sketches are merged, not added");
    let all = by(&[], None);
    assert_eq!(answer["totals"], json!({"departures": all[0][0], "delays": all[0][1], "p95_delay": all[0][2]}));
    let least = json!({"view": "delays", "dimensions": ["origin"], "measures": ["departures"], "top": {"n": 2, "by": "departures", "asc": true}});
    assert!(rows(least).iter().all(|row| row[1] == true || row[0] != first));
}

#[test]
fn top_ranks_over_the_whole_range_and_keeps_every_step() {
    let by_day = |top: Value| {
        rows(
            json!({"view": "delays", "grain": "day", "dimensions": ["origin"], "measures": ["departures"], "top": top}),
        )
    };
    let all = by_day(Value::Null);
    let topped = by_day(json!({"n": 1, "by": "departures"}));
    let days: BTreeSet<_> = all.iter().map(|row| row[0].to_string()).collect();
    assert_eq!(topped.len(), 2 * days.len());
    assert_eq!((&topped[0][2], &topped[1][2]), (&json!(false), &json!(true)), "the others come last in each step");
    let sum = |rows: &[Value], at: usize| rows.iter().map(|row| row[at].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum(&topped, 3), sum(&all, 2));
}

#[test]
fn having_filters_finished_rows_and_leaves_totals() {
    let all = rows(json!({"view": "delays", "grain": "hour", "measures": ["departures"]}));
    let some = ask(&json!({"view": "delays", "grain": "hour", "measures": ["departures"], "having": "departures > 2", "totals": true})).unwrap();
    let expected: Vec<&Value> = all.iter().filter(|row| row[1].as_i64().unwrap() > 2).collect();
    assert!(!expected.is_empty() && expected.len() < all.len());
    assert_eq!(some["rows"], json!(expected));
    assert_eq!((&some["totals"]["departures"], &some["stats"]["groups"]), (&json!(120), &json!(expected.len())));
}

#[test]
fn pages_are_of_one_set_of_tiers_and_end() {
    let served = Served::new(views_by_name());
    let mut shown = tiers();
    served.show(Arc::clone(&shown));
    let ask = |tiers: &Arc<Tiers>, cursor: Option<&str>, limit: usize| {
        let query = json!({
            "view": "delays", "grain": "hour", "dimensions": ["origin"], "measures": ["departures"], "limit": limit,
            "order_by": [{"by": "departures", "desc": true}], "paged": true, "cursor": cursor
        });
        answer(&served, tiers, &Query::from_json(query.to_string().as_bytes()).unwrap(), &CancellationToken::new())
    };
    let whole = ask(&shown, None, 1000).unwrap();
    assert_eq!(whole.next, None);
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = ask(&shown, cursor.as_deref(), 7).unwrap();
        pages.push(page.rows);
        // What comes in between is in no page.
        shown = Arc::new(Arc::unwrap_or_clone(shown).apply(Change::Delta(delta(1, 1, 50, 60))).unwrap());
        served.show(Arc::clone(&shown));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages.len() > 2);
    assert_eq!(arrow::compute::concat_batches(&whole.rows.schema(), &pages).unwrap(), whole.rows);
    let first = ask(&shown, None, 7).unwrap().next.unwrap();
    let Err(Error::Invalid(errors)) = ask(&shown, Some(&first), 8) else { panic!("the cursor is of another query") };
    assert!(errors[0].pointer == "#/cursor" && errors[0].detail.contains("another query"));
    let second = positions(&[(0, 45), (1, 30)]);
    let next = Change::Generation(generation(2, 2, &second, &["delays", "totals"]));
    shown = Arc::new(Arc::unwrap_or_clone(shown).apply(next).unwrap());
    served.show(Arc::clone(&shown));
    let gone = ask(&shown, Some(&first), 7);
    assert!(matches!(&gone, Err(Error::Gone(what)) if what.contains("generation 1")), "{gone:?}");
}

/// Rows by their keys, which are the first columns.
fn by_key(rows: &[Value], keys: usize) -> BTreeMap<String, Value> {
    rows.iter().map(|row| (json!(row.as_array().unwrap()[..keys]).to_string(), row.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whoever adds what changed to what it has, has what it would be answered whole.
    #[test]
    fn what_changed_since_is_all_that_changed(
        steps in prop::collection::vec(0..4_u8, 1..8),
        grain in prop::option::of(prop::sample::select(vec!["hour", "day"])),
        dimensions in prop::sample::subsequence(vec!["carrier", "origin"], 0..=2),
        layer in prop::sample::select(vec!["merged", "batch", "live"]),
    ) {
        let mut tiers = Arc::unwrap_or_clone(tiers());
        let (mut reach, mut version, mut number) = ([70, 50], 2, 1);
        let mut committed = positions(&[(0, 45), (1, 30)]);
        let keys = usize::from(grain.is_some()) + dimensions.len();
        let ask = |tiers: &Tiers, since: Option<&str>| {
            let query = json!({
                "view": "delays", "grain": grain, "dimensions": dimensions, "measures": ["departures", "delays"],
                "layer": layer, "since": since
            });
            let query = Query::from_json(query.to_string().as_bytes()).unwrap();
            let served = Served::new(views_by_name());
            let answer = answer(&served, &Arc::new(tiers.clone()), &query, &CancellationToken::new()).unwrap();
            serde_json::to_value(&answer).unwrap()
        };
        let first = ask(&tiers, Some(""));
        prop_assert_eq!(&first["changes"]["reset"], true);
        let mut token = first["changes"]["token"].as_str().unwrap().to_owned();
        let mut known = by_key(first["rows"].as_array().unwrap(), keys);
        for step in steps {
            let change = match step {
                partition @ 0..2 => {
                    let from = reach[partition as usize];
                    reach[partition as usize] += 3;
                    Change::Delta(delta(u32::from(partition), 1, from, from + 3))
                }
                2 => {
                    let after = positions(&[(0, reach[0]), (1, reach[1])]);
                    version += 1;
                    let change = commit(version, &committed, &after);
                    committed = after;
                    Change::Commit(source(), change)
                }
                _ => {
                    number += 1;
                    Change::Generation(generation(number, version, &committed, &["delays", "totals"]))
                }
            };
            tiers = tiers.apply(change).unwrap();
            let whole = by_key(ask(&tiers, None)["rows"].as_array().unwrap(), keys);
            let changed = ask(&tiers, Some(&token));
            if changed["changes"]["reset"] == true {
                known.clear();
            }
            known.extend(by_key(changed["rows"].as_array().unwrap(), keys));
            prop_assert_eq!(&known, &whole);
            token = changed["changes"]["token"].as_str().unwrap().to_owned();
        }
    }
}

#[test]
fn only_what_changed_comes() {
    let before = tiers();
    let ask = |tiers: &Tiers, since: &str| {
        let query = Query {
            view: "delays".to_owned(),
            grain: Some("hour".to_owned()),
            since: Some(since.to_owned()),
            ..Query::default()
        };
        answer(&Served::new(views_by_name()), &Arc::new(tiers.clone()), &query, &CancellationToken::new()).unwrap()
    };
    let first = ask(&before, "");
    let token = first.changes.unwrap().token;
    assert_eq!(ask(&before, &token).rows.num_rows(), 0);
    let after = Arc::unwrap_or_clone(before).apply(Change::Delta(delta(1, 1, 50, 51))).unwrap();
    assert_eq!(ask(&after, &token).rows.num_rows(), 1);
    let query = json!({"view": "totals", "since": token});
    check_invalid(&query, "#/since", "another view");
    check_invalid(&json!({"view": "totals", "since": "x"}), "#/since", "no token");
}

#[test]
fn what_cannot_be_asked_is_named() {
    let with = |more: Value| {
        let mut query = json!({"view": "delays"});
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        query
    };
    for (more, pointer, says) in [
        (json!({"fill": "zero"}), "#/fill", "no `grain`"),
        (json!({"fill": "nil", "grain": "day"}), "#/fill", "there are `null`, `zero`, `previous`"),
        (json!({"top": {"n": 1, "by": "departures"}}), "#/top", "no `dimensions`"),
        (json!({"top": {"by": "departures"}}), "#/top/n", "is missing"),
        (json!({"top": 3}), "#/top", "must be an object"),
        (
            json!({"top": {"n": 1, "by": "departure"}, "dimensions": ["origin"]}),
            "#/top/by",
            "did you mean `departures`?",
        ),
        (json!({"top": {"n": 1, "by": "top_origins"}, "dimensions": ["origin"]}), "#/top/by", "no order"),
        (json!({"compare": "last week"}), "#/compare", "`previous` and a length of time"),
        (json!({"compare": "previous"}), "#/compare", "takes `from` and `to`"),
        (json!({"having": "departures"}), "#/having", "must be a condition"),
        (json!({"having": "origin = 'JFK'"}), "#/having", "origin"),
        (json!({"limit": 100_001}), "#/limit", "from 1 to 100000 (`serving.query_rows`)"),
        (json!({"cursor": "x"}), "#/cursor", "`paged`"),
        (json!({"cursor": "x", "paged": true}), "#/cursor", "is no answer's `next`"),
        (json!({"since": "", "limit": 3}), "#/since", "`limit`"),
    ] {
        check_invalid(&with(more), pointer, says);
    }
}
