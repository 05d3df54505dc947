//! `highwater check`, and how every command reads the pipeline: all that is wrong is said at once.

use std::path::Path;

use common::pipeline::Pipeline;

use crate::output::say;

/// The pipeline at `path`, or an error that holds every diagnostic.
pub(crate) fn load(path: &Path) -> anyhow::Result<Pipeline> {
    Pipeline::load(path).map_err(|diagnostics| {
        let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        let count = match all.len() {
            1 => "1 error".to_owned(),
            n => format!("{n} errors"),
        };
        anyhow::anyhow!("{count} in the pipeline\n\n{}", all.join("\n\n"))
    })
}

/// Validates the pipeline and prints what it holds.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let pipeline = load(path)?;
    say!("{}: pipeline `{}` is valid", path.display(), pipeline.name)?;
    for source in pipeline.sources.values() {
        let columns = source.rules.schema.columns().len();
        say!("  source {}: {columns} columns, event time {}", source.name, source.rules.event_time)?;
        for view in pipeline.views_of(&source.name) {
            let dimensions: Vec<&str> = view.dimensions.iter().map(|d| d.name.as_str()).collect();
            let measures: Vec<&str> = view.measures.iter().map(|m| m.name.as_str()).collect();
            say!("    view {} by {}, {}: {}", view.name, view.bucket_name, dimensions.join(", "), measures.join(", "))?;
        }
    }
    Ok(())
}
