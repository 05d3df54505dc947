//! Counts, sums, minima and maxima as words of a group's [record](Records): a row changes all of them at one place in memory.
//!
//! So they are kept as long as nothing stands against it: inputs are ints, time stamps or short decimals, none is null, and sums fit
//! 64 bits. The first batch for which something does turns them into columns, as all other states are, for the rest of the
//! table's life. What is said of it here by `false` changed nothing but minima and maxima, to which the same is then
//! brought again.

use std::{borrow::Cow, mem, sync::Arc};

use arrow::array::{Array, ArrayRef, Int64Array};

use super::{
    Error, NARROW_SUM, StateFunction, StateSpec,
    accumulator::States,
    count::counts,
    extreme::{Decimals, Fixed, Ints},
    input::Input,
    records::{Place, Records},
    rows::Rows,
    spec::sum_width,
    sum,
};
use crate::schema::ColumnType;

/// Rows whose groups' records stay in the first cache while each word of them is changed in turn.
const BLOCK: usize = 256;

/// The states of a table that are words, in the order of the view's states.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<Word>);

/// A state that is a word.
#[derive(Debug)]
struct Word {
    /// Its number among the view's states.
    state: usize,
    spec: StateSpec,
    change: Change,
    /// Which word of a record.
    at: usize,
}

/// What a row does to a word.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Add,
    Least,
    Greatest,
}

/// What rows change a word by.
#[derive(Debug)]
enum By<'a> {
    One,
    /// An int a row.
    Ints(Cow<'a, [i64]>),
    /// The same word of records of which each row is one.
    Records(&'a Records),
}

impl Change {
    /// What happens to a word of this state; `None` if the state is no word.
    fn of(spec: &StateSpec) -> Option<Self> {
        let input = spec.input_type();
        let is_int = matches!(input, ColumnType::Int | ColumnType::Timestamp | ColumnType::Decimal { .. });
        let is_short = is_int && sum_width(input) == NARROW_SUM;
        match spec.function {
            _ if spec.filter.is_some() => None,
            StateFunction::Count => Some(Self::Add),
            StateFunction::Sum if is_short => Some(Self::Add),
            StateFunction::Min if is_short => Some(Self::Least),
            StateFunction::Max if is_short => Some(Self::Greatest),
            _ => None,
        }
    }

    /// The word of a group that has had no input.
    fn identity(self) -> i64 {
        match self {
            Self::Add => 0,
            Self::Least => i64::MAX,
            Self::Greatest => i64::MIN,
        }
    }
}

impl Words {
    /// Those of `specs` that are words, and records of no groups that have them.
    pub(crate) fn of(specs: &[StateSpec]) -> (Self, Records) {
        let (mut words, mut new, mut count) = (Vec::new(), Vec::new(), None);
        for (state, spec) in specs.iter().enumerate() {
            let Some(change) = Change::of(spec) else { continue };
            let mut next = || {
                new.push(change.identity() as u64);
                new.len()
            };
            // Without nulls all counts are the same number.
            let at = if spec.function == StateFunction::Count { *count.get_or_insert_with(next) } else { next() };
            words.push(Word { state, spec: spec.clone(), change, at });
        }
        (Self(words), Records::new(&new))
    }

    /// Whether no state is a word, or none is any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers of the states that are words.
    pub(crate) fn states(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|word| word.state)
    }

    /// Adds the inputs of `rows`, `inputs(state)` being those of each state, to the records of their groups. `false` if the states
    /// can no more be words.
    #[must_use]
    pub(crate) fn update<'a>(
        &self,
        records: &mut Records,
        rows: Rows<'_>,
        inputs: impl Fn(usize) -> &'a [&'a Input],
    ) -> bool {
        let by = |word: &Word| {
            let inputs = inputs(word.state);
            match (&word.spec.function, inputs) {
                _ if inputs.iter().any(|input| input.nulls().is_some()) => None,
                (StateFunction::Count, _) => Some(By::One),
                (_, [input]) => input.ints().map(|ints| By::Ints(ints.into())),
                _ => None,
            }
        };
        self.change_all(records, rows, by)
    }

    /// Merges columns of the view's states into the records of the groups of `rows`. `false` if the states can no more be words,
    /// or a column is not what it should be.
    #[must_use]
    pub(crate) fn merge(&self, records: &mut Records, rows: Rows<'_>, states: &[ArrayRef]) -> bool {
        let of_count = |word: &&Word| word.spec.function == StateFunction::Count;
        let mut counted =
            self.0.iter().filter(of_count).map(|word| states.get(word.state).map(|state| state.to_data()));
        let first = counted.next();
        counted.all(|count| Some(count) == first) && self.change_all(records, rows, |word| word.read(states))
    }

    /// Merges groups of `from`, records of the same words, into those of `rows`, of which each is a group of it. `false` if the
    /// states can no more be words.
    #[must_use]
    pub(crate) fn absorb(&self, records: &mut Records, rows: Rows<'_>, from: &Records) -> bool {
        self.change_all(records, rows, |_| Some(By::Records(from)))
    }

    fn change_all<'a>(&self, records: &mut Records, rows: Rows<'_>, by: impl Fn(&Word) -> Option<By<'a>>) -> bool {
        let mut changes = Vec::with_capacity(self.0.len());
        for word in &self.0 {
            let Some(by) = by(word) else { return false };
            if changes.iter().all(|(other, _): &(&Word, _)| other.at != word.at) {
                changes.push((word, by));
            }
        }
        let mut over = false;
        for block in rows.blocks(BLOCK) {
            for (word, by) in &changes {
                over |= word.change(records, block, by);
            }
        }
        if over {
            // Sums that wrapped around are right again once the same is taken from them.
            let added = changes.iter().filter(|(word, _)| word.change == Change::Add);
            added.for_each(|(word, by)| word.take_back(records, rows, by));
        }
        !over
    }

    /// The columns of the states, each with its number: group `order[i]` in row `i`.
    pub(crate) fn columns(&self, records: &Records, order: &[u32]) -> Vec<(usize, ArrayRef)> {
        self.0.iter().map(|word| (word.state, word.column(records, order))).collect()
    }

    /// [`Self::columns`] of groups of several tables: the one at `places[i]`, in which of `records`, in row `i`.
    pub(crate) fn gather(&self, records: &[&Records], places: &[Place]) -> Vec<(usize, ArrayRef)> {
        let width = records.first().map_or(1, |records| records.width());
        let records: Vec<&[u64]> = records.iter().map(|records| records.words()).collect();
        let mut words: Vec<Vec<i64>> = (1..width).map(|_| Vec::with_capacity(places.len())).collect();
        for block in places.chunks(BLOCK) {
            for (at, column) in (1..).zip(&mut words) {
                let word = |&(table, group): &Place| records[table as usize][group as usize * width + at] as i64;
                column.extend(block.iter().map(word));
            }
        }
        self.0.iter().map(|word| (word.state, word.array(words[word.at - 1].iter().copied()))).collect()
    }

    /// Makes columns of all states that are words, with their numbers, of the first `groups` groups.
    ///
    /// # Errors
    /// None that a state of so many rows does not have itself.
    pub(crate) fn unpack(&mut self, records: &mut Records, groups: usize) -> Result<States, Error> {
        let order: Vec<u32> = (0..groups as u32).collect();
        let unpacked = mem::take(&mut self.0).into_iter().map(|word| {
            let mut state = word.spec.accumulator();
            if groups > 0 {
                state.merge(groups, Rows::all(&order), &word.column(records, &order))?;
            }
            Ok((word.state, state))
        });
        let unpacked = unpacked.collect();
        records.forget_states();
        unpacked
    }
}

