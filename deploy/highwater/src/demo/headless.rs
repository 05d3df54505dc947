//! The demo without a page: replays everything while all layers run, then compares every view as the layers answer it
//! together with a recompute from raw files and with totals that Polars computes from the file that was replayed.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use batch::{
    Watch,
    audit::{self, Answers, AuditReport},
};
use common::{
    dataset::Dataset,
    event::Counts,
    names::{SourceName, ViewName},
    pipeline::Pipeline,
    position::{Positions, Version},
};
use serde::Serialize;
use serving::tiers::{Layer, Tiers};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Files, answers, client, replay_all};
use crate::{
    house,
    output::say,
    replay::{Rate, Replayed},
    run::{Roles, Running},
};

/// What the run found.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing differs anywhere.
    equal: bool,
    sources: BTreeMap<SourceName, SourceReport>,
    /// What the merged answers that were compared were made of.
    merged_from: MergedFrom,
    /// Whether the answers of the generation that a recompute published are those that the layers together gave before it.
    generation_equals_merged: bool,
    /// Merged layers, recompute and Polars, compared cell by cell.
    audit: AuditReport,
}

/// One source, from the file to the commits.
#[derive(Debug, Serialize)]
struct SourceReport {
    /// Rows of the file, each appended to the log once.
    rows: u64,
    /// Of these, rows that an earlier run of this demo had appended.
    rows_before: u64,
    /// What became of the records, as the commits say.
    #[serde(flatten)]
    counts: Counts,
    /// Dataset versions.
    head: Version,
    /// Whether the records in the commits are the rows of the file (L7).
    every_row_accounted_for: bool,
}

/// The parts of the merged answers.
#[derive(Debug, Serialize)]
struct MergedFrom {
    generation: Option<u64>,
    heads: BTreeMap<SourceName, Version>,
}

/// Runs to the end and prints the report.
pub(super) async fn run(
    pipeline: Arc<Pipeline>,
    files: Files,
    rate: Rate,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let running = Running::start(Arc::clone(&pipeline), Roles::ALL, stop.clone()).await?;
    let client = client(&running, &pipeline)?;
    let replayed = replay_all(&client, &pipeline.sources, &files, rate, &stop).await?;
    ensure!(!stop.is_cancelled(), "stopped before the end");
    info!("all rows are in the log");
    let report = compare(&running, &pipeline, &files, &replayed).await?;
    running.stop().await?;
    say!("{}", serde_json::to_string_pretty(&report)?)?;
    Ok(if report.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn compare(
    running: &Running,
    pipeline: &Arc<Pipeline>,
    files: &Files,
    replayed: &BTreeMap<SourceName, Replayed>,
) -> anyhow::Result<Report> {
    let ends = ends(running).await?;
    let live = running.served.wait_until(|tiers| reached(tiers, &ends)).await;
    let merged = whole_answers(running, pipeline, &live, Layer::Merged).await?;
    for (source, worker) in &running.workers {
        worker.flush_to(&ends[source]).await?;
    }
    info!("everything is committed");
    let sources = account(pipeline, replayed).await?;

    let published = running.batch.recompute(&Watch::default()).await?.outcome.generation();
    let swapped = running.served.wait_until(|tiers| tiers.generation().is_some_and(|g| g.number >= published)).await;
    let from_generation = whole_answers(running, pipeline, &swapped, Layer::Batch).await?;
    let generation_equals_merged = from_generation == merged;

    let recomputed = running.batch.recomputed(&Watch::default()).await?;
    let (of, raw) = (Arc::clone(pipeline), files.iter().map(|(s, f)| (s.clone(), vec![f.clone()])).collect());
    let audit = blocking(move || {
        let mut answers = BTreeMap::new();
        for (name, merged) in merged {
            let recomputed = audit::answer(&of.views[&name], &recomputed[&name])?;
            answers.insert(name, Answers { merged, recomputed });
        }
        Ok(audit::verify(&of, &raw, &answers)?)
    })
    .await?;

    let accounted = sources.values().all(|s| s.every_row_accounted_for);
    Ok(Report {
        equal: audit.equal && generation_equals_merged && accounted,
        sources,
        merged_from: MergedFrom {
            generation: live.generation().map(|g| g.number),
            heads: live.sources().map(|(name, tiers)| (name.clone(), tiers.head())).collect(),
        },
        generation_equals_merged,
        audit,
    })
}

/// Where each log ends now.
async fn ends(running: &Running) -> anyhow::Result<BTreeMap<SourceName, Positions>> {
    let mut ends = BTreeMap::new();
    for (source, log) in &running.logs {
        let mut positions = Positions::new();
        for partition in log.partitions().await? {
            positions.insert(partition, log.bounds(partition).await?.to);
        }
        ends.insert(source.clone(), positions);
    }
    Ok(ends)
}

/// Whether answers see everything before `ends`.
fn reached(tiers: &Tiers, ends: &BTreeMap<SourceName, Positions>) -> bool {
    tiers.sources().all(|(source, of_source)| {
        let reach = of_source.reach();
        ends[source].iter().all(|(partition, end)| end.0 == 0 || reach.get(partition).is_some_and(|at| at >= end))
    })
}

async fn whole_answers(
    running: &Running,
    pipeline: &Pipeline,
    tiers: &Arc<Tiers>,
    layer: Layer,
) -> anyhow::Result<BTreeMap<ViewName, RecordBatch>> {
    let (served, tiers, views) = (Arc::clone(&running.served), Arc::clone(tiers), pipeline.views.clone());
    let whole = move || {
        let answers = views.values().map(|view| Ok((view.name.clone(), answers::whole(&served, &tiers, view, layer)?)));
        answers.collect()
    };
    blocking(whole).await
}

/// What the commits of each source say of its records.
async fn account(
    pipeline: &Pipeline,
    replayed: &BTreeMap<SourceName, Replayed>,
) -> anyhow::Result<BTreeMap<SourceName, SourceReport>> {
    let store = house::store(pipeline)?;
    let mut sources = BTreeMap::new();
    for (source, dataset) in house::datasets(pipeline, &store).await? {
        let (head, counts) = counts(&dataset).await?;
        let Replayed { accepted, before } = replayed[&source];
        let rows = accepted + before;
        let every_row_accounted_for = counts.records() == rows;
        sources.insert(source, SourceReport { rows, rows_before: before, counts, head, every_row_accounted_for });
    }
    Ok(sources)
}

async fn counts(dataset: &Dataset) -> anyhow::Result<(Version, Counts)> {
    let head = dataset.snapshot().await?.version;
    let mut sum = Counts::default();
    for commit in dataset.commits(Version::default(), head).await? {
        commit.counts.values().for_each(|counts| sum += *counts);
    }
    Ok((head, sum))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("comparing panicked")?
}
