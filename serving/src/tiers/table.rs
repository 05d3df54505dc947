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
    datatypes::{DataType, TimestampMicrosecondType},
};
use common::{
    fold::GroupTable,
    grain::Grain,
    limits::{ROLL_UP_RATIO, ROLL_UP_ROWS_MIN, ROLL_UPS_MAX},
    measure::{Error, StateSpec},
    schema::ColumnType,
    view::View,
};

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
    partial: RecordBatch,
    rolled: Arc<Mutex<HashMap<RollUp, Made>>>,
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
        Self { partial, rolled: Arc::default() }
    }
}

impl Table {
    /// The table of a canonical partial of `view`, whose texts get codes: they take less memory, and are looked at once each.
    pub(crate) fn coded(view: &View, partial: &RecordBatch) -> Result<Self, Error> {
        let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let mut columns = partial.columns().to_vec();
        for (at, dimension) in view.dimensions.iter().enumerate() {
            if dimension.column_type() == ColumnType::String {
                columns[1 + at] = cast(&columns[1 + at], &coded)?;
            }
        }
        let names = partial.schema_ref().fields().iter().map(|field| field.name().clone());
        Ok(RecordBatch::try_from_iter_with_nullable(names.zip(columns).map(|(name, column)| (name, column, true)))?
            .into())
    }

    /// The partial itself.
    pub(crate) fn partial(&self) -> &RecordBatch {
        &self.partial
    }

    /// The partial without codes.
    #[cfg(test)]
    pub(crate) fn decoded(&self) -> RecordBatch {
        let names = self.partial.schema_ref().fields().iter().map(|field| field.name().clone());
        let columns = self.partial.columns().iter().map(|column| match column.data_type() {
            DataType::Dictionary(..) => cast(column, &DataType::Utf8).expect("codes are of texts"),
            _ => Arc::clone(column),
        });
        let columns = names.zip(columns).map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("the columns are of one length")
    }

    /// The roll-ups that there are.
    pub(crate) fn rolled(&self) -> Vec<RollUp> {
        let rolled = self.lock();
        rolled.iter().filter(|(_, made)| matches!(made, Made::Ready(_))).map(|(wanted, _)| wanted.clone()).collect()
    }

    /// Makes roll-ups before they are asked for. CPU work.
    pub(crate) fn roll_up(&self, view: &View, wanted: impl IntoIterator<Item = RollUp>) -> Result<(), Error> {
        for wanted in wanted {
            self.make(view, &wanted)?;
        }
        Ok(())
    }

    /// Rows that together are the table's of buckets in `[from_us, to_us)`, as few as there are.
    pub(crate) fn slices(&self, view: &View, wanted: &Wanted, from_us: i64, to_us: i64) -> Result<Vec<Slice>, Error> {
        let whole = in_range(&self.partial, from_us, to_us);
        let dimensions = view.dimensions.len();
        if whole.num_rows() < ROLL_UP_ROWS_MIN {
            return Ok(slice(whole, None, dimensions));
        }
        let mut slices = Vec::new();
        let mut edges = vec![(from_us, to_us)];
        if let Some(coarse) = &wanted.coarse {
            let (from, to) = inside(coarse.grain, from_us, to_us);
            if from < to
                && let Some(rows) = self.rolled_up(view, coarse)?
            {
                slices.extend(slice(in_range(&rows, from, to), Some(coarse), coarse.dimensions.len()));
                edges = vec![(from_us, from), (to, to_us)];
            }
        }
        for (from, to) in edges.into_iter().filter(|(from, to)| from < to) {
            let rows = in_range(&self.partial, from, to);
            let fine = wanted.fine.as_ref().filter(|_| rows.num_rows() >= ROLL_UP_ROWS_MIN);
            let rolled = fine.map(|fine| self.rolled_up(view, fine)).transpose()?.flatten();
            slices.extend(match (fine, rolled) {
                (Some(fine), Some(rolled)) => slice(in_range(&rolled, from, to), Some(fine), fine.dimensions.len()),
                _ => slice(rows, None, dimensions),
            });
        }
        Ok(slices)
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
        let rows = rolled(view, wanted, &self.partial)?;
        let rows = rows.filter(|rows| rows.num_rows() * ROLL_UP_RATIO <= self.partial.num_rows());
        let made = rows.clone().map_or(Made::Useless, Made::Ready);
        self.lock().insert(wanted.clone(), made);
        Ok(rows)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RollUp, Made>> {
        // Each entry is whole at any moment.
        self.rolled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slice(rows: RecordBatch, layout: Option<&RollUp>, dimensions: usize) -> Vec<Slice> {
    if rows.num_rows() == 0 { Vec::new() } else { vec![Slice { rows, layout: layout.cloned(), dimensions }] }
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
fn rolled(view: &View, wanted: &RollUp, partial: &RecordBatch) -> Result<Option<RecordBatch>, Error> {
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
