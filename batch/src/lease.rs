//! Leases: that two schedulers do not do the same work at the same time. For thrift only: without any lease two runs at once
//! still do no harm, since generations are published by a conditional put.
//!
//! A lease is a file made by a put-if-absent, `leases/<name>/<fence>.json`, with a fence one greater than the last one's: of two
//! that try at once one wins, on any store. Its owner writes when it ends, again and again, to `leases/<name>/<fence>.beat`,
//! which nobody else writes. Who finds a lease that has ended, was given back, or whose process on this very machine is gone, makes
//! the next; an owner that sees a next one has lost its own, and stops.

use std::{fs, sync::Arc, time::Duration};

use common::{
    clock::Clock,
    store::{self, Store},
};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Error;

const DIRECTORY: &str = "leases";

/// How long a lease lasts without a beat: so long a run that was cut off holds up the next on another machine.
pub const LASTS: Duration = Duration::from_secs(60);

/// Time between beats: three may fail in a row.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When the process was started, in the kernel's ticks: a number is given to another process some day.
    started: String,
    /// The start of the machine and the space of process numbers in it; empty where that is not known.
    space: String,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Self { host, pid, started: started(pid).unwrap_or_default(), space: space() }
    }

    /// Whether it is known to be gone: a process of this machine that is not there any more.
    fn is_gone(&self) -> bool {
        let here = space();
        !here.is_empty() && self.space == here && started(self.pid).as_deref() != Some(self.started.as_str())
    }
}

/// When a process was started; `None` if there is none, or if the machine does not tell.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, a name, may have spaces in it; the 22nd is the time.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

fn space() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match fs::read_link("/proc/self/ns/pid") {
        Ok(space) if !boot.is_empty() => format!("{} {}", boot.trim(), space.display()),
        _ => String::new(),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    owner: Owner,
    ends_at_us: i64,
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    clock: Arc<dyn Clock>,
    name: String,
    fence: u64,
    owner: Owner,
}

impl Lease {
    /// Takes the lease `name`.
    ///
    /// # Errors
    /// [`Error::Busy`] if another holds it, [`Error::Store`].
    pub async fn take(store: &Store, clock: &Arc<dyn Clock>, name: &str, owner: Owner) -> Result<Self, Error> {
        let directory = Path::from_iter([DIRECTORY, name]);
        let files = store.list_directly(&directory).await?;
        let last = files.iter().filter_map(fence_of).max();
        if let Some(fence) = last
            && let Some(record) = newest(store, name, fence).await?
        {
            let lasts = record.ends_at_us > clock.now_us();
            if lasts && !record.owner.is_gone() {
                let Record { owner, ends_at_us } = record;
                return Err(Error::Busy { name: name.to_owned(), host: owner.host, pid: owner.pid, ends_at_us });
            }
            if lasts {
                info!(lease = name, pid = record.owner.pid, "the process that held the lease is gone");
            }
        }
        let fence = last.unwrap_or(0) + 1;
        let lease = Self { store: store.clone(), clock: Arc::clone(clock), name: name.to_owned(), fence, owner };
        match store.put_if_absent(&path(name, fence, "json"), lease.record(LASTS)).await {
            Ok(()) => {}
            Err(store::Error::Exists { .. }) => {
                let other = newest(store, name, fence).await?.map(|record| (record.owner, record.ends_at_us));
                let (owner, ends_at_us) = other.unwrap_or((lease.owner, clock.now_us()));
                return Err(Error::Busy { name: name.to_owned(), host: owner.host, pid: owner.pid, ends_at_us });
            }
            Err(error) => return Err(error.into()),
        }
        for file in files {
            store.delete(&file).await?;
        }
        Ok(lease)
    }

    /// The number of this lease: greater than that of any before it.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Says that it is still held.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if another has taken the next one, [`Error::Store`].
    pub async fn beat(&self) -> Result<(), Error> {
        let files = self.store.list_directly(&Path::from_iter([DIRECTORY, &self.name])).await?;
        if files.iter().filter_map(fence_of).any(|fence| fence > self.fence) {
            return Err(Error::LeaseLost { name: self.name.clone() });
        }
        Ok(self.store.put(&path(&self.name, self.fence, "beat"), self.record(LASTS)).await?)
    }

    /// Gives it back: the next may be taken at once.
    ///
    /// # Errors
    /// [`Error::Store`]; it then ends by itself.
    pub async fn give_back(self) -> Result<(), Error> {
        Ok(self.store.put(&path(&self.name, self.fence, "beat"), self.record(Duration::ZERO)).await?)
    }

    /// Does `work` while the lease is held. `cancel` ends the work when the lease is lost.
    ///
    /// # Errors
    /// Those of `work`; [`Error::LeaseLost`].
    pub async fn during<T>(
        self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.beating(BEAT_EVERY, cancel, work).await
    }

