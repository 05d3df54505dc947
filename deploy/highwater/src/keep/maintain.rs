//! `highwater batch compact`, `retain` and `vacuum`.

use std::{path::Path, sync::Arc};

use batch::{
    Batch, Watch,
    maintain::{
        compact::Compacted,
        retain::{Aged, Retained},
    },
};
use tokio_util::sync::CancellationToken;

use super::args;
use crate::{
    house,
    output::{count, say},
    run,
};

pub(super) fn open(path: &Path) -> anyhow::Result<Batch> {
    let pipeline = Arc::new(crate::check::load(path)?);
    run::batch_layer_on(&pipeline, &house::store(&pipeline)?, run::cores())
}

/// Puts small files together, and says of how many.
pub(super) async fn compact(path: &Path, options: &args::Compact, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop, ..Watch::default() };
    let done = open(path)?.compact(options.least as usize, &watch).await?;
    if options.json {
        say!("{}", serde_json::to_string(&done)?)?;
        return Ok(());
    }
    for (source, Compacted { files_before, files_after, events, .. }) in &done {
        let (before, events) = (count(*files_before, "file"), count(*events, "event"));
        say!("{source}: {before} became {files_after}, with {events}")?;
    }
    Ok(())
}

/// Removes raw events that are too old, and says of how many.
pub(super) async fn retain(path: &Path, options: &args::Retain, stop: CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop, ..Watch::default() };
    let batch = open(path)?;
    let done = batch.retain(&watch).await?;
    let views = batch.age_views(&watch).await?;
    if options.json {
        say!("{}", serde_json::json!({"sources": done, "views": views}))?;
        return Ok(());
    }
    for (view, Aged { kept, rows_before, rows }) in &views {
        let time = |us| jiff::Timestamp::from_microsecond(us).map(|time| time.to_string()).unwrap_or_default();
        let rolled =
            kept.rolled.as_ref().map(|rolled| format!(", by {} before {}", rolled.grain, time(rolled.before_us)));
        let gone = kept.gone_before_us.map(|us| format!(", nothing before {}", time(us)));
        let (before, rows) = (count(*rows_before, "group"), count(*rows, "group"));
        say!("view {view}: {before} became {rows}{}{}", rolled.unwrap_or_default(), gone.unwrap_or_default())?;
    }
    for (source, Retained { before, files_removed, events_removed, files_not_covered }) in &done {
        let Some(before) = before else {
            say!("{source}: keeps everything")?;
            continue;
        };
        let (events, files) = (count(*events_removed, "event"), count(*files_removed, "file"));
        let waiting = count(*files_not_covered, "older file");
        say!("{source}: {events} before {before} removed in {files}; {waiting} not covered by a generation")?;
    }
    Ok(())
}

/// Removes what nothing names, and says how much.
pub(super) async fn vacuum(path: &Path, options: &args::Vacuum) -> anyhow::Result<()> {
    let batch = open(path)?;
    let done =
        batch.vacuum(options.grace.unwrap_or_else(|| batch.pipeline.batch.leftovers_kept.unsigned_abs())).await?;
    if options.json {
        say!("{}", serde_json::to_string(&done)?)?;
        return Ok(());
    }
    let (data, segments) = (count(done.data_files, "data file"), count(done.segments, "segment"));
    let (chunks, generations) = (count(done.chunks, "chunk"), count(done.generations, "generation"));
    let (runs, staged) = (count(done.runs, "run"), count(done.staged_files, "staged file"));
    say!("removed {data}, {segments}, {chunks}, {generations}, {runs} and {staged}")?;
    Ok(())
}
