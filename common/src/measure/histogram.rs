//! `histogram`: how many inputs fell between which edges: 64-bit counts, below the first edge, from each edge to the next, and
//! from the last on.
//!
//! Bins are half-open, `[edge, next edge)`. NaN is the greatest double, so it is counted from the last edge on.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array};

use super::{
    Error,
    accumulator::{Accumulator, only},
    finished::{list, structs},
    input::{Input, Values, from_ordered, to_ordered},
    rows::{Rows, grow},
    sum,
    value::ValueType,
};
use crate::schema::ColumnType;

/// The edges of a histogram's bins, ascending: ints as they are, decimals in units of the input's last digit, doubles as
/// numbers that order as they do. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges {
    keys: Arc<[i128]>,
    input: ColumnType,
}

impl Edges {
    /// The edges written as `texts`, in the type of the input.
    ///
    /// # Errors
    /// In words, what is wrong with one of them.
    pub(crate) fn parse<'a>(texts: impl Iterator<Item = &'a str>, input: ColumnType) -> Result<Self, String> {
        let keys: Arc<[i128]> = texts.map(|text| key(text, input)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("there is no edge".to_owned());
        }
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err("each edge must be greater than the one before".to_owned());
        }
        Ok(Self { keys, input })
    }

    /// The edges as SQL has them, each in its shortest form.
    #[must_use]
    pub fn sql(&self) -> String {
        let texts: Vec<String> = self.keys.iter().map(|&key| text(key, self.input)).collect();
        format!("[{}]", texts.join(", "))
    }

    /// The finite edges as doubles, the nearest ones; for those who compute a histogram another way.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        self.keys.iter().map(|&key| text(key, self.input).parse().expect("an edge is a number")).collect()
    }

    /// One more than there are edges.
    fn bins(&self) -> usize {
        self.keys.len() + 1
    }

    /// Bytes of a state.
    pub(super) fn width(&self) -> i32 {
        8 * self.bins() as i32
    }

    /// The edges as a column of the input's type: none, then each; and each, then none.
    fn columns(&self, groups: usize) -> [ArrayRef; 2] {
        let below = || std::iter::once(None).chain(self.keys.iter().copied().map(Some));
        let above = || self.keys.iter().copied().map(Some).chain([None]);
        let repeated = |bins: &dyn Fn() -> Vec<Option<i128>>| {
            let keys = bins().into_iter().cycle().take(groups * self.bins());
            column(keys, self.input)
        };
        [repeated(&|| below().collect()), repeated(&|| above().collect())]
    }
}

fn key(text: &str, input: ColumnType) -> Result<i128, String> {
    match input {
        ColumnType::Double => match text.parse::<f64>() {
            Ok(edge) if edge.is_finite() => Ok(to_ordered(edge).into()),
            _ => Err(format!("`{text}` is not a finite number")),
        },
        ColumnType::Decimal { scale, .. } => units(text, scale)
            .ok_or_else(|| format!("`{text}` is not a number of at most {scale} digits after the point")),
        _ => text.parse::<i64>().map(i128::from).map_err(|_| format!("`{text}` is not a whole number of 64 bits")),
    }
}

/// `text` in units of 10^-scale, if it is whole in them.
fn units(text: &str, scale: u8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padding = usize::from(scale).checked_sub(fraction.len())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{fraction}{}", "0".repeat(padding)).parse().ok()
}

fn text(key: i128, input: ColumnType) -> String {
    match input {
        ColumnType::Double => from_ordered(key as i64).to_string(),
        ColumnType::Decimal { scale: 0, .. } => key.to_string(),
        ColumnType::Decimal { scale, .. } => {
            let (sign, digits) = (if key < 0 { "-" } else { "" }, key.unsigned_abs());
            let unit = 10_u128.pow(u32::from(scale));
            format!("{sign}{}.{:0width$}", digits / unit, digits % unit, width = usize::from(scale))
        }
        _ => key.to_string(),
    }
}

fn column(keys: impl Iterator<Item = Option<i128>>, input: ColumnType) -> ArrayRef {
    match input {
        ColumnType::Double => {
            Arc::new(keys.map(|key| key.map(|key| from_ordered(key as i64))).collect::<Float64Array>())
        }
        ColumnType::Decimal { .. } => Arc::new(keys.collect::<Decimal128Array>().with_data_type(input.arrow())),
        _ => Arc::new(keys.map(|key| key.map(|key| key as i64)).collect::<Int64Array>()),
    }
}

/// Counts between edges.
#[derive(Debug)]
pub(super) struct Histogram {
    name: String,
    edges: Edges,
    /// A count a bin, group after group.
    counts: Vec<i64>,
}

impl Histogram {
    pub(super) fn new(name: String, edges: Edges) -> Self {
        Self { name, edges, counts: Vec::new() }
    }

