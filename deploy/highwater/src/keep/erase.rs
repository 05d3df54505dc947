//! `highwater erase`: events, and all that was made of them, go; the receipt stays.

use std::path::Path;

use anyhow::Context;
use batch::Watch;
use tokio_util::sync::CancellationToken;

use super::{args, maintain};
use crate::output::{count, say};

/// Runs the command.
pub(crate) async fn erase(path: &Path, options: args::Erase, stop: CancellationToken) -> anyhow::Result<()> {
    let batch = maintain::open(path)?;
    let names = || batch.pipeline.sources.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let source = batch.pipeline.sources.get(&options.source);
    let source = source.with_context(|| format!("no source `{}`; there are: {}", options.source, names()))?;
    let watch = Watch { cancel: stop, ..Watch::default() };
    let (receipt, place) = match batch.erase(source, &options.condition, &watch).await {
        Err(refused @ batch::Error::Condition(_)) => return Err(refused.into()),
        erased => erased.context("not everything is erased; run the same again to go on")?,
    };
    if options.json {
        say!("{}", serde_json::to_string(&receipt)?)?;
        return Ok(());
    }
    let events = count(receipt.rewritten.iter().map(|file| file.erased).sum(), "event");
    let letters = count(receipt.dead_letters.values().sum(), "dead letter");
    say!(
        "{}: {events} and {letters} erased, {} rewritten",
        source.name,
        count(receipt.rewritten.len() as u64, "file")
    )?;
    let scan = &receipt.scan;
    let (scanned, found) = (count(scan.events, "event"), scan.found);
    say!("a scan of {scanned} at version {} found {found} left; the receipt is {place}", scan.version)?;
    Ok(())
}
