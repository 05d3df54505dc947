//! Roll-ups: whatever is asked, the answer from them is that from all rows.

use super::*;
use crate::{
    testing::{HOUR_US, fold, generation},
    tiers::{Chunk, Table},
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
        let table = Table::coded(&view, &partial).unwrap();
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
