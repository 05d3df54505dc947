//! A topic of its own, what others produce to it, and readers of it.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::{
    config::FromClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{fresh, opened};
use crate::{
    event::Record,
    limits::KAFKA_TIMEOUT,
    log::{
        Error, EventLog, LogEvent, NewRecord, Records, Subscription,
        kafka::{Kafka, KafkaLog, Settings},
    },
    position::{Partition, Position, Positions},
    testing::kafka::Broker,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Lab {
    pub(super) kafka: Kafka,
    pub(super) settings: Settings,
    pub(super) topic: String,
    pub(super) log: KafkaLog,
}

impl Lab {
    /// A new topic with these settings; `None` without a broker.
    pub(super) async fn new(name: &str, partitions: u32, topic: &[(&str, &str)]) -> Option<Self> {
        Some(Self::on(Broker::shared()?.settings(), name, partitions, topic).await)
    }

    /// The same on a cluster that is reached by `settings`.
    pub(super) async fn on(settings: Settings, name: &str, partitions: u32, topic: &[(&str, &str)]) -> Self {
        let kafka = Kafka::new(settings.clone()).unwrap();
        let name = fresh(name);
        kafka.create_topic(&name, partitions, topic).await.unwrap();
        let log = opened(&kafka, &name, partitions).await;
        Self { kafka, settings, topic: name, log }
    }

    /// The topic as another worker of the same group has it.
    pub(super) async fn another(&self) -> KafkaLog {
        Kafka::new(self.settings.clone()).unwrap().topic(&self.topic, self.log.topic().group()).await.unwrap()
    }

    /// A producer with these properties, which knows nothing of us.
    pub(super) fn producer(&self, properties: &[(&str, &str)]) -> BaseProducer {
        let mut config = self.settings.inquirer();
        config.remove("isolation.level");
        properties.iter().for_each(|(property, value)| _ = config.set(*property, *value));
        BaseProducer::from_config(&config).unwrap()
    }

    /// Produces these values to partition 0 and waits until the broker has them.
    pub(super) fn produce(&self, producer: &BaseProducer, values: &[&str]) {
        for value in values {
            producer.send(BaseRecord::<(), str>::to(&self.topic).partition(0).payload(value)).unwrap();
        }
        producer.flush(KAFKA_TIMEOUT).unwrap();
    }

    pub(super) async fn append(&self, values: &[&str]) {
        self.log.append(values.iter().map(|value| new(value)).collect(), None).await.unwrap();
    }

    /// A reader of all partitions from their oldest record on.
    pub(super) async fn reader(&self) -> Reader {
        let mut reader = Reader::new(self.log.subscribe().await.unwrap());
        for partition in reader.assigned().await {
            reader.start(partition, self.log.bounds(partition).await.unwrap().from.0).await;
        }
        reader
    }

    /// All that partition 0 has.
    pub(super) async fn read(&self) -> Vec<Record> {
        let bounds = self.log.bounds(Partition(0)).await.unwrap();
        let mut reader = self.reader().await;
        let records = reader.up_to(bounds.to.0).await;
        reader.subscription.close().await;
        records
    }
}

pub(super) fn new(value: &str) -> NewRecord {
    NewRecord { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..NewRecord::default() }
}

pub(super) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.value.as_ref().unwrap()).unwrap()).collect()
}

pub(super) struct Reader {
    pub(super) subscription: Box<dyn Subscription>,
    /// How far each partition was read.
    pub(super) at: Positions,
}

impl Reader {
    pub(super) fn new(subscription: Box<dyn Subscription>) -> Self {
        Self { subscription, at: Positions::new() }
    }

    pub(super) async fn next(&mut self) -> Result<LogEvent, Error> {
        let event = in_time(self.subscription.next()).await;
        if let Ok(LogEvent::Records(run)) = &event {
            self.at.insert(run.partition, run.range.to);
        }
        event
    }

    /// As [`Self::next`], by one who turns to other things whenever there is something to wait for, and comes back.
    pub(super) async fn restless_next(&mut self) -> Result<LogEvent, Error> {
        let event = in_time(async {
            loop {
                tokio::select! {
                    biased;
                    event = self.subscription.next() => break event,
                    () = tokio::task::yield_now() => {}
                }
            }
        });
        event.await
    }

    pub(super) async fn start(&mut self, partition: Partition, position: u64) {
        self.subscription.start(partition, Position(position)).await.unwrap();
    }

    /// The partitions of the next event, which assigns some; records of those that run already are passed over.
    pub(super) async fn assigned(&mut self) -> Vec<Partition> {
        loop {
            match self.next().await.unwrap() {
                LogEvent::Assigned(partitions) => return partitions,
                LogEvent::Records(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The partitions of the next event, which revokes some; as above.
    pub(super) async fn revoked(&mut self) -> Vec<Partition> {
        loop {
            match self.next().await.unwrap() {
                LogEvent::Revoked(partitions) => return partitions,
                LogEvent::Records(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn run(&mut self) -> Records {
        match self.next().await.unwrap() {
            LogEvent::Records(run) => run,
            other => panic!("{other:?}"),
        }
    }

    /// The records of partition 0 up to this offset, whose runs chain.
    pub(super) async fn up_to(&mut self, offset: u64) -> Vec<Record> {
        let (mut records, mut at) = (Vec::new(), None);
        while at.is_none_or(|at: Position| at.0 < offset) {
            let run = self.run().await;
            if run.partition == Partition(0) {
                assert!(at.is_none_or(|at| at == run.range.from), "runs do not chain");
                at = Some(run.range.to);
                records.extend(run.records);
            }
        }
        records
    }
}

pub(super) async fn in_time<F: Future>(awaited: F) -> F::Output {
    tokio::time::timeout(PATIENCE, awaited).await.expect("waited too long")
}
