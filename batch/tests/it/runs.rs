//! What a run does and leaves alone.

use std::sync::{Arc, Mutex};

use batch::{Error, Outcome, Phase, Watch};
use common::{names::SourceName, partial, position::Version};

use crate::lab::{DAY_US, HOUR_US, Lab, MONDAY_US, VIEWS, row, source};

#[tokio::test]
async fn the_first_advance_recomputes_and_nothing_new_publishes_nothing() {
    let lab = Lab::new();
    lab.commit(&[row(0), row(HOUR_US)]).await;
    let first = lab.advance().await;
    assert_eq!(first.outcome, Outcome::Published { generation: 1 });
    assert!(first.views.values().all(|v| v.from_raw));

    let objects = lab.objects().await;
    assert_eq!(lab.advance().await.outcome, Outcome::Unchanged { generation: 1 });
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 1 });
    assert_eq!(lab.objects().await, objects);
}

#[tokio::test]
async fn an_advance_reads_the_commits_since_and_writes_only_chunks_they_touch() {
    let lab = Lab::new();
    let weeks: Vec<_> = (0..8).map(|week| row(week * 7 * DAY_US)).collect();
    lab.commit(&weeks).await;
    lab.advance().await;
    let before = lab.latest().await.unwrap();

    // One event in the newest week, one that is five weeks late.
    lab.commit(&[row(7 * 7 * DAY_US + HOUR_US), row(2 * 7 * DAY_US)]).await;
    let report = lab.advance().await;
    let source = &report.sources["departures"];
    assert_eq!((source.from, source.to), (Some(Version(1)), Version(2)));
    assert_eq!((source.files, source.commits), (0, 1));
    let by_hour = &report.views["by_hour"];
    assert_eq!((by_hour.chunks_written, by_hour.chunks_kept, by_hour.from_raw), (2, 6, false));

    let after = lab.latest().await.unwrap();
    let kept = after.views["by_hour"].chunks.iter().filter(|c| before.views["by_hour"].chunks.contains(c));
    assert_eq!(kept.count(), 6);
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn a_new_view_is_computed_from_raw_files_and_a_removed_one_is_left_out() {
    let lab = Lab::new().views(&VIEWS[..2]);
    lab.commit(&[row(0), row(20 * DAY_US)]).await;
    lab.advance().await;
    lab.commit(&[row(DAY_US)]).await;

    let changed = lab.views(&VIEWS[1..]);
    let report = changed.advance().await;
    let from_raw: Vec<_> = report.views.iter().map(|(name, v)| (name.as_str(), v.from_raw)).collect();
    assert_eq!(from_raw, [("by_day", true), ("by_hour", false), ("by_week", true)]);
    assert_eq!(changed.recompute().await.outcome, Outcome::Unchanged { generation: 2 });

    // Without new commits, new views alone make a generation.
    let report = lab.advance().await;
    assert_eq!(report.outcome, Outcome::Published { generation: 3 });
    assert!(report.views["by_minute"].from_raw);
}

#[tokio::test]
async fn a_changed_view_is_a_new_view() {
    let lab = Lab::new().views(&VIEWS[3..]);
    lab.commit(&[row(0), row(DAY_US)]).await;
    lab.advance().await;
    let changed = lab.views(&["CREATE VIEW by_week AS SELECT date_trunc('week', departed_at) AS week, \
                               sum(delay_minutes) AS minutes FROM departures GROUP BY week"]);
    assert!(changed.advance().await.views["by_week"].from_raw);
    assert_eq!(changed.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn chunks_hold_the_rows_of_their_time_and_all_of_them() {
    let lab = Lab::new();
    let rows: Vec<_> = (-40..40).map(|day| row(day * DAY_US - 1)).collect();
    lab.commit(&rows).await;
    lab.advance().await;
    let whole = lab.batch.recomputed(&Watch::default()).await.unwrap();
    for (name, files) in &lab.latest().await.unwrap().views {
        let view = lab.view(name.as_str());
        let mut chunks = Vec::new();
        for pair in files.chunks.windows(2) {
            let parts = pair[0].from_us == pair[1].from_us && pair[0].part < pair[1].part;
            assert!(parts || pair[0].to_us <= pair[1].from_us, "{name}: chunks are ordered and apart");
        }
        for chunk in &files.chunks {
            let partial = common::generation::read_chunk(&lab.batch.store, &view, chunk).await.unwrap();
            assert_eq!(partial.num_rows() as u64, chunk.rows);
            chunks.push(partial);
        }
        assert_eq!(partial::merge(&view, &chunks).unwrap(), whole[name]);
        assert!(whole[name].num_rows() > 0);
    }
}

#[tokio::test]
async fn an_empty_dataset_makes_a_generation_without_chunks() {
    let lab = Lab::new();
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 1 });
    assert!(lab.latest().await.unwrap().views.values().all(|files| files.chunks.is_empty()));
    lab.commit(&[row(0)]).await;
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 2 });
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn a_commit_of_no_events_moves_the_mark() {
    let lab = Lab::new();
    lab.commit(&[row(0)]).await;
    lab.advance().await;
    lab.commit(&[]).await;
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 2 });
    let marks = lab.latest().await.unwrap().marks;
    assert_eq!(marks[&SourceName::new("departures").unwrap()].version, Version(2));
}

