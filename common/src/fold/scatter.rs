//! Rows on their way to the shard that their group is in: columns of many batches put together and sorted by shard, so that
//! each shard gets a run of them that is worth its while.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, UInt32Array},
    compute::{concat, take},
    datatypes::{DataType, Decimal64Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};

use super::{
    column::Picked,
    near::Column,
    order::starts,
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
    batches: Vec<Batch>,
    /// The rows to be folded, each counted in its batch.
    rows: Vec<u32>,
    /// The shard of each.
    shards: Vec<u8>,
    hashes: Vec<u64>,
}

/// The columns of a batch, filters after the others.
#[derive(Debug)]
struct Batch {
    columns: Vec<ArrayRef>,
    /// How many of its rows are to be folded.
    picked: usize,
}

impl Backlog {
    pub(super) fn new(layout: Layout) -> Self {
        let layout = Arc::new(layout);
        Self { layout, batches: Vec::new(), rows: Vec::new(), shards: Vec::new(), hashes: Vec::new() }
    }

    /// Adds the picked rows of a batch. `columns` are as the layout says, filters are arrays of bools.
    pub(super) fn push(&mut self, dimensions: &[&Input], picked: Picked<'_>, columns: Vec<ArrayRef>) {
        self.hashes.clear();
        spread::hash(dimensions, picked, &mut self.hashes);
        self.shards.extend(self.hashes.iter().map(|&hash| shard_of(hash)));
        picked.each(|row| self.rows.push(row as u32));
        self.batches.push(Batch { columns, picked: picked.len() });
    }

    /// Whether there are enough rows to be sorted.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS
    }

    /// Bytes held, those of columns that others hold too among them.
    pub(super) fn bytes(&self) -> usize {
        let columns = self.batches.iter().flat_map(|batch| &batch.columns).map(|column| column.get_array_memory_size());
        let numbers = (self.rows.capacity() * size_of::<u32>()) + (self.hashes.capacity() * size_of::<u64>());
        columns.sum::<usize>() + numbers + self.shards.capacity()
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
        let (places, ends) = places(&self.shards);
        let columns = (0..self.batches[0].columns.len()).map(|at| {
            let parts: Vec<(&ArrayRef, usize)> =
                self.batches.iter().map(|batch| (&batch.columns[at], batch.picked)).collect();
            scattered(&parts, &self.rows, &places)
        });
        let columns = columns.collect::<Result<_, Error>>()?;
        self.forget();
        Ok(Some(Scattered { layout: Arc::clone(&self.layout), columns, ends }))
    }

    fn forget(&mut self) {
        self.batches.clear();
        self.rows.clear();
        self.shards.clear();
    }
}

/// Where each row goes, so that rows are in the order of their `shards`, and where each shard's end.
fn places(shards: &[u8]) -> (Vec<u32>, Vec<u32>) {
    let mut next = vec![0_u32; SHARDS];
    shards.iter().for_each(|&shard| next[shard as usize] += 1);
    starts(&mut next);
    let place = |&shard: &u8| {
        let at = &mut next[shard as usize];
        *at += 1;
        *at - 1
    };
    // Each shard's next place is its end when all have one.
    (shards.iter().map(place).collect(), next)
}

/// The groups of each shard one after the other, and where each shard's end.
fn sort(shards: &[u8]) -> (Vec<u32>, Vec<u32>) {
    let (places, ends) = places(shards);
    let mut order = vec![0; places.len()];
    (0..).zip(places).for_each(|(group, place)| order[place as usize] = group);
    (order, ends)
}

/// `groups`, those of each shard one after the other, and where each shard's end; `hashes` are those of their dimensions.
pub(super) fn by_shard(groups: &[u32], hashes: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let shards: Vec<u8> = hashes.iter().map(|&hash| shard_of(hash)).collect();
    let (order, ends) = sort(&shards);
    (order.into_iter().map(|at| groups[at as usize]).collect(), ends)
}

