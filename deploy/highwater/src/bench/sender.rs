//! The ways in that load can take: the producer of a Kafka topic, or events over HTTP. Both block.

use anyhow::Context;
use common::{
    clock::{Clock, SystemClock},
    log::{
        ProducerRun,
        kafka::{Acknowledged, Progress, Stream},
    },
    names::SourceName,
    position::Position,
};
use std::time::Duration;
use tokio::runtime::Handle;

use crate::client::{Client, NDJSON};

/// While records are paced, what is due is sent about this often: a producer of Kafka gathers records by itself.
const TICK: Duration = Duration::from_millis(1);

/// The same over HTTP, where each time is a request.
const HTTP_TICK: Duration = Duration::from_millis(10);

/// Records that one request over HTTP holds at most.
const REQUEST_RECORDS_MAX: u64 = 5_000;

/// Where records go.
pub(super) enum Sender {
    Kafka(Stream),
    Http(Box<Http>),
}

/// Events over HTTP, gathered while the request before is on its way.
pub(super) struct Http {
    client: Client,
    source: SourceName,
    runtime: Handle,
    run: ProducerRun,
    lines: Vec<u8>,
    gathered: u64,
    watched: bool,
    progress: Progress,
}

impl Http {
    /// Sends as a producer of its own, within `runtime`.
    pub(super) fn new(client: Client, source: SourceName, runtime: Handle) -> Self {
        let producer = format!("bench:{}:{}", SystemClock.now_us(), std::process::id());
        Self {
            client,
            source,
            runtime,
            run: ProducerRun { producer, first_row: 0 },
            lines: Vec::new(),
            gathered: 0,
            watched: false,
            progress: Progress::default(),
        }
    }

    fn push(&mut self, value: &[u8], watched: bool) -> anyhow::Result<()> {
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
        self.gathered += 1;
        self.watched |= watched;
        if self.gathered >= REQUEST_RECORDS_MAX { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        if self.gathered == 0 {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let sent_us = SystemClock.now_us();
        let accepted = self.runtime.block_on(self.client.append(&self.source, NDJSON, lines, &self.run))?;
        self.run.first_row += self.gathered;
        self.progress.acknowledged += std::mem::take(&mut self.gathered);
        // The log stamps records when they come in; no earlier than they were sent.
        let records = accepted.positions.iter().map(|range| Acknowledged {
            partition: range.partition,
            position: Position(range.to.0.saturating_sub(1)),
            timestamp_us: sent_us,
        });
        let watched = std::mem::take(&mut self.watched);
        records.for_each(|record| self.progress.note(record, watched));
        Ok(())
    }
}

impl Sender {
    /// Sends a record, or keeps it until [`Self::pause`]; waits while there is no room.
    pub(super) fn send(&mut self, key: Option<&[u8]>, value: &[u8], watched: bool) -> anyhow::Result<()> {
        match self {
            Self::Kafka(stream) => stream.send(key, value, watched).context("a record was not sent"),
            Self::Http(http) => http.push(value, watched),
        }
    }

    /// How long to gather what is due before it is sent.
    pub(super) fn tick(&self) -> Duration {
        match self {
            Self::Kafka(_) => TICK,
            Self::Http(_) => HTTP_TICK,
        }
    }

    /// Gets what was gathered on its way, and waits for `patience` until the next records are due; within a runtime.
    pub(super) fn pause(&mut self, patience: Duration) -> anyhow::Result<()> {
        if let Self::Http(http) = self {
            http.send()?;
        }
        Handle::current().block_on(tokio::time::sleep(patience));
        Ok(())
    }

    /// Waits until nothing is on its way.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Kafka(stream) => stream.finish().context("not every record was sent"),
            Self::Http(http) => http.send(),
        }
    }

    /// What became of the records so far; of those watched, what is new.
    pub(super) fn progress(&mut self) -> Progress {
        match self {
            Self::Kafka(stream) => stream.progress(),
            Self::Http(http) => http.progress.news(),
        }
    }
}
