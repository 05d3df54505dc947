//! Which groups have had an input at all. Nearly always all of them have: then nothing is kept, and no loop touches it.

use arrow::buffer::NullBuffer;

use super::rows::{Rows, grow};

/// Calls `visit(row, group)` for every row that is not null, and notes in `seen`, if it is kept, that its group has an input.
#[inline(always)]
pub(super) fn each(
    rows: Rows<'_>,
    nulls: Option<&NullBuffer>,
    seen: Option<&mut [bool]>,
    mut visit: impl FnMut(usize, usize),
) {
    match seen {
        None => rows.for_each(nulls, visit),
        Some(seen) => rows.for_each(nulls, |row, group| {
            seen[group] = true;
            visit(row, group);
        }),
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    groups: usize,
    /// Of each group, if not all have had one.
    each: Option<Vec<bool>>,
}

impl Seen {
    /// Makes room for `groups` groups. Where `covered`, every one that is new has an input among the rows that come now. `None` if
    /// all groups have had one then; else what is to be set for each of the rows.
    pub(super) fn grow(&mut self, groups: usize, covered: bool) -> Option<&mut [bool]> {
        if !covered && groups > self.groups && self.each.is_none() {
            self.each = Some(vec![true; self.groups]);
        }
        self.groups = groups;
        let each = self.each.as_mut()?;
        grow(each, groups, false);
        Some(each)
    }

    /// Whether a group has had one.
    #[inline(always)]
    pub(super) fn has(&self, group: usize) -> bool {
        self.each.as_ref().is_none_or(|each| each[group])
    }

    /// [`Self::grow`] for groups that come from elsewhere, where those of `rows` have had one as `theirs` says.
    pub(super) fn absorb(&mut self, groups: usize, rows: Rows<'_>, theirs: &Self) {
        if let Some(each) = self.grow(groups, rows.covers() && theirs.each.is_none()) {
            rows.for_each(None, |row, group| each[group] |= theirs.has(row));
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.each.as_ref().map_or(0, Vec::capacity)
    }

    /// The nulls of a column of states, group `order[i]` in row `i`; `None` if there are none. Forgets the groups.
    pub(super) fn take(&mut self, order: &[u32]) -> Option<NullBuffer> {
        let each = std::mem::take(self).each?;
        let nulls: NullBuffer = order.iter().map(|&group| each[group as usize]).collect::<Vec<_>>().into();
        Some(nulls).filter(|nulls| nulls.null_count() > 0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_until_a_new_group_has_no_input() {
        let mut seen = Seen::default();
        assert!(seen.grow(2, true).is_none());
        assert!(seen.grow(2, false).is_none(), "no group is new");
        assert!(seen.bytes() == 0 && seen.has(1));

        seen.grow(4, false).unwrap()[3] = true;
        assert_eq!([0, 1, 2, 3].map(|group| seen.has(group)), [true, true, false, true]);
        seen.grow(5, true).unwrap()[4] = true;
        let nulls = seen.take(&[4, 2, 0]).unwrap();
        assert_eq!(nulls.iter().collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(seen.bytes(), 0, "it is as new");

        let mut theirs = Seen::default();
        theirs.grow(2, false).unwrap()[1] = true;
        assert!(seen.grow(1, true).is_none());
        seen.absorb(3, Rows::selected(&[1, 2], &[0, 1]), &theirs);
        assert_eq!([0, 1, 2].map(|group| seen.has(group)), [true, false, true]);
    }
}
