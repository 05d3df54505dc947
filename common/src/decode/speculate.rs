//! Where the values of many records lie, on the bet that each record is written like others before it; and these values into
//! the columns, one column at a time.
//!
//! Where values may end is marked in all records first ([`super::block`]). Then a record is compared with a layout that others
//! had ([`super::layout`]); one that has none is read name by name, in any order, and its layout may be learned. A wrong bet on
//! a name costs a look-up, one on a value a slower look at that value. Whatever is odd about a record itself (it breaks the
//! grammar, a value does not fit, a name repeats) is not judged here: the reader stops before it, and the general path
//! ([`super::object`]) takes that record.
//!
//! The law of this room: what is read never depends on the bets, and every record that is read is read as the general path
//! reads it. A bet may only ever save time.

use std::sync::Arc;

use super::{
    block::{Block, Text},
    column::ColumnBuilder,
    layout::{Layouts, is_valid},
    scan::{Kind, Scanner, unescape},
    shape::{Node, Target},
    span::{ROWS_MAX, Row, Span},
    spelling::Spellings,
};

/// The most records that are read at once after one of them was odd, as what comes after it has then to be read again. At
/// other times it is [`ROWS_MAX`]: their text and their columns' new rows stay in the nearest cache.
const ROWS_MIN: usize = 8;

/// The most bytes of text, of which one record alone may have more.
const BYTES_MAX: usize = 64 << 10;

/// Reads records into columns.
#[derive(Debug)]
pub(super) struct Speculator {
    nodes: Arc<[Node]>,
    spellings: Vec<Spellings>,
    layouts: Layouts,
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

/// How far a record is read whose names come in any order.
struct Way<'a> {
    row: Row<'a>,
    /// How many of the record's ends are behind.
    ends: usize,
    /// How many quotes are.
    quotes: u32,
}

/// Why the usual way stopped.
enum Stop {
    /// The object ended.
    End,
    /// A name that is not known so stands there.
    Name,
    /// A value that needs a closer look: what its name leads to, and where it starts.
    Value(Option<Target>, usize),
}

