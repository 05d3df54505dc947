//! A reader's end of the polling thread.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc},
    thread,
};

use async_trait::async_trait;
use rdkafka::{consumer::Consumer, error::KafkaError};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc as events, oneshot},
    task::JoinHandle,
};
use tracing::debug;

use super::{
    KafkaLog, Topic,
    context::Context,
    instance::Seat,
    poll::{Command, Ends, Poller, Said, Wake},
};
use crate::{
    limits::KAFKA_RUNS_WAITING_MAX,
    log::{Error, LogEvent, Subscription},
    position::{OffsetRange, Partition, Position},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    log: KafkaLog,
    poller: PollerHandle,
    events: events::Receiver<Said>,
    /// The term of each started partition, and the one given last.
    terms: BTreeMap<Partition, u64>,
    term: u64,
    /// Whether partitions are started with their records' headers.
    headers: bool,
    /// What was received and not returned yet: the log is asked first what it has.
    gone: VecDeque<(Partition, Position)>,
    /// That question, of this partition, while it is answered.
    asked: Option<(Partition, JoinHandle<Result<OffsetRange, Error>>)>,
    /// Answers when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// Tells a polling thread what to do. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct PollerHandle {
    commands: mpsc::Sender<Command>,
    wake: Arc<Wake>,
}

impl PollerHandle {
    /// Tells; a thread that has ended does not hear it.
    pub(super) fn tell(&self, command: Command) {
        _ = self.commands.send(command);
        self.wake.wake();
    }
}

impl Reader {
    /// Joins the group and starts the thread, which holds `only` until it has left the group.
    pub(super) fn open(log: &KafkaLog, only: OwnedSemaphorePermit) -> Result<Self, Error> {
        let topic = log.topic();
        let seat = if topic.settings().names_instance() { None } else { Seat::take(topic.group()) };
        let consumer: rdkafka::consumer::BaseConsumer<Context> = topic
            .settings()
            .reader(topic.group(), seat.as_ref().map(|seat| seat.instance.as_str()))
            .create_with_context(Context::default())
            .map_err(topic.failed("subscribe"))?;
        consumer.subscribe(&[topic.name()]).map_err(topic.failed("subscribe"))?;
        let (command, commands) = mpsc::channel();
        let (event, events) = events::channel(KAFKA_RUNS_WAITING_MAX);
        let (ending, ended) = oneshot::channel();
        let wake = Arc::new(Wake::default());
        let ends = Ends { commands, events: event, wake: Arc::clone(&wake) };
        let name = Arc::clone(topic.name_shared());
        let spawned = thread::Builder::new().name("kafka reader".to_owned()).spawn(move || {
            Poller::new(name, consumer, seat, ends).run();
            drop(only);
            _ = ending.send(());
        });
        spawned.map_err(topic.failed("start a reader's thread"))?;
        let poller = PollerHandle { commands: command, wake };
        topic.read_by(poller.clone());
        Ok(Self {
            log: log.clone(),
            poller,
            events,
            terms: BTreeMap::new(),
            term: 0,
            headers: true,
            gone: VecDeque::new(),
            asked: None,
            ended,
        })
    }

    /// What is to be returned of what the thread said; `None` if it is of a start before the present one.
    fn hear(&mut self, said: Said) -> Result<Option<LogEvent>, Error> {
        Ok(Some(match said {
            Said::Assigned(partitions) => {
                partitions.iter().for_each(|partition| _ = self.terms.remove(partition));
                LogEvent::Assigned(partitions)
            }
            Said::Revoked(partitions) => {
                partitions.iter().for_each(|partition| _ = self.terms.remove(partition));
                LogEvent::Revoked(partitions)
            }
            Said::Run { term, run } if self.terms.get(&run.partition) == Some(&term) => LogEvent::Records(run),
            Said::Gone { term, partition, position } if self.terms.get(&partition) == Some(&term) => {
                self.gone.push_back((partition, position));
                return Ok(None);
            }
            Said::Run { .. } | Said::Gone { .. } => return Ok(None),
            Said::Truncated { partition, position } => {
                return Err(Error::Truncated { topic: self.log.topic().name().to_owned(), partition, position });
            }
            Said::Failed(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(self.ended(error)),
            Said::Failed(error) => return Err(self.log.topic().failed("read")(error)),
        }))
    }

    fn ended(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Ended { topic: self.log.topic().name().to_owned(), source: why.into() }
    }

    /// The error of a partition whose position is gone. It is told once: then it is not started any more.
    async fn tell_gone(&mut self) -> Result<(), Error> {
        while let Some(&(partition, position)) = self.gone.front() {
            // Neither is taken before the answer is there, since this may be dropped while it waits: then it is waited for again,
            // and not asked anew, which would be so often while brokers do not answer.
            let topic = Arc::clone(self.log.topic());
            let ask = || tokio::spawn(async move { topic.bounds(partition).await });
            let (_, answer) = match &mut self.asked {
                Some(asked) if asked.0 == partition => asked,
                asked => asked.insert((partition, ask())),
            };
            let bounds = answer.await.map_err(self.log.topic().failed("read the bounds"));
            self.asked = None;
            let (bounds, topic) = (bounds??, self.log.topic());
            self.gone.pop_front();
            if position < bounds.from || position > bounds.to {
                self.terms.remove(&partition);
                return Err(Error::OutOfRange { topic: topic.name().to_owned(), partition, position, bounds });
            }
            // Of an empty partition librdkafka says so too when its leader changes.
            debug!(%partition, %position, %bounds, "reading on, the position is there");
            self.read_from(partition, position);
        }
        Ok(())
    }

    fn read_from(&mut self, partition: Partition, position: Position) {
        self.term += 1;
        self.terms.insert(partition, self.term);
        self.poller.tell(Command::Start { partition, position, term: self.term, headers: self.headers });
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self) -> Result<LogEvent, Error> {
        loop {
            self.tell_gone().await?;
            let Some(said) = self.events.recv().await else {
                return Err(self.ended("the reader's thread has ended"));
            };
            self.poller.wake.wake();
            if let Some(event) = self.hear(said)? {
                return Ok(event);
            }
        }
    }

    async fn start(&mut self, partition: Partition, position: Position) -> Result<(), Error> {
        let topic: &Arc<Topic> = self.log.topic();
        let bounds = topic.bounds(partition).await?;
        if position < bounds.from || position > bounds.to {
            return Err(Error::OutOfRange { topic: topic.name().to_owned(), partition, position, bounds });
        }
        self.gone.retain(|(gone, _)| *gone != partition);
        self.read_from(partition, position);
        Ok(())
    }

    fn want_headers(&mut self, wanted: bool) -> bool {
        self.headers = wanted;
        wanted
    }

    async fn close(mut self: Box<Self>) {
        self.poller.tell(Command::Stop);
        // The thread never fails to end; if it panicked there is nothing to wait for.
        _ = (&mut self.ended).await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.poller.tell(Command::Stop);
    }
}
