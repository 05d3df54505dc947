//! Two ranges side by side: the groups of either, with the measures of both.

use std::cmp::Ordering;

use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::{concat, take},
};

use super::{
    Error,
    groups::{Groups, rows_of},
};

/// Which rows of two tables are of one group, in canonical order.
#[derive(Debug)]
pub(super) struct Joined {
    now: UInt32Array,
    before: UInt32Array,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) rows: usize,
}

impl Joined {
    /// The groups of `now` or `before`, which have the same key columns.
    pub(super) fn new(now: &Groups, before: &Groups) -> Result<Self, Error> {
        if now.keys.is_empty() {
            return Ok(Self::keyless(now.rows, before.rows));
        }
        let all: Vec<ArrayRef> = now
            .keys
            .iter()
            .zip(&before.keys)
            .map(|(now, before)| concat(&[now.as_ref(), before.as_ref()]))
            .collect::<Result<_, _>>()?;
        let (_, rows) = rows_of(&all)?;
        let (mut left, mut right) = (0, 0);
        let (mut indices, mut firsts) = (Vec::new(), Vec::new());
        while left < now.rows || right < before.rows {
            let order = match (left < now.rows, right < before.rows) {
                (true, true) => rows.row(left).cmp(&rows.row(now.rows + right)),
                (true, false) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let of_now = order.is_le().then_some(left as u32);
            let of_before = order.is_ge().then_some(right as u32);
            firsts.push(of_now.unwrap_or((now.rows + right) as u32));
            indices.push((of_now, of_before));
            left += usize::from(of_now.is_some());
            right += usize::from(of_before.is_some());
        }
        let firsts = UInt32Array::from(firsts);
        let keys = all.iter().map(|key| take(key, &firsts, None)).collect::<Result<_, _>>()?;
        let (now, before): (Vec<_>, Vec<_>) = indices.into_iter().unzip();
        Ok(Self { rows: now.len(), now: now.into(), before: before.into(), keys })
    }

    fn keyless(now: usize, before: usize) -> Self {
        let rows = now.max(before);
        let first = |rows: usize| (rows > 0).then_some(0);
        let indices = |has: usize| (0..rows).map(|_| first(has)).collect();
        Self { now: indices(now), before: indices(before), keys: Vec::new(), rows }
    }

    /// A measure of the asked range.
    pub(super) fn now(&self, values: &ArrayRef) -> Result<ArrayRef, Error> {
        Ok(take(values, &self.now, None)?)
    }

    /// A measure of the range before.
    pub(super) fn before(&self, values: &ArrayRef) -> Result<ArrayRef, Error> {
        Ok(take(values, &self.before, None)?)
    }
}
