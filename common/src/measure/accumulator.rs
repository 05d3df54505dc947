//! Accumulators: one state of all groups of a table, as a column, so that loops are tight and know their type.

use std::{any::Any, fmt::Debug};

use arrow::array::ArrayRef;

use super::{
    Error, StateFunction, StateSpec, WIDE_SUM,
    count::Count,
    distinct::Distinct,
    encoded::EncodedStates,
    extreme::{self, Extreme, Texts},
    histogram::Histogram,
    input::Input,
    pick::{Layout, Pick},
    quantiles::Quantiles,
    rows::Rows,
    spec::sum_width,
    squares::{self, Squares},
    sum::{NarrowSum, WideSum},
    top_k::TopK,
};
use crate::schema::ColumnType;

/// One state of all groups. Groups are numbered from 0; those not yet touched have the identity.
pub(crate) trait Accumulator: Any + Debug + Send + Sync {
    /// Adds the inputs of `rows` to their groups, of which there are `groups` now: a column for each of the state's
    /// [`inputs`](StateSpec::inputs), so none for `count(*)`.
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error>;

    /// Merges a column of states into the groups of `rows`.
    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error>;

    /// Merges groups of `from`, an accumulator of the same state, without encoding them: a row is a group of it. What it has
    /// of them then may be anything. `None` if this kind of state has no such short cut.
    fn absorb(&mut self, _groups: usize, _rows: Rows<'_>, _from: &mut dyn Any) -> Option<Result<(), Error>> {
        None
    }

    /// Takes the states of all groups as they are kept, each by itself, if that is encoded; group by group. `None` if a column is how
    /// this kind of state is better kept.
    fn take_encoded(&mut self) -> Option<Result<EncodedStates, Error>> {
        None
    }

    /// Bytes held, about; asked for after every batch, so it must not go through the groups.
    fn bytes(&self) -> usize;

    /// Takes the states of all groups as a canonical column, group `order[i]` in row `i`, and forgets the groups.
    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error>;
}

/// States of one table, each with its number among those of its view.
pub(crate) type States = Vec<(usize, Box<dyn Accumulator>)>;

/// The input of a state that has one.
pub(super) fn only<'a>(inputs: &[&'a Input]) -> &'a Input {
    match inputs {
        [input] => input,
        _ => unreachable!("the state has one input, not {}", inputs.len()),
    }
}

impl StateSpec {
    /// An empty accumulator of this state.
    pub(crate) fn accumulator(&self) -> Box<dyn Accumulator> {
        let name = self.name();
        let pick = |name, greatest| Box::new(Pick::new(name, Layout::of(&self.inputs), greatest));
        match self.function {
            StateFunction::Count => Box::new(Count::new(name)),
            StateFunction::Sum if sum_width(self.input_type()) == WIDE_SUM => Box::new(WideSum::new(name)),
            StateFunction::Sum => Box::new(NarrowSum::new(name)),
            StateFunction::Min => extreme_of(name, self.input_type(), false),
            StateFunction::Max => extreme_of(name, self.input_type(), true),
            StateFunction::Squares if squares::words(self.input_type()) == squares::NARROW_WORDS => {
                Box::new(Squares::<{ squares::NARROW_WORDS }>::new(name))
            }
            StateFunction::Squares => Box::new(Squares::<{ squares::WIDE_WORDS }>::new(name)),
            StateFunction::First | StateFunction::ArgMin => pick(name, false),
            StateFunction::Last | StateFunction::ArgMax => pick(name, true),
            StateFunction::TopK => Box::new(TopK::new(name, self.input_type())),
            StateFunction::Histogram(ref edges) => Box::new(Histogram::new(name, edges.clone())),
            StateFunction::Distinct { precision } => Box::new(Distinct::new(name, precision)),
            StateFunction::Quantiles { relative_error } => {
                Box::new(Quantiles::new(name, relative_error, self.input_type()))
            }
        }
    }
}

fn extreme_of(name: String, input: ColumnType, greatest: bool) -> Box<dyn Accumulator> {
    match input {
        ColumnType::Int | ColumnType::Timestamp => Box::new(Extreme::<extreme::Ints>::new(name, input, greatest)),
        ColumnType::Double => Box::new(Extreme::<extreme::Doubles>::new(name, input, greatest)),
        ColumnType::Decimal { .. } => Box::new(Extreme::<extreme::Decimals>::new(name, input, greatest)),
        ColumnType::Bool => Box::new(Extreme::<extreme::Bools>::new(name, input, greatest)),
        ColumnType::String => Box::new(Texts::new(name, greatest)),
    }
}
