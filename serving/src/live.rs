//! Live push: one task for each question that somebody listens to computes what changed, at most so often, and all its listeners
//! share what it says. A listener that is too far behind is told so and let go: nothing waits for it, and nothing is kept for it
//! but its place in a ring.
//!
//! Every message has the number of the tiers it is of. A listener that joins is given the whole answer first, and passes over
//! what is not newer: a row never goes back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use common::limits::{LIVE_INTERVAL, LIVE_MESSAGES_MAX, LIVE_READERS_MAX};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    Served,
    query::{self, Answer, Error, Query},
    tiers::Tiers,
};

/// Tiers and their number.
type Shown = (u64, Arc<Tiers>);

/// A message as it is sent to every listener.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The number of the tiers it is of.
    pub(crate) serial: u64,
    /// An event of a stream of server-sent events.
    pub(crate) event: Bytes,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    served: Arc<Served>,
    channels: Mutex<HashMap<String, broadcast::Sender<Message>>>,
    readers: Arc<Semaphore>,
    /// The shortest time between two messages of one question.
    interval: Duration,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) messages: broadcast::Receiver<Message>,
    /// The whole answer, or what changed since the listener was last heard of.
    pub(crate) first: Vec<Message>,
    _reader: OwnedSemaphorePermit,
}

impl Hub {
    pub(crate) fn new(served: Arc<Served>) -> Self {
        Self::every(LIVE_INTERVAL, served)
    }

    fn every(interval: Duration, served: Arc<Served>) -> Self {
        Self { served, channels: Mutex::default(), readers: Arc::new(Semaphore::new(LIVE_READERS_MAX)), interval }
    }

    /// How many listen.
    pub(crate) fn readers(&self) -> usize {
        LIVE_READERS_MAX - self.readers.available_permits()
    }

    /// How many questions are computed.
    #[cfg(test)]
    pub(crate) fn questions(&self) -> usize {
        self.channels().len()
    }

    /// Listens to `query`. One that was listening before says the `last` token it had.
    ///
    /// # Errors
    /// `None` if there are too many already or nothing is served yet; see [`Error`].
    pub(crate) async fn listen(self: &Arc<Self>, query: &Query, last: Option<&str>) -> Result<Option<Listener>, Error> {
        let Ok(reader) = Arc::clone(&self.readers).try_acquire_owned() else { return Ok(None) };
        // Joined first: whatever is newer than the first answer then comes by the channel.
        let Some(messages) = self.join(query) else { return Ok(None) };
        let (hub, asked, last) = (Arc::clone(self), query.clone(), last.map(str::to_owned));
        let first = tokio::task::spawn_blocking(move || hub.first(&asked, last.as_deref())).await;
        let first = first.map_err(|_| Error::Cancelled)??;
        Ok(first.map(|first| Listener { messages, first, _reader: reader }))
    }

    fn first(&self, query: &Query, last: Option<&str>) -> Result<Option<Vec<Message>>, Error> {
        let Some((serial, tiers)) = self.served.shown() else { return Ok(None) };
        let ask = |since: &str| {
            let query = Query { since: tells_changes(query).then(|| since.to_owned()), ..query.clone() };
            query::answer(&self.served, &tiers, &query, &CancellationToken::new())
        };
        let mut messages = Vec::new();
        // A token of another question or process is as good as none.
        let known = last.and_then(|last| ask(last).ok()).filter(|answer| !is_whole(answer));
        let (name, answer) = match known {
            Some(answer) => ("change", answer),
            None => {
                if last.is_some() {
                    messages.push(Message { serial, event: event("reset", None, &json!({})) });
                }
                ("snapshot", ask("")?)
            }
        };
        messages.push(Message { serial, event: of_answer(name, &answer)? });
        Ok(Some(messages))
    }

    /// The messages about `query` from what is shown now on; `None` if nothing is.
    fn join(self: &Arc<Self>, query: &Query) -> Option<broadcast::Receiver<Message>> {
        let key = serde_json::to_string(query).expect("a query is plain data with text keys");
        let mut channels = self.channels();
        if let Some(channel) = channels.get(&key) {
            return Some(channel.subscribe());
        }
        // What is told begins with what is shown now, which no listener's first answer is older than.
        let base = self.served.shown()?;
        let (sender, receiver) = broadcast::channel(LIVE_MESSAGES_MAX);
        channels.insert(key.clone(), sender.clone());
        tokio::spawn(Arc::clone(self).tell(key, query.clone(), sender, base));
        Some(receiver)
    }

