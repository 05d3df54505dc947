//! What every [`EventLog`] must do, one named check each.
//!
//! [`event_log_conformance!`](crate::event_log_conformance) makes a test of each. A check takes for granted nothing but
//! the trait, and passes over what the log says it cannot do.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;

use crate::{
    event::Record,
    limits::LOG_RUN_RECORDS_MAX,
    log::{Appended, Error, EventLog, LogEvent, NewRecord, ProducerRun, Records, Subscription},
    position::{OffsetRange, Partition, Position},
};

/// What some logs can and others cannot.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Appends take a [`ProducerRun`] and pass over duplicates.
    pub deduplicates: bool,
    /// Trimming takes effect before it returns.
    pub trims: bool,
    /// Offsets of a partition follow each other by one: its runs have as many records as offsets.
    pub contiguous: bool,
}

/// A log under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// What it can do: all, unless it says otherwise.
    fn capabilities(&self) -> Capabilities {
        Capabilities { deduplicates: true, trims: true, contiguous: true }
    }

    /// Opens the topic, which is made empty the first time and otherwise has what was appended before. All handles of the
    /// time before have been dropped, as after a restart.
    async fn open(&self, partitions: u32) -> Arc<dyn EventLog>;
}

/// Runs one check; fails instead of waiting for ever.
///
/// # Panics
/// If the check fails or does not end within a minute.
pub async fn run<S: Subject, F: Future<Output = ()>>(subject: S, check: impl FnOnce(Arc<S>) -> F) {
    let checked = tokio::time::timeout(Duration::from_secs(60), check(Arc::new(subject))).await;
    assert!(checked.is_ok(), "the log keeps the check waiting");
}

/// Makes a test of each check. `$subject` is an expression that makes a fresh [`Subject`].
#[macro_export]
macro_rules! event_log_conformance {
    ($subject:expr) => {
        $crate::event_log_conformance! { $subject;
            records_come_back_whole, offsets_are_contiguous, appends_are_all_or_none, l2_appended_is_durable_after_reopening,
            keys_keep_their_partition, time_stamps_never_go_back, duplicates_are_passed_over,
            duplicates_are_known_after_reopening, gaps_are_out_of_sequence, assignment_comes_first, l7_runs_chain_without_gap,
            runs_are_bounded, reading_goes_back, outside_is_out_of_range, trimming_keeps_offsets,
            trimming_under_a_reader_is_out_of_range, next_waits_and_wakes, next_is_safe_to_cancel, appenders_do_not_disturb,
            partitions_are_read_in_turn, partitions_grow, unknown_partitions_are_errors, headers_come_if_they_are_wanted
        }
    };
    ($subject:expr; $($check:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::testing::log::conformance::run($subject, $crate::testing::log::conformance::$check).await;
        }
    )*};
}

/// Key, headers and value come back as they were, absent and empty ones too.
pub async fn records_come_back_whole<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let header = |name: &str, value: &'static str| (name.to_owned(), Bytes::from_static(value.as_bytes()));
    let sent = vec![
        NewRecord::default(),
        NewRecord { key: bytes(""), value: bytes(""), headers: vec![] },
        NewRecord { key: bytes("k"), value: None, headers: vec![header("h", ""), header("h", "2"), header("", "\0")] },
        NewRecord { key: None, value: Some(Bytes::from(vec![0xff; 300_000])), headers: vec![] },
    ];
    append(&log, sent.clone()).await;
    let whole = |r: Record| NewRecord { key: r.key, headers: r.headers, value: r.value };
    let read: Vec<NewRecord> = read_all(&log).await.into_iter().map(whole).collect();
    assert_eq!(read, sent);
}

