//! The audit finds a planted error of one, and nothing on honest data.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array},
    datatypes::Int64Type,
    record_batch::RecordBatch,
};
use batch::{
    Watch,
    audit::{self, Answers, AuditReport, Cell},
};
use common::names::{SourceName, ViewName};
use parquet::arrow::ArrowWriter;
use tempfile::TempPath;

use crate::lab::{DAY_US, HOUR_US, Lab, Row, events, row, source};

/// 600 departures over some days: few groups, ties, nulls, negative values, sums that doubles cannot hold exactly.
fn rows() -> Vec<Row> {
    let row = |n: i64| Row {
        carrier: [Some("UA"), Some("AA"), Some("é"), None][(n % 4) as usize],
        origin: [Some("JFK"), None][(n / 7 % 2) as usize],
        tail: (n % 9 != 0).then_some((n * n % 83) as u16),
        delay: (n % 5 != 0).then_some(n * 37 % 400 - 60),
        fare: (n % 6 != 0).then_some(i128::from(n * 7919 % 90_000 - 10_000)),
        distance: (n % 8 != 0).then_some((n as f64).sqrt() * 0.1 - 1.0),
        cancelled: [Some(true), Some(false), None][(n % 3) as usize],
        ..row(n * 31 % (3 * DAY_US / HOUR_US) * HOUR_US + n)
    };
    (0..600).map(row).collect()
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).unwrap().to_string()
}

fn decimal(units: i128) -> String {
    Cell::number(units, 2).to_string()
}

fn ndjson(rows: &[Row]) -> TempPath {
    let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile().unwrap();
    for r in rows {
        let value = serde_json::json!({
            "carrier": r.carrier, "origin": r.origin, "tail_number": r.tail.map(|t| format!("N{t}")),
            "delay_minutes": r.delay, "fare": r.fare.map(decimal), "distance": r.distance, "cancelled": r.cancelled,
            "departed_at": time(r.departed_at), "seen_at": r.delay.map(|d| time(r.departed_at + d * 60_000_000)),
        });
        writeln!(file, "{value}").unwrap();
    }
    file.into_temp_path()
}

fn csv(rows: &[Row]) -> TempPath {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map(|v| v.to_string()).unwrap_or_default()
    }
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    writeln!(file, "carrier,origin,tail_number,delay_minutes,fare,distance,cancelled,departed_at,seen_at").unwrap();
    for r in rows {
        let seen = r.delay.map(|d| time(r.departed_at + d * 60_000_000));
        let (tail, fare) = (text(r.tail.map(|t| format!("N{t}"))), text(r.fare.map(decimal)));
        let (carrier, origin, delay, cancelled) = (text(r.carrier), text(r.origin), text(r.delay), text(r.cancelled));
        let (distance, departed) = (text(r.distance), time(r.departed_at));
        writeln!(file, "{carrier},{origin},{tail},{delay},{fare},{distance},{cancelled},{departed},{}", text(seen))
            .unwrap();
    }
    file.into_temp_path()
}

fn parquet(lab: &Lab) -> TempPath {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
    let events = events(&lab.batch.pipeline.sources["departures"].rules.schema, &rows(), 0);
    let mut writer = ArrowWriter::try_new(file.as_file(), events.schema(), None).unwrap();
    writer.write(&events).unwrap();
    writer.close().unwrap();
    file.into_temp_path()
}

/// The answers of every view, each as the lab's generation and recompute have it.
pub(crate) async fn answers(lab: &Lab) -> BTreeMap<ViewName, Answers> {
    let partials = lab.batch.recomputed(&Watch::default()).await.unwrap();
    let answers = partials.iter().map(|(name, partial)| {
        let answer = audit::answer(&lab.view(name.as_str()), partial).unwrap();
        (name.clone(), Answers { merged: answer.clone(), recomputed: answer })
    });
    answers.collect()
}

