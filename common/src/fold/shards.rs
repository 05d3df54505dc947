//! All groups of one view that a run makes, where many tasks bring what they have: states of groups that they folded
//! themselves, where that made them fewer, or else rows.
//!
//! Few groups are in one table. Many are spread over [`SHARDS`] tables by a hash of their dimensions, so that each fits a
//! core's cache. Rows wait until there are enough of them for every shard. Then whoever brings rows folds some shards of them:
//! nobody waits for others, as it would where one called them together. In which order what came does not show (L1).

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arrow::{array::ArrayRef, record_batch::RecordBatch};
use rayon::prelude::*;

use super::{
    apart::{self, Apart},
    scatter::{Scattered, by_shard},
    settled::{Own, Settled, alike},
    spread::SHARDS,
    table::{GroupTable, Handed},
};
use crate::{measure::Error, partial, view::View};

/// Groups that one table holds.
const WHOLE_GROUPS_MAX: usize = if cfg!(test) { 4 } else { 1 << 13 };

/// Bytes of rows that wait: while a shard is in the cache, it is to get thousands.
const WAITING_BYTES_MAX: usize = if cfg!(test) { 4 << 10 } else { 48 << 20 };

/// See the module. After an error it is not to be used again. What is said of all groups or rows is of those that were brought: not
/// of what others are bringing meanwhile, of which shards may be claimed and not folded yet.
#[derive(Debug)]
pub struct Shards {
    view: Arc<View>,
    /// All groups, while they are few.
    whole: Mutex<GroupTable>,
    /// All groups, since they are many.
    spread: OnceLock<Vec<Mutex<GroupTable>>>,
    /// Rows that wait to be folded.
    waiting: Mutex<Vec<Scattered>>,
    waiting_bytes: AtomicUsize,
    /// Those that wait no more.
    folding: Mutex<Vec<Arc<Round>>>,
    folding_bytes: AtomicUsize,
    /// Bytes of all tables.
    table_bytes: AtomicUsize,
    /// Groups that are not merged with any others yet.
    apart: Apart,
    scatters: AtomicBool,
}

/// Rows that are being folded, shard by shard.
#[derive(Debug)]
struct Round {
    rows: Vec<Scattered>,
    bytes: usize,
    /// The next shard that nobody folds yet.
    next: AtomicUsize,
    /// How many shards are folded.
    folded: AtomicUsize,
}

impl Round {
    /// The next shard, which is the caller's to fold.
    fn claim(&self) -> Option<usize> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|&shard| shard < SHARDS)
    }
}

impl Shards {
    /// No groups of `view`.
    #[must_use]
    pub fn new(view: &Arc<View>) -> Self {
        Self {
            view: Arc::clone(view),
            whole: Mutex::new(GroupTable::of(view)),
            spread: OnceLock::new(),
            waiting: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
            folding: Mutex::default(),
            folding_bytes: AtomicUsize::new(0),
            table_bytes: AtomicUsize::new(0),
            apart: Apart::default(),
            scatters: AtomicBool::new(false),
        }
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let counts = [&self.table_bytes, &self.waiting_bytes, &self.folding_bytes];
        counts.into_iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>() + self.apart.bytes()
    }

    /// Whether rows are better brought as they are, because folding them makes them hardly fewer.
    pub(super) fn scatters(&self) -> bool {
        self.scatters.load(Ordering::Relaxed)
    }

    /// From now on, rows are better brought as they are.
    pub(super) fn scatter(&self) {
        self.scatters.store(true, Ordering::Relaxed);
    }

