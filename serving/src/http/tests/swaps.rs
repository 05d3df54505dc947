//! No answer mixes two generations: two views that must agree are read while generations are swapped without a pause.
//!
//! Both count the events of one partition, of which the n-th commit takes the n-th [`OF_COMMIT`]. So what any answer counts follows
//! from what it says of itself: all events before its positions, or those before or after its mark.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use arrow::{array::AsArray, datatypes::Int64Type};

use super::*;
use crate::{
    query::{self, Query},
    tiers::{Feed, Layer, Tiers},
};

const OF_COMMIT: u64 = 4;
const GENERATIONS: u64 = 16;

/// How often both views are read: from the tables, by the query API, over HTTP, and in one statement of SQL; 100,000 times in all.
const READS: [usize; 4] = [95_400, 4_000, 570, 30];

/// How often they are read between two swaps, where a read is short; longer ones see any number of swaps.
const READS_A_SWAP: usize = 8;

/// Who swaps: after some reads, without a pause, or no more.
const PACED: u8 = 0;
const RESTLESS: u8 = 1;
const DONE: u8 = 2;

/// What is served one after the other: of each commit half of its events, all of them, the commit, and the generation of it.
fn moments() -> Vec<Arc<Tiers>> {
    let mut moments = vec![Tiers::new(&views(), Feed::Silent)];
    for version in 1..=GENERATIONS {
        let (from, to) = ((version - 1) * OF_COMMIT, version * OF_COMMIT);
        let (before, after) = (positions(&[(0, from)]), positions(&[(0, to)]));
        let half = from + OF_COMMIT / 2;
        for change in [
            Change::Delta(delta(0, 1, from, half)),
            Change::Delta(delta(0, 1, half, to)),
            Change::Commit(source(), commit(version, &before, &after)),
            Change::Generation(generation(version, version, &after, &["delays", "totals"])),
        ] {
            let last = moments.last().unwrap().clone();
            moments.push(last.apply(change).unwrap());
        }
    }
    // Before the first generation there is none to mix.
    moments.drain(..=4);
    moments.into_iter().map(Arc::new).collect()
}

/// Shows one moment after the other, the first after the last, as `pace` says.
fn swap(served: &Served, pace: &AtomicU8) {
    for moment in moments().iter().cycle() {
        served.show(Arc::clone(moment));
        match pace.load(Ordering::Relaxed) {
            PACED => thread::park(),
            RESTLESS => thread::yield_now(),
            _ => return,
        }
    }
}

/// What an answer of `layer` with this provenance counts.
#[track_caller]
fn truth(provenance: &Value, layer: Layer) -> i64 {
    assert_eq!(provenance["complete"], true);
    // Generation n is that of commit n.
    assert_eq!(provenance["mark"]["departures"], provenance["generation"], "{provenance}");
    let covered = provenance["generation"].as_i64().unwrap() * OF_COMMIT as i64;
    let reached = provenance["positions"]["departures"]["0"].as_i64().unwrap();
    match layer {
        Layer::Merged => reached,
        Layer::Batch => covered,
        Layer::Live => reached - covered,
    }
}

/// Reads both views of one moment from their tables.
fn read_tables(served: &Served, layer: Layer) {
    let tiers = served.tiers().unwrap();
    let [delays, totals] = [("delays", 3), ("totals", 1)].map(|(view, departures)| {
        let partials = tiers.partials(&testing::name(view), layer).unwrap();
        let counts = partials.iter().map(|partial| partial.column(departures).as_primitive::<Int64Type>());
        counts.flat_map(|counts| counts.values().iter()).sum::<i64>()
    });
    assert_eq!(delays, totals, "{layer:?}");
}

/// Asks both views of one moment.
fn ask(served: &Served, layer: Layer) {
    let tiers = served.tiers().unwrap();
    let [delays, totals] = ["delays", "totals"].map(|view| {
        let measures = Some(vec!["departures".to_owned()]);
        let query = Query { view: view.to_owned(), measures, layer, ..Query::default() };
        let answer = query::answer(served, &tiers, &query, &CancellationToken::new()).unwrap();
        serde_json::to_value(&answer).unwrap()
    });
    check(&delays, layer);
    check(&totals, layer);
    assert_eq!((&delays["rows"], &delays["provenance"]), (&totals["rows"], &totals["provenance"]));
}

#[track_caller]
fn check(answer: &Value, layer: Layer) {
    let truth = truth(&answer["provenance"], layer);
    for count in answer["rows"][0].as_array().map_or(&[json!(0)][..], Vec::as_slice) {
        assert_eq!(*count, truth, "{layer:?}, {answer}");
    }
}

async fn ask_over_http(app: &Router, layer: Layer) {
    let layer_name = serde_json::to_value(layer).unwrap();
    for view in ["delays", "totals"] {
        let path = format!("/v1/views/{view}?measures=departures&layer={}", layer_name.as_str().unwrap());
        check(&json_of(send(app.clone(), get_of(&path)).await).await, layer);
    }
}

async fn ask_in_one_statement(app: &Router) {
    let sql = "WITH by_day AS (SELECT date_trunc('day', hour) AS day, MEASURE(departures) AS n FROM delays GROUP BY 1) \
               SELECT sum(by_day.n) AS delays, sum(t.departures) AS totals FROM totals t JOIN by_day ON t.hour = by_day.day";
    let statement = post("/v1/sql", "application/json", json!({"sql": sql}).to_string());
    let answer = json_of(send(app.clone(), statement).await).await;
    assert_eq!(answer["rows"][0].as_array().unwrap().len(), 2, "{answer}");
    check(&answer, Layer::Merged);
}

#[tokio::test]
async fn l4_l6_two_views_agree_each_of_100_000_times_that_they_are_read_while_generations_are_swapped() {
    let served = Arc::new(Served::new(views_by_name()));
    served.show(Arc::clone(&moments()[0]));
    let app = router(Arc::clone(&served), Telemetry::new());
    let pace = Arc::new(AtomicU8::new(PACED));
    let swapping = {
        let (served, pace) = (Arc::clone(&served), Arc::clone(&pace));
        thread::spawn(move || swap(&served, &pace))
    };
    let [tables, queries, requests, statements] = READS;
    for read in 0..READS.iter().sum() {
        if read == tables + queries {
            pace.store(RESTLESS, Ordering::Relaxed);
        }
        if read.is_multiple_of(READS_A_SWAP) {
            swapping.thread().unpark();
        }
        let layer = [Layer::Merged, Layer::Batch, Layer::Live][read % 3];
        match read {
            read if read < tables => read_tables(&served, layer),
            read if read < tables + queries => ask(&served, layer),
            read if read < tables + queries + requests => ask_over_http(&app, layer).await,
            _ => ask_in_one_statement(&app).await,
        }
    }
    assert_eq!(tables + queries + requests + statements, 100_000);
    pace.store(DONE, Ordering::Relaxed);
    swapping.thread().unpark();
    swapping.join().unwrap();
}
