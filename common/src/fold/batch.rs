//! What the views of a source read of one batch, each thing found once however many views read it.

use std::{
    cell::OnceCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::{Array, TimestampMicrosecondArray},
    compute::cast,
    datatypes::DataType,
    record_batch::RecordBatch,
};

use crate::{
    expression::Expression,
    grain::{Buckets, Grain},
    measure::{
        Error,
        input::{Input, Values},
    },
    schema::ColumnType,
};

/// What is read of each batch, without repetition.
#[derive(Debug, Default)]
pub(super) struct Reads {
    columns: Vec<Expression>,
    filters: Vec<Expression>,
    /// Of the column with this number, what finds its buckets. It remembers the last ones from batch to batch.
    buckets: Vec<(usize, Mutex<Buckets>)>,
}

impl Reads {
    /// The number of a column.
    pub(super) fn column(&mut self, expression: &Expression) -> usize {
        number(&mut self.columns, expression)
    }

    /// The number of a filter.
    pub(super) fn filter(&mut self, expression: &Expression) -> usize {
        number(&mut self.filters, expression)
    }

    /// The number of the buckets of a time column.
    pub(super) fn bucket(&mut self, time_column: &str, grain: Grain) -> usize {
        let column = self.column(&Expression::column(time_column, ColumnType::Timestamp));
        let same = |(of, buckets): &(usize, Mutex<Buckets>)| *of == column && lock(buckets).grain() == grain;
        self.buckets.iter().position(same).unwrap_or_else(|| {
            self.buckets.push((column, Mutex::new(grain.buckets())));
            self.buckets.len() - 1
        })
    }
}

/// Only one thread folds at a time. What it remembers is right at every moment, also where one panicked.
fn lock(buckets: &Mutex<Buckets>) -> MutexGuard<'_, Buckets> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of `one` in `all`, at whose end it is put if it is nowhere.
pub(super) fn number<T: PartialEq + Clone>(all: &mut Vec<T>, one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or_else(|| {
        all.push(one.clone());
        all.len() - 1
    })
}

/// One batch, with what was read of it so far.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    reads: &'a Reads,
    events: &'a RecordBatch,
    columns: Vec<OnceCell<Input>>,
    filters: Vec<OnceCell<Vec<u32>>>,
    buckets: Vec<OnceCell<Input>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(reads: &'a Reads, events: &'a RecordBatch) -> Self {
        Self {
            reads,
            events,
            columns: reads.columns.iter().map(|_| OnceCell::new()).collect(),
            filters: reads.filters.iter().map(|_| OnceCell::new()).collect(),
            buckets: reads.buckets.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    /// The values of a column.
    pub(super) fn column(&self, number: usize) -> Result<&Input, Error> {
        get_or_try_init(&self.columns[number], || {
            let expression = &self.reads.columns[number];
            let array = expression.evaluate(self.events)?;
            // An event's partition is the one column of 32 bits; here it is an int as others are.
            let array = if *array.data_type() == DataType::Int32 { cast(&array, &DataType::Int64)? } else { array };
            Input::new(|| expression.sql().to_owned(), array, expression.column_type())
        })
    }

    /// The rows that a filter holds for.
    pub(super) fn selected(&self, number: usize) -> Result<&[u32], Error> {
        let rows = get_or_try_init(&self.filters[number], || {
            let matches = self.reads.filters[number].matches(self.events)?;
            Ok(matches.values().set_indices_u32().filter(|&row| matches.is_valid(row as usize)).collect())
        });
        rows.map(Vec::as_slice)
    }

    /// The start of each row's bucket.
    pub(super) fn bucket(&self, number: usize) -> Result<&Input, Error> {
        get_or_try_init(&self.buckets[number], || {
            let (column, ref buckets) = self.reads.buckets[number];
            let name = || self.reads.columns[column].sql().to_owned();
            let times = self.column(column)?;
            if times.nulls().is_some() {
                return Err(Error::Null { column: name() });
            }
            let mut buckets = lock(buckets);
            // Events come about in order: those of a batch are often of one bucket.
            let (least, greatest) = times.find_bounds();
            let Values::Int(times) = times.values() else { unreachable!("the time column's type was checked") };
            let (least, greatest) = (buckets.start(least), buckets.start(greatest));
            let starts = if least == greatest {
                vec![least; times.len()]
            } else {
                times.iter().map(|&time| buckets.start(time)).collect()
            };
            let starts = TimestampMicrosecondArray::new(starts.into(), None).with_timezone("UTC");
            Ok(Input::new(name, Arc::new(starts), ColumnType::Timestamp)?.within(least, greatest))
        })
    }
}

fn get_or_try_init<T>(cell: &OnceCell<T>, init: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}
