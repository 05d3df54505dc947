//! One view of a fold: what it reads of a batch, and where its groups are kept.

use std::{mem, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray},
    buffer::{BooleanBuffer, MutableBuffer},
    util::bit_util::set_bit,
};

use super::{
    batch::{self, Batch, Reads},
    column::Picked,
    scatter::{Backlog, Layout},
    shards::Shards,
    table::{Events, GroupTable, StateReads},
};
use crate::{
    measure::{Error, input::Input},
    view::View,
};

/// A table of more groups than this is out of the caches.
const NEAR_GROUPS_MAX: usize = if cfg!(test) { 2 } else { 1 << 15 };

/// Rows of which less than this many make one group are better folded where they all come together.
const ROWS_PER_GROUP_MIN: usize = 4;

/// What one view reads, by the numbers that [`Reads`] gave, and where it is folded.
#[derive(Debug)]
pub(super) struct Plan {
    filter: Option<usize>,
    bucket: usize,
    dimensions: Vec<usize>,
    states: Vec<StatePlan>,
    /// The filters of states, each once.
    state_filters: Vec<usize>,
    table: GroupTable,
    /// Rows in the table.
    folded: usize,
    brings: Option<Brings>,
}

/// What one state reads.
#[derive(Debug)]
struct StatePlan {
    inputs: Vec<usize>,
    /// An index into the plan's `state_filters`.
    filter: Option<usize>,
}

/// Where groups are brought, and how.
#[derive(Debug)]
struct Brings {
    shards: Arc<Shards>,
    bytes_max: usize,
    /// What is read besides the bucket, each once: the dimensions, then what only states read.
    columns: Vec<usize>,
    backlog: Backlog,
}

impl Plan {
    pub(super) fn new(view: &View, reads: &mut Reads) -> Self {
        let mut state_filters = Vec::new();
        let states = view.states.iter().map(|state| StatePlan {
            inputs: state.inputs.iter().map(|input| reads.column(input)).collect(),
            filter: state.filter.as_ref().map(|filter| batch::number(&mut state_filters, &reads.filter(filter))),
        });
        Self {
            states: states.collect(),
            filter: view.filter.as_ref().map(|filter| reads.filter(filter)),
            bucket: reads.bucket(&view.time_column, view.grain),
            dimensions: view.dimensions.iter().map(|d| reads.column(&d.input)).collect(),
            state_filters,
            table: GroupTable::of(view),
            folded: 0,
            brings: None,
        }
    }

    /// Brings what is folded to `shards`.
    pub(super) fn bring_to(&mut self, shards: Arc<Shards>, bytes_max: usize) {
        let view = Arc::clone(shards.view());
        let mut columns = Vec::new();
        let mut types = vec![crate::schema::ColumnType::Timestamp];
        let mut place = |number: usize, column_type| {
            let at = batch::number(&mut columns, &number);
            types.resize(types.len().max(at + 2), column_type);
            at + 1
        };
        let dimensions = view.dimensions.iter().zip(&self.dimensions);
        let dimensions = dimensions.map(|(d, &number)| place(number, d.input.column_type()));
        let keys = std::iter::once(0).chain(dimensions).collect();
        let states = view.states.iter().zip(&self.states).map(|(state, plan)| {
            let inputs = state.inputs.iter().zip(&plan.inputs);
            (inputs.map(|(input, &number)| place(number, input.column_type())).collect(), plan.filter)
        });
        let states = states.collect();
        let backlog = Backlog::new(Layout { types, keys, states });
        self.brings = Some(Brings { shards, bytes_max, columns, backlog });
    }

    pub(super) fn table(&mut self) -> &mut GroupTable {
        &mut self.table
    }

