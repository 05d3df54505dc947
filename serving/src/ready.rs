//! Whether this process is ready: whether its answers miss nothing that it could have (`GET /readyz`).
//!
//! It is ready from the first moment at which nothing is missing: the generation read, the commits since it too, and every tail
//! chained to them. What is missing after that for less than [`READY_GRACE`] leaves it ready: a rebalance or a reader that starts
//! again would else take all replicas out of service at once, for what their answers say themselves. This never waits, and decides
//! nothing but what `/readyz` says.

use std::sync::{Mutex, PoisonError};

use common::limits::READY_GRACE;
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Readiness(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    /// What is missing, each named.
    missing: Vec<String>,
    /// Until when that may be.
    excused: Option<Instant>,
}

impl Readiness {
    /// Of a process that has read nothing yet.
    pub(crate) fn starting() -> Self {
        let missing = vec!["generations and commits are still being read".to_owned()];
        Self(Mutex::new(Seen { missing, excused: None }))
    }

    /// Takes in what answers miss from `now` on.
    pub(crate) fn see(&self, missing: Vec<String>, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() {
            seen.excused = None;
        } else if seen.missing.is_empty() {
            seen.excused = Some(now + READY_GRACE);
        }
        seen.missing = missing;
    }

    /// What keeps the process from being ready; nothing if it is.
    pub(crate) fn lacks(&self, now: Instant) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.excused.is_some_and(|until| now < until) {
            return Vec::new();
        }
        seen.missing.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ready_once_nothing_is_missing_and_through_short_gaps() {
        let (ready, start) = (Readiness::starting(), Instant::now());
        let gap = || vec!["a tail".to_owned()];
        let at = |seconds| start + Duration::from_secs(seconds);
        let grace = READY_GRACE.as_secs();
        assert_eq!(ready.lacks(at(0)).len(), 1);
        ready.see(gap(), at(0));
        assert_eq!(ready.lacks(at(0)), gap(), "there is no grace before it was ready once");
        ready.see(Vec::new(), at(1));
        assert!(ready.lacks(at(1)).is_empty());
        // A rebalance, and another one: each time it is made good.
        for from in [100, 100 + grace] {
            ready.see(gap(), at(from));
            ready.see(gap(), at(from + grace / 2));
            assert!(ready.lacks(at(from + grace - 1)).is_empty());
            ready.see(Vec::new(), at(from + grace - 1));
        }
        // A gap that stays: the grace is counted from its beginning, whatever else comes to be missing.
        ready.see(gap(), at(1000));
        ready.see(vec!["a tail".to_owned(), "another".to_owned()], at(999 + grace));
        assert!(ready.lacks(at(999 + grace)).is_empty());
        assert_eq!(ready.lacks(at(1000 + grace)).len(), 2);
        ready.see(gap(), at(1001 + grace));
        assert_eq!(ready.lacks(at(1001 + grace)), gap());
        ready.see(Vec::new(), at(1002 + grace));
        assert!(ready.lacks(at(1002 + grace)).is_empty());
    }
}
