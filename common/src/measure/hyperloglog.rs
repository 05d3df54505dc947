//! HyperLogLog, hashed and kept as Apache DataSketches does, so that registers are the same and sketches can be exchanged: first
//! the values' coupons, all of them, then 2^precision registers that merge by their maximum; and their one encoding.
//!
//! Flajolet, Fusy, Gandouet, Meunier 2007, "HyperLogLog"; the estimator of registers is Ertl 2017, "New cardinality estimation
//! algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6, which needs neither tables nor corrections.
//!
//! A coupon is all that is kept of a value's hash: where it goes, and its rank there. While there are at most [`coupons_max`] of
//! them, they are the state, and their number the estimate: of 384 values, two share a coupon in one state of 2,700.
//! Whether a state is coupons or registers depends on the set of coupons alone, and so on nothing but the values (L1).
//!
//! Encoding: nothing at all of no values. Else one byte, the precision, with [`DENSE`] set or not; then the coupons in order,
//! 4 bytes each, little-endian; or one byte a register, its rank.

use super::Error;

/// Set in the first byte of the dense form.
const DENSE: u8 = 0x80;

/// Bits of a coupon that say which register: as many as the largest sketch of DataSketches could need.
const ADDRESS_BITS: u32 = 26;

/// The greatest rank: 62 bits are zeros, or more.
pub(super) const RANK_MAX: u8 = 63;

/// Bytes of an encoded coupon.
const COUPON_BYTES: usize = 4;

/// What is kept of a value with this hash: `rank << 26 | address`, never 0. The address is the low bits of the first half, the
/// rank one more than the leading zeros of the second (`HllUtil::coupon` of DataSketches).
#[inline]
pub(super) fn coupon(hash: [u64; 2]) -> u32 {
    let rank = hash[1].leading_zeros().min(u32::from(RANK_MAX) - 1) + 1;
    rank << ADDRESS_BITS | hash[0] as u32 & ((1 << ADDRESS_BITS) - 1)
}

/// The register of a coupon, and its rank in it.
#[inline]
fn split(coupon: u32, precision: u8) -> (usize, u8) {
    (coupon as usize & (registers(precision) - 1), (coupon >> ADDRESS_BITS) as u8)
}

fn registers(precision: u8) -> usize {
    1 << precision
}

/// The most coupons that are kept as such: DataSketches turns to registers at the same number.
pub(super) fn coupons_max(precision: u8) -> usize {
    if precision < 8 { 7 } else { 3 << (precision - 5) }
}

/// Most coupons kept as they come.
const LOOSE_MAX: usize = 512;

/// What is kept of one group, while it is folded.
#[derive(Debug, Clone)]
pub(super) enum Registers {
    /// Coupons as they came, some maybe again; at most [`LOOSE_MAX`].
    Loose(Vec<u32>),
    /// Distinct coupons.
    Few(Coupons),
    /// A rank a register.
    Dense(Box<[u8]>),
}

impl Default for Registers {
    fn default() -> Self {
        Self::Loose(Vec::new())
    }
}

/// A hash table of coupons: the address is hash enough.
#[derive(Debug, Clone, Default)]
pub(super) struct Coupons {
    /// A power of two of slots, at most three quarters of them taken; 0 is free.
    slots: Box<[u32]>,
    taken: usize,
}

impl Coupons {
    /// Adds `coupon`; whether it was new.
    #[inline]
    fn insert(&mut self, coupon: u32) -> bool {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = coupon as usize & mask;
        loop {
            match self.slots[at] {
                0 => break,
                kept if kept == coupon => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = coupon;
        self.taken += 1;
        true
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![0; (self.slots.len() * 2).max(8)].into_boxed_slice();
        let grown = std::mem::replace(self, Self { slots, taken: 0 });
        grown.iter().for_each(|coupon| {
            self.insert(coupon);
        });
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().copied().filter(|&coupon| coupon != 0)
    }
}

impl Registers {
    /// Adds values by their coupons.
    pub(super) fn extend(&mut self, coupons: &[u32], precision: u8) {
        match self {
            Self::Dense(ranks) => coupons.iter().for_each(|&coupon| raise(ranks, coupon, precision)),
            Self::Loose(loose) if loose.len() + coupons.len() <= LOOSE_MAX => loose.extend_from_slice(coupons),
            Self::Loose(loose) => {
                let loose = std::mem::take(loose);
                *self = Self::Few(Coupons::default());
                self.extend(&loose, precision);
                self.extend(coupons, precision);
            }
            Self::Few(few) => {
                let mut coupons = coupons.iter();
                while few.taken <= coupons_max(precision) {
                    let Some(&coupon) = coupons.next() else { return };
                    few.insert(coupon);
                }
                self.densify(precision);
                self.extend(coupons.as_slice(), precision);
            }
        }
    }

    /// Adds all values of `other`.
    pub(super) fn absorb(&mut self, other: Self, precision: u8) {
        match other {
            other if matches!(self, Self::Loose(loose) if loose.is_empty()) => *self = other,
            Self::Loose(loose) => self.extend(&loose, precision),
            Self::Few(few) => self.extend(&few.iter().collect::<Vec<_>>(), precision),
            Self::Dense(theirs) => self.raise_all(&theirs, precision),
        }
    }

    /// Bytes held outside the sketch itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Loose(loose) => loose.capacity() * size_of::<u32>(),
            Self::Few(coupons) => size_of_val(&*coupons.slots),
            Self::Dense(ranks) => ranks.len(),
        }
    }

