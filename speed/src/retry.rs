//! Bounded retries with doubling waits. Whoever runs out of them stops loudly: nothing here waits for ever.

use std::{error::Error, time::Duration};

use common::{
    dataset,
    limits::{STORE_ATTEMPTS_MAX, STORE_BACKOFF},
};
use tracing::warn;

/// How patient a worker is with a log, dataset or store that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts_max: u32,
    /// The wait before the second try; doubles each time.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: STORE_ATTEMPTS_MAX, backoff: STORE_BACKOFF }
    }
}

impl Retry {
    /// Counts the failures of one action.
    pub(crate) fn failures(self) -> Failures {
        Failures { retry: self, count: 0 }
    }
}

/// The failures in a row of one action.
#[derive(Debug)]
pub(crate) struct Failures {
    retry: Retry,
    count: u32,
}

impl Failures {
    /// Counts a failure to `action` and says how long to wait before the next try.
    ///
    /// # Errors
    /// `error` itself, when no try is left.
    pub(crate) fn count<E: Error + 'static>(&mut self, action: &'static str, error: E) -> Result<Duration, E> {
        let wait = self.retry.backoff * 2_u32.saturating_pow(self.count);
        self.count += 1;
        if self.count >= self.retry.attempts_max {
            return Err(error);
        }
        warn!(action, attempt = self.count, error = &error as &dyn Error, "failed, trying again");
        Ok(wait)
    }

    /// As [`Self::count`], and waits.
    ///
    /// # Errors
    /// `error` itself, when no try is left.
    pub(crate) async fn wait<E: Error + 'static>(&mut self, action: &'static str, error: E) -> Result<(), E> {
        let wait = self.count(action, error)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Forgets the failures: the action succeeded.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
    }
}

/// Whether the dataset may do better next time.
pub(crate) fn is_transient(error: &dataset::Error) -> bool {
    matches!(error, dataset::Error::Table { .. } | dataset::Error::Store(_))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn fail(failures: &mut Failures) -> Result<Duration, io::Error> {
        failures.count("try", io::Error::other("injected"))
    }

    #[test]
    fn waits_double_until_no_try_is_left() {
        let mut failures = Retry { attempts_max: 4, backoff: Duration::from_millis(100) }.failures();
        let waits: Vec<u128> = (0..3).map_while(|_| fail(&mut failures).ok()).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400]);
        assert!(fail(&mut failures).is_err(), "four tries in all");
    }

    #[test]
    fn a_success_starts_the_count_anew() {
        let mut failures = Retry { attempts_max: 2, backoff: Duration::ZERO }.failures();
        assert!(fail(&mut failures).is_ok());
        failures.reset();
        assert!(fail(&mut failures).is_ok());
        assert!(fail(&mut failures).is_err());
    }
}
