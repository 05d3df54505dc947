//! Runs in the store: the same bytes as a run in one process, whoever does the tasks, however often and in whatever order.

use std::time::Duration;

use batch::{
    Batch, Error, Outcome, Request, Scope, Watch,
    stored::{ReduceSpec, Stored, TaskKind},
};
use common::{generation::Generation, names::ViewName};
use object_store::path::Path;

use crate::lab::{DAY_US, HOUR_US, Lab, MONDAY_US, Row, row};

const MEMORY: usize = 1 << 20;

/// Some hundred departures over ten weeks, in commits of a few.
async fn lab() -> Lab {
    let lab = Lab::new();
    fill(&lab, 0..240).await;
    lab
}

async fn fill(lab: &Lab, numbers: std::ops::Range<i64>) {
    let row = |n: i64| Row {
        carrier: [Some("UA"), Some("AA"), None][(n % 3) as usize],
        tail: Some((n * n % 83) as u16),
        delay: (n % 5 != 0).then_some(n * 37 % 400 - 60),
        ..row(n * 7 * HOUR_US + n)
    };
    let rows: Vec<Row> = numbers.map(row).collect();
    for rows in rows.chunks(60) {
        lab.commit(rows).await;
    }
}

async fn do_all(stored: &Stored, kind: TaskKind) {
    // Backwards: in no order that anything could rely on.
    for index in stored.left(kind).await.unwrap().into_iter().rev() {
        let before = match kind {
            TaskKind::Map => stored.map(index, MEMORY).await.unwrap().before,
            TaskKind::Reduce => stored.reduce(index, MEMORY).await.unwrap().before,
        };
        assert!(!before);
    }
    assert!(stored.left(kind).await.unwrap().is_empty());
}

/// What `request` comes to as tasks, and what the same comes to in one process over a store of the same events.
async fn by_tasks(lab: &Lab, request: &Request) -> Generation {
    let stored = lab.batch.store_run(request, 1).await.unwrap();
    assert!(stored.spec().map.len() > 1);
    do_all(&stored, TaskKind::Map).await;
    do_all(&stored, TaskKind::Reduce).await;
    stored.publish(&Watch::default()).await.unwrap();
    assert!(lab.batch.store.list(&Path::from("runs")).await.unwrap().is_empty(), "its files are gone");
    lab.latest().await.unwrap()
}

#[tokio::test]
async fn l1_tasks_come_to_the_bytes_of_one_process() {
    let (tasks, process) = (lab().await, lab().await);
    let whole = by_tasks(&tasks, &Request::Recompute(Scope::default())).await;
    process.recompute().await;
    assert_eq!(Some(&whole), process.latest().await.as_ref());
    assert_eq!(tasks.objects().await, process.objects().await);

    // And so does an advance.
    fill(&tasks, 230..300).await;
    fill(&process, 230..300).await;
    let advanced = by_tasks(&tasks, &Request::Advance).await;
    process.advance().await;
    assert_eq!(Some(&advanced), process.latest().await.as_ref());
    assert_eq!(tasks.objects().await, process.objects().await);
}

#[tokio::test]
async fn tasks_done_twice_and_by_others_change_nothing() {
    let lab = lab().await;
    let request = Request::Recompute(Scope::default());
    let stored = lab.batch.store_run(&request, 1).await.unwrap();
    let again = lab.batch.store_run(&request, 1).await.unwrap();
    assert_eq!(stored.id(), again.id(), "planning the same is the same run");
    let (one, other) = tokio::join!(stored.map(0, MEMORY), again.map(0, MEMORY));
    assert_eq!(one.unwrap().rows, other.unwrap().rows);
    assert!(stored.map(0, MEMORY).await.unwrap().before);

    let early = stored.reduce(0, MEMORY).await;
    assert!(matches!(early, Err(Error::Unfinished { ref tasks, .. }) if tasks.contains(&"m1".to_owned())), "{early:?}");
    let left = stored.left(TaskKind::Map).await.unwrap().len() + stored.left(TaskKind::Reduce).await.unwrap().len();
    let id = stored.id().to_owned();
    let early = stored.publish(&Watch::default()).await.unwrap_err();
    assert!(matches!(early, Error::Unfinished { count, .. } if count == left), "{early}");
    assert!(lab.latest().await.is_none());

    assert!(matches!(again.map(999, MEMORY).await, Err(Error::Run { .. })));
    assert!(matches!(lab.batch.stored("0123").await, Err(Error::Run { .. })));
    let other = lab.views(&crate::lab::VIEWS[..2]);
    assert!(matches!(other.batch.stored(&id).await, Err(Error::Run { .. })), "it is of other views");
}

