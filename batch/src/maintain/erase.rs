//! Erase: the events that a condition holds for, and all that is left of them, are taken out of the store.
//!
//! In this order, so that a kill in between leaves at most something to be done again:
//!
//! 1. Data files that have such events are rewritten without them, many in one commit. Positions and counts stay: what was erased is
//!    not read from the log again. The commit says that nothing computed before it may be carried on ([`crate::plan`]).
//! 2. Files that rewrites have replaced, these and earlier ones, are removed at once, without a grace.
//! 3. Dead letters that have the condition's texts and numbers anywhere in them are removed: a broken record has no columns.
//! 4. Segments of the source and files of unfinished batch runs are removed. They are made again from what is there now.
//! 5. A generation is made, from raw files, and all before it are removed with what only they name.
//! 6. Everything is scanned. What was committed meanwhile makes another pass; else the receipt is written.
//!
//! Events that wait in the log for their commit are no part of it: the receipt says up to which positions it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::{Mutex, PoisonError},
};

use common::{
    dataset::{DataFile, Dataset, Replacement, Swap, Why, Written},
    dead_letter,
    expression::Expression,
    generation,
    limits::ERASE_PASSES_MAX,
    pipeline::Source,
    position::{Positions, Version},
    schema::ColumnType,
    segment,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Serialize;
use tracing::info;

use super::{
    mentions::mentions,
    swaps::{self, Room, weight},
};
use crate::{Batch, Error, Watch};

/// A file that had such events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// The object, which is gone.
    pub path: String,
    /// How many events were erased.
    pub erased: u64,
    /// How many events of it are in another file now.
    pub kept: u64,
}

/// What was scanned in the end, and what was found: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// The version of the dataset.
    pub version: Version,
    /// Up to where of each partition that is.
    pub positions: Positions,
    /// Data files read.
    pub files: u64,
    /// Events in them.
    pub events: u64,
    /// Dead letters read.
    pub dead_letters: u64,
    /// Events and dead letters that the condition holds for.
    pub found: u64,
}

/// What an erasure did, and the proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The source.
    pub source: String,
    /// XXH3-128 of the condition's text, so that it can be told again. The text itself says whom it was about.
    pub condition_hash: String,
    /// The columns that the condition reads.
    pub columns: Vec<String>,
    /// When it ended, microseconds since 1970-01-01 UTC.
    pub ended_at_us: i64,
    /// The data files that had such events.
    pub rewritten: Vec<Rewritten>,
    /// Data files that were removed, those of earlier rewrites too.
    pub data_files_removed: Vec<String>,
    /// Files of dead letters that were changed or removed, and how many letters were erased from each.
    pub dead_letters: BTreeMap<String, u64>,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Files of batch runs that were not finished, which were removed.
    pub run_files_removed: u64,
    /// The generation that was made from what is left; `None` where there is none at all.
    pub generation: Option<u64>,
    /// Generations that were removed.
    pub generations_removed: u64,
    /// Chunks that were removed.
    pub chunks_removed: u64,
    /// Archives of what retention removed: aggregates, in which single events cannot be told apart. They stay.
    pub archives_kept: u64,
    /// The last scan.
    pub scan: Scan,
}

impl Batch {
    /// Erases the events of `source` that `condition`, SQL over its columns, holds for. Returns the receipt and where in the
    /// store it was put.
    ///
    /// # Errors
    /// [`Error::Condition`] if it is none; [`Error::NotErased`]; [`Error::Dataset`], [`Error::Store`] and others. Whatever it
    /// was, erasing again goes on.
    pub async fn erase(&self, source: &Source, condition: &str, watch: &Watch) -> Result<(Receipt, Path), Error> {
        let condition = parse(source, condition).await?;
        let dataset = self.dataset(source).await?;
        let mut receipt = Receipt {
            source: source.name.to_string(),
            condition_hash: format!("{:032x}", xxhash_rust::xxh3::xxh3_128(condition.sql().as_bytes())),
            columns: condition.columns().to_vec(),
            archives_kept: dataset.snapshot().await?.archives.len() as u64,
            ..Receipt::default()
        };
        let mut pass = 1;
        loop {
            watch.check()?;
            self.erase_events(&dataset, source, &condition, &mut receipt, watch).await?;
            self.erase_letters(source, &condition, &mut receipt).await?;
            self.erase_derived(source, &mut receipt, watch).await?;
            receipt.scan = self.scan(&dataset, source, &condition).await?;
            if receipt.scan.found == 0 {
                break;
            }
            if pass == ERASE_PASSES_MAX {
                return Err(Error::NotErased { passes: pass, events: receipt.scan.found });
            }
            pass += 1;
        }
        receipt.ended_at_us = self.clock.now_us();
        let path = self.keep_receipt(&receipt).await?;
        info!(source = %source.name, receipt = %path, "erased");
        Ok((receipt, path))
    }

