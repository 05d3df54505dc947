//! What the batch commands can be asked.

use std::num::NonZeroUsize;

use anyhow::ensure;
use batch::Scope;
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use common::{names::ViewName, pipeline::Pipeline};
use jiff::Timestamp;

use super::exit::Usage;
use crate::{client::Reach, keep};

/// Exit codes: 0 done, or nothing was to be done; 1 failed, a person must look; 2 wrong usage; 3 the audit found a difference; 4 another
/// run has published all that this one would; 5 another run is at work; 6 tasks are unfinished; 7 stopped by a signal; 75 the
/// store failed for now, try again later.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Merge the last generation with the commits since, and publish the next one.
    Advance(RunOptions),
    /// Compute views anew from the raw files, and publish a generation.
    Recompute {
        #[command(flatten)]
        scope: ScopeOptions,
        /// Keep finished tasks in the store whatever the size of the run, so that it goes on where it was killed.
        #[arg(long)]
        resumable: bool,
        /// Bytes of raw files that one task of a resumable run reads.
        #[arg(long, requires = "resumable")]
        task_size: Option<ByteSize>,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Write a run's map and reduce tasks to the store, for `map`, `reduce` and `publish` on any number of machines.
    Plan(PlanOptions),
    /// Print the tasks of a run that are not finished, one a line, as `map -` and `reduce -` read them.
    Tasks(TasksOptions),
    /// Do map tasks of a run. Prints a line for each that is finished: the task, a tab, and what came out as JSON.
    Map(WorkOptions),
    /// Do reduce tasks of a run whose map tasks are finished.
    Reduce(WorkOptions),
    /// Publish the generation of a run whose tasks are all finished, and remove the run's files.
    Publish(PublishOptions),
    /// Compute views from the raw files in two other ways, by the fold kernel and by Polars' own aggregations, and compare them
    /// with what is answered: by the Highwater at `--url`, by the one that the pipeline file describes if it runs, or else by what
    /// would be served from the store. Prints equal, or every value that differs and where it came from.
    Audit {
        #[command(flatten)]
        scope: ScopeOptions,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        options: RunOptions,
    },
    #[command(flatten)]
    Keep(keep::args::Keep),
    /// Advance every `batch.advance_every`, and recompute and audit as `[batch]` says, until SIGINT or SIGTERM.
    Run,
}

#[derive(Debug, Args)]
pub(crate) struct Resources {
    /// Cores to use; all if left out.
    #[arg(long, env = "HIGHWATER_CORES")]
    pub(crate) cores: Option<NonZeroUsize>,
    /// Memory for groups and for what is read and written meanwhile; `batch.memory` if left out.
    #[arg(long, env = "HIGHWATER_MEMORY")]
    pub(crate) memory: Option<ByteSize>,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[arg(skip)]
    pub(crate) resumable: Option<Option<ByteSize>>,
}

#[derive(Debug, Args)]
pub(crate) struct ScopeOptions {
    /// Views, separated by commas; all if left out. Others are carried on as they are.
    #[arg(long = "view", value_delimiter = ',')]
    views: Vec<ViewName>,
    /// Only what starts at this time or later, RFC 3339. Whole time chunks are computed.
    #[arg(long)]
    from: Option<Timestamp>,
    /// Only what starts before this time, RFC 3339.
    #[arg(long)]
    to: Option<Timestamp>,
}

impl ScopeOptions {
    /// The scope, if the pipeline has its views.
    pub(crate) fn scope(&self, pipeline: &Pipeline) -> anyhow::Result<Scope> {
        for view in &self.views {
            let known = || pipeline.views.keys().map(ViewName::as_str).collect::<Vec<_>>().join(", ");
            ensure!(
                pipeline.views.contains_key(view),
                Usage(format!("there is no view {view}; there are {}", known()))
            );
        }
        let (from_us, to_us) = (self.from.map(Timestamp::as_microsecond), self.to.map(Timestamp::as_microsecond));
        if let (Some(from), Some(to)) = (self.from, self.to) {
            ensure!(from < to, Usage(format!("--from {from} is not before --to {to}")));
        }
        Ok(Scope { views: self.views.iter().cloned().collect(), from_us, to_us })
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    pub(crate) scope: ScopeOptions,
    /// Plan an advance from the last generation, not a recompute.
    #[arg(long, conflicts_with_all = ["views", "from", "to"])]
    pub(crate) advance: bool,
    /// Bytes of raw files that one map task reads.
    #[arg(long, default_value = "128MiB")]
    pub(crate) task_size: ByteSize,
    /// Print the run and all its tasks as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TasksOptions {
    /// The run, as `plan` names it.
    pub(crate) run: String,
    /// Which tasks.
    pub(crate) kind: Kind,
    /// Those that are finished too.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    Map,
    Reduce,
}

#[derive(Debug, Args)]
pub(crate) struct WorkOptions {
    /// Tasks, as RUN/m0; or `-` to read them from standard input, one a line. What stands before a tab in a line is not read.
    #[arg(required = true)]
    pub(crate) tasks: Vec<String>,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
pub(crate) struct PublishOptions {
    /// The run, as `plan` names it.
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}
