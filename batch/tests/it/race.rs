//! Two runs at once: one publishes, the other decides rightly, and no mark ever goes back.

use batch::{Outcome, Report, Watch};
use common::position::Version;

use crate::lab::{At, DAY_US, Gate, Lab, VIEWS, row, source};

/// Starts an advance or a recompute of `lab` and stops it just before it publishes.
async fn stopped(lab: &Lab, recompute: bool) -> (Gate, tokio::task::JoinHandle<Report>) {
    let gate = Gate::new(At::Manifest);
    let batch = lab.behind(&gate);
    let run = tokio::spawn(async move {
        let watch = Watch::default();
        let ended = if recompute { batch.recompute(&watch).await } else { batch.advance(&watch).await };
        ended.unwrap()
    });
    gate.stopped().await;
    (gate, run)
}

async fn finish((gate, run): (Gate, tokio::task::JoinHandle<Report>)) -> Report {
    gate.open();
    run.await.unwrap()
}

#[tokio::test]
async fn the_loser_gives_way_to_a_winner_that_covers_it() {
    let lab = Lab::new();
    lab.commit(&[row(0)]).await;
    let (loser, recompute) = (stopped(&lab, false).await, stopped(&lab, true).await);
    lab.commit(&[row(DAY_US)]).await;
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 1 });
    let winner = lab.latest().await;
    assert_eq!(finish(loser).await.outcome, Outcome::Superseded { generation: 1 });
    // A recompute carries on what it has, and finds that it comes to the same.
    assert_eq!(finish(recompute).await.outcome, Outcome::Unchanged { generation: 1 });
    assert_eq!(lab.latest().await, winner);
}

#[tokio::test]
async fn the_loser_carries_on_past_a_winner_that_is_behind() {
    for recompute in [false, true] {
        let lab = Lab::new();
        lab.commit(&[row(0)]).await;
        let early = stopped(&lab, false).await;
        lab.commit(&[row(DAY_US)]).await;
        let late = stopped(&lab, recompute).await;
        lab.commit(&[row(2 * DAY_US)]).await;
        assert_eq!(finish(early).await.outcome, Outcome::Published { generation: 1 });
        let report = finish(late).await;
        assert_eq!(report.outcome, Outcome::Published { generation: 2 });
        assert_eq!(report.sources["departures"].to, Version(3), "to the head of now");
        assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
    }
}

#[tokio::test]
async fn no_mark_goes_back_where_each_run_is_ahead_in_one_source() {
    let views = [
        VIEWS[1],
        "CREATE VIEW landings AS SELECT date_trunc('day', departed_at) AS day, count(*) AS landings \
                            FROM arrivals GROUP BY day",
    ];
    let lab = Lab::with(&[source("departures"), source("arrivals")], &views);
    lab.commit_to("departures", &[row(0)]).await;
    let one = stopped(&lab, false).await;
    lab.commit_to("arrivals", &[row(0)]).await;
    let other = stopped(&lab, true).await;
    finish(other).await;
    let published = lab.latest().await.unwrap();
    finish(one).await;
    let after = lab.latest().await.unwrap();
    for (source, mark) in &published.marks {
        assert!(after.marks[source].version >= mark.version, "{source} went back");
    }
    assert_eq!(lab.recompute().await.outcome.generation(), after.number);
}

#[tokio::test]
async fn a_run_with_other_views_publishes_them_at_no_lesser_marks() {
    let lab = Lab::new().views(&VIEWS[..2]);
    lab.commit(&[row(0)]).await;
    let old = stopped(&lab, false).await;
    lab.commit(&[row(DAY_US)]).await;
    let changed = lab.views(&VIEWS[1..]);
    changed.advance().await;
    let report = finish(old).await;
    assert_eq!(report.outcome, Outcome::Published { generation: 2 });
    assert_eq!(report.sources["departures"].to, Version(2));
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn runs_at_once_all_end_well() {
    let lab = Lab::new();
    let mut highest = Version(0);
    for round in 0..4 {
        lab.commit(&[row(round * 5 * DAY_US), row(0)]).await;
        let runs = (0..4).map(|at| {
            let lab = lab.clone();
            tokio::spawn(async move { if at % 2 == 0 { lab.advance().await } else { lab.recompute().await } })
        });
        for run in runs.collect::<Vec<_>>() {
            run.await.unwrap();
        }
        let mark = lab.latest().await.unwrap().marks["departures"].version;
        assert!(mark > highest);
        highest = mark;
    }
    let newest = lab.latest().await.unwrap().number;
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: newest });
}
