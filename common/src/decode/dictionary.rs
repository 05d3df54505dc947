//! Distinct texts as small numbers. The numbers are given in the order the texts came, so they depend on nothing else.

use super::window::{self, WIDTH, Window, words};

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
    head: Window,
}

impl<'a> Key<'a> {
    /// The key of `text`.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut head = [0; WIDTH];
        let seen = text.len().min(WIDTH);
        head[..seen].copy_from_slice(&text[..seen]);
        Self { text, head }
    }

    /// Appends the text to `bytes`.
    #[inline(always)]
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        if self.text.len() > WIDTH {
            return bytes.extend_from_slice(self.text);
        }
        // As much as always is copied without a call.
        let length = bytes.len() + self.text.len();
        bytes.extend_from_slice(&self.head);
        bytes.truncate(length);
    }

    /// The key of `text`, which is what `window` shows, or as much of it.
    #[inline(always)]
    pub(super) fn seen(window: &Window, text: &'a [u8]) -> Self {
        let mut head = *window;
        for (byte, mask) in head.iter_mut().zip(window::mask(text.len())) {
            *byte &= mask;
        }
        Self { text, head }
    }

    /// Folded multiplications, as in wyhash, whose constants these are.
    #[inline(always)]
    fn hash(&self) -> u64 {
        let mix = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product >> 64) as u64 ^ product as u64
        };
        let [a, b, c, d] = words(&self.head);
        let length = self.text.len() as u64;
        let head = mix(a ^ 0xa076_1d64_78bd_642f, b ^ 0xe703_7ed1_a0b4_28db ^ length);
        let tail = mix(c ^ 0x8ebc_6af0_9c88_c6e3, d ^ 0x5899_65cc_7537_4cc3);
        let mut hash = head ^ tail;
        if self.text.len() > WIDTH {
            for eight in self.text[WIDTH..].chunks(8) {
                let word = eight.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
                hash = mix(hash ^ word, 0x1d8e_4e27_c47d_124f);
            }
        }
        hash
    }
}

/// A text that has a number.
#[derive(Debug)]
struct Entry {
    head: Window,
    hash: u64,
    length: usize,
}

/// Distinct texts, numbered from 0.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// The numbers, each near the place that its text's hash says; a power of two of slots, at least half of them empty.
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
            if entry.head == key.head
                && entry.length == key.text.len()
                && (entry.length <= WIDTH || self.text(code) == key.text)
            {
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
        if self.len() * 2 > self.slots.len() {
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

    use super::{super::window::Padded, *};

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
            let mut padded = Padded::default();
            for (text, code) in expected {
                prop_assert_eq!(dictionary.text(code), text.as_bytes());
                // What follows a text must not matter.
                padded.set(&[text.as_bytes(), b"\"and more"].concat());
                let key = Key::seen(padded.window(0), text.as_bytes());
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