fn resumable(batch: &Batch) -> Batch {
    Batch { resumable_from: "1B".parse().unwrap(), task_bytes: "1B".parse().unwrap(), ..batch.clone() }
}

#[tokio::test]
async fn a_run_that_was_stopped_goes_on_and_does_no_finished_task_again() {
    let undisturbed = lab().await;
    undisturbed.recompute().await;
    let lab = lab().await;
    let batch = resumable(&lab.batch);
    let (mut stops, mut finished) = (0, 0);
    let report = loop {
        let watch = Watch::default();
        let cancel = watch.cancel.clone();
        // Three tasks more than before, then an end.
        let stop_at = finished + 3;
        let progress = move |update: batch::Update| {
            if update.phase == batch::Phase::Map && update.done >= stop_at {
                cancel.cancel();
            }
        };
        let watch = Watch { progress: std::sync::Arc::new(progress), ..watch };
        match batch.recompute(&watch).await {
            Err(Error::Cancelled) => {
                stops += 1;
                let done = lab.batch.store.list(&Path::from("runs")).await.unwrap();
                let done =
                    done.iter().filter(|path| path.as_ref().contains("/map/") && path.as_ref().ends_with(".json"));
                let done = done.count() as u64;
                assert!(done > finished, "{done} after {finished}");
                finished = done;
                // New events do not make it start again.
                lab.commit(&[row(0)]).await;
            }
            ended => break ended.unwrap(),
        }
    };
    assert!(stops > 2, "{stops}");
    let tasks = report.tasks.unwrap();
    assert_eq!((tasks.map_before, tasks.reduce_before), (finished, 0));
    assert_eq!(report.outcome, Outcome::Published { generation: 1 });
    let (ours, theirs) = (lab.latest().await.unwrap(), undisturbed.latest().await.unwrap());
    assert_eq!((&ours.views, &ours.marks), (&theirs.views, &theirs.marks));
}

#[tokio::test]
async fn a_stretch_of_time_is_recomputed_from_its_files_and_all_else_is_kept() {
    let lab = lab().await;
    lab.recompute().await;
    let honest = lab.latest().await.unwrap();
    let files = honest.views["by_hour"].chunks.len() as u64;

    // A chunk that says something else, as it would after a fault of ours.
    let mut planted = honest.clone();
    planted.number += 1;
    let chunks = &mut planted.views.get_mut("by_hour").unwrap().chunks;
    chunks[1].path = chunks[0].path.clone();
    chunks[1].checksum = chunks[0].checksum.clone();
    common::generation::publish(&lab.batch.store, &planted).await.unwrap();

    let from_us = planted.views["by_hour"].chunks[1].from_us + DAY_US;
    let views = [ViewName::new("by_hour").unwrap()].into();
    let scope = Scope { views, from_us: Some(from_us), to_us: Some(from_us + HOUR_US) };
    let stored = lab.batch.store_run(&Request::Recompute(scope.clone()), 1).await.unwrap();
    assert!(stored.spec().map.len() < files as usize && stored.spec().reduce.len() == 1, "{:?}", stored.spec());

    let report = lab.batch.recompute_within(&scope, &Watch::default()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Published { generation: 3 });
    let by_hour = &report.views["by_hour"];
    assert_eq!((by_hour.chunks_written, by_hour.chunks_kept), (1, files - 1));
    assert_eq!(lab.latest().await.unwrap().views, honest.views);
    assert_eq!(lab.latest().await.unwrap().marks, honest.marks);

    // As tasks, over the same planted fault.
    planted.number = 4;
    common::generation::publish(&lab.batch.store, &planted).await.unwrap();
    let stored = lab.batch.store_run(&Request::Recompute(scope), 1).await.unwrap();
    do_all(&stored, TaskKind::Map).await;
    do_all(&stored, TaskKind::Reduce).await;
    stored.publish(&Watch::default()).await.unwrap();
    assert_eq!(lab.latest().await.unwrap().views, honest.views);
    assert!(honest.views["by_hour"].chunks[0].from_us <= MONDAY_US);
}

