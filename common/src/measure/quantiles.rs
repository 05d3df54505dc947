//! `quantiles`: a DDSketch of the inputs as doubles.

use std::{any::Any, collections::HashMap};

use arrow::array::ArrayRef;

use super::{
    Error,
    accumulator::{Accumulator, only},
    ddsketch::{Buckets, Sketch, decode},
    encoded::EncodedStates,
    input::{Input, Values},
    rows::Rows,
    sketched::{self, Sketches},
};
use crate::schema::ColumnType;

/// How a quantiles state reads its inputs.
#[derive(Debug)]
pub(super) struct Settings {
    name: String,
    buckets: Buckets,
}

impl sketched::Sketch for Sketch {
    type Settings = Settings;
    /// A key.
    type Item = i32;

    fn check(bytes: &[u8], settings: &Settings) -> Result<(), Error> {
        decode(bytes, &settings.buckets).try_for_each(|bucket| bucket.map(|_| ()))
    }

    fn extend(&mut self, keys: &[i32], settings: &Settings) -> Result<(), Error> {
        self.extend(keys).map_err(|_| overflow(&settings.name))
    }

    fn absorb(&mut self, other: Self, settings: &Settings) -> Result<(), Error> {
        self.absorb(other).map_err(|_| overflow(&settings.name))
    }

    fn merge(&mut self, bytes: &[u8], settings: &Settings) -> Result<(), Error> {
        for bucket in decode(bytes, &settings.buckets) {
            let (key, count) = bucket?;
            self.add(key, count).map_err(|_| overflow(&settings.name))?;
        }
        Ok(())
    }

    fn encode(self, settings: &Settings, bytes: &mut Vec<u8>) {
        self.encode(&settings.buckets, bytes);
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

#[cold]
fn overflow(name: &str) -> Error {
    Error::Overflow { state: name.to_owned(), limit: "64 bits in one bucket" }
}

#[derive(Debug)]
pub(super) struct Quantiles {
    sketches: Sketches<Sketch>,
    /// What a decimal's units are divided by to be its value.
    divisor: f64,
}

impl Quantiles {
    pub(super) fn new(name: String, relative_error: f64, input: ColumnType) -> Self {
        let scale = if let ColumnType::Decimal { scale, .. } = input { scale } else { 0 };
        let divisor = 10_u128.pow(u32::from(scale)) as f64;
        let settings = Settings { name: name.clone(), buckets: Buckets::new(relative_error) };
        Self { sketches: Sketches::new(name, settings), divisor }
    }

    #[inline(always)]
    fn add(&mut self, groups: usize, rows: Rows<'_>, input: &Input, value: impl Fn(usize) -> f64) -> Result<(), Error> {
        let buckets = self.sketches.settings().buckets;
        self.sketches.add(groups, rows, input.nulls(), |row| buckets.key(value(row)))
    }
}

impl Accumulator for Quantiles {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let input = only(inputs);
        let divisor = self.divisor;
        match input.values() {
            Values::Int(values) => self.add(groups, rows, input, |row| values[row] as f64),
            Values::Double(values) => self.add(groups, rows, input, |row| values[row]),
            Values::Decimal(values) => self.add(groups, rows, input, |row| values.at(row) as f64 / divisor),
            _ => unreachable!("quantiles admit numbers only"),
        }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        self.sketches.merge(groups, rows, states)
    }

    fn absorb(&mut self, groups: usize, rows: Rows<'_>, from: &mut dyn Any) -> Option<Result<(), Error>> {
        Some(self.sketches.absorb(groups, rows, &mut from.downcast_mut::<Self>()?.sketches))
    }

    fn take_encoded(&mut self) -> Option<Result<EncodedStates, Error>> {
        Some(self.sketches.take_encoded())
    }

    fn bytes(&self) -> usize {
        self.sketches.bytes()
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        self.sketches.take(order)
    }
}

/// Answers the same quantiles of many states.
#[derive(Debug)]
pub(super) struct Percentiles<'a> {
    name: String,
    quantiles: &'a [f64],
    buckets: Buckets,
    /// Values already found, by key: finding one takes a search.
    values: HashMap<i32, f64>,
    /// Of the state at hand: how many values there are up to each key.
    ranks: Vec<(u64, i32)>,
}

