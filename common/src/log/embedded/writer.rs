//! The one thread that changes the database: it gathers what waits into a group, makes the group durable with one fsync,
//! and only then moves the log's memory on and answers. While it waits for the disk the next group gathers.
//!
//! A group is all or nothing: when it fails, every call in it fails and memory is as before.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    codec::{PartitionState, encode_record, record_bytes},
    database::{Batch, Database, Fault},
    topic::Topic,
};
use crate::{
    clock::Clock,
    limits::LOG_GROUP_BYTES_MAX,
    log::{Appended, Error, NewRecord, Placement, ProducerRun, duplicates},
    position::{OffsetRange, Partition, Position},
};

/// Where the answer to a command goes. Nobody may be listening any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the writer is asked to do.
pub(super) enum Command {
    /// Open a topic, make it, or give it more partitions.
    Open { topic: String, partitions: u32, reply: Reply<Arc<Topic>> },
    /// See [`EventLog::append`](crate::log::EventLog::append).
    Append { topic: Arc<Topic>, records: Vec<NewRecord>, run: Option<ProducerRun>, reply: Reply<Appended> },
    /// See [`EventLog::trim`](crate::log::EventLog::trim). Answers with the state to drop tables by.
    Trim { topic: Arc<Topic>, partition: Partition, position: Position, reply: Reply<PartitionState> },
}

/// The writer: all that it knows is what is durable.
pub(super) struct Writer {
    database: Database,
    clock: Arc<dyn Clock>,
    topics: HashMap<Arc<str>, Open>,
}

/// A topic that was opened.
struct Open {
    topic: Arc<Topic>,
    states: Vec<PartitionState>,
    placement: Placement,
}

/// What is to be durable together: the batch, and what memory will be after it.
struct Group {
    batch: Batch,
    now_us: i64,
    bytes: usize,
    states: HashMap<Arc<str>, Vec<PartitionState>>,
    touched: HashSet<(Arc<str>, Partition)>,
    next_rows: HashMap<(Arc<str>, String), u64>,
    answers: Vec<Answer>,
}

/// An answer that waits for the group to be durable.
enum Answer {
    Append(Arc<Topic>, Reply<Appended>, Result<Appended, Error>),
    Trim(Arc<Topic>, Reply<PartitionState>, Result<PartitionState, Error>),
}