    async fn beating<T>(
        self,
        every: Duration,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut lost = None;
        let mut beats = tokio::time::interval(every);
        beats.reset();
        tokio::pin!(work);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                _ = beats.tick() => match self.beat().await {
                    Ok(()) => {}
                    Err(error @ Error::LeaseLost { .. }) => {
                        lost = Some(error);
                        cancel.cancel();
                        break work.await;
                    }
                    Err(error) => warn!(lease = self.name, %error, "a beat of the lease failed"),
                }
            }
        };
        match (ended, lost) {
            (Err(Error::Cancelled), Some(lost)) => Err(lost),
            (ended, _) => {
                if let Err(error) = self.give_back().await {
                    warn!(%error, "the lease could not be given back, it ends by itself");
                }
                ended
            }
        }
    }

    fn record(&self, lasts: Duration) -> bytes::Bytes {
        let lasts_us = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX);
        let ends_at_us = self.clock.now_us().saturating_add(lasts_us);
        let record = Record { owner: self.owner.clone(), ends_at_us };
        serde_json::to_vec(&record).expect("plain data with text keys").into()
    }
}

/// The last thing that the holder of a lease said.
async fn newest(store: &Store, name: &str, fence: u64) -> Result<Option<Record>, Error> {
    for kind in ["beat", "json"] {
        if let Some(bytes) = store.get(&path(name, fence, kind)).await?
            && let Ok(record) = serde_json::from_slice(&bytes)
        {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

fn path(name: &str, fence: u64, kind: &str) -> Path {
    Path::from_iter([DIRECTORY, name, &format!("{fence:020}.{kind}")])
}

fn fence_of(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now_us(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn elsewhere(pid: u32) -> Owner {
        Owner { host: "elsewhere".to_owned(), pid, started: "1".to_owned(), space: "another".to_owned() }
    }

    struct Room {
        store: Store,
        hand: Arc<Hand>,
    }

    impl Room {
        fn new() -> Self {
            Self { store: Store::open(&"memory:///".parse().unwrap()).unwrap(), hand: Arc::default() }
        }

        async fn take(&self, owner: Owner) -> Result<Lease, Error> {
            let clock: Arc<dyn Clock> = Arc::clone(&self.hand) as _;
            Lease::take(&self.store, &clock, "batch", owner).await
        }

        fn later(&self, seconds: i64) {
            self.hand.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn one_holds_it_until_it_is_given_back() {
        let room = Room::new();
        let lease = room.take(elsewhere(1)).await.unwrap();
        assert!(matches!(room.take(elsewhere(2)).await, Err(Error::Busy { pid: 1, ends_at_us: 60_000_000, .. })));
        lease.give_back().await.unwrap();
        assert_eq!(room.take(elsewhere(2)).await.unwrap().fence(), 2);
    }

    #[tokio::test]
    async fn without_beats_it_ends_and_its_owner_finds_out() {
        let room = Room::new();
        let slow = room.take(elsewhere(1)).await.unwrap();
        room.later(59);
        slow.beat().await.unwrap();
        room.later(59);
        assert!(matches!(room.take(elsewhere(2)).await, Err(Error::Busy { .. })));
        room.later(2);
        let next = room.take(elsewhere(2)).await.unwrap();
        assert!(matches!(slow.beat().await, Err(Error::LeaseLost { .. })));
        next.beat().await.unwrap();
        // What the slow one still writes is its own file.
        slow.give_back().await.unwrap();
        assert!(matches!(room.take(elsewhere(3)).await, Err(Error::Busy { pid: 2, .. })));
    }

    #[tokio::test]
    async fn a_process_of_this_machine_that_is_gone_holds_nothing_up() {
        let room = Room::new();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let owner = Owner { pid: child.id(), started: "0".to_owned(), ..Owner::this_process() };
        child.wait().unwrap();
        room.take(owner).await.unwrap();
        let _ours = room.take(Owner::this_process()).await.unwrap();
        assert!(matches!(room.take(Owner::this_process()).await, Err(Error::Busy { .. })), "this one is not gone");
    }

    #[tokio::test]
    async fn of_many_at_once_one_wins() {
        let room = Room::new();
        let tries: Vec<_> = (0..8).map(|pid| room.take(elsewhere(pid))).collect();
        let taken = futures::future::join_all(tries).await;
        assert_eq!(taken.iter().filter(|lease| lease.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn losing_it_ends_the_work() {
        let room = Room::new();
        let lease = room.take(elsewhere(1)).await.unwrap();
        room.later(61);
        room.take(elsewhere(2)).await.unwrap();
        let cancel = CancellationToken::new();
        let work = async {
            cancel.cancelled().await;
            Err::<(), _>(Error::Cancelled)
        };
        assert!(matches!(lease.beating(Duration::from_millis(1), &cancel, work).await, Err(Error::LeaseLost { .. })));
    }
}
