//! Threads for work that nobody waits for at this moment, such as the files of a commit. They have a small claim on the cores: an
//! idle core does their work at full speed, a busy one first does what is asked of the process right now.
//!
//! Nothing that an answer waits for may be done here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::LazyLock,
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use thread_priority::{ThreadPriority, set_current_thread_priority};
use tokio::sync::oneshot;

/// Of 100, where threads are at 50 by themselves: on Unix a niceness of 10, so that a busy core gives a tenth of its time.
const PRIORITY: u8 = 22;

/// As many threads as there are cores.
static BACKGROUND: LazyLock<ThreadPool> = LazyLock::new(|| pool("background", lower));

/// The same for such work when it is waited for after all.
static URGENT: LazyLock<ThreadPool> = LazyLock::new(|| pool("urgent", || {}));

fn pool(name: &'static str, begin: fn()) -> ThreadPool {
    let pool = ThreadPoolBuilder::new().thread_name(move |thread| format!("{name}-{thread}"));
    pool.start_handler(move |_| begin()).build().expect("the system lets a process have as many threads as cores")
}

/// Gives the thread that this is called on the small claim, for good. A system that refuses leaves it as it is.
pub fn lower() {
    let priority = PRIORITY.try_into().map(ThreadPriority::Crossplatform).expect("it is below 100");
    if let Err(error) = set_current_thread_priority(priority) {
        tracing::debug!(?error, "a thread of the background has the priority of all others");
    }
}

/// Does `work` on a thread of the background; what it gives to rayon goes to the others of them. A panic in `work` goes on in the
/// caller. If the caller stops waiting, `work` still runs to its end.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    run_on(&BACKGROUND, work).await
}

/// Does `work` likewise, on threads with as large a claim as all others if it is `urgent`.
pub async fn run_or_hurry<T: Send + 'static>(urgent: bool, work: impl FnOnce() -> T + Send + 'static) -> T {
    run_on(if urgent { &URGENT } else { &BACKGROUND }, work).await
}

/// Does `work` on a thread of `pool`, likewise.
pub async fn run_on<T: Send + 'static>(pool: &ThreadPool, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = oneshot::channel();
    pool.spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // The caller may have stopped waiting; then nobody wants the outcome.
        let _ = done.send(outcome);
    });
    match wait.await.expect("the pool runs every task it was given, and a panic in one is caught") {
        Ok(made) => made,
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_of_the_background_yields_and_other_threads_do_not() {
        // The nineteenth field of a thread's `stat` is its niceness (proc(5)); its name may hold anything but is in parentheses.
        let niceness = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread has a stat");
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)?.parse::<i32>().ok())
        };
        let of_this = niceness().expect("it has one");
        assert!(run(niceness).await.is_some_and(|of_background| of_background >= 10));
        assert_eq!(niceness(), Some(of_this));
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_goes_on_in_the_caller() {
        run(|| panic!("of the work")).await;
    }
}
