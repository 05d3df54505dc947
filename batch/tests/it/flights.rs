//! Real flights: the sample of `data/flights` in commits, as they became known, audited from the very file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::record_batch::RecordBatch;
use batch::{Outcome, audit};
use common::{
    decode::Decoder,
    event::Record,
    log::files::Rows,
    names::SourceName,
    pipeline::{Pipeline, Source},
    position::Partition,
};

use crate::{audit::answers, lab::Lab};

/// Rows of one commit.
const COMMIT_ROWS: usize = 9_000;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/flights")
}

/// The pipeline of the flights and its sample: views are typed by Polars, off the async runtime.
fn flights() -> (Pipeline, BTreeMap<SourceName, Vec<PathBuf>>) {
    let load = || Pipeline::load(&directory().join("pipeline.toml")).unwrap();
    let pipeline = std::thread::scope(|scope| scope.spawn(load).join().unwrap());
    let file = |name: &SourceName| directory().join(format!("sample/{name}.ndjson.gz"));
    let files = pipeline.sources.keys().map(|name| (name.clone(), vec![file(name)])).collect();
    (pipeline, files)
}

/// The events of a file, a batch a commit.
fn commits(source: &Source, file: &Path) -> Vec<RecordBatch> {
    let mut decoder = Decoder::new(source.rules.clone());
    let rows: Vec<_> = Rows::open(file, &source.rules).unwrap().map(Result::unwrap).collect();
    let decoded = rows.chunks(COMMIT_ROWS).map(|rows| {
        let records = rows.iter().map(|row| Record {
            topic: source.name.as_str().into(),
            partition: Partition(0),
            offset: row.number,
            timestamp_us: row.event_time_us.unwrap(),
            key: None,
            headers: Vec::new(),
            value: Some(row.value.clone()),
        });
        let decoded = decoder.decode(&records.collect());
        assert!(decoded.dead_letters.is_empty(), "{:?}", decoded.dead_letters[0]);
        decoded.events
    });
    decoded.collect()
}

#[tokio::test]
async fn l1_real_flights_advanced_commit_by_commit_are_what_polars_finds_in_the_file() {
    let (pipeline, files) = flights();
    let lab = Lab::of(pipeline);
    for (name, files) in &files {
        for events in commits(&lab.batch.pipeline.sources[name], &files[0]) {
            lab.append(name.as_str(), events).await;
            lab.advance().await;
        }
    }
    let newest = lab.latest().await.unwrap().number;
    assert_eq!(lab.recompute().await.outcome, Outcome::Unchanged { generation: newest });

    let (pipeline, answers) = (Arc::clone(&lab.batch.pipeline), answers(&lab).await);
    let audited = tokio::task::spawn_blocking(move || audit::verify(&pipeline, &files, &answers)).await.unwrap();
    let report = audited.unwrap();
    assert!(report.equal, "{}", serde_json::to_string_pretty(&report).unwrap());
    assert!(report.views.values().all(|view| view.groups > 80), "{report:?}");
}