impl Speculator {
    /// A reader of records with this tree of columns.
    pub(super) fn new(nodes: Arc<[Node]>) -> Self {
        let spellings = nodes.iter().map(|_| Spellings::new()).collect();
        let spans = vec![Span::default(); nodes[0].columns.len() * ROWS_MAX];
        let (layouts, block) = (Layouts::default(), Block::default());
        Self { nodes, spellings, layouts, block, spans, rows: ROWS_MAX, number: 0, unescaped: Vec::new() }
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
        let surveyed = self.survey(&mut spans);
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

    /// Notes where the values of the block's records lie; gives how many there are before the first that was given up.
    fn survey(&mut self, spans: &mut [Span]) -> usize {
        let mut row = 0;
        loop {
            let before = row;
            row = self.layouts.follow(&self.block, spans, row, self.number);
            self.number += (row - before) as u64;
            if row == self.block.len() || self.find_values(Row::new(spans, row)).is_none() {
                return row;
            }
            row += 1;
        }
    }

    /// Notes where the values of a record lie whose layout is not known. `None` says nothing about it but that it was given up.
    #[inline(never)]
    fn find_values(&mut self, row: Row<'_>) -> Option<()> {
        self.number += 1;
        let record = self.block.record(row.number());
        let start = record.skip_space(record.from);
        if start == record.to || record.byte(start) != b'{' {
            return None;
        }
        let mut way = Way { row, ends: 0, quotes: 0 };
        let end = self.object(&mut way, 0, start + 1, 1)?;
        let record = self.block.record(way.row.number());
        let whole = record.skip_space(end) == record.to && way.ends == record.ends.len();
        // Else a quote is within a text, or a value that is none.
        let well_quoted = record.odd || way.quotes == record.quotes;
        if !whole || !well_quoted {
            return None;
        }
        if record.odd {
            way.row.note_odd_texts(record.bytes);
        }
        self.layouts.learn(&record, &way.row, self.number);
        Some(())
    }

    #[inline(always)]
    fn record(&self, way: &Way<'_>) -> Text<'_> {
        self.block.record(way.row.number())
    }

    /// The members of an object from byte `start` on, the one after `{`; gives the byte after `}`. `depth` are open.
    fn object(&mut self, way: &mut Way<'_>, node: usize, start: usize, depth: u32) -> Option<usize> {
        let mut at = start;
        loop {
            let record = self.block.record(way.row.number());
            let stop = find_way(&self.spellings[node], way, &record, &mut at)?;
            let (target, value) = match stop {
                Stop::End => return Some(at),
                Stop::Value(target, value) => (target, value),
                Stop::Name if at == start && record.byte(record.skip_space(at)) == b'}' => {
                    return way.end(&record, at).map(|end| end + 1);
                }
                Stop::Name => self.look_up(way, node, at)?,
            };
            way.quotes += 2;
            let after = self.value(way, target, value, depth)?;
            let record = self.record(way);
            let end = way.end(&record, after)?;
            match record.byte(end) {
                b',' => at = end + 1,
                b'}' => return Some(end + 1),
                _ => return None,
            }
        }
    }

    /// Finds out which name stands at byte `at`: what it leads to, and where its value starts.
    fn look_up(&mut self, way: &Way<'_>, node: usize, at: usize) -> Option<(Option<Target>, usize)> {
        let (record, spellings) = (self.block.record(way.row.number()), &mut self.spellings[node]);
        let value = record.value();
        let mut scanner = Scanner::from(value, at);
        scanner.skip_space();
        let raw = scanner.name().ok()?;
        let name = raw.bytes(value);
        // Mostly it is one that is known, only not guessed.
        if let Some(spelling) = spellings.find(name, record.bytes, at) {
            return Some((spelling.target, at + spelling.written.length));
        }
        let plain = if raw.kind == Kind::EscapedString {
            self.unescaped.clear();
            unescape(name, &mut self.unescaped);
            &self.unescaped
        } else {
            name
        };
        let target = self.nodes[node].names.get(plain).copied();
        spellings.learn(name, record.bytes, (at, scanner.at()), target);
        Some((target, scanner.at()))
    }

    /// The value at byte `at`, which `depth` arrays or objects are open around; gives the byte after it.
    fn value(&mut self, way: &mut Way<'_>, target: Option<Target>, at: usize, depth: u32) -> Option<usize> {
        let record = self.record(way);
        match target {
            Some(Target::Node(node)) => self.node(way, node, at, depth),
            None => way.skip(&record, at, depth),
            // No column takes an object or an array.
            Some(Target::Column(_)) if matches!(record.byte(at), b'{' | b'[') => None,
            Some(Target::Column(column)) => {
                let end = *record.ends.get(way.ends)? as usize;
                way.note(&record, column, at, end)?;
                Some(end)
            }
        }
    }

    /// A value that may have columns within.
    fn node(&mut self, way: &mut Way<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        if self.spellings[node].record == self.number {
            return None;
        }
        self.spellings[node].record = self.number;
        let record = self.record(way);
        match record.byte(at) {
            b'{' if !self.nodes[node].names.is_empty() => self.object(way, node, at + 1, depth + 1),
            b'[' if !self.nodes[node].elements.is_empty() => self.array(way, node, at + 1, depth + 1),
            _ => way.skip(&record, at, depth),
        }
    }

    /// The elements of an array from byte `at` on, the one after `[`; gives the byte after `]`.
    fn array(&mut self, way: &mut Way<'_>, node: usize, at: usize, depth: u32) -> Option<usize> {
        let record = self.record(way);
        let mut at = record.skip_space(at);
        if record.byte(at) == b']' {
            return way.end(&record, at).map(|end| end + 1);
        }
        for index in 0.. {
            let target = self.nodes[node].element(index);
            let after = self.value(way, target, at, depth)?;
            let record = self.record(way);
            let end = way.end(&record, after)?;
            match record.byte(end) {
                b',' => at = record.skip_space(end + 1),
                b']' => return Some(end + 1),
                _ => break,
            }
        }
        None
    }
}

impl Way<'_> {
    /// Notes that the value of a column is bytes `[from, to)`, if it has none yet.
    #[inline(always)]
    fn note(&mut self, record: &Text<'_>, column: usize, from: usize, to: usize) -> Option<()> {
        *self.row.vacant(column)? = Span::plain(from, to);
        self.quotes += 2 * u32::from(record.byte(from) == b'"');
        Some(())
    }

    /// Passes over the next end, which nothing but white space stands before from byte `at` on; gives where it is.
    #[inline]
    fn end(&mut self, record: &Text<'_>, at: usize) -> Option<usize> {
        let end = *record.ends.get(self.ends)? as usize;
        self.ends += 1;
        (record.skip_space(at) == end).then_some(end)
    }

    /// Passes over the value at byte `at`, which is nobody's; gives the byte after it.
    fn skip(&mut self, record: &Text<'_>, at: usize, depth: u32) -> Option<usize> {
        if !matches!(record.byte(at), b'{' | b'[') {
            let end = *record.ends.get(self.ends)? as usize;
            self.quotes += 2 * u32::from(record.byte(at) == b'"');
            return is_valid(record.bytes, at, end, record.odd).then_some(end);
        }
        let mut scanner = Scanner::from(record.value(), at);
        scanner.value(depth).ok()?;
        let skipped = at..scanner.at();
        self.ends += record.ends[self.ends..].partition_point(|&end| (end as usize) < skipped.end);
        self.quotes += record.bytes[skipped.clone()].iter().filter(|&&byte| byte == b'"').count() as u32;
        Some(skipped.end)
    }
}

/// Notes members from byte `at` on, while each has a name that is known and a value that is no object or array. Gives why it
/// stopped; then `at` is where a member starts, or what follows the object.
#[inline(never)]
fn find_way(spellings: &Spellings, way: &mut Way<'_>, record: &Text<'_>, at: &mut usize) -> Option<Stop> {
    let (bytes, ends) = (record.bytes, record.ends.get(way.ends..)?);
    let (mut start, mut members, mut texts) = (*at, 0, 0);
    let stop = loop {
        let Some(spelling) = spellings.guess(bytes, start) else { break Some(Stop::Name) };
        let from = start + spelling.written.length;
        let Some(&end) = ends.get(members) else { break None };
        let Some(span) = way.row.vacant(spelling.column) else { break Some(Stop::Value(spelling.target, from)) };
        // If an object or an array starts there, its first end is none of the value's: the column will not take that.
        *span = Span::plain(from, end as usize);
        texts += u32::from(bytes.get(from) == Some(&b'"'));
        members += 1;
        start = end as usize + 1;
        match bytes.get(end as usize) {
            Some(b',') => {}
            Some(b'}') => break Some(Stop::End),
            _ => break None,
        }
    };
    way.ends += members;
    way.quotes += 2 * (members as u32 + texts);
    *at = start;
    stop
}