impl Word {
    /// What a column of states changes it by; `None` if that is not what it should be, or has nulls or too large numbers.
    fn read<'a>(&self, states: &'a [ArrayRef]) -> Option<By<'a>> {
        let (name, column) = (self.spec.name(), states.get(self.state)?);
        if column.null_count() > 0 {
            return None;
        }
        let ints = match self.spec.function {
            StateFunction::Count => {
                let counts = counts(&name, column).ok()?;
                counts.iter().all(|&count| count >= 0).then_some(Cow::Borrowed(counts))?
            }
            StateFunction::Sum => {
                let sums = sum::sums(&name, column, NARROW_SUM).ok()?;
                (0..sums.len()).map(|row| i64::try_from(sum::narrow_sum(sums, row)).ok()).collect::<Option<_>>()?
            }
            _ => Input::new(|| name.clone(), Arc::clone(column), self.spec.input_type()).ok()?.ints()?.to_vec().into(),
        };
        Some(By::Ints(ints))
    }

    /// Changes the word of each row's group; whether a sum has wrapped around.
    fn change(&self, records: &mut Records, rows: Rows<'_>, by: &By<'_>) -> bool {
        let mut over = false;
        let mut add = |sum: i64, value: i64| {
            let (sum, wrapped) = sum.overflowing_add(value);
            over |= wrapped;
            sum
        };
        match (self.change, by) {
            (Change::Add, By::One) => self.each(records, rows, |_| 1, &mut add),
            (Change::Add, _) => self.each_by(records, rows, by, &mut add),
            (Change::Least, _) => self.each_by(records, rows, by, i64::min),
            (Change::Greatest, _) => self.each_by(records, rows, by, i64::max),
        }
        over
    }

    /// Undoes an addition.
    #[cold]
    fn take_back(&self, records: &mut Records, rows: Rows<'_>, by: &By<'_>) {
        self.each_by(records, rows, by, i64::wrapping_sub);
    }

    #[inline(always)]
    fn each_by(&self, records: &mut Records, rows: Rows<'_>, by: &By<'_>, change: impl FnMut(i64, i64) -> i64) {
        match by {
            By::One => self.each(records, rows, |_| 1, change),
            By::Ints(ints) => self.each(records, rows, |row| ints[row], change),
            By::Records(from) => {
                let (words, width) = (from.words(), from.width());
                self.each(records, rows, |row| words[row * width + self.at] as i64, change);
            }
        }
    }

    #[inline(always)]
    fn each(
        &self,
        records: &mut Records,
        rows: Rows<'_>,
        value: impl Fn(usize) -> i64,
        mut change: impl FnMut(i64, i64) -> i64,
    ) {
        let (width, at) = (records.width(), self.at);
        let words = records.words_mut();
        rows.for_each(None, |row, group| {
            let word = &mut words[group * width + at];
            *word = change(*word as i64, value(row)) as u64;
        });
    }

    /// Its column, group `order[i]` in row `i`.
    fn column(&self, records: &Records, order: &[u32]) -> ArrayRef {
        let (words, width) = (records.words(), records.width());
        self.array(order.iter().map(|&group| words[group as usize * width + self.at] as i64))
    }

    /// A column of these values of it.
    fn array(&self, values: impl ExactSizeIterator<Item = i64>) -> ArrayRef {
        match (&self.spec.function, self.spec.input_type()) {
            (StateFunction::Count, _) => Arc::new(Int64Array::from_iter_values(values)),
            (StateFunction::Sum, _) => sum::narrow_column(values),
            (_, input @ ColumnType::Decimal { .. }) => Decimals::array(values.map(i128::from).collect(), None, input),
            (_, input) => Ints::array(values.collect(), None, input),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::expression::Expression;

    /// States of ints: the first one is no word.
    fn specs() -> [StateSpec; 5] {
        use StateFunction as F;
        let of = |function| StateSpec::new(function, [Expression::column("x", ColumnType::Int)]);
        [of(F::Distinct { precision: 4 }), of(F::Sum), StateSpec::new(F::Count, None), of(F::Min), of(F::Max)]
    }

    fn input(ints: Vec<Option<i64>>) -> Input {
        Input::new(|| "x".to_owned(), Arc::new(Int64Array::from(ints)), ColumnType::Int).unwrap()
    }

    /// Adds `ints` to two groups in turn.
    fn update(words: &Words, records: &mut Records, ints: Vec<Option<i64>>) -> bool {
        let groups: Vec<u32> = (0..ints.len() as u32).map(|row| row % 2).collect();
        let input = input(ints);
        let inputs = [&input];
        words.update(records, Rows::all(&groups), |state| if state == 2 { &[] } else { &inputs })
    }

    /// The sum, the count, the least and the greatest of each group.
    fn states(words: &Words, records: &Records) -> Vec<Vec<i64>> {
        assert_eq!(words.states().collect::<Vec<_>>(), [1, 2, 3, 4]);
        let state = |record: &[u64]| record[1..].iter().map(|&word| word as i64).collect();
        records.words().chunks(records.width()).map(state).collect()
    }

    #[test]
    fn what_cannot_be_words_changes_no_sum() {
        let (words, mut records) = Words::of(&specs());
        records.push(7);
        records.push(9);
        assert!(update(&words, &mut records, vec![Some(5), Some(-1), Some(3)]));
        assert_eq!(states(&words, &records), [[8, 2, 3, 5], [-1, 1, -1, -1]]);
        assert!(!update(&words, &mut records, vec![Some(4), None, Some(4)]));
        assert!(!update(&words, &mut records, vec![Some(5); 2 * BLOCK].into_iter().chain([Some(i64::MAX)]).collect()));
        assert_eq!(states(&words, &records), [[8, 2, 3, i64::MAX], [-1, 1, -1, 5]]);
        assert_eq!(records.keys().collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn columns_go_on_from_words() {
        let (mut words, mut records) = Words::of(&specs());
        (0..3).for_each(|key| records.push(key));
        assert!(update(&words, &mut records, vec![Some(5), Some(-1), Some(3)]));
        let mut unpacked = words.unpack(&mut records, 2).unwrap();
        assert!(words.is_empty() && records.width() == 1 && records.len() == 3);
        let (state, sum) = &mut unpacked[0];
        sum.update(3, Rows::all(&[0, 2]), &[&input(vec![None, Some(i64::MAX)])]).unwrap();
        assert_eq!(*state, 1);
        let sums = sum.take(&[0, 1, 2]).unwrap();
        let sums = sum::sums("sum", &sums, NARROW_SUM).unwrap();
        assert_eq!([0, 1, 2].map(|row| sum::narrow_sum(sums, row)), [8, -1, i128::from(i64::MAX)]);
    }
}
