//! How whole records are written: what stands between their values, byte by byte, and which of the values are columns.
//!
//! A layout is learned from a record that is valid. A record in which the same bytes stand between values that are valid, each
//! by itself and none of them an object or an array, has the same form, and so is valid too; its columns are at the same
//! places. So nothing of its grammar is looked at again. Where its values end is taken from its marks: if one ended somewhere
//! else, it would not be valid, or what follows it would not be as expected.
//!
//! Those who read the columns find out whether their values are valid; of text they look at the first and the last byte only.
//! That there is no other quote within is known by their number: as many as between the values, and two for each text.

use hashbrown::HashMap;

mod together;

use super::{
    block::{Block, Text},
    digits,
    glue::Glue,
    scan::Scanner,
    span::{ROWS_MAX, Row, Span},
};

/// How many layouts are remembered. Optional members make many, but most sources have few that are common.
const LAYOUTS_MAX: usize = 4;

/// The most values that a record may have whose layout is learned.
const VALUES_MAX: usize = 1024;

/// So many layouts are learned at once.
const LEARNED_FREELY: u64 = 8;

/// Then one for so many records: to learn one costs as much as to read a dozen, and where the order of names changes from
/// record to record it is in vain.
const LEARNED_EVERY: u64 = 256;

/// For so many at most, as long as what is learned is in vain.
const LEARNED_EVERY_MAX: u64 = 64 * LEARNED_EVERY;

/// After so many records in turn without a layout that is known,
const MISSES_MAX: u64 = 64;

/// one in so many is compared with layouts: to compare with the wrong one costs as much as to read a few members by name.
const COMPARED_EVERY: u64 = 16;

/// The layouts that records had lately.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    known: Vec<Known>,
    /// The one that the last record had which had one.
    likely: usize,
    learned: u64,
    /// When one may be learned again, after the first.
    next: u64,
    /// For how many records one was learned last.
    every: u64,
    /// How many records in turn had none.
    misses: u64,
}

#[derive(Debug)]
struct Known {
    layout: Layout,
    /// The number of the record that had it last.
    used: u64,
    /// How many records are compared with it at once now.
    together: usize,
}

impl Layouts {
    /// Notes where the values of records lie, from row `from` of the block on, up to the first whose layout is not known; gives
    /// the row of that. The first has this number.
    pub(super) fn follow(&mut self, block: &Block, spans: &mut [Span], from: usize, number: u64) -> usize {
        if self.misses >= MISSES_MAX && !number.is_multiple_of(COMPARED_EVERY) {
            return from;
        }
        self.misses += 1;
        let mut row = from;
        while row < block.len() {
            let record = block.record(row);
            // The likely one first.
            let is_likely = self.known.get(self.likely).is_some_and(|known| known.layout.may_be_of(&record));
            let found = if is_likely { Some(self.likely) } else { self.find(&record) };
            let Some(found) = found else { break };
            let known = &mut self.known[found];
            let after = known.layout.note(block, spans, row, &mut known.together);
            if after == row {
                break;
            }
            self.known[found].used = number + (after - from) as u64;
            (self.likely, row) = (found, after);
            (self.misses, self.every) = (0, LEARNED_EVERY);
        }
        row
    }

    /// A layout that `record` may have.
    #[inline(always)]
    fn find(&self, record: &Text<'_>) -> Option<usize> {
        self.known.iter().position(|known| known.layout.may_be_of(record))
    }

    /// Learns the layout of `record`, the one with this number, whose columns' values are noted in `row`; unless it is not worth
    /// the effort.
    #[inline]
    pub(super) fn learn(&mut self, record: &Text<'_>, row: &Row<'_>, number: u64) {
        if self.learned < LEARNED_FREELY || number >= self.next {
            self.learn_now(record, row, number);
        }
    }