async fn verify(lab: &Lab, file: &TempPath, answers: BTreeMap<ViewName, Answers>) -> AuditReport {
    let pipeline = Arc::clone(&lab.batch.pipeline);
    let raw = BTreeMap::from([(SourceName::new("departures").unwrap(), vec![file.to_path_buf()])]);
    tokio::task::spawn_blocking(move || audit::verify(&pipeline, &raw, &answers)).await.unwrap().unwrap()
}

async fn audited_lab() -> Lab {
    let lab = Lab::new();
    for rows in rows().chunks(100) {
        lab.commit(rows).await;
    }
    lab
}

#[tokio::test]
async fn days_and_months_of_time_zones_are_audited() {
    let lab = audited_lab().await;
    let lab = lab.views(&[
        "CREATE VIEW days AS SELECT date_trunc('day', departed_at, 'America/New_York') AS day, carrier, count(*) AS n, \
         sum(fare) AS fares FROM departures GROUP BY day, carrier",
        "CREATE VIEW months AS SELECT date_trunc('month', departed_at AT TIME ZONE 'Asia/Kolkata') AS month, count(*) AS n \
         FROM departures GROUP BY month",
        "CREATE VIEW local AS SELECT date_trunc('week', departed_at) AS week, hour(departed_at AT TIME ZONE 'America/New_York') \
         AS local_hour, date_trunc('day', seen_at, 'Asia/Kolkata') AS seen, count(*) AS n FROM departures \
         WHERE departed_at AT TIME ZONE 'America/New_York' >= '2013-01-07 06:00:00' GROUP BY week, local_hour, seen",
        "CREATE VIEW hours AS SELECT date_trunc('hour', departed_at, 'Asia/Kathmandu') AS hour, cancelled, count(*) AS n \
         FROM departures GROUP BY hour, cancelled",
    ]);
    let report = verify(&lab, &ndjson(&rows()), answers(&lab).await).await;
    assert!(report.equal, "{}", serde_json::to_string_pretty(&report).unwrap());
    assert!(report.views["days"].groups > 8 && report.views["hours"].groups >= 72 && report.views["local"].groups > 24);
}

#[tokio::test]
async fn honest_data_has_no_difference_in_any_format() {
    let lab = audited_lab().await;
    let answers = answers(&lab).await;
    for file in [ndjson(&rows()), csv(&rows()), parquet(&lab)] {
        let report = verify(&lab, &file, answers.clone()).await;
        assert!(report.equal, "{}", serde_json::to_string_pretty(&report).unwrap());
        let by_hour = &report.views["by_hour"];
        assert_eq!(by_hour.cells, by_hour.groups * 7);
        assert!(by_hour.groups > 100);
        let sketch = &by_hour.sketches["p90_delay"];
        assert!(sketch.cells == by_hour.groups && sketch.relative_error_max <= 0.0101, "{sketch:?}");
    }
}

/// Every kind of measure, over columns of every type, with and without a filter.
const SHAPES: &str = "CREATE VIEW shapes AS SELECT date_trunc('day', departed_at) AS day, carrier,
    count_if(cancelled) AS gone, sum(fare) FILTER (WHERE cancelled) AS fares, avg(seen_at), any_value(origin),
    var_samp(delay_minutes), var_pop(fare), stddev(distance), stddev_pop(delay_minutes), bool_and(cancelled), bool_or(cancelled),
    first(tail_number), last(delay_minutes), first(fare) FILTER (WHERE cancelled) AS first_gone,
    arg_min(tail_number, delay_minutes), arg_max(fare, distance), max_by(origin, tail_number) AS latest_origin,
    approx_distinct(tail_number, 8), hll_sketch(tail_number), approx_percentile(delay_minutes, [0.1, 0.5, 0.99]),
    approx_percentile(fare, 0.5, 0.001), approx_top_k(tail_number, 5), approx_top_k(fare, 3) FILTER (WHERE cancelled) AS top_gone,
    histogram(delay_minutes, [0, 60, 180]), histogram(fare, [0, 99.5]), histogram(distance, [-0.5, 0, 0.25])
    FROM departures GROUP BY day, carrier";

