//! DDSketch: counts of values in buckets whose width grows with the value, so that any quantile is known within a relative
//! error; and their one encoding.
//!
//! Masson, Rim, Lee 2019, "DDSketch" (VLDB 12), with the cubically interpolated logarithm of Datadog's `sketches-java` in
//! the place of a true one, made of additions and multiplications alone, so that every machine finds the same bucket. Nothing
//! is ever collapsed: merging is addition of counts, and the bound holds for every quantile.
//!
//! Every double has a key, and keys order as values do: -inf, negative, zero (with all subnormals), positive, +inf, NaN.
//!
//! Encoding: nothing of no values; else for each key with a count, in order: the key's distance from the last one (from the
//! key of -inf for the first, plus one), then the count, both LEB128.

use std::collections::BTreeMap;

use super::{
    Error,
    leb128::{read_number, write_number},
};

/// The logarithm's cubic `((A s + B) s + C) s`, of which the slope against the true logarithm is never below C.
const A: f64 = 6.0 / 35.0;
const B: f64 = -3.0 / 5.0;
const C: f64 = 10.0 / 7.0;

/// Buckets for one relative error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    /// Buckets an octave.
    density: f64,
    /// Added to a positive value's bucket so that the least key is 1.
    offset: i32,
    /// The key of the greatest finite double.
    last: i32,
}

impl Buckets {
    /// The buckets for `relative_error`, 0.0001 to 0.5.
    pub(super) fn new(relative_error: f64) -> Self {
        // The bucket `(low, high]` is answered within the error if high / low is at most (1 + error) / (1 - error).
        let density = 1.0 / (C * twice_atanh(relative_error));
        let bucket = |value: f64| ceil(logarithm(value) * density);
        let offset = 1 - bucket(f64::MIN_POSITIVE);
        Self { density, offset, last: bucket(f64::MAX) + offset }
    }

    /// The key of any double.
    #[inline]
    pub(super) fn key(&self, value: f64) -> i32 {
        let magnitude = value.abs();
        if (f64::MIN_POSITIVE..=f64::MAX).contains(&magnitude) {
            let key = self.positive_key(magnitude);
            if value < 0.0 { -key } else { key }
        } else if magnitude < f64::MIN_POSITIVE {
            0
        } else if value.is_nan() {
            self.nan()
        } else if value < 0.0 {
            -self.infinite()
        } else {
            self.infinite()
        }
    }

    #[inline]
    fn positive_key(&self, value: f64) -> i32 {
        ceil(logarithm(value) * self.density) + self.offset
    }

    fn infinite(&self) -> i32 {
        self.last + 1
    }

    fn nan(&self) -> i32 {
        self.last + 2
    }

    /// A value within the relative error of every value with this key.
    pub(super) fn value(&self, key: i32) -> f64 {
        match key {
            0 => 0.0,
            _ if key < 0 => -self.value(-key),
            _ if key == self.infinite() => f64::INFINITY,
            _ if key == self.nan() => f64::NAN,
            _ => {
                let (low, high) = (self.greatest_up_to(key - 1), self.greatest_up_to(key));
                // 2 low high / (low + high), the same distance in ratio from both ends, without leaving the range.
                low / (0.5 * (1.0 + low / high))
            }
        }
    }

    /// The greatest positive double whose key is at most `key`, found by halving its bits: no inverse is needed.
    fn greatest_up_to(&self, key: i32) -> f64 {
        let (mut low, mut high) = (f64::MIN_POSITIVE.to_bits(), f64::MAX.to_bits());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.positive_key(f64::from_bits(middle)) <= key {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        f64::from_bits(low)
    }
}

/// About log2 of a positive normal double, exact at powers of two, increasing.
#[inline]
fn logarithm(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let s = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52) - 1.0;
    ((A * s + B) * s + C) * s + f64::from(exponent)
}

/// The least integer not below `value`, which is far inside the range of i32.
#[inline]
fn ceil(value: f64) -> i32 {
    let truncated = value as i32;
    truncated + i32::from(value > f64::from(truncated))
}

