//! A record straight into the columns, on the bet that it is written like the ones before it.
//!
//! The reader expects that a name is followed by the one that followed it last, written with the same white space, and that
//! a value has the usual form of its column. A wrong bet on a name costs a look-up, one on a value a slower look at that
//! value. Whatever is odd about the record itself (it breaks the grammar, a value does not fit, a name repeats) is not
//! judged here: the reader gives up, and the general path ([`super::object`]) takes the record from its start.
//!
//! The law of this room: what is read never depends on the bets, and every record that is read is read as the general path
//! reads it. A bet may only ever save time.

use std::sync::Arc;

use super::{
    column::ColumnBuilder,
    dictionary::{Dictionary, Key},
    scan::{Kind, Scanner, Value, unescape},
    shape::{Node, Target},
    window::{Padded, Window, first_text, mask, word, words},
};

/// Most spellings of names that one object's reader remembers, those that lead to no column among them.
const NAMES_MAX: usize = 1024;

/// Places for guesses at a name; a power of two.
const GUESSES: usize = 256;

/// A name as it was last written, from the byte after `{` or `,` up to its value.
#[derive(Debug)]
#[repr(align(64))]
struct Spelling {
    /// What a window shows of it, and which bits of that count.
    words: [u64; 4],
    masks: [u64; 4],
    length: usize,
    /// What it means; and the column if it means one, else a number greater than all.
    target: Option<Target>,
    column: usize,
    /// The spelling that followed last.
    next: usize,
}

impl Spelling {
    /// What stands for the start of an object: it is followed by the name that came first, and follows none, since no text
    /// has such bytes.
    fn start() -> Self {
        let (words, masks) = ([u64::MAX; 4], [u64::MAX; 4]);
        Self { words, masks, length: 0, target: None, column: usize::MAX, next: 0 }
    }

    /// One that is `written` so, in fewer bytes than a window shows.
    fn new(written: &[u8], target: Option<Target>) -> Option<Self> {
        let mut head = Window::default();
        head.get_mut(..written.len())?.copy_from_slice(written);
        let column = match target {
            Some(Target::Column(column)) => column,
            _ => usize::MAX,
        };
        let (words, masks) = (words(&head), words(mask(written.len())));
        Some(Self { words, masks, length: written.len(), target, column, next: 0 })
    }

    /// Whether it is what `window` shows.
    #[inline(always)]
    fn is_in(&self, window: &Window) -> bool {
        let seen = words(window);
        (0..4).fold(0, |differs, i| differs | ((seen[i] ^ self.words[i]) & self.masks[i])) == 0
    }
}

/// What is known of one object of the schema: how its names were written.
#[derive(Debug)]
struct Spellings {
    /// The first is [`Spelling::start`].
    known: Vec<Spelling>,
    /// The names as they stand between their quotes. Number `n` is that of `known[n + 1]`.
    names: Dictionary,
    /// The spelling learned last of those whose [`hint`] falls on the same place.
    guesses: [usize; GUESSES],
    /// The record in which this object or array was read last.
    record: u64,
}

impl Spellings {
    fn new() -> Self {
        Self { known: vec![Spelling::start()], names: Dictionary::default(), guesses: [0; GUESSES], record: 0 }
    }

    /// Remembers that `name`, without quotes, was `written` so; `None` if it is too long or there is no room.
    fn learn(&mut self, name: &[u8], written: &[u8], target: Option<Target>) -> Option<usize> {
        let mut spelling = Spelling::new(written, target)?;
        let number = self.names.intern(&Key::new(name), |names, _| names <= NAMES_MAX)? as usize + 1;
        match self.known.get_mut(number) {
            None => self.known.push(spelling),
            Some(known) => {
                spelling.next = known.next;
                *known = spelling;
            }
        }
        let mut window = Window::default();
        window[..written.len()].copy_from_slice(written);
        self.guesses[hint(&window)] = number;
        Some(number)
    }
}

/// Where in [`Spellings::guesses`] to look for the name that starts a window: from its first eight bytes, or as many as
/// it has.
#[inline(always)]
fn hint(window: &Window) -> usize {
    let name = first_text(word(window, 1));
    (name.wrapping_mul(0xa076_1d64_78bd_642f) >> (u64::BITS - GUESSES.ilog2())) as usize
}

