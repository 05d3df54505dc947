//! What a run did, for people.

use batch::{
    Outcome, Report,
    report::{SourceReport, TaskReport, ViewReport},
};

use crate::output::{count, say};

/// Prints the report of a run.
pub(crate) fn print(report: &Report) -> anyhow::Result<()> {
    let generation = report.outcome.generation();
    let outcome = match report.outcome {
        Outcome::Published { .. } => "published",
        Outcome::Unchanged { .. } => "nothing new since",
        Outcome::Superseded { .. } => "another run has published",
    };
    say!("{outcome} generation {generation} in {} ms", report.elapsed_ms)?;
    if let Some(TaskReport { run, map, map_before, reduce, reduce_before }) = &report.tasks {
        let (map_count, reduce_count) = (count(*map, "map task"), count(*reduce, "reduce task"));
        say!(
            "  run {run}: {map_count}, {map_before} finished before; {reduce_count}, {reduce_before} finished before"
        )?;
    }
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
