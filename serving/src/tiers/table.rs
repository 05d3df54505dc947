//! Tables that queries read: a canonical partial, and what was rolled up from it.
//!
//! A roll-up is the partial again, of fewer dimensions, fewer states and mostly a coarser grain: states merge, so whatever is asked
//! of whole steps of it is the same to the bit (L1), and takes thousands of rows where the partial has millions. It is made when it is
//! asked for the second time, kept as long as the table is, and only if it is much smaller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::TimestampMicrosecondType,
};
use common::{
    fold::GroupTable,
    grain::Grain,
    limits::{ROLL_UP_RATIO, ROLL_UP_ROWS_MIN, ROLL_UPS_MAX},
    measure::StateSpec,
    schema::{ColumnType, coded_type},
    view::View,
};

use crate::chunks::{Cached, Error};

/// What is left of a partial.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RollUp {
    /// Its step, made of whole buckets of the view.
    pub(crate) grain: Grain,
    /// Indices into the view's dimensions.
    pub(crate) dimensions: Vec<usize>,
    /// Indices into the view's states.
    pub(crate) states: Vec<usize>,
}

/// The roll-ups that can stand for a table in a query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// By whole days, where the query's steps are made of those.
    pub(crate) coarse: Option<RollUp>,
    /// By the view's own buckets.
    pub(crate) fine: Option<RollUp>,
}

/// Rows of a table or of a roll-up: the bucket, then dimensions, then states.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) rows: RecordBatch,
    layout: Option<RollUp>,
    dimensions: usize,
}

impl Slice {
    /// The column of the view's dimension number `dimension`, which the slice has.
    pub(crate) fn dimension(&self, dimension: usize) -> usize {
        1 + place(self.layout.as_ref().map(|layout| &layout.dimensions), dimension)
    }

    /// The column of the view's state number `state`, which the slice has.
    pub(crate) fn state(&self, state: usize) -> usize {
        1 + self.dimensions + place(self.layout.as_ref().map(|layout| &layout.states), state)
    }
}

fn place(of: Option<&Vec<usize>>, index: usize) -> usize {
    of.map_or(index, |of| of.iter().position(|at| *at == index).expect("a roll-up has what was asked of it"))
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    partial: Partial,
    rolled: Arc<Mutex<HashMap<RollUp, Made>>>,
}

/// Where the partial is.
#[derive(Debug, Clone)]
enum Partial {
    Held(RecordBatch),
    Cached(Arc<Cached>),
}

/// How a roll-up stands.
#[derive(Debug, Clone)]
enum Made {
    /// It was asked for once, or is being made.
    Asked,
    /// It would not be much smaller.
    Useless,
    Ready(RecordBatch),
}

impl From<RecordBatch> for Table {
    fn from(partial: RecordBatch) -> Self {
        Self { partial: Partial::Held(partial), rolled: Arc::default() }
    }
}

impl From<Arc<Cached>> for Table {
    fn from(chunk: Arc<Cached>) -> Self {
        Self { partial: Partial::Cached(chunk), rolled: Arc::default() }
    }
}

