//! `highwater views`: how each view stands.

use std::path::Path;

use batch::states::{State, ViewState};
use clap::Args;

use super::{arguments::Resources, open};
use crate::output::{self, say};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn views(path: &Path, options: Options) -> anyhow::Result<()> {
    let (_, batch) = open(path, &Resources { cores: None, memory: None })?;
    let states = batch.view_states().await?;
    if options.json {
        say!("{}", serde_json::json!({ "views": states }))?;
        return Ok(());
    }
    let mut table = output::table();
    table.set_header(["view", "definition", "state", "since"]);
    for view in &states {
        table.add_row([view.name.to_string(), view.id.to_string(), state(view), since(view)]);
    }
    say!("{table}")?;
    Ok(())
}

fn state(view: &ViewState) -> String {
    let done = view.tasks.map(|(done, all)| format!(", {done} of {all} tasks done")).unwrap_or_default();
    match view.state {
        State::Live => "live".to_owned(),
        State::Backfilling => format!("backfilling{done}"),
        State::Changed => format!("changed, the former definition is in the generation{done}"),
        State::Removed if view.since_us.is_none() => "removed with the next generation".to_owned(),
        State::Removed => "removed, its files are kept for a while".to_owned(),
    }
}

fn since(view: &ViewState) -> String {
    let since = view.since_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    since.map_or("-".to_owned(), |time| format!("{time:.0}"))
}