/// The answers to appends name the offsets, which start at 0 and follow by one.
pub async fn offsets_are_contiguous<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    let mut next = BTreeMap::from([(Partition(0), Position(0)), (Partition(1), Position(0))]);
    for count in [1, 7, 2] {
        let appended = append(&log, numbered(0..count)).await;
        assert_eq!(appended.ranges.iter().map(|(_, range)| range.len()).sum::<u64>(), count);
        assert!(appended.ranges.is_sorted_by_key(|(partition, _)| *partition));
        for (partition, range) in appended.ranges {
            let due = next.insert(partition, range.to).expect("one of two partitions");
            assert!(range.from >= due, "offsets were given twice");
            assert!(range.from == due || !subject.capabilities().contiguous, "offsets were passed over");
        }
    }
    for (partition, to) in next {
        let end = bounds(&log, partition).await.to;
        assert!(end == to || end > to && !subject.capabilities().contiguous, "the log ends at {end}, not at {to}");
    }
    assert_eq!(append(&log, vec![]).await, Appended { ranges: vec![], duplicates: 0 });
}

/// An append that fails leaves no record behind in any partition.
pub async fn appends_are_all_or_none<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().deduplicates {
        return;
    }
    let log = subject.open(3).await;
    append(&log, numbered(0..6)).await;
    let failed = log.append(numbered(6..12), Some(producer("p", 1))).await;
    assert!(matches!(failed, Err(Error::OutOfSequence { .. })));
    assert_eq!(values(&read_all(&log).await), (0..6).collect::<Vec<_>>());
    assert_eq!(append(&log, numbered(6..9)).await.ranges.len(), 3);
    assert_eq!(values(&read_all(&log).await), (0..9).collect::<Vec<_>>());
}

/// L2: what an append has answered for is there after a restart, and offsets go on after it.
pub async fn l2_appended_is_durable_after_reopening<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    append(&log, numbered(0..100)).await;
    let before = read_all(&log).await;
    drop(log);
    let log = subject.open(2).await;
    assert_eq!(read_all(&log).await, before);
    for (partition, range) in append(&log, numbered(100..104)).await.ranges {
        let newest = before.iter().rfind(|r| r.partition == partition).expect("100 records go to both partitions");
        assert!(range.from.0 > newest.offset);
    }
    assert_eq!(values(&read_all(&log).await), (0..104).collect::<Vec<_>>());
}

/// Records of one key share a partition and keep their order.
pub async fn keys_keep_their_partition<S: Subject>(subject: Arc<S>) {
    let log = subject.open(4).await;
    for number in 0..60 {
        let key = Some(Bytes::from(format!("key {}", number % 6)));
        append(&log, vec![NewRecord { key, ..record(number) }]).await;
    }
    let mut of_key: BTreeMap<Bytes, Vec<Record>> = BTreeMap::new();
    for record in read_all(&log).await {
        of_key.entry(record.key.clone().expect("all have one")).or_default().push(record);
    }
    for (key, records) in of_key {
        assert!(records.iter().all(|r| r.partition == records[0].partition), "{key:?} is in several partitions");
        assert!(records.iter().map(number).is_sorted(), "{key:?} lost its order");
        assert_eq!(records.len(), 10);
    }
}

/// Time stamps of a partition never go back, over a restart either.
pub async fn time_stamps_never_go_back<S: Subject>(subject: Arc<S>) {
    for _ in 0..3 {
        let log = subject.open(2).await;
        append(&log, numbered(0..10)).await;
    }
    let log = subject.open(2).await;
    for records in by_partition(read_all(&log).await).values() {
        assert!(records.iter().map(|r| r.timestamp_us).is_sorted());
    }
}

/// Rows that a producer sends again are counted, not appended; producers do not touch each other.
pub async fn duplicates_are_passed_over<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().deduplicates {
        return;
    }
    let log = subject.open(2).await;
    let send = async |rows: std::ops::Range<u64>, name: &str| {
        let run = producer(name, rows.start);
        log.append(numbered(rows), Some(run)).await.expect("rows are in sequence")
    };
    assert_eq!(log.next_row("p").await.ok(), Some(0));
    assert_eq!(send(0..10, "p").await.duplicates, 0);
    let again = send(0..10, "p").await;
    assert_eq!((again.duplicates, again.ranges.len()), (10, 0));
    let overlapping = send(5..15, "p").await;
    assert_eq!(overlapping.duplicates, 5);
    assert_eq!(overlapping.ranges.iter().map(|(_, r)| r.len()).sum::<u64>(), 5);
    assert_eq!(log.next_row("p").await.ok(), Some(15));
    assert_eq!(values(&read_all(&log).await), (0..15).collect::<Vec<_>>());
    assert_eq!(send(0..3, "q").await.duplicates, 0);
    assert_eq!(log.next_row("p").await.ok(), Some(15));
    assert_eq!(log.next_row("q").await.ok(), Some(3));
}

