//! An audit of answers over a range: honest ones are equal, a falsified chunk is found, and answers may still be moving.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use batch::{
    Error, Scope, Watch,
    audit::{self, Answered, AuditReport},
    states::State,
};
use common::{generation, names::ViewName, partial, position::Positions, view::View};
use futures::FutureExt;

use crate::lab::{DAY_US, HOUR_US, Lab, MONDAY_US, Row, VIEWS, row};

fn rows(numbers: Range<i64>) -> Vec<Row> {
    let row = |n: i64| Row {
        carrier: [Some("UA"), Some("AA"), None][(n % 3) as usize],
        tail: (n % 9 != 0).then_some((n * n % 83) as u16),
        delay: (n % 5 != 0).then_some(n * 37 % 400 - 60),
        distance: (n % 8 != 0).then_some((n as f64).sqrt() * 0.1 - 1.0),
        ..row(n * 5 * HOUR_US + n)
    };
    numbers.map(row).collect()
}

async fn lab() -> Lab {
    let lab = Lab::new();
    lab.commit(&rows(0..120)).await;
    lab.commit(&rows(120..240)).await;
    lab
}

/// What the newest generation answers, which is all there is to answer.
async fn answered(lab: Lab, view: Arc<View>, window: Range<i64>) -> Result<Answered, Error> {
    let generation = lab.latest().await.unwrap();
    let files = &generation.views[&view.name];
    let mut partials = Vec::new();
    for chunk in &files.chunks {
        partials.push(generation::read_chunk(&lab.batch.store, &view, chunk).await?);
    }
    let rows = audit::answer(&view, &partial::merge(&view, &partials)?)?;
    let buckets = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let keep = buckets.iter().map(|bucket| bucket.map(|bucket| window.contains(&bucket))).collect();
    let mark = &generation.marks[&view.source];
    Ok(Answered {
        rows: filter_record_batch(&rows, &keep)?,
        generation: Some(generation.number),
        mark: Some(mark.version),
        positions: mark.positions.clone(),
    })
}

async fn audit_of(lab: &Lab, scope: &Scope) -> AuditReport {
    let ask = |view, window| answered(lab.clone(), view, window).boxed();
    lab.batch.audit(scope, &ask, &Watch::default()).await.unwrap()
}

