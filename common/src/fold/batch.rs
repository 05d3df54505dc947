//! What the views of a source read of one batch, each thing found once however many views read it.

use std::{cell::OnceCell, sync::Arc};

use arrow::{
    array::{Array, TimestampMicrosecondArray},
    compute::cast,
    datatypes::DataType,
    record_batch::RecordBatch,
};

use crate::{
    expression::Expression,
    measure::{
        Error,
        input::{Input, Values},
    },
    schema::ColumnType,
    view::Grain,
};

/// What is read of each batch, without repetition.
#[derive(Debug, Default)]
pub(super) struct Reads {
    columns: Vec<Expression>,
    filters: Vec<Expression>,
    /// Time steps, of the column with this number.
    buckets: Vec<(usize, Grain)>,
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
        number(&mut self.buckets, &(column, grain))
    }
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
            let (column, grain) = self.reads.buckets[number];
            let name = || self.reads.columns[column].sql().to_owned();
            let times = self.column(column)?;
            if times.nulls().is_some() {
                return Err(Error::Null { column: name() });
            }
            let Values::Int(times) = times.values() else { unreachable!("the time column's type was checked") };
            let starts = starts(times, grain)
                .ok_or_else(|| Error::Overflow { state: format!("bucket of {}", name()), limit: "timestamp" })?;
            let starts = TimestampMicrosecondArray::from(starts).with_timezone("UTC");
            Input::new(name, Arc::new(starts), ColumnType::Timestamp)
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

/// The start of each time's bucket; `None` if one is before the first time stamp there is.
fn starts(times: &[i64], grain: Grain) -> Option<Vec<i64>> {
    // Events come roughly in order of time: mostly the last bucket is the one again, and there is nothing to divide.
    let (mut start, mut end) = (0, 0);
    let bucket = |time: &i64| {
        if !(start..end).contains(time) {
            start = start_of(*time, grain)?;
            end = start.saturating_add(grain.width_us);
        }
        Some(start)
    };
    times.iter().map(bucket).collect()
}

/// As [`Grain::bucket`], but without overflow on the way.
fn start_of(time: i64, grain: Grain) -> Option<i64> {
    let width = grain.width_us;
    let past_start = (time.rem_euclid(width) - grain.origin_us.rem_euclid(width)).rem_euclid(width);
    time.checked_sub(past_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_grain_and_never_wrap() {
        const DAY: i64 = 86_400_000_000;
        for grain in [
            Grain { width_us: 3_600_000_000, origin_us: 0 },
            Grain { width_us: 7 * DAY, origin_us: 4 * DAY },
            Grain { width_us: 1, origin_us: 0 },
        ] {
            let times = [0, 1, -1, DAY, 4 * DAY - 1, 4 * DAY, -3 * DAY, 1 << 60, -(1 << 60), 5];
            let expected: Vec<i64> = times.iter().map(|&time| grain.bucket(time)).collect();
            assert_eq!(starts(&times, grain), Some(expected));
        }
        let week = Grain { width_us: 7 * DAY, origin_us: 4 * DAY };
        assert!(starts(&[i64::MAX, i64::MAX], week).is_some_and(|s| i64::MAX - s[1] < 7 * DAY));
        assert_eq!(starts(&[i64::MIN], week), None);
    }
}
