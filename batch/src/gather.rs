//! Gather: between map and reduce, all groups of a run, in memory up to a budget and beyond it in temporary files.
//!
//! The budget is of all that a run holds: groups, and what its tasks claim beside ([`crate::memory`]): row groups in flight, batches
//! of events, what is folded apart and not brought here yet. Whoever finds it exceeded puts groups aside itself, shard by shard, until
//! it is not: so nobody goes on adding while another makes room, and what is put aside is little at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::record_batch::RecordBatch;
use common::{
    fold::{Fold, SHARDS, Shards},
    history::Kept,
    names::ViewName,
    partial,
    view::View,
};
use rayon::prelude::*;
use tracing::debug;

use crate::{
    Error, chunk,
    groups::Groups,
    memory::{Claim, Claims},
    spill::Spill,
};

/// The part of the memory that groups have even if others claim more: with less, what is put aside at once would be too little.
const GROUPS_PART: usize = 4;

/// The part of the memory that one fold has for the groups of a view before it brings them to those of the others.
const APART_PART: usize = 8;

/// The groups of all views of a run. Shared by its tasks.
#[derive(Debug)]
pub struct Gathered {
    views: BTreeMap<ViewName, Arc<Gathering>>,
    /// Bytes that may be in memory.
    memory: usize,
    /// What others hold.
    claims: Claims,
    /// Folds that no task is at, with what they hold.
    idle: Mutex<Vec<Folding>>,
    /// The most bytes that were ever seen.
    peak: AtomicUsize,
}

/// A fold of views of one source, onto the groups of a run. One task after the other goes on with it: so groups that they have in
/// common are there once, and nothing need be brought together after each.
#[derive(Debug)]
pub struct Folding {
    /// The fold.
    pub fold: Fold,
    /// What it holds, and the task that is at it.
    pub claim: Claim,
}

/// The groups of one view.
#[derive(Debug)]
pub struct Gathering {
    /// Those in memory.
    pub shards: Arc<Shards>,
    /// How much of the view's history is kept; what is older is rolled up or left out as groups are taken.
    kept: Kept,
    /// Those that are not.
    spilled: OnceLock<Spill>,
    /// The shard to be spilled next, counted on for ever.
    next: AtomicUsize,
    /// Chunks that groups were spilled of.
    spilled_chunks: Mutex<BTreeSet<i64>>,
    claims: Claims,
}

impl Gathered {
    /// No groups of `views`, with how much of their history is kept. At most about `memory` bytes are to be held.
    #[must_use]
    pub fn new(views: impl IntoIterator<Item = (Arc<View>, Kept)>, memory: usize) -> Self {
        let claims = Claims::default();
        let gathering = |(view, kept): (Arc<View>, Kept)| {
            let empty = Gathering {
                shards: Arc::new(Shards::new(&view)),
                kept,
                spilled: OnceLock::new(),
                next: AtomicUsize::new(0),
                spilled_chunks: Mutex::default(),
                claims: claims.clone(),
            };
            (view.name.clone(), Arc::new(empty))
        };
        let views = views.into_iter().map(gathering).collect();
        Self { views, memory, claims, idle: Mutex::default(), peak: AtomicUsize::new(0) }
    }

    /// The groups of a view.
    #[must_use]
    pub fn of(&self, view: &View) -> &Arc<Gathering> {
        &self.views[&view.name]
    }

    /// The groups of all views, those with the fewest bytes first.
    #[must_use]
    pub fn by_size(&self) -> Vec<Arc<Gathering>> {
        let mut all: Vec<_> = self.views.values().map(Arc::clone).collect();
        all.sort_by_key(|gathering| gathering.shards.bytes());
        all
    }

    /// A fold of these views, all of one source, to go on with.
    #[must_use]
    pub fn folding(&self, views: &[Arc<View>]) -> Folding {
        let mut idle = lock(&self.idle);
        let same =
            |folding: &Folding| folding.fold.views().iter().map(|view| &view.name).eq(views.iter().map(|v| &v.name));
        if let Some(at) = idle.iter().position(same) {
            return idle.swap_remove(at);
        }
        let shards = views.iter().map(|view| Arc::clone(&self.of(view).shards)).collect();
        Folding { fold: Fold::onto(shards, self.memory / APART_PART), claim: self.claim() }
    }

    /// Takes back what [`Self::folding`] gave, for the next task.
    pub fn put_back(&self, mut folding: Folding) {
        folding.claim.set(folding.fold.bytes());
        lock(&self.idle).push(folding);
    }