/// A producer that starts again after a restart of the log is still known.
pub async fn duplicates_are_known_after_reopening<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().deduplicates {
        return;
    }
    let log = subject.open(2).await;
    log.append(numbered(0..10), Some(producer("p", 0))).await.expect("rows are in sequence");
    drop(log);
    let log = subject.open(2).await;
    assert_eq!(log.next_row("p").await.ok(), Some(10));
    let appended = log.append(numbered(8..12), Some(producer("p", 8))).await.expect("rows are in sequence");
    assert_eq!(appended.duplicates, 2);
    assert_eq!(values(&read_all(&log).await), (0..12).collect::<Vec<_>>());
}

/// A gap in a producer's rows is an error that names the row due, and appends nothing.
pub async fn gaps_are_out_of_sequence<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().deduplicates {
        return;
    }
    let log = subject.open(1).await;
    log.append(numbered(0..3), Some(producer("p", 0))).await.expect("rows are in sequence");
    match log.append(numbered(4..5), Some(producer("p", 4))).await {
        Err(Error::OutOfSequence { producer, got, due }) => assert_eq!((&*producer, got, due), ("p", 4, 3)),
        other => panic!("a gap was answered with {other:?}"),
    }
    assert_eq!(log.next_row("p").await.ok(), Some(3));
    assert_eq!(values(&read_all(&log).await), (0..3).collect::<Vec<_>>());
}

/// The first event of a subscription assigns all partitions; nothing is read of one that was not started.
pub async fn assignment_comes_first<S: Subject>(subject: Arc<S>) {
    let log = subject.open(3).await;
    append(&log, numbered(0..9)).await;
    let all: Vec<Partition> = (0..3).map(Partition).collect();
    assert_eq!(log.partitions().await.expect("the log is open"), all);
    let mut reader = log.subscribe().await.expect("the log is open");
    assert_eq!(reader.next().await.expect("the log is open"), LogEvent::Assigned(all));
    assert!(reader.next().now_or_never().is_none(), "a partition was read that was not started");
    start(&mut reader, Partition(1), 0).await;
    assert_eq!(next_records(&mut reader).await.partition, Partition(1));
}

/// L7: the runs of a partition chain from the position started, and hold every record.
pub async fn l7_runs_chain_without_gap<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    let mut reader = started(&log).await;
    let mut due = BTreeMap::from([(Partition(0), 0), (Partition(1), 0)]);
    let mut read = Vec::new();
    for round in 0..20 {
        append(&log, numbered(round * 50..(round + 1) * 50)).await;
        while read.len() < (round as usize + 1) * 50 {
            let run = next_run(&mut reader).await;
            let position = due.insert(run.partition, run.range.to.0).expect("one of two partitions");
            assert_eq!(run.range.from.0, position, "runs do not chain");
            assert!(run.records.iter().all(|r| r.partition == run.partition && r.topic.as_ref() == log.topic()));
            read.extend(run.records);
        }
    }
    assert_eq!(values(&read), (0..1000).collect::<Vec<_>>());
}

/// A run holds no more than the limit, and the rest follows.
pub async fn runs_are_bounded<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    let count = LOG_RUN_RECORDS_MAX as u64 + 10;
    append(&log, numbered(0..count)).await;
    let mut reader = started(&log).await;
    let mut read = Vec::new();
    while (read.len() as u64) < count {
        let run = next_records(&mut reader).await;
        assert!(run.records.len() <= LOG_RUN_RECORDS_MAX);
        read.extend(run.records);
    }
    assert_eq!(values(&read), (0..count).collect::<Vec<_>>());
}

