//! Keeping: loads and compactions, killed anywhere and run again.

use std::{
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use arrow::array::RecordBatch;
use batch::{
    Error, Request, Scope, Watch,
    maintain::load::{File, Loaded, Loader},
    stored::TaskKind,
};
use common::{
    dataset::LOADS_FROM,
    dead_letter,
    event::Counts,
    history::History,
    testing::store::{Fault, Operation},
};
use tokio_util::sync::CancellationToken;

use crate::lab::{At, DAY_US, Gate, HOUR_US, Lab, MONDAY_US, Row, row};

/// A file of `rows` departures, one an hour, the carrier by the row's number; every seventh row is no event.
fn file(rows: u64) -> (tempfile::TempDir, File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.ndjson");
    let mut out = std::fs::File::create(&path).unwrap();
    for number in 0..rows {
        let at = jiff::Timestamp::from_microsecond(MONDAY_US + number as i64 * HOUR_US).unwrap();
        if number % 7 == 6 {
            writeln!(out, "row {number} is no JSON").unwrap();
        } else {
            let carrier = ["UA", "B6", "AA"][number as usize % 3];
            writeln!(out, r#"{{"departed_at":"{at}","carrier":"{carrier}","delay_minutes":{number}}}"#).unwrap();
        }
    }
    let identity = "history".to_owned();
    (folder, File { path, name: "history.ndjson".to_owned(), identity, timestamp_us: MONDAY_US })
}

async fn loader(lab: &Lab, commit_bytes: u64) -> Loader {
    let source = &lab.batch.pipeline.sources["departures"];
    Loader {
        source: source.name.clone(),
        rules: source.rules.clone(),
        dataset: lab.dataset("departures").await,
        store: lab.batch.store.clone(),
        commit_bytes,
    }
}

async fn load(lab: &Lab, file: &File) -> Loaded {
    loader(lab, 1_000).await.load(file, &|_| (), &CancellationToken::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_file_is_loaded_once_however_often_its_load_is_killed() {
    let (_folder, file) = file(100);
    let whole = Lab::new();
    let loaded = load(&whole, &file).await;
    assert_eq!(loaded.counts, Counts { events: 86, dead_letters: 14, tombstones: 0 });
    assert!(loaded.commits > 4, "{loaded:?}");
    assert_eq!(load(&whole, &file).await, Loaded { before: 100, ..Loaded::default() });

    let killed = Lab::new();
    let mut kills = 0;
    loop {
        let (loader, cancel, told) = (loader(&killed, 1_000).await, CancellationToken::new(), AtomicU64::new(0));
        // Told where it starts, and then after each commit: the first one ends it.
        let progress = |_| {
            if told.fetch_add(1, Ordering::Relaxed) == 1 {
                cancel.cancel();
            }
        };
        match loader.load(&file, &progress, &cancel).await {
            Err(Error::Cancelled) => kills += 1,
            ended => break assert_eq!(ended.unwrap().before, 100),
        }
    }
    assert!(kills > 4, "{kills}");
    let positions = killed.dataset("departures").await.snapshot().await.unwrap();
    assert_eq!((positions.totals, positions.positions[&LOADS_FROM].0), (loaded.counts, 100));

    // L1: how it was cut does not matter, and neither does whether it is advanced or recomputed.
    whole.advance().await;
    killed.recompute().await;
    let (whole, killed) = (whole.latest().await.unwrap(), killed.latest().await.unwrap());
    assert_eq!(whole.views, killed.views);
    assert!(whole.views.values().all(|files| !files.chunks.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_two_loads_of_one_file_at_once_load_it_once_beside_a_live_partition() {
    let (_folder, file) = file(200);
    let lab = Lab::new();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (lab, file) = (lab.clone(), file.clone());
        running.spawn(async move { load(&lab, &file).await });
    }
    for number in 0..10 {
        lab.commit(&[row(number * HOUR_US)]).await;
    }
    let both = running.join_all().await;
    let events: u64 = both.iter().map(|loaded| loaded.counts.events).sum();
    assert_eq!(events, 172, "{both:?}");
    let head = lab.dataset("departures").await.snapshot().await.unwrap();
    assert_eq!(head.totals, Counts { events: 182, dead_letters: 28, tombstones: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_rows_that_are_no_events_are_letters_with_file_and_row() {
    let (_folder, file) = file(20);
    let lab = Lab::new();
    load(&lab, &file).await;
    let positions = lab.dataset("departures").await.snapshot().await.unwrap().positions;
    let source = &lab.batch.pipeline.sources["departures"].name;
    let letters = dead_letter::read(&lab.batch.store, source, &positions, 10).await.unwrap();
    let places: Vec<_> = letters.iter().map(|letter| letter.record.headers.clone()).collect();
    let header = |name: &str, value: &'static str| (name.to_owned(), value.into());
    assert_eq!(
        places,
        [["history.ndjson", "7"], ["history.ndjson", "14"]].map(|[f, r]| vec![header("file", f), header("row", r)])
    );
    assert_eq!(letters[0].record.value.as_deref(), Some(b"row 6 is no JSON".as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_is_loaded_up_to_there_and_named() {
    let (folder, mut file) = file(30);
    let packed = folder.path().join("history.ndjson.zst");
    let bytes = zstd::encode_all(std::fs::File::open(&file.path).unwrap(), 1).unwrap();
    std::fs::write(&packed, &bytes[..bytes.len() - 4]).unwrap();
    file.path = packed;
    let lab = Lab::new();
    let failed = loader(&lab, 1 << 20).await.load(&file, &|_| (), &CancellationToken::new()).await.unwrap_err();
    assert!(failed.to_string().contains("history.ndjson.zst"), "{failed}");
    let missing = File { path: folder.path().join("no.csv"), ..file };
    let failed = loader(&lab, 1 << 20).await.load(&missing, &|_| (), &CancellationToken::new()).await.unwrap_err();
    assert!(failed.to_string().contains("no.csv could not be opened"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_compaction_changes_no_generation_and_no_segment() {
    let lab = Lab::new();
    for number in 0..12 {
        lab.commit(&[row(number * 4 * HOUR_US), row(number * 4 * HOUR_US + 1)]).await;
        if number == 7 {
            lab.advance().await;
        }
    }
    let before = lab.dataset("departures").await.snapshot().await.unwrap();
    let done = lab.batch.compact(2, &Watch::default()).await.unwrap().into_values().next().unwrap();
    assert_eq!((done.files_before, done.files_after, done.events), (12, 2, 24));
    let again = lab.batch.compact(2, &Watch::default()).await.unwrap().into_values().next().unwrap();
    assert_eq!(again, Default::default());
    let dataset = lab.dataset("departures").await;
    let after = dataset.snapshot().await.unwrap();
    assert_eq!((&after.positions, after.totals), (&before.positions, before.totals));
    // Commits after the mark are advanced from events that lie elsewhere now, even once the old files are gone.
    assert_eq!(dataset.vacuum(i64::MAX, &Default::default()).await.unwrap().len(), 12);
    lab.advance().await;
    let advanced = lab.latest().await.unwrap();
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap(), advanced, "a recompute of compacted files comes to the same bytes");
    let undisturbed = Lab::new();
    for number in 0..12 {
        undisturbed.commit(&[row(number * 4 * HOUR_US), row(number * 4 * HOUR_US + 1)]).await;
    }
    undisturbed.advance().await;
    assert_eq!(undisturbed.latest().await.unwrap().views, advanced.views);
}

/// Twelve departures of two carriers over three days, in four commits.
fn departures() -> Vec<Vec<Row>> {
    let of = |number: i64| Row {
        carrier: Some(if number % 3 == 0 { "UA" } else { "B6" }),
        tail: Some(number as u16),
        ..row(number * DAY_US / 4)
    };
    (0..4).map(|commit| (0..3).map(|number| of(commit * 3 + number)).collect()).collect()
}

/// A store with these commits, a generation in the middle, and dead letters that name both carriers.
async fn lived_in(commits: &[Vec<Row>]) -> Lab {
    let lab = Lab::new();
    let (_folder, mut file) = file(0);
    std::fs::write(&file.path, "{\"carrier\":\"UA\"}\n{\"carrier\":\"B6\"}\n").unwrap();
    file.identity = "letters".to_owned();
    for (number, rows) in commits.iter().enumerate() {
        lab.commit(rows).await;
        if number == 1 {
            lab.advance().await;
            load(&lab, &file).await;
        }
    }
    lab
}

async fn erase(lab: &Lab, condition: &str) -> Result<batch::maintain::erase::Receipt, Error> {
    let source = &lab.batch.pipeline.sources["departures"];
    lab.batch.erase(source, condition, &Watch::default()).await.map(|(receipt, _)| receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_what_was_erased_is_as_if_it_had_never_been() {
    let lab = lived_in(&departures()).await;
    let before = lab.dataset("departures").await.snapshot().await.unwrap();
    let receipt = erase(&lab, "carrier = 'UA'").await.unwrap();
    assert_eq!(receipt.rewritten.iter().map(|file| file.erased).sum::<u64>(), 4);
    assert_eq!((receipt.scan.events, receipt.scan.dead_letters, receipt.scan.found), (8, 1, 0));
    assert_eq!(receipt.dead_letters.values().sum::<u64>(), 1);
    assert_eq!((receipt.generation, receipt.generations_removed), (Some(2), 1));
    assert!(receipt.data_files_removed.len() >= receipt.rewritten.len() && receipt.chunks_removed > 0);

    let after = lab.dataset("departures").await.snapshot().await.unwrap();
    assert_eq!(
        (&after.positions, after.totals),
        (&before.positions, before.totals),
        "it does not come back from the log"
    );
    let never: Vec<Vec<Row>> = departures();
    let never: Vec<Vec<Row>> =
        never.into_iter().map(|rows| rows.into_iter().filter(|row| row.carrier != Some("UA")).collect()).collect();
    // Offsets differ, which no view here asks for.
    let other = Lab::new();
    for rows in &never {
        other.commit(rows).await;
    }
    other.advance().await;
    assert_eq!(lab.latest().await.unwrap().views, other.latest().await.unwrap().views);
    // The receipt does not say whom it was about.
    for path in lab.batch.store.list(&Default::default()).await.unwrap() {
        let bytes = lab.batch.store.get(&path).await.unwrap().unwrap();
        assert!(!bytes.windows(3).any(|three| three == b"'UA"), "{path}");
    }
    // Again, there is nothing to do; and what comes in later is not touched by what was.
    let again = erase(&lab, "carrier = 'UA'").await.unwrap();
    assert_eq!((again.rewritten.len(), again.dead_letters.len(), again.scan.found), (0, 0, 0));
    lab.commit(&[row(0)]).await;
    lab.advance().await;
    lab.recompute().await;
    assert_eq!(erase(&lab, "carrier = 'UA'").await.unwrap().rewritten.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_a_run_that_was_at_work_while_events_were_erased_does_not_bring_them_back() {
    let lab = lived_in(&departures()).await;
    let gate = Gate::new(At::Manifest);
    let late = lab.behind(&gate);
    let running = tokio::spawn(async move { late.advance(&Watch::default()).await });
    gate.stopped().await;
    erase(&lab, "carrier = 'UA'").await.unwrap();
    gate.open();
    running.await.unwrap().unwrap();
    let last = lab.latest().await.unwrap();
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, last.views);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_is_none_is_refused_before_anything_is_touched() {
    let lab = lived_in(&departures()).await;
    for (condition, said) in [("carier = 'UA'", "did you mean `carrier`"), ("delay_minutes", "not a condition")] {
        let refused = erase(&lab, condition).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_vacuum_takes_what_nothing_names_and_no_answer_changes() {
    let lab = Lab::new();
    for rows in departures() {
        lab.commit(&rows).await;
        lab.advance().await;
    }
    lab.batch.compact(2, &Watch::default()).await.unwrap();
    let last = lab.latest().await.unwrap();
    // The store's clock is the machine's, and the runs' stands still long before it.
    let none = lab.batch.vacuum(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(none, Default::default());
    let batch = lab.by_the_clock().batch;
    assert_eq!(batch.vacuum(std::time::Duration::from_secs(3_600)).await.unwrap(), Default::default());
    let done = batch.vacuum(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(done.generations, 3);
    assert!(done.data_files > 1 && done.chunks > 3 && done.segments > 3, "{done:?}");
    assert_eq!(lab.latest().await.unwrap(), last);
    for view in last.views.keys() {
        assert!(groups(&lab, view.as_str()).await.num_rows() > 0, "all chunks of {view} can be read");
    }
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, last.views);
}

/// The same store with the source's raw events kept for so many hours; the clock stands at Monday.
fn keeping(lab: &Lab, hours: i64) -> Lab {
    let mut pipeline = (*lab.batch.pipeline).clone();
    let source = pipeline.sources.values_mut().next().unwrap();
    source.keep = Some(jiff::SignedDuration::from_hours(hours));
    lab.with_pipeline(pipeline)
}

/// Departures of the eight days before Monday, and of Monday, a commit a day.
async fn week(lab: &Lab) {
    for day in -8..=0 {
        lab.commit(&[row(day * DAY_US), Row { carrier: Some("B6"), ..row(day * DAY_US + HOUR_US) }]).await;
    }
}

async fn retain(lab: &Lab) -> batch::maintain::retain::Retained {
    lab.batch.retain(&Watch::default()).await.unwrap().into_values().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_raw_events_go_only_once_a_generation_covers_them_with_every_view() {
    let lab = keeping(&Lab::new(), 48);
    week(&lab).await;
    let waiting = retain(&lab).await;
    assert_eq!(
        (waiting.before.as_deref(), waiting.files_removed, waiting.files_not_covered),
        (Some("2013-01-05"), 0, 6)
    );
    lab.advance().await;
    // A view that is not computed yet needs the raw events.
    let more = lab.views(&[
        "CREATE VIEW later AS SELECT date_trunc('day', departed_at) AS day, count(*) AS n FROM departures GROUP BY day",
    ]);
    assert_eq!(retain(&more).await.files_removed, 0);
    // An event that came after the mark is not covered, however old it is.
    lab.commit(&[row(-7 * DAY_US)]).await;
    let done = retain(&lab).await;
    assert_eq!((done.files_removed, done.events_removed, done.files_not_covered), (6, 12, 1));
    lab.advance().await;
    assert_eq!(retain(&lab).await.files_removed, 1);
    assert_eq!(retain(&lab).await.files_removed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_views_keep_their_history_after_raw_events_are_gone() {
    let whole = Lab::new();
    week(&whole).await;
    whole.commit(&[row(-6 * DAY_US)]).await;
    whole.advance().await;

    let lab = keeping(&Lab::new(), 48);
    week(&lab).await;
    lab.advance().await;
    assert_eq!(retain(&lab).await.files_removed, 6);
    lab.dataset("departures").await.vacuum(i64::MAX, &Default::default()).await.unwrap();
    lab.commit(&[row(-6 * DAY_US)]).await;
    lab.advance().await;
    let advanced = lab.latest().await.unwrap();
    assert_eq!(advanced.views, whole.latest().await.unwrap().views);
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap(), advanced, "from archives and raw events, to the same bytes");
    // Again, with a second archive.
    retain(&lab).await;
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, advanced.views);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_retention_that_fails_anywhere_has_removed_all_or_nothing() {
    let tries = u64::from(common::limits::STORE_ATTEMPTS_MAX);
    for put in 0.. {
        let lab = keeping(&Lab::new(), 48);
        week(&lab).await;
        lab.advance().await;
        let before = lab.latest().await.unwrap();
        let (objects, faulty) = lab.faulty();
        (0..tries).for_each(|attempt| objects.fail(Operation::Put, put + attempt, Fault::Refused));
        let failed = faulty.retain(&Watch::default()).await.is_err();
        lab.recompute().await;
        assert_eq!(lab.latest().await.unwrap().views, before.views, "put {put}");
        retain(&lab).await;
        lab.recompute().await;
        assert_eq!(lab.latest().await.unwrap().views, before.views, "put {put}, again");
        if !failed {
            assert_eq!(put, 5, "an archive of four views, and the commit");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_a_long_history_goes_piece_by_piece_and_comes_to_the_same() {
    let lab = keeping(&Lab::new(), 48);
    // A file a date: more than one archive is made of.
    lab.commit(&(-130..=0).map(|day| row(day * DAY_US)).collect::<Vec<_>>()).await;
    lab.advance().await;
    let before = lab.latest().await.unwrap();
    assert_eq!(retain(&lab).await.files_removed, 128);
    let head = lab.dataset("departures").await.snapshot().await.unwrap();
    assert_eq!(head.archives.len(), 2, "of 64 files each");
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, before.views);
}

/// The same store with the history of the view by hour kept for so many hours; the clock stands at Monday.
fn ageing(lab: &Lab, hours: i64, roll_up: Option<&str>) -> Lab {
    let mut pipeline = (*lab.batch.pipeline).clone();
    let (keep, roll_up) = (jiff::SignedDuration::from_hours(hours), roll_up.map(str::to_owned));
    pipeline.histories.insert(common::names::ViewName::new("by_hour").unwrap(), History { keep, roll_up });
    lab.with_pipeline(pipeline)
}

/// All groups of a view in the newest generation.
async fn groups(lab: &Lab, view: &str) -> RecordBatch {
    let (view, newest) = (lab.view(view), lab.latest().await.unwrap());
    let mut chunks = Vec::new();
    for chunk in &newest.views[&view.name].chunks {
        chunks.push(common::generation::read_chunk(&lab.batch.store, &view, chunk).await.unwrap());
    }
    common::partial::merge(&view, &chunks).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l8_history_is_rolled_up_in_a_generation_and_stays_so_late_events_included() {
    // Months are made of chunks of weeks: theirs is the one that they begin in.
    for roll_up in [Some("day"), Some("month"), None] {
        let (whole, lab) = (Lab::new(), ageing(&Lab::new(), 48, roll_up));
        for lab in [&whole, &lab] {
            week(lab).await;
            lab.commit(&(-8..=0).map(|day| row(day * DAY_US + 3 * HOUR_US)).collect::<Vec<_>>()).await;
        }
        assert!(lab.batch.age_views(&Watch::default()).await.unwrap().is_empty(), "no generation covers it yet");
        lab.advance().await;
        let fine = lab.latest().await.unwrap();
        let aged = lab.batch.age_views(&Watch::default()).await.unwrap().into_values().next().unwrap();
        assert!(aged.rows < aged.rows_before, "{aged:?}");
        let rolled = lab.latest().await.unwrap();
        assert_eq!((rolled.number, &rolled.marks), (2, &fine.marks));
        let others = |generation: &common::generation::Generation| {
            let mut views = generation.views.clone();
            views.remove("by_hour").map(|_| views).unwrap()
        };
        assert_eq!(others(&rolled), others(&fine), "other views stay as they are");
        // Nothing is left to do, until time goes on.
        lab.batch.age_views(&Watch::default()).await.unwrap();
        assert_eq!(lab.latest().await.unwrap(), rolled);

        let late = [row(-7 * DAY_US + 5 * HOUR_US), Row { carrier: Some("B6"), ..row(-7 * DAY_US) }, row(HOUR_US)];
        for lab in [&whole, &lab] {
            lab.commit(&late).await;
            lab.advance().await;
        }
        let kept = lab.latest().await.unwrap().views["by_hour"].kept.clone();
        let view = lab.view("by_hour");
        let expected = kept.apply(&view, groups(&whole, "by_hour").await).unwrap();
        assert_eq!(groups(&lab, "by_hour").await, expected, "{roll_up:?}, advanced");
        // From raw events to the same bytes, in one process, as tasks, and of a part of the time.
        let advanced = lab.latest().await.unwrap();
        lab.recompute().await;
        assert_eq!(lab.latest().await.unwrap().views, advanced.views, "{roll_up:?}, recomputed");
        let from_us = Some(MONDAY_US - 7 * DAY_US + HOUR_US);
        let first_of_month = Some(MONDAY_US - 37 * DAY_US);
        let of = |from_us: Option<i64>| Scope { from_us, to_us: from_us.map(|us| us + HOUR_US), ..Scope::default() };
        for scope in [Scope::default(), of(from_us), of(first_of_month)] {
            let stored = lab.batch.store_run(&Request::Recompute(scope.clone()), 1).await.unwrap();
            for index in stored.left(TaskKind::Map).await.unwrap() {
                stored.map(index, 1 << 20).await.unwrap();
            }
            for index in stored.left(TaskKind::Reduce).await.unwrap() {
                stored.reduce(index, 1 << 20).await.unwrap();
            }
            stored.publish(&Watch::default()).await.unwrap();
            assert_eq!(lab.latest().await.unwrap().views, advanced.views, "{roll_up:?}, {scope:?}");
        }
        // Two days later more is rolled up.
        let later = lab.at(MONDAY_US + 2 * DAY_US);
        later.batch.age_views(&Watch::default()).await.unwrap();
        let kept = later.latest().await.unwrap().views["by_hour"].kept.clone();
        let expected = kept.apply(&view, groups(&whole, "by_hour").await).unwrap();
        assert!(
            (kept.whole_from_us() == MONDAY_US || roll_up == Some("month"))
                && groups(&later, "by_hour").await == expected,
            "{kept:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_a_run_whose_files_are_erased_while_it_reads_them_starts_anew() {
    let lab = lived_in(&departures()).await;
    let head = lab.dataset("departures").await;
    let files = head.files(head.snapshot().await.unwrap().version).await.unwrap();
    let (objects, batch) = lab.faulty();
    let held: Vec<_> = files.iter().map(|file| objects.hold(&file.path)).collect();
    let running = tokio::spawn(async move { batch.recompute(&Watch::default()).await });
    held[0].reached().await;
    erase(&lab, "carrier = 'UA'").await.unwrap();
    held.iter().for_each(common::testing::store::Held::let_go);
    running.await.unwrap().unwrap();
    let last = lab.latest().await.unwrap();
    lab.recompute().await;
    assert_eq!(lab.latest().await.unwrap().views, last.views);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_the_store_is_told_that_an_erasure_removed_it_and_leaves_nothing_behind() {
    let lab = lived_in(&departures()).await;
    let request = Request::Recompute(Scope::default());
    let stored = lab.batch.store_run(&request, 1).await.unwrap();
    stored.map(0, 1 << 20).await.unwrap();
    // One task is at work while everything else goes.
    let (objects, batch) = lab.faulty();
    let late = batch.stored(stored.id()).await.unwrap();
    let batch::stored::InputSpec::Files(files) = &late.spec().map[1].input else { panic!("a recompute reads files") };
    let held = objects.hold(&files[0].file().path);
    let at_work = tokio::spawn(async move { late.map(1, 1 << 20).await });
    held.reached().await;
    erase(&lab, "carrier = 'UA'").await.unwrap();
    held.let_go();
    assert!(matches!(at_work.await.unwrap(), Err(Error::Removed { .. })));
    let told = stored.map(2, 1 << 20).await.unwrap_err().to_string();
    assert!(told.contains("events were erased") && told.contains("plan it anew"), "{told}");
    assert!(matches!(stored.publish(&Watch::default()).await, Err(Error::Removed { .. })));
    assert_eq!(lab.batch.store.list(&"runs".into()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_are_rewritten_in_one_commit_by_operations_that_grow_with_their_number_alone() {
    const FILES: u64 = 40;
    for erases in [true, false] {
        let lab = Lab::new();
        for number in 0..FILES as i64 {
            let at = number / 2 * DAY_US + number * HOUR_US / 2;
            lab.commit(&[row(at), Row { carrier: Some("B6"), ..row(at) }]).await;
        }
        let (objects, batch) = lab.faulty();
        let before = lab.dataset("departures").await.snapshot().await.unwrap().version;
        if erases {
            let source = &batch.pipeline.sources["departures"];
            let (receipt, _) = batch.erase(source, "carrier = 'UA'", &Watch::default()).await.unwrap();
            assert_eq!((receipt.rewritten.len() as u64, receipt.scan.files), (FILES, FILES));
        } else {
            let done = batch.compact(2, &Watch::default()).await.unwrap().into_values().next().unwrap();
            assert_eq!((done.files_before, done.events), (FILES, 2 * FILES));
        }
        let after = lab.dataset("departures").await.snapshot().await.unwrap().version;
        assert_eq!(after.0 - before.0, 1, "{FILES} files are replaced by one commit");
        // An erasure reads each file three times (it counts, rewrites, scans). The rest is looks at the log, as many for any
        // number of files, each of which reads all entries since the last checkpoint.
        let (puts, gets) = (objects.begun(Operation::Put), objects.begun(Operation::Get));
        let lists = objects.begun(Operation::List);
        assert!(puts <= FILES + 4 && gets <= 3 * FILES + 14 * FILES && lists <= 20, "{puts} {gets} {lists}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_an_erasure_that_fails_anywhere_is_gone_on_with_and_loses_nothing_else() {
    let kept = |lab: &Lab| {
        let lab = lab.clone();
        async move {
            lab.recompute().await;
            (lab.latest().await.unwrap().views, lab.dataset("departures").await.snapshot().await.unwrap().positions)
        }
    };
    let whole = Lab::new();
    for rows in departures() {
        whole.commit(&rows).await;
    }
    erase(&whole, "carrier = 'UA'").await.unwrap();
    let expected = kept(&whole).await;
    for put in 0.. {
        let lab = Lab::new();
        for rows in departures() {
            lab.commit(&rows).await;
        }
        let before = lab.dataset("departures").await.snapshot().await.unwrap();
        let (objects, faulty) = lab.faulty();
        // This put fails for good, and those that are on their way beside it.
        let tries = u64::from(common::limits::STORE_ATTEMPTS_MAX) * lab.batch.engine.in_flight() as u64;
        (put..put + tries).for_each(|put| objects.fail(Operation::Put, put, Fault::Refused));
        let source = &lab.batch.pipeline.sources["departures"];
        let failed = faulty.erase(source, "carrier = 'UA'", &Watch::default()).await.is_err();
        let receipt = erase(&lab, "carrier = 'UA'").await.unwrap();
        assert_eq!((receipt.scan.found, receipt.scan.events), (0, 8), "put {put}");
        assert_eq!(kept(&lab).await, expected, "put {put}");
        assert_eq!(lab.dataset("departures").await.snapshot().await.unwrap().totals, before.totals);
        if !failed {
            assert!(put >= 5, "four files and the commit, at least");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_an_erasure_and_compactions_at_once_erase_all_of_it_and_nothing_else() {
    let lab = Lab::new();
    for number in 0..16 {
        lab.commit(&[row(number * 4 * HOUR_US), Row { carrier: Some("B6"), ..row(number * 4 * HOUR_US) }]).await;
    }
    let compacting = {
        let lab = lab.clone();
        tokio::spawn(async move {
            for _ in 0..4 {
                lab.batch.compact(2, &Watch::default()).await.unwrap();
            }
        })
    };
    let receipt = erase(&lab, "carrier = 'UA'").await.unwrap();
    compacting.await.unwrap();
    assert_eq!((receipt.scan.found, receipt.scan.events), (0, 16));
    let again = erase(&lab, "carrier = 'UA'").await.unwrap();
    assert_eq!((again.rewritten.len(), again.scan.events), (0, 16), "a compaction does not bring them back");
}
