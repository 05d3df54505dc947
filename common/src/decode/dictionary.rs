//! Distinct texts as small numbers. The numbers are given in the order the texts came, so they depend on nothing else.

use super::{
    span::Seen,
    window::{self, WIDTH, words},
};

/// The most slots that are looked at for a new text. There is no secret in the hash, so someone may send texts that all
/// fall on the same slot: then the dictionary is full early, and nothing becomes slow.
const PROBES_MAX: usize = 32;

/// No text has this number.
const NONE: u32 = u32::MAX;

/// A text to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    text: &'a [u8],
    /// What a window shows of the text, and zeros after its end.
    head: [u64; 4],
}

impl<'a> Key<'a> {
    /// The key of `text`.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut window = [0; WIDTH];
        let seen = text.len().min(WIDTH);
        window[..seen].copy_from_slice(&text[..seen]);
        Self { text, head: words(&window) }
    }

    /// The text.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The key of a text in a record.
    #[inline(always)]
    pub(super) fn seen(seen: Seen<'a>) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (words(seen.window), words(window::mask(seen.text.len())));
        Self { text: seen.text, head: [a & e, b & f, c & g, d & h] }
    }

    /// Of a text that a window shows all of.
    #[inline(always)]
    fn hash_short(&self) -> u64 {
        let [a, b, c, d] = self.head;
        let length = self.text.len() as u64;
        // Turned, so that what repeats within a text does not cancel itself.
        let (even, odd) = (a ^ c.rotate_left(29), b ^ d.rotate_left(41));
        mix(even ^ 0xa076_1d64_78bd_642f, odd ^ 0xe703_7ed1_a0b4_28db ^ length)
    }

    #[inline(always)]
    fn hash(&self) -> u64 {
        let mut hash = self.hash_short();
        if self.text.len() > WIDTH {
            for eight in self.text[WIDTH..].chunks(8) {
                let word = eight.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
                hash = mix(hash ^ word, 0x1d8e_4e27_c47d_124f);
            }
        }
        hash
    }
}

/// A folded multiplication, as in wyhash, whose constants are used with it.
#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// A text that has a number.
#[derive(Debug)]
struct Entry {
    head: [u64; 4],
    hash: u64,
    length: usize,
}

impl Entry {
    /// Whether it has the length of `key`'s text and starts like it.
    #[inline(always)]
    fn is(&self, key: &Key<'_>) -> bool {
        let lengths = (self.length ^ key.text.len()) as u64;
        self.head.iter().zip(&key.head).fold(lengths, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// Distinct texts, numbered from 0.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// The numbers, each near the place that its text's hash says; a power of two of slots, at least three in four of them empty:
    /// whether a text is at its own place is then mostly guessed right.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    /// Where each text starts in `bytes`, and where the last one ends.
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { slots: vec![NONE; 16], entries: Vec::new(), offsets: vec![0], bytes: Vec::new() }
    }
}

impl Dictionary {
    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where each text starts, and where the last one ends: one number more than there are texts.
    pub(super) fn offsets(&self) -> &[i32] {
        &self.offsets
    }

    /// The texts, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text of this number.
    pub(super) fn text(&self, code: u32) -> &[u8] {
        let code = code as usize;
        &self.bytes[self.offsets[code] as usize..self.offsets[code + 1] as usize]
    }

    /// The number of a text.
    #[inline]
    pub(super) fn find(&self, key: &Key<'_>) -> Option<u32> {
        self.probe(key, key.hash()).ok()
    }

    /// As [`Self::find`], of a text that a window shows all of.
    #[inline(always)]
    pub(super) fn find_short(&self, key: &Key<'_>) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = key.hash_short() as usize;
        loop {
            let code = *self.slots.get(slot & mask)?;
            let entry = self.entries.get(code as usize)?;
            if entry.is(key) {
                return Some(code);
            }
            slot = slot.wrapping_add(1);
        }
    }

    /// As [`Self::find`]; a text that is new is added, unless `may_grow` says no to the number of texts and of their bytes,
    /// or too many of them fall on the same place.
    #[inline(always)]
    pub(super) fn intern(&mut self, key: &Key<'_>, may_grow: impl FnOnce(usize, usize) -> bool) -> Option<u32> {
        let hash = key.hash();
        match self.probe(key, hash) {
            Ok(code) => Some(code),
            Err(probes) if probes > PROBES_MAX || !may_grow(self.len() + 1, self.bytes.len() + key.text.len()) => None,
            Err(_) => Some(self.insert(key, hash)),
        }
    }