fn shown(report: &AuditReport) -> String {
    serde_json::to_string_pretty(report).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_answers_are_equal_in_whole_and_in_part_and_while_events_come_in() {
    let lab = lab().await;
    lab.recompute().await;
    let whole = audit_of(&lab, &Scope::default()).await;
    assert!(whole.equal, "{}", shown(&whole));
    assert_eq!(whole.views.len(), 4);
    assert!(whole.views["by_hour"].groups > 200);

    // The dataset goes on; the answers do not.
    lab.commit(&rows(30..90)).await;
    let behind = audit_of(&lab, &Scope::default()).await;
    assert!(behind.equal && behind.views["by_hour"].groups == whole.views["by_hour"].groups, "{}", shown(&behind));

    let scope = Scope {
        views: [ViewName::new("by_hour").unwrap(), ViewName::new("by_minute").unwrap()].into(),
        from_us: Some(MONDAY_US + 10 * DAY_US),
        to_us: Some(MONDAY_US + 20 * DAY_US),
    };
    let part = audit_of(&lab, &scope).await;
    assert!(part.equal && part.views.len() == 2 && part.views["by_hour"].groups < 60, "{}", shown(&part));

    // A budget so small that every day is a window of its own.
    let engine = lab.batch.engine.clone().with_memory("1KiB".parse().unwrap());
    let mut small = lab.clone();
    small.batch.engine = engine;
    let windowed = audit_of(&small, &Scope::default()).await;
    assert!(windowed.equal, "{}", shown(&windowed));
    assert_eq!(windowed.views["by_hour"].cells, whole.views["by_hour"].cells);
}

/// The partial with one more in the first count of `row`.
fn plus_one(view: &View, partial: &RecordBatch, row: usize) -> RecordBatch {
    let at = 1 + view.dimensions.len();
    let counts = partial.column(at).as_primitive::<Int64Type>();
    let changed: Int64Array = (0..counts.len()).map(|n| Some(counts.value(n) + i64::from(n == row))).collect();
    let mut columns: Vec<ArrayRef> = partial.columns().to_vec();
    columns[at] = Arc::new(changed);
    RecordBatch::try_new(partial.schema(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_too_many_in_one_cell_of_one_chunk_is_found_with_where_it_came_from() {
    let lab = lab().await;
    lab.recompute().await;
    let mut planted = lab.latest().await.unwrap();
    let view = lab.view("by_minute");
    let chunk = planted.views["by_minute"].chunks[20].clone();
    let honest = generation::read_chunk(&lab.batch.store, &view, &chunk).await.unwrap();
    let false_one = plus_one(&view, &honest, 1);
    let written =
        generation::write_chunk(&lab.batch.store, &view, chunk.from_us, chunk.to_us, &false_one).await.unwrap();
    planted.number += 1;
    planted.views.get_mut("by_minute").unwrap().chunks[20] = written.clone();
    generation::publish(&lab.batch.store, &planted).await.unwrap();

    let report = audit_of(&lab, &Scope::default()).await;
    assert!(!report.equal);
    assert_eq!(report.views.values().map(|view| view.differences).sum::<u64>(), 1, "{}", shown(&report));
    let found = &report.views["by_minute"].differing[0];
    assert_eq!((found.measure.as_deref(), &found.recomputed), (Some("departures"), &found.exact));
    assert_ne!(found.merged, found.exact);
    let whence = found.whence.as_ref().unwrap();
    assert_eq!((whence.generation, &whence.chunks, whence.commits.len()), (Some(2), &vec![written.path], 0));

    // Only where it is, and gone after the range was recomputed.
    let elsewhere = Scope { to_us: Some(chunk.from_us), ..Scope::default() };
    assert!(audit_of(&lab, &elsewhere).await.equal);
    let there = Scope { from_us: Some(chunk.from_us), to_us: Some(chunk.to_us), ..Scope::default() };
    assert!(!audit_of(&lab, &there).await.equal);
    lab.batch.recompute_within(&there, &Watch::default()).await.unwrap();
    assert!(audit_of(&lab, &Scope::default()).await.equal);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_an_event_too_few_is_found() {
    let lab = lab().await;
    lab.recompute().await;
    let ask = |view: Arc<View>, window| {
        let lab = lab.clone();
        async move {
            let mut answer = answered(lab, view, window).await?;
            // It says that it has not seen what it has.
            answer.positions = answer
                .positions
                .into_iter()
                .map(|(p, at)| (p, common::position::Position(at.0 - 1)))
                .collect::<Positions>();
            Ok(answer)
        }
        .boxed()
    };
    let report = lab.batch.audit(&Scope::default(), &ask, &Watch::default()).await.unwrap();
    // The view by day leaves that event out.
    let found: Vec<_> =
        report.views.iter().filter(|(_, view)| view.differences > 0).map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, ["by_hour", "by_minute", "by_week"], "{}", shown(&report));
}

#[tokio::test]
async fn views_are_backfilling_live_changed_and_removed() {
    let lab = Lab::new().views(&VIEWS[..2]);
    lab.commit(&rows(0..10)).await;
    let states = async |lab: &Lab| {
        let states = lab.batch.view_states().await.unwrap();
        states.into_iter().map(|view| (view.name.to_string(), view.state)).collect::<Vec<_>>()
    };
    let both = |hour, minute| vec![("by_hour".to_owned(), hour), ("by_minute".to_owned(), minute)];
    assert_eq!(states(&lab).await, both(State::Backfilling, State::Backfilling));
    lab.advance().await;
    assert_eq!(states(&lab).await, both(State::Live, State::Live));

    let changed = lab.views(&[
        "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, count(*) AS n FROM departures GROUP BY hour",
    ]);
    let run = changed.batch.store_run(&batch::Request::Advance, 1).await.unwrap();
    run.map(0, 1 << 20).await.unwrap();
    let found = changed.batch.view_states().await.unwrap();
    assert_eq!((found[0].state, found[0].tasks.map(|tasks| tasks.0)), (State::Changed, Some(1)));
    let removed = |states: &[batch::states::ViewState]| states.iter().filter(|v| v.state == State::Removed).count();
    assert_eq!(removed(&found), 2, "the old definition, and the other view");
    assert!(
        found.iter().filter(|v| v.state == State::Removed).all(|v| v.since_us.is_none()),
        "until the next generation"
    );
    changed.advance().await;
    let found = changed.batch.view_states().await.unwrap();
    assert_eq!((found[0].state, found[0].since_us, removed(&found)), (State::Live, Some(MONDAY_US), 2));
    changed.by_the_clock().batch.vacuum(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(states(&changed).await, [("by_hour".to_owned(), State::Live)]);
}

/// Thirty days of events of which ten are to be kept, recomputed before any is removed.
async fn lab_with_events_past_retention() -> Lab {
    let lab = lab().await.at(MONDAY_US + 30 * DAY_US);
    let mut pipeline = (*lab.batch.pipeline).clone();
    pipeline.sources.values_mut().next().unwrap().keep = Some(jiff::SignedDuration::from_hours(10 * 24));
    let lab = lab.with_pipeline(pipeline);
    lab.recompute().await;
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_whose_raw_events_retention_has_removed_are_left_out_and_said_to_be() {
    let lab = lab_with_events_past_retention().await;
    let before = audit_of(&lab, &Scope::default()).await;
    lab.batch.retain(&Watch::default()).await.unwrap();
    let after = audit_of(&lab, &Scope::default()).await;
    assert!(after.equal, "{}", shown(&after));
    let (minutes, weeks) = (&after.views["by_minute"], &after.views["by_week"]);
    assert_eq!(minutes.left_out_before_us, Some(MONDAY_US + 20 * DAY_US));
    assert_eq!(weeks.left_out_before_us, Some(MONDAY_US + 21 * DAY_US), "a week of which a day is gone");
    assert!(minutes.groups > 0 && minutes.groups < before.views["by_minute"].groups);
    assert_eq!(before.views["by_minute"].left_out_before_us, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_events_that_retention_removes_while_an_audit_is_at_work_are_no_differences() {
    let lab = lab_with_events_past_retention().await;
    let ask = |view: Arc<View>, window| {
        let lab = lab.clone();
        async move {
            // After the audit has begun, and before what is left of raw files is read. Again there is nothing to do.
            lab.batch.retain(&Watch::default()).await?;
            answered(lab, view, window).await
        }
        .boxed()
    };
    let during = lab.batch.audit(&Scope::default(), &ask, &Watch::default()).await.unwrap();
    assert!(during.equal, "{}", shown(&during));
    let after = audit_of(&lab, &Scope::default()).await;
    assert_eq!(during.views, after.views, "what is left is audited, and what is not is said to be left out");
    // Where nothing is left, nothing is compared, and that is said too.
    let scope = Scope { to_us: Some(MONDAY_US + 20 * DAY_US), ..Scope::default() };
    let gone = audit_of(&lab, &scope).await;
    assert!(gone.views.values().all(|view| view.cells == 0 && view.left_out_before_us.is_some()), "{}", shown(&gone));
}