/// ln((1 + x) / (1 - x)) by its series: no libm, whose last digit differs between machines.
fn twice_atanh(x: f64) -> f64 {
    let (mut sum, mut power, mut odd) = (0.0, x, 1.0);
    loop {
        let next = sum + power / odd;
        if next == sum {
            return 2.0 * sum;
        }
        sum = next;
        power *= x * x;
        odd += 2.0;
    }
}

/// Most values kept as they come.
const LOOSE_MAX: usize = 512;

/// The most keys of a window: values that differ by a factor of 10^17, at an error of 1 %.
const WINDOW_KEYS_MAX: i32 = 2048;

/// A window's ends are multiples of this.
const WINDOW_STEP: i32 = 64;

/// Counts by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// The window's first key.
    first: i32,
    /// The counts of the keys of the window, which is around where the values are.
    window: Vec<u64>,
    /// Those of all other keys.
    far: BTreeMap<i32, u64>,
}

impl Counts {
    #[inline]
    fn add(&mut self, key: i32, count: u64) -> Result<(), CountOverflow> {
        match self.window.get_mut(key.wrapping_sub(self.first) as u32 as usize) {
            Some(slot) => {
                *slot = slot.checked_add(count).ok_or(CountOverflow)?;
                Ok(())
            }
            None => self.add_outside(key, count),
        }
    }

    #[cold]
    fn add_outside(&mut self, key: i32, count: u64) -> Result<(), CountOverflow> {
        let start = key - key.rem_euclid(WINDOW_STEP);
        let (mut first, mut end) = (start, start + WINDOW_STEP);
        if !self.window.is_empty() {
            (first, end) = (first.min(self.first), end.max(self.first + self.window.len() as i32));
        }
        if end - first > WINDOW_KEYS_MAX {
            let slot = self.far.entry(key).or_default();
            *slot = slot.checked_add(count).ok_or(CountOverflow)?;
        } else {
            let shift = if self.window.is_empty() { 0 } else { (self.first - first) as usize };
            let mut window = vec![0; (end - first) as usize];
            window[shift..shift + self.window.len()].copy_from_slice(&self.window);
            window[(key - first) as usize] = count;
            (self.first, self.window) = (first, window);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        // A tree's nodes are two thirds full.
        self.window.capacity() * size_of::<u64>() + self.far.len() * 3 / 2 * size_of::<(i32, u64)>()
    }

    /// The keys with counts, in order.
    fn into_sorted(self) -> impl Iterator<Item = (i32, u64)> {
        let Self { first, window, far: mut before } = self;
        // The window never comes to a key that was too far from a part of it.
        let after = before.split_off(&first);
        let window = (first..).zip(window).filter(|&(_, count)| count > 0);
        before.into_iter().chain(window).chain(after)
    }
}

/// The counts of one group, while it is folded.
#[derive(Debug, Clone)]
pub(super) enum Sketch {
    /// A key a value, in the order they came; at most [`LOOSE_MAX`].
    Loose(Vec<i32>),
    /// Counts by key.
    Counted(Box<Counts>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Loose(Vec::new())
    }
}

/// A bucket's count is past 64 bits.
#[derive(Debug)]
pub(super) struct CountOverflow;

impl Sketch {
    /// Adds a value with each of these keys.
    pub(super) fn extend(&mut self, keys: &[i32]) -> Result<(), CountOverflow> {
        match self {
            Self::Loose(loose) if loose.len() + keys.len() <= LOOSE_MAX => {
                loose.extend_from_slice(keys);
                Ok(())
            }
            _ => {
                let counts = self.counted();
                keys.iter().try_for_each(|&key| counts.add(key, 1))
            }
        }
    }

    /// Adds `count` values with this key.
    pub(super) fn add(&mut self, key: i32, count: u64) -> Result<(), CountOverflow> {
        match self {
            Self::Loose(loose) if count == 1 && loose.len() < LOOSE_MAX => {
                loose.push(key);
                Ok(())
            }
            _ => self.counted().add(key, count),
        }
    }

