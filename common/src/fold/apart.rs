//! Tables of groups that were folded apart and stay as they are: only what more than one has is merged.
//!
//! Files come in about the order of their events' times. So of two that fold files apart, hardly a bucket is in both tables, and
//! to bring all groups together would move millions of them to merge a few.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::table::GroupTable;

/// Tables that nothing more is folded into.
#[derive(Debug, Default)]
pub(super) struct Apart {
    tables: Mutex<Vec<Table>>,
    bytes: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) table: GroupTable,
    /// The buckets of its groups, ascending.
    pub(super) buckets: Vec<i64>,
}

impl Apart {
    /// One more.
    pub(super) fn push(&self, mut table: GroupTable) {
        table.rest();
        let mut buckets = table.buckets();
        buckets.sort();
        buckets.dedup();
        self.with(|tables| {
            self.bytes.fetch_add(table.bytes(), Ordering::Relaxed);
            tables.push(Table { table, buckets });
        });
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Table> {
        self.with(|tables| {
            self.bytes.store(0, Ordering::Relaxed);
            mem::take(tables)
        })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The buckets of all groups, each once or more often.
    pub(super) fn buckets(&self) -> Vec<i64> {
        self.with(|tables| tables.iter().flat_map(|table| &table.buckets).copied().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Table>) -> T) -> T {
        // After a panic the run is over; what is in it is not used again.
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    /// The groups that others have none of the bucket of, and all others; both ascending.
    pub(super) fn part(&self, shared: &[i64]) -> (Vec<u32>, Vec<u32>) {
        // Groups come in about the order of their buckets, so the next one is nearly always of the same.
        let mut last = None;
        (0..self.table.len() as u32).partition(|&group| {
            let bucket = self.table.bucket(group);
            match last {
                Some((same, own)) if same == bucket => own,
                _ => {
                    let own = shared.binary_search(&bucket).is_err();
                    last = Some((bucket, own));
                    own
                }
            }
        })
    }
}

/// The buckets that more than one of these has, ascending; each is ascending itself.
pub(super) fn shared<'a>(of_each: impl Iterator<Item = &'a [i64]>) -> Vec<i64> {
    let mut all: Vec<i64> = of_each.flatten().copied().collect();
    all.sort();
    let mut shared: Vec<i64> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    shared.dedup();
    shared
}