    #[inline(never)]
    fn learn_now(&mut self, record: &Text<'_>, row: &Row<'_>, number: u64) {
        self.learned += 1;
        let was_free = self.learned <= LEARNED_FREELY;
        self.every = if was_free { LEARNED_EVERY } else { (2 * self.every).min(LEARNED_EVERY_MAX) };
        self.next = number + self.every;
        // Each that no record has costs a look.
        self.known.retain(|known| known.used + LEARNED_EVERY >= number);
        if let Some(layout) = Layout::of(record, row) {
            if self.known.len() == LAYOUTS_MAX {
                let oldest = (0..LAYOUTS_MAX).min_by_key(|&at| self.known[at].used);
                self.known.swap_remove(oldest.expect("there are some"));
            }
            self.known.push(Known { layout, used: number, together: 1 });
        }
        self.likely = self.known.len().saturating_sub(1);
    }
}

/// How a record is written.
#[derive(Debug)]
struct Layout {
    /// Its values, which are no objects or arrays, in their order.
    values: Vec<Place>,
    /// What follows the last of them, up to the record's end.
    rest: Glue,
    /// How many ends it has.
    ends: usize,
    /// How many quotes there are between the values.
    quotes: u32,
    /// How many of the values were texts.
    texts: u32,
}

/// Where a value is.
#[derive(Debug)]
struct Place {
    /// What stands before it: from where the value before ends, or the record starts.
    before: Glue,
    /// The same with the quote, if it was a text in the record that this was learned from.
    opening: Glue,
    /// Which of the record's ends is its own.
    end: usize,
    /// Where its span is among those of a row and the rows after it; or a number greater than all, if it is no column.
    place: usize,
}

impl Layout {
    /// That of `record`, if it is valid, and the values in `row` are all that it has for columns.
    fn of(record: &Text<'_>, row: &Row<'_>) -> Option<Self> {
        if record.ends.is_empty() || record.ends.len() > VALUES_MAX {
            return None;
        }
        let value = record.value();
        let mut scanner = Scanner::from(value, record.from);
        scanner.skip_space();
        scanner.value(0).ok()?;
        scanner.end().ok()?;

        let mut columns: HashMap<usize, usize> = row.noted().map(|(column, span)| (span.from(), column)).collect();
        let (ends, quotes) = (record.ends.len(), record.quotes);
        let mut layout = Self { values: Vec::new(), rest: Glue::default(), ends, quotes, texts: 0 };
        let (mut scanner, mut behind) = (Scanner::from(value, record.from), record.from);
        while let Some((from, to)) = next_value(&mut scanner) {
            let end = record.ends.partition_point(|&end| (end as usize) < to);
            let column = columns.remove(&from).unwrap_or(usize::MAX / ROWS_MAX);
            let is_text = value[from] == b'"';
            layout.values.push(Place {
                before: Glue::new(&value[behind..from]),
                opening: Glue::new(&value[behind..from + usize::from(is_text)]),
                end,
                place: column.wrapping_mul(ROWS_MAX),
            });
            layout.texts += u32::from(is_text);
            behind = *record.ends.get(end)? as usize;
        }
        layout.rest = Glue::new(&value[behind..]);
        layout.quotes -= 2 * layout.texts;
        columns.is_empty().then_some(layout)
    }

    /// Whether `record` may be written so, as far as its first name and the number of its ends say.
    #[inline(always)]
    fn may_be_of(&self, record: &Text<'_>) -> bool {
        self.ends == record.ends.len()
            && self.values.first().is_none_or(|value| value.before.is_at(record.bytes, record.from))
    }

