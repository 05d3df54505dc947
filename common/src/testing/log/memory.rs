//! A log in memory that fails and waits on demand, for tests of what reads and writes logs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    clock::{Clock, SystemClock},
    event::{Record, RecordRef, Run},
    limits::{LOG_RUN_BYTES_MAX, LOG_RUN_RECORDS_MAX},
    log::{
        Appended, Error, EventLog, LogEvent, NewRecord, Placement, ProducerRun, Subscription, duplicates,
        reader::{Readable, Reader},
    },
    position::{OffsetRange, Partition, Position},
};

/// A log in memory. Clones are handles to the same log.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    topic: Arc<str>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    bounds: watch::Sender<Vec<OffsetRange>>,
    held: watch::Sender<bool>,
    ends: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    partitions: Vec<Stored>,
    producers: BTreeMap<String, u64>,
    placement: Placement,
    faults: Faults,
    keeps: bool,
    saves_headers: bool,
    identity: Option<String>,
}

/// One partition: `records` start at offset `start`.
#[derive(Debug, Default)]
struct Stored {
    start: u64,
    records: VecDeque<Record>,
    newest_us: i64,
}

/// Calls that are to fail, counted down: 1 is the next one, 0 none.
#[derive(Debug, Default)]
struct Faults {
    appends: u64,
    answers: u64,
    reads: u64,
    trims: u64,
}

impl MemoryLog {
    /// An empty log by the machine's clock.
    #[must_use]
    pub fn new(topic: &str, partitions: u32) -> Self {
        Self::with_clock(topic, partitions, Arc::new(SystemClock))
    }

    /// An empty log by `clock`.
    #[must_use]
    pub fn with_clock(topic: &str, partitions: u32, clock: Arc<dyn Clock>) -> Self {
        let (bounds, held, ends) = (watch::Sender::new(Vec::new()), watch::Sender::new(false), watch::Sender::new(()));
        let shared = Shared { topic: topic.into(), clock, state: Mutex::default(), bounds, held, ends };
        let log = Self { shared: Arc::new(shared) };
        log.grow(partitions);
        log
    }

    /// Makes the number of partitions at least this.
    pub fn grow(&self, partitions: u32) {
        let mut state = self.shared.state();
        let count = state.partitions.len().max(partitions as usize);
        state.partitions.resize_with(count, Stored::default);
        self.shared.publish(&state);
    }

    /// The `nth` append from now on fails with nothing done.
    pub fn fail_append(&self, nth: u64) {
        self.shared.state().faults.appends = nth;
    }

    /// The `nth` append from now on is done, yet answered with an error: the worst a crash can do to a producer.
    pub fn lose_answer(&self, nth: u64) {
        self.shared.state().faults.answers = nth;
    }

    /// The `nth` read of a subscription from now on fails; the one after it reads the same records.
    pub fn fail_read(&self, nth: u64) {
        self.shared.state().faults.reads = nth;
    }

    /// The subscriptions that there are end, as readers that were fenced do.
    pub fn end_subscriptions(&self) {
        self.shared.ends.send_replace(());
    }

    /// The `nth` trim from now on fails with nothing done.
    pub fn fail_trim(&self, nth: u64) {
        self.shared.state().faults.trims = nth;
    }

    /// Keeps what is trimmed from now on, as a log does that others read as well.
    pub fn keep(&self) {
        self.shared.state().keeps = true;
    }

    /// Leaves headers out, for subscriptions from now on, where they are not wanted: as a log does to which they cost something.
    pub fn save_headers(&self) {
        self.shared.state().saves_headers = true;
    }

    /// Says from now on that the topic is this one.
    pub fn identify(&self, identity: &str) {
        self.shared.state().identity = Some(identity.to_owned());
    }

    /// Makes appends wait, as for a slow disk, until [`MemoryLog::release`].
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Lets waiting appends go on.
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &State) {
        self.bounds.send_replace(state.partitions.iter().map(Stored::bounds).collect());
    }

    fn unknown(&self, partition: Partition) -> Error {
        Error::UnknownPartition { topic: self.topic.to_string(), partition }
    }

    fn injected(&self, action: &'static str) -> Error {
        Error::Io { topic: self.topic.to_string(), action, source: "injected fault".into() }
    }
}

impl Stored {
    fn bounds(&self) -> OffsetRange {
        OffsetRange::new(Position(self.start), Position(self.start + self.records.len() as u64))
    }
}

/// Whether the fault counted by `count` strikes now.
fn strikes(count: &mut u64) -> bool {
    let now = *count == 1;
    *count = count.saturating_sub(1);
    now
}

#[async_trait]
impl EventLog for MemoryLog {
    fn topic(&self) -> &str {
        &self.shared.topic
    }