    /// Merges a partial of the view, in any order and even with groups twice.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn merge(&self, partial: &RecordBatch) -> Result<(), Error> {
        let columns = partial::columns(&self.view.partial_schema(), partial)?;
        let (keys, states) = columns.split_at(1 + self.view.dimensions.len());
        let mut table = GroupTable::of(&self.view);
        table.merge(keys, states)?;
        self.absorb(table)
    }

    /// Keeps a table of the view as it is, for as long as that can be.
    pub(super) fn keep(&self, table: GroupTable) {
        self.apart.push(table);
    }

    /// Merges the groups of a table of the view.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn absorb(&self, table: GroupTable) -> Result<(), Error> {
        let all: Vec<u32> = (0..table.len() as u32).collect();
        self.absorb_groups(&mut Handed::new(table), &all)
    }

    /// Merges `which` groups of a table of the view.
    fn absorb_groups(&self, handed: &mut Handed, which: &[u32]) -> Result<(), Error> {
        if self.spread.get().is_none() {
            let mut whole = lock(&self.whole);
            // Another may have spread the groups while this one waited.
            if self.spread.get().is_none() {
                self.counted(&mut whole, |whole| whole.absorb(handed, which))?;
                return if whole.len() > WHOLE_GROUPS_MAX { self.spread_out(&mut whole) } else { Ok(()) };
            }
        }
        self.absorb_spread(handed, which)
    }

    /// Does something with a table and counts the bytes that it holds after.
    fn counted<T>(&self, table: &mut GroupTable, work: impl FnOnce(&mut GroupTable) -> T) -> T {
        let before = table.bytes();
        let done = work(table);
        // Wraps around where there are fewer now.
        self.table_bytes.fetch_add(table.bytes().wrapping_sub(before), Ordering::Relaxed);
        done
    }

    fn spread_out(&self, whole: &mut GroupTable) -> Result<(), Error> {
        let tables = (0..SHARDS).map(|_| Mutex::new(GroupTable::of(&self.view)));
        self.spread.get_or_init(|| tables.collect());
        let table = self.taken(whole);
        let all: Vec<u32> = (0..table.len() as u32).collect();
        self.absorb_spread(&mut Handed::new(table), &all)
    }

    fn absorb_spread(&self, handed: &mut Handed, which: &[u32]) -> Result<(), Error> {
        let (groups, ends) = by_shard(which, &handed.hashes(which));
        let mut start = 0;
        for (table, end) in self.tables().iter().zip(ends) {
            let groups = &groups[start..end as usize];
            start = end as usize;
            if !groups.is_empty() {
                self.counted(&mut lock(table), |table| table.absorb(handed, groups))?;
            }
        }
        Ok(())
    }

    /// Takes everything out of a table.
    fn taken(&self, table: &mut GroupTable) -> GroupTable {
        self.counted(table, |table| mem::replace(table, GroupTable::of(&self.view)))
    }

    fn tables(&self) -> &[Mutex<GroupTable>] {
        self.spread.get().expect("the groups were spread")
    }

    /// Adds rows. Where there are enough for every shard, some are folded, these or others.
    pub(super) fn push(&self, rows: Scattered) -> Result<(), Error> {
        self.push_last(rows);
        self.begin(WAITING_BYTES_MAX)?;
        while let Some(round) = self.round() {
            while let Some(shard) = round.claim() {
                self.fold_shard(&round, shard)?;
            }
            self.end(&round);
        }
        Ok(())
    }

    /// Adds rows that are the last ones: [`Self::fold_waiting`] comes next.
    pub(super) fn push_last(&self, rows: Scattered) {
        let mut waiting = lock(&self.waiting);
        self.waiting_bytes.fetch_add(rows.bytes(), Ordering::Relaxed);
        waiting.push(rows);
    }

    /// From now on the rows that wait are being folded, if they are of so many bytes at least.
    fn begin(&self, bytes_min: usize) -> Result<(), Error> {
        let mut waiting = lock(&self.waiting);
        let bytes = self.waiting_bytes.load(Ordering::Relaxed);
        if waiting.is_empty() || bytes < bytes_min {
            return Ok(());
        }
        let rows = mem::take(&mut *waiting);
        self.folding_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.waiting_bytes.store(0, Ordering::Relaxed);
        drop(waiting);
        self.ensure_spread()?;
        let (next, folded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        lock(&self.folding).push(Arc::new(Round { rows, bytes, next, folded }));
        Ok(())
    }

    /// Rows of which there may be shards left to be folded.
    fn round(&self) -> Option<Arc<Round>> {
        lock(&self.folding).first().map(Arc::clone)
    }

    fn fold_shard(&self, round: &Round, shard: usize) -> Result<(), Error> {
        let table = &self.tables()[shard];
        self.counted(&mut lock(table), |table| round.rows.iter().try_for_each(|rows| rows.fold(shard, table)))?;
        if round.folded.fetch_add(1, Ordering::Relaxed) + 1 == SHARDS {
            self.folding_bytes.fetch_sub(round.bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// No shard of `round` is left for anybody.
    fn end(&self, round: &Arc<Round>) {
        lock(&self.folding).retain(|other| !Arc::ptr_eq(other, round));
    }

    /// Folds all rows that wait, and merges all groups. Uses the threads of the pool that it is called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn settle(&self) -> Result<(), Error> {
        self.fold_waiting()?;
        self.apart.take().into_par_iter().try_for_each(|apart| self.absorb(apart.table))
    }

    /// Folds all rows that wait; shards of them that others are at are theirs to end. Uses the threads of the pool that it is
    /// called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn fold_waiting(&self) -> Result<(), Error> {
        self.begin(0)?;
        while let Some(round) = self.round() {
            let next = |_| round.claim().map_or(Ok(()), |shard| self.fold_shard(&round, shard));
            (0..SHARDS).into_par_iter().try_for_each(next)?;
            self.end(&round);
        }
        Ok(())
    }

    /// Gives back the memory of what only folding and merging need. It is made anew if more comes.
    pub fn rest(&self) {
        for table in self.all_tables() {
            self.counted(&mut lock(table), GroupTable::rest);
        }
    }

    /// The table of all groups, or those that they are spread over.
    fn all_tables(&self) -> &[Mutex<GroupTable>] {
        self.spread.get().map_or(std::slice::from_ref(&self.whole), Vec::as_slice)
    }

    /// Spreads the groups over all shards, even if they are few.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn ensure_spread(&self) -> Result<(), Error> {
        if self.spread.get().is_none() {
            let mut whole = lock(&self.whole);
            // Another may have spread the groups while this one waited.
            if self.spread.get().is_none() {
                self.spread_out(&mut whole)?;
            }
        }
        Ok(())
    }

    /// The buckets of all groups, ascending. Uses the threads of the pool that it is called on.
    #[must_use]
    pub fn buckets(&self) -> Vec<i64> {
        let mut buckets = self.merged_buckets();
        buckets.extend(self.apart.buckets());
        buckets.sort();
        buckets.dedup();
        buckets
    }

    /// The buckets of the groups that were merged, ascending.
    fn merged_buckets(&self) -> Vec<i64> {
        let of_each = self.all_tables().par_iter().map(|table| lock(table).buckets());
        of_each.reduce(Vec::new, |mut buckets, more| {
            buckets.extend(more);
            // Each table has about the same ones in about the same order, which this sort makes use of.
            buckets.sort();
            buckets.dedup();
            buckets
        })
    }

    /// Takes the groups of one shard, of [`SHARDS`], ordered by bucket only: even while others bring more. Rows that still wait
    /// are not among them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take_shard(&self, shard: usize) -> Result<RecordBatch, Error> {
        self.ensure_spread()?;
        let mut taken = self.taken(&mut lock(&self.tables()[shard]));
        self.partial(taken.take_by_bucket()?)
    }

    /// Takes everything, as much as can be where it is: tables of which no group is in two. Uses the threads of the pool that it is
    /// called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take_settled(&self) -> Result<Vec<Settled>, Error> {
        self.fold_waiting()?;
        let mut settled = self.take_apart()?;
        let is_spread = self.spread.get().is_some();
        let merged = self.all_tables().par_iter().enumerate().map(|(shard, table)| {
            Handed::new(self.taken(&mut lock(table))).settled(if is_spread { Own::Shard(shard) } else { Own::All })
        });
        settled.extend(merged.collect::<Result<Vec<_>, _>>()?);
        Ok(alike(settled))
    }

    /// Takes the tables that are apart, and merges what more than one has of a bucket, or what was merged has.
    fn take_apart(&self) -> Result<Vec<Settled>, Error> {
        let tables = self.apart.take();
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let merged = self.merged_buckets();
        let shared = apart::shared(tables.iter().map(|apart| &*apart.buckets).chain([&*merged]));
        let settled = tables.into_par_iter().map(|apart| {
            let (own, others) = apart.part(&shared);
            let mut handed = Handed::new(apart.table);
            if others.is_empty() {
                return handed.settled(Own::All);
            }
            self.absorb_groups(&mut handed, &others)?;
            handed.settled(Own::Some(own))
        });
        settled.collect()
    }

    /// Takes everything: one canonical partial of all groups, or one of each shard, in order of shard, which are ordered by
    /// bucket only and have no group in common. Uses the threads of the pool that it is called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take(&self) -> Result<Vec<RecordBatch>, Error> {
        self.settle()?;
        match self.spread.get() {
            Some(_) => (0..SHARDS).into_par_iter().map(|shard| self.take_shard(shard)).collect(),
            None => Ok(vec![self.partial(self.taken(&mut lock(&self.whole)).take()?)?]),
        }
    }

    fn partial(&self, (mut columns, states): (Vec<ArrayRef>, Vec<ArrayRef>)) -> Result<RecordBatch, Error> {
        columns.extend(states);
        Ok(RecordBatch::try_new(self.view.partial_schema(), columns)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic the run is over; what is in it is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