    /// All tasks are done: what was folded is left here. Uses the threads of the pool that it is called on.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn finish(&self) -> Result<(), Error> {
        let idle = mem::take(&mut *lock(&self.idle));
        idle.into_par_iter().try_for_each(|folding| folding.fold.leave())?;
        self.make_room()
    }

    /// A claim on the memory, of nothing yet.
    #[must_use]
    pub fn claim(&self) -> Claim {
        self.claims.claim()
    }

    /// Whether more is held than may be, of which groups can be put aside.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let (groups, claimed) = (self.group_bytes(), self.claims.bytes());
        self.peak.fetch_max(groups + claimed, Ordering::Relaxed);
        groups > self.memory.saturating_sub(claimed).max(self.memory / GROUPS_PART)
    }

    /// The most bytes that were held when [`Self::is_short`] was asked.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Makes room if the budget is exceeded: spills shards, those of the largest view first. CPU work that waits for a local disk.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn make_room(&self) -> Result<(), Error> {
        if !self.is_short() {
            return Ok(());
        }
        let idle = mem::take(&mut *lock(&self.idle));
        idle.into_iter().try_for_each(|mut folding| folding.fold.settle())?;
        for largest in self.by_size().into_iter().rev() {
            // Rows that wait, and what was folded apart, are in no shard yet.
            largest.shards.settle()?;
            for _ in 0..SHARDS {
                if !self.is_short() {
                    return Ok(());
                }
                largest.spill()?;
            }
        }
        Ok(())
    }

    /// Nothing more is brought: gives back the memory that only that needs.
    pub fn rest(&self) {
        self.views.values().for_each(|gathering| gathering.shards.rest());
    }

    fn group_bytes(&self) -> usize {
        self.views.values().map(|gathering| gathering.shards.bytes()).sum()
    }
}

impl Gathering {
    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        self.shards.view()
    }

    /// Spills one shard, those of all in turn.
    fn spill(&self) -> Result<(), Error> {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let groups = self.shards.take_shard(shard)?;
        if groups.num_rows() == 0 {
            return Ok(());
        }
        let _held = self.claims.claim().of(groups.get_array_memory_size());
        let groups = self.kept.apply(self.view(), groups)?;
        lock(&self.spilled_chunks).extend(chunk::ranges(self.view(), &groups).map(|(from_us, _)| from_us));
        if self.spilled.get().is_none() {
            debug!(view = %self.view().name, "memory is short, groups are put aside");
            // Should another have been faster, its file stays.
            let _ = self.spilled.set(Spill::new()?);
        }
        self.spilled.get().expect("it is there, from here or from another").put(shard, &groups)
    }

    /// The starts of the chunks that groups are in, ascending.
    ///
    /// # Errors
    /// [`Error::Measure`].
    pub fn chunks(&self) -> Result<BTreeSet<i64>, Error> {
        self.shards.fold_waiting()?;
        let grain = chunk::of(self.shards.view());
        let kept = self.shards.buckets().into_iter().filter_map(|bucket| self.kept.bucket(self.view(), bucket));
        let mut chunks: BTreeSet<i64> = kept.map(|bucket| grain.bucket(bucket)).collect();
        chunks.extend(lock(&self.spilled_chunks).iter());
        Ok(chunks)
    }

    /// Takes all groups, each once, in order. CPU work for the threads of the pool that it is called on.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn take(&self) -> Result<Groups, Error> {
        let (view, claim) = (Arc::clone(self.shards.view()), self.claims.claim());
        let (pieces, merged) = match self.spilled.get() {
            None if self.kept.is_whole() => return Ok(Groups::settled(view, self.shards.take_settled()?, claim)),
            None => {
                let held = self.shards.take()?.into_iter();
                let held = held.map(|partial| Ok(Some(self.kept.apply(&view, partial)?)));
                (held.collect::<Result<_, Error>>()?, Spill::new()?)
            }
            Some(spilled) => {
                self.shards.settle()?;
                let (mut pieces, merged) = (Vec::with_capacity(SHARDS), Spill::new()?);
                // A few at a time: all together are what there was no room for.
                for run in (0..SHARDS).collect::<Vec<_>>().chunks(RUN_SHARDS) {
                    let run = run.par_iter().map(|&shard| self.take_shard(shard, spilled, &merged));
                    pieces.extend(run.collect::<Result<Vec<_>, _>>()?);
                }
                (pieces, merged)
            }
        };
        let held: usize = pieces.iter().flatten().map(RecordBatch::get_array_memory_size).sum();
        Groups::partials(view, pieces, merged, claim.of(held))
    }

    /// [`Self::take`], spread over all shards even if the groups are few.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn take_spread(&self) -> Result<Groups, Error> {
        self.shards.ensure_spread()?;
        self.take()
    }

    /// The groups of a shard; `None` if some had been spilled: then all are in `merged`.
    fn take_shard(&self, shard: usize, spilled: &Spill, merged: &Spill) -> Result<Option<RecordBatch>, Error> {
        let held = self.shards.take_shard(shard)?;
        let held = self.kept.apply(self.view(), held)?;
        if !spilled.has(shard) {
            return Ok(Some(held));
        }
        let mut all = spilled.read(self.view(), shard)?;
        all.push(held);
        let partial = self.kept.apply(self.view(), partial::merge(self.view(), &all)?)?;
        merged.put(shard, &partial)?;
        Ok(None)
    }
}

