//! The thread that reads one subscription. librdkafka's rebalances are synchronous and must be served in time, whatever
//! the reader does, so they have a thread of their own (as Quickwit's source of Kafka has).
//!
//! It never waits for the reader: when the channel is full it takes no more records out of librdkafka, whose queue is
//! bounded and then fetches no more. That is the back-pressure.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tokio::{sync::mpsc as events, time::Instant};
use tracing::{debug, warn};

use super::{
    context::{Context, Rebalance},
    instance::Seat,
    native::{Message, Queue},
    runs::{Lane, Taken},
};
use crate::{
    limits::{KAFKA_ATTEMPT, LOG_RUN_RECORDS_MAX},
    log::Records,
    position::{Partition, Position, Positions},
};

/// The longest time that nothing is looked at: librdkafka wants to be asked before `max.poll.interval.ms`.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait until the group has let us go, and between two looks whether it has.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
const LEAVE_ATTEMPT: Duration = Duration::from_millis(20);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Read `partition` from `position` on, with headers or without; what is read says `term`.
    Start { partition: Partition, position: Position, term: u64, headers: bool },
    /// Tell the group how far the dataset is, for lag tools (L2).
    Commit(Partition, Position),
    /// Leave the group and end.
    Stop,
}

/// What the thread says.
#[derive(Debug)]
pub(super) enum Said {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    Run {
        term: u64,
        run: Records,
    },
    /// librdkafka has stopped to fetch: the position is not in the log any more, it says.
    Gone {
        term: u64,
        partition: Partition,
        position: Position,
    },
    /// The brokers have lost what was read before this position.
    Truncated {
        partition: Partition,
        position: Position,
    },
    /// What librdkafka cannot mend by itself.
    Failed(KafkaError),
}

/// Wakes the thread: records came, or there is room for them, or a command.
#[derive(Debug, Default)]
pub(super) struct Wake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    pub(super) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(woken, POLL_INTERVAL, |woken| !*woken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The thread's ends of its channels.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: events::Sender<Said>,
    pub(super) wake: Arc<Wake>,
}

/// See the module.
pub(super) struct Poller {
    topic: Arc<str>,
    ends: Ends,
    /// What could not be sent yet, in order.
    backlog: VecDeque<Said>,
    lanes: BTreeMap<Partition, Lane>,
    /// The partitions that the group has given to this reader.
    owned: Vec<Partition>,
    batch: Vec<Message>,
    // Before the consumer that they are queues of: fields are dropped in this order.
    records: Queue,
    main: Queue,
    consumer: BaseConsumer<Context>,
    /// Given up when the group was left.
    seat: Option<Seat>,
}

impl Poller {
    /// A reader of `topic` by `consumer`, which is subscribed to it and sits in `seat`.
    pub(super) fn new(topic: Arc<str>, mut consumer: BaseConsumer<Context>, seat: Option<Seat>, ends: Ends) -> Self {
        let (on_event, on_records) = (Arc::clone(&ends.wake), Arc::clone(&ends.wake));
        consumer.set_nonempty_callback(move || on_event.wake());
        let mut records = Queue::new(&consumer);
        records.on_records(move || on_records.wake());
        let main = Queue::of(&consumer);
        Self {
            topic,
            ends,
            backlog: VecDeque::new(),
            lanes: BTreeMap::new(),
            owned: Vec::new(),
            batch: Vec::with_capacity(LOG_RUN_RECORDS_MAX),
            records,
            main,
            consumer,
            seat,
        }
    }

    /// Reads until it is told to stop, or nobody listens. Then leaves the group.
    pub(super) fn run(mut self) {
        while self.obey() && self.speak() {
            self.listen();
            let may_read = self.backlog.is_empty();
            if !(may_read && self.read()) {
                self.ends.wake.wait();
            }
        }
        self.batch.clear();
        self.lanes.clear();
        self.leave();
        debug!(topic = %self.topic, fenced = self.is_fenced(), "a reader ends");
    }

    /// Whether librdkafka has given this member up: another one has its name, or it seemed so. It neither commits nor leaves any
    /// more, nor need it: whoever takes the seat next takes its place in the group, at once.
    fn is_fenced(&self) -> bool {
        self.consumer.client().fatal_error().is_some()
    }

