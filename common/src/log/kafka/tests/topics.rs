//! What topics may hold, and what may become of them.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, Producer},
};

use super::{
    super::poll::LEAVE_TIMEOUT,
    lab::{Lab, in_time, new, texts},
};
use crate::{
    limits::KAFKA_TIMEOUT,
    log::{Error, EventLog, LogEvent, NewRecord},
    position::{Partition, Position},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_records_of_aborted_transactions_are_gaps() {
    let Some(lab) = Lab::new("aborts", 1, &[]).await else { return };
    let producer = lab.producer(&[("transactional.id", &lab.topic)]);
    producer.init_transactions(KAFKA_TIMEOUT).unwrap();
    for (value, commits) in [("a", false), ("b", true), ("c", false), ("d", true), ("e", false)] {
        producer.begin_transaction().unwrap();
        lab.produce(&producer, &[value, value]);
        match commits {
            true => producer.commit_transaction(KAFKA_TIMEOUT).unwrap(),
            false => producer.abort_transaction(KAFKA_TIMEOUT).unwrap(),
        }
    }
    // Markers are written after the answer.
    while lab.log.bounds(Partition(0)).await.unwrap().to < Position(15) {}
    let read = lab.read().await;
    assert_eq!(texts(&read), ["b", "b", "d", "d"]);
    assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4, 9, 10]);
}

