//! Events as the records that a replay sends: in the source's format, with keys and headers.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::array::{Array, RecordBatch};
use common::{
    decode::{Decoder, EncodeError, Encoder, Given, Rules},
    event::Run,
    log::{
        files::{Row, Rows},
        records,
    },
    position::Partition,
};

use super::rows::{Body, Numbered, Times, event_times};

/// Rows of a file that become events at once.
const ROWS_A_BATCH: usize = 10_000;

/// Writes records of a source with these rules; else says what would allow it, if anything.
pub(super) async fn encoder(rules: &Rules, given: Given<'_>) -> anyhow::Result<Encoder> {
    match Encoder::new(rules, given).await {
        Err(EncodeError::NoSchemaId(what)) => bail!("{what}; say by --schema-id which one to write"),
        Err(EncodeError::NotAnew(what)) => bail!("{what}; --anew allows that"),
        made => Ok(made?),
    }
}

/// Checks that the events of `batch` can be written truly.
pub(super) async fn check(encoder: &mut Encoder, batch: &RecordBatch) -> anyhow::Result<()> {
    match encoder.check(batch).await {
        // Counted in a batch, which nobody knows of.
        Err(EncodeError::Event { what, .. }) => bail!("an event cannot be sent as a record: {what}"),
        checked => Ok(checked?),
    }
}

/// The records of batches of events.
pub(super) struct Records<'r, B> {
    batches: B,
    encoder: &'r Encoder,
    event_time: &'r str,
    times: Times,
    /// Rows that are still to be passed over.
    skip: usize,
    ready: std::vec::IntoIter<Row>,
    next: u64,
}

impl<'r, B: Iterator<Item = anyhow::Result<RecordBatch>>> Records<'r, B> {
    /// Of the events in this stretch of the column `event_time`.
    pub(super) fn new(batches: B, encoder: &'r Encoder, event_time: &'r str, times: Times) -> Self {
        Self { batches, encoder, event_time, times, skip: 0, ready: Vec::new().into_iter(), next: 0 }
    }

    fn rows(&mut self, batch: &RecordBatch) -> anyhow::Result<Vec<Row>> {
        let batch = self.times.of(batch, self.event_time)?;
        let passed = self.skip.min(batch.num_rows());
        self.skip -= passed;
        let batch = batch.slice(passed, batch.num_rows() - passed);
        let times = event_times(&batch, self.event_time)?;
        let row = |(at, record)| {
            let mut value = Vec::new();
            records::encode(&record, &mut value);
            let event_time_us = times.is_valid(at).then(|| times.value(at));
            Row { number: self.next + at as u64, value: value.into(), event_time_us }
        };
        let rows: Vec<Row> = self.encoder.encode(&batch)?.into_iter().enumerate().map(row).collect();
        self.next += rows.len() as u64;
        Ok(rows)
    }
}

impl<B: Iterator<Item = anyhow::Result<RecordBatch>>> Numbered for Records<'_, B> {
    fn body(&self) -> Body {
        Body::Records
    }

    fn skip_to(&mut self, row: u64) -> anyhow::Result<()> {
        self.skip = usize::try_from(row).context("no file has so many rows")?;
        self.next = row;
        Ok(())
    }
}

impl<B: Iterator<Item = anyhow::Result<RecordBatch>>> Iterator for Records<'_, B> {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            match self.batches.next()?.and_then(|batch| self.rows(&batch)) {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The events that the rows of a file are: each row is what `load` would take.
pub(super) struct FileEvents {
    path: PathBuf,
    rows: Rows,
    decoder: Decoder,
}

impl FileEvents {
    pub(super) fn open(path: &Path, rules: &Rules) -> anyhow::Result<Self> {
        let rules = Rules { ahead_max: None, ..rules.of_files() };
        Ok(Self { path: path.to_owned(), rows: Rows::open(path, &rules)?, decoder: Decoder::new(rules) })
    }

    fn events(&mut self, rows: Vec<Row>) -> anyhow::Result<RecordBatch> {
        let mut records = Run::with_capacity("".into(), Partition(0), rows.len(), 0);
        rows.iter().for_each(|row| records.push(row.number, 0, None, Vec::new(), Some(&row.value)));
        let decoded = self.decoder.decode(&records);
        if let Some(letter) = decoded.dead_letters.first() {
            let (file, row) = (self.path.display(), letter.record.offset + 1);
            let column = letter.column.as_deref().map(|column| format!("column `{column}`: ")).unwrap_or_default();
            bail!("{file}, row {row} is no event, so it cannot be sent as a record: {column}{}", letter.detail);
        }
        Ok(decoded.events)
    }
}

impl Iterator for FileEvents {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows: Result<Vec<Row>, _> = self.rows.by_ref().take(ROWS_A_BATCH).collect();
        match rows {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(self.events(rows)),
            Err(error) => Some(Err(error.into())),
        }
    }
}
