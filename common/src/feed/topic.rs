//! The live feed between processes: a topic of Kafka that workers tell on and every serving process reads whole, in no group.
//!
//! Nothing waits for it. What the brokers do not take in time is given up, and a listener that misses something finds out by
//! positions: the tail has a gap, answers say so, and the next commit closes it. Telling and listening have a thread each,
//! which end when nobody tells, or nobody listens any more.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    Heard, Notice, Receiver,
    parts::{Assembly, split},
    wire::{self, FeedSources},
};
use crate::{
    clock::Clock,
    limits::{FEED_DRAIN_MAX, FEED_NOTICES_MAX, FEED_PAUSE},
    log::{
        Error,
        kafka::{
            Kafka,
            broadcast::{Listener, Said, Speaker},
        },
    },
};

/// The longest time that a listener's thread does not look whether anybody still listens.
const LISTEN_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two looks whether the topic is open, when there is nothing else to do any more.
const FINISH_INTERVAL: Duration = Duration::from_millis(20);

/// A feed's topic, as one process has it. Clones tell and listen as the same one.
#[derive(Debug, Clone)]
pub struct FeedTopic {
    kafka: Kafka,
    topic: Arc<str>,
    sources: Arc<FeedSources>,
    clock: Arc<dyn Clock>,
    /// By which this process knows what it has told itself.
    teller: u64,
}

impl FeedTopic {
    /// The topic `topic`, on which `sources` are told of. Nothing is asked of the brokers yet.
    #[must_use]
    pub fn new(kafka: Kafka, topic: &str, sources: FeedSources, clock: Arc<dyn Clock>) -> Self {
        let teller = Uuid::new_v4().as_u64_pair().0;
        Self { kafka, topic: topic.into(), sources: Arc::new(sources), clock, teller }
    }

    /// Tells all that `notices` has, until it ends; and to the listener of this process, if it has one, before anything is made of
    /// it for others: a commit's segment takes its time. To be run on a thread of its own.
    pub fn tell(&self, mut notices: Receiver, own: Option<&mpsc::Sender<Heard>>) {
        let Some(own) = own else { return self.tell_others(notices) };
        let (pass, passed) = mpsc::channel(FEED_NOTICES_MAX);
        thread::scope(|threads| {
            threads.spawn(|| self.tell_others(passed));
            while let Some(notice) = notices.blocking_recv() {
                // Either may have ended before those who tell.
                _ = own.blocking_send(Heard::Notice(notice.clone()));
                _ = pass.blocking_send(notice);
            }
            drop(pass);
        });
    }

    fn tell_others(&self, mut notices: Receiver) {
        let mut teller = Teller::new(self);
        while let Some(notice) = teller.next(&mut notices) {
            teller.tell(notice);
        }
        teller.finish();
    }

    /// Passes on what others tell, and what they have told in the last `look_back`, until nobody listens any more. To be run on a
    /// thread of its own.
    pub fn listen(&self, heard: &mpsc::Sender<Heard>, look_back: Duration) {
        let mut trouble = Trouble::default();
        while !heard.is_closed() {
            let since_us = self.clock.now_us() - i64::try_from(look_back.as_micros()).unwrap_or(i64::MAX);
            let listened = Listener::open(&self.kafka, &self.topic, since_us / 1_000)
                .and_then(|listener| self.hear(listener, heard, &mut trouble));
            if let Err(error) = listened {
                let error = &error as &dyn std::error::Error;
                warn!(topic = %self.topic, error, "the live feed cannot be listened to, trying again");
                thread::park_timeout(FEED_PAUSE);
            }
        }
    }

    fn hear(&self, mut listener: Listener, heard: &mpsc::Sender<Heard>, trouble: &mut Trouble) -> Result<(), Error> {
        info!(topic = %self.topic, "listening to the live feed");
        let mut partitions: BTreeMap<u32, Assembly> = BTreeMap::new();
        while !heard.is_closed() {
            let news = match listener.next(LISTEN_INTERVAL)? {
                Said::Nothing => continue,
                Said::UpToDate => Heard::UpToDate,
                Said::Message(partition, message) => {
                    match self.understand(partitions.entry(partition).or_default(), &message) {
                        Ok(Some(notice)) => Heard::Notice(notice),
                        Ok(None) => continue,
                        Err(reason) => {
                            trouble.tell(1, |messages| {
                                warn!(topic = %self.topic, partition, messages, reason, "messages of the live feed cannot be used: \
                                      tails are not complete until they are committed");
                            });
                            continue;
                        }
                    }
                }
            };
            if heard.blocking_send(news).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The notice that is whole with this message, if it is of another process.
    fn understand(&self, assembly: &mut Assembly, message: &[u8]) -> Result<Option<Notice>, String> {
        let Some(bytes) = assembly.take(message, Some(self.teller)).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        wire::decode(&bytes, &self.sources).map_err(|error| error.to_string())
    }
}

/// The telling end.
struct Teller<'a> {
    feed: &'a FeedTopic,
    speaker: Option<Speaker>,
    /// The thread that opens the topic: that may take long, and nobody waits for it.
    opening: Option<oneshot::Receiver<Result<Speaker, Error>>>,
    /// When that was tried last.
    tried: Option<Instant>,
    /// What is to be told when it is open.
    waiting: VecDeque<Notice>,
    number: u64,
    trouble: Trouble,
}

impl<'a> Teller<'a> {
    fn new(feed: &'a FeedTopic) -> Self {
        let mut teller = Self {
            feed,
            speaker: None,
            opening: None,
            tried: None,
            waiting: VecDeque::new(),
            number: 0,
            trouble: Trouble::default(),
        };
        teller.open();
        teller
    }

