//! `highwater batch …`: jobs of the batch layer, watched and reported, with exit codes that a scheduler can use.

mod arguments;
pub(crate) mod audit;
pub(crate) mod exit;
mod progress;
mod report;
mod tasks;
pub(crate) mod views;

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use batch::{
    Batch, Report, Request, Watch,
    lease::{Lease, Owner},
};
use common::pipeline::Pipeline;
use tokio_util::sync::CancellationToken;

pub(crate) use self::arguments::Command;
use self::arguments::{Resources, RunOptions};
use crate::{house, keep, output::say, run};

/// Runs one command.
pub(crate) async fn command(path: &Path, command: Command, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    match command {
        Command::Advance(options) => run_once(path, Request::Advance, options, stop).await,
        Command::Recompute { scope, resumable, task_size, options } => {
            let mut options = options;
            options.resumable = resumable.then_some(task_size);
            let request = Request::Recompute(scope.scope(&crate::check::load(path)?)?);
            run_once(path, request, options, stop).await
        }
        Command::Plan(options) => tasks::plan(path, options).await,
        Command::Tasks(options) => tasks::tasks(path, options).await,
        Command::Map(options) => tasks::work(path, options, batch::stored::TaskKind::Map, stop).await,
        Command::Reduce(options) => tasks::work(path, options, batch::stored::TaskKind::Reduce, stop).await,
        Command::Publish(options) => tasks::publish(path, options, stop).await,
        Command::Audit { scope, reach, options } => audit::once(path, &scope, &reach, &options, stop).await,
        Command::Keep(command) => keep::keep(path, command, stop).await.map(|()| ExitCode::SUCCESS),
        Command::Run => {
            run::run(crate::check::load(path)?, run::Roles::BATCH, stop).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The pipeline at `path` and its batch layer, within these bounds.
fn open(path: &Path, resources: &Resources) -> anyhow::Result<(Arc<Pipeline>, Batch)> {
    let mut pipeline = crate::check::load(path)?;
    if let Some(memory) = resources.memory {
        pipeline.batch.memory = memory;
    }
    let pipeline = Arc::new(pipeline);
    let batch = run::batch_layer_on(&pipeline, &house::store(&pipeline)?, resources.cores.unwrap_or_else(run::cores))?;
    Ok((pipeline, batch))
}

async fn run_once(
    path: &Path,
    request: Request,
    options: RunOptions,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let (_, mut batch) = open(path, &options.resources)?;
    if let Some(task_size) = options.resumable {
        batch.resumable_from = bytesize::ByteSize::b(1);
        batch.task_bytes = task_size.unwrap_or(batch.task_bytes);
    }
    let shown = progress::Shown::new();
    let ended = leased(&batch, &request, &Watch { progress: shown.teller(), cancel: stop }).await;
    shown.clear();
    let report = ended.context("nothing was published")?;
    if options.json {
        say!("{}", serde_json::to_string(&report)?)?;
    } else {
        report::print(&report)?;
    }
    Ok(exit::of_outcome(report.outcome))
}

/// Does what `request` asks for, while no other process does the like.
pub(crate) async fn leased(batch: &Batch, request: &Request, watch: &Watch) -> Result<Report, batch::Error> {
    let name = match request {
        Request::Advance => "advance",
        Request::Recompute(_) => "recompute",
    };
    let lease = Lease::take(&batch.store, &batch.clock, name, Owner::this_process()).await?;
    // Of its own, so that a lost lease ends this run only.
    let watch = Watch { cancel: watch.cancel.child_token(), ..watch.clone() };
    let work = async {
        match request {
            Request::Advance => batch.advance(&watch).await,
            Request::Recompute(scope) => batch.recompute_within(scope, &watch).await,
        }
    };
    lease.during(&watch.cancel, work).await
}