/// Shards that are merged at the same time.
const RUN_SHARDS: usize = 4;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic the run is over; what is in it is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use common::testing;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn view() -> Arc<View> {
        let sql = "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, \
                   count(*) AS departures, sum(delay_minutes) AS delay, approx_distinct(delay_minutes) AS delays, \
                   approx_percentile(delay_minutes, 0.5) AS half FROM departures GROUP BY hour, carrier";
        testing::view(sql, &testing::departures())
    }

    /// Departures on ten days of ten weeks, of a few carriers or of none.
    type Row = (i64, Option<u8>, i64);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        vec((0..10_i64, prop::option::weighted(0.9, 0..200_u8), -5..50_i64), 0..60)
    }

    fn partial(view: &Arc<View>, rows: &[Row]) -> RecordBatch {
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0 * 7 * DAY_US));
        let carriers: StringArray = rows.iter().map(|row| row.1.map(|carrier| format!("C{carrier}"))).collect();
        let delays = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
        let columns: [(&str, ArrayRef); 3] = [
            ("departed_at", Arc::new(times.with_timezone("UTC"))),
            ("carrier", Arc::new(carriers)),
            ("delay_minutes", Arc::new(delays)),
        ];
        let mut fold = common::fold::Fold::new(std::slice::from_ref(view));
        fold.fold(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        fold.take().unwrap().remove(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn l1_no_budget_order_or_number_of_parts_shows(
            tasks in vec(rows(), 0..4),
            memory in prop_oneof![Just(0), Just(usize::MAX), 0..200_000_usize],
            parts in prop::sample::select(vec![1_u32, 2, 8, 256]),
        ) {
            let view = std::thread::scope(|s| s.spawn(view).join().unwrap());
            let expected = partial(&view, &tasks.concat());

            let gathered = Gathered::new([(Arc::clone(&view), Kept::default())], memory);
            for rows in tasks.iter().rev() {
                gathered.of(&view).shards.merge(&partial(&view, rows)).unwrap();
                gathered.make_room().unwrap();
            }
            let chunks = gathered.of(&view).chunks().unwrap();
            let starts = |partial: &RecordBatch| chunk::ranges(&view, partial).map(|(start, _)| start).collect();
            prop_assert_eq!(&chunks, &starts(&expected), "chunks");

            let groups = gathered.of(&view).take().unwrap();
            prop_assert_eq!(&groups.whole().unwrap(), &expected);
            prop_assert_eq!(groups.rows().keys().copied().collect::<BTreeSet<_>>(), chunks);
            prop_assert_eq!(groups.rows().values().sum::<u64>(), expected.num_rows() as u64);
            if groups.shards() > 1 {
                let mut split = Vec::new();
                for &from_us in groups.rows().keys() {
                    split.extend((0..parts).map(|part| groups.part(from_us, part, parts).unwrap()));
                }
                prop_assert_eq!(partial::join(&view, &split).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_is_held_stays_within_the_memory_however_many_bring_at_once() {
        const MEMORY: usize = 4 << 20;
        let view = std::thread::scope(|s| s.spawn(view).join().unwrap());
        let gathered = Gathered::new([(Arc::clone(&view), Kept::default())], MEMORY);
        // Groups of some times the memory, while others hold half of it.
        let brought: Vec<RecordBatch> = (0..128_i64)
            .map(|task| {
                let rows: Vec<Row> = (0..400).map(|n| (task * 400 + n, Some(n as u8), n)).collect();
                partial(&view, &rows)
            })
            .collect();
        let held = gathered.claim().of(MEMORY / 2);
        let (alone, at_once) = brought.split_at(64);
        for partial in alone {
            gathered.of(&view).shards.merge(partial).unwrap();
            gathered.make_room().unwrap();
            assert!(gathered.group_bytes() <= MEMORY / 2, "what others claim is not for groups");
        }
        std::thread::scope(|s| {
            for brought in at_once.chunks(16) {
                let (gathered, view) = (&gathered, &view);
                s.spawn(move || {
                    for partial in brought {
                        gathered.of(view).shards.merge(partial).unwrap();
                        gathered.make_room().unwrap();
                    }
                });
            }
        });
        // Beyond it is by how much tables grow between two looks, and what four have in hand while they put it aside.
        let (peak, most) = (gathered.peak(), MEMORY / 3 * 4);
        assert!(peak > MEMORY && peak < most, "{peak} of {most}");
        drop(held);
        let groups = gathered.of(&view).take().unwrap();
        assert!(groups.is_spilled(), "some were put aside");
        let expected = partial::merge(&view, &brought).unwrap();
        assert_eq!(groups.whole().unwrap(), expected);
    }
}
