//! From librdkafka's memory to runs of records: the keys and values of a run are copied into one buffer, of which each
//! record has its slices, so that a run costs two allocations, however many records it has.

use std::sync::Arc;

use bytes::Bytes;

use super::native::Message;
use crate::{
    event::Record,
    limits::{LOG_RUN_BYTES_MAX, LOG_RUN_RECORDS_MAX},
    log::Records,
    position::{OffsetRange, Partition, Position},
};

/// One partition that is being read, and the run that is gathered of it.
#[derive(Debug)]
pub(super) struct Lane {
    /// Which start of the partition this is: what an earlier one still has under way is not to be taken for its own.
    pub(super) term: u64,
    partition: Partition,
    /// The next offset to read; what is before it was given out, or is a gap.
    next: Position,
    /// Where the run starts that is gathered.
    from: Position,
    gathered: Vec<Message>,
    bytes: usize,
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
    pub(super) fn new(partition: Partition, position: Position, term: u64) -> Self {
        Self { term, partition, next: position, from: position, gathered: Vec::new(), bytes: 0, ended: false }
    }

    /// The next offset to read.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    /// Takes a record.
    pub(super) fn push(&mut self, message: Message) -> Taken {
        let Some(offset) = message.offset().filter(|offset| *offset >= self.next.0) else { return Taken::Yes };
        if self.skips(offset) {
            return Taken::No;
        }
        self.ended = false;
        self.bytes += length(&message);
        self.next = Position(offset + 1);
        self.gathered.push(message);
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
        self.gathered.len() >= LOG_RUN_RECORDS_MAX || self.bytes >= LOG_RUN_BYTES_MAX
    }

    /// The run that was gathered, if the position moved. It may have no records.
    pub(super) fn take_run(&mut self, topic: &Arc<str>) -> Option<Records> {
        let range = OffsetRange::new(self.from, self.next);
        self.from = self.next;
        let records = copy(topic, self.partition, &self.gathered, std::mem::take(&mut self.bytes));
        self.gathered.clear();
        (!range.is_empty()).then_some(Records { partition: self.partition, range, records })
    }
}

fn length(message: &Message) -> usize {
    message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len)
}

fn copy(topic: &Arc<str>, partition: Partition, messages: &[Message], bytes: usize) -> Vec<Record> {
    let mut buffer = Vec::with_capacity(bytes);
    for message in messages {
        buffer.extend_from_slice(message.key().unwrap_or_default());
        buffer.extend_from_slice(message.value().unwrap_or_default());
    }
    let mut rest = Bytes::from(buffer);
    // A run has a name of its own: the counter of one that all runs shared would go from core to core with each record that one
    // of them makes and another drops.
    let topic: Arc<str> = Arc::from(&**topic);
    let record = |message: &Message| Record {
        topic: Arc::clone(&topic),
        partition,
        offset: message.offset().expect("only messages with an offset are gathered"),
        // A record of the oldest format has none.
        timestamp_us: message.timestamp_ms().max(0).saturating_mul(1_000),
        key: message.key().map(|key| rest.split_to(key.len())),
        headers: message.headers(),
        value: message.value().map(|value| rest.split_to(value.len())),
    };
    messages.iter().map(record).collect()
}
