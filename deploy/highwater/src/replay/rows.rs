//! The rows that a replay sends, numbered without gaps, and the stretch of event time that they are of.

use arrow::{
    array::{AsArray, BooleanArray, PrimitiveArray, RecordBatch},
    compute::{cast, filter_record_batch},
    datatypes::TimestampMicrosecondType,
    error::ArrowError,
};
use common::{
    log::files::{Row, Rows},
    schema::timestamp_type,
};
use jiff::Timestamp;

/// Rows to send, numbered from 0 without gaps, the same ones each time.
pub(crate) trait Numbered: Iterator<Item = anyhow::Result<Row>> {
    /// What the values of the rows make together.
    fn body(&self) -> Body;

    /// Passes over all rows before `row`.
    fn skip_to(&mut self, row: u64) -> anyhow::Result<()>;
}

/// What a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// A line a row.
    Lines,
    /// Records with keys and headers.
    Records,
}

/// The event times of `batch`, microseconds since 1970-01-01 UTC.
pub(super) fn event_times(
    batch: &RecordBatch,
    event_time: &str,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
    let times = batch.column_by_name(event_time);
    let times = times.ok_or_else(|| ArrowError::SchemaError(format!("events without the column {event_time}")))?;
    Ok(cast(times, &timestamp_type())?.as_primitive().clone())
}

/// The half-open stretch of event time that is replayed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Times {
    /// From the first (inclusive) to the second (exclusive).
    pub(crate) fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self { from, to }
    }

    pub(super) fn all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Rows without a time that can be read are in no stretch.
    fn has(self, row: &Row) -> bool {
        self.all() || row.event_time_us.is_some_and(|time_us| self.within(time_us))
    }

    fn within(self, time_us: i64) -> bool {
        let from = self.from.is_none_or(|from| time_us >= from.as_microsecond());
        from && self.to.is_none_or(|to| time_us < to.as_microsecond())
    }

    /// Whether events of this UTC date, as `2026-01-31`, may be in the stretch.
    pub(super) fn touch(self, date: Option<&str>) -> bool {
        let Some(date) = date else { return true };
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        self.from.is_none_or(|from| day(from).as_str() <= date) && self.to.is_none_or(|to| date <= day(to).as_str())
    }

    /// The events of `batch` that are in the stretch, by the column `event_time`.
    pub(super) fn of(self, batch: &RecordBatch, event_time: &str) -> Result<RecordBatch, ArrowError> {
        if self.all() {
            return Ok(batch.clone());
        }
        let within: BooleanArray = event_times(batch, event_time)?
            .iter()
            .map(|time| Some(time.is_some_and(|time| self.within(time))))
            .collect();
        filter_record_batch(batch, &within)
    }

    /// The name of a replay of these times: other times are other rows, with other numbers.
    pub(super) fn producer(self, name: &str) -> String {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        if self.all() { name.to_owned() } else { format!("{name}:{}..{}", text(self.from), text(self.to)) }
    }
}

/// The rows of a file that are replayed, numbered without gaps.
pub(crate) struct Selected {
    rows: Rows,
    times: Times,
    next: u64,
}

impl Selected {
    pub(crate) fn new(rows: Rows, times: Times) -> Self {
        Self { rows, times, next: 0 }
    }

    /// How many rows there are, as far as that is known without reading.
    pub(crate) fn total(&self) -> Option<u64> {
        self.rows.total().filter(|_| self.times.all())
    }
}

impl Numbered for Selected {
    fn body(&self) -> Body {
        Body::Lines
    }

    fn skip_to(&mut self, row: u64) -> anyhow::Result<()> {
        if self.times.all() {
            self.rows.skip_to(row)?;
            self.next = row;
        }
        while self.next < row {
            match self.next() {
                Some(passed) => _ = passed?,
                None => break,
            }
        }
        Ok(())
    }
}

impl Iterator for Selected {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = loop {
            match self.rows.next()? {
                Ok(row) if !self.times.has(&row) => {}
                found => break found,
            }
        };
        Some(row.map_err(Into::into).map(|row| {
            let number = self.next;
            self.next += 1;
            Row { number, ..row }
        }))
    }
}