    /// Adds all values of `other`.
    pub(super) fn absorb(&mut self, other: Self) -> Result<(), CountOverflow> {
        match other {
            other if matches!(self, Self::Loose(loose) if loose.is_empty()) => *self = other,
            Self::Loose(loose) => self.extend(&loose)?,
            Self::Counted(theirs) => {
                let ours = self.counted();
                theirs.into_sorted().try_for_each(|(key, count)| ours.add(key, count))?;
            }
        }
        Ok(())
    }

    /// Bytes held outside the sketch itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Loose(keys) => keys.capacity() * size_of::<i32>(),
            Self::Counted(counts) => size_of::<Counts>() + counts.bytes(),
        }
    }

    fn counted(&mut self) -> &mut Counts {
        if let Self::Loose(keys) = self {
            let mut counts = Box::<Counts>::default();
            for &key in keys.iter() {
                counts.add(key, 1).expect("a few values do not overflow a count");
            }
            *self = Self::Counted(counts);
        }
        match self {
            Self::Counted(counts) => counts,
            Self::Loose(_) => unreachable!("they were just counted"),
        }
    }

    /// Appends the encoding.
    pub(super) fn encode(self, buckets: &Buckets, bytes: &mut Vec<u8>) {
        let mut last = -buckets.infinite() - 1;
        let mut write = |key: i32, count: u64| {
            write_number(bytes, i64::from(key - last) as u64);
            write_number(bytes, count);
            last = key;
        };
        match self {
            Self::Loose(keys) => write_loose(keys, write),
            Self::Counted(counts) => counts.into_sorted().for_each(|(key, count)| write(key, count)),
        }
    }
}

/// Keys that are so near each other are counted instead of sorted.
const COUNTED_KEYS: usize = 512;

/// Calls `write(key, count)` for the keys in order.
fn write_loose(mut keys: Vec<i32>, mut write: impl FnMut(i32, u64)) {
    let (least, greatest) =
        keys.iter().fold((i32::MAX, i32::MIN), |(least, greatest), &key| (least.min(key), greatest.max(key)));
    if keys.len() >= COUNTED_KEYS / 16 && i64::from(greatest) - i64::from(least) < COUNTED_KEYS as i64 {
        // There are at most LOOSE_MAX.
        let mut counts = [0_u16; COUNTED_KEYS];
        let mut counted = [0_u64; COUNTED_KEYS / u64::BITS as usize];
        for &key in &keys {
            let at = (key - least) as usize;
            counts[at] += 1;
            counted[at / u64::BITS as usize] |= 1 << (at % u64::BITS as usize);
        }
        // From one bit that is set to the next: which counts are zero nobody can guess.
        for (first, mut bits) in (0..).step_by(u64::BITS as usize).zip(counted) {
            while bits > 0 {
                let at = first + bits.trailing_zeros() as usize;
                write(least + at as i32, u64::from(counts[at]));
                bits &= bits - 1;
            }
        }
    } else {
        keys.sort_unstable();
        keys.chunk_by(|a, b| a == b).for_each(|equal| write(equal[0], equal.len() as u64));
    }
}

