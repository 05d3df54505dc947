//! Which rows of a batch go to which groups: the shape of every loop over a column.

use arrow::buffer::NullBuffer;

/// Rows of a batch with their groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    groups: &'a [u32],
    /// The row of the first of these groups, if all rows from there on are meant.
    first: usize,
    selected: Option<&'a [u32]>,
    covers: bool,
}

impl<'a> Rows<'a> {
    /// All rows of a batch, `groups[row]` being the group of each.
    pub(crate) fn all(groups: &'a [u32]) -> Self {
        Self { groups, first: 0, selected: None, covers: true }
    }

    /// The rows `selected[i]`, `groups[i]` being the group of each.
    pub(crate) fn selected(groups: &'a [u32], selected: &'a [u32]) -> Self {
        debug_assert_eq!(groups.len(), selected.len());
        Self { groups, first: 0, selected: Some(selected), covers: true }
    }

    /// Those of the rows `selected[i]` that a filter has left.
    pub(crate) fn filtered(groups: &'a [u32], selected: &'a [u32]) -> Self {
        Self { covers: false, ..Self::selected(groups, selected) }
    }

    /// Whether every group that is new in this batch has a row among these, null or not.
    pub(crate) fn covers(self) -> bool {
        self.covers
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.groups.len()
    }

    /// The same rows, at most so many at a time.
    pub(crate) fn blocks(self, rows: usize) -> impl Iterator<Item = Self> {
        (0..self.len()).step_by(rows).map(move |start| {
            let range = start..self.len().min(start + rows);
            let selected = self.selected.map(|selected| &selected[range.clone()]);
            Self { groups: &self.groups[range], first: self.first + start, selected, ..self }
        })
    }

    /// The first row and the groups of all from there on, if none is left out and none is null.
    pub(crate) fn dense(self, nulls: Option<&NullBuffer>) -> Option<(usize, &'a [u32])> {
        let is_dense = self.selected.is_none() && nulls.is_none_or(|nulls| nulls.null_count() == 0);
        is_dense.then_some((self.first, self.groups))
    }

    /// Calls `visit(row, group)` for every row that is not null.
    ///
    /// The four loops are apart so that the common ones have no branch on what the batch does not have.
    #[inline(always)]
    pub(crate) fn for_each(self, nulls: Option<&NullBuffer>, mut visit: impl FnMut(usize, usize)) {
        match (self.selected, nulls.filter(|n| n.null_count() > 0)) {
            (None, None) => {
                for (row, &group) in (self.first..).zip(self.groups) {
                    visit(row, group as usize);
                }
            }
            (None, Some(nulls)) => {
                for (row, &group) in (self.first..).zip(self.groups) {
                    if nulls.is_valid(row) {
                        visit(row, group as usize);
                    }
                }
            }
            (Some(selected), None) => {
                for (&row, &group) in selected.iter().zip(self.groups) {
                    visit(row as usize, group as usize);
                }
            }
            (Some(selected), Some(nulls)) => {
                for (&row, &group) in selected.iter().zip(self.groups) {
                    if nulls.is_valid(row as usize) {
                        visit(row as usize, group as usize);
                    }
                }
            }
        }
    }
}

/// Makes `states` those of `groups` groups; new ones are `identity`. Grows by a quarter: the states of millions of groups are
/// most of the memory of a fold, and doubling would leave half of it empty.
pub(crate) fn grow<T: Clone>(states: &mut Vec<T>, groups: usize, identity: T) {
    if groups > states.capacity() {
        states.reserve_exact((groups - states.len()).max(states.len() / 4));
    }
    states.resize(groups, identity);
}