    /// Leaves the group, so that others are given the partitions at once. A member with a lasting name would keep them until
    /// its session has timed out if its client was only closed (KIP-345).
    fn leave(&mut self) {
        let Some(seat) = &self.seat else { return };
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        self.consumer.unsubscribe();
        while Instant::now() < deadline {
            if self.is_fenced() {
                return;
            }
            self.consumer.poll(LEAVE_ATTEMPT);
            let told = self.consumer.client().fetch_group_list(Some(&seat.group), KAFKA_ATTEMPT);
            // Brokers that do not answer take nobody's partitions away, nor give them to others.
            let is_member = told.is_ok_and(|groups| {
                let mut members = groups.groups().iter().flat_map(|group| group.members());
                members.any(|member| seat.is(member.id()))
            });
            if !is_member {
                return;
            }
        }
        warn!(group = seat.group, "the group was not left in time, it waits until the session has timed out");
    }

    /// Does what it was told since it last looked; false if that was to stop.
    fn obey(&mut self) -> bool {
        let mut positions = Positions::new();
        loop {
            match self.ends.commands.try_recv() {
                Ok(Command::Start { partition, position, term, headers }) => {
                    self.start(Lane::new(&self.topic, partition, position, term, headers));
                }
                Ok(Command::Commit(partition, position)) => _ = positions.insert(partition, position),
                Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => {
                    self.commit(&positions);
                    return false;
                }
                Err(mpsc::TryRecvError::Empty) => {
                    self.commit(&positions);
                    return true;
                }
            }
        }
    }