/// The keys and counts of an encoded state, in order; an error at the first byte that is not canonical.
pub(super) fn decode<'a>(
    mut bytes: &'a [u8],
    buckets: &Buckets,
) -> impl Iterator<Item = Result<(i32, u64), Error>> + use<'a> {
    let (mut last, greatest) = (-i64::from(buckets.infinite()) - 1, i64::from(buckets.nan()));
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let mut next = || {
            let step = i64::try_from(read_number(&mut bytes)?).ok()?;
            let count = read_number(&mut bytes)?;
            let key = last.checked_add(step)?;
            (step > 0 && count > 0 && key <= greatest).then_some((key, count))
        };
        let read = next();
        if let Some((key, _)) = read {
            last = key;
        } else {
            bytes = &[];
        }
        let corrupt = || Error::Corrupt { state: "quantiles", message: format!("no bucket after {last}") };
        Some(read.map(|(key, count)| (key as i32, count)).ok_or_else(corrupt))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_error() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.01), Just(0.0001), Just(0.5), 0.0001..0.5_f64]
    }

    proptest! {
        #[test]
        fn every_value_is_within_the_error_of_its_bucket(relative_error in any_error(), value in any::<f64>()) {
            let buckets = Buckets::new(relative_error);
            let answer = buckets.value(buckets.key(value));
            if value.is_normal() {
                prop_assert!((answer - value).abs() <= value.abs() * relative_error * (1.0 + 1e-9), "{value}: {answer}");
            } else if value.is_nan() {
                prop_assert!(answer.is_nan());
            } else if value.is_infinite() {
                prop_assert_eq!(answer, value);
            } else {
                prop_assert_eq!(answer, 0.0);
            }
        }

        #[test]
        fn keys_order_as_values_do(relative_error in any_error(), a in any::<f64>(), b in any::<f64>()) {
            let buckets = Buckets::new(relative_error);
            if a <= b || b.is_nan() {
                prop_assert!(buckets.key(a) <= buckets.key(b));
            }
            prop_assert!(buckets.key(f64::MAX) < buckets.key(f64::INFINITY));
            prop_assert!(buckets.key(f64::MIN_POSITIVE) == 1);
        }

        #[test]
        fn keys_are_encoded_in_order_with_their_counts_however_far_apart_they_are(
            keys in (1..1_000_i32).prop_flat_map(|span| prop::collection::vec(-span..=span, 0..=LOOSE_MAX)),
        ) {
            let buckets = Buckets::new(0.01);
            let mut expected: BTreeMap<i32, u64> = BTreeMap::new();
            keys.iter().for_each(|&key| *expected.entry(key).or_default() += 1);
            let mut bytes = Vec::new();
            Sketch::Loose(keys).encode(&buckets, &mut bytes);
            let counts = decode(&bytes, &buckets).collect::<Result<Vec<_>, _>>().unwrap();
            prop_assert_eq!(counts, expected.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_decoded_to_what_encodes_to_them_or_are_corrupt(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let buckets = Buckets::new(0.01);
            if let Ok(counts) = decode(&bytes, &buckets).collect::<Result<Vec<_>, _>>() {
                let mut sketch = Sketch::default();
                for (key, count) in counts {
                    sketch.add(key, count).unwrap();
                }
                let mut again = Vec::new();
                sketch.encode(&buckets, &mut again);
                prop_assert_eq!(bytes, again);
            }
        }
    }

    #[test]
    fn a_key_may_be_as_great_as_not_a_number_and_no_greater() {
        let buckets = Buckets::new(0.01);
        let counts = |bytes: &[u8]| decode(bytes, &buckets).collect::<Result<Vec<_>, _>>();
        let mut bytes = Vec::new();
        write_number(&mut bytes, (buckets.nan() + buckets.infinite() + 1) as u64);
        bytes.push(1);
        assert_eq!(counts(&bytes).unwrap(), [(buckets.nan(), 1)]);
        bytes[0] += 1;
        assert!(counts(&bytes).is_err());
        assert!(counts(&[1]).is_err());
        assert!(counts(&[0, 1]).is_err());
        assert!(counts(&[1, 0]).is_err());
        assert!(counts(&[0x81, 0, 1]).is_err());
    }

    proptest! {
        #[test]
        fn counts_near_and_far_come_in_order(keys in prop::collection::vec((-9..9_i32, -70..70_i32), 0..600)) {
            let mut sketch = Sketch::default();
            let mut expected: BTreeMap<i32, u64> = BTreeMap::new();
            for key in keys.iter().map(|(far, near)| far * 1_000 + near) {
                sketch.add(key, 2).unwrap();
                *expected.entry(key).or_default() += 2;
            }
            if let Sketch::Counted(counts) = sketch {
                prop_assert_eq!(counts.into_sorted().collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_count_past_64_bits_is_an_error() {
        let mut sketch = Sketch::default();
        sketch.add(1, u64::MAX).unwrap();
        assert!(sketch.add(1, 1).is_err());
    }
}