    /// The next notice; `None` when there will be none. Meanwhile the topic may be opened.
    fn next(&mut self, notices: &mut Receiver) -> Option<Notice> {
        loop {
            let Some(opening) = &mut self.opening else { return notices.blocking_recv() };
            let opened = futures::executor::block_on(async {
                tokio::select! {
                    biased;
                    opened = opening => Ok(opened),
                    notice = notices.recv() => Err(notice),
                }
            });
            match opened {
                Ok(opened) => self.opened(opened),
                Err(notice) => return notice,
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        if self.speaker.as_ref().is_some_and(Speaker::is_broken) {
            self.speaker = None;
        }
        if self.speaker.is_none() && self.opening.is_none() && self.tried.is_none_or(|at| at.elapsed() >= FEED_PAUSE) {
            self.open();
        }
        self.waiting.push_back(notice);
        if self.speaker.is_none() && self.waiting.len() > FEED_NOTICES_MAX {
            self.waiting.pop_front();
            self.lost(1, "no broker has answered yet");
        }
        self.say_all();
        let lost = self.speaker.as_ref().map_or(0, Speaker::take_lost);
        if lost > 0 {
            self.lost(lost, "the brokers did not take them in time");
        }
    }

    /// Opens the topic on another thread.
    fn open(&mut self) {
        self.tried = Some(Instant::now());
        let (feed, (opened, opening)) = (self.feed.clone(), oneshot::channel());
        self.opening = Some(opening);
        // Nobody takes what is opened after the last notice.
        thread::spawn(move || _ = opened.send(Speaker::open(&feed.kafka, &feed.topic)));
    }

    /// The thread has ended.
    fn opened(&mut self, opened: Result<Result<Speaker, Error>, oneshot::error::RecvError>) {
        self.opening = None;
        match opened {
            Ok(Ok(speaker)) => {
                info!(topic = %self.feed.topic, "telling on the live feed");
                self.speaker = Some(speaker);
                self.say_all();
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                warn!(topic = %self.feed.topic, error, "the live feed cannot be told on, trying again");
            }
            Err(_) => warn!(topic = %self.feed.topic, "the thread that opens the live feed has panicked"),
        }
    }

    fn say_all(&mut self) {
        while self.speaker.is_some()
            && let Some(notice) = self.waiting.pop_front()
        {
            self.say(&notice);
        }
    }

    fn say(&mut self, notice: &Notice) {
        let (Some(source), Some(speaker)) = (self.feed.sources.get(notice.source()), &self.speaker) else { return };
        self.number += 1;
        let bytes = match wire::encode(notice, source) {
            Ok(bytes) => bytes,
            Err(error) => return self.lost(1, &error.to_string()),
        };
        let Some(messages) = split(&bytes, self.feed.teller, self.number, speaker.bytes_max()) else {
            return self.lost(1, "they are larger than any that is told");
        };
        let key = wire::key(notice);
        if !messages.iter().all(|message| speaker.say(&key, message)) {
            self.lost(1, "too many wait for the brokers");
        }
    }

    fn lost(&mut self, notices: u64, why: &str) {
        let topic = &self.feed.topic;
        self.trouble.tell(notices, |notices| {
            warn!(%topic, notices, why, "notices of the live feed are lost: tails are not complete until they are committed");
        });
    }

    /// Tells what it can before the process goes.
    fn finish(mut self) {
        let until = Instant::now() + FEED_DRAIN_MAX;
        while !self.waiting.is_empty()
            && Instant::now() < until
            && let Some(opening) = &mut self.opening
        {
            match opening.try_recv() {
                Ok(opened) => self.opened(Ok(opened)),
                Err(oneshot::error::TryRecvError::Empty) => thread::park_timeout(FINISH_INTERVAL),
                Err(oneshot::error::TryRecvError::Closed) => self.opening = None,
            }
        }
        if let Some(speaker) = self.speaker {
            speaker.finish(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// Trouble that comes often and is told of now and then.
#[derive(Debug, Default)]
struct Trouble {
    told: Option<Instant>,
    times: u64,
}

impl Trouble {
    fn tell(&mut self, times: u64, tell: impl FnOnce(u64)) {
        self.times += times;
        if self.told.is_none_or(|told| told.elapsed() >= FEED_PAUSE) {
            self.told = Some(Instant::now());
            tell(std::mem::take(&mut self.times));
        }
    }
}
