//! The outbox to the live feed: notices in order, sent as fast as the listener takes them, without ever blocking the loop
//! that makes them.

use std::collections::VecDeque;

use common::feed::{Notice, Sender};
use tracing::info;

/// Notices that wait for the listener.
#[derive(Debug)]
pub(crate) struct Outbox {
    feed: Sender,
    waiting: VecDeque<Notice>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(feed: Sender) -> Self {
        Self { feed, waiting: VecDeque::new(), closed: false }
    }

    /// Appends `notice`; without a listener there is nobody to tell.
    pub(crate) fn push(&mut self, notice: Notice) {
        if !self.closed {
            self.waiting.push_back(notice);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the first notice. Safe to cancel: a notice is either sent or still waiting.
    pub(crate) async fn send_next(&mut self) {
        match self.feed.reserve().await {
            Ok(permit) => {
                if let Some(notice) = self.waiting.pop_front() {
                    permit.send(notice);
                }
            }
            Err(_) => {
                info!("nobody listens to the live feed any more");
                self.closed = true;
                self.waiting.clear();
            }
        }
    }

    /// Sends all that wait.
    pub(crate) async fn drain(&mut self) {
        while !self.is_empty() {
            self.send_next().await;
        }
    }
}