    /// Notes where the values of `record` lie if it is written so.
    #[inline(always)]
    fn note_one(&self, record: Text<'_>, spans: &mut [Span], row: usize) -> bool {
        if record.ends.len() != self.ends {
            return false;
        }
        let (mut at, mut texts) = (record.from, 0);
        // Without columns there are none at all.
        let places = spans.get_mut(row..).unwrap_or_default();
        for (noted, value) in self.values.iter().enumerate() {
            if !value.before.is_at(record.bytes, at) {
                return self.take_back(noted, spans, row);
            }
            let from = at + value.before.length;
            let (Some(&end), Some(first)) = (record.ends.get(value.end), record.bytes.get(from)) else {
                return self.take_back(noted, spans, row);
            };
            at = end as usize;
            debug_assert!(
                from <= at,
                "what stands before the value has as many ends as in the record it was learned from"
            );
            texts += u32::from(*first == b'"');
            match places.get_mut(value.place) {
                Some(span) => *span = Span::plain(from, at),
                None if is_valid(record.bytes, from, at, record.odd) => {}
                None => return self.take_back(noted, spans, row),
            }
        }
        let ends_well = at + self.rest.length == record.to && self.rest.is_at(record.bytes, at);
        if !ends_well || (self.quotes + 2 * texts != record.quotes && !record.odd) {
            return self.take_back(self.values.len(), spans, row);
        }
        if record.odd {
            Row::new(spans, row).note_odd_texts(record.bytes);
        }
        true
    }

    /// Notes nothing after all, where the first `noted` values were.
    #[cold]
    fn take_back(&self, noted: usize, spans: &mut [Span], row: usize) -> bool {
        let mut row = Row::new(spans, row);
        self.values[..noted].iter().for_each(|value| row.take_back(value.place / ROWS_MAX));
        false
    }
}

/// The next value from where the scanner of a valid text is on, which is no object, no array and no name: bytes `[from, to)`.
fn next_value(scanner: &mut Scanner<'_>) -> Option<(usize, usize)> {
    loop {
        while matches!(scanner.peek()?, b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') {
            scanner.enter();
        }
        let from = scanner.at();
        scanner.value(0).ok()?;
        let to = scanner.at();
        scanner.skip_space();
        if scanner.peek() != Some(b':') {
            return Some((from, to));
        }
    }
}

/// Whether bytes `[from, to)` of a block are a value, which is no object or array, and maybe white space after it. Of a text
/// in a record that is not `odd` it is left to others to see that there is no quote within.
#[inline]
pub(super) fn is_valid(bytes: &[u8], from: usize, to: usize, odd: bool) -> bool {
    match bytes.get(from..to) {
        Some([b'"', .., b'"']) if !odd => true,
        Some(b"true" | b"false" | b"null") => true,
        Some([b'{' | b'[', ..]) | None => false,
        Some(value) => digits::integer(bytes, Span::plain(from, to)).is_some() || is_valid_by_grammar(value),
    }
}

