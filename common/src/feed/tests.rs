//! The live feed within a process, and over a topic of a real broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::testing::feed::Subject;

/// A feed within this process.
struct Local {
    sender: Sender,
    receiver: Mutex<Option<Receiver>>,
}

impl Local {
    fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

#[async_trait]
impl Subject for Local {
    fn teller(&self) -> Sender {
        self.sender.clone()
    }

    async fn listener(&self) -> Listener {
        Listener::Local(self.receiver.lock().unwrap().take().unwrap())
    }

    fn remembers(&self) -> bool {
        false
    }
}

mod local {
    use super::Local;

    crate::feed_conformance! { Some(Local::new()) }

    /// The last notices are heard, and then that there will be no more.
    #[tokio::test]
    async fn it_ends_with_its_tellers() {
        let (sender, receiver) = super::channel();
        let told = super::Notice::Standing(crate::testing::feed::standing(0, 1, 2));
        sender.send(told.clone()).await.unwrap();
        drop(sender);
        let (mut listener, mut heard) = (super::Listener::Local(receiver), Vec::new());
        assert_eq!(listener.hear(&mut heard).await, 1);
        assert_eq!(heard, [super::Heard::Notice(told)]);
        assert_eq!(listener.hear(&mut heard).await, 0);
    }
}

mod topic {
    use std::{sync::Arc, time::Duration};

    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        clock::SystemClock,
        feed::topic::FeedTopic,
        limits::{FEED_NOTICE_AGE_MAX, FEED_NOTICES_MAX},
        log::kafka::{Kafka, broadcast::Speaker},
        testing::{
            feed::{Ear, delta, sources, standing, tell},
            kafka::Broker,
        },
    };

    /// A topic of the shared broker; each teller and listener is as a process of its own.
    struct Topic {
        kafka: Kafka,
        name: String,
    }

    impl Topic {
        fn new() -> Option<Self> {
            let kafka = Kafka::new(Broker::shared()?.settings()).unwrap();
            Some(Self { kafka, name: format!("live-{}", uuid::Uuid::new_v4()) })
        }

        fn process(&self) -> FeedTopic {
            FeedTopic::new(self.kafka.clone(), &self.name, sources(), Arc::new(SystemClock))
        }
    }

    fn telling(process: FeedTopic) -> (Sender, std::thread::JoinHandle<()>) {
        let (sender, receiver) = channel();
        (sender, std::thread::spawn(move || process.tell(receiver, None)))
    }

    fn listening(process: FeedTopic) -> Listener {
        let (heard, receiver) = mpsc::channel(FEED_NOTICES_MAX);
        std::thread::spawn(move || process.listen(&heard, Duration::from_secs(60)));
        Listener::Topic(receiver)
    }

    #[async_trait]
    impl Subject for Topic {
        fn teller(&self) -> Sender {
            telling(self.process()).0
        }

        async fn listener(&self) -> Listener {
            listening(self.process())
        }

        fn remembers(&self) -> bool {
            true
        }
    }

    crate::feed_conformance! { Topic::new() }

    /// What cannot be read is passed over, and what comes after it is heard: the tail has a gap, that is all.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn l6_what_cannot_be_read_is_passed_over() {
        let Some(topic) = Topic::new() else { return };
        let (teller, telling) = telling(topic.process());
        tell(&teller, &[Notice::Delta(delta(0, 1, 0..2))]).await;
        drop(teller);
        telling.join().unwrap();
        let (kafka, name) = (topic.kafka.clone(), topic.name.clone());
        let spoil = move || {
            let speaker = Speaker::open(&kafka, &name).unwrap();
            assert!(
                speaker.say("departures/0", b"nothing of ours")
                    && speaker.say("departures/0", b"HWL1 and then nothing")
            );
            speaker.finish(Duration::from_secs(30));
            assert_eq!(speaker.take_lost(), 0);
        };
        tokio::task::spawn_blocking(spoil).await.unwrap();
        tell(&topic.teller(), &[Notice::Delta(delta(0, 1, 4..5))]).await;
        let heard = Ear::new(&topic).await.hear(2).await;
        assert_eq!(heard, [Notice::Delta(delta(0, 1, 0..2)), Notice::Delta(delta(0, 1, 4..5))]);
    }

    /// A process that serves and reads hears its own workers at once, and not a second time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ones_own_voice_is_heard_once() {
        let Some(topic) = Topic::new() else { return };
        let (process, other) = (topic.process(), topic.teller());
        let (heard, mut receiver) = mpsc::channel(FEED_NOTICES_MAX);
        let (sender, told) = channel();
        let (telling, own) = (process.clone(), heard.clone());
        std::thread::spawn(move || telling.tell(told, Some(&own)));
        std::thread::spawn(move || process.listen(&heard, Duration::from_secs(60)));
        let notices = [Notice::Standing(standing(0, 1, 2)), Notice::Delta(delta(0, 1, 2..3))];
        tell(&sender, &notices).await;
        // Another process has heard them of the topic before it tells something itself, in the same partition of it.
        Ear::new(&topic).await.hear(2).await;
        let after = Notice::Standing(standing(0, 2, 0));
        tell(&other, std::slice::from_ref(&after)).await;
        let mut all = Vec::new();
        while !all.contains(&Heard::Notice(after.clone())) {
            all.push(receiver.recv().await.unwrap());
        }
        all.retain(|heard| *heard != Heard::UpToDate);
        assert_eq!(all, [notices.map(Heard::Notice).as_slice(), &[Heard::Notice(after)]].concat());
    }

    /// Whoever tells is not held up by brokers that are not there.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_for_brokers() {
        let nowhere = crate::log::kafka::Settings::new("127.0.0.1:1", [].into());
        let feed = FeedTopic::new(Kafka::new(nowhere).unwrap(), "nowhere", sources(), Arc::new(SystemClock));
        let (teller, telling) = telling(feed);
        let all = async {
            for at in 0..10 * FEED_NOTICES_MAX as u64 {
                teller.send(Notice::Standing(standing(0, 1, at))).await.unwrap();
            }
        };
        tokio::time::timeout(FEED_NOTICE_AGE_MAX, all).await.expect("it waits for the brokers");
        drop(teller);
        tokio::task::spawn_blocking(|| telling.join().unwrap()).await.unwrap();
    }
}
