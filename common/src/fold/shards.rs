//! All groups of one view that a run makes, where many tasks bring what they have: states of groups that they folded
//! themselves, where that made them fewer, or else rows.
//!
//! Few groups are in one table. Many are spread over [`SHARDS`] tables by a hash of their dimensions, so that each fits a
//! core's cache. Rows wait until there are enough of them for every shard. In which order what came does not show (L1).

use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayRef},
    compute::take_arrays,
    record_batch::RecordBatch,
};
use rayon::prelude::*;

use super::{
    column::Picked,
    scatter::{Scattered, sort},
    spread::{self, SHARDS, shard_of},
    table::GroupTable,
};
use crate::{
    measure::{Error, input::Input},
    partial,
    view::View,
};

/// Groups that one table holds.
const WHOLE_GROUPS_MAX: usize = if cfg!(test) { 4 } else { 1 << 13 };

/// Bytes of rows that wait: while a shard is in the cache, it is to get thousands.
const WAITING_BYTES_MAX: usize = if cfg!(test) { 4 << 10 } else { 48 << 20 };

/// See the module. After an error it is not to be used again.
#[derive(Debug)]
pub struct Shards {
    view: Arc<View>,
    /// All groups, while they are few.
    whole: Mutex<GroupTable>,
    /// All groups, since they are many.
    spread: OnceLock<Vec<Mutex<GroupTable>>>,
    /// Rows that wait to be folded.
    waiting: Mutex<Vec<Arc<Scattered>>>,
    waiting_bytes: AtomicUsize,
    /// Bytes of all tables.
    table_bytes: AtomicUsize,
    scatters: AtomicBool,
}

impl Shards {
    /// No groups of `view`.
    #[must_use]
    pub fn new(view: &Arc<View>) -> Self {
        Self {
            view: Arc::clone(view),
            whole: Mutex::new(GroupTable::new(&view.key_types(), &view.states)),
            spread: OnceLock::new(),
            waiting: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
            table_bytes: AtomicUsize::new(0),
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
        self.table_bytes.load(Ordering::Relaxed) + self.waiting_bytes.load(Ordering::Relaxed)
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
        if partial.num_rows() == 0 {
            return Ok(());
        }
        if self.spread.get().is_none() {
            let mut whole = lock(&self.whole);
            // Another may have spread the groups while this one waited.
            if self.spread.get().is_none() {
                self.merge_into(&mut whole, columns)?;
                return if whole.len() > WHOLE_GROUPS_MAX { self.spread_out(&mut whole) } else { Ok(()) };
            }
        }
        self.merge_spread(columns)
    }

    fn merge_into(&self, table: &mut GroupTable, columns: &[ArrayRef]) -> Result<(), Error> {
        let (keys, states) = columns.split_at(1 + self.view.dimensions.len());
        self.counted(table, |table| table.merge(keys, states))
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
        let tables = (0..SHARDS).map(|_| Mutex::new(self.empty_table()));
        self.spread.get_or_init(|| tables.collect());
        let mut taken = self.counted(whole, |whole| mem::replace(whole, self.empty_table()));
        if taken.is_empty() { Ok(()) } else { self.merge_spread(&taken.take_unordered()?) }
    }

    fn merge_spread(&self, columns: &[ArrayRef]) -> Result<(), Error> {
        let rows = columns[0].len();
        let dimensions = self.view.key_types().into_iter().zip(columns).skip(1);
        let dimensions = dimensions.map(|(expected, array)| Input::new(String::new, Arc::clone(array), expected));
        let dimensions = dimensions.collect::<Result<Vec<_>, _>>()?;
        let mut hashes = Vec::with_capacity(rows);
        let picked = Picked { rows, selected: None };
        spread::hash(&dimensions.iter().collect::<Vec<_>>(), picked, &mut hashes);
        let shards: Vec<u8> = hashes.into_iter().map(shard_of).collect();
        let (order, ends) = sort(&(0..rows as u32).collect::<Vec<_>>(), &shards);
        let sorted = take_arrays(columns, &order, None)?;
        let mut start = 0;
        for (shard, end) in ends.into_iter().map(|end| end as usize).enumerate() {
            if end > start {
                let piece: Vec<ArrayRef> = sorted.iter().map(|column| column.slice(start, end - start)).collect();
                self.merge_into(&mut lock(&self.tables()[shard]), &piece)?;
                start = end;
            }
        }
        Ok(())
    }

    fn empty_table(&self) -> GroupTable {
        GroupTable::new(&self.view.key_types(), &self.view.states)
    }

    fn tables(&self) -> &[Mutex<GroupTable>] {
        self.spread.get().expect("the groups were spread")
    }

    /// Adds rows; when there are enough for every shard they are folded.
    pub(super) fn push(&self, rows: Scattered) -> Result<(), Error> {
        let bytes = rows.bytes();
        let mut waiting = lock(&self.waiting);
        waiting.push(Arc::new(rows));
        let held = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held < WAITING_BYTES_MAX {
            return Ok(());
        }
        let enough = self.take_waiting(&mut waiting);
        drop(waiting);
        self.fold(&enough)
    }

    fn take_waiting(&self, waiting: &mut Vec<Arc<Scattered>>) -> Vec<Arc<Scattered>> {
        self.waiting_bytes.store(0, Ordering::Relaxed);
        mem::take(waiting)
    }

    /// Folds all rows that wait. Uses the threads of the pool that it is called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn settle(&self) -> Result<(), Error> {
        let all = self.take_waiting(&mut lock(&self.waiting));
        self.fold(&all)
    }

    fn fold(&self, rows: &[Arc<Scattered>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.spread.get().is_none() {
            let mut whole = lock(&self.whole);
            if self.spread.get().is_none() {
                self.spread_out(&mut whole)?;
            }
        }
        self.tables().par_iter().enumerate().try_for_each(|(shard, table)| {
            self.counted(&mut lock(table), |table| rows.iter().try_for_each(|rows| rows.fold(shard, table)))
        })
    }

    /// The buckets of all groups.
    #[must_use]
    pub fn buckets(&self) -> BTreeSet<i64> {
        let all = self.spread.get().map_or(std::slice::from_ref(&self.whole), Vec::as_slice);
        all.iter().flat_map(|table| lock(table).buckets().to_vec()).collect()
    }

    /// [`Self::take`], with one partial of each shard even of few groups.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take_spread(&self) -> Result<Vec<RecordBatch>, Error> {
        self.settle()?;
        if self.spread.get().is_none() {
            self.spread_out(&mut lock(&self.whole))?;
        }
        self.take()
    }

    /// Takes everything: canonical partials that have no group in common, in order of shard, one of each shard or one of
    /// all. Uses the threads of the pool that it is called on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take(&self) -> Result<Vec<RecordBatch>, Error> {
        self.settle()?;
        let take = |table: &Mutex<GroupTable>| {
            let mut taken = self.counted(&mut lock(table), |table| mem::replace(table, self.empty_table()));
            let (mut columns, states) = taken.take()?;
            columns.extend(states);
            Ok(RecordBatch::try_new(self.view.partial_schema(), columns)?)
        };
        match self.spread.get() {
            Some(tables) => tables.par_iter().map(take).collect(),
            None => Ok(vec![take(&self.whole)?]),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic the run is over; what is in it is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