#[tokio::test]
async fn named_views_are_made_anew_and_the_others_are_carried_on() {
    let lab = lab().await;
    lab.recompute().await;
    fill(&lab, 240..250).await;
    let scope = Scope { views: [ViewName::new("by_day").unwrap()].into(), ..Scope::default() };
    let report = lab.batch.recompute_within(&scope, &Watch::default()).await.unwrap();
    let raw: Vec<_> = report.views.iter().filter(|(_, view)| view.from_raw).map(|(name, _)| name.as_str()).collect();
    assert_eq!(raw, ["by_day"]);
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn a_repair_is_not_lost_to_an_advance_that_was_faster() {
    let lab = lab().await;
    lab.recompute().await;
    let honest = lab.latest().await.unwrap();
    let mut planted = honest.clone();
    planted.number += 1;
    planted.views.get_mut("by_hour").unwrap().chunks.remove(1);
    common::generation::publish(&lab.batch.store, &planted).await.unwrap();

    let request = Request::Recompute(Scope::default());
    let stored = lab.batch.store_run(&request, 1).await.unwrap();
    do_all(&stored, TaskKind::Map).await;
    do_all(&stored, TaskKind::Reduce).await;
    fill(&lab, 250..251).await;
    assert_eq!(lab.advance().await.outcome, Outcome::Published { generation: 3 });
    assert_eq!(stored.publish(&Watch::default()).await.unwrap().outcome, Outcome::Published { generation: 4 });
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: 4 });
}

#[tokio::test]
async fn runs_that_were_given_up_are_cleared_away_after_their_time() {
    let lab = lab().await;
    let stored = lab.batch.store_run(&Request::Advance, 1).await.unwrap();
    stored.map(0, MEMORY).await.unwrap();
    assert!(lab.batch.vacuum_runs(0).await.unwrap().is_empty());
    assert_eq!(lab.batch.vacuum_runs(i64::MAX).await.unwrap(), [stored.id()]);
    assert!(lab.batch.store.list(&Path::from("runs")).await.unwrap().is_empty());
}

/// A view of so many groups that a week of it is two files.
const MANY: &str = "CREATE VIEW many AS SELECT date_trunc('hour', departed_at) AS hour, tail_number, count(*) AS departures, \
                    approx_distinct(carrier) AS carriers FROM departures GROUP BY hour, tail_number";

async fn of_many_groups() -> Lab {
    let lab = Lab::with(&[crate::lab::source("departures")], &[MANY]);
    let rows: Vec<Row> = (0..40_000).map(|n| Row { tail: Some(n), ..row(i64::from(n) * 1_000) }).collect();
    lab.commit(&rows[..20_000]).await;
    lab.commit(&rows[20_000..]).await;
    lab
}

