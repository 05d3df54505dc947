//! A clock that stands still until a test lets time pass, and that tells who waits for it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use crate::clock::{Clock, Timer};

/// See the module. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct HandClock {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    now_us: i64,
    /// When those who wait will go on.
    asleep_until_us: Vec<i64>,
}

impl HandClock {
    /// A clock that stands at this time, microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn at(now_us: i64) -> Self {
        Self { state: Arc::new(watch::Sender::new(State { now_us, ..State::default() })) }
    }

    /// Lets time pass: who waits for less goes on, and counts as asleep no more.
    pub fn pass(&self, time: Duration) {
        self.state.send_modify(|state| {
            state.now_us += micros(time);
            let now_us = state.now_us;
            state.asleep_until_us.retain(|until_us| *until_us > now_us);
        });
    }

    /// Waits until so many wait for time to pass: whoever was woken has done its work and waits again.
    ///
    /// # Panics
    /// Never: the clock does not end before this call.
    pub async fn asleep(&self, sleepers: usize) {
        let mut states = self.state.subscribe();
        states.wait_for(|state| state.asleep_until_us.len() == sleepers).await.expect("the clock is there");
    }
}

impl Clock for HandClock {
    fn now_us(&self) -> i64 {
        self.state.borrow().now_us
    }
}

impl Timer for HandClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (state, until_us) = (Arc::clone(&self.state), self.now_us() + micros(time));
        let sleeping = async move {
            let mut states = state.subscribe();
            state.send_if_modified(|state| {
                let waits = state.now_us < until_us;
                if waits {
                    state.asleep_until_us.push(until_us);
                }
                waits
            });
            states.wait_for(|state| state.now_us >= until_us).await.expect("the clock is there");
        };
        sleeping.boxed()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).expect("no test lasts so long")
}
