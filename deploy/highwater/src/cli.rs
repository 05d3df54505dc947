//! The command line: what can be asked for, and nothing of how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::names::{SourceName, ViewName};

use crate::{bench::RecordRate, client::Reach, job, keep, replay::Rate, token};

/// A Lambda-architecture analytics pipeline: live and batch views of the same events, cut at the same commit.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// The pipeline file; views are in `views/` beside it.
    #[arg(long, short, global = true, default_value = "pipeline.toml", env = "HIGHWATER_PIPELINE")]
    pub(crate) pipeline: PathBuf,

    /// How log lines are written to standard error. Their level is set by `HIGHWATER_LOG`, as `info,speed=debug`.
    #[arg(long, global = true, default_value = "text", env = "HIGHWATER_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Validate the pipeline file and all views, and say everything that is wrong with them.
    Check,
    /// Run all layers in this process until SIGINT or SIGTERM.
    Run,
    /// Run the speed layer alone: read the log, commit to the dataset, take events over HTTP.
    Speed,
    /// Run the serving layer alone: answer queries from the store.
    Serve,
    /// Run the batch layer.
    #[command(subcommand)]
    Batch(job::Command),
    /// Show how each view stands: live, backfilling, changed or removed, and since when.
    Views(job::views::Options),
    /// Ask a running Highwater and print the answer.
    Query(Query),
    /// Send files to a running Highwater as if their rows came in now.
    Replay(Replay),
    /// Measure a running Highwater.
    #[command(subcommand)]
    Bench(Bench),
    /// Show what the store and the log hold: sources, positions, lag, commits, the newest generation.
    Inspect(Inspect),
    /// Erase events, and all that was made of them, and prove it.
    Erase(keep::args::Erase),
    /// Write a view, its measures finished, as a Delta table for other tools.
    Export(keep::args::Export),
    /// Put historical files straight into a source's dataset, each row once.
    Load(keep::args::Load),
    /// Make a token: standard output is what the pipeline file has to say of it, standard error tells the token, once.
    Token(Token),
    /// List the records that could not become events, with the reason.
    DeadLetters(DeadLetters),
    /// Replay the flights of New York's airports through all layers and show them on a page.
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The view.
    pub(crate) view: ViewName,
    /// Start of the time range (inclusive), RFC 3339.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// End of the time range (exclusive), RFC 3339.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Time step of the answer: hour, day, week, month, … Without it there is no time column.
    #[arg(long)]
    pub(crate) grain: Option<String>,
    /// Time zone of the time step, as America/New_York.
    #[arg(long)]
    pub(crate) timezone: Option<String>,
    /// Dimensions to group by, separated by commas.
    #[arg(long, short, value_delimiter = ',')]
    pub(crate) dimensions: Vec<String>,
    /// Measures to answer, separated by commas; all if left out.
    #[arg(long, short, value_delimiter = ',')]
    pub(crate) measures: Vec<String>,
    /// A condition over the view's dimensions, as "origin IN ('JFK', 'LGA')".
    #[arg(long = "where", short)]
    pub(crate) condition: Option<String>,
    /// Columns to order by, separated by commas; a leading `-` is descending.
    #[arg(long, short, value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) order_by: Vec<String>,
    /// Most rows to answer.
    #[arg(long, short)]
    pub(crate) limit: Option<u64>,
    /// Which layer answers.
    #[arg(long)]
    pub(crate) layer: Option<Layer>,
    /// How to print the answer.
    #[arg(long, default_value = "table")]
    pub(crate) format: QueryFormat,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Layer {
    /// Generation, segments and tails: everything.
    Merged,
    /// The generation alone.
    Batch,
    /// What came after the generation's mark.
    Live,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum QueryFormat {
    /// A table for people, provenance below.
    Table,
    /// The API's answer as it is.
    Json,
    /// Comma-separated values with a header line.
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The source to send to.
    #[arg(long, short)]
    pub(crate) source: SourceName,
    /// NDJSON, CSV or Parquet files, sent in this order.
    #[arg(required_unless_present = "dataset")]
    pub(crate) files: Vec<PathBuf>,
    /// Send the events of the source's dataset, as into a log that is new.
    #[arg(long)]
    pub(crate) dataset: bool,
    /// Only rows whose event time is not before this, RFC 3339.
    #[arg(long)]
    pub(crate) from: Option<jiff::Timestamp>,
    /// Only rows whose event time is before this, RFC 3339.
    #[arg(long)]
    pub(crate) to: Option<jiff::Timestamp>,
    /// How fast: `max`, or times the speed of event time, as `3600x`.
    #[arg(long, default_value = "max")]
    pub(crate) rate: Rate,
    /// The id of a registered schema that goes before each value, where values are framed JSON.
    #[arg(long, value_name = "ID")]
    pub(crate) schema_id: Option<u32>,
    /// Let columns taken from a record's topic, partition, offset and time stamp become what the log gives: no log takes them.
    #[arg(long)]
    pub(crate) anew: bool,
    /// The name under which Highwater remembers how far this replay has come. A file's own name and size, if left out.
    #[arg(long)]
    pub(crate) producer: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send real records as if they happened now, at a chosen rate.
    Produce(Produce),
}

#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The source to send to; its records are plain JSON.
    #[arg(long, short)]
    pub(crate) source: SourceName,
    /// NDJSON, CSV or Parquet files, whose rows are sent again and again, with their times moved to now.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Records a second, or `max`.
    #[arg(long, default_value = "max")]
    pub(crate) rate: RecordRate,
    /// Send for so long, as `60s`; until Ctrl-C if neither this nor `--count` is given.
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasting: Option<jiff::SignedDuration>,
    /// Send so many records.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Make the topic, with so many partitions, if it is not there.
    #[arg(long, value_name = "PARTITIONS")]
    pub(crate) create: Option<u32>,
    /// Ask this view of a running Highwater again and again, and report how old records are when its answers show them,
    /// by the log's time stamps.
    #[arg(long, value_name = "VIEW")]
    pub(crate) watch: Option<ViewName>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The source; all if left out.
    #[arg(long, short)]
    pub(crate) source: Option<SourceName>,
    /// How many of the newest commits to show.
    #[arg(long, short, default_value_t = 5)]
    pub(crate) commits: u64,
    /// Print everything as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// What it is called: by the log, and as a user of Postgres' protocol.
    pub(crate) name: token::Name,
    /// What it is for.
    #[arg(long, default_value = "read")]
    pub(crate) role: token::Role,
    /// The views that it may read, separated by commas; all if left out.
    #[arg(long, value_delimiter = ',')]
    pub(crate) views: Vec<ViewName>,
    /// Take the token from the first line of standard input instead of making one.
    #[arg(long)]
    pub(crate) stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    /// The source; all if left out.
    #[arg(long, short)]
    pub(crate) source: Option<SourceName>,
    /// Most letters to print.
    #[arg(long, short, default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print one JSON object a line, with the whole record.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The folder with the demo's pipeline, views and data.
    #[arg(long, default_value = "data/flights")]
    pub(crate) data: PathBuf,
    /// Where the demo keeps its store and log. A demo that was stopped goes on from there.
    #[arg(long, default_value = ".highwater/demo")]
    pub(crate) state: PathBuf,
    /// Replay the full year that `data/fetch` made, not the sample.
    #[arg(long)]
    pub(crate) full: bool,
    /// How fast the flights come in: `max`, or times the speed of event time, as `3600x`.
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// Run to the end without a page, compare all layers with each other and with Polars, print a JSON report, and fail on
    /// any difference.
    #[arg(long)]
    pub(crate) headless: bool,
}

#[cfg(test)]
mod tests;
