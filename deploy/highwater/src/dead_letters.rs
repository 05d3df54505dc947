//! `highwater dead-letters`: the records that could not become events, read from the store.

use std::{io::Write, path::Path};

use common::{dead_letter, event::DeadLetter, names::SourceName};

use crate::{cli, house};

/// Prints the newest dead letters of each source, up to the limit, oldest first.
pub(crate) async fn dead_letters(path: &Path, options: cli::DeadLetters) -> anyhow::Result<()> {
    let pipeline = crate::check::load(path)?;
    let store = house::store(&pipeline)?;
    for source in house::chosen(&pipeline, options.source.as_ref())? {
        let positions = house::dataset(&pipeline, &store, source).await?.snapshot().await?.positions;
        let letters = dead_letter::read(&store, &source.name, &positions, options.limit).await?;
        let mut out = std::io::stdout().lock();
        for letter in &letters {
            if options.json {
                writeln!(out, "{}", dead_letter::to_json(letter))?;
            } else {
                writeln!(out, "{}", line_of(&source.name, letter))?;
            }
        }
        if !options.json {
            writeln!(out, "{}: {} dead letters shown, of all that is committed", source.name, letters.len())?;
        }
    }
    Ok(())
}

/// A letter for a person: where it stands, why, and the record.
fn line_of(source: &SourceName, letter: &DeadLetter) -> String {
    let DeadLetter { record, reason, detail, .. } = letter;
    let value = record.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{source} {}@{} {}: {detail}\n    {value}", record.partition, record.offset, reason.as_str())
}
