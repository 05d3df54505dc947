//! Gather: between map and reduce, all groups of a run, in memory up to a budget and beyond it in temporary files.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::record_batch::RecordBatch;
use common::{fold::Shards, history::Kept, names::ViewName, partial, view::View};
use rayon::prelude::*;
use tracing::debug;

use crate::{Error, chunk, spill::Spill};

/// The groups of all views of a run. Shared by its tasks.
#[derive(Debug)]
pub struct Gathered {
    views: BTreeMap<ViewName, Arc<Gathering>>,
    /// Bytes of groups that may be in memory.
    memory: usize,
    /// Held by the one that makes room.
    turn: Mutex<()>,
}

/// The groups of one view.
#[derive(Debug)]
pub struct Gathering {
    /// Those in memory.
    pub shards: Arc<Shards>,
    /// How much of the view's history is kept; what is older is rolled up or left out as groups are taken.
    kept: Kept,
    /// Those that are not.
    spilled: Mutex<Vec<Spill>>,
    /// Chunks that groups were spilled of.
    spilled_chunks: Mutex<BTreeSet<i64>>,
}

impl Gathered {
    /// No groups of `views`, with how much of their history is kept. At most about `memory` bytes are to be held.
    #[must_use]
    pub fn new(views: impl IntoIterator<Item = (Arc<View>, Kept)>, memory: usize) -> Self {
        let gathering = |(view, kept): (Arc<View>, Kept)| {
            let shards = Arc::new(Shards::new(&view));
            let empty = Gathering { shards, kept, spilled: Mutex::default(), spilled_chunks: Mutex::default() };
            (view.name.clone(), Arc::new(empty))
        };
        Self { views: views.into_iter().map(gathering).collect(), memory, turn: Mutex::default() }
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

    /// Bytes that what is folded apart may hold before it is brought here.
    #[must_use]
    pub fn apart_max(&self) -> usize {
        self.memory / 8
    }

    /// Makes room if the budget is exceeded: spills views, the largest first. CPU work that waits for a local disk.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn make_room(&self) -> Result<(), Error> {
        if self.bytes() <= self.memory {
            return Ok(());
        }
        // Nobody waits: the one that makes room may be asked for more by work that its thread takes up in between.
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        for largest in self.by_size().into_iter().rev() {
            if self.bytes() > self.memory {
                largest.spill()?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.views.values().map(|gathering| gathering.shards.bytes()).sum()
    }
}

impl Gathering {
    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        self.shards.view()
    }

    fn spill(&self) -> Result<(), Error> {
        let partials = self.shards.take_spread()?;
        let view = self.shards.view();
        debug!(view = %view.name, rows = partials.iter().map(RecordBatch::num_rows).sum::<usize>(), "groups spilled");
        let mut spill = Spill::new()?;
        for partial in partials {
            let partial = self.kept.apply(view, partial)?;
            lock(&self.spilled_chunks).extend(chunk::ranges(view, &partial).map(|(from_us, _)| from_us));
            spill.push(&partial)?;
        }
        lock(&self.spilled).push(spill);
        Ok(())
    }

    /// The starts of the chunks that groups are in, ascending.
    ///
    /// # Errors
    /// [`Error::Measure`].
    pub fn chunks(&self) -> Result<BTreeSet<i64>, Error> {
        self.shards.settle()?;
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
        self.take_held(Shards::take)
    }

    /// [`Self::take`], spread over all shards even if the groups are few.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn take_spread(&self) -> Result<Groups, Error> {
        self.take_held(Shards::take_spread)
    }

