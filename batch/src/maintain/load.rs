//! Load: the rows of historical files become events of a dataset, each once.
//!
//! A load is a partition of its own ([`common::dataset::LOADS_FROM`]) in which a row's offset is its number in the file. It
//! is committed run by run like any partition, so it goes on where it was stopped, and two processes that load the same
//! file do not load a row twice. A row that cannot become an event is a dead letter, with file and row in its headers (L7).

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use common::{
    dataset::{self, Append, Dataset, LoadId},
    dead_letter,
    decode::{Decoder, Rules},
    event::{self, Counts, DeadLetter},
    limits::LOG_RUN_RECORDS_MAX,
    log::files::{self, Rows},
    names::SourceName,
    position::{OffsetRange, Partition, Position},
    store::Store,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Error;

/// Rows of one commit at most, however small they are.
const ROWS_MAX: usize = 1 << 20;

/// A source that files are loaded into.
#[derive(Debug, Clone)]
pub struct Loader {
    /// Its name.
    pub source: SourceName,
    /// What its columns are.
    pub rules: Rules,
    /// Its dataset.
    pub dataset: Dataset,
    /// Where dead letters go.
    pub store: Store,
    /// Bytes of rows, as JSON, that become one commit. They and the events that they become are in memory at once.
    pub commit_bytes: u64,
}

/// A file to be loaded.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it is on this machine.
    pub path: std::path::PathBuf,
    /// What it is called in dead letters and in `_topic`.
    pub name: String,
    /// What tells it from all others: a file of the same identity is not loaded again.
    pub identity: String,
    /// What counts as the log's time stamp of its rows, microseconds since 1970-01-01 UTC: `ahead_max` is held against it.
    pub timestamp_us: i64,
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// What became of the rows that were loaded now.
    #[serde(flatten)]
    pub counts: Counts,
    /// Rows that had been loaded before.
    pub before: u64,
    /// Commits made.
    pub commits: u64,
}

impl Loader {
    /// Loads what was not loaded of `file`, and returns when all of it is durable. `progress` is told how many rows were.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, or not to its end: the rows before are loaded then. [`Error::Dataset`],
    /// [`Error::DeadLetter`], [`Error::Cancelled`]; all may be tried again.
    pub async fn load(
        &self,
        file: &File,
        progress: &(dyn Fn(u64) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Loaded, Error> {
        let (partition, mut position) = self.dataset.load(LoadId::of(&file.identity)).await?;
        let mut loaded = Loaded { before: position.0, ..Loaded::default() };
        let mut reader = Some(Reader::open(file, &self.rules, partition, position).await?);
        progress(position.0);
        while !cancel.is_cancelled() {
            let (read, run) = self.next(reader.take().expect("it is put back below")).await?;
            let Some(run) = run else { return Ok(loaded) };
            let Run { events, letters, counts, rows, failure } = run;
            if rows == 0 {
                return failure.map_or(Ok(loaded), |failure| Err(Error::File(failure)));
            }
            dead_letter::write(&self.store, &self.source, &letters).await?;
            let range = OffsetRange::new(position, Position(position.0 + rows));
            let append = Append { events, partitions: BTreeMap::from([(partition, (range, counts))]) };
            match self.dataset.append(append).await {
                Ok(commit) => {
                    loaded.counts += counts;
                    loaded.commits += 1;
                    position = range.to;
                    info!(source = %self.source, version = %commit.version, file = file.name, rows, "loaded");
                    reader = Some(read);
                }
                // Another process loads the same file, or the answer to an append was lost.
                Err(dataset::Error::Fenced { actual: Some(actual), .. }) => {
                    loaded.before += actual.0.saturating_sub(position.0);
                    position = actual;
                    reader = Some(read.at(actual).await?);
                    progress(position.0);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            progress(position.0);
            if let Some(failure) = failure {
                return Err(Error::File(failure));
            }
        }
        Err(Error::Cancelled)
    }

    /// The next run of rows, decoded; `None` at the end.
    async fn next(&self, mut reader: Reader) -> Result<(Reader, Option<Run>), Error> {
        let bytes = self.commit_bytes;
        blocking(move || {
            let run = reader.run(bytes);
            (reader, run)
        })
        .await
    }
}

/// Rows that will be one commit.
struct Run {
    events: Vec<RecordBatch>,
    letters: Vec<DeadLetter>,
    counts: Counts,
    rows: u64,
    /// Why there are no more rows, if it is not the end of the file.
    failure: Option<files::Error>,
}

/// A file on its way.
struct Reader {
    file: Arc<File>,
    rows: Rows,
    decoder: Decoder,
    partition: Partition,
    topic: Arc<str>,
}

impl Reader {
    async fn open(file: &File, rules: &Rules, partition: Partition, at: Position) -> Result<Self, Error> {
        let (file, rules) = (Arc::new(file.clone()), rules.of_files());
        blocking(move || {
            let mut rows = Rows::open(&file.path, &rules)?;
            rows.skip_to(at.0)?;
            let topic = file.name.as_str().into();
            Ok(Self { rows, decoder: Decoder::new(rules), partition, topic, file })
        })
        .await?
        .map_err(Error::File)
    }

    /// The same, at another row.
    async fn at(mut self, at: Position) -> Result<Self, Error> {
        blocking(move || self.rows.skip_to(at.0).map(|()| self)).await?.map_err(Error::File)
    }

    fn run(&mut self, bytes_max: u64) -> Option<Run> {
        let mut run =
            Run { events: Vec::new(), letters: Vec::new(), counts: Counts::default(), rows: 0, failure: None };
        let mut bytes = 0;
        while bytes < bytes_max && (run.rows as usize) < ROWS_MAX && run.failure.is_none() {
            let mut records = event::Run::with_capacity(Arc::clone(&self.topic), self.partition, 0, 0);
            while records.len() < LOG_RUN_RECORDS_MAX && bytes < bytes_max {
                match self.rows.next() {
                    None => break,
                    Some(Ok(row)) => {
                        bytes += row.value.len() as u64;
                        records.push(row.number, self.file.timestamp_us, None, Vec::new(), Some(&row.value));
                    }
                    Some(Err(failure)) => {
                        run.failure = Some(failure);
                        break;
                    }
                }
            }
            if records.is_empty() {
                break;
            }
            run.rows += records.len() as u64;
            let decoded = self.decoder.decode(&records);
            let (events, dead_letters) = (decoded.events.num_rows() as u64, decoded.dead_letters.len() as u64);
            run.counts += Counts { events, dead_letters, tombstones: decoded.tombstones };
            run.letters.extend(decoded.dead_letters.into_iter().map(|letter| self.addressed(letter)));
            if events > 0 {
                run.events.push(decoded.events);
            }
        }
        (run.rows > 0 || run.failure.is_some()).then_some(run)
    }

    /// The letter with file and row, counted from 1 as people do.
    fn addressed(&self, mut letter: DeadLetter) -> DeadLetter {
        let row = (letter.record.offset + 1).to_string();
        letter.record.headers = vec![
            ("file".to_owned(), Bytes::copy_from_slice(self.file.name.as_bytes())),
            ("row".to_owned(), row.into_bytes().into()),
        ];
        letter
    }
}

/// Does `work`, which reads files and decodes, off the async runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

/// The hash of a file's content, by which it is known whatever it is called: XXH3-128, 32 hexadecimal digits. Blocks.
///
/// # Errors
/// If the file cannot be read.
pub fn content_hash(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let (mut file, mut hash) = (std::fs::File::open(path)?, xxhash_rust::xxh3::Xxh3::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", hash.digest128())),
            read => hash.update(&buffer[..read]),
        }
    }
}
