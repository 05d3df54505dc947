//! The time of day, injected: everything that asks what time it is takes a [`Clock`], and what comes by the clock a [`Timer`].

use std::{fmt::Debug, time::Duration};

use futures::{FutureExt, future::BoxFuture};

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Microseconds since 1970-01-01 UTC.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now_us(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}

/// Tells the time, and lets it pass.
pub trait Timer: Clock {
    /// Is over when `time` has passed since it was asked for, whenever it is looked at first, and whatever the clock is set to meanwhile.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

impl Timer for SystemClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}