    /// The number of a text, or how many slots were looked at in vain.
    #[inline(always)]
    fn probe(&self, key: &Key<'_>, hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut probes = 0;
        loop {
            let code = self.slots[(hash as usize).wrapping_add(probes) & mask];
            let Some(entry) = self.entries.get(code as usize) else { return Err(probes) };
            if entry.is(key) && (entry.length <= WIDTH || self.text(code) == key.text) {
                return Ok(code);
            }
            probes += 1;
        }
    }

    #[cold]
    fn insert(&mut self, key: &Key<'_>, hash: u64) -> u32 {
        let code = u32::try_from(self.len()).expect("a dictionary has far fewer than 2^32 texts");
        self.bytes.extend_from_slice(key.text);
        self.offsets.push(i32::try_from(self.bytes.len()).expect("a dictionary is far below 2 GiB"));
        self.entries.push(Entry { head: key.head, hash, length: key.text.len() });
        place(&mut self.slots, hash, code);
        if self.len() * 4 > self.slots.len() {
            self.slots = vec![NONE; self.slots.len() * 2];
            for (code, entry) in (0..).zip(&self.entries) {
                place(&mut self.slots, entry.hash, code);
            }
        }
        code
    }
}

fn place(slots: &mut [u32], hash: u64, code: u32) {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != NONE {
        at = (at + 1) & mask;
    }
    slots[at] = code;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn intern(dictionary: &mut Dictionary, text: &[u8]) -> Option<u32> {
        dictionary.intern(&Key::new(text), |_, _| true)
    }

    proptest! {
        #[test]
        fn texts_are_numbered_as_they_come(texts in proptest::collection::vec("[ab\0]{0,3}|[a-c]{7,9}|a{30,34}|.{14,18}", 0..300)) {
            let (mut dictionary, mut expected) = (Dictionary::default(), BTreeMap::new());
            for text in &texts {
                let next = expected.len() as u32;
                let code = *expected.entry(text.as_str()).or_insert(next);
                prop_assert_eq!(intern(&mut dictionary, text.as_bytes()), Some(code));
            }
            prop_assert_eq!(dictionary.len(), expected.len());
            for (text, code) in expected {
                prop_assert_eq!(dictionary.text(code), text.as_bytes());
                prop_assert_eq!(dictionary.find(&Key::new(text.as_bytes())), Some(code));
                // What follows a text must not matter.
                let Some(text) = text.as_bytes().get(..text.len().min(WIDTH)).filter(|start| start.len() == text.len()) else { continue };
                let mut window = [b'"'; WIDTH];
                window[..text.len()].copy_from_slice(text);
                let key = Key::seen(Seen { window: &window, text });
                prop_assert_eq!(dictionary.find_short(&key), Some(code));
                prop_assert_eq!(dictionary.find(&key), Some(code));
            }
        }
    }

    #[test]
    fn it_grows_only_as_it_may() {
        let mut dictionary = Dictionary::default();
        let may_grow = |texts, bytes| texts <= 2 && bytes <= 4;
        for (text, expected) in [("ab", Some(0)), ("abc", None), ("c", Some(1)), ("ab", Some(0)), ("d", None)] {
            assert_eq!(dictionary.intern(&Key::new(text.as_bytes()), may_grow), expected, "{text}");
        }
    }

    #[test]
    fn texts_of_one_place_do_not_make_it_slow() {
        // All fall on a few of the slots, one after the other.
        let slots = 1 << 16;
        let mut dictionary = Dictionary { slots: vec![NONE; slots], ..Dictionary::default() };
        let texts = (0_u64..).map(|n| n.to_string());
        let hostile = texts.filter(|text| Key::new(text.as_bytes()).hash() as usize % slots < 16);
        let refused = hostile.take(200).filter(|text| intern(&mut dictionary, text.as_bytes()).is_none()).count();
        assert!(refused > 100, "{refused} of 200 were refused");
    }
}
