//! Byte strings as small numbers: each distinct one is kept once.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Distinct byte strings, numbered from 0 in the order they came.
#[derive(Debug, Default)]
pub(super) struct Interner {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<u32>,
}

impl Interner {
    /// The number of `value`; the next one if it is new. `None` if there are 2^32 already.
    pub(super) fn intern(&mut self, value: &[u8]) -> Option<u32> {
        let hash = xxh3_64(value);
        let Self { bytes, ends, table } = self;
        if let Some(&id) = table.find(hash, |&id| get(bytes, ends, id) == value) {
            return Some(id);
        }
        let id = u32::try_from(ends.len()).ok()?;
        bytes.extend_from_slice(value);
        ends.push(bytes.len());
        table.insert_unique(hash, id, |&id| xxh3_64(get(bytes, ends, id)));
        Some(id)
    }

    /// The byte string of a number.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        get(&self.bytes, &self.ends, id)
    }

    /// For each number, how many of the byte strings order before its own.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut by_bytes: Vec<(u64, u32)> = (0..self.ends.len() as u32).map(|id| (prefix(self.get(id)), id)).collect();
        // The first eight bytes decide nearly always, without a look elsewhere.
        by_bytes.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.get(a.1).cmp(self.get(b.1))));
        let mut ranks = vec![0; by_bytes.len()];
        for (rank, &(_, id)) in by_bytes.iter().enumerate() {
            ranks[id as usize] = rank as u32;
        }
        ranks
    }

    /// How many byte strings there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.table.allocation_size()
    }
}

fn get<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &bytes[start..ends[id]]
}

/// The first eight bytes as a number that orders as they do.
fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = bytes.len().min(8);
    first[..n].copy_from_slice(&bytes[..n]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_by_bytes() {
        let mut interner = Interner::default();
        let texts = ["b", "", "a", "a\0", "abcdefghi", "abcdefgh", "é", "abcdefghz", "a"];
        let ids: Vec<u32> = texts.iter().map(|t| interner.intern(t.as_bytes()).unwrap()).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7, 2]);
        let ranks = interner.ranks();
        let mut sorted = texts[..8].to_vec();
        sorted.sort_unstable();
        for (id, text) in texts[..8].iter().enumerate() {
            assert_eq!(sorted[ranks[id] as usize], *text);
        }
    }
}
