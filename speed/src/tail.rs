//! The tail of one partition: its uncommitted events and dead letters, and the fold of what came since the last delta.
//!
//! All of its work is CPU work without I/O: it runs off the async runtime, and it must never be kept in any durable place (L5).

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::{
    decode::{self, Decoder, Rules},
    event::{Counts, DeadLetter, Record},
    feed::Delta,
    fold::Fold,
    log::Records,
    measure,
    names::SourceName,
    position::{OffsetRange, Partition, Position},
    telemetry::{self, Ingest},
    view::{View, ViewId},
};

use tokio::time::Instant;

use crate::error::Error;

/// What a record costs in memory besides its bytes, about: it keeps runs of tombstones from counting as nothing.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Where the reading of a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) partition: Partition,
    /// The reader's term of this partition.
    pub(crate) epoch: u64,
    /// The dataset's position: where the first delta and the first commit start.
    pub(crate) committed: Position,
    /// The first offset to read. After `committed` only where nothing was ever committed and the log starts later.
    pub(crate) next: Position,
}

/// What every tail of one source needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) source: SourceName,
    pub(crate) rules: Rules,
    pub(crate) views: Arc<[Arc<View>]>,
    pub(crate) metrics: Ingest,
}

/// A partition's share of one commit.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: Partition,
    pub(crate) epoch: u64,
    /// What it covers; `from` is what the dataset's position must still be (L3).
    pub(crate) range: OffsetRange,
    pub(crate) counts: Counts,
    pub(crate) events: Vec<RecordBatch>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// The partials of its deltas, by view: a view occurs once a delta.
    pub(crate) partials: Vec<(ViewId, RecordBatch)>,
    pub(crate) bytes: u64,
}

impl Part {
    fn empty(partition: Partition, epoch: u64, from: Position) -> Self {
        Self {
            partition,
            epoch,
            range: OffsetRange::new(from, from),
            counts: Counts::default(),
            events: Vec::new(),
            dead_letters: Vec::new(),
            partials: Vec::new(),
            bytes: 0,
        }
    }
}

/// Something to do with a tail. Jobs of one partition are done one after the other, in the order given.
#[derive(Debug)]
pub(crate) enum Job {
    /// Decode and fold these records, of so many bytes.
    Read(Records, u64),
    /// Close the open delta.
    Cut,
    /// Close the open delta and hand over everything uncommitted.
    Seal,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// The records before `to` became what `counts` says.
    Read { to: Position, delivered: u64, counts: Counts, newest_us: Option<i64> },
    /// A delta was closed.
    Delta(Delta),
    /// What is to be committed was handed over.
    Part(Part),
}

/// The tail of one partition in one epoch.
#[derive(Debug)]
pub(crate) struct Tail {
    source: SourceName,
    metrics: Ingest,
    decoder: Decoder,
    fold: Fold,
    /// Whether records come with their headers.
    headers: bool,
    /// The next offset to read.
    next: Position,
    /// Where the open delta starts.
    cut: Position,
    /// The newest record time stamp in the open delta.
    as_of_us: Option<i64>,
    /// The oldest.
    oldest_us: Option<i64>,
    /// What is not committed; its range ends at `cut`.
    part: Part,
}

impl Tail {
    /// An empty tail, of records with their headers or without.
    pub(crate) fn new(recipe: &Recipe, start: Start, headers: bool) -> Self {
        Self {
            source: recipe.source.clone(),
            metrics: recipe.metrics.clone(),
            decoder: Decoder::new(recipe.rules.clone()),
            fold: Fold::new(&recipe.views),
            headers,
            next: start.next,
            cut: start.committed,
            as_of_us: None,
            oldest_us: None,
            part: Part::empty(start.partition, start.epoch, start.committed),
        }
    }

    pub(crate) fn partition(&self) -> Partition {
        self.part.partition
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.part.epoch
    }

    /// The bytes of events and dead letters that wait for a commit.
    pub(crate) fn bytes(&self) -> u64 {
        self.part.bytes
    }

    /// Gets ready for `jobs`: learns the schemas that their records were written with. This is all the I/O there is, and
    /// nothing for most sources.
    ///
    /// # Errors
    /// See [`decode::Error`]. The tail is as it was, and may be made ready again.
    pub(crate) async fn prepare(&mut self, jobs: &[Job]) -> Result<(), decode::Error> {
        for job in jobs {
            if let Job::Read(run, _) = job {
                self.decoder.prepare(&run.records).await?;
            }
        }
        Ok(())
    }

