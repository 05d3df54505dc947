//! L4: readers see all of a generation or nothing of it, wherever the run that made it died.

use batch::{Batch, Outcome, Watch};
use common::{
    generation::Generation,
    testing::store::{Fault, Operation},
};

use crate::lab::{At, DAY_US, Gate, Lab, row};

/// Runs `batch` until it stands at `gate`, and kills it there. False if it came to its end without standing there.
async fn killed(batch: Batch, gate: &Gate) -> bool {
    let watch = Watch::default();
    tokio::select! {
        () = gate.stopped() => true,
        ended = batch.advance(&watch) => {
            ended.unwrap();
            false
        }
    }
}

async fn lab_with_a_generation_and_news() -> Lab {
    let lab = Lab::new();
    lab.commit(&[row(0), row(9 * DAY_US)]).await;
    lab.advance().await;
    lab.commit(&[row(0), row(20 * DAY_US)]).await;
    lab
}

async fn is_whole(lab: &Lab, generation: &Generation) {
    let objects = lab.objects().await;
    assert_eq!(generation.views.len(), lab.batch.pipeline.views.len());
    for chunk in generation.views.values().flat_map(|files| &files.chunks) {
        assert_eq!(objects[&chunk.path].len() as u64, chunk.bytes);
    }
}

#[tokio::test]
async fn l4_a_run_killed_at_any_put_leaves_the_old_generation_or_the_whole_new_one() {
    let undisturbed = lab_with_a_generation_and_news().await;
    undisturbed.advance().await;
    let due = undisturbed.latest().await.unwrap();
    let (mut kills, mut old, mut new) = (0, 0, 0);
    for at in (0..).flat_map(|put| [At::Before(put), At::After(put)]) {
        let lab = lab_with_a_generation_and_news().await;
        let before = lab.latest().await.unwrap();
        let gate = Gate::new(at);
        if !killed(lab.behind(&gate), &gate).await {
            assert_eq!(kills, 2 * gate.puts(), "killed before and after every put");
            break;
        }
        kills += 1;
        let seen = lab.latest().await.unwrap();
        is_whole(&lab, &seen).await;
        if seen == before {
            old += 1;
        } else {
            new += 1;
            assert_eq!(seen, due);
        }
        lab.advance().await;
        let after = lab.latest().await.unwrap();
        assert_eq!((after.number, &after.marks, &after.views), (due.number, &due.marks, &due.views));
    }
    assert_eq!(new, 1, "one put of {kills} moments makes the generation visible, the last");
    assert!(old > 4, "{old} moments before it");
}

#[tokio::test]
async fn l4_publishing_is_one_put_after_all_others() {
    let lab = lab_with_a_generation_and_news().await;
    let gate = Gate::new(At::Manifest);
    assert!(killed(lab.behind(&gate), &gate).await);
    let without = lab.objects().await;
    let report = lab.advance().await;
    assert_eq!(report.outcome, Outcome::Published { generation: 2 });
    let with = lab.objects().await;
    let added: Vec<_> = with.keys().filter(|path| !without.contains_key(*path)).collect();
    assert_eq!(added, ["generations/00000000000000000002.json"]);
}

#[tokio::test]
async fn l4_a_put_that_fails_or_whose_answer_is_lost_is_made_good() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for put in 0.. {
            let lab = lab_with_a_generation_and_news().await;
            let (objects, batch) = lab.faulty();
            objects.fail(Operation::Put, put, fault);
            let report = batch.advance(&Watch::default()).await.unwrap();
            assert_eq!(report.outcome, Outcome::Published { generation: 2 }, "{fault:?} of put {put}");
            assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
            if objects.injected() == 0 {
                assert!(put > 8, "chunks, segments and the manifest were put");
                break;
            }
        }
    }
}