    pub(super) fn fold(&mut self, batch: &Batch<'_>, rows: usize) -> Result<(), Error> {
        let selected = self.filter.map(|filter| batch.selected(filter)).transpose()?;
        let picked = Picked { rows, selected };
        let filters = self.state_filters.iter().map(|&filter| batch.selected(filter)).collect::<Result<Vec<_>, _>>()?;
        if let Some(brings) = self.brings.as_mut().filter(|brings| brings.shards.scatters()) {
            let dimensions =
                self.dimensions.iter().map(|&number| batch.column(number)).collect::<Result<Vec<_>, _>>()?;
            let bucket = batch.bucket(self.bucket)?;
            return brings.push(batch, bucket, &dimensions, picked, &filters);
        }
        let mut keys = vec![batch.bucket(self.bucket)?];
        for &dimension in &self.dimensions {
            keys.push(batch.column(dimension)?);
        }
        let mut states = Vec::with_capacity(self.states.len());
        for state in &self.states {
            let inputs = state.inputs.iter().map(|&input| batch.column(input)).collect::<Result<_, _>>()?;
            states.push(StateReads { inputs, filter: state.filter });
        }
        self.table.fold(&keys, &Events { rows, selected, states, filters })?;
        self.folded += picked.len();
        self.look()
    }

    /// Looks whether what is in the table is better brought away.
    fn look(&mut self) -> Result<(), Error> {
        let Some(brings) = &self.brings else { return Ok(()) };
        let many = self.table.len() > NEAR_GROUPS_MAX && self.table.len() * ROWS_PER_GROUP_MIN > self.folded;
        if many {
            brings.shards.scatter();
        }
        if many || self.table.bytes() > brings.bytes_max { self.empty() } else { Ok(()) }
    }

    /// Brings the groups in the table away.
    fn empty(&mut self) -> Result<(), Error> {
        self.bring(Shards::absorb)
    }

    /// Empties the table, if there are groups in it.
    fn bring(&mut self, bring: impl FnOnce(&Shards, GroupTable) -> Result<(), Error>) -> Result<(), Error> {
        let Some(brings) = &self.brings else { return Ok(()) };
        self.folded = 0;
        if self.table.is_empty() {
            return Ok(());
        }
        let empty = GroupTable::of(brings.shards.view());
        bring(&brings.shards, mem::replace(&mut self.table, empty))
    }

    /// Bytes held here, until they are brought away.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes() + self.brings.as_ref().map_or(0, |brings| brings.backlog.bytes())
    }

    /// Brings everything away, groups as they are if few others have the same. Rows wait until those of all are there.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        self.bring(|shards, table| {
            if shards.scatters() {
                return shards.absorb(table);
            }
            shards.keep(table);
            Ok(())
        })?;
        let Some(brings) = &mut self.brings else { return Ok(()) };
        brings.backlog.scatter()?.into_iter().for_each(|rows| brings.shards.push_last(rows));
        Ok(())
    }

    /// Brings everything away.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.empty()?;
        self.brings.as_mut().map_or(Ok(()), Brings::scatter)
    }
}

impl Brings {
    /// Adds the picked rows of a batch.
    fn push(
        &mut self,
        batch: &Batch<'_>,
        bucket: &Input,
        dimensions: &[&Input],
        picked: Picked<'_>,
        filters: &[&[u32]],
    ) -> Result<(), Error> {
        let mut columns = vec![Arc::clone(bucket.array())];
        for &number in &self.columns {
            columns.push(Arc::clone(batch.column(number)?.array()));
        }
        columns.extend(filters.iter().map(|filter| bools(filter, picked.rows)));
        self.backlog.push(dimensions, picked, columns);
        if self.backlog.is_full() { self.scatter() } else { Ok(()) }
    }

    fn scatter(&mut self) -> Result<(), Error> {
        match self.backlog.scatter()? {
            Some(rows) => self.shards.push(rows),
            None => Ok(()),
        }
    }
}

/// An array of `rows` bools that is true at `set`.
fn bools(set: &[u32], rows: usize) -> ArrayRef {
    let mut bits = MutableBuffer::new_null(rows);
    set.iter().for_each(|&row| set_bit(&mut bits, row as usize));
    Arc::new(BooleanArray::new(BooleanBuffer::new(bits.into(), 0, rows), None))
}