impl Writer {
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock, topics: HashMap::new() }
    }

    /// Works until every sender of commands is gone.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            let mut group = self.group();
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Open { topic, partitions, reply } => {
                        // States of the topic may be in the group: those are to be durable first.
                        self.commit(std::mem::replace(&mut group, self.group()));
                        let _ = reply.send(self.open(&topic, partitions));
                    }
                    Command::Append { topic, records, run, reply } => {
                        let answer = self.append(&mut group, &topic, records, run);
                        group.answers.push(Answer::Append(topic, reply, answer));
                    }
                    Command::Trim { topic, partition, position, reply } => {
                        let answer = self.trim(&mut group, &topic, partition, position);
                        group.answers.push(Answer::Trim(topic, reply, answer));
                    }
                }
                if group.bytes < LOG_GROUP_BYTES_MAX {
                    next = commands.try_recv().ok();
                }
            }
            self.commit(group);
        }
    }

    fn group(&self) -> Group {
        Group {
            batch: self.database.batch(),
            now_us: self.clock.now_us(),
            bytes: 0,
            states: HashMap::new(),
            touched: HashSet::new(),
            next_rows: HashMap::new(),
            answers: Vec::new(),
        }
    }

    fn open(&mut self, name: &str, partitions: u32) -> Result<Arc<Topic>, Error> {
        let topic = self.topics.get(name).map_or_else(|| Arc::new(Topic::new(name)), |open| Arc::clone(&open.topic));
        let failed = |fault| topic.failed("open the topic", fault);
        let had = self.database.partitions(name).map_err(failed)?;
        if partitions < had {
            return Err(Error::FewerPartitions { topic: name.to_owned(), asked: partitions, had });
        }
        let known = topic.partitions();
        let opened: Result<Vec<_>, Fault> =
            (known..partitions).map(|p| self.database.partition(name, Partition(p))).collect();
        let (stored, states): (Vec<_>, Vec<_>) = opened.map_err(failed)?.into_iter().unzip();
        for (stored, state) in stored.iter().zip(&states) {
            // A crash may have come between a trim and its tables.
            stored.drop_trimmed(*state).map_err(failed)?;
        }
        if partitions > had {
            let mut batch = self.database.batch();
            batch.put_topic(name, partitions);
            batch.commit().map_err(failed)?;
        }
        topic.grow(stored);
        let new = || Open { topic: Arc::clone(&topic), states: Vec::new(), placement: Placement::default() };
        let open = self.topics.entry(Arc::clone(topic.name())).or_insert_with(new);
        open.states.extend(states);
        topic.publish(open.states.iter().map(PartitionState::bounds).collect());
        Ok(topic)
    }

    /// Puts the new ones of `records` into the group; nothing, if it fails.
    fn append(
        &mut self,
        group: &mut Group,
        topic: &Arc<Topic>,
        mut records: Vec<NewRecord>,
        run: Option<ProducerRun>,
    ) -> Result<Appended, Error> {
        let mut known = 0;
        if let Some(run) = run {
            let key = (Arc::clone(topic.name()), run.producer.clone());
            let due = match group.next_rows.get(&key) {
                Some(row) => *row,
                None => self.database.next_row(&key.0, &key.1).map_err(|fault| topic.failed("append", fault))?,
            };
            known = duplicates(&run, records.len(), due)?;
            records.drain(..known);
            if !records.is_empty() {
                group.next_rows.insert(key, due + records.len() as u64);
            }
        }
        let open = self.topics.get_mut(topic.name()).expect("a topic is opened before it has handles");
        let ranges = group.put(open, &records);
        Ok(Appended { ranges: ranges.into_iter().collect(), duplicates: known as u64 })
    }

    fn trim(
        &mut self,
        group: &mut Group,
        topic: &Arc<Topic>,
        partition: Partition,
        position: Position,
    ) -> Result<PartitionState, Error> {
        let open = &self.topics[topic.name()];
        let states = group.states.entry(Arc::clone(topic.name())).or_insert_with(|| open.states.clone());
        let state = states.get_mut(partition.0 as usize).ok_or_else(|| topic.unknown(partition))?;
        if position.0 > state.next {
            let (topic, bounds) = (topic.name().to_string(), state.bounds());
            return Err(Error::OutOfRange { topic, partition, position, bounds });
        }
        if position.0 > state.start {
            state.start = position.0;
            group.touched.insert((Arc::clone(topic.name()), partition));
        }
        Ok(*state)
    }

    /// Makes the group durable, then moves memory on, then answers.
    fn commit(&mut self, group: Group) {
        let Group { mut batch, states, touched, next_rows, answers, .. } = group;
        for (topic, partition) in &touched {
            batch.put_partition(topic, *partition, states[topic][partition.0 as usize]);
        }
        for ((topic, producer), next_row) in &next_rows {
            batch.put_producer(topic, producer, *next_row);
        }
        let changed = !touched.is_empty();
        let committed = if changed { batch.commit() } else { Ok(()) };
        if let Err(error) = &committed {
            tracing::error!(%error, appends = answers.len(), "the embedded log could not write");
        } else if changed {
            for (name, states) in states {
                let open = self.topics.get_mut(&name).expect("the group was made from open topics");
                open.topic.publish(states.iter().map(PartitionState::bounds).collect());
                open.states = states;
            }
        }
        for answer in answers {
            answer.send(&committed);
        }
    }
}

impl Group {
    /// Gives the records partitions, offsets and time stamps, and puts them into the batch.
    fn put(&mut self, open: &mut Open, records: &[NewRecord]) -> BTreeMap<Partition, OffsetRange> {
        let mut ranges = BTreeMap::new();
        let name = open.topic.name();
        let partitions = open.topic.partitions();
        let stored: Vec<_> = (0..partitions).map(|p| open.topic.stored(Partition(p))).collect();
        let states = self.states.entry(Arc::clone(name)).or_insert_with(|| open.states.clone());
        for record in records {
            let partition = open.placement.place(record.key.as_ref(), partitions);
            let state = &mut states[partition.0 as usize];
            state.newest_us = state.newest_us.max(self.now_us);
            self.batch.put_record(&stored[partition.0 as usize], state.next, encode_record(record, state.newest_us));
            let here = Position(state.next);
            state.next += 1;
            ranges.entry(partition).or_insert_with(|| OffsetRange::new(here, here)).to = Position(state.next);
            self.bytes += record_bytes(record);
        }
        self.touched.extend(ranges.keys().map(|partition| (Arc::clone(name), *partition)));
        ranges
    }
}

impl Answer {
    /// Sends what the call came to; if the group failed, that.
    fn send(self, committed: &Result<(), Fault>) {
        match self {
            Self::Append(topic, reply, answer) => drop(reply.send(settle(&topic, "append", committed, answer))),
            Self::Trim(topic, reply, answer) => drop(reply.send(settle(&topic, "trim", committed, answer))),
        }
    }
}

fn settle<T>(
    topic: &Topic,
    action: &'static str,
    committed: &Result<(), Fault>,
    answer: Result<T, Error>,
) -> Result<T, Error> {
    committed.clone().map_err(|fault| topic.failed(action, fault))?;
    answer
}
