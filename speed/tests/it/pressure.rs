//! Back-pressure: what is in memory is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use common::{
    clock::SystemClock,
    feed,
    log::{Appended, Error, EventLog, LogEvent, NewRecord, ProducerRun, Subscription},
    position::{OffsetRange, Partition, Position},
    testing::log::MemoryLog,
};
use speed::{Parts, Worker};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::world::{Kind::*, NEVER, PARTITIONS, World};

/// A log that counts the runs it delivers.
#[derive(Debug)]
struct Counted {
    log: MemoryLog,
    runs: Arc<AtomicU64>,
}

struct CountedReader {
    reader: Box<dyn Subscription>,
    runs: Arc<AtomicU64>,
}

#[async_trait]
impl EventLog for Counted {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, Error> {
        self.log.partitions().await
    }

    async fn bounds(&self, partition: Partition) -> Result<OffsetRange, Error> {
        self.log.bounds(partition).await
    }

    async fn append(&self, records: Vec<NewRecord>, run: Option<ProducerRun>) -> Result<Appended, Error> {
        self.log.append(records, run).await
    }

    async fn next_row(&self, producer: &str) -> Result<u64, Error> {
        self.log.next_row(producer).await
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, Error> {
        let reader = self.log.subscribe().await?;
        Ok(Box::new(CountedReader { reader, runs: Arc::clone(&self.runs) }))
    }

    async fn trim(&self, partition: Partition, position: Position) -> Result<(), Error> {
        self.log.trim(partition, position).await
    }
}

#[async_trait]
impl Subscription for CountedReader {
    async fn next(&mut self) -> Result<LogEvent, Error> {
        let event = self.reader.next().await?;
        self.runs.fetch_add(u64::from(matches!(event, LogEvent::Records(_))), SeqCst);
        Ok(event)
    }

    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error> {
        self.reader.start(partition, position).await
    }
}

#[tokio::test]
async fn the_log_is_not_read_on_while_too_much_waits() {
    let mut world = World::new();
    for partition in 0..PARTITIONS {
        world.put(partition, &[Event, DeadLetter]).await;
    }
    let runs = Arc::new(AtomicU64::new(0));
    let cores = Arc::new(Semaphore::new(0));
    let (sender, mut receiver) = feed::channel();
    let parts = Parts {
        log: Arc::new(Counted { log: world.log.clone(), runs: Arc::clone(&runs) }),
        dataset: world.dataset().await,
        store: world.store.clone(),
        feed: sender,
        clock: Arc::new(SystemClock),
        metrics: world.telemetry.ingest(&world.source.name),
        cores: Arc::clone(&cores),
    };
    // One run is more than twice this.
    let (worker, handle) = Worker::new(world.settings(NEVER, 1), parts);
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    handle.watch().wait_for(|stats| stats.partitions.len() == PARTITIONS as usize).await.unwrap();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(runs.load(SeqCst), 1, "no core folds what was read, so no more is read");

    cores.add_permits(1);
    let listener = tokio::spawn(async move { while receiver.recv().await.is_some() {} });
    handle.flush_to(&world.end().await).await.unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
    listener.await.unwrap();
    world.check_all().await;
}
