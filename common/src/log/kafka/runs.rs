//! From librdkafka's memory to runs of records.

use std::sync::Arc;

use super::native::Message;
use crate::{
    event::Run,
    limits::{LOG_RUN_BYTES_MAX, LOG_RUN_RECORDS_MAX},
    log::Records,
    position::{OffsetRange, Partition, Position},
};

/// One partition that is being read, and the run that is gathered of it.
#[derive(Debug)]
pub(super) struct Lane {
    /// Which start of the partition this is: what an earlier one still has under way is not to be taken for its own.
    pub(super) term: u64,
    pub(super) partition: Partition,
    /// Whether records are given out with their headers.
    headers: bool,
    /// The next offset to read; what is before it was given out, or is a gap.
    next: Position,
    /// Where the run starts that is gathered.
    from: Position,
    gathered: Run,
    /// Whether the last thing heard was that the partition ends at `next`.
    ended: bool,
}

/// Whether what librdkafka gave out was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Taken {
    Yes,
    /// It does not go on where the partition had ended. That may be a gap of the log. But librdkafka also counts the end of a
    /// partition as a record that was consumed (`rd_kafka_q_serve_rkmessages`), and when a rebalance pauses and resumes the partition
    /// it fetches from one offset too far. So the partition has to be started again at [`Lane::next`]; then it is a gap.
    No,
}

impl Lane {
    pub(super) fn new(topic: &Arc<str>, partition: Partition, position: Position, term: u64, headers: bool) -> Self {
        let gathered = Run::with_capacity(Arc::clone(topic), partition, 0, 0);
        Self { term, partition, headers, next: position, from: position, gathered, ended: false }
    }

    /// The lane for reading the same partition once more from the next offset on.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.gathered.topic(), self.partition, self.next, self.term, self.headers)
    }

    /// The next offset to read.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// Takes a record.
    pub(super) fn push(&mut self, message: &Message) -> Taken {
        let Some(offset) = message.offset().filter(|offset| *offset >= self.next.0) else { return Taken::Yes };
        if self.skips(offset) {
            return Taken::No;
        }
        self.ended = false;
        self.next = Position(offset + 1);
        // A record of the oldest format has no time stamp.
        let timestamp_us = message.timestamp_ms().max(0).saturating_mul(1_000);
        // librdkafka parses them, with an allocation or two, also where there are none: some per cent of all that is to be done.
        let headers = if self.headers { message.headers() } else { Vec::new() };
        self.gathered.push(offset, timestamp_us, message.key(), headers, message.value());
        Taken::Yes
    }

    /// The end of the partition is at `offset`: what is between the last record and it is a gap.
    pub(super) fn ends_at(&mut self, offset: u64) -> Taken {
        if self.skips(offset) {
            return Taken::No;
        }
        self.ended = true;
        self.next = self.next.max(Position(offset));
        Taken::Yes
    }

    fn skips(&self, offset: u64) -> bool {
        self.ended && offset > self.next.0
    }

    /// Whether the run has what a run may have.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= LOG_RUN_RECORDS_MAX || self.gathered.bytes() >= LOG_RUN_BYTES_MAX
    }

    /// The run that was gathered, if the position moved. It may have no records.
    pub(super) fn take_run(&mut self) -> Option<Records> {
        let range = OffsetRange::new(self.from, self.next);
        self.from = self.next;
        if range.is_empty() {
            return None;
        }
        // The next one is about as large.
        let (records, bytes) = (self.gathered.len(), self.gathered.bytes());
        let next = Run::with_capacity(Arc::clone(self.gathered.topic()), self.partition, records, bytes);
        let records = std::mem::replace(&mut self.gathered, next);
        Some(Records { partition: self.partition, range, records })
    }
}
