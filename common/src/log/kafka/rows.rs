//! How far each producer has come, in a compacted topic beside the source's: the producer's name is the key, the number of
//! its next row the value. A row and its number are written in one transaction, so neither is there without the other.

use std::{collections::HashMap, sync::Arc};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::{Cluster, Fault, context::Context};
use crate::limits::KAFKA_TIMEOUT;

/// The name of the topic beside `topic`.
pub(super) fn beside(topic: &str) -> String {
    format!("{topic}.highwater-rows")
}

/// Makes the topic if it is not there. Blocks.
pub(super) fn create(cluster: &Arc<Cluster>, topic: &str) -> Result<(), Fault> {
    let rows = beside(topic);
    if cluster.partitions(&rows)?.is_none() {
        cluster.create_topic(&rows, 1, &[("cleanup.policy", "compact")])?;
    }
    Ok(())
}

/// The next row of every producer; nothing if the topic is not there. Blocks.
pub(super) fn read(cluster: &Cluster, topic: &str) -> Result<HashMap<String, u64>, Fault> {
    let beside = beside(topic);
    let mut rows = HashMap::new();
    if cluster.partitions(&beside)?.is_none() {
        return Ok(rows);
    }
    let answer = read_all(cluster, &beside, &mut rows);
    cluster.fault(answer).map(|()| rows)
}

fn read_all(cluster: &Cluster, topic: &str, rows: &mut HashMap<String, u64>) -> Result<(), KafkaError> {
    let mut config = cluster.settings.member("highwater-rows", None);
    let config = config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Context> = config.create_with_context(Context::default())?;
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&all)?;
    loop {
        match consumer.poll(KAFKA_TIMEOUT) {
            Some(Ok(row)) => {
                let text =
                    |bytes: Option<&[u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok().map(str::to_owned));
                if let (Some(producer), Some(next)) =
                    (text(row.key()), text(row.payload()).and_then(|n| n.parse().ok()))
                {
                    rows.insert(producer, next);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::NoMessageReceived),
        }
    }
}
