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
    tables: Mutex<Vec<GroupTable>>,
    bytes: AtomicUsize,
}

impl Apart {
    /// One more.
    pub(super) fn push(&self, mut table: GroupTable) {
        table.rest();
        self.with(|tables| {
            self.bytes.fetch_add(table.bytes(), Ordering::Relaxed);
            tables.push(table);
        });
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<GroupTable> {
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
        self.with(|tables| tables.iter().flat_map(GroupTable::buckets).collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<GroupTable>) -> T) -> T {
        // After a panic the run is over; what is in it is not used again.
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The groups of a table that others have none of the bucket of, and all others; both ascending.
pub(super) fn part(table: &GroupTable, shared: &[i64]) -> (Vec<u32>, Vec<u32>) {
    // Groups come in about the order of their buckets, so the next one is nearly always of the same.
    let mut last = None;
    (0..table.len() as u32).partition(|&group| {
        let bucket = table.bucket(group);
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

/// The buckets that more than one of these has, ascending.
pub(super) fn shared(of_each: Vec<Vec<i64>>) -> Vec<i64> {
    let distinct = of_each.into_iter().flat_map(|mut buckets| {
        buckets.sort();
        buckets.dedup();
        buckets
    });
    let mut all: Vec<i64> = distinct.collect();
    all.sort();
    let mut shared: Vec<i64> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    shared.dedup();
    shared
}
