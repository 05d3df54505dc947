//! Notices as bytes: the same notice always gives the same ones.
//!
//! A notice is the length of its head (u32, little-endian), the head as JSON, and a stream of Arrow IPC for each table that the
//! head lists. The head names the dataset and all views that were folded, so that a listener of another store takes nothing for
//! its own, and one that has a view which was not folded does not take it for empty.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{error::ArrowError, record_batch::RecordBatch};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use serde::{Deserialize, Serialize};

use super::{CommitNotice, Delta, Notice, Standing};
use crate::{
    measure,
    names::SourceName,
    partial,
    position::{OffsetRange, Partition, Position, Positions, Version},
    view::{View, ViewId},
};

/// What both ends of a feed know of a source.
#[derive(Debug, Clone)]
pub struct FeedSource {
    /// The identity of its dataset: two stores never have the same.
    pub dataset: Arc<str>,
    /// Its views.
    pub views: Vec<Arc<View>>,
}

/// The sources of a feed, by name.
pub type FeedSources = BTreeMap<SourceName, FeedSource>;

/// Why bytes are not a notice that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They end too early, or go on.
    #[error("it is not as long as it says")]
    Length,
    /// The head cannot be read.
    #[error("its head cannot be read: {0}")]
    Head(#[from] serde_json::Error),
    /// The views of the one that told are not those of the listener.
    #[error("whoever told it does not fold the view {view}; run the same views everywhere")]
    View {
        /// A view of the listener.
        view: ViewId,
    },
    /// A table cannot be read or written.
    #[error("a table cannot be read: {0}")]
    Arrow(#[from] ArrowError),
    /// A table is not one of the view's.
    #[error("a table does not fit its view: {0}")]
    Table(#[from] measure::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    source: SourceName,
    dataset: Arc<str>,
    what: What,
    /// The views that were folded, with the length of their tables in bytes; 0 where nothing fell into one.
    tables: Vec<(ViewId, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Delta { partition: Partition, epoch: u64, range: OffsetRange, as_of_us: Option<i64>, oldest_us: Option<i64> },
    Committed { version: Version, positions: Positions },
    Standing { partition: Partition, epoch: u64, told: Position, lag_records: Option<u64>, partitions: u32 },
}

/// What keeps its order on the way: notices of one partition, and commits of one source.
#[must_use]
pub fn key(notice: &Notice) -> String {
    match notice {
        Notice::Delta(Delta { source, partition, .. }) | Notice::Standing(Standing { source, partition, .. }) => {
            format!("{source}/{partition}")
        }
        Notice::Committed(CommitNotice { source, .. }) => source.to_string(),
    }
}

/// The bytes of `notice`, whose source is `source`.
///
/// # Errors
/// [`Error::Arrow`], [`Error::Length`] for a table of more than 4 GiB.
pub fn encode(notice: &Notice, source: &FeedSource) -> Result<Vec<u8>, Error> {
    let (what, partials): (_, &[_]) = match notice {
        Notice::Delta(Delta { partition, epoch, range, as_of_us, oldest_us, partials, .. }) => {
            let (partition, epoch, range) = (*partition, *epoch, *range);
            (What::Delta { partition, epoch, range, as_of_us: *as_of_us, oldest_us: *oldest_us }, partials)
        }
        Notice::Committed(CommitNotice { version, positions, segment, .. }) => {
            (What::Committed { version: *version, positions: positions.clone() }, segment)
        }
        Notice::Standing(Standing { partition, epoch, told, lag_records, partitions, .. }) => {
            let (partition, epoch, told) = (*partition, *epoch, *told);
            (What::Standing { partition, epoch, told, lag_records: *lag_records, partitions: *partitions }, &[])
        }
    };
    let mut head = Head {
        source: notice.source().clone(),
        dataset: Arc::clone(&source.dataset),
        what,
        tables: Vec::with_capacity(source.views.len()),
    };
    let mut tables = Vec::new();
    if !matches!(notice, Notice::Standing(_)) {
        for view in &source.views {
            let start = tables.len();
            if let Some((_, partial)) = partials.iter().find(|(id, _)| *id == view.id) {
                write_table(partial, &mut tables)?;
            }
            let length = u32::try_from(tables.len() - start).map_err(|_| Error::Length)?;
            head.tables.push((view.id.clone(), length));
        }
    }
    let head = serde_json::to_vec(&head)?;
    let length = u32::try_from(head.len()).map_err(|_| Error::Length)?;
    Ok([&length.to_le_bytes(), head.as_slice(), tables.as_slice()].concat())
}

/// The notice that `bytes` are; `None` if it is of a source or a dataset that is not among `sources`.
///
/// # Errors
/// See [`Error`].
pub fn decode(bytes: &[u8], sources: &FeedSources) -> Result<Option<Notice>, Error> {
    let (length, rest) = bytes.split_first_chunk().ok_or(Error::Length)?;
    let (head, tables) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Error::Length)?;
    let Head { source, dataset, what, tables: lengths } = serde_json::from_slice(head)?;
    let Some(known) = sources.get(&source).filter(|known| known.dataset == dataset) else { return Ok(None) };
    let read = || read_tables(tables, &lengths, &known.views);
    Ok(Some(match what {
        What::Delta { partition, epoch, range, as_of_us, oldest_us } => {
            if range.from > range.to {
                return Err(Error::Length);
            }
            Notice::Delta(Delta { source, partition, epoch, range, as_of_us, oldest_us, partials: read()? })
        }
        What::Committed { version, positions } => {
            Notice::Committed(CommitNotice { source, version, positions, segment: read()? })
        }
        What::Standing { partition, epoch, told, lag_records, partitions } => {
            Notice::Standing(Standing { source, partition, epoch, told, lag_records, partitions })
        }
    }))
}

fn write_table(partial: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(into, partial.schema_ref())?;
    writer.write(partial)?;
    writer.finish()
}

/// The tables of `views`; those of other views are passed over.
fn read_tables(
    mut tables: &[u8],
    lengths: &[(ViewId, u32)],
    views: &[Arc<View>],
) -> Result<Vec<(ViewId, RecordBatch)>, Error> {
    if let Some(view) = views.iter().find(|view| !lengths.iter().any(|(id, _)| *id == view.id)) {
        return Err(Error::View { view: view.id.clone() });
    }
    let mut read = Vec::new();
    for (id, length) in lengths {
        let (table, rest) = tables.split_at_checked(*length as usize).ok_or(Error::Length)?;
        tables = rest;
        if let Some(view) = views.iter().find(|view| view.id == *id)
            && !table.is_empty()
        {
            read.push((id.clone(), read_table(view, table)?));
        }
    }
    if tables.is_empty() { Ok(read) } else { Err(Error::Length) }
}

fn read_table(view: &View, bytes: &[u8]) -> Result<RecordBatch, Error> {
    let mut batches = StreamReader::try_new(bytes, None)?;
    let (Some(batch), None) = (batches.next(), batches.next()) else { return Err(Error::Length) };
    let schema = view.partial_schema();
    let columns = partial::columns(&schema, &batch?)?.to_vec();
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[cfg(test)]
mod tests;
