//! Rows for the steps that nothing fell into.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray, UInt32Array, new_null_array},
    compute::{cast, concat, take},
    datatypes::TimestampMicrosecondType,
};

use super::{Error, groups::rows_of, model::Fill, plan::Plan};

/// The key columns and the measures of an answer that has a row for every step and every group there is. `keys` are the step
/// and whatever else groups; `zero` says of each measure whether it is 0 of no events.
pub(super) fn filled(
    plan: &Plan,
    fill: Fill,
    keys: &[ArrayRef],
    measures: &[ArrayRef],
    zero: &[bool],
) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
    let starts = keys[0].as_primitive::<TimestampMicrosecondType>().values();
    let series = Series::of(&keys[1..], starts.len())?;
    let steps = steps(plan, starts, series.first.len())?;
    let absent = starts.len() as u32;
    let count = series.first.len();
    // Where each cell of the grid of steps and series stands in the answer.
    let mut cells = vec![absent; steps.len() * count];
    let at: HashMap<i64, usize> = steps.iter().enumerate().map(|(index, step)| (*step, index)).collect();
    for (row, start) in starts.iter().enumerate() {
        cells[at[start] * count + series.of[row]] = row as u32;
    }
    if fill == Fill::Previous {
        for cell in count..cells.len() {
            if cells[cell] == absent {
                cells[cell] = cells[cell - count];
            }
        }
    }
    let times = steps.iter().flat_map(|step| std::iter::repeat_n(*step, count));
    let mut made: Vec<ArrayRef> =
        vec![Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))];
    let firsts: UInt32Array = steps.iter().flat_map(|_| series.first.iter().map(|row| Some(*row))).collect();
    for key in &keys[1..] {
        made.push(take(key, &firsts, None)?);
    }
    let cells = UInt32Array::from(cells);
    let filled = measures.iter().zip(zero).map(|(values, zero)| {
        let none = match *zero && fill == Fill::Zero {
            true => cast(&Int64Array::from(vec![0]), values.data_type())?,
            false => new_null_array(values.data_type(), 1),
        };
        Ok(take(&concat(&[values.as_ref(), none.as_ref()])?, &cells, None)?)
    });
    let filled = filled.collect::<Result<_, Error>>()?;
    Ok((made, filled))
}

/// The groups without their step.
struct Series {
    /// The series of each row.
    of: Vec<usize>,
    /// A row of each series, in canonical order.
    first: Vec<u32>,
}

impl Series {
    fn of(keys: &[ArrayRef], rows: usize) -> Result<Self, Error> {
        if keys.is_empty() {
            // One series, which is there though nothing fell into any of its steps.
            return Ok(Self { of: vec![0; rows], first: vec![0] });
        }
        let (_, values) = rows_of(keys)?;
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by(|a, b| values.row(*a as usize).cmp(&values.row(*b as usize)));
        let (mut of, mut first) = (vec![0; rows], Vec::<u32>::new());
        for row in order {
            if first.last().is_none_or(|last| values.row(*last as usize) != values.row(row as usize)) {
                first.push(row);
            }
            of[row as usize] = first.len() - 1;
        }
        Ok(Self { of, first })
    }
}

/// The starts of the steps of the range asked, or from the first to the last that there is where the range is open.
fn steps(plan: &Plan, starts: &[i64], series: usize) -> Result<Vec<i64>, Error> {
    let grain = plan.grain.expect("what is filled has a grain");
    let bounded = |us: i64| (us != i64::MIN && us != i64::MAX).then_some(us);
    let first = bounded(plan.from_us).map(|from| grain.bucket(from)).or(starts.iter().min().copied());
    let end = bounded(plan.to_us).or(starts.iter().max().map(|last| last + 1));
    let mut steps = Vec::new();
    let (Some(mut step), Some(end)) = (first, end) else { return Ok(steps) };
    while step < end {
        if (steps.len() + 1).saturating_mul(series) > plan.limits.groups {
            return Err(Error::TooManyGroups { limit: plan.limits.groups });
        }
        steps.push(step);
        step = grain.interval(step).1;
    }
    Ok(steps)
}
