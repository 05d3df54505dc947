//! `highwater inspect`: what the store and the log hold, whether or not a Highwater runs: sources, positions, lag, commits,
//! the newest generation. It reads only.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use comfy_table::{CellAlignment, Table};
use common::{
    dataset::{Commit, Dataset},
    event::Counts,
    gap,
    generation::{self, Generation},
    log::{self, EventLog, embedded::EmbeddedLogs, kafka::Kafka},
    names::{SourceName, ViewName},
    pipeline::{Pipeline, Source},
    position::{OffsetRange, Partition, Position, Positions, Version},
    store::Store,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli, client, house,
    output::{self, count, say},
};

/// What there is.
#[derive(Debug, Serialize)]
struct Inspection {
    store: String,
    /// The newest generation; null before the first.
    generation: Option<GenerationInfo>,
    sources: Vec<SourceInfo>,
}

#[derive(Debug, Serialize)]
struct GenerationInfo {
    number: u64,
    created_at: String,
    marks: BTreeMap<SourceName, Version>,
    views: BTreeMap<ViewName, ViewInfo>,
}

#[derive(Debug, Serialize)]
struct ViewInfo {
    id: String,
    chunks: u64,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct SourceInfo {
    name: SourceName,
    /// The topic of Kafka; null for the embedded log.
    topic: Option<String>,
    head: Version,
    /// The version that the newest generation covers; null if it does not have the source.
    mark: Option<Version>,
    /// What became of all records committed (L7).
    records: Counts,
    partitions: Vec<PartitionInfo>,
    /// Records in the log that are not committed, over all partitions; null if the log cannot be asked.
    lag_records: Option<u64>,
    /// Why the log cannot be asked.
    log_error: Option<String>,
    /// Records that were gone before they were read.
    gaps: Vec<GapInfo>,
    /// The newest commits, newest first.
    commits: Vec<CommitInfo>,
}

#[derive(Debug, Serialize)]
struct PartitionInfo {
    partition: Partition,
    /// Which file that was loaded it stands for, from 1 on; null for one of the log.
    load: Option<usize>,
    /// The position in the dataset.
    committed: Position,
    /// The position that the newest generation covers.
    covered: Position,
    /// What the log holds; null if it cannot be asked.
    log: Option<LogInfo>,
}

#[derive(Debug, Serialize)]
struct LogInfo {
    /// The oldest offset.
    from: Position,
    /// The next offset.
    to: Position,
    /// Records that are not committed.
    lag: u64,
}

#[derive(Debug, Serialize)]
struct GapInfo {
    partition: Partition,
    from: Position,
    to: Position,
}

#[derive(Debug, Serialize)]
struct CommitInfo {
    version: Version,
    records: Counts,
    /// Files that it added events with.
    files: u64,
    bytes: u64,
    /// Files that it put others in the place of, or archived.
    replaced: u64,
    positions: Positions,
}

/// Runs the command.
pub(crate) async fn inspect(path: &Path, options: cli::Inspect) -> anyhow::Result<()> {
    let pipeline = crate::check::load(path)?;
    let store = house::store(&pipeline)?;
    let newest = generation::latest(&store).await.context("cannot read the generations")?;
    let logs = Logs::open(&pipeline).await?;
    let mut sources = Vec::new();
    for source in house::chosen(&pipeline, options.source.as_ref())? {
        let dataset = house::dataset(&pipeline, &store, source).await?;
        let bounds = logs.bounds(&pipeline, source).await;
        sources.push(source_info(&store, source, &dataset, newest.as_ref(), bounds, options.commits).await?);
    }
    let inspection = Inspection { store: store.url().to_string(), generation: newest.map(generation_info), sources };
    if options.json {
        say!("{}", serde_json::to_string(&inspection)?)?;
    } else {
        print(&inspection)?;
    }
    Ok(())
}

/// The logs that can be asked from this process.
struct Logs {
    kafka: Option<Kafka>,
    /// `None` where no source needs it, or a Highwater that runs has it open.
    embedded: Option<EmbeddedLogs>,
}

impl Logs {
    async fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let kafka = pipeline.kafka.clone().map(Kafka::new).transpose()?;
        // What is not there yet is not to be made by looking.
        let wanted = pipeline.sources.values().any(|s| s.kafka.is_none()) && pipeline.log_directory.is_dir();
        let embedded = if wanted { Some(EmbeddedLogs::open(&pipeline.log_directory).await) } else { None };
        match embedded.transpose() {
            Ok(embedded) => Ok(Self { kafka, embedded }),
            Err(log::Error::Locked { .. }) => Ok(Self { kafka, embedded: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// What the log of `source` holds, by partition.
    async fn bounds(&self, pipeline: &Pipeline, source: &Source) -> anyhow::Result<BTreeMap<Partition, OffsetRange>> {
        let log: Box<dyn EventLog> = match (&source.kafka, &self.kafka, &self.embedded) {
            (Some(topic), Some(kafka), _) => Box::new(kafka.topic(&topic.name, &pipeline.group(source)).await?),
            (None, _, Some(logs)) => Box::new(logs.topic(source.name.as_str(), source.partitions).await?),
            _ if pipeline.log_directory.is_dir() => {
                anyhow::bail!(
                    "a Highwater has the log open; it says its lag at {}/v1/status",
                    client::base(&pipeline.serving, pipeline.serving.listen)
                )
            }
            _ => anyhow::bail!("there is no log in {} yet", pipeline.log_directory.display()),
        };
        let mut bounds = BTreeMap::new();
        for partition in log.partitions().await? {
            bounds.insert(partition, log.bounds(partition).await?);
        }
        Ok(bounds)
    }
}

async fn source_info(
    store: &Store,
    source: &Source,
    dataset: &Dataset,
    newest: Option<&Generation>,
    bounds: anyhow::Result<BTreeMap<Partition, OffsetRange>>,
    commits: u64,
) -> anyhow::Result<SourceInfo> {
    let head = dataset.snapshot().await?;
    let mark = newest.and_then(|generation| generation.marks.get(&source.name));
    let after = Version(head.version.0.saturating_sub(commits));
    let commits = dataset.commits(after, head.version).await?;
    let (bounds, log_error) = match bounds {
        Ok(bounds) => (bounds, None),
        Err(error) => (BTreeMap::new(), Some(format!("{error:#}"))),
    };
    let mut all: Vec<Partition> = head.positions.keys().chain(bounds.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    let mut loads: Vec<Partition> = head.loads.values().copied().collect();
    loads.sort_unstable();
    let partitions: Vec<_> = all
        .into_iter()
        .map(|partition| {
            let committed = head.positions.get(&partition).copied().unwrap_or_default();
            let covered = mark.and_then(|mark| mark.positions.get(&partition)).copied().unwrap_or_default();
            let log = bounds.get(&partition).map(|bounds| LogInfo {
                from: bounds.from,
                to: bounds.to,
                lag: bounds.to.0.saturating_sub(committed.max(bounds.from).0),
            });
            let load = loads.iter().position(|load| *load == partition).map(|at| at + 1);
            PartitionInfo { partition, load, committed, covered, log }
        })
        .collect();
    let lag = partitions.iter().filter_map(|partition| Some(partition.log.as_ref()?.lag)).sum();
    Ok(SourceInfo {
        name: source.name.clone(),
        topic: source.kafka.as_ref().map(|topic| topic.name.clone()),
        head: head.version,
        mark: mark.map(|mark| mark.version),
        records: head.totals,
        lag_records: log_error.is_none().then_some(lag),
        log_error,
        partitions,
        gaps: gap::read(store, &source.name).await?.into_iter().map(gap_info).collect(),
        commits: commits.into_iter().rev().map(commit_info).collect(),
    })
}

fn gap_info(gap: gap::Gap) -> GapInfo {
    GapInfo { partition: gap.partition, from: gap.range.from, to: gap.range.to }
}

fn commit_info(commit: Commit) -> CommitInfo {
    let mut records = Counts::default();
    commit.counts.values().for_each(|counts| records += *counts);
    CommitInfo {
        version: commit.version,
        records,
        files: commit.files.len() as u64,
        bytes: commit.files.iter().map(|file| file.bytes).sum(),
        replaced: commit.removed.len() as u64,
        positions: commit.positions,
    }
}

fn generation_info(generation: Generation) -> GenerationInfo {
    let created_at = Timestamp::from_microsecond(generation.created_at_us);
    let views = generation.views.into_iter().map(|(name, files)| {
        let info = ViewInfo {
            id: files.id.to_string(),
            chunks: files.chunks.len() as u64,
            rows: files.chunks.iter().map(|chunk| chunk.rows).sum(),
            bytes: files.chunks.iter().map(|chunk| chunk.bytes).sum(),
        };
        (name, info)
    });
    GenerationInfo {
        number: generation.number,
        created_at: created_at.map_or_else(|_| format!("{} us", generation.created_at_us), |at| at.to_string()),
        marks: generation.marks.into_iter().map(|(source, mark)| (source, mark.version)).collect(),
        views: views.collect(),
    }
}

fn print(inspection: &Inspection) -> anyhow::Result<()> {
    say!("store {}", inspection.store)?;
    match &inspection.generation {
        None => say!("no generation yet")?,
        Some(generation) => {
            say!("generation {}, of {}", generation.number, generation.created_at)?;
            let views = generation.views.iter().map(|(name, view)| {
                [name.to_string(), view.rows.to_string(), view.bytes.to_string(), view.chunks.to_string()]
            });
            say!("{}", table(&["view", "rows", "bytes", "chunks"], 1, views))?;
        }
    }
    inspection.sources.iter().try_for_each(print_source)
}

fn print_source(source: &SourceInfo) -> anyhow::Result<()> {
    let SourceInfo { name, head, records, .. } = source;
    let log = source.topic.as_ref().map_or("the embedded log".to_owned(), |topic| format!("topic {topic}"));
    let mark = source.mark.map_or("no generation".to_owned(), |mark| format!("the generation up to version {mark}"));
    let lag = match (source.lag_records, &source.log_error) {
        (Some(lag), _) => format!("{} in the log are not committed", count(lag, "record")),
        (None, error) => format!("lag unknown: {}", error.as_deref().unwrap_or_default()),
    };
    say!("\nsource {name}, from {log}: head {head}, covered by {mark}")?;
    say!(
        "  {} committed: {}, {}, {}; {lag}",
        count(records.records(), "record"),
        count(records.events, "event"),
        count(records.dead_letters, "dead letter"),
        count(records.tombstones, "tombstone"),
    )?;
    for GapInfo { partition, from, to } in &source.gaps {
        say!("  gap: partition {partition}, offsets {from} to {to} were gone before they were read")?;
    }
    if !source.partitions.is_empty() {
        let known = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
        let rows = source.partitions.iter().map(|p| {
            let log = p.log.as_ref();
            let ends = [log.map(|log| log.from.0), log.map(|log| log.to.0), log.map(|log| log.lag)];
            let ends = ends.map(|end| if p.load.is_some() { "-".to_owned() } else { known(end) });
            let [from, to, lag] = ends;
            let name = p.load.map_or(p.partition.to_string(), |load| format!("load {load}"));
            [name, p.covered.to_string(), p.committed.to_string(), from, to, lag]
        });
        let header = ["partition", "generation", "committed", "log from", "log to", "not committed"];
        say!("{}", table(&header, 0, rows))?;
    }
    if !source.commits.is_empty() {
        let rows = source.commits.iter().map(|commit| {
            let Counts { events, dead_letters, tombstones } = commit.records;
            let (version, replaced) = (commit.version.0, commit.replaced);
            let numbers = [version, events, dead_letters, tombstones, commit.files, commit.bytes, replaced];
            numbers.map(|number| number.to_string())
        });
        let header = ["commit", "events", "dead letters", "tombstones", "files", "bytes", "files replaced"];
        say!("{}", table(&header, 0, rows))?;
    }
    Ok(())
}

/// A table whose columns from `numbers_from` on are numbers.
fn table<const N: usize>(header: &[&str; N], numbers_from: usize, rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = output::table();
    table.set_header(header);
    rows.for_each(|row| _ = table.add_row(row));
    for index in numbers_from..N {
        if let Some(cells) = table.column_mut(index) {
            cells.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
