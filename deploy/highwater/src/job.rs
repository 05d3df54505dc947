//! `highwater batch advance` and `recompute`: one job of the batch layer, watched and reported.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use batch::{
    Outcome, Report, Update, Watch,
    report::{SourceReport, ViewReport},
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::{
    cli, house,
    output::{count, say},
    run,
};

/// What `highwater batch` does once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Advance,
    Recompute,
}

/// Runs one batch job, with a progress bar on a terminal, and prints its report.
pub(crate) async fn run_once(
    path: &Path,
    job: Job,
    options: &cli::BatchOptions,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let pipeline = Arc::new(crate::check::load(path)?);
    let batch = run::batch_layer(&pipeline, &house::store(&pipeline)?)?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix:>8} {bar:32} {pos} of {len} tasks")
            .expect("the template is constant and valid"),
    );
    let shown = bar.clone();
    let progress = Arc::new(move |update: Update| {
        shown.set_prefix(update.phase.as_str());
        shown.set_length(update.total);
        shown.set_position(update.done);
    });
    let watch = Watch { progress, cancel: stop };
    let report = match job {
        Job::Advance => batch.advance(&watch).await,
        Job::Recompute => batch.recompute(&watch).await,
    };
    bar.finish_and_clear();
    let report = report.context("nothing was published")?;
    if options.json {
        say!("{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report)?;
    }
    Ok(())
}

fn print(report: &Report) -> anyhow::Result<()> {
    let generation = report.outcome.generation();
    let outcome = match report.outcome {
        Outcome::Published { .. } => "published",
        Outcome::Unchanged { .. } => "nothing new since",
        Outcome::Superseded { .. } => "another run has published",
    };
    say!("{outcome} generation {generation} in {} ms", report.elapsed_ms)?;
    for (name, source) in &report.sources {
        let from = source.from.map_or("the start".to_owned(), |version| format!("version {version}"));
        let SourceReport { to, files, events, commits, .. } = source;
        say!(
            "  source {name}: from {from} to version {to}; {} of {} folded, {} merged",
            count(*files, "file"),
            count(*events, "event"),
            count(*commits, "segment"),
        )?;
    }
    for (name, view) in &report.views {
        let ViewReport { rows, bytes, chunks_written, chunks_kept, .. } = view;
        let (rows, written) = (count(*rows, "row"), count(*chunks_written, "chunk"));
        say!("  view {name}: {rows}, {bytes} bytes; {written} written, {chunks_kept} kept")?;
    }
    Ok(())
}