/// A running partition may be started again further back, or further on.
pub async fn reading_goes_back<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    append(&log, numbered(0..10)).await;
    let mut reader = started(&log).await;
    for position in [0, 4, 9, 0] {
        start(&mut reader, Partition(0), position).await;
        let run = next_records(&mut reader).await;
        assert_eq!((run.range.from.0, number(&run.records.at(0).to_record())), (position, position));
    }
}

/// Starting before the oldest record or after the end is an error that names the bounds; the end itself is not.
pub async fn outside_is_out_of_range<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    append(&log, numbered(0..10)).await;
    let mut reader = started(&log).await;
    let all = bounds(&log, Partition(0)).await;
    let mut outside = vec![(all.to.0 + 1, all)];
    if subject.capabilities().trims {
        trim(&log, 4).await;
        outside = vec![(3, range(4, 10)), (0, range(4, 10)), (11, range(4, 10)), (u64::MAX, range(4, 10))];
    }
    for (position, has) in outside {
        match reader.start(Partition(0), Position(position)).await {
            Err(Error::OutOfRange { bounds, .. }) => assert_eq!(bounds, has),
            other => panic!("position {position} was answered with {other:?}"),
        }
    }
    start(&mut reader, Partition(0), all.to.0).await;
    assert!(reader.next().now_or_never().is_none());
}

/// Offsets go on after a trim, even one of everything, and over a restart.
pub async fn trimming_keeps_offsets<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().trims {
        return;
    }
    let log = subject.open(1).await;
    append(&log, numbered(0..10)).await;
    trim(&log, 3).await;
    trim(&log, 2).await;
    assert_eq!(bounds(&log, Partition(0)).await, range(3, 10));
    assert_eq!(values(&read_all(&log).await), (3..10).collect::<Vec<_>>());
    trim(&log, 10).await;
    assert_eq!(bounds(&log, Partition(0)).await, range(10, 10));
    drop(log);
    let log = subject.open(1).await;
    assert_eq!(bounds(&log, Partition(0)).await, range(10, 10));
    assert_eq!(append(&log, numbered(10..12)).await.ranges, [(Partition(0), range(10, 12))]);
    assert_eq!(values(&read_all(&log).await), [10, 11]);
    assert!(matches!(log.trim(Partition(0), Position(13)).await, Err(Error::OutOfRange { .. })));
}

/// A reader that was overtaken by a trim is told; it does not pass over the records. It is told once: over and over, it
/// would come to nothing else.
pub async fn trimming_under_a_reader_is_out_of_range<S: Subject>(subject: Arc<S>) {
    if !subject.capabilities().trims {
        return;
    }
    let log = subject.open(1).await;
    append(&log, numbered(0..10)).await;
    let mut reader = started(&log).await;
    trim(&log, 5).await;
    match reader.next().await {
        Err(Error::OutOfRange { position, bounds, .. }) => assert_eq!((position.0, bounds), (0, range(5, 10))),
        other => panic!("an overtaken reader was answered with {other:?}"),
    }
    assert!(reader.next().now_or_never().is_none(), "not until it is started again");
    start(&mut reader, Partition(0), 5).await;
    assert_eq!(next_records(&mut reader).await.range.from, Position(5));
}

/// `next` waits while there is nothing, and wakes by itself when there is.
pub async fn next_waits_and_wakes<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    let mut reader = started(&log).await;
    assert!(reader.next().now_or_never().is_none());
    let waiting = tokio::spawn(async move { next_records(&mut reader).await });
    tokio::task::yield_now().await;
    append(&log, numbered(0..1)).await;
    assert_eq!(values(&waiting.await.expect("the reader does not panic").records.to_records()), [0]);
}

