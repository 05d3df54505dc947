//! Sorting items by group, where few of many groups have some: by counting, without going through the others.

use std::mem;

/// Sorts items by group; what it takes to count them is kept.
#[derive(Debug, Default)]
pub(super) struct ByGroup {
    /// 0 of each group, but while items are sorted.
    next: Vec<u32>,
}

/// Items, those of each group side by side.
pub(super) struct Sorted<T> {
    pub(super) items: Vec<T>,
    /// The groups that have some, as they are first met, with where theirs end.
    pub(super) groups: Vec<(u32, u32)>,
}

impl ByGroup {
    /// `items`, each with its group, of which there are `groups`.
    pub(super) fn sort<T: Copy + Default>(&mut self, items: &[(u32, T)], groups: usize) -> Sorted<T> {
        let Self { next } = self;
        next.resize(groups, 0);
        // One more is written than counts: whether a group is met for the first time nobody can guess.
        let mut met = vec![(0, 0); groups.min(items.len()) + 1];
        let mut last = 0;
        for &(group, _) in items {
            let count = &mut next[group as usize];
            met[last].0 = group;
            last += usize::from(*count == 0);
            *count += 1;
        }
        met.truncate(last);
        let mut end = 0;
        for (group, of_group) in &mut met {
            let count = mem::replace(&mut next[*group as usize], end);
            end += count;
            *of_group = end;
        }
        let mut sorted = vec![T::default(); items.len()];
        for &(group, item) in items {
            let at = &mut next[group as usize];
            sorted[*at as usize] = item;
            *at += 1;
        }
        met.iter().for_each(|&(group, _)| next[group as usize] = 0);
        Sorted { items: sorted, groups: met }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.next.capacity() * size_of::<u32>()
    }
}
