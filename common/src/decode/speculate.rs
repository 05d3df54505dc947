//! Where the values of many records lie, on the bet that each record is written like the one before it; and these values
//! into the columns, one column at a time.
//!
//! The reader expects that names come in the order they came in last, written with the same white space, and that a value has
//! the usual form of its column. A wrong bet on a name costs a look-up, one on a value a slower look at that value. Whatever
//! is odd about a record itself (it breaks the grammar, a value does not fit, a name repeats) is not judged here: the reader
//! stops before it, and the general path ([`super::object`]) takes that record.
//!
//! The law of this room: what is read never depends on the bets, and every record that is read is read as the general path
//! reads it. A bet may only ever save time.

use std::sync::Arc;

use super::{
    column::ColumnBuilder,
    scan::{Kind, Scanner, unescape},
    shape::{Node, Target},
    spelling::{Spelling, Spellings},
    window::{Block, Span, Text, any_scalar_length, scalar_length, string_length},
};

/// The most records that are read at once: their text and their columns' new rows stay in the nearest cache.
const ROWS_MAX: usize = 128;

/// The same after one of them was odd, as what comes after it has then to be read again.
const ROWS_MIN: usize = 8;

/// The most bytes of text, of which one record alone may have more.
const BYTES_MAX: usize = 64 << 10;

/// Reads records into columns.
#[derive(Debug)]
pub(super) struct Speculator {
    nodes: Arc<[Node]>,
    spellings: Vec<Spellings>,
    block: Block,
    /// For each column where its values lie, [`ROWS_MAX`] of them; absent between two blocks.
    spans: Vec<Span>,
    /// How many records are read at once now.
    rows: usize,
    /// Counts the records.
    number: u64,
    unescaped: Vec<u8>,
}

/// How far a reader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The records from the first on that are events.
    pub(super) records: usize,
    /// Whether the one after these needs a closer look.
    pub(super) odd: bool,
}

/// Where it is noted what a record has.
struct Row<'a> {
    spans: &'a mut [Span],
    row: usize,
}

