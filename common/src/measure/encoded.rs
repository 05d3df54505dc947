//! States that nothing is added to any more and that are bytes: each stays where it was encoded until it is written.

use arrow::array::ArrayRef;

use super::{Error, bytes::ByteColumn, records::Place};

/// The encoded states of all groups of a table; nothing of a group without values.
#[derive(Debug)]
pub(crate) struct EncodedStates {
    name: String,
    of_groups: Vec<Box<[u8]>>,
}

impl EncodedStates {
    /// `of_groups[group]` is the state of each group; the state is called `name` in errors.
    pub(super) fn new(name: String, of_groups: Vec<Box<[u8]>>) -> Self {
        Self { name, of_groups }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let states: usize = self.of_groups.iter().map(|state| state.len()).sum();
        states + self.of_groups.capacity() * size_of::<Box<[u8]>>()
    }

    /// The canonical column of groups of several tables: the one at `places[i]`, in which of `tables`, in row `i`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the column would be larger than 2 GiB.
    pub(crate) fn gather(tables: &[&Self], places: &[Place]) -> Result<ArrayRef, Error> {
        let states = || places.iter().map(|&(table, group)| &*tables[table as usize].of_groups[group as usize]);
        let mut column = ByteColumn::new(tables.first().map_or("", |table| &table.name), places.len());
        column.reserve(states().map(<[u8]>::len).sum())?;
        states().try_for_each(|state| column.push(|bytes| bytes.extend_from_slice(state)))?;
        column.finish().into_binary()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{AsArray, BinaryArray};

    use super::*;

    #[test]
    fn a_column_past_its_offsets_is_an_error_that_names_the_state() {
        const MIB: usize = 1 << 20;
        let large = EncodedStates::new("users".to_owned(), vec![vec![7; MIB].into(), Box::default()]);
        let error = EncodedStates::gather(&[&large], &vec![(0, 0); (1 << 31) / MIB]).unwrap_err();
        assert!(matches!(error, Error::Overflow { ref state, .. } if state == "users"), "{error}");
        let few = EncodedStates::gather(&[&large, &large], &[(0, 1), (1, 0)]).unwrap();
        assert_eq!(few.as_binary::<i32>(), &BinaryArray::from(vec![&[][..], &[7; MIB]]));
    }
}
