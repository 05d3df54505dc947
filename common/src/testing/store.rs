//! An object store that fails on demand: the nth operation of a kind, or operations picked by a seed.
//!
//! The same seed and the same order of operations give the same faults. It never waits: a slow operation lets every other
//! task run first.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio::sync::Semaphore;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A put, of whatever mode.
    Put,
    /// A get or a head.
    Get,
    /// A listing.
    List,
    /// A removal.
    Delete,
}

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Refused,
    /// It fails after it was done: the answer was lost.
    AnswerLost,
    /// It fails, and is done all the same a few operations later: the request was on its way (puts only; else as
    /// [`Fault::Refused`]).
    Late,
    /// It fails: the store is full (puts only; else as [`Fault::Refused`]).
    OutOfSpace,
    /// It is done, after all other tasks had a turn.
    Slow,
}

const FAULTS: [Fault; 5] = [Fault::Refused, Fault::AnswerLost, Fault::Late, Fault::OutOfSpace, Fault::Slow];

/// Operations that a [`Fault::Late`] put is behind.
const LATE_BY: u32 = 3;

#[derive(Debug, Default)]
struct Plan {
    due: Vec<(Operation, u64, Fault)>,
    random: Option<(Random, u64)>,
    refuses: bool,
    late: VecDeque<(u32, Path, PutPayload, PutOptions)>,
    held: Vec<(Path, Held)>,
    injected: u64,
    begun: BTreeMap<Operation, u64>,
}

/// Gets of one object that wait until they are let go.
#[derive(Debug, Clone)]
pub struct Held {
    reached: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Held {
    /// Waits until somebody asks for the object.
    ///
    /// # Panics
    /// Never: what is waited on is not closed.
    pub async fn reached(&self) {
        self.reached.acquire().await.expect("nobody closes it").forget();
    }

    /// Lets all who ask for the object go on, now and later.
    pub fn let_go(&self) {
        self.go.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.go.acquire().await.expect("nobody closes it").forget();
    }
}

/// Objects that fail by plan; without one they work.
#[derive(Debug, Clone)]
pub struct FaultyObjects {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyObjects {
    /// `inner`, without a fault for now.
    #[must_use]
    pub fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// An empty store in memory, without a fault for now.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// Lets the `nth` operation of this kind from now on (0 is the next one) go wrong.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        self.plan().due.push((operation, nth, fault));
    }

    /// Lets every operation from now on go wrong with a chance of `per_mille` in 1,000. Prints the seed, so that a failing
    /// test can be run again.
    pub fn fail_randomly(&self, seed: u64, per_mille: u64) {
        eprintln!("faults in {per_mille} of 1,000 store operations, seed {seed}");
        self.plan().random = Some((Random::new(seed), per_mille));
    }

    /// Lets every operation from now on be refused.
    pub fn refuse(&self) {
        self.plan().refuses = true;
    }

    /// No further fault; what is late stays late.
    pub fn calm(&self) {
        let mut plan = self.plan();
        plan.due.clear();
        plan.random = None;
        plan.refuses = false;
    }

    /// Lets everybody who asks for the object at `path` wait.
    #[must_use]
    pub fn hold(&self, path: &Path) -> Held {
        let held = Held { reached: Arc::new(Semaphore::new(0)), go: Arc::new(Semaphore::new(0)) };
        self.plan().held.push((path.clone(), held.clone()));
        held
    }

    async fn wait_for(&self, location: &Path) {
        let held = self.plan().held.iter().find(|(path, _)| path == location).map(|(_, held)| held.clone());
        if let Some(held) = held {
            held.pass().await;
        }
    }

    /// How many faults there were.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.plan().injected
    }