/// A canonical partial of `view` whose texts have codes: they take less memory, and are looked at once each.
pub(crate) fn coded(view: &View, partial: &RecordBatch) -> Result<RecordBatch, common::measure::Error> {
    let mut columns = partial.columns().to_vec();
    for (at, dimension) in view.dimensions.iter().enumerate() {
        if dimension.column_type() == ColumnType::String {
            columns[1 + at] = cast(&columns[1 + at], &coded_type())?;
        }
    }
    let names = partial.schema_ref().fields().iter().map(|field| field.name().clone());
    let columns = names.zip(columns).map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

impl Table {
    /// The partial itself. Blocks where it has to be read.
    pub(crate) fn partial(&self) -> Result<RecordBatch, Error> {
        match &self.partial {
            Partial::Held(partial) => Ok(partial.clone()),
            Partial::Cached(chunk) => chunk.rows(),
        }
    }

    /// The partial, which is of no chunk.
    ///
    /// # Panics
    /// If it is of a chunk.
    pub(crate) fn held(&self) -> &RecordBatch {
        match &self.partial {
            Partial::Held(partial) => partial,
            Partial::Cached(_) => panic!("the table of a chunk is taken for one of live events"),
        }
    }

    /// Whether it takes no reading to answer from it: its rows are in memory, or roll-ups of them.
    pub(crate) fn is_warm(&self) -> bool {
        match &self.partial {
            Partial::Held(_) => true,
            Partial::Cached(chunk) => chunk.is_mapped() || !self.rolled().is_empty(),
        }
    }

    fn count(&self) -> usize {
        match &self.partial {
            Partial::Held(partial) => partial.num_rows(),
            Partial::Cached(chunk) => chunk.count(),
        }
    }

    /// The rows of buckets in `[from_us, to_us)`; a chunk that has none is not read.
    fn within(&self, from_us: i64, to_us: i64) -> Result<Option<RecordBatch>, Error> {
        let rows = match &self.partial {
            Partial::Cached(chunk) if !chunk.reaches_into(from_us, to_us) => return Ok(None),
            _ => in_range(&self.partial()?, from_us, to_us),
        };
        Ok(Some(rows).filter(|rows| rows.num_rows() > 0))
    }

    /// The partial without codes.
    #[cfg(test)]
    pub(crate) fn decoded(&self) -> RecordBatch {
        let partial = self.partial().expect("the chunk can be read");
        let names = partial.schema_ref().fields().iter().map(|field| field.name().clone());
        let texts = ColumnType::String.arrow();
        let columns = partial.columns().iter().map(|column| {
            let is_coded = *column.data_type() == coded_type();
            if is_coded { cast(column, &texts).expect("codes are of texts") } else { Arc::clone(column) }
        });
        let columns = names.zip(columns).map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("the columns are of one length")
    }

    /// The roll-ups that there are.
    pub(crate) fn rolled(&self) -> Vec<RollUp> {
        let rolled = self.lock();
        rolled.iter().filter(|(_, made)| matches!(made, Made::Ready(_))).map(|(wanted, _)| wanted.clone()).collect()
    }

    /// Reads the partial and makes roll-ups before they are asked for. CPU work, and blocks.
    pub(crate) fn warm(&self, view: &View, wanted: impl IntoIterator<Item = RollUp>) -> Result<(), Error> {
        self.partial()?;
        for wanted in wanted {
            self.make(view, &wanted)?;
        }
        Ok(())
    }

    /// About how many rows [`Self::slices`] goes through, those of roll-ups that it makes included; `None` if it has to read some
    /// first.
    pub(crate) fn effort(&self, wanted: &Wanted, from_us: i64, to_us: i64) -> Option<usize> {
        let Partial::Held(partial) = &self.partial else { return None };
        let fine = wanted.fine.as_ref().and_then(|fine| self.ready(fine));
        let edge = |from, to| match &fine {
            _ if from >= to => 0,
            Some(rows) => in_range(rows, from, to).num_rows(),
            None => partial.num_rows(),
        };
        if let Some(coarse) = &wanted.coarse
            && let Some(rows) = self.ready(coarse)
        {
            let (from, to) = inside(coarse.grain, from_us, to_us);
            if from < to {
                return Some(in_range(&rows, from, to).num_rows() + edge(from_us, from) + edge(to, to_us));
            }
        }
        Some(edge(from_us, to_us))
    }

    /// Rows that together are the table's of buckets in `[from_us, to_us)`, as few as there are.
    pub(crate) fn slices(&self, view: &View, wanted: &Wanted, from_us: i64, to_us: i64) -> Result<Vec<Slice>, Error> {
        let mut slices = Vec::new();
        let mut edges = vec![(from_us, to_us)];
        if let Some(coarse) = wanted.coarse.as_ref().filter(|_| self.count() >= ROLL_UP_ROWS_MIN) {
            let (from, to) = inside(coarse.grain, from_us, to_us);
            if from < to
                && let Some(rows) = self.rolled_up(view, coarse)?
            {
                slices.extend(slice(in_range(&rows, from, to), Some(coarse), coarse.dimensions.len()));
                edges = vec![(from_us, from), (to, to_us)];
            }
        }
        for (from, to) in edges.into_iter().filter(|(from, to)| from < to) {
            slices.extend(self.edge(view, wanted, from, to)?);
        }
        Ok(slices)
    }

    /// The same of a range that a coarse roll-up does not have.
    fn edge(&self, view: &View, wanted: &Wanted, from_us: i64, to_us: i64) -> Result<Option<Slice>, Error> {
        let of = |fine: &RollUp, rows: &RecordBatch| {
            slice(in_range(rows, from_us, to_us), Some(fine), fine.dimensions.len())
        };
        if let Some(fine) = &wanted.fine
            && let Some(rows) = self.ready(fine)
        {
            return Ok(of(fine, &rows));
        }
        let Some(rows) = self.within(from_us, to_us)? else { return Ok(None) };
        if let Some(fine) = wanted.fine.as_ref().filter(|_| rows.num_rows() >= ROLL_UP_ROWS_MIN)
            && let Some(rows) = self.rolled_up(view, fine)?
        {
            return Ok(of(fine, &rows));
        }
        Ok(slice(rows, None, view.dimensions.len()))
    }

    /// The roll-up, if it is there.
    fn ready(&self, wanted: &RollUp) -> Option<RecordBatch> {
        match self.lock().get(wanted) {
            Some(Made::Ready(rows)) => Some(rows.clone()),
            _ => None,
        }
    }

    /// The roll-up, if it is there, or is asked for the second time and of use.
    fn rolled_up(&self, view: &View, wanted: &RollUp) -> Result<Option<RecordBatch>, Error> {
        {
            let mut rolled = self.lock();
            match rolled.get(wanted) {
                Some(Made::Ready(rows)) => return Ok(Some(rows.clone())),
                Some(Made::Useless) => return Ok(None),
                Some(Made::Asked) => {}
                None if rolled.len() >= ROLL_UPS_MAX => return Ok(None),
                None => {
                    rolled.insert(wanted.clone(), Made::Asked);
                    return Ok(None);
                }
            }
        }
        self.make(view, wanted)
    }

    /// Makes a roll-up without holding others up: two that ask at once may both make it.
    fn make(&self, view: &View, wanted: &RollUp) -> Result<Option<RecordBatch>, Error> {
        let rows = rolled(view, wanted, &self.partial()?)?;
        let rows = rows.filter(|rows| rows.num_rows() * ROLL_UP_RATIO <= self.count());
        let made = rows.clone().map_or(Made::Useless, Made::Ready);
        self.lock().insert(wanted.clone(), made);
        Ok(rows)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RollUp, Made>> {
        // Each entry is whole at any moment.
        self.rolled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slice(rows: RecordBatch, layout: Option<&RollUp>, dimensions: usize) -> Option<Slice> {
    (rows.num_rows() > 0).then(|| Slice { rows, layout: layout.cloned(), dimensions })
}

/// The whole steps of `grain` inside `[from_us, to_us)`; open ends stay open.
fn inside(grain: Grain, from_us: i64, to_us: i64) -> (i64, i64) {
    let from = match grain.interval(from_us) {
        _ if from_us == i64::MIN => i64::MIN,
        (start, end) => {
            if start == from_us {
                start
            } else {
                end
            }
        }
    };
    (from, if to_us == i64::MAX { i64::MAX } else { grain.bucket(to_us) })
}

/// The rows of a canonical partial whose buckets start in `[from_us, to_us)`: they stand together, as it is sorted.
pub(crate) fn in_range(table: &RecordBatch, from_us: i64, to_us: i64) -> RecordBatch {
    let buckets = table.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let from = buckets.partition_point(|bucket| *bucket < from_us);
    let to = buckets.partition_point(|bucket| *bucket < to_us);
    table.slice(from, to.saturating_sub(from))
}

/// The roll-up of `partial`; `None` if a step of it would cut a bucket of the view.
fn rolled(view: &View, wanted: &RollUp, partial: &RecordBatch) -> Result<Option<RecordBatch>, common::measure::Error> {
    let mut types = vec![ColumnType::Timestamp];
    types.extend(wanted.dimensions.iter().map(|at| view.dimensions[*at].column_type()));
    let specs: Vec<StateSpec> = wanted.states.iter().map(|at| view.states[*at].clone()).collect();
    let Some(steps) = crate::query::whole_steps(wanted.grain, view.grain, partial.column(0)) else { return Ok(None) };
    let mut keys: Vec<ArrayRef> = vec![steps];
    keys.extend(wanted.dimensions.iter().map(|at| Arc::clone(partial.column(1 + at))));
    let first = 1 + view.dimensions.len();
    let states: Vec<ArrayRef> = wanted.states.iter().map(|at| Arc::clone(partial.column(first + at))).collect();
    let mut table = GroupTable::new(&types, &specs);
    table.merge(&keys, &states)?;
    let (mut columns, states) = table.take()?;
    columns.extend(states);
    let dimensions = wanted.dimensions.iter().map(|at| view.dimensions[*at].name.clone());
    let names = std::iter::once(view.bucket_name.clone()).chain(dimensions).chain(specs.iter().map(StateSpec::name));
    // States of one name that differ in nothing a name shows are never two: a view has each once.
    let columns = names.zip(columns).map(|(name, column)| (name, column, true));
    Ok(Some(RecordBatch::try_from_iter_with_nullable(columns)?))
}