/// Reads records into columns.
#[derive(Debug)]
pub(super) struct Speculator {
    nodes: Arc<[Node]>,
    spellings: Vec<Spellings>,
    record: Padded,
    /// Counts the records.
    number: u64,
    unescaped: Vec<u8>,
}

/// Where the event goes.
struct Row<'a> {
    columns: &'a mut [ColumnBuilder],
    row: usize,
    /// Columns that have it.
    filled: usize,
}

/// Which name stands somewhere.
enum Found {
    /// The one spelled as is known under this number.
    Known(usize),
    /// One that leads to this target and is not remembered; its value starts at this byte.
    Once(Option<Target>, usize),
}

/// Why the usual way stopped.
enum Stop {
    /// The object ended.
    End,
    /// Another name than expected stands there.
    Name,
    /// The name is as expected, but what follows needs a closer look.
    Value,
}

impl Speculator {
    /// A reader of records with this tree of columns.
    pub(super) fn new(nodes: Arc<[Node]>) -> Self {
        let spellings = nodes.iter().map(|_| Spellings::new()).collect();
        Self { nodes, spellings, record: Padded::default(), number: 0, unescaped: Vec::new() }
    }

    /// Appends the event in `value` to `columns`, which have `row` rows. `None` says nothing about the record but that it
    /// was given up; some columns may then have a row more.
    pub(super) fn read(&mut self, value: &[u8], columns: &mut [ColumnBuilder], row: usize) -> Option<()> {
        self.record.set(value);
        self.number += 1;
        let mut to = Row { columns, row, filled: 0 };
        let start = self.record.skip_space(0);
        if self.record.byte(start) != b'{' {
            return None;
        }
        let end = self.object(&mut to, 0, start + 1, 1)?;
        if self.record.skip_space(end) != value.len() {
            return None;
        }
        if to.filled < to.columns.len() {
            for column in to.columns.iter_mut().filter(|column| column.rows() == row) {
                column.append(None).ok()?;
            }
        }
        Some(())
    }

    /// The members of an object from byte `at` on, the one after `{`; gives the byte after `}`. `depth` are open.
    fn object(&mut self, to: &mut Row<'_>, node: usize, mut at: usize, depth: u32) -> Option<usize> {
        let (start, mut last) = (at, 0);
        loop {
            let stop;
            (stop, last, at) = usual_members(&mut self.spellings[node], &self.record, to, last, at);
            let (name, target, value) = match stop {
                Stop::End => return Some(at),
                Stop::Name if at == start && self.record.byte(self.record.skip_space(at)) == b'}' => {
                    return Some(self.record.skip_space(at) + 1);
                }
                Stop::Name => match self.look_up(node, at)? {
                    Found::Known(name) => {
                        self.spellings[node].known[last].next = name;
                        continue;
                    }
                    Found::Once(target, start) => (last, target, start),
                },
                Stop::Value => {
                    let known = &self.spellings[node].known;
                    let spelling = &known[known[last].next];
                    (known[last].next, spelling.target, at + spelling.length)
                }
            };
            let end = self.value(to, target, value, depth)?;
            let end = self.record.skip_space(end);
            match self.record.byte(end) {
                b',' => (last, at) = (name, end + 1),
                b'}' => return Some(end + 1),
                _ => return None,
            }
        }
    }

    /// Finds out which name stands at byte `at`.
    fn look_up(&mut self, node: usize, at: usize) -> Option<Found> {
        // Mostly it is one that is known, only not here.
        let (record, spellings) = (&self.record, &mut self.spellings[node]);
        if record.byte(at) == b'"'
            && let Some(end) = record.string_end(at + 1)
            && let Some(number) = spellings.names.find(&Key::seen(record.window(at + 1), &record.value()[at + 1..end]))
            && spellings.known[number as usize + 1].is_in(record.window(at))
        {
            return Some(Found::Known(number as usize + 1));
        }
        let value = record.value();
        let mut scanner = Scanner::from(value, at);
        scanner.skip_space();
        let raw = scanner.name().ok()?;
        let name = raw.bytes(value);
        std::str::from_utf8(name).ok()?;
        let plain = if raw.kind == Kind::EscapedString {
            self.unescaped.clear();
            unescape(name, &mut self.unescaped);
            &self.unescaped
        } else {
            name
        };
        let target = self.nodes[node].names.get(plain).copied();
        let learned = spellings.learn(name, &value[at..scanner.at()], target);
        Some(learned.map_or(Found::Once(target, scanner.at()), Found::Known))
    }