    async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        let count = u32::try_from(self.shared.state().partitions.len()).expect("made from a u32");
        Ok((0..count).map(Partition).collect())
    }

    async fn identity(&self) -> Result<Option<String>, Error> {
        Ok(self.shared.state().identity.clone())
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        let state = self.shared.state();
        let stored = state.partitions.get(partition.0 as usize);
        stored.map(Stored::bounds).ok_or_else(|| self.shared.unknown(partition))
    }

    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error> {
        // The sender lives in `self.shared`, so waiting cannot fail.
        let _ = self.shared.held.subscribe().wait_for(|held| !held).await;
        let mut state = self.shared.state();
        if strikes(&mut state.faults.appends) {
            return Err(self.shared.injected("append"));
        }
        let appended = state.append(&self.shared.topic, self.shared.clock.now_us(), records, run)?;
        self.shared.publish(&state);
        if strikes(&mut state.faults.answers) {
            return Err(self.shared.injected("append"));
        }
        Ok(appended)
    }

    async fn next_row(&self, producer: &str) -> Result<u64, Error> {
        Ok(self.shared.state().producers.get(producer).copied().unwrap_or(0))
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        let reader = Reader::new(Arc::clone(&self.shared));
        let saves_headers = self.shared.state().saves_headers;
        let reader: Box<dyn Subscription> =
            if saves_headers { Box::new(Saving::new(reader)) } else { Box::new(reader) };
        let topic = Arc::clone(&self.shared.topic);
        Ok(Box::new(Mortal { topic, reader, end: self.shared.ends.subscribe(), has_ended: false }))
    }

    async fn trim(&self, partition: Partition, position: Position) -> Result<(), Error> {
        let mut state = self.shared.state();
        if strikes(&mut state.faults.trims) {
            return Err(self.shared.injected("trim"));
        }
        let keeps = state.keeps;
        let stored = state.partitions.get_mut(partition.0 as usize).ok_or_else(|| self.shared.unknown(partition))?;
        let bounds = stored.bounds();
        if position > bounds.to {
            return Err(Error::OutOfRange { topic: self.shared.topic.to_string(), partition, position, bounds });
        }
        if keeps {
            return Ok(());
        }
        let forgotten = position.0.saturating_sub(stored.start);
        stored.records.drain(..usize::try_from(forgotten).expect("no more than the records held"));
        stored.start += forgotten;
        self.shared.publish(&state);
        Ok(())
    }
}

impl State {
    fn append(
        &mut self,
        topic: &Arc<str>,
        now_us: i64,
        mut records: Vec<NewRecord>,
        run: Option<ProducerRun>,
    ) -> Result<Appended, Error> {
        let mut known = 0;
        if let Some(run) = run {
            let due = self.producers.get(&run.producer).copied().unwrap_or(0);
            known = duplicates(&run, records.len(), due)?;
            records.drain(..known);
            self.producers.insert(run.producer, due + records.len() as u64);
        }
        let count = u32::try_from(self.partitions.len()).expect("made from a u32");
        let mut ranges = BTreeMap::new();
        for record in records {
            let partition = self.placement.place(record.key.as_ref(), count);
            let stored = &mut self.partitions[partition.0 as usize];
            let offset = stored.bounds().to.0;
            stored.newest_us = stored.newest_us.max(now_us);
            let NewRecord { key, headers, value } = record;
            let (topic, timestamp_us) = (Arc::clone(topic), stored.newest_us);
            stored.records.push_back(Record { topic, partition, offset, timestamp_us, key, headers, value });
            let range = ranges.entry(partition).or_insert_with(|| OffsetRange::new(Position(offset), Position(offset)));
            range.to = Position(offset + 1);
        }
        Ok(Appended { ranges: ranges.into_iter().collect(), duplicates: known as u64 })
    }
}

#[async_trait]
impl Readable for Shared {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn bounds(&self) -> watch::Receiver<Vec<OffsetRange>> {
        self.bounds.subscribe()
    }

    async fn read(&self, partition: Partition, range: OffsetRange) -> Result<Option<Run>, Error> {
        let mut state = self.state();
        if strikes(&mut state.faults.reads) {
            return Err(self.injected("read"));
        }
        let stored = &state.partitions[partition.0 as usize];
        let Some(first) = range.from.0.checked_sub(stored.start) else { return Ok(None) };
        let mut bytes = 0;
        let run = stored.records.iter().skip(usize::try_from(first).expect("no more than the records held"));
        let run = run.take(LOG_RUN_RECORDS_MAX).enumerate().take_while(|(i, record)| {
            bytes += size(record);
            *i == 0 || bytes <= LOG_RUN_BYTES_MAX
        });
        Ok(Some(run.map(|(_, record)| record.clone()).collect()))
    }
}