    /// Does `jobs`, for which it was made ready, in order.
    ///
    /// # Errors
    /// See [`Error`]. The tail is not to be used after one.
    pub(crate) fn work(&mut self, jobs: Vec<Job>) -> Result<Vec<Done>, Error> {
        let mut done = Vec::with_capacity(jobs.len() + 1);
        for job in jobs {
            match job {
                Job::Read(run, bytes) => done.push(self.read(run, bytes)?),
                Job::Cut => done.extend(self.cut()?.map(Done::Delta)),
                Job::Seal => {
                    done.extend(self.cut()?.map(Done::Delta));
                    done.push(Done::Part(self.seal()));
                }
            }
        }
        Ok(done)
    }

    fn read(&mut self, run: Records, bytes: u64) -> Result<Done, Error> {
        let Records { partition, range, records } = run;
        if range.from != self.next {
            return Err(Error::Unchained { partition, expected: self.next, got: range });
        }
        let delivered = records.len() as u64;
        let newest_us = records.timestamps_us().max();
        let oldest_us = records.timestamps_us().min();
        self.as_of_us = self.as_of_us.max(newest_us);
        self.oldest_us = [self.oldest_us, oldest_us].into_iter().flatten().min();

        let began = Instant::now();
        let decoded = self.decoder.decode(&records);
        let decoding = began.elapsed();
        if !self.headers && !decoded.dead_letters.is_empty() {
            return Err(Error::Headless { partition, range });
        }
        let counts = Counts {
            events: decoded.events.num_rows() as u64,
            dead_letters: decoded.dead_letters.len() as u64,
            tombstones: decoded.tombstones,
        };
        if counts.records() != delivered {
            return Err(Error::Unaccounted { partition, range, delivered, accounted: counts.records() });
        }

        let began = Instant::now();
        if counts.events > 0 {
            self.fold.fold(&decoded.events).map_err(|source| Error::Fold { partition, range, source })?;
            self.part.bytes += decoded.events.get_array_memory_size() as u64;
            self.part.events.push(decoded.events);
        }
        let folding = began.elapsed();
        let reasons: Vec<_> = decoded.dead_letters.iter().map(|letter| letter.reason).collect();
        let read = telemetry::Read { counts, bytes, dead_letters: &reasons, decoding, folding };
        self.metrics.read(partition, &read);
        for letter in decoded.dead_letters {
            self.part.bytes += record_bytes(&letter.record);
            self.part.dead_letters.push(letter);
        }
        self.part.counts += counts;
        self.next = range.to;
        Ok(Done::Read { to: range.to, delivered, counts, newest_us })
    }

    /// Closes the open delta; `None` if nothing was read since the last one. Records that gave no event still make a
    /// delta, of no partials: the partition has moved.
    fn cut(&mut self) -> Result<Option<Delta>, Error> {
        if self.next == self.cut {
            return Ok(None);
        }
        let (partition, range) = (self.partition(), OffsetRange::new(self.cut, self.next));
        let partials = self.take_partials().map_err(|source| Error::Fold { partition, range, source })?;
        self.part.partials.extend(partials.iter().cloned());
        self.part.range.to = range.to;
        self.cut = range.to;
        Ok(Some(Delta {
            source: self.source.clone(),
            partition,
            epoch: self.epoch(),
            range,
            as_of_us: self.as_of_us.take(),
            oldest_us: self.oldest_us.take(),
            partials,
        }))
    }

    fn take_partials(&mut self) -> Result<Vec<(ViewId, RecordBatch)>, measure::Error> {
        let partials = self.fold.take()?;
        let ids = self.fold.views().iter().map(|v| v.id.clone());
        Ok(ids.zip(partials).filter(|(_, partial)| partial.num_rows() > 0).collect())
    }

    /// Hands over what is uncommitted, up to the delta just closed.
    fn seal(&mut self) -> Part {
        let next = Part::empty(self.partition(), self.epoch(), self.cut);
        std::mem::replace(&mut self.part, next)
    }
}

/// About how many bytes `record` takes in memory.
pub(crate) fn record_bytes(record: &Record) -> u64 {
    let value = record.value.as_ref().map_or(0, |v| v.len());
    let key = record.key.as_ref().map_or(0, |k| k.len());
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    (value + key + headers + RECORD_OVERHEAD_BYTES) as u64
}