/// What comes after the start of an open transaction waits for its end, and the log ends before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_open_transactions_are_not_there_yet() {
    let Some(lab) = Lab::new("open", 1, &[]).await else { return };
    lab.append(&["before"]).await;
    let producer = lab.producer(&[("transactional.id", &lab.topic)]);
    producer.init_transactions(KAFKA_TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    lab.produce(&producer, &["within"]);
    lab.produce(&lab.producer(&[]), &["after"]);
    assert_eq!(lab.log.bounds(Partition(0)).await.unwrap().to, Position(2));
    let mut reader = lab.reader().await;
    assert_eq!(texts(&reader.up_to(2).await), ["before"]);
    producer.commit_transaction(KAFKA_TIMEOUT).unwrap();
    assert_eq!(texts(&reader.up_to(5).await), ["within", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_compaction_took_is_a_gap() {
    let settings =
        [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.001")];
    let settings = [&settings[..], &[("min.compaction.lag.ms", "0"), ("max.compaction.lag.ms", "1")]].concat();
    let Some(lab) = Lab::new("compacted", 1, &settings).await else { return };
    let producer = lab.producer(&[]);
    let filler = "x".repeat(100_000);
    for number in 0..40 {
        let key = if number == 7 { "rare" } else { "often" };
        producer.send(BaseRecord::to(&lab.topic).partition(0).key(key).payload(&filler)).unwrap();
        producer.flush(KAFKA_TIMEOUT).unwrap();
    }
    let read = loop {
        let read = lab.read().await;
        if read.len() < 40 {
            break read;
        }
    };
    assert!(read.iter().any(|record| record.offset == 7 && record.key.as_deref() == Some(b"rare")));
    assert_eq!(read.last().unwrap().offset, 39, "the last record is never taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compression_is_read() {
    let Some(lab) = Lab::new("codecs", 1, &[]).await else { return };
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        lab.produce(&lab.producer(&[("compression.type", codec)]), &[codec]);
    }
    assert_eq!(texts(&lab.read().await), codecs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_stamps_are_the_producers_or_the_brokers() {
    for (kind, is_producers) in [("CreateTime", true), ("LogAppendTime", false)] {
        let Some(lab) = Lab::new("times", 1, &[("message.timestamp.type", kind)]).await else { return };
        let producer = lab.producer(&[]);
        let record = BaseRecord::<str, str>::to(&lab.topic).partition(0).payload("x").timestamp(1_234_567_890_123);
        producer.send(record).unwrap();
        producer.flush(KAFKA_TIMEOUT).unwrap();
        let read = lab.read().await;
        assert_eq!(read[0].timestamp_us == 1_234_567_890_123_000, is_producers, "{kind}: {}", read[0].timestamp_us);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_up_to_the_topics_limit_are_taken_and_no_larger_one() {
    let Some(lab) = Lab::new("sizes", 1, &[("max.message.bytes", "3000000")]).await else { return };
    let random = |length: usize| {
        let mut state = 7_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        NewRecord { value: Some((0..length).map(|_| byte()).collect()), ..NewRecord::default() }
    };
    lab.log.append(vec![new("small"), random(2_900_000)], None).await.unwrap();
    match lab.log.append(vec![new("lost with it"), random(3_100_000)], None).await {
        Err(Error::TooLarge { bytes, allowed, .. }) => assert_eq!((bytes, allowed), (3_100_000, 3_000_000)),
        other => panic!("{other:?}"),
    }
    lab.append(&["small again"]).await;
    let lengths: Vec<usize> = lab.read().await.iter().map(|record| record.value.as_ref().unwrap().len()).collect();
    assert_eq!(lengths, [5, 2_900_000, 11]);
}

/// The topic drops what a reader was to read next: it is told once, and reads on only where it is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_under_a_reader_is_told_once() {
    let Some(mut lab) = Lab::new("gone", 1, &[]).await else { return };
    let large = "x".repeat(100_000);
    for _ in 0..10 {
        lab.append(&[large.as_str(); 20]).await;
    }
    // It fetches little ahead, so that there is something that it has not fetched.
    lab.settings = lab.settings.with("queued.max.messages.kbytes", "1").with("fetch.message.max.bytes", "1000");
    lab.log = lab.another().await;
    let mut reader = lab.reader().await;
    let mut at = reader.run().await.range.to;
    delete_before(&lab, 200).await;
    // What the log has is asked, and the answer comes, however often whoever waits for it drops the question.
    let position = loop {
        match reader.restless_next().await {
            Ok(crate::log::LogEvent::Records(run)) => {
                assert_eq!(run.range.from, at);
                at = run.range.to;
            }
            Err(Error::OutOfRange { position, bounds, .. }) => {
                assert_eq!(bounds.from, Position(200));
                break position;
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(position == at && at < Position(200), "{position} {at}");
    reader.start(Partition(0), 200).await;
    assert_eq!(reader.run().await.range.from, Position(200));
}

async fn delete_before(lab: &Lab, offset: i64) {
    let admin = lab.kafka.cluster.admin().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&lab.topic, 0, Offset::Offset(offset)).unwrap();
    admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
}

/// The new topic of the same name ends before the position: it is not taken for the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_out_of_range() {
    let Some(lab) = Lab::new("anew", 1, &[]).await else { return };
    lab.append(&["a"; 10]).await;
    let end = lab.log.bounds(Partition(0)).await.unwrap().to;
    let id = lab.log.identity().await.unwrap();
    assert!(id.is_some() && lab.another().await.identity().await.unwrap() == id);
    lab.kafka.delete_topic(&lab.topic).await.unwrap();
    while lab.kafka.cluster.partitions(&lab.topic).unwrap().is_some() {}
    assert!(matches!(lab.log.partitions().await, Err(Error::UnknownTopic { .. })));
    assert!(lab.log.identity().await.is_err());
    lab.kafka.create_topic(&lab.topic, 1, &[]).await.unwrap();
    let lab = Lab { log: super::opened(&lab.kafka, &lab.topic, 1).await, ..lab };
    assert_ne!(lab.log.identity().await.unwrap(), id, "offsets of the one say nothing of the other");
    lab.append(&["b"]).await;
    let mut subscription = lab.log.subscribe().await.unwrap();
    let started = subscription.start(Partition(0), end).await;
    assert!(matches!(started, Err(Error::OutOfRange { bounds, .. }) if bounds.to == Position(2)), "{started:?}");
    assert_eq!(texts(&lab.read_after(subscription).await), ["b"]);
}

impl Lab {
    /// As [`Lab::read`], when `subscription` is closed.
    async fn read_after(&self, subscription: Box<dyn crate::log::Subscription>) -> Vec<crate::event::Record> {
        subscription.close().await;
        self.read().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_partitions_and_new_ones_are_found() {
    let Some(lab) = Lab::new("shared", 4, &[]).await else { return };
    let mut first = lab.reader().await;
    let another = lab.another().await;
    let mut second = super::lab::Reader::new(another.subscribe().await.unwrap());
    let (revoked, assigned) = tokio::join!(first.revoked(), second.assigned());
    assert_eq!(revoked.len(), 2);
    assert_eq!(assigned, revoked);
    lab.kafka.grow_topic(&lab.topic, 6).await.unwrap();
    let (ours, theirs) = tokio::join!(first.assigned(), second.assigned());
    assert_eq!(
        {
            let mut new = [ours, theirs].concat();
            new.sort_unstable();
            new
        },
        [Partition(4), Partition(5)]
    );
    second.subscription.close().await;
    assert_eq!(first.assigned().await.len(), 3);
}

/// A rebalance pauses and resumes what stays with a reader, and librdkafka resumes one offset too far where it had come to the end: the
/// first record after it must not be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_the_first_record_after_a_rebalance_at_the_end_is_read() {
    let Some(mut lab) = Lab::new("paused", 2, &[]).await else { return };
    // Members hear of a rebalance by their heartbeats.
    lab.settings = lab.settings.with("heartbeat.interval.ms", "100");
    lab.log = lab.another().await;
    let mut first = lab.reader().await;
    for round in 0..3_u64 {
        let values: Vec<String> = (0..4).map(|number| (round * 4 + number).to_string()).collect();
        lab.append(&values.iter().map(String::as_str).collect::<Vec<_>>()).await;
        // Both partitions to their ends: two records and a marker each.
        let (mut read, end) = (Vec::new(), (round + 1) * 3);
        while (0..2).any(|partition| first.at.get(&Partition(partition)).is_none_or(|at| at.0 < end)) {
            read.extend(first.run().await.records);
        }
        let mut numbers: Vec<u64> = texts(&read).iter().map(|text| text.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (round * 4..round * 4 + 4).collect::<Vec<_>>(), "L7: round {round}");
        // Another one comes and goes: one partition stays, the other is read on from where it was.
        let another = lab.another().await;
        let mut second = super::lab::Reader::new(another.subscribe().await.unwrap());
        let (revoked, _) = tokio::join!(first.revoked(), second.assigned());
        second.subscription.close().await;
        assert_eq!(first.assigned().await, revoked);
        for partition in revoked {
            first.start(partition, end).await;
        }
    }
}

/// Lag tools see the dataset's position (L2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_groups_offsets_follow_commits() {
    let Some(lab) = Lab::new("offsets", 1, &[]).await else { return };
    lab.append(&["a"; 5]).await;
    let mut reader = lab.reader().await;
    reader.up_to(6).await;
    lab.log.trim(Partition(0), Position(6)).await.unwrap();
    let mut config = lab.settings.inquirer();
    let tool: BaseConsumer = config.set("group.id", lab.log.topic().group()).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&lab.topic, 0);
    in_time(async {
        while tool.committed_offsets(asked.clone(), KAFKA_TIMEOUT).unwrap().elements()[0].offset() != Offset::Offset(6)
        {
        }
    })
    .await;
    let bounds = lab.log.bounds(Partition(0)).await.unwrap();
    assert_eq!(bounds.to, Position(6), "so the lag is 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_append_in_turns_append_each_row_once() {
    let Some(lab) = Lab::new("turns", 2, &[]).await else { return };
    let another = lab.another().await;
    let rows = |first: u64| {
        let run = crate::log::ProducerRun { producer: "p".to_owned(), first_row: first };
        (vec![new("x"); 4], Some(run))
    };
    for first in [0, 2, 4] {
        for log in [&lab.log, &another] {
            let (records, run) = rows(first);
            log.append(records, run).await.unwrap();
        }
    }
    assert_eq!(lab.log.next_row("p").await.unwrap(), 8);
    let mut reader = lab.reader().await;
    let mut read = 0;
    while read < 8 {
        read += reader.run().await.records.len();
    }
    assert_eq!(read, 8);
}

/// A worker that slept past its session joins again, and its commit that was under way still has the name it had before: the broker
/// takes it for another one in its seat and fences it for good (KIP-345).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_reader_whose_seat_was_taken_ends_at_once_and_the_next_one_reads() {
    let Some(mut lab) = Lab::new("fenced", 1, &[]).await else { return };
    // Members hear that they are fenced by their heartbeats.
    lab.settings = lab.settings.with("heartbeat.interval.ms", "100");
    lab.log = lab.another().await;
    lab.append(&["a"]).await;
    let mut reader = lab.reader().await;
    reader.up_to(2).await;

    let twin: BaseConsumer = lab.settings.member(lab.log.topic().group(), Some(&lab.only_seat())).create().unwrap();
    twin.subscribe(&[&lab.topic]).unwrap();
    let fenced = loop {
        twin.poll(Duration::ZERO);
        match reader.next().await {
            Ok(LogEvent::Revoked(_)) => {}
            told => break told.unwrap_err(),
        }
    };
    assert!(matches!(fenced, Error::Ended { .. }), "{fenced}");
    let reason = std::error::Error::source(&fenced).unwrap().to_string();
    assert!(reason.contains("FencedInstanceId"), "{reason}");
    lab.log.trim(Partition(0), Position(2)).await.unwrap();
    // The twin is gone without a word, and is a member still.
    std::mem::forget(twin);
    let ended = tokio::time::timeout(LEAVE_TIMEOUT, reader.subscription.close());
    ended.await.expect("it does not wait until the group has let its twin go");
    assert_eq!(texts(&lab.read().await), ["a"]);
}

impl Lab {
    /// The lasting name of the one who reads.
    fn only_seat(&self) -> String {
        let asked =
            self.kafka.cluster.inquirer.client().fetch_group_list(Some(self.log.topic().group()), KAFKA_TIMEOUT);
        let asked = asked.unwrap();
        let member = asked.groups()[0].members()[0].id();
        member[..member.len() - "-00000000-0000-0000-0000-000000000000".len()].to_owned()
    }
}
