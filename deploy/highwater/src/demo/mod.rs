//! `highwater demo`: real flights through all layers in one process, for a person to watch or for a machine to check.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use common::{
    log::files::Rows,
    names::SourceName,
    pipeline::{Pipeline, Source},
};
use indicatif::MultiProgress;
use jiff::SignedDuration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    cli,
    client::{Client, Reach},
    output::say,
    replay::{self, Rate, Replayed, Selected, Times},
    run::{Roles, Running},
};

mod answers;
mod headless;

/// The flights of a day come in within four seconds: fast enough to see the weeks go by, slow enough to watch.
const RATE: Rate = Rate::Times(20_000.0);

/// The files of each source.
type Files = BTreeMap<SourceName, PathBuf>;

/// Runs the demo; fails where a headless one finds a difference.
pub(crate) async fn demo(options: cli::Demo, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let pipeline = Arc::new(pipeline(&options)?);
    let files = files(&pipeline, &options)?;
    if options.headless {
        return headless::run(pipeline, files, options.rate.unwrap_or(Rate::Max), stop).await;
    }
    watch(pipeline, files, options.rate.unwrap_or(RATE), stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// The flights' pipeline with its state where the demo keeps it, and short intervals, so that something happens.
fn pipeline(options: &cli::Demo) -> anyhow::Result<Pipeline> {
    let path = options.data.join("pipeline.toml");
    if !path.exists() {
        bail!(
            "no {}; run the demo where Highwater's sources are, or say where its data is with --data",
            path.display()
        );
    }
    let mut pipeline = crate::check::load(&path)?;
    std::fs::create_dir_all(&options.state).with_context(|| format!("cannot make {}", options.state.display()))?;
    let state = options.state.canonicalize()?;
    let store = Url::from_directory_path(state.join("store"));
    pipeline.store = store.map_err(|()| anyhow::anyhow!("{} makes no URL", state.display()))?;
    pipeline.log_directory = state.join("log");
    pipeline.commit_interval = SignedDuration::from_secs(2);
    pipeline.batch.advance_every = SignedDuration::from_secs(15);
    if options.headless {
        pipeline.serving.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        pipeline.commit_interval = SignedDuration::from_millis(250);
        pipeline.batch.advance_every = SignedDuration::from_secs(1);
    }
    Ok(pipeline)
}

/// The file of each source: `<source>.ndjson.gz` in the sample's folder, or in that of the full year.
fn files(pipeline: &Pipeline, options: &cli::Demo) -> anyhow::Result<Files> {
    let folder = options.data.join(if options.full { "full" } else { "sample" });
    let file = |source: &Source| {
        let file = folder.join(format!("{}.ndjson.gz", source.name));
        if file.exists() {
            return Ok((source.name.clone(), file));
        }
        let hint = if options.full { "; `data/fetch` makes the full year" } else { "" };
        bail!("no {}{hint}", file.display())
    };
    pipeline.sources.values().map(file).collect()
}

/// Replays with the page open, then keeps running until told to stop.
async fn watch(pipeline: Arc<Pipeline>, files: Files, rate: Rate, stop: CancellationToken) -> anyhow::Result<()> {
    let running = Running::start(Arc::clone(&pipeline), Roles::ALL, stop.clone()).await?;
    let client = client(&running, &pipeline)?;
    let page = client.base().clone();
    say!("Highwater is open at {page}#view=departures_by_hour")?;
    say!(
        "A generation is published every 15 seconds; the numbers do not jump. Ctrl-C stops, and the next demo goes on."
    )?;
    let replayed = replay_all(&client, &pipeline.sources, &files, rate, &stop).await?;
    if !stop.is_cancelled() {
        let rows: u64 = replayed.values().map(|r| r.accepted + r.before).sum();
        say!("All {rows} events are in. Still open at {page}")?;
    }
    running.finish().await
}

/// A client of the demo.
fn client(running: &Running, pipeline: &Pipeline) -> anyhow::Result<Client> {
    let address = running.address.context("the demo takes events over HTTP")?;
    Reach::default().client_at(&pipeline.serving, address)
}

/// Replays all files at the same time, each into its source.
async fn replay_all(
    client: &Client,
    sources: &BTreeMap<SourceName, Source>,
    files: &Files,
    rate: Rate,
    stop: &CancellationToken,
) -> anyhow::Result<BTreeMap<SourceName, Replayed>> {
    let bars = MultiProgress::new();
    let mut replays = JoinSet::new();
    for (source, file) in files {
        let rows = open(file, &sources[source])?;
        let bar = bars.add(replay::progress_bar(rows.total(), source));
        let (client, source, producer, stop) = (client.clone(), source.clone(), replay::producer(file)?, stop.clone());
        replays.spawn(async move {
            let done =
                replay::send(&client, &source, &producer, Selected::new(rows, Times::default()), rate, &bar, &stop)
                    .await;
            bar.finish_and_clear();
            done.map(|done| (source, done))
        });
    }
    let mut replayed = BTreeMap::new();
    while let Some(done) = replays.join_next().await {
        replayed.extend([done.context("a replay panicked")??]);
    }
    Ok(replayed)
}

fn open(file: &Path, source: &Source) -> anyhow::Result<Rows> {
    Ok(Rows::open(file, &source.rules)?)
}