#[tokio::test]
async fn sources_reach_their_own_heads() {
    let views = [
        VIEWS[1],
        "CREATE VIEW landings AS SELECT date_trunc('day', departed_at) AS day, count(*) AS landings \
                            FROM arrivals GROUP BY day",
    ];
    let lab = Lab::with(&[source("departures"), source("arrivals")], &views);
    lab.commit_to("arrivals", &[row(0)]).await;
    lab.commit_to("arrivals", &[row(DAY_US)]).await;
    lab.commit_to("departures", &[row(0)]).await;
    let report = lab.recompute().await;
    let heads: Vec<_> = report.sources.iter().map(|(name, s)| (name.as_str(), s.to.0)).collect();
    assert_eq!(heads, [("arrivals", 2), ("departures", 1)]);

    lab.commit_to("arrivals", &[row(0)]).await;
    let report = lab.advance().await;
    assert_eq!(report.views["by_hour"].chunks_written, 0);
    assert_eq!(report.views["landings"].chunks_written, 1);
}

#[tokio::test]
async fn a_dataset_behind_its_mark_stops_the_run() {
    let lab = Lab::new();
    lab.commit(&[row(0)]).await;
    lab.advance().await;
    let mut ahead = lab.latest().await.unwrap();
    ahead.number += 1;
    ahead.marks.get_mut("departures").unwrap().version = Version(99);
    common::generation::publish(&lab.batch.store, &ahead).await.unwrap();
    for run in [lab.batch.advance(&Watch::default()).await, lab.batch.recompute(&Watch::default()).await] {
        assert!(matches!(run, Err(Error::BehindMark { mark: Version(99), head: Version(1), generation: 2, .. })));
    }
    assert_eq!(lab.latest().await.unwrap(), ahead);
}

#[tokio::test]
async fn a_damaged_chunk_stops_an_advance_and_is_made_anew_by_a_recompute() {
    let lab = Lab::new();
    lab.commit(&[row(0)]).await;
    lab.advance().await;
    let chunk = lab.latest().await.unwrap().views["by_hour"].chunks[0].clone();
    lab.batch.store.put(&chunk.path.as_str().into(), "damaged".into()).await.unwrap();
    lab.commit(&[row(0)]).await;
    assert!(matches!(lab.batch.advance(&Watch::default()).await, Err(Error::Generation(_))));

    assert_eq!(lab.recompute().await.outcome, Outcome::Published { generation: 2 });
    lab.commit(&[row(0)]).await;
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 3 });
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 3 });
}

#[tokio::test]
async fn progress_counts_every_task_and_a_cancelled_run_publishes_nothing() {
    let lab = Lab::new();
    lab.commit(&[row(0)]).await;
    lab.commit(&[row(10 * DAY_US)]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watch = Watch {
        progress: Arc::new({
            let seen = Arc::clone(&seen);
            move |update| seen.lock().unwrap().push((update.phase, update.done, update.total))
        }),
        ..Watch::default()
    };
    lab.batch.advance(&watch).await.unwrap();
    // Two small files are one task; then two days, two weeks and twice one long chunk.
    let map = (0..=1).map(|done| (Phase::Map, done, 1));
    let reduce = (0..=6).map(|done| (Phase::Reduce, done, 6));
    assert_eq!(*seen.lock().unwrap(), map.chain(reduce).collect::<Vec<_>>());

    let before = lab.latest().await;
    lab.commit(&[row(0)]).await;
    let mut watch = Watch::default();
    let cancel = watch.cancel.clone();
    watch.progress = Arc::new(move |update| {
        if update.phase == Phase::Reduce {
            cancel.cancel();
        }
    });
    assert!(matches!(lab.batch.advance(&watch).await, Err(Error::Cancelled)));
    assert_eq!(lab.latest().await, before);
}

#[tokio::test]
async fn chunks_are_stretches_of_utc_that_the_grain_decides() {
    let lab = Lab::new();
    let us = |date: &str| format!("{date}T00:00:00Z").parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let chunk = |view: &str, at: i64| batch::chunk::of(&lab.view(view)).interval(at);
    let late = MONDAY_US + 3 * DAY_US + 5 * HOUR_US;
    assert_eq!(chunk("by_minute", late), (MONDAY_US + 3 * DAY_US, MONDAY_US + 4 * DAY_US));
    assert_eq!(chunk("by_hour", late), (MONDAY_US, MONDAY_US + 7 * DAY_US));
    let year = batch::chunk::of(&lab.view("by_day"));
    assert_eq!(year.interval(us("2012-07-01")), (us("2012-01-01"), us("2013-01-01")));
    assert_eq!(batch::chunk::of(&lab.view("by_week")), year);
    assert_eq!(chunk("by_minute", -1), (-DAY_US, 0));
}