    /// How many operations of this kind were asked for.
    #[must_use]
    pub fn begun(&self, operation: Operation) -> u64 {
        self.plan().begun.get(&operation).copied().unwrap_or(0)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.plan();
        *plan.begun.entry(operation).or_default() += 1;
        let mut fault = None;
        plan.due.retain_mut(|(kind, nth, planned)| {
            let is_due = *kind == operation && *nth == 0;
            if is_due {
                fault = Some(*planned);
            } else if *kind == operation {
                *nth -= 1;
            }
            !is_due
        });
        if fault.is_none()
            && let Some((random, per_mille)) = &mut plan.random
            && random.below(1_000) < *per_mille
        {
            fault = Some(FAULTS[random.below(FAULTS.len() as u64) as usize]);
        }
        if plan.refuses {
            fault = Some(Fault::Refused);
        }
        plan.injected += u64::from(fault.is_some());
        fault
    }

    /// The fault of the operation that begins now, if it has one.
    async fn begin(&self, operation: Operation) -> Option<Fault> {
        self.arrive().await;
        let fault = self.draw(operation);
        if fault == Some(Fault::Slow) {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        }
        fault
    }

    /// Does the late puts whose time has come.
    async fn arrive(&self) {
        let arrived: Vec<_> = {
            let mut plan = self.plan();
            plan.late.iter_mut().for_each(|late| late.0 -= 1);
            let ready = plan.late.iter().take_while(|late| late.0 == 0).count();
            plan.late.drain(..ready).collect()
        };
        for (_, location, payload, options) in arrived {
            // Nobody waits for the answer any more.
            let _ = self.inner.put_opts(&location, payload, options).await;
        }
    }
}

fn injected(what: &str) -> Error {
    Error::Generic { store: "FaultyObjects", source: format!("injected fault: {what}").into() }
}

impl fmt::Display for FaultyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyObjects({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.begin(Operation::Put).await {
            None | Some(Fault::Slow) => self.inner.put_opts(location, payload, options).await,
            Some(Fault::Refused) => Err(injected("put refused")),
            Some(Fault::OutOfSpace) => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(Error::Generic { store: "FaultyObjects", source: full.into() })
            }
            Some(Fault::Late) => {
                self.plan().late.push_back((LATE_BY, location.clone(), payload, options));
                Err(injected("put is late"))
            }
            Some(Fault::AnswerLost) => {
                let _ = self.inner.put_opts(location, payload, options).await;
                Err(injected("answer to put lost"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.begin(Operation::Put).await {
            None | Some(Fault::Slow) => self.inner.put_multipart_opts(location, options).await,
            Some(_) => Err(injected("upload refused")),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.wait_for(location).await;
        match self.begin(Operation::Get).await {
            None | Some(Fault::Slow) => self.inner.get_opts(location, options).await,
            Some(_) => Err(injected("get refused")),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.wait_for(location).await;
        match self.begin(Operation::Get).await {
            None | Some(Fault::Slow) => self.inner.get_ranges(location, ranges).await,
            Some(_) => Err(injected("get refused")),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Path| {
            let store = store.clone();
            async move {
                match store.begin(Operation::Delete).await {
                    None | Some(Fault::Slow) => store.inner.delete(&location).await.map(|()| location),
                    Some(Fault::AnswerLost) => {
                        let _ = store.inner.delete(&location).await;
                        Err(injected("answer to delete lost"))
                    }
                    Some(_) => Err(injected("delete refused")),
                }
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            match store.begin(Operation::List).await {
                None | Some(Fault::Slow) => store.inner.list(prefix.as_ref()),
                Some(_) => stream::iter([Err(injected("list refused"))]).boxed(),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.begin(Operation::List).await {
            None | Some(Fault::Slow) => self.inner.list_with_delimiter(prefix).await,
            Some(_) => Err(injected("list refused")),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.begin(Operation::Put).await {
            None | Some(Fault::Slow) => self.inner.copy_opts(from, to, options).await,
            Some(_) => Err(injected("copy refused")),
        }
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number in `[0, bound)`; `bound` is more than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