    /// Tells what changes as long as somebody listens.
    async fn tell(self: Arc<Self>, key: String, query: Query, channel: broadcast::Sender<Message>, base: Shown) {
        let mut turn = Turn { query, token: String::new(), content: None, generation: None, serial: 0 };
        let mut next = Some(base);
        loop {
            let (serial, tiers) = match next.take() {
                Some(base) => base,
                None => tokio::select! {
                    shown = self.served.newer(turn.serial) => shown,
                    () = tokio::time::sleep(self.interval) => {
                        if self.left(&key, &channel) {
                            return;
                        }
                        continue;
                    }
                },
            };
            let served = Arc::clone(&self.served);
            let told = tokio::task::spawn_blocking(move || {
                let messages = turn.messages(&served, serial, &tiers);
                (turn, messages)
            });
            let Ok((told, messages)) = told.await else { return };
            turn = told;
            match messages {
                // Whoever has left meanwhile misses nothing.
                Ok(messages) => messages.into_iter().for_each(|message| drop(channel.send(message))),
                Err(error) => {
                    let detail = json!({"detail": error.to_string()});
                    drop(channel.send(Message { serial, event: event("problem", None, &detail) }));
                    self.channels().remove(&key);
                    return;
                }
            }
            tokio::time::sleep(self.interval).await;
            if self.left(&key, &channel) {
                return;
            }
        }
    }

    /// Whether nobody listens any more; the channel is closed then, so that the next one opens another.
    fn left(&self, key: &str, channel: &broadcast::Sender<Message>) -> bool {
        let mut channels = self.channels();
        let left = channel.receiver_count() == 0;
        if left {
            channels.remove(key);
        }
        left
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<String, broadcast::Sender<Message>>> {
        // The map is whole at any moment.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was told last of a question.
struct Turn {
    query: Query,
    token: String,
    /// Of a question whose changes cannot be told: what was told last.
    content: Option<u64>,
    generation: Option<u64>,
    serial: u64,
}

impl Turn {
    fn messages(&mut self, served: &Served, serial: u64, tiers: &Arc<Tiers>) -> Result<Vec<Message>, Error> {
        let first = self.serial == 0;
        self.serial = serial;
        let mut messages = Vec::new();
        let generation = tiers.generation().map(|generation| generation.number);
        if generation != self.generation && !first {
            let told = json!({"generation": generation});
            messages.push(Message { serial, event: event("generation", None, &told) });
        }
        self.generation = generation;
        let changes = tells_changes(&self.query);
        let query = Query { since: changes.then(|| self.token.clone()), ..self.query.clone() };
        let answer = query::answer(served, tiers, &query, &CancellationToken::new())?;
        if let Some(changes) = &answer.changes {
            self.token.clone_from(&changes.token);
        }
        let content = xxhash_rust::xxh3::xxh3_64(&serde_json::to_vec(&answer.content())?);
        // A whole answer without rows is news too: the live layer has nothing left of what a generation has taken in.
        let is_told = is_whole(&answer) || answer.rows.num_rows() > 0;
        let is_new = if changes { is_told } else { self.content != Some(content) };
        self.content = Some(content);
        // The first answer of a question is its listeners' own.
        if is_new && !first {
            let name = if is_whole(&answer) { "snapshot" } else { "change" };
            messages.push(Message { serial, event: of_answer(name, &answer)? });
        }
        Ok(messages)
    }
}

/// Whether what changed can be told of `query`; else the whole answer is, when it is another.
fn tells_changes(query: &Query) -> bool {
    let Query { top, compare, fill, having, limit, .. } = query;
    top.is_none() && compare.is_none() && fill.is_none() && having.is_none() && limit.is_none()
}

fn is_whole(answer: &Answer) -> bool {
    answer.changes.as_ref().is_none_or(|changes| changes.reset)
}

fn of_answer(name: &str, answer: &Answer) -> Result<Bytes, Error> {
    let token = answer.changes.as_ref().map(|changes| changes.token.as_str());
    Ok(event(name, token, &serde_json::to_value(answer)?))
}

/// A server-sent event. JSON has no line break outside its texts, and there it is escaped.
fn event(name: &str, id: Option<&str>, data: &serde_json::Value) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

#[cfg(test)]
mod tests;
