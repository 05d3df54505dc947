//! Rows on their way to the shard that their group is in: columns of many batches put together and sorted by shard, so that
//! each shard gets a run of them that is worth its while.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, UInt32Array},
    compute::{concat, take},
};

use super::{
    column::Picked,
    spread::{self, SHARDS, shard_of},
    table::{Events, GroupTable, StateReads},
};
use crate::{
    measure::{Error, input::Input},
    schema::ColumnType,
};

/// Rows that are put together: at 256 shards, a thousand for each.
const ROWS: usize = if cfg!(test) { 8 } else { 1 << 18 };

/// What the columns of scattered rows are.
#[derive(Debug)]
pub(super) struct Layout {
    /// The columns, each once: the bucket, the dimensions, then what only states read.
    pub(super) types: Vec<ColumnType>,
    /// Where the bucket and each dimension are.
    pub(super) keys: Vec<usize>,
    /// Where each state's inputs are, and its filter.
    pub(super) states: Vec<(Vec<usize>, Option<usize>)>,
}

/// Rows that wait to be sorted.
#[derive(Debug)]
pub(super) struct Backlog {
    layout: Arc<Layout>,
    /// Batches of columns, filters after the others.
    columns: Vec<Vec<ArrayRef>>,
    /// The rows to be folded, counted through all batches.
    rows: Vec<u32>,
    /// The shard of each.
    shards: Vec<u8>,
    /// Rows in all batches.
    count: usize,
    hashes: Vec<u64>,
}

impl Backlog {
    pub(super) fn new(layout: Layout) -> Self {
        let layout = Arc::new(layout);
        Self { layout, columns: Vec::new(), rows: Vec::new(), shards: Vec::new(), count: 0, hashes: Vec::new() }
    }

    /// Adds the picked rows of a batch. `columns` are as the layout says, filters are arrays of bools.
    pub(super) fn push(&mut self, dimensions: &[&Input], picked: Picked<'_>, columns: Vec<ArrayRef>) {
        self.hashes.clear();
        spread::hash(dimensions, picked, &mut self.hashes);
        self.shards.extend(self.hashes.iter().map(|&hash| shard_of(hash)));
        let first = self.count as u32;
        picked.each(|row| self.rows.push(first + row as u32));
        self.columns.push(columns);
        self.count += picked.rows;
    }

    /// Whether there are enough rows to be sorted.
    pub(super) fn is_full(&self) -> bool {
        self.count >= ROWS
    }

    /// The rows by shard; nothing waits any more.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub(super) fn scatter(&mut self) -> Result<Option<Scattered>, Error> {
        if self.rows.is_empty() {
            self.forget();
            return Ok(None);
        }
        let (order, ends) = sort(&self.rows, &self.shards);
        let columns = (0..self.columns[0].len()).map(|at| {
            let parts: Vec<&dyn Array> = self.columns.iter().map(|columns| columns[at].as_ref()).collect();
            Ok(take(&concat(&parts)?, &order, None)?)
        });
        let columns = columns.collect::<Result<_, Error>>()?;
        self.forget();
        Ok(Some(Scattered { layout: Arc::clone(&self.layout), columns, ends }))
    }

    fn forget(&mut self) {
        self.columns.clear();
        self.rows.clear();
        self.shards.clear();
        self.count = 0;
    }
}

/// `rows` in the order of their `shards`, and where each shard's end.
pub(super) fn sort(rows: &[u32], shards: &[u8]) -> (UInt32Array, Vec<u32>) {
    let mut ends = vec![0_u32; SHARDS];
    shards.iter().for_each(|&shard| ends[shard as usize] += 1);
    let mut end = 0;
    let mut next: Vec<u32> = Vec::with_capacity(SHARDS);
    for count in &mut ends {
        next.push(end);
        end += *count;
        *count = end;
    }
    let mut order = vec![0; rows.len()];
    for (&row, &shard) in rows.iter().zip(shards) {
        let at = &mut next[shard as usize];
        order[*at as usize] = row;
        *at += 1;
    }
    (order.into(), ends)
}

/// Rows in the order of their shards.
#[derive(Debug)]
pub(super) struct Scattered {
    layout: Arc<Layout>,
    columns: Vec<ArrayRef>,
    ends: Vec<u32>,
}

impl Scattered {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.get_array_memory_size()).sum()
    }

    /// Folds the rows of `shard` into its table.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn fold(&self, shard: usize, table: &mut GroupTable) -> Result<(), Error> {
        let start = if shard == 0 { 0 } else { self.ends[shard - 1] as usize };
        let rows = self.ends[shard] as usize - start;
        if rows == 0 {
            return Ok(());
        }
        let Layout { types, keys, states } = &*self.layout;
        let input = |(array, &expected): (&ArrayRef, &ColumnType)| {
            Input::new(|| "of a view".to_owned(), array.slice(start, rows), expected)
        };
        let inputs = self.columns.iter().zip(types).map(input).collect::<Result<Vec<_>, _>>()?;
        let filters: Vec<Vec<u32>> =
            self.columns[types.len()..].iter().map(|filter| set_rows(&filter.slice(start, rows))).collect();
        let keys: Vec<&Input> = keys.iter().map(|&at| &inputs[at]).collect();
        let states = states.iter().map(|(reads, filter)| StateReads {
            inputs: reads.iter().map(|&at| &inputs[at]).collect(),
            filter: *filter,
        });
        let filters = filters.iter().map(Vec::as_slice).collect();
        table.fold(&keys, &Events { rows, selected: None, states: states.collect(), filters })
    }
}

fn set_rows(filter: &ArrayRef) -> Vec<u32> {
    let filter: &BooleanArray = arrow::array::AsArray::as_boolean(filter);
    filter.values().set_indices_u32().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_shard_and_stay_in_order_within_one() {
        let (order, ends) = sort(&[5, 6, 7, 9], &[3, 0, 3, 255]);
        assert_eq!(order.values(), &[6, 5, 7, 9]);
        assert_eq!((ends[0], ends[2], ends[3], ends[254], ends[255]), (1, 1, 3, 3, 4));
        assert_eq!(ends.len(), SHARDS);
    }
}