impl Row<'_> {
    /// The place for the value of a column, if it has none yet.
    #[inline(always)]
    fn vacant(&mut self, column: usize) -> Option<&mut Span> {
        self.spans.get_mut(column.wrapping_mul(ROWS_MAX).wrapping_add(self.row)).filter(|span| span.is_absent())
    }
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
        let spans = vec![Span::default(); nodes[0].columns.len() * ROWS_MAX];
        Self { nodes, spellings, block: Block::default(), spans, rows: ROWS_MAX, number: 0, unescaped: Vec::new() }
    }

    /// Appends the events in `values` to `columns`, which have `row` rows, as many as are read at once, and up to the first
    /// that is odd.
    pub(super) fn read<'v>(
        &mut self,
        values: impl Iterator<Item = &'v [u8]>,
        columns: &mut [ColumnBuilder],
        row: usize,
    ) -> Progress {
        self.block.fill(values.take(self.rows), BYTES_MAX);
        let mut spans = std::mem::take(&mut self.spans);
        let surveyed = (0..self.block.len()).find(|&row| self.survey(&mut Row { spans: &mut spans, row }).is_none());
        let surveyed = surveyed.unwrap_or(self.block.len());
        let mut read = surveyed;
        for (column, spans) in columns.iter_mut().zip(spans.chunks_mut(ROWS_MAX)) {
            read = column.append_run(self.block.bytes(), &spans[..read]);
            // What was odd may have left something too.
            let noted = spans.len().min(surveyed + 1);
            spans[..noted].fill(Span::default());
        }
        if read < surveyed {
            columns.iter_mut().for_each(|column| column.truncate(row + read));
        }
        self.spans = spans;
        let odd = read < self.block.len() || read == 0;
        self.rows = if odd { (self.rows / 2).max(ROWS_MIN) } else { (self.rows * 2).min(ROWS_MAX) };
        Progress { records: read, odd }
    }

    /// Notes where the values of one record lie. `None` says nothing about it but that it was given up.
    fn survey(&mut self, to: &mut Row<'_>) -> Option<()> {
        self.number += 1;
        let (record, start) = self.block.value(to.row);
        let start = record.skip_space(start);
        if record.byte(start) != b'{' {
            return None;
        }
        let end = self.object(to, 0, start + 1, 1)?;
        let record = self.text(to);
        (record.skip_space(end) == record.end()).then_some(())
    }

    fn text(&self, to: &Row<'_>) -> Text<'_> {
        self.block.value(to.row).0
    }

    /// The members of an object from byte `at` on, the one after `{`; gives the byte after `}`. `depth` are open.
    fn object(&mut self, to: &mut Row<'_>, node: usize, mut at: usize, depth: u32) -> Option<usize> {
        let start = at;
        // How much of the course is behind, as long as the object keeps to it.
        let mut on_course = Some(0);
        loop {
            let (record, spellings) = (self.block.value(to.row).0, &mut self.spellings[node]);
            let (stop, rest);
            let (target, value) = if let Some(behind) = on_course {
                let members;
                (stop, members, rest) = follow(&spellings.course()[behind..], to, record, record.from(at));
                at = record.at(rest);
                let behind = behind + members;
                match stop {
                    Stop::End => return Some(at),
                    Stop::Name => {
                        spellings.leave_course(behind);
                        on_course = None;
                        continue;
                    }
                    Stop::Value => {
                        on_course = Some(behind + 1);
                        let spelling = &spellings.course()[behind];
                        (spelling.target, at + spelling.length)
                    }
                }
            } else {
                (stop, rest) = find_way(spellings, to, record, record.from(at));
                at = record.at(rest);
                match stop {
                    Stop::End => {
                        spellings.settle();
                        return Some(at);
                    }
                    Stop::Name if at == start && record.byte(record.skip_space(at)) == b'}' => {
                        return Some(record.skip_space(at) + 1);
                    }
                    Stop::Name => self.look_up(to, node, at)?,
                    Stop::Value => {
                        let spelling = spellings.last();
                        (spelling.target, at + spelling.length)
                    }
                }
            };
            let end = self.value(to, target, value, depth)?;
            let record = self.text(to);
            let end = record.skip_space(end);
            match record.byte(end) {
                b',' => at = end + 1,
                b'}' => {
                    if on_course.is_none() {
                        self.spellings[node].settle();
                    }
                    return Some(end + 1);
                }
                _ => return None,
            }
        }
    }

    /// Finds out which name stands at byte `at`: what it leads to, and where its value starts.
    fn look_up(&mut self, to: &Row<'_>, node: usize, at: usize) -> Option<(Option<Target>, usize)> {
        let (record, spellings) = (self.block.value(to.row).0, &mut self.spellings[node]);
        let rest = record.from(at);
        // Mostly it is one that is known, only not guessed.
        if let Some(length) = string_length(rest)
            && let Some(spelling) = spellings.find(&rest[1..length - 1], rest)
        {
            return Some((spelling.target, at + spelling.length));
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
        spellings.learn(name, &value[at..scanner.at()], target);
        Some((target, scanner.at()))
    }

    /// The value at byte `at`, which `depth` arrays or objects are open around; gives the byte after it.
    fn value(&mut self, to: &mut Row<'_>, target: Option<Target>, at: usize, depth: u32) -> Option<usize> {
        let column = match target {
            Some(Target::Column(column)) => column,
            Some(Target::Node(node)) => return self.node(to, node, at, depth),
            None => return skip(self.text(to), at, depth),
        };
        let record = self.text(to);
        let (span, end) = match string_length(record.from(at)) {
            Some(length) => (Span::plain(at, length), at + length),
            None => {
                let end = skip(record, at, depth)?;
                (Span::odd(at, end - at), end)
            }
        };
        *to.vacant(column)? = span;
        Some(end)
    }

    /// A value that may have columns within.
    fn node(&mut self, to: &mut Row<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        if self.spellings[node].record == self.number {
            return None;
        }
        self.spellings[node].record = self.number;
        match self.text(to).byte(at) {
            b'{' if !self.nodes[node].names.is_empty() => self.object(to, node, at + 1, depth + 1),
            b'[' if !self.nodes[node].elements.is_empty() => self.array(to, node, at + 1, depth + 1),
            _ => skip(self.text(to), at, depth),
        }
    }

    /// The elements of an array from byte `at` on, the one after `[`; gives the byte after `]`.
    fn array(&mut self, to: &mut Row<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        let record = self.text(to);
        let mut at = record.skip_space(at);
        if record.byte(at) == b']' {
            return Some(at + 1);
        }
        for index in 0.. {
            let target = self.nodes[node].element(index);
            let end = self.value(to, target, at, depth)?;
            let record = self.text(to);
            at = record.skip_space(end);
            match record.byte(at) {
                b',' => at = record.skip_space(at + 1),
                b']' => return Some(at + 1),
                _ => break,
            }
        }
        None
    }
}

/// Passes over the value at byte `at`; gives the byte after it.
fn skip(record: Text<'_>, at: usize, depth: u32) -> Option<usize> {
    if let Some(length) = string_length(record.from(at)) {
        return Some(at + length);
    }
    let value = record.value();
    let mut scanner = Scanner::from(value, at);
    let raw = scanner.value(depth).ok()?;
    std::str::from_utf8(raw.bytes(value)).ok()?;
    Some(scanner.at())
}

/// Notes members from the start of `rest` on, while each has the next name of `course` and a value in its usual form. Gives
/// why it stopped, how many members it noted, and what is left: what follows the object, or else what starts with a member.
#[inline(never)]
fn follow<'a>(course: &[Spelling], to: &mut Row<'_>, record: Text<'_>, mut rest: &'a [u8]) -> (Stop, usize, &'a [u8]) {
    for (members, spelling) in course.iter().enumerate() {
        if !spelling.starts(rest) {
            return (Stop::Name, members, rest);
        }
        match member(spelling, to, record, rest, scalar_length) {
            Some((true, next)) => rest = next,
            Some((false, after)) => return (Stop::End, members + 1, after),
            None => return (Stop::Value, members, rest),
        }
    }
    (Stop::Name, course.len(), rest)
}

/// As [`follow`], with names in any order.
#[inline(never)]
fn find_way<'a>(spellings: &mut Spellings, to: &mut Row<'_>, record: Text<'_>, mut rest: &'a [u8]) -> (Stop, &'a [u8]) {
    loop {
        let Some(spelling) = spellings.guess(rest) else { return (Stop::Name, rest) };
        match member(spelling, to, record, rest, any_scalar_length) {
            Some((true, next)) => rest = next,
            Some((false, after)) => return (Stop::End, after),
            None => return (Stop::Value, rest),
        }
    }
}

/// Notes the value of the member that is spelled so, if it has its usual form; gives whether another member follows, and what
/// is left.
#[inline(always)]
fn member<'a>(
    spelling: &Spelling,
    to: &mut Row<'_>,
    record: Text<'_>,
    rest: &'a [u8],
    length_of: impl Fn(&[u8]) -> Option<usize>,
) -> Option<(bool, &'a [u8])> {
    let value = rest.get(spelling.length..)?;
    let length = length_of(value)?;
    let after = match value.get(length..)? {
        [b',', next @ ..] => (true, next),
        [b'}', after @ ..] => (false, after),
        _ => return None,
    };
    *to.vacant(spelling.column)? = Span::plain(record.at(value), length);
    Some(after)
}