impl<'a> Percentiles<'a> {
    pub(super) fn new(name: String, relative_error: f64, quantiles: &'a [f64]) -> Self {
        Self { name, quantiles, buckets: Buckets::new(relative_error), values: HashMap::new(), ranks: Vec::new() }
    }

    /// The value at each quantile: of n values in order, the one with number ⌈quantile · n⌉, counted from 1 (SQL's
    /// `percentile_disc`), within the sketch's relative error. `None` of no values.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Overflow`].
    pub(super) fn of(&mut self, bytes: &[u8]) -> Result<Option<Vec<f64>>, Error> {
        self.ranks.clear();
        let mut total = 0_u64;
        for bucket in decode(bytes, &self.buckets) {
            let (key, count) = bucket?;
            let limit = "64 bits";
            total = total.checked_add(count).ok_or_else(|| Error::Overflow { state: self.name.clone(), limit })?;
            self.ranks.push((total, key));
        }
        if total == 0 {
            return Ok(None);
        }
        let value = |&quantile: &f64| {
            let rank = rank(quantile, total);
            // The rank is at most the total, which stands beside the last key.
            let (_, key) = self.ranks[self.ranks.partition_point(|&(up_to, _)| up_to < rank)];
            *self.values.entry(key).or_insert_with(|| self.buckets.value(key))
        };
        Ok(Some(self.quantiles.iter().map(value).collect()))
    }
}

/// ⌈quantile · n⌉, 1 to n. A product that is whole but for its rounding is whole: 0.07 · 100 is 7.
fn rank(quantile: f64, n: u64) -> u64 {
    let product = quantile * n as f64;
    let whole = product.round();
    let rank = if (product - whole).abs() <= whole * 1e-12 { whole } else { product.ceil() };
    (rank as u64).clamp(1, n)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_percentile_disc() {
        assert_eq!(rank(0.07, 100), 7);
        assert_eq!(rank(0.5, 3), 2);
        assert_eq!(rank(0.5, 4), 2);
        assert_eq!(rank(0.0, 4), 1);
        assert_eq!(rank(1.0, 4), 4);
        assert_eq!(rank(0.95, 100), 95);
        assert_eq!(rank(0.95, 101), 96);
        assert_eq!(rank(1.0, u64::MAX), u64::MAX);
    }

    fn relative_error_of(values: &mut [f64], quantile: f64) -> f64 {
        let buckets = Buckets::new(0.01);
        let mut sketch = Sketch::default();
        for &mut value in &mut *values {
            sketch.add(buckets.key(value), 1).unwrap();
        }
        let mut bytes = Vec::new();
        sketch.encode(&buckets, &mut bytes);
        let answer = Percentiles::new(String::new(), 0.01, &[quantile]).of(&bytes).unwrap().unwrap()[0];
        values.sort_by(f64::total_cmp);
        let exact = values[rank(quantile, values.len() as u64) as usize - 1];
        (answer - exact).abs() / exact.abs()
    }

    #[test]
    fn quantiles_of_uniform_skewed_tiny_and_huge_inputs_are_within_the_error() {
        let uniform = |i: u64| (i * 7919 % 100_003) as f64 + 1.0;
        let skewed = |i: u64| 1e6 / (1.0 + (i * 7919 % 100_003) as f64).powi(2);
        let tiny = |i: u64| uniform(i) * 1e-300;
        let huge = |i: u64| uniform(i) * 1e300;
        let signed = |i: u64| uniform(i) - 50_000.5;
        for (name, of) in [
            ("uniform", &uniform as &dyn Fn(u64) -> f64),
            ("skewed", &skewed),
            ("tiny", &tiny),
            ("huge", &huge),
            ("signed", &signed),
        ] {
            for n in [1, 2, 100, 512, 513, 50_000] {
                let mut values: Vec<f64> = (0..n).map(of).collect();
                for quantile in [0.0, 0.01, 0.25, 0.5, 0.95, 0.99, 0.999, 1.0] {
                    let error = relative_error_of(&mut values, quantile);
                    assert!(error <= 0.01 + 1e-12, "{quantile} of {n} {name}: {error}");
                }
            }
        }
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(Percentiles::new(String::new(), 0.01, &[0.5]).of(&[]).unwrap(), None);
    }
}