    /// Sends what waits as far as there is room; false if nobody listens any more.
    fn speak(&mut self) -> bool {
        while let Some(said) = self.backlog.pop_front() {
            match self.ends.events.try_send(said) {
                Ok(()) => {}
                Err(events::error::TrySendError::Full(said)) => {
                    self.backlog.push_front(said);
                    return true;
                }
                Err(events::error::TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    /// Serves what is not a record: rebalances, errors, log lines.
    fn listen(&mut self) {
        while !self.main.is_empty() {
            let polled = self.consumer.poll(Duration::ZERO);
            match polled.map(|polled| polled.map(|record| u32::try_from(rdkafka::Message::partition(&record)))) {
                Some(Err(error)) => fail(&mut self.backlog, error),
                Some(Ok(Ok(partition))) => {
                    // Records come by the other queue; should one have come here it is read again.
                    let partition = Partition(partition);
                    if let Some(lane) = self.lanes.get(&partition) {
                        self.start(lane.anew());
                    }
                }
                Some(Ok(Err(_))) | None => {}
            }
            for rebalance in self.consumer.context().take_rebalances() {
                self.move_partitions(rebalance);
            }
        }
    }

    fn move_partitions(&mut self, rebalance: Rebalance) {
        let (moved, is_ours) = match &rebalance {
            Rebalance::Assigned(partitions) => (partitions, true),
            Rebalance::Revoked(partitions) => (partitions, false),
        };
        self.owned.retain(|partition| !moved.contains(partition));
        moved.iter().for_each(|partition| _ = self.lanes.remove(partition));
        if is_ours {
            self.owned.extend(moved);
        }
        match rebalance {
            // A group tells each rebalance, also one that changes nothing here.
            Rebalance::Assigned(none) | Rebalance::Revoked(none) if none.is_empty() => {}
            Rebalance::Assigned(partitions) => self.backlog.push_back(Said::Assigned(partitions)),
            Rebalance::Revoked(partitions) => self.backlog.push_back(Said::Revoked(partitions)),
        }
    }

    /// Reads the partition of `lane` on, if it is still ours; its revocation is under way if not.
    fn start(&mut self, lane: Lane) {
        let (partition, position, term) = (lane.partition, lane.next(), lane.term);
        if !self.owned.contains(&partition) {
            return;
        }
        let list = |offset| {
            let mut list = TopicPartitionList::new();
            let added = list.add_partition_offset(&self.topic, partition.0 as i32, offset);
            added.map(|()| list)
        };
        let restarted: Result<(), KafkaError> = (|| {
            let assigned = self.consumer.assignment()?;
            if assigned.find_partition(&self.topic, partition.0 as i32).is_some() {
                // When this returns, librdkafka drops by itself what it still has of the reading before.
                self.consumer.incremental_unassign(&list(Offset::Invalid)?)?;
            }
            let offset = i64::try_from(position.0).expect("positions of Kafka fit i64");
            self.consumer.incremental_assign(&list(Offset::Offset(offset))?)?;
            // Only now: stopping a partition undoes it, and has done so when the line above returns. What was fetched
            // meanwhile comes along.
            self.records.take_partition(&self.consumer, &self.topic, partition);
            Ok(())
        })();
        match restarted {
            Ok(()) => _ = self.lanes.insert(partition, lane),
            Err(error) => {
                warn!(%partition, %position, %error, "a partition could not be started, trying again");
                self.lanes.remove(&partition);
                self.backlog.push_back(Said::Gone { term, partition, position });
            }
        }
    }

    /// Takes records out of librdkafka; false if there were none.
    fn read(&mut self) -> bool {
        self.records.drain_into(&mut self.batch);
        let any = !self.batch.is_empty();
        // Lanes that something was not taken of: what follows of them in this batch is not either.
        let mut skipped: Vec<Partition> = Vec::new();
        for message in self.batch.drain(..) {
            let partition = message.partition().filter(|partition| !skipped.contains(partition));
            let lane = partition.and_then(|partition| self.lanes.get_mut(&partition));
            match (message.error(), lane) {
                (None, Some(lane)) => {
                    if lane.push(&message) == Taken::No {
                        skipped.extend(partition);
                    } else if lane.is_full() {
                        self.backlog.extend(run(lane));
                    }
                }
                (Some(Code::PartitionEOF), Some(lane)) => {
                    if lane.ends_at(message.offset().unwrap_or_default()) == Taken::No {
                        skipped.extend(partition);
                    }
                }
                (Some(Code::PartitionEOF), None) => {}
                (Some(Code::AutoOffsetReset), Some(lane)) => {
                    let (term, position) = (lane.term, lane.next());
                    let partition = message.partition().expect("its lane was found by it");
                    self.backlog.extend(run(lane));
                    self.backlog.push_back(match message.offset() {
                        Some(_) => Said::Gone { term, partition, position },
                        // Leaders' epochs tell so, if there is no offset (`rd_kafka_toppar_handle_OffsetForLeaderEpoch`).
                        None => Said::Truncated { partition, position },
                    });
                }
                (Some(error), _) => fail(&mut self.backlog, KafkaError::MessageConsumption(error)),
                // Of a partition that was revoked meanwhile.
                (None, None) => {}
            }
        }
        self.backlog.extend(self.lanes.values_mut().filter_map(run));
        for partition in skipped {
            if let Some(lane) = self.lanes.get(&partition).map(Lane::anew) {
                debug!(%partition, position = %lane.next(), "something may have been passed over after a rebalance, reading it again");
                self.start(lane);
            }
        }
        any
    }

    /// Tells the group the positions of those partitions that are ours. Does not wait: brokers answer nothing while this member
    /// joins, and what is said later is heard later, that it leaves too.
    fn commit(&self, positions: &Positions) {
        let mut offsets = TopicPartitionList::new();
        for (partition, position) in positions.iter().filter(|(partition, _)| self.owned.contains(partition)) {
            let offset = i64::try_from(position.0).expect("positions of Kafka fit i64");
            let added = offsets.add_partition_offset(&self.topic, partition.0 as i32, Offset::Offset(offset));
            added.expect("an offset from 0 is one");
        }
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            debug!(%error, "the group's offsets were not committed");
        }
    }
}

fn run(lane: &mut Lane) -> Option<Said> {
    let term = lane.term;
    lane.take_run().map(|run| Said::Run { term, run })
}

/// Passes on what needs somebody to act; librdkafka recovers from the rest by itself.
fn fail(backlog: &mut VecDeque<Said>, error: KafkaError) {
    let lasting = match &error {
        KafkaError::MessageConsumptionFatal(_) => true,
        other => other.rdkafka_error_code().is_some_and(|code| {
            use Code::*;
            matches!(
                code,
                TopicAuthorizationFailed
                    | GroupAuthorizationFailed
                    | UnknownTopicOrPartition
                    | UnknownTopic
                    | UnknownPartition
                    | Authentication
                    | SaslAuthenticationFailed
                    | Fatal
            )
        }),
    };
    if lasting {
        backlog.push_back(Said::Failed(error));
    } else {
        warn!(%error, "kafka has trouble, reading goes on when it is over");
    }
}