    fn raise_all(&mut self, theirs: &[u8], precision: u8) {
        for (ours, &theirs) in self.densify(precision).iter_mut().zip(theirs) {
            *ours = (*ours).max(theirs);
        }
    }

    #[cold]
    fn densify(&mut self, precision: u8) -> &mut [u8] {
        let dense = match self {
            Self::Dense(_) => None,
            Self::Loose(loose) => Some(ranks_of(loose.iter().copied(), precision)),
            Self::Few(few) => Some(ranks_of(few.iter(), precision)),
        };
        if let Some(ranks) = dense {
            *self = Self::Dense(ranks);
        }
        match self {
            Self::Dense(ranks) => ranks,
            Self::Loose(_) | Self::Few(_) => unreachable!("they were just made dense"),
        }
    }

    /// Merges an encoded state.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn merge(&mut self, bytes: &[u8], precision: u8) -> Result<(), Error> {
        match Encoded::read(bytes, precision)? {
            Encoded::Few(coupons) => self.extend(&coupons.collect::<Vec<_>>(), precision),
            Encoded::Dense(theirs) => self.raise_all(theirs, precision),
        }
        Ok(())
    }

    /// Appends the encoding.
    pub(super) fn encode(self, precision: u8, bytes: &mut Vec<u8>) {
        match self {
            Self::Loose(loose) => encode_few(loose, precision, bytes),
            Self::Few(few) => encode_few(few.iter().collect(), precision, bytes),
            Self::Dense(ranks) => encode_dense(&ranks, precision, bytes),
        }
    }
}

fn encode_few(mut coupons: Vec<u32>, precision: u8, bytes: &mut Vec<u8>) {
    coupons.sort_unstable();
    coupons.dedup();
    if coupons.len() > coupons_max(precision) {
        encode_dense(&ranks_of(coupons.into_iter(), precision), precision, bytes);
    } else if !coupons.is_empty() {
        bytes.push(precision);
        let start = bytes.len();
        bytes.resize(start + coupons.len() * COUPON_BYTES, 0);
        let (places, _) = bytes[start..].as_chunks_mut::<COUPON_BYTES>();
        places.iter_mut().zip(coupons).for_each(|(place, coupon)| *place = coupon.to_le_bytes());
    }
}

fn encode_dense(ranks: &[u8], precision: u8, bytes: &mut Vec<u8>) {
    bytes.push(precision | DENSE);
    bytes.extend_from_slice(ranks);
}

fn ranks_of(coupons: impl Iterator<Item = u32>, precision: u8) -> Box<[u8]> {
    let mut ranks = vec![0; registers(precision)].into_boxed_slice();
    coupons.for_each(|coupon| raise(&mut ranks, coupon, precision));
    ranks
}

#[inline]
fn raise(ranks: &mut [u8], coupon: u32, precision: u8) {
    let (register, rank) = split(coupon, precision);
    ranks[register] = ranks[register].max(rank);
}

/// A state's bytes, found canonical.
pub(super) enum Encoded<'a, C> {
    /// Its coupons, in order.
    Few(C),
    /// A rank a register.
    Dense(&'a [u8]),
}

impl<'a> Encoded<'a, ()> {
    /// Reads a state.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn read(
        bytes: &'a [u8],
        precision: u8,
    ) -> Result<Encoded<'a, impl ExactSizeIterator<Item = u32> + Clone + 'a>, Error> {
        let corrupt = |message: String| Error::Corrupt { state: "distinct", message };
        let (form, body) = bytes.split_first().map_or((precision, bytes), |(&form, body)| (form, body));
        if form & !DENSE != precision {
            return Err(corrupt(format!("its precision is {}, the view's {precision}", form & !DENSE)));
        }
        if form & DENSE != 0 {
            let greatest = body.iter().max().copied().unwrap_or(0);
            if body.len() != registers(precision) || greatest == 0 || greatest > RANK_MAX {
                return Err(corrupt(format!("{} dense registers, greatest rank {greatest}", body.len())));
            }
            return Ok(Encoded::Dense(body));
        }
        let (coupons, rest) = body.as_chunks::<COUPON_BYTES>();
        let coupons = coupons.iter().map(|&bytes| u32::from_le_bytes(bytes));
        let ranked = coupons.clone().all(|coupon| coupon >> ADDRESS_BITS > 0);
        let few = coupons.len() <= coupons_max(precision) && (coupons.len() > 0 || bytes.is_empty());
        if !rest.is_empty() || !ranked || !few || !coupons.clone().is_sorted_by(|a, b| a < b) {
            return Err(corrupt(format!("{} bytes of coupons that are not canonical", body.len())));
        }
        Ok(Encoded::Few(coupons))
    }
}

