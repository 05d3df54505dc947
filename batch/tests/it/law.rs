//! L1: an advance and a recompute come to the same bytes.

use proptest::prelude::*;

use crate::lab::{DAY_US, Lab, Row, row};
use batch::Outcome;

/// A departure at any time within ten weeks, so that most are late for what came before; values that repeat, and nulls.
fn any_row() -> impl Strategy<Value = Row> {
    let text = |of: &'static [&'static str]| prop::option::weighted(0.9, prop::sample::select(of));
    (
        0..70 * DAY_US,
        text(&["UA", "AA", "é", ""]),
        text(&["JFK", "LGA", "EWR"]),
        prop::option::weighted(0.9, 0_u16..300),
        prop::option::weighted(0.9, prop_oneof![-30_i64..500, Just(i64::from(i32::MAX))]),
        prop::option::weighted(0.9, -1_000_000_i128..1_000_000),
        prop::option::weighted(0.9, prop_oneof![-5e3..5e3, Just(0.1), Just(-0.0), Just(1e-19), Just(9e15)]),
        prop::option::weighted(0.9, any::<bool>()),
    )
        .prop_map(|(after_us, carrier, origin, tail, delay, fare, distance, cancelled)| {
            let departed_at = row(after_us).departed_at;
            Row { departed_at, carrier, origin, tail, delay, fare, distance, cancelled }
        })
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Row>),
    Advance,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(any_row(), 0..16).prop_map(Step::Commit),
        2 => Just(Step::Advance),
    ];
    prop::collection::vec(step, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l1_advance_equals_recompute(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (advanced, recomputed) = (Lab::new(), Lab::new());
            for step in &steps {
                match step {
                    Step::Commit(rows) => {
                        advanced.commit(rows).await;
                        recomputed.commit(rows).await;
                    }
                    Step::Advance => {
                        advanced.advance().await;
                    }
                }
            }
            advanced.advance().await;
            recomputed.recompute().await;
            let (ours, theirs) = (advanced.latest().await.unwrap(), recomputed.latest().await.unwrap());
            prop_assert_eq!(&ours.marks, &theirs.marks);
            prop_assert_eq!(&ours.views, &theirs.views, "same chunk files, same checksums");

            let (ours_objects, theirs_objects) = (advanced.objects().await, recomputed.objects().await);
            for chunk in ours.views.values().flat_map(|files| &files.chunks) {
                prop_assert_eq!(&ours_objects[&chunk.path], &theirs_objects[&chunk.path]);
            }
            let again = advanced.recompute().await;
            prop_assert_eq!(again.outcome, Outcome::Unchanged { generation: ours.number });
            Ok(())
        })?;
    }
}
