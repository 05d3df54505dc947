//! The names of one object's members as they are written: from the byte after `{` or `,` up to the value, white space and all.
//!
//! Records of one source mostly have the same names in the same order. So the order is kept, as a course of spellings to be
//! compared with what stands there; and each spelling is also found by a few of its bytes, for records that have no order.
//! All of this is guessing: what is not found here is looked up in the schema.

use super::{
    dictionary::{Dictionary, Key},
    shape::Target,
    window::{WIDTH, Window, alike, first_text, word},
};

/// Most spellings of names that one object's reader remembers, those that lead to no column among them.
const NAMES_MAX: usize = 1024;

/// Places for guesses at a name; a power of two.
const GUESSES: usize = 256;

/// How many of them are looked at for one name.
const GUESSES_TRIED: usize = 4;

/// A name as it was last written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spelling {
    /// What a window shows of it, zeros after it, and a bit for each of its bytes.
    written: Window,
    bits: u32,
    /// Which of those known it is.
    number: u16,
    pub(super) length: usize,
    /// What it leads to.
    pub(super) target: Option<Target>,
    /// The column, if it leads to one; else a number greater than all.
    pub(super) column: usize,
}

impl Spelling {
    /// One that is `written` so, if a window shows all of it.
    fn new(number: u16, written: &[u8], target: Option<Target>) -> Option<Self> {
        let mut window = Window::default();
        window.get_mut(..written.len())?.copy_from_slice(written);
        let column = match target {
            Some(Target::Column(column)) => column,
            _ => usize::MAX,
        };
        let bits = u32::MAX >> (WIDTH - written.len());
        Some(Self { written: window, bits, number, length: written.len(), target, column })
    }

    /// Whether `bytes` start with it.
    #[inline(always)]
    pub(super) fn starts(&self, bytes: &[u8]) -> bool {
        bytes.first_chunk().is_some_and(|window| alike(&self.written, window, self.bits))
    }
}

/// What is known of one object of the schema: how its names were written.
#[derive(Debug)]
pub(super) struct Spellings {
    known: Vec<Spelling>,
    /// The names as they stand between their quotes, each under the number of its spelling.
    names: Dictionary,
    /// Numbers of spellings, each near the place that its [`hint`] says.
    guesses: [Option<u16>; GUESSES],
    /// The spellings that are expected, in their order.
    course: Vec<Spelling>,
    /// Those of the object that is read, once it has left the course.
    order: Vec<u16>,
    /// Those of the last object that has.
    order_before: Vec<u16>,
    /// The record in which this object or array was read last.
    pub(super) record: u64,
}

impl Spellings {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            known: Vec::new(),
            names: Dictionary::default(),
            guesses: [None; GUESSES],
            course: Vec::new(),
            order: Vec::new(),
            order_before: Vec::new(),
            record: 0,
        }
    }

    /// The spellings that an object is expected to have, in this order.
    #[inline]
    pub(super) fn course(&self) -> &[Spelling] {
        &self.course
    }

    /// After so many members that were as expected another one comes.
    pub(super) fn leave_course(&mut self, behind: usize) {
        self.order.clear();
        self.order.extend(self.course[..behind].iter().map(|spelling| spelling.number));
    }

    /// At the end of an object that has left the course: if the one before was written alike, so will the next be.
    pub(super) fn settle(&mut self) {
        if self.order == self.order_before {
            self.course.clear();
            self.course.extend(self.order.iter().map(|&number| self.known[usize::from(number)]));
        }
        std::mem::swap(&mut self.order, &mut self.order_before);
    }

    /// The spelling found last.
    pub(super) fn last(&self) -> &Spelling {
        let number = self.order.last().expect("one was found");
        &self.known[usize::from(*number)]
    }

    /// The spelling that `bytes` start with, if a few guesses find it.
    #[inline(always)]
    pub(super) fn guess(&mut self, bytes: &[u8]) -> Option<&Spelling> {
        let place = hint(bytes.first_chunk()?);
        let number = self.guesses[place].filter(|&number| self.known[usize::from(number)].starts(bytes));
        let number = match number {
            Some(number) => number,
            None => self.guess_again(bytes, place)?,
        };
        self.order.push(number);
        Some(&self.known[usize::from(number)])
    }

    #[inline(never)]
    fn guess_again(&self, bytes: &[u8], place: usize) -> Option<u16> {
        let mut others = (place + 1..place + GUESSES_TRIED).filter_map(|place| self.guesses[place % GUESSES]);
        others.find(|&number| self.known[usize::from(number)].starts(bytes))
    }

    /// The spelling that `bytes` start with, which start with `name`.
    pub(super) fn find(&mut self, name: &[u8], bytes: &[u8]) -> Option<&Spelling> {
        let number = self.names.find(&Key::new(name))?;
        let spelling = self.known.get(number as usize).filter(|spelling| spelling.starts(bytes))?;
        self.order.push(spelling.number);
        Some(spelling)
    }

    /// Remembers that `name`, without quotes, was found `written` so, unless it is too long or there is no room.
    pub(super) fn learn(&mut self, name: &[u8], written: &[u8], target: Option<Target>) {
        if written.len() > WIDTH {
            return;
        }
        let Some(number) = self.names.intern(&Key::new(name), |names, _| names <= NAMES_MAX) else { return };
        let number = u16::try_from(number).expect("few names are remembered");
        let spelling = Spelling::new(number, written, target).expect("a window shows it");
        match self.known.get_mut(usize::from(number)) {
            None => self.known.push(spelling),
            Some(known) => *known = spelling,
        }
        let place = hint(&spelling.written);
        let mut places = (place..place + GUESSES_TRIED).map(|place| place % GUESSES);
        let free = places.find(|&place| self.guesses[place].is_none_or(|other| other == number));
        self.guesses[free.unwrap_or(place)] = Some(number);
        self.order.push(number);
    }
}

/// Where in [`Spellings::guesses`] to look for the name that starts a window: from its first eight bytes, or as many as
/// it has.
#[inline(always)]
fn hint(window: &Window) -> usize {
    let name = first_text(word(window, 1));
    (name.wrapping_mul(0xa076_1d64_78bd_642f) >> (u64::BITS - GUESSES.ilog2())) as usize
}