/// The estimate of how many distinct values an encoded state has seen.
///
/// # Errors
/// [`Error::Corrupt`].
pub(super) fn estimate(bytes: &[u8], precision: u8) -> Result<u64, Error> {
    let mut ranks = [0_u32; RANK_MAX as usize + 1];
    match Encoded::read(bytes, precision)? {
        Encoded::Few(coupons) => return Ok(coupons.len() as u64),
        Encoded::Dense(dense) => dense.iter().for_each(|&rank| ranks[usize::from(rank)] += 1),
    }
    let m = registers(precision) as f64;
    let last = usize::from(RANK_MAX);
    let mut z = m * tau(1.0 - f64::from(ranks[last]) / m);
    for &count in ranks[1..last].iter().rev() {
        z = 0.5 * (z + f64::from(count));
    }
    z += m * sigma(f64::from(ranks[0]) / m);
    // alpha of infinitely many registers is 1 / (2 ln 2).
    Ok((m * m / (2.0 * std::f64::consts::LN_2) / z).round() as u64)
}

/// Ertl 2017, equation 20. Only arithmetic that IEEE 754 rounds exactly: the same everywhere.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl 2017, equation 22.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{super::murmur, *};

    fn bytes_of(values: impl IntoIterator<Item = u64>, precision: u8) -> Vec<u8> {
        encoded(values.into_iter().map(|value| coupon(murmur::hash_word(value))), precision)
    }

    fn encoded(coupons: impl IntoIterator<Item = u32>, precision: u8) -> Vec<u8> {
        let mut sketch = Registers::default();
        sketch.extend(&coupons.into_iter().collect::<Vec<_>>(), precision);
        let mut bytes = Vec::new();
        sketch.encode(precision, &mut bytes);
        bytes
    }

    #[test]
    fn estimates_are_within_four_standard_errors() {
        for precision in [4, 8, 12, 16] {
            let error = 4.0 * 1.04 / f64::from(1_u32 << precision).sqrt();
            for n in [0_u64, 1, 2, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
                let estimate = estimate(&bytes_of(0..n, precision), precision).unwrap() as f64;
                let off = (estimate - n as f64).abs();
                assert!(off <= (n as f64 * error).max(0.5), "{n} at p={precision}: {estimate}");
            }
        }
    }

    #[test]
    fn repeated_values_count_once() {
        let skewed = (0..1_000_000_u64).map(|i| i * i % 1000);
        let distinct: BTreeSet<u64> = skewed.clone().collect();
        assert_eq!(bytes_of(skewed, 12), bytes_of(distinct, 12));
    }

    #[test]
    fn l1_the_form_depends_on_the_distinct_values_alone() {
        assert_eq!(bytes_of(std::iter::repeat_n(7, 10_000), 12), bytes_of([7], 12));
        assert_eq!(bytes_of([7], 12).len(), 5);
        assert_eq!(bytes_of((0..384).chain(0..384), 12).len(), 1 + 4 * 384);
        assert_eq!(bytes_of(0..385, 12).len(), 4097);
    }

    proptest! {
        #[test]
        fn l1_states_merge_to_that_of_all_values(
            precision in 4..=10_u8,
            values in prop::collection::vec(0..200_u64, 0..400),
            cut in any::<prop::sample::Index>(),
        ) {
            let (a, b) = values.split_at(cut.index(values.len() + 1));
            let parts = [bytes_of(a.iter().copied(), precision), bytes_of(b.iter().copied(), precision)];
            for order in [[0, 1], [1, 0]] {
                let mut merged = Registers::default();
                order.into_iter().for_each(|part| merged.merge(&parts[part], precision).unwrap());
                let mut bytes = Vec::new();
                merged.encode(precision, &mut bytes);
                prop_assert_eq!(&bytes, &bytes_of(values.iter().copied(), precision));
            }
        }
    }

    #[test]
    fn bytes_that_are_not_canonical_are_corrupt() {
        let corrupt = |bytes: &[u8]| assert!(estimate(bytes, 12).is_err(), "{bytes:?}");
        let one = encoded([1 << ADDRESS_BITS | 9], 12);
        assert!(estimate(&one, 12).is_ok());
        corrupt(&[12]);
        corrupt(&[&[11], &one[1..]].concat());
        corrupt(&one[..4]);
        corrupt(&[12, 9, 0, 0, 0]);
        corrupt(&[&one[..], &one[1..]].concat());
        corrupt(&[&one[..], &[1, 0, 0, 4]].concat());
        corrupt(&[12 | DENSE; 4097]);
        corrupt(&[12 | DENSE, 1]);
        let mut none = vec![0; 4097];
        none[0] = 12 | DENSE;
        corrupt(&none);
        let many: Vec<u8> =
            std::iter::once(12).chain((1..=385_u32).flat_map(|at| (1 << ADDRESS_BITS | at).to_le_bytes())).collect();
        assert!(estimate(&many[..1 + 4 * 384], 12).is_ok());
        corrupt(&many);
        let dense = bytes_of(0..100_000, 12);
        assert!(estimate(&dense, 12).is_ok());
        corrupt(&dense[..4096]);
        assert!(Registers::default().merge(&[12, 1], 12).is_err());
    }
}