#[tokio::test]
async fn l1_slices_of_a_chunk_come_to_the_same_files_however_many_there_are() {
    let (lab, process) = (of_many_groups().await, of_many_groups().await);
    process.recompute().await;
    assert_eq!(process.latest().await.unwrap().views["many"].chunks.len(), 2);

    // One slice is expected, of what are two parts; then four, which are more.
    let planned = lab.batch.store_run(&Request::Recompute(Scope::default()), 1).await.unwrap();
    assert_eq!(planned.spec().reduce.len(), 1);
    let mut spec = planned.spec().clone();
    spec.reduce = (0..4)
        .map(|slice| ReduceSpec { id: format!("{slice:x}"), slice, slices: 4, ..spec.reduce[0].clone() })
        .collect();
    let json = serde_json::to_vec(&spec).unwrap();
    lab.batch.store.put(&Path::from("runs/f00d/plan.json"), json.into()).await.unwrap();
    for id in [planned.id(), "f00d"] {
        let stored = lab.batch.stored(id).await.unwrap();
        do_all(&stored, TaskKind::Map).await;
        do_all(&stored, TaskKind::Reduce).await;
        stored.publish(&Watch::default()).await.unwrap();
        assert_eq!(lab.latest().await, process.latest().await, "{id}");
    }

    // A chunk of two parts is carried on by two slices.
    for lab in [&lab, &process] {
        lab.commit(&[Row { tail: Some(7), ..row(7_000) }, Row { tail: Some(50_000), ..row(0) }]).await;
    }
    let stored = lab.batch.store_run(&Request::Advance, 1).await.unwrap();
    assert_eq!(stored.spec().reduce.len(), 2);
    do_all(&stored, TaskKind::Map).await;
    do_all(&stored, TaskKind::Reduce).await;
    stored.publish(&Watch::default()).await.unwrap();
    process.advance().await;
    assert_eq!(lab.latest().await, process.latest().await);
}

#[tokio::test]
async fn files_of_a_removed_view_go_away_and_no_others() {
    let lab = lab().await;
    lab.recompute().await;
    let fewer = lab.views(&crate::lab::VIEWS[..3]);
    fewer.advance().await;
    let gone = lab.view("by_week").id.to_string();
    let before = lab.objects().await;
    let fewer = fewer.by_the_clock();
    assert_eq!(fewer.batch.vacuum(Duration::from_secs(3_600)).await.unwrap().chunks, 0, "its time has not come");
    let removed = fewer.batch.vacuum(Duration::ZERO).await.unwrap();
    let after = fewer.objects().await;
    let missing: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    let (chunks, manifests): (Vec<&String>, Vec<_>) = missing.into_iter().partition(|path| path.contains("/chunks/"));
    assert!(chunks.len() as u64 == removed.chunks && !chunks.is_empty(), "{removed:?}");
    assert!(chunks.iter().all(|path| path.contains(&gone)) && manifests.len() == 1, "{chunks:?}");
    assert_eq!(fewer.recompute().await.outcome, Outcome::Unchanged { generation: 2 });
}

#[tokio::test]
async fn l8_what_an_open_run_reads_stays_through_compaction_and_vacuum() {
    let (lab, undisturbed) = (lab().await, lab().await);
    for lab in [&lab, &undisturbed] {
        lab.recompute().await;
        fill(lab, 240..260).await;
    }
    let views = [ViewName::new("by_hour").unwrap()].into();
    let scope = Scope { views, ..Scope::default() };
    let stored = lab.batch.store_run(&Request::Recompute(scope), 1).await.unwrap();
    stored.map(0, MEMORY).await.unwrap();
    // All that it reads is replaced: files by a compaction, the generation that it starts from by the next one.
    lab.batch.compact(2, &Watch::default()).await.unwrap();
    fill(&lab, 260..261).await;
    lab.advance().await;
    // Its last sign of life is younger than everything else.
    stored.map(1, MEMORY).await.unwrap();
    let objects = lab.batch.store.list_objects(&"runs".into()).await.unwrap();
    let lab = lab.at(objects.iter().map(|object| object.modified_us).max().unwrap());
    let removed = lab.batch.vacuum(Duration::ZERO).await.unwrap();
    assert_eq!((removed.runs, removed.data_files, removed.generations), (0, 0, 0), "{removed:?}");
    do_all(&stored, TaskKind::Map).await;
    do_all(&stored, TaskKind::Reduce).await;
    stored.publish(&Watch::default()).await.unwrap();
    fill(&undisturbed, 260..261).await;
    undisturbed.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, undisturbed.latest().await.unwrap().views);
    // Once the run is over, what it read goes.
    let removed = lab.by_the_clock().batch.vacuum(Duration::ZERO).await.unwrap();
    assert!(removed.data_files > 1 && removed.generations == 1, "{removed:?}");
}