fn is_valid_by_grammar(value: &[u8]) -> bool {
    let mut scanner = Scanner::new(value);
    scanner.value(0).is_ok() && scanner.end().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{super::span::ROWS_MAX, *};

    /// Follows `record`, whose number it is; gives the values of the columns if its layout is known. If it is not, it is
    /// learned: `values` are those of the columns, in their order.
    fn follow(layouts: &mut Layouts, number: u64, record: &str, values: &[&str]) -> Option<Vec<String>> {
        let mut block = Block::default();
        block.fill(std::iter::once(record.as_bytes()), 0);
        let text = block.record(0);
        let mut spans = vec![Span::default(); values.len() * ROWS_MAX];
        let followed = layouts.follow(&block, &mut spans, 0, number) == 1;
        let mut row = Row::new(&mut spans, 0);
        if followed {
            let read = |(_, span): (_, Span)| String::from_utf8(span.of(text.bytes).to_vec()).expect("it was text");
            return Some(row.noted().map(read).collect());
        }
        assert_eq!(row.noted().count(), 0, "nothing is noted of {record}");
        for (column, value) in values.iter().enumerate() {
            let from = text.from + record.find(value).expect("the value is there");
            *row.place(column).expect("there are as many columns") = Span::plain(from, from + value.len());
        }
        layouts.learn(&text, &row, number);
        None
    }

    #[test]
    fn what_is_written_alike_is_followed() {
        let mut layouts = Layouts::default();
        let records = [
            (r#"{"a":1,"b":"x"}"#, r#"{"a":-20,"b":"x, y}"}"#, ["-20", r#""x, y}""#]),
            (r#" { "b" : "x" , "a" : 1 } "#, r#" { "b" : "" , "a" : 22 } "#, ["22 ", r#""" "#]),
            (r#"{"c":[{"b":"x"}],"d":null,"a":1}"#, r#"{"c":[{"b":"\u00e9"}],"d":"\\","a":2}"#, ["2", r#""\u00e9""#]),
            (
                r#"{"a name of more than sixteen bytes":1,"and another one, of more than thirty-two":"x"}"#,
                r#"{"a name of more than sixteen bytes":9,"and another one, of more than thirty-two":"z"}"#,
                ["9", r#""z""#],
            ),
        ];
        for (number, (first, _, _)) in (0..).zip(records) {
            assert_eq!(follow(&mut layouts, number, first, &["1", r#""x""#]), None, "{first}");
        }
        for (number, (_, second, values)) in (4..).zip(records) {
            assert_eq!(
                follow(&mut layouts, number, second, &values),
                Some(values.map(str::to_owned).to_vec()),
                "{second}"
            );
        }
    }

    #[test]
    fn what_is_not_written_alike_is_not_followed() {
        let mut layouts = Layouts::default();
        let values = ["1", r#""x""#];
        let known = r#"{"a":1,"b":"x","c":2}"#;
        assert_eq!(follow(&mut layouts, 0, known, &values), None);
        assert!(follow(&mut layouts, 1, known, &values).is_some());
        // None of them is learned, as the free ones are used up.
        layouts.learned = LEARNED_FREELY;
        for other in [
            r#"{"a":1,"b":"x","c":2},"#,
            r#"{"a":1,"b":"x","c":2"#,
            r#"{"a":1,"b":"x","c":2]"#,
            r#"{"a":1,"b":"x","c":2}}"#,
            r#"{"a":1,"b":"x","c":2} "#,
            r#"{"a":1,"b":"x","d":2}"#,
            r#"{"a":1,"b":"x""x","c":2}"#,
            r#"{"a":1,"b":"x","c":"2""}"#,
            r#"{"a":1,"b":"x","c":}"#,
            r#"{"a":1,"b":"x","c":{}}"#,
            r#"{"a":1,"b":"x","c":[2]}"#,
            r#"{"a":1,"b":"x","c":tru}"#,
            r#"{"a":1,"b":"x","c":02}"#,
            r#"{"a":1,"b":"x","c":"\x"}"#,
            r#"{"a":1,"b":"x"}"#,
            r#"{"a":1,"b":"x","c":2,"d":2}"#,
            "",
        ] {
            assert_eq!(follow(&mut layouts, 2, other, &["", ""]), None, "{other}");
        }
        assert!(follow(&mut layouts, 3, known, &values).is_some());
    }

    #[test]
    fn of_many_records_those_written_alike_are_followed() {
        let others = [
            r#"{"a":1,"b":"x","d":2}"#,
            r#"{"a":1,"e":"x","c":2}"#,
            r#"{"a":1,"b":"x""x","c":null}"#,
            r#"{"a":1,"b":"x","c":"\n"}"#,
            r#"{"a":1,"b":"x","c":2}}"#,
            r#"{"a":1,"b":"x","c":2} "#,
            r#"{"a":1,"b":"x","c":02}"#,
            r#"{"a":1,"b":"x"}"#,
            "",
        ];
        // The first is a record of another kind: of that values are texts which are none in the second.
        let written =
            |n: usize| [format!(r#"{{"a":{n},"b":"x{n}","c":2}}"#), format!(r#"{{"a":{n},"b":null,"c":"{n}"}}"#)];
        for (other, at, kind) in (0..others.len()).flat_map(|other| (0..64).map(move |at| (other, at, at % 2))) {
            let mut layouts = Layouts::default();
            assert_eq!(follow(&mut layouts, 0, r#"{"a":1,"b":"x","c":2}"#, &["1", r#""x""#]), None);
            let mut records: Vec<String> = (0..64).map(|n| written(n)[0].clone()).collect();
            records[at] = others[other].to_owned();
            records[(at + 20) % 64] = written(at)[kind].clone();
            let mut block = Block::default();
            block.fill(records.iter().map(String::as_bytes), usize::MAX / 2);
            let mut spans = vec![Span::default(); 2 * ROWS_MAX];
            let stop = |row: usize| row == at && other != 3;
            let mut row = 0;
            while row < 64 {
                let after = layouts.follow(&block, &mut spans, row, 1);
                assert_eq!((row..64).find(|row| stop(*row)).unwrap_or(64), after, "{:?}", records[at]);
                let is_noted = |row| Row::new(&mut spans, row).noted().next().is_some();
                assert!(!(after..64).any(is_noted), "what comes after {:?} is not noted yet", records[at]);
                row = after + 1;
            }
            for (row, record) in records.iter().enumerate() {
                let noted = Row::new(&mut spans, row)
                    .noted()
                    .map(|(_, span)| span.of(block.bytes()).to_vec())
                    .collect::<Vec<_>>();
                let values = record.strip_prefix(r#"{"a":"#).and_then(|rest| rest.split_once(r#","b":"#));
                let (first, rest) = values.unwrap_or_default();
                let second = rest.split_once(',').unwrap_or_default().0;
                let expected =
                    if stop(row) { Vec::new() } else { vec![first.as_bytes().to_vec(), second.as_bytes().to_vec()] };
                assert_eq!(noted, expected, "{record}");
            }
        }
    }

    #[test]
    fn what_is_broken_is_not_learned() {
        let mut layouts = Layouts::default();
        for (number, broken) in
            (0..4).zip([r#"{"a":{"b":1,"c":"x"}"#, r#"{"a":1,"b":"x",}"#, r#"{"a":[1,"x"}"#, r#"{"a":1 "b":"x"}"#])
        {
            assert_eq!(follow(&mut layouts, number, broken, &["1", r#""x""#]), None);
        }
        assert!(layouts.known.is_empty());
    }

    #[test]
    fn layouts_that_nobody_has_are_forgotten() {
        let mut layouts = Layouts::default();
        let written = |n: u64| format!(r#"{{"name {n}":1}}"#);
        for n in 0..100 {
            assert_eq!(follow(&mut layouts, n, &written(n), &["1"]), None);
        }
        assert_eq!((layouts.learned, layouts.known.len()), (LEARNED_FREELY, LAYOUTS_MAX));
        assert_eq!(follow(&mut layouts, 2 * LEARNED_EVERY, &written(0), &["1"]), None);
        assert_eq!(layouts.known.len(), 1);
        assert!(follow(&mut layouts, 2 * LEARNED_EVERY, &written(0), &["1"]).is_some());
    }

    #[test]
    fn what_is_in_vain_is_tried_less_and_less_until_it_is_not() {
        let mut layouts = Layouts::default();
        let written = |n: u64| format!(r#"{{"name {n}":1}}"#);
        for n in 0..2000 {
            let number = n * COMPARED_EVERY * 4;
            assert_eq!(follow(&mut layouts, number, &written(n), &["1"]), None);
        }
        assert!((LEARNED_FREELY + 6..LEARNED_FREELY + 16).contains(&layouts.learned), "{}", layouts.learned);
        let next = layouts.next;
        assert_eq!(follow(&mut layouts, next, "{\"a\":1}", &["1"]), None);
        let number = layouts.next / COMPARED_EVERY * COMPARED_EVERY;
        assert_eq!(follow(&mut layouts, number + 1, "{\"a\":1}", &["1"]), None, "it is not even compared");
        assert!(follow(&mut layouts, number, "{\"a\":1}", &["1"]).is_some());
        assert!(follow(&mut layouts, number + 1, "{\"a\":1}", &["1"]).is_some());
        assert_eq!(layouts.every, LEARNED_EVERY);
    }
}
