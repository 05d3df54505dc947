//! The names of one object's members as they are written: from the byte after `{` or `,` up to the value, white space and all.
//!
//! Each spelling is found by a few of its bytes. All of this is guessing: what is not found here is looked up in the schema.

use super::{
    dictionary::{Dictionary, Key},
    glue::Glue,
    shape::Target,
    vector::{Half, half_at},
};

/// Most spellings of names that one object's reader remembers, those that lead to no column among them.
const NAMES_MAX: usize = 1024;

/// Longer ones are not remembered.
const LENGTH_MAX: usize = 256;

/// Places for guesses at a name; a power of two.
const GUESSES: usize = 256;

/// How many of them are looked at for one name.
const GUESSES_TRIED: usize = 4;

/// No spelling has this number.
const NONE: u16 = u16::MAX;

/// A name as it was last written.
#[derive(Debug, Clone)]
pub(super) struct Spelling {
    pub(super) written: Glue,
    /// What it leads to.
    pub(super) target: Option<Target>,
    /// The column, if it leads to one; else a number greater than all.
    pub(super) column: usize,
}

/// What is known of one object of the schema: how its names were written.
#[derive(Debug)]
pub(super) struct Spellings {
    known: Vec<Spelling>,
    /// The names as they stand between their quotes, each under the number of its spelling.
    names: Dictionary,
    /// Numbers of spellings, each near the place that its [`hint`] says.
    guesses: [u16; GUESSES],
    /// The record in which this object or array was read last.
    pub(super) record: u64,
}

impl Spellings {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { known: Vec::new(), names: Dictionary::default(), guesses: [NONE; GUESSES], record: 0 }
    }

    /// The spelling that stands at byte `at`, if a few guesses find it.
    #[inline(always)]
    pub(super) fn guess(&self, bytes: &[u8], at: usize) -> Option<&Spelling> {
        let seen: &Half = bytes.get(at..)?.first_chunk()?;
        let place = hint(seen);
        let spelling = self.known.get(usize::from(self.guesses[place]))?;
        let written = &spelling.written;
        if written.starts_with(seen) && (written.length <= seen.len() || written.goes_on_at(bytes, at)) {
            return Some(spelling);
        }
        self.guess_again(bytes, at, place)
    }

    #[inline(never)]
    fn guess_again(&self, bytes: &[u8], at: usize, place: usize) -> Option<&Spelling> {
        let others = (place + 1..place + GUESSES_TRIED).map(|place| self.guesses[place % GUESSES]);
        let mut others = others.filter_map(|number| self.known.get(usize::from(number)));
        others.find(|spelling| spelling.written.is_at(bytes, at))
    }

    /// The spelling of `name` if that is what stands at byte `at`.
    pub(super) fn find(&self, name: &[u8], bytes: &[u8], at: usize) -> Option<&Spelling> {
        let spelling = self.known.get(self.names.find(&Key::new(name))? as usize)?;
        spelling.written.is_at(bytes, at).then_some(spelling)
    }

    /// Remembers that `name`, without quotes, was found at bytes `[from, to)`, unless it is too long or there is no room.
    pub(super) fn learn(&mut self, name: &[u8], bytes: &[u8], (from, to): (usize, usize), target: Option<Target>) {
        if to - from > LENGTH_MAX {
            return;
        }
        let Some(number) = self.names.intern(&Key::new(name), |names, _| names <= NAMES_MAX) else { return };
        let column = match target {
            Some(Target::Column(column)) => column,
            _ => usize::MAX,
        };
        let spelling = Spelling { written: Glue::new(&bytes[from..to]), target, column };
        match self.known.get_mut(number as usize) {
            None => self.known.push(spelling),
            Some(known) => *known = spelling,
        }
        let (Some(seen), Ok(number)) = (half_at(bytes, from), u16::try_from(number)) else { return };
        let place = hint(seen);
        let mut places = (place..place + GUESSES_TRIED).map(|place| place % GUESSES);
        let free = places.find(|&place| [NONE, number].contains(&self.guesses[place]));
        self.guesses[free.unwrap_or(place)] = number;
    }
}

/// Where in [`Spellings::guesses`] to look for the name that `seen` starts with, maybe after a space: from its first eight bytes,
/// or as many as it has up to its quote.
#[inline(always)]
fn hint(seen: &Half) -> usize {
    let [space, _, after_space @ ..] = seen;
    let [_, after_quote @ ..] = seen;
    let after = if *space == b' ' { after_space.first_chunk() } else { after_quote.first_chunk() };
    let name = first_text(after.map_or(0, |name| u64::from_le_bytes(*name)));
    (name.wrapping_mul(0xa076_1d64_78bd_642f) >> (u64::BITS - GUESSES.ilog2())) as usize
}

/// `word` up to its first quote, that included, and zeros after.
#[inline(always)]
fn first_text(word: u64) -> u64 {
    // As in "Bit Twiddling Hacks", determine if a word has a zero byte: the lowest bit set is the top bit of the first.
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let differs = word ^ (ONES * b'"' as u64);
    let quotes = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
    word & (quotes ^ quotes.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[ab]{0,3}|[a-c]{7,9}|[a-z]{1,300}|ä[a-z]{6,40}", 0..60)
    }

    proptest! {
        #[test]
        fn what_is_guessed_stands_there(names in names(), space in "[ \n]{0,2}", asked in names()) {
            let mut spellings = Spellings::new();
            let write = |name: &str| format!("{space}\"{name}\":{space}1{}", " ".repeat(99)).into_bytes();
            let length = |name: &str| name.len() + 3 + 2 * space.len();
            for (column, name) in names.iter().enumerate() {
                let bytes = write(name);
                spellings.learn(name.as_bytes(), &bytes, (0, length(name)), Some(Target::Column(column)));
            }
            let mut guessed = 0;
            for name in names.iter().chain(&asked) {
                let (bytes, expected) = (write(name), names.iter().rposition(|other| other == name));
                let expected = expected.filter(|_| length(name) <= LENGTH_MAX);
                let found = spellings.find(name.as_bytes(), &bytes, 0).map(|spelling| spelling.column);
                prop_assert_eq!(found, expected);
                if let Some(spelling) = spellings.guess(&bytes, 0) {
                    prop_assert_eq!((Some(spelling.column), spelling.written.length), (expected, length(name)));
                    guessed += 1;
                }
            }
            prop_assert!(guessed > 0 || names.iter().all(|name| length(name) > LENGTH_MAX));
        }

        #[test]
        fn a_text_ends_at_its_first_quote(bytes in proptest::array::uniform8(prop_oneof![Just(b'"'), Just(b'#'), any::<u8>()])) {
            let length = bytes.iter().position(|&byte| byte == b'"').map_or(8, |at| at + 1);
            let text = first_text(u64::from_le_bytes(bytes)).to_le_bytes();
            prop_assert_eq!(&text[..length], &bytes[..length]);
            prop_assert!(text[length..].iter().all(|&byte| byte == 0));
        }
    }
}
