//! Roll-ups: whatever is asked, the answer from them is that from all rows.

use super::*;
use crate::{
    testing::{HOUR_US, fold, generation},
    tiers::{Chunk, Table, coded},
};

/// Tiers of one chunk of very many rows, three times those of a table that is rolled up.
fn many() -> Arc<Tiers> {
    let first = positions(&[(0, 30), (1, 25)]);
    let mut loaded = generation(1, 1, &first, &["delays", "totals"]);
    let events = events_before(&positions(&[(0, 6000), (1, 3000)]));
    let folded = fold(&events);
    let views = loaded.sources.get_mut(&source()).unwrap();
    for of in views {
        let partial = folded.iter().find(|(id, _)| id == &of.view).unwrap().1.clone();
        let view = crate::testing::views().into_iter().find(|view| view.id == of.view).unwrap();
        let table = Table::from(coded(&view, &partial).unwrap());
        let (from_us, to_us) = (START_US - 24 * HOUR_US, START_US + 240 * HOUR_US);
        of.batch.chunks = vec![Chunk { path: "one".to_owned(), from_us, to_us, table }].into();
    }
    let none = Change::Commit(source(), commit(1, &Positions::new(), &first));
    let empty = Tiers::new(&views_by_name().into_values().collect::<Vec<_>>(), Feed::Silent);
    Arc::new(empty.apply(none).unwrap().apply(Change::Generation(loaded)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn l1_what_is_rolled_up_answers_as_all_rows_do(cases in prop::collection::vec(case(), 3)) {
        let (served, tiers) = (Served::new(views_by_name()), many());
        for case in cases {
            let query = case.query();
            let query = Query::from_json(query.to_string().as_bytes()).unwrap();
            let ask = || answer(&served, &tiers, &query, &CancellationToken::new()).unwrap();
            // The first notes what is wanted, the second makes it, the third finds it.
            let (first, second, third) = (ask(), ask(), ask());
            prop_assert_eq!(&first.rows, &second.rows, "{}", case.query());
            prop_assert_eq!(&first.rows, &third.rows, "{}", case.query());
        }
    }
}

#[test]
fn a_question_that_is_asked_again_reads_few_rows() {
    let (served, tiers) = (Served::new(views_by_name()), many());
    let ask = |from: i64, to: i64| {
        let time = |hours: i64| timestamp_text(START_US + hours * HOUR_US);
        let query = json!({"view": "delays", "from": time(from), "to": time(to), "dimensions": ["origin"], "measures": ["departures"]});
        let query = Query::from_json(query.to_string().as_bytes()).unwrap();
        answer(&served, &tiers, &query, &CancellationToken::new()).unwrap().stats.rows_merged
    };
    let all = ask(0, 96);
    assert!(all > 1000, "{all}");
    ask(0, 96);
    assert!(ask(0, 96) <= 12, "four days of three origins");
    let edge = ask(1, 96);
    assert!(edge > 12 && edge < all / 3, "the hours of the first day are read as they are: {edge}");
}

/// The same events, those of the hourly view before the third day kept by day only.
fn aged() -> (Arc<Tiers>, i64) {
    use common::history::{Kept, Rolled};
    let before_us = Grain::DAY.bucket(START_US + 60 * HOUR_US);
    let first = positions(&[(0, 6000), (1, 3000)]);
    let mut loaded = generation(1, 1, &first, &["delays", "totals"]);
    let folded = fold(&events_before(&first));
    for of in loaded.sources.get_mut(&source()).unwrap() {
        let view = crate::testing::views().into_iter().find(|view| view.id == of.view).unwrap();
        if view.name.as_str() == "delays" {
            of.batch.kept.rolled = Some(Rolled { before_us, grain: "day".to_owned() });
        }
        let partial = folded.iter().find(|(id, _)| id == &of.view).unwrap().1.clone();
        let table = Kept::apply(&of.batch.kept, &view, partial).unwrap().into();
        let (from_us, to_us) = (START_US - 48 * HOUR_US, START_US + 240 * HOUR_US);
        of.batch.chunks = vec![Chunk { path: "one".to_owned(), from_us, to_us, table }].into();
    }
    let commit = Change::Commit(source(), commit(1, &Positions::new(), &first));
    let empty = Tiers::new(&views_by_name().into_values().collect::<Vec<_>>(), Feed::Silent);
    (Arc::new(empty.apply(commit).unwrap().apply(Change::Generation(loaded)).unwrap()), before_us)
}

#[test]
fn history_that_was_rolled_up_answers_by_its_grain_and_refuses_finer_questions() {
    let ((aged, before_us), whole, served) = (aged(), many(), Served::new(views_by_name()));
    let ask = |tiers: &Arc<Tiers>, mut query: Value| {
        query["view"] = "delays".into();
        let query = Query::from_json(query.to_string().as_bytes()).unwrap();
        answer(&served, tiers, &query, &CancellationToken::new()).map(|answer| answer.rows)
    };
    let time = |us: i64| timestamp_text(us);
    let (day, hour) = (24 * HOUR_US, HOUR_US);
    for query in [
        json!({"dimensions": ["carrier"]}),
        json!({"grain": "day", "dimensions": ["carrier"]}),
        json!({"grain": "day", "from": time(before_us - day), "to": time(before_us + hour)}),
        json!({"grain": "hour", "from": time(before_us)}),
        json!({"grain": "month"}),
    ] {
        assert_eq!(ask(&aged, query.clone()).unwrap(), ask(&whole, query.clone()).unwrap(), "{query}");
    }
    for (field, query) in [
        ("grain", json!({"grain": "hour"})),
        ("grain", json!({"grain": "hour", "from": time(before_us - day)})),
        ("grain", json!({"grain": "day", "timezone": "America/New_York"})),
        ("from", json!({"from": time(before_us - hour)})),
        ("to", json!({"to": time(before_us - 3 * hour)})),
        (
            "compare",
            json!({"grain": "hour", "from": time(before_us), "to": time(before_us + day), "compare": "previous"}),
        ),
    ] {
        match ask(&aged, query.clone()) {
            Err(Error::Invalid(errors)) => {
                let said = errors[0].to_string();
                assert!(said.contains(field) && said.contains(&time(before_us)), "{query}: {said}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}