/// One column of all batches, `parts`, each with the number of its rows that are picked: every picked row in its place.
fn scattered(parts: &[(&ArrayRef, usize)], rows: &[u32], places: &[u32]) -> Result<Column, Error> {
    if let Some(near) = Column::of(parts, rows, places) {
        return Ok(near);
    }
    if parts.iter().all(|(part, _)| part.null_count() == 0) {
        match parts[0].0.data_type() {
            DataType::Int64 => return Ok(scattered_numbers::<Int64Type>(parts, rows, places)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                return Ok(scattered_numbers::<TimestampMicrosecondType>(parts, rows, places));
            }
            DataType::Float64 => return Ok(scattered_numbers::<Float64Type>(parts, rows, places)),
            DataType::Decimal64(..) => return Ok(scattered_numbers::<Decimal64Type>(parts, rows, places)),
            DataType::Decimal128(..) => return Ok(scattered_numbers::<Decimal128Type>(parts, rows, places)),
            _ => {}
        }
    }
    // All else: where in all batches put together each place's row is.
    let mut order = vec![0; places.len()];
    let (mut at, mut first) = (0, 0);
    for (part, picked) in parts {
        for (row, &place) in rows[at..at + picked].iter().zip(&places[at..]) {
            order[place as usize] = first + row;
        }
        at += picked;
        first += part.len() as u32;
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|(part, _)| part.as_ref()).collect();
    Ok(Column::Array(take(&concat(&parts)?, &UInt32Array::from(order), None)?))
}

fn scattered_numbers<T: ArrowPrimitiveType>(parts: &[(&ArrayRef, usize)], rows: &[u32], places: &[u32]) -> Column {
    let mut numbers = vec![T::default_value(); places.len()];
    let mut at = 0;
    for (part, picked) in parts {
        let values = part.as_primitive::<T>().values();
        for (&row, &place) in rows[at..at + picked].iter().zip(&places[at..]) {
            numbers[place as usize] = values[row as usize];
        }
        at += picked;
    }
    let numbers = PrimitiveArray::<T>::new(numbers.into(), None).with_data_type(parts[0].0.data_type().clone());
    Column::Array(Arc::new(numbers))
}

/// Rows in the order of their shards.
#[derive(Debug)]
pub(super) struct Scattered {
    layout: Arc<Layout>,
    columns: Vec<Column>,
    ends: Vec<u32>,
}

impl Scattered {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
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
        let input = |(column, &expected): (&Column, &ColumnType)| column.input(start, rows, expected);
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
    let filter: &BooleanArray = filter.as_boolean();
    filter.values().set_indices_u32().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn groups_are_sorted_by_shard_and_stay_in_order_within_one() {
        let (order, ends) = sort(&[3, 0, 3, 255]);
        assert_eq!(order, [1, 0, 2, 3]);
        assert_eq!((ends[0], ends[2], ends[3], ends[254], ends[255]), (1, 1, 3, 3, 4));
        assert_eq!(ends.len(), SHARDS);
    }

    #[test]
    fn picked_rows_of_all_batches_come_to_their_places() {
        let numbers: [ArrayRef; 2] = [Arc::new(Int64Array::from(vec![10, 11])), Arc::new(Int64Array::from(vec![20]))];
        let nulls: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(vec![Some(10), Some(11)])), Arc::new(Int64Array::from(vec![None]))];
        let texts: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(StringArray::from(vec!["c"]))];
        let of =
            |parts: &[ArrayRef; 2]| scattered(&[(&parts[0], 1), (&parts[1], 1)], &[1, 0], &[1, 0]).unwrap().slice(0, 2);
        assert_eq!(of(&numbers).as_primitive::<Int64Type>(), &Int64Array::from(vec![20, 11]));
        assert_eq!(of(&nulls).as_primitive::<Int64Type>(), &Int64Array::from(vec![None, Some(11)]));
        assert_eq!(of(&texts).as_string::<i32>(), &StringArray::from(vec!["c", "b"]));
    }
}