    /// Steps 1 and 2.
    async fn erase_events(
        &self,
        dataset: &Dataset,
        source: &Source,
        condition: &Expression,
        receipt: &mut Receipt,
        watch: &Watch,
    ) -> Result<(), Error> {
        let head = dataset.snapshot().await?.version;
        let columns: Vec<String> =
            source.rules.schema.event_schema().fields().iter().map(|field| field.name().clone()).collect();
        let (room, found) = (Room::new(), Mutex::new(BTreeMap::new()));
        let without = Without { dataset, condition, columns: &columns, room: &room, found: &found, watch };
        let swaps: Vec<_> = dataset.files(head).await?.into_iter().map(|file| without.of(file)).collect();
        let swaps = stream::iter(swaps).buffer_unordered(self.engine.in_flight());
        let swaps = swaps.filter_map(|swap| ready(swap.transpose()));
        // Should a compaction have been faster with one, the scan finds the events in its file.
        let done = swaps::commit(dataset, Why::Erasure, swaps, watch).await?;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter();
        receipt.rewritten.extend(found.filter(|(path, _)| done.contains(path)).map(|(_, rewritten)| rewritten));
        let replaced = dataset.replaced().await?;
        dataset.delete_files(&replaced).await?;
        receipt.data_files_removed.extend(replaced.iter().map(Path::to_string));
        Ok(())
    }

    /// Step 3.
    async fn erase_letters(&self, source: &Source, condition: &Expression, receipt: &mut Receipt) -> Result<(), Error> {
        let literals = condition.literals();
        let erased = dead_letter::retain(&self.store, &source.name, |letter| !mentions(letter, &literals)).await?;
        for (path, letters) in erased {
            *receipt.dead_letters.entry(path.to_string()).or_default() += letters;
        }
        Ok(())
    }

    /// Steps 4 and 5.
    async fn erase_derived(&self, source: &Source, receipt: &mut Receipt, watch: &Watch) -> Result<(), Error> {
        // What runs that were killed, or are at work, have made of the events so far: they fail, and are made anew.
        receipt.run_files_removed += self.remove_runs().await?;
        let segments = segment::list(&self.store, &source.name).await?;
        receipt.segments_removed +=
            self.remove(segments.into_iter().map(|(_, _, object)| object.path).collect()).await?;
        if generation::latest(&self.store).await?.is_none() {
            return Ok(());
        }
        let newest = self.advance(watch).await?.outcome.generation();
        receipt.generation = Some(newest);
        let manifests = generation::manifests(&self.store).await?.into_iter();
        let old = manifests.filter(|(number, _)| *number < newest).map(|(_, object)| object.path).collect();
        receipt.generations_removed += self.remove(old).await?;
        let mut named = BTreeSet::new();
        for (number, _) in generation::manifests(&self.store).await? {
            let Some(generation) = generation::load(&self.store, number).await? else { continue };
            named.extend(generation.views.into_values().flat_map(|files| files.chunks).map(|chunk| chunk.path));
        }
        // Only of this source's views: a run that is at work on others may be about to name theirs.
        let views: BTreeSet<_> =
            self.pipeline.views_of(&source.name).iter().map(|view| view.id.as_str().to_owned()).collect();
        let ours = |path: &Path| path.parts().nth(2).is_some_and(|view| views.contains(view.as_ref()));
        let chunks = generation::chunks(&self.store).await?.into_iter().map(|object| object.path);
        let unnamed = chunks.filter(|path| ours(path) && !named.contains(path.as_ref())).collect();
        receipt.chunks_removed += self.remove(unnamed).await?;
        Ok(())
    }

