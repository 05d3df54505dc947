//! What librdkafka tells us: its log lines, what goes wrong, and which partitions come and go.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};
use tracing::{debug, info, warn};

use crate::position::Partition;

/// Partitions that came to this reader or were taken from it.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

/// What went wrong between a client and the brokers.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether trying again is of no use: a broker, or this client, does not accept who the other says it is.
    pub(super) is_refusal: bool,
}

/// What one client of librdkafka has told.
#[derive(Debug, Default)]
pub(super) struct Context {
    rebalances: Mutex<Vec<Rebalance>>,
    failure: Mutex<Option<Failure>>,
}

impl Context {
    /// The rebalances since this was last asked, in order.
    pub(super) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What went wrong last since this was last asked: why no broker answers, say.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // Our own settings of consumers are told of by producers, and the other way round.
            // Offsets of the group that came too late are for lag tools only.
            _ if matches!(facility, "CONFWARN" | "COMMITFAIL") => debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => info!(target: "librdkafka", facility, "{message}"),
            // It recovers by itself from whatever it says; what it cannot recover from comes as an error.
            _ => warn!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, reason);
        let is_refusal = matches!(error.rdkafka_error_code(), Some(Code::Authentication | Code::SSL));
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What follows a refusal, as that all brokers are down, says less.
        if is_refusal || !failure.as_ref().is_some_and(|failure| failure.is_refusal) {
            *failure = Some(Failure { reason: reason.to_owned(), is_refusal });
        }
    }
}

/// A producer's, with what it keeps of the fates of its messages.
#[derive(Debug, Default)]
pub(super) struct Fates<T> {
    pub(super) kept: T,
    pub(super) context: Context,
}

impl<T: Send + Sync> ClientContext for Fates<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Context {
    /// Acknowledges at once: nothing is fetched of a partition before its position is known, and then it is assigned to
    /// librdkafka by [`super::poll`]. Of those revoked, the ones that are fetched stop here: their records do not follow.
    /// A worker that goes on with what it holds is fenced when it commits (L3), so nobody waits for it.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, moved: &mut TopicPartitionList) {
        let partitions = partitions(moved);
        let (rebalance, acknowledged) = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                (Rebalance::Assigned(partitions), consumer.incremental_assign(&TopicPartitionList::new()))
            }
            _ => (Rebalance::Revoked(partitions), stop(consumer, moved)),
        };
        debug!(?rebalance, "partitions move");
        if let Err(error) = acknowledged {
            warn!(%error, ?rebalance, "a rebalance could not be acknowledged");
        }
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            // For lag tools only (L2); the next commit makes up for it.
            debug!(%error, ?offsets, "the group's offsets were not committed");
        }
    }
}

/// Stops fetching those of `revoked` that are fetched.
fn stop(consumer: &BaseConsumer<Context>, revoked: &TopicPartitionList) -> KafkaResult<()> {
    let mut fetched = TopicPartitionList::new();
    for element in consumer.assignment()?.elements() {
        if revoked.find_partition(element.topic(), element.partition()).is_some() {
            fetched.add_partition(element.topic(), element.partition());
        }
    }
    consumer.incremental_unassign(&fetched)
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    let number = |partition| u32::try_from(partition).expect("partitions are counted from 0");
    let mut partitions: Vec<Partition> =
        list.elements().iter().map(|element| Partition(number(element.partition()))).collect();
    partitions.sort_unstable();
    partitions
}