    fn take_held(
        &self,
        take: fn(&Shards) -> Result<Vec<RecordBatch>, common::measure::Error>,
    ) -> Result<Groups, Error> {
        let view = Arc::clone(self.shards.view());
        let spilled = mem::take(&mut *lock(&self.spilled));
        let pieces = if spilled.is_empty() {
            let held = take(&self.shards)?.into_iter().map(|partial| self.kept.apply(&view, partial));
            Pieces::Held(held.collect::<Result<_, _>>()?)
        } else {
            let held = self.shards.take_spread()?;
            let mut merged = Spill::new()?;
            // A few at a time: all together are what there was no room for.
            for (run, held) in held.chunks(RUN_SHARDS).enumerate() {
                let shards: Vec<_> = (run * RUN_SHARDS..).zip(held).collect();
                let merge = |&(shard, held): &(usize, &RecordBatch)| {
                    let mut all = vec![held.clone()];
                    for spill in &spilled {
                        all.push(spill.read(&view, shard)?);
                    }
                    Ok::<_, Error>(self.kept.apply(&view, partial::merge(&view, &all)?)?)
                };
                for partial in shards.par_iter().map(merge).collect::<Result<Vec<_>, _>>()? {
                    merged.push(&partial)?;
                }
            }
            Pieces::Spilled(merged)
        };
        Groups::new(view, pieces)
    }
}

/// Shards that are merged at the same time.
const RUN_SHARDS: usize = 4;

/// All groups of one view.
#[derive(Debug)]
pub struct Groups {
    view: Arc<View>,
    pieces: Pieces,
    /// How many there are in each chunk, by its start.
    rows: BTreeMap<i64, u64>,
}

/// A partial of each shard, ordered by bucket, or a canonical one of all.
#[derive(Debug)]
enum Pieces {
    Held(Vec<RecordBatch>),
    Spilled(Spill),
}

impl Groups {
    fn new(view: Arc<View>, pieces: Pieces) -> Result<Self, Error> {
        let mut groups = Self { view, pieces, rows: BTreeMap::new() };
        for shard in 0..groups.shards() {
            let piece = groups.piece(shard)?;
            for (from_us, range) in chunk::ranges(&groups.view, &piece) {
                *groups.rows.entry(from_us).or_default() += range.len() as u64;
            }
        }
        Ok(groups)
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// How many groups there are in each chunk, by its start.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<i64, u64> {
        &self.rows
    }

    fn shards(&self) -> usize {
        match &self.pieces {
            Pieces::Held(pieces) => pieces.len(),
            Pieces::Spilled(spill) => spill.shards(),
        }
    }

    fn piece(&self, shard: usize) -> Result<RecordBatch, Error> {
        match &self.pieces {
            Pieces::Held(pieces) => Ok(pieces[shard].clone()),
            Pieces::Spilled(spill) => spill.read(&self.view, shard),
        }
    }

    /// The canonical partial of part `part` of `parts` of the chunk that starts at `from_us`. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn part(&self, from_us: i64, part: u32, parts: u32) -> Result<RecordBatch, Error> {
        // Shards are finer parts; few groups are in one shard and make one part.
        let width = self.shards().div_ceil(parts as usize);
        let mut pieces = Vec::with_capacity(width);
        for shard in part as usize * width..(part as usize + 1) * width {
            let piece = self.piece(shard)?;
            let range = chunk::ranges(&self.view, &piece).find(|(start, _)| *start == from_us).map(|(_, range)| range);
            pieces.extend(range.map(|range| piece.slice(range.start, range.len())));
        }
        self.join(&pieces)
    }

    /// The canonical partial of `pieces`.
    fn join(&self, pieces: &[RecordBatch]) -> Result<RecordBatch, Error> {
        match pieces {
            // All groups in one shard are in order.
            [piece] if self.shards() == 1 => Ok(piece.clone()),
            pieces => Ok(partial::join(&self.view, pieces)?),
        }
    }

    /// The canonical partial of all groups. CPU work.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Measure`].
    pub fn whole(&self) -> Result<RecordBatch, Error> {
        let pieces = (0..self.shards()).map(|shard| self.piece(shard)).collect::<Result<Vec<_>, _>>()?;
        self.join(&pieces)
    }
}

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
}