    /// Step 6: reads everything that is there.
    async fn scan(&self, dataset: &Dataset, source: &Source, condition: &Expression) -> Result<Scan, Error> {
        let head = dataset.snapshot().await?;
        let mut scan = Scan { version: head.version, positions: head.positions, ..Scan::default() };
        let files = dataset.files(head.version).await?;
        (scan.files, scan.events) = (files.len() as u64, files.iter().map(|file| file.rows).sum());
        let counts: Vec<_> = files.iter().map(|file| count(dataset, file, condition)).collect();
        let counts = stream::iter(counts).buffer_unordered(self.engine.in_flight());
        scan.found = counts.try_fold(0, |sum, found| ready(Ok(sum + found))).await?;
        let literals = condition.literals();
        for letter in dead_letter::read(&self.store, &source.name, &scan.positions, usize::MAX).await? {
            scan.dead_letters += 1;
            scan.found += u64::from(mentions(&letter, &literals));
        }
        Ok(scan)
    }

    async fn keep_receipt(&self, receipt: &Receipt) -> Result<Path, Error> {
        let name = format!("{:020}-{}.json", receipt.ended_at_us, receipt.condition_hash);
        let path = Path::from_iter(["erasures", receipt.source.as_str(), &name]);
        let text = serde_json::to_vec_pretty(receipt).expect("a receipt is plain data with text keys");
        self.store.put(&path, text.into()).await?;
        Ok(path)
    }
}

/// Files without the events that a condition holds for.
struct Without<'e> {
    dataset: &'e Dataset,
    condition: &'e Expression,
    columns: &'e [String],
    room: &'e Room,
    /// What is rewritten so.
    found: &'e Mutex<BTreeMap<Path, Rewritten>>,
    watch: &'e Watch,
}

impl Without<'_> {
    /// What is to take the place of `file`; `None` if it has no such event.
    async fn of(&self, file: DataFile) -> Result<Option<Swap>, Error> {
        self.watch.check()?;
        let erased = count(self.dataset, &file, self.condition).await?;
        if erased == 0 {
            return Ok(None);
        }
        let _room = self.room.take(weight(&file)).await;
        let added = rest(self.dataset, &file, self.condition, self.columns).await?;
        let rewritten = Rewritten { path: file.path.to_string(), erased, kept: file.rows - erased };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(file.path.clone(), rewritten);
        Ok(Some(Swap { removed: vec![file], added: Vec::from_iter(added) }))
    }
}

/// The condition, over the columns of `source`. Polars types it, which must not run on the async runtime.
async fn parse(source: &Source, condition: &str) -> Result<Expression, Error> {
    let columns: Vec<_> =
        source.rules.schema.columns().iter().map(|column| (column.name.clone(), column.column_type)).collect();
    let sql = condition.to_owned();
    let parsed = off_runtime(move || Expression::parse(&sql, &columns)).await?;
    if parsed.column_type() != ColumnType::Bool {
        let message = format!("it is {}, not a condition", parsed.column_type());
        return Err(Error::Condition(common::expression::Error::Invalid { sql: condition.to_owned(), message }));
    }
    Ok(parsed)
}

/// How many events of `file` the condition holds for.
async fn count(dataset: &Dataset, file: &DataFile, condition: &Expression) -> Result<u64, Error> {
    let batches = dataset.read(file, condition.columns()).await?;
    let condition = condition.clone();
    off_runtime(move || {
        let counts = batches.iter().map(|batch| Ok(condition.matches(batch)?.true_count() as u64));
        counts.sum::<Result<u64, Error>>()
    })
    .await
}

/// The events of `file` that the condition does not hold for, written as a file; `None` if there are none.
async fn rest(
    dataset: &Dataset,
    file: &DataFile,
    condition: &Expression,
    columns: &[String],
) -> Result<Option<Written>, Error> {
    let batches = dataset.read(file, columns).await?;
    let condition = condition.clone();
    let kept = off_runtime(move || {
        let mut kept = Vec::with_capacity(batches.len());
        for batch in &batches {
            let keep = arrow::compute::not(&condition.matches(batch)?)?;
            kept.push(arrow::compute::filter_record_batch(batch, &keep)?);
        }
        Ok::<_, Error>(kept)
    });
    let events = kept.await?;
    if events.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    let replacement = Replacement { date: file.date().map(str::to_owned), events };
    Ok(Some(dataset.write(replacement).await?))
}

/// Does CPU work on the blocking pool.
async fn off_runtime<T: Send + 'static, E: Into<Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}