    #[inline(always)]
    fn add<K: Ord>(
        &mut self,
        groups: usize,
        rows: Rows<'_>,
        input: &Input,
        edges: &[K],
        key: impl Fn(usize) -> K,
    ) -> Result<(), Error> {
        let bins = edges.len() + 1;
        grow(&mut self.counts, groups * bins, 0);
        let counts = &mut self.counts[..];
        let mut over = false;
        rows.for_each(input.nulls(), |row, group| {
            let key = key(row);
            let count = &mut counts[group * bins + edges.partition_point(|edge| *edge <= key)];
            let (sum, overflowed) = count.overflowing_add(1);
            *count = sum;
            over |= overflowed;
        });
        self.check(over)
    }

    fn check(&self, over: bool) -> Result<(), Error> {
        if over { Err(Error::Overflow { state: self.name.clone(), limit: "int" }) } else { Ok(()) }
    }
}

impl Accumulator for Histogram {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let (input, edges) = (only(inputs), self.edges.clone());
        let words = || edges.keys.iter().map(|&key| key as i64).collect::<Vec<_>>();
        match input.values() {
            Values::Int(values) => self.add(groups, rows, input, &words(), |row| values[row]),
            Values::Double(values) => self.add(groups, rows, input, &words(), |row| to_ordered(values[row])),
            Values::Decimal(values) => self.add(groups, rows, input, &edges.keys, |row| values.at(row)),
            _ => unreachable!("histograms admit numbers only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = counts(&self.name, states, &self.edges)?;
        let bins = self.edges.bins();
        grow(&mut self.counts, groups * bins, 0);
        let mut over = false;
        let counts = &mut self.counts[..];
        rows.for_each(None, |row, group| {
            for (ours, theirs) in counts[group * bins..][..bins].iter_mut().zip(words(states, row)) {
                let (sum, overflowed) = ours.overflowing_add(theirs);
                *ours = sum;
                over |= overflowed;
            }
        });
        self.check(over)
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let bins = self.edges.bins();
        let counts = order.iter().flat_map(|&group| &self.counts[group as usize * bins..][..bins]);
        let bytes: Vec<u8> = counts.flat_map(|count| count.to_le_bytes()).collect();
        self.counts.clear();
        Ok(Arc::new(FixedSizeBinaryArray::new(self.edges.width(), bytes.into(), None)))
    }
}

/// The counts of one state.
fn words(states: &FixedSizeBinaryArray, row: usize) -> impl Iterator<Item = i64> {
    let (words, _) = states.value(row).as_chunks::<8>();
    words.iter().map(|&word| i64::from_le_bytes(word))
}

/// A column of states, found canonical.
fn counts<'a>(name: &str, states: &'a ArrayRef, edges: &Edges) -> Result<&'a FixedSizeBinaryArray, Error> {
    let states = sum::sums(name, states, edges.width())?;
    if states.null_count() > 0 {
        return Err(Error::Null { column: name.to_owned() });
    }
    if (0..states.len()).any(|row| words(states, row).any(|count| count < 0)) {
        return Err(Error::Corrupt { state: "histogram", message: "a count is negative".to_owned() });
    }
    Ok(states)
}

/// The finished histograms: a list of `{from, to, count}` each, every bin in order, open ends being null.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Type`], [`Error::Null`].
pub(super) fn finish(name: &str, edges: &Edges, states: &ArrayRef) -> Result<ArrayRef, Error> {
    let states = counts(name, states, edges)?;
    let counted: Int64Array = (0..states.len()).flat_map(|row| words(states, row)).map(Some).collect();
    let [from, to] = edges.columns(states.len());
    let value_type = ValueType::Bins(edges.input);
    let bins = structs(value_type, vec![from, to, Arc::new(counted)])?;
    list(value_type, std::iter::repeat_n(edges.bins(), states.len()), bins, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MONEY: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };

    #[test]
    fn edges_are_written_as_they_are_read() {
        for (texts, input, sql) in [
            (&["-10", "0", "9223372036854775807"][..], ColumnType::Int, "[-10, 0, 9223372036854775807]"),
            (&["-1e3", "0.50", "1e300"], ColumnType::Double, &format!("[-1000, 0.5, {}]", 1e300)),
            (&["-0.05", "0", "12.5"], MONEY, "[-0.05, 0.00, 12.50]"),
        ] {
            let edges = Edges::parse(texts.iter().copied(), input).unwrap();
            assert_eq!(edges.sql(), sql);
            let again = edges.sql();
            let again = again.trim_matches(['[', ']']).split(", ");
            assert_eq!(Edges::parse(again, input).unwrap(), edges);
        }
        for (texts, input) in [
            (&["1", "1"][..], ColumnType::Int),
            (&["2", "1"], ColumnType::Int),
            (&["1.5"], ColumnType::Int),
            (&["1.505"], MONEY),
            (&["inf"], ColumnType::Double),
            (&[], ColumnType::Int),
        ] {
            assert!(Edges::parse(texts.iter().copied(), input).is_err(), "{texts:?}");
        }
    }
}