/// A reader that leaves headers out where they are not wanted.
struct Saving {
    reader: Reader<Shared>,
    headers: bool,
    /// The partitions that were started without.
    without: BTreeSet<Partition>,
}

impl Saving {
    fn new(reader: Reader<Shared>) -> Self {
        Self { reader, headers: true, without: BTreeSet::new() }
    }
}

#[async_trait]
impl Subscription for Saving {
    async fn next(&mut self) -> Result<LogEvent, Error> {
        let mut event = self.reader.next().await?;
        if let LogEvent::Records(run) = &mut event
            && self.without.contains(&run.partition)
        {
            let bare = |record: RecordRef<'_>| Record { headers: Vec::new(), ..record.to_record() };
            run.records = run.records.iter().map(bare).collect();
        }
        Ok(event)
    }

    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error> {
        self.reader.start(partition, position).await?;
        if self.headers {
            self.without.remove(&partition);
        } else {
            self.without.insert(partition);
        }
        Ok(())
    }

    fn want_headers(&mut self, wanted: bool) -> bool {
        self.headers = wanted;
        wanted
    }
}

/// A reader that ends when it is told to, and then waits for ever.
struct Mortal {
    topic: Arc<str>,
    reader: Box<dyn Subscription>,
    end: watch::Receiver<()>,
    has_ended: bool,
}

#[async_trait]
impl Subscription for Mortal {
    async fn next(&mut self) -> Result<LogEvent, Error> {
        if self.has_ended {
            return std::future::pending().await;
        }
        tokio::select! {
            biased;
            Ok(()) = self.end.changed() => {
                self.has_ended = true;
                Err(Error::Ended { topic: self.topic.to_string(), source: "injected fault".into() })
            }
            event = self.reader.next() => event,
        }
    }

    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error> {
        self.reader.start(partition, position).await
    }

    fn want_headers(&mut self, wanted: bool) -> bool {
        self.reader.want_headers(wanted)
    }

    async fn close(self: Box<Self>) {
        self.reader.close().await;
    }
}

fn size(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    headers + record.key.as_ref().map_or(0, |k| k.len()) + record.value.as_ref().map_or(0, |v| v.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;
    use crate::testing::log::conformance::Subject;

    /// Handles come and go; the log in memory stays.
    struct InMemory(MemoryLog);

    #[async_trait]
    impl Subject for InMemory {
        async fn open(&self, partitions: u32) -> Arc<dyn EventLog> {
            self.0.grow(partitions);
            Arc::new(self.0.clone())
        }
    }

    crate::event_log_conformance!(InMemory(MemoryLog::new("departures", 0)));

    mod that_saves_headers {
        use super::*;

        fn log() -> MemoryLog {
            let log = MemoryLog::new("departures", 0);
            log.save_headers();
            log
        }

        crate::event_log_conformance! { InMemory(log()); records_come_back_whole, headers_come_if_they_are_wanted }
    }

    fn one() -> Vec<NewRecord> {
        vec![NewRecord { value: Some(Bytes::from_static(b"1")), ..NewRecord::default() }]
    }

    #[tokio::test]
    async fn the_nth_append_fails_with_nothing_done() {
        let log = MemoryLog::new("departures", 1);
        log.fail_append(2);
        log.append(one(), None).await.expect("the first is not the one to fail");
        assert!(matches!(log.append(one(), None).await, Err(Error::Io { .. })));
        assert_eq!(log.bounds(Partition(0)).await.expect("it is there").len(), 1);
        log.append(one(), None).await.expect("only one was to fail");
    }

    #[tokio::test]
    async fn a_lost_answer_is_found_out_by_sending_again() {
        let log = MemoryLog::new("departures", 1);
        log.lose_answer(1);
        let run = Some(ProducerRun { producer: "p".to_owned(), first_row: 0 });
        assert!(log.append(one(), run.clone()).await.is_err());
        assert_eq!(log.append(one(), run).await.expect("only one was to fail").duplicates, 1);
    }

    #[tokio::test]
    async fn a_failed_read_is_read_again() {
        let log = MemoryLog::new("departures", 1);
        log.append(one(), None).await.expect("no fault");
        let mut reader = log.subscribe().await.expect("no fault");
        reader.next().await.expect("assigned");
        reader.start(Partition(0), Position(0)).await.expect("it is there");
        log.fail_read(1);
        assert!(matches!(reader.next().await, Err(Error::Io { .. })));
        assert!(matches!(reader.next().await, Ok(LogEvent::Records(_))));
    }

    #[tokio::test]
    async fn held_appends_wait() {
        let log = MemoryLog::new("departures", 1);
        log.hold();
        let mut append = log.append(one(), None);
        assert!((&mut append).now_or_never().is_none());
        log.release();
        append.await.expect("no fault");
    }
}
