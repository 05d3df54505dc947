//! `highwater load`: historical files go straight into a dataset, each row once however often the load is stopped and
//! started again.

use std::path::Path;

use anyhow::Context;
use batch::maintain::load::{Loaded, Loader};
use tokio_util::sync::CancellationToken;

use super::{args, files};
use crate::{
    house,
    output::{count, say},
    replay::progress_bar,
};

/// Runs the command: all files, one after the other.
pub(crate) async fn load(path: &Path, options: args::Load, stop: CancellationToken) -> anyhow::Result<()> {
    let pipeline = crate::check::load(path)?;
    let names = || pipeline.sources.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let source = pipeline.sources.get(&options.source);
    let source = source.with_context(|| format!("no source `{}`; there are: {}", options.source, names()))?;
    let store = house::store(&pipeline)?;
    let loader = Loader {
        source: source.name.clone(),
        rules: source.rules.clone(),
        dataset: house::dataset(&pipeline, &store, source).await?,
        store,
        commit_bytes: pipeline.commit_size.as_u64(),
    };
    for found in files::find(&pipeline, &options.files).await? {
        let ready = found.ready(options.name.as_deref()).await?;
        let file = &ready.file;
        let bar = progress_bar(None, &source.name);
        let loaded = loader.load(file, &|rows| bar.set_position(rows), &stop).await;
        bar.finish_and_clear();
        let loaded = loaded.with_context(|| format!("loading {} stopped; run the same again to go on", file.name))?;
        let Loaded { counts, before, commits } = loaded;
        if options.json {
            let mut report = serde_json::to_value(loaded)?;
            report["file"] = file.name.clone().into();
            say!("{report}")?;
        } else {
            let events = count(counts.events, "event");
            let (letters, commits) = (count(counts.dead_letters, "dead letter"), count(commits, "commit"));
            say!("{}: {events} and {letters} loaded in {commits}, {before} rows were there before", file.name)?;
        }
    }
    Ok(())
}
