//! What the commands of this room can be asked for.

use std::time::Duration;

use clap::{Args, Subcommand};
use common::names::{SourceName, ViewName};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The source whose dataset the rows go to.
    #[arg(long, short)]
    pub(crate) source: SourceName,
    /// NDJSON, CSV or Parquet files: paths, URLs as s3://bucket/2013/file.parquet, and patterns with * of either.
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    /// What the load is called. A file of the same name in a load of the same name is not loaded again, whatever is in it. Left
    /// out, a file is known by its path and content.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Print one JSON object a file.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The source whose events are to be erased.
    #[arg(long, short)]
    pub(crate) source: SourceName,
    /// Which events: SQL over the source's columns, as "user_id = '4711'".
    #[arg(long = "where", short)]
    pub(crate) condition: String,
    /// Print the receipt.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keep {
    /// Put the small files of each date together, in all datasets. What they hold stays the same.
    Compact(Compact),
    /// Remove raw events that are older than `keep` of their source, where a generation covers them.
    Retain(Retain),
    /// Remove what nothing needs any more from the store: replaced data files, covered segments, older generations, files of runs
    /// that were given up and of views that were removed, and what killed writers left.
    Vacuum(Vacuum),
}

#[derive(Debug, Args)]
pub(crate) struct Retain {
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The view.
    pub(crate) view: ViewName,
    /// Where to: a directory, or a URL as s3://bucket/exports/sales. What an earlier export of the view wrote there is replaced.
    #[arg(long)]
    pub(crate) to: String,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// Only dates with at least so many small files.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) least: u32,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Vacuum {
    /// What is younger stays: a writer may be about to name it, or a reader be at work on it. `batch.leftovers_kept` if left out.
    #[arg(long, value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let duration = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    let duration = duration.ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("`{text}` is no duration: write 12h, 7d or 0s"))
}