#[tokio::test]
async fn every_kind_of_measure_is_audited() {
    let lab = Lab::with(&[source("departures")], &[SHAPES]);
    for rows in rows().chunks(100) {
        lab.commit(rows).await;
    }
    let answers = answers(&lab).await;
    let report = verify(&lab, &ndjson(&rows()), answers.clone()).await;
    assert!(report.equal, "{}", serde_json::to_string_pretty(&report).unwrap());
    assert_eq!(report.views["shapes"].cells, report.views["shapes"].groups * 25);

    // Without the last event of the file, whatever depends on it is found.
    let report = verify(&lab, &ndjson(&rows()[..599]), answers).await;
    let found: BTreeSet<_> = report.views["shapes"].differing.iter().filter_map(|d| d.measure.as_deref()).collect();
    assert!(["avg_seen_at", "var_samp_delay_minutes", "histogram_fare"].iter().all(|m| found.contains(m)), "{found:?}");
}

#[tokio::test]
async fn a_planted_error_of_one_in_one_cell_is_found() {
    let lab = audited_lab().await;
    let honest = answers(&lab).await;
    let file = ndjson(&rows());
    for (view, measure) in [("by_hour", "departures"), ("by_day", "minutes"), ("by_week", "departures")] {
        let mut planted = honest.clone();
        let answer = planted.get_mut(view).unwrap();
        answer.merged = plus_one(&answer.merged, measure, 0);
        let report = verify(&lab, &file, planted).await;
        assert!(!report.equal);
        assert_eq!(report.views.values().map(|v| v.differences).sum::<u64>(), 1);
        let found = &report.views[view].differing[0];
        assert_eq!(found.measure.as_deref(), Some(measure));
        assert_eq!(found.recomputed, found.exact);
        assert_ne!(found.merged, found.exact);

        // The same error in both layers is found from the raw file alone.
        let mut planted = honest.clone();
        let answer = planted.get_mut(view).unwrap();
        answer.merged = plus_one(&answer.merged, measure, 0);
        answer.recomputed = answer.merged.clone();
        assert_eq!(verify(&lab, &file, planted).await.views[view].differences, 1);
    }
}

#[tokio::test]
async fn groups_that_are_missing_or_too_many_are_found() {
    let lab = audited_lab().await;
    let mut answers = answers(&lab).await;
    let answer = answers.get_mut("by_day").unwrap();
    answer.merged = answer.merged.slice(1, answer.merged.num_rows() - 1);
    let mut without_one_hour = rows();
    let hour = without_one_hour[0].departed_at / HOUR_US;
    without_one_hour.retain(|r| r.departed_at / HOUR_US != hour);
    let report = verify(&lab, &ndjson(&rows()), answers.clone()).await;
    let missing = &report.views["by_day"].differing[0];
    assert_eq!((report.views["by_day"].differences, &missing.measure, &missing.merged), (1, &None, &None));

    let report = verify(&lab, &ndjson(&without_one_hour), answers).await;
    assert!(report.views["by_hour"].differing.iter().all(|d| d.measure.is_none() && d.exact.is_none()));
    assert!(report.views["by_hour"].differences > 0);
}

fn plus_one(answer: &RecordBatch, measure: &str, row: usize) -> RecordBatch {
    let at = answer.schema().index_of(measure).unwrap();
    let values = answer.column(at).as_primitive::<Int64Type>();
    let changed: Int64Array =
        values.iter().enumerate().map(|(n, v)| if n == row { Some(v.unwrap_or(0) + 1) } else { v }).collect();
    let mut columns: Vec<ArrayRef> = answer.columns().to_vec();
    columns[at] = Arc::new(changed);
    RecordBatch::try_new(answer.schema(), columns).unwrap()
}