/// Dropping `next` at any moment loses and repeats nothing.
pub async fn next_is_safe_to_cancel<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    let mut reader = started(&log).await;
    let mut read = Vec::new();
    for round in 0..50 {
        append(&log, numbered(round * 4..(round + 1) * 4)).await;
        if let Some(event) = reader.next().now_or_never() {
            take_records(event, &mut read);
        }
        if round % 2 == 0 {
            // Given up in the middle of a read, if the log reads on another thread.
            tokio::select! { biased;
                event = reader.next() => take_records(event, &mut read),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    while read.len() < 200 {
        take_records(reader.next().await, &mut read);
    }
    for records in by_partition(read.clone()).values() {
        assert!(records.iter().map(|r| r.offset).is_sorted());
    }
    assert_eq!(values(&read), (0..200).collect::<Vec<_>>());
}

/// Many appenders at once: every record is there once, each appender's records in its order.
pub async fn appenders_do_not_disturb<S: Subject>(subject: Arc<S>) {
    let log = subject.open(3).await;
    let appender = |appender: u64| {
        let log = Arc::clone(&log);
        async move {
            for round in 0..25 {
                let first = appender * 1000 + round * 4;
                let appended = append(&log, numbered(first..first + 4)).await;
                assert_eq!(appended.ranges.iter().map(|(_, r)| r.len()).sum::<u64>(), 4);
            }
        }
    };
    let appenders: Vec<_> = (0..8).map(|i| tokio::spawn(appender(i))).collect();
    for appender in appenders {
        appender.await.expect("an appender does not panic");
    }
    let read = read_all(&log).await;
    for records in by_partition(read.clone()).values() {
        for appender in 0..8 {
            let own = records.iter().map(number).filter(|n| n / 1000 == appender);
            assert!(own.is_sorted(), "appender {appender} lost its order");
        }
    }
    let all: Vec<u64> = (0..8).flat_map(|appender| appender * 1000..appender * 1000 + 100).collect();
    assert_eq!(values(&read), all);
}

/// A partition that always has something to read does not starve another one.
pub async fn partitions_are_read_in_turn<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    append(&log, numbered(0..10)).await;
    for always in [Partition(0), Partition(1)] {
        let mut reader = started(&log).await;
        let mut turns = Vec::new();
        for _ in 0..4 {
            start(&mut reader, always, 0).await;
            turns.push(next_records(&mut reader).await.partition);
        }
        assert!(turns.iter().any(|turn| *turn != always), "{always} had every turn");
    }
}

/// Reopened with more partitions, a topic keeps what it has and uses them all.
pub async fn partitions_grow<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    append(&log, numbered(0..5)).await;
    drop(log);
    let log = subject.open(3).await;
    assert_eq!(log.partitions().await.expect("the log is open").len(), 3);
    assert_eq!(values(&read_all(&log).await), (0..5).collect::<Vec<_>>());
    assert_eq!(bounds(&log, Partition(2)).await, range(0, 0));
    append(&log, numbered(5..35)).await;
    let read = read_all(&log).await;
    assert_eq!(by_partition(read.clone()).len(), 3);
    assert_eq!(values(&read), (0..35).collect::<Vec<_>>());
}

/// A partition that is not there is an error wherever it is named.
pub async fn unknown_partitions_are_errors<S: Subject>(subject: Arc<S>) {
    let log = subject.open(2).await;
    let mut reader = started(&log).await;
    let answers = [
        log.bounds(Partition(2)).await.err(),
        log.trim(Partition(2), Position(0)).await.err(),
        reader.start(Partition(2), Position(0)).await.err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(Error::UnknownPartition { partition: Partition(2), .. })), "{answer:?}");
    }
}

/// Headers come with records of what is started while they are wanted, which they are at first, or while the log says so.
pub async fn headers_come_if_they_are_wanted<S: Subject>(subject: Arc<S>) {
    let log = subject.open(1).await;
    let headers = vec![("h".to_owned(), Bytes::from_static(b"v"))];
    append(&log, vec![NewRecord { headers: headers.clone(), ..record(0) }]).await;
    let mut reader = started(&log).await;
    let has_headers = async |reader: &mut Box<dyn Subscription>| {
        start(reader, Partition(0), 0).await;
        next_records(reader).await.records.at(0).headers == headers
    };
    assert!(has_headers(&mut reader).await, "nobody said that they are not wanted");
    for wanted in [false, true, false] {
        let said = reader.want_headers(wanted);
        assert!(said >= wanted, "who wants them gets them");
        assert_eq!(has_headers(&mut reader).await, said, "wanted: {wanted}");
    }
}

