//! The Kafka log against a real broker: what every log must do, and what only Kafka does.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;

use super::{Kafka, KafkaLog};
use crate::{
    log::EventLog,
    testing::{
        kafka::Broker,
        log::conformance::{Capabilities, Subject},
    },
};

mod brokers;
mod formats;
mod lab;
mod secure;
mod topics;

/// A name that no other topic of this process's broker has.
fn fresh(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// One topic that the conformance suite opens again and again.
struct Opened {
    broker: &'static Broker,
    topic: String,
}

#[async_trait]
impl Subject for Opened {
    fn capabilities(&self) -> Capabilities {
        // The end of a transaction takes an offset of its own; records are kept as long as the topic says.
        Capabilities { deduplicates: true, trims: false, contiguous: false }
    }

    async fn open(&self, partitions: u32) -> Arc<dyn EventLog> {
        let kafka = Kafka::new(self.broker.settings()).unwrap();
        let had = kafka.cluster.partitions(&self.topic).unwrap();
        match had {
            None => kafka.create_topic(&self.topic, partitions, &[]).await.unwrap(),
            Some(had) if had < partitions => kafka.grow_topic(&self.topic, partitions).await.unwrap(),
            Some(_) => {}
        }
        Arc::new(opened(&kafka, &self.topic, partitions).await)
    }
}

/// The topic, once every broker knows that it has so many partitions.
async fn opened(kafka: &Kafka, topic: &str, partitions: u32) -> KafkaLog {
    loop {
        if let Ok(log) = kafka.topic(topic, topic).await
            && log.partitions().await.unwrap().len() == partitions as usize
        {
            return log;
        }
    }
}

macro_rules! conformance {
    ($($check:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let Some(broker) = Broker::shared() else { return };
            let subject = Opened { broker, topic: fresh(stringify!($check)) };
            crate::testing::log::conformance::run(subject, crate::testing::log::conformance::$check).await;
        }
    )*};
}

conformance! {
    records_come_back_whole, offsets_are_contiguous, appends_are_all_or_none, l2_appended_is_durable_after_reopening,
    keys_keep_their_partition, time_stamps_never_go_back, duplicates_are_passed_over, duplicates_are_known_after_reopening,
    gaps_are_out_of_sequence, assignment_comes_first, l7_runs_chain_without_gap, runs_are_bounded, reading_goes_back,
    outside_is_out_of_range, next_waits_and_wakes, next_is_safe_to_cancel, appenders_do_not_disturb,
    partitions_are_read_in_turn, partitions_grow, unknown_partitions_are_errors, headers_come_if_they_are_wanted,
}
