//! `highwater batch plan`, `tasks`, `map`, `reduce`, `publish`: MapReduce by whatever hands out command lines.

use std::{io::BufRead, path::Path, process::ExitCode};

use anyhow::Context;
use batch::{
    Request, Watch,
    stored::{Stored, Task, TaskKind},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{Kind, PlanOptions, PublishOptions, Resources, TasksOptions, WorkOptions},
    exit::{self, Usage},
    open, report,
};
use crate::output::{count, say};

const EVERYTHING: Resources = Resources { cores: None, memory: None };

pub(super) async fn plan(path: &Path, options: PlanOptions) -> anyhow::Result<ExitCode> {
    let (pipeline, batch) = open(path, &EVERYTHING)?;
    let request = match options.advance {
        true => Request::Advance,
        false => Request::Recompute(options.scope.scope(&pipeline)?),
    };
    let stored = batch.store_run(&request, options.task_size.as_u64()).await?;
    let (map, reduce) = (stored.spec().map.len(), stored.spec().reduce.len());
    if options.json {
        let tasks = |kind, count| (0..count).map(|index| name(&stored, kind, index)).collect::<Vec<_>>();
        let tasks = json!({"map": tasks(TaskKind::Map, map), "reduce": tasks(TaskKind::Reduce, reduce)});
        say!("{}", json!({"run": stored.id(), "map": tasks["map"], "reduce": tasks["reduce"]}))?;
    } else {
        let (map, reduce) = (count(map as u64, "map task"), count(reduce as u64, "reduce task"));
        say!("run {}: {map}, {reduce}", stored.id())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn name(stored: &Stored, kind: TaskKind, index: usize) -> String {
    Task { run: stored.id().to_owned(), kind, index }.to_string()
}

pub(super) async fn tasks(path: &Path, options: TasksOptions) -> anyhow::Result<ExitCode> {
    let (_, batch) = open(path, &EVERYTHING)?;
    let stored = batch.stored(&options.run).await?;
    let (kind, all) = match options.kind {
        Kind::Map => (TaskKind::Map, stored.spec().map.len()),
        Kind::Reduce => (TaskKind::Reduce, stored.spec().reduce.len()),
    };
    let indices = if options.all { (0..all).collect() } else { stored.left(kind).await? };
    for index in indices {
        say!("{}", name(&stored, kind, index))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn work(
    path: &Path,
    options: WorkOptions,
    kind: TaskKind,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let mut tasks = Vec::new();
    for argument in &options.tasks {
        if argument == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("cannot read tasks from standard input")?;
                if !line.trim().is_empty() {
                    tasks.push(line.parse::<Task>()?);
                }
            }
        } else {
            tasks.push(argument.parse()?);
        }
    }
    if let Some(other) = tasks.iter().find(|task| task.kind != kind) {
        return Err(Usage(format!("{other} is a task of another kind")).into());
    }
    let (_, batch) = open(path, &options.resources)?;
    let mut told = Ok(());
    let tell = |task: &Task, done| {
        let line = serde_json::to_string(&done).expect("plain data with text keys");
        if told.is_ok() {
            told = say!("{task}\t{line}");
        }
    };
    batch.do_tasks(&tasks, &Watch { cancel: stop, ..Watch::default() }, tell).await?;
    told?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn publish(path: &Path, options: PublishOptions, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let (_, batch) = open(path, &options.options.resources)?;
    let stored = batch.stored(&options.run).await?;
    let published = stored.publish(&Watch { cancel: stop, ..Watch::default() }).await;
    let published = published.context("nothing was published")?;
    if options.options.json {
        say!("{}", serde_json::to_string(&published)?)?;
    } else {
        report::print(&published)?;
    }
    Ok(exit::of_outcome(published.outcome))
}