fn record(number: u64) -> NewRecord {
    NewRecord { value: Some(Bytes::from(number.to_string())), ..NewRecord::default() }
}

/// Records without a key whose values are these numbers.
fn numbered(numbers: std::ops::Range<u64>) -> Vec<NewRecord> {
    numbers.map(record).collect()
}

fn producer(name: &str, first_row: u64) -> ProducerRun {
    ProducerRun { producer: name.to_owned(), first_row }
}

fn range(from: u64, to: u64) -> OffsetRange {
    OffsetRange::new(Position(from), Position(to))
}

fn number(record: &Record) -> u64 {
    let value = record.value.as_ref().expect("records of the suite have values");
    std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).expect("values of the suite are numbers")
}

/// The numbers, ascending: equal to what was sent only if every record is there once.
fn values(records: &[Record]) -> Vec<u64> {
    let mut values: Vec<u64> = records.iter().map(number).collect();
    values.sort_unstable();
    values
}

fn by_partition(records: Vec<Record>) -> BTreeMap<Partition, Vec<Record>> {
    let mut of: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    for record in records {
        of.entry(record.partition).or_default().push(record);
    }
    of
}

async fn append(log: &Arc<dyn EventLog>, records: Vec<NewRecord>) -> Appended {
    log.append(records, None).await.expect("the log takes records")
}

async fn bounds(log: &Arc<dyn EventLog>, partition: Partition) -> OffsetRange {
    log.bounds(partition).await.expect("the log has the partition")
}

async fn trim(log: &Arc<dyn EventLog>, position: u64) {
    log.trim(Partition(0), Position(position)).await.expect("the log has the partition");
}

async fn start(reader: &mut Box<dyn Subscription>, partition: Partition, position: u64) {
    reader.start(partition, Position(position)).await.expect("the log has the position");
}

/// A reader with every partition started at its oldest record.
async fn started(log: &Arc<dyn EventLog>) -> Box<dyn Subscription> {
    let mut reader = log.subscribe().await.expect("the log is open");
    let LogEvent::Assigned(partitions) = reader.next().await.expect("the log is open") else {
        panic!("the first event does not assign partitions");
    };
    for partition in partitions {
        start(&mut reader, partition, bounds(log, partition).await.from.0).await;
    }
    reader
}

/// The next run that has records: a gap may come as a run of none.
async fn next_records(reader: &mut Box<dyn Subscription>) -> Records {
    loop {
        let run = next_run(reader).await;
        if !run.records.is_empty() {
            return run;
        }
    }
}

async fn next_run(reader: &mut Box<dyn Subscription>) -> Records {
    match reader.next().await {
        Ok(LogEvent::Records(run)) => {
            assert!(!run.range.is_empty(), "a run moves the position");
            assert!(run.records.iter().map(|r| r.offset).is_sorted_by(|a, b| a < b));
            assert!(run.records.iter().all(|r| (run.range.from.0..run.range.to.0).contains(&r.offset)));
            run
        }
        other => panic!("records were due, not {other:?}"),
    }
}

fn take_records(event: Result<LogEvent, Error>, into: &mut Vec<Record>) {
    match event {
        Ok(LogEvent::Records(run)) => into.extend(run.records),
        other => panic!("records were due, not {other:?}"),
    }
}

/// Everything the log has now, as a new reader sees it.
async fn read_all(log: &Arc<dyn EventLog>) -> Vec<Record> {
    let mut due = BTreeMap::new();
    for partition in log.partitions().await.expect("the log is open") {
        let bounds = bounds(log, partition).await;
        if !bounds.is_empty() {
            due.insert(partition, bounds.to);
        }
    }
    let mut reader = started(log).await;
    let mut read = Vec::new();
    while !due.is_empty() {
        let run = next_run(&mut reader).await;
        due.retain(|partition, end| *partition != run.partition || run.range.to < *end);
        read.extend(run.records);
    }
    reader.close().await;
    read
}