    /// The value at byte `at`, which `depth` arrays or objects are open around; gives the byte after it.
    fn value(&mut self, to: &mut Row<'_>, target: Option<Target>, at: usize, depth: u32) -> Option<usize> {
        let column = match target {
            Some(Target::Column(column)) => &mut to.columns[column],
            Some(Target::Node(node)) => return self.node(to, node, at, depth),
            None => return self.skip(at, depth),
        };
        if column.rows() != to.row {
            return None;
        }
        to.filled += 1;
        if let Some(end) = column.read(&self.record, at) {
            if ends_value(self.record.byte(end)) {
                return Some(end);
            }
            column.truncate(to.row);
        }
        let (value, end) = self.scan(at, depth)?;
        column.append(Some(value)).ok()?;
        Some(end)
    }

    /// A value that may have columns within.
    fn node(&mut self, to: &mut Row<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        if self.spellings[node].record == self.number {
            return None;
        }
        self.spellings[node].record = self.number;
        match self.record.byte(at) {
            b'{' if !self.nodes[node].names.is_empty() => self.object(to, node, at + 1, depth + 1),
            b'[' if !self.nodes[node].elements.is_empty() => self.array(to, node, at + 1, depth + 1),
            _ => self.skip(at, depth),
        }
    }

    /// The elements of an array from byte `at` on, the one after `[`; gives the byte after `]`.
    fn array(&mut self, to: &mut Row<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        let mut at = self.record.skip_space(at);
        if self.record.byte(at) == b']' {
            return Some(at + 1);
        }
        for index in 0.. {
            let target = self.nodes[node].element(index);
            let end = self.value(to, target, at, depth)?;
            at = self.record.skip_space(end);
            match self.record.byte(at) {
                b',' => at = self.record.skip_space(at + 1),
                b']' => return Some(at + 1),
                _ => break,
            }
        }
        None
    }

    /// Passes over the value at byte `at`, which is no column's.
    fn skip(&self, at: usize, depth: u32) -> Option<usize> {
        if self.record.byte(at) == b'"'
            && let Some(end) = self.record.string_end(at + 1)
        {
            return Some(end + 1);
        }
        self.scan(at, depth).map(|(_, end)| end)
    }

    /// The value at byte `at`, if it is valid, and the byte after it.
    fn scan(&self, at: usize, depth: u32) -> Option<(Value<'_>, usize)> {
        let value = self.record.value();
        let mut scanner = Scanner::from(value, at);
        let raw = scanner.value(depth).ok()?;
        let text = std::str::from_utf8(raw.bytes(value)).ok()?;
        Some((Value { kind: raw.kind, text }, scanner.at()))
    }
}

/// Reads members from byte `at` on, after the one spelled `last`, while each has a name that is known and a value in its
/// usual form. Gives why it stopped, the last name it read, and where it stopped: after the object, or else where a member
/// starts.
#[inline(never)]
fn usual_members(
    spellings: &mut Spellings,
    record: &Padded,
    to: &mut Row<'_>,
    mut last: usize,
    mut at: usize,
) -> (Stop, usize, usize) {
    let Spellings { known, guesses, .. } = spellings;
    loop {
        let window = record.window(at);
        let mut name = known[last].next;
        if !known[name].is_in(window) {
            name = guesses[hint(window)];
            if !known[name].is_in(window) {
                return (Stop::Name, last, at);
            }
            known[last].next = name;
        }
        let spelling = &known[name];
        let Some(column) = to.columns.get_mut(spelling.column).filter(|column| column.rows() == to.row) else {
            return (Stop::Value, last, at);
        };
        let Some(end) = column.read(record, at + spelling.length) else {
            return (Stop::Value, last, at);
        };
        match record.byte(end) {
            b',' => (last, at) = (name, end + 1),
            b'}' => {
                to.filled += 1;
                return (Stop::End, name, end + 1);
            }
            _ => {
                column.truncate(to.row);
                return (Stop::Value, last, at);
            }
        }
        to.filled += 1;
    }
}

/// Whether `byte` may follow a value. After digits, others may be more of their number.
fn ends_value(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
}
