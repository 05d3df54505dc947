//! Words of 64 bits of each group, side by side: what a row touches of its group is in one or two lines of the cache.

/// Where a group is: the number of one of several tables, and of a group in it.
pub(crate) type Place = (u32, u32);

/// The first word of a group is its key, which is the caller's; those after it are states, which are those of
/// [`Words`](super::words::Words).
#[derive(Debug)]
pub(crate) struct Records {
    words: Vec<u64>,
    groups: usize,
    /// The words of a group that is new, but for its key.
    new: Box<[u64]>,
}

impl Default for Records {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Records {
    /// No groups; `states` are the words of a new one after its key.
    pub(super) fn new(states: &[u64]) -> Self {
        Self { words: Vec::new(), groups: 0, new: [&[0][..], states].concat().into() }
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups
    }

    /// How many words each group has.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.new.len()
    }

    /// Whether groups have more than their key.
    pub(crate) fn has_states(&self) -> bool {
        self.width() > 1
    }

    /// All words, group by group.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// All words, group by group.
    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The key of a group; `None` if there is no such group.
    #[inline(always)]
    pub(crate) fn get(&self, group: usize) -> Option<u64> {
        self.words.get(group.wrapping_mul(self.width())).copied()
    }

    /// The key of a group.
    #[inline(always)]
    pub(crate) fn key(&self, group: usize) -> u64 {
        self.words[group * self.width()]
    }

    /// The keys of all groups.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.words.iter().step_by(self.width()).copied()
    }

    /// The keys of all groups.
    pub(crate) fn keys_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let width = self.width();
        self.words.iter_mut().step_by(width)
    }

    /// Adds a group.
    #[inline(always)]
    pub(crate) fn push(&mut self, key: u64) {
        if self.words.capacity() - self.words.len() < self.width() {
            self.make_room();
        }
        let at = self.words.len();
        append(&mut self.words, &self.new);
        self.words[at] = key;
        self.groups += 1;
    }

    /// By half: what is not written to yet is no memory yet.
    #[cold]
    fn make_room(&mut self) {
        const GROUPS_MIN: usize = 16;
        self.words.reserve_exact((self.words.len() / 2).max(GROUPS_MIN * self.width()));
    }

    /// Adds groups that have a key only.
    pub(crate) fn extend(&mut self, keys: &[u64]) {
        debug_assert!(!self.has_states(), "states are of groups that are found");
        self.words.extend_from_slice(keys);
        self.groups += keys.len();
    }

    /// From now on groups have keys only.
    pub(super) fn forget_states(&mut self) {
        *self = Self { words: self.keys().collect(), groups: self.groups, ..Self::default() };
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.words[..])
    }

    /// Forgets the groups; if there was room for many more, it is given back.
    pub(crate) fn clear(&mut self) {
        /// More words to spare than this are not kept.
        const SPARE_MAX: usize = 1 << 16;
        if self.words.capacity() > SPARE_MAX && self.words.capacity() / 8 > self.words.len() {
            self.words = Vec::new();
        } else {
            self.words.clear();
        }
        self.groups = 0;
    }
}

/// Appends a record: of so few words that a call to copy them would take longer.
#[inline(always)]
fn append(words: &mut Vec<u64>, record: &[u64]) {
    record.iter().for_each(|&word| words.push(word));
}
