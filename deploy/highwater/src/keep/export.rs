//! `highwater export`: a view, finished, as a Delta table.

use std::path::Path;

use anyhow::Context;
use batch::Watch;
use common::store::Store;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{args, maintain};
use crate::output::{count, say};

/// Runs the command.
pub(crate) async fn export(path: &Path, options: args::Export, stop: CancellationToken) -> anyhow::Result<()> {
    let batch = maintain::open(path)?;
    let names = || batch.pipeline.views.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let view = batch.pipeline.views.get(&options.view);
    let view = view.with_context(|| format!("no view `{}`; there are: {}", options.view, names()))?;
    let url = if options.to.contains("://") {
        Url::parse(&options.to).with_context(|| format!("`{}` is no URL", options.to))?
    } else {
        let directory = std::path::absolute(&options.to)?;
        Url::from_directory_path(&directory).map_err(|()| anyhow::anyhow!("`{}` is no directory", options.to))?
    };
    let same_service = url.scheme() == batch.pipeline.store.scheme();
    let with = if same_service { batch.pipeline.store_options.clone() } else { Default::default() };
    let to = Store::open_with(&url, &with)?;
    let exported = batch.export(view, &to, &Watch { cancel: stop, ..Watch::default() }).await?;
    if options.json {
        say!("{}", serde_json::to_string(&exported)?)?;
    } else {
        let rows = count(exported.rows, "row");
        say!("{}: {rows} of generation {} are version {} of {url}", view.name, exported.generation, exported.version)?;
    }
    Ok(())
}
