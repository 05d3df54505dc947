//! HyperLogLog: 2^precision registers that merge by their maximum, and their one encoding.
//!
//! Flajolet, Fusy, Gandouet, Meunier 2007, "HyperLogLog"; the estimator is Ertl 2017, "New cardinality estimation algorithms
//! for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6, which needs neither tables nor corrections.
//!
//! Encoding: nothing at all if no register is set. Else one byte, the precision, with [`DENSE`] set or not; then, if at
//! most a quarter of the registers are set, an entry of 3 bytes for each, by register (little-endian, `register << 6 | rank`);
//! else one byte a register, its rank. So the form, too, is a function of the registers alone.

use super::Error;

/// Set in the first byte of the dense form.
const DENSE: u8 = 0x80;

/// Bits of an entry that hold the rank.
const RANK_BITS: u32 = 6;

/// Bytes of an entry of the sparse form.
const ENTRY_BYTES: usize = 3;

/// The register that a hash falls in, and its rank in it, as an entry: `register << 6 | rank`.
#[inline]
fn entry_of(hash: u64, precision: u8) -> u32 {
    let register = (hash >> (64 - u32::from(precision))) as u32;
    // The bit past the hash's end bounds the rank at 65 - precision.
    let rank = (hash << precision | 1 << (precision - 1)).leading_zeros() + 1;
    register << RANK_BITS | rank
}

fn split(entry: u32) -> (usize, u8) {
    ((entry >> RANK_BITS) as usize, (entry & ((1 << RANK_BITS) - 1)) as u8)
}

fn registers(precision: u8) -> usize {
    1 << precision
}

/// The registers of one group, while it is folded.
#[derive(Debug, Clone)]
pub(super) enum Registers {
    /// Entries in the order they came, some of them superseded: at most an eighth as many as there are registers.
    Entries(Vec<u32>),
    /// A rank a register.
    Dense(Box<[u8]>),
}

impl Default for Registers {
    fn default() -> Self {
        Self::Entries(Vec::new())
    }
}

impl Registers {
    /// Adds a value by its hash.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, precision: u8) {
        self.raise(entry_of(hash, precision), precision);
    }

    #[inline]
    fn raise(&mut self, entry: u32, precision: u8) {
        match self {
            Self::Dense(ranks) => raise(ranks, entry),
            Self::Entries(entries) if entries.len() < registers(precision) / 8 => entries.push(entry),
            Self::Entries(_) => raise(self.densify(precision), entry),
        }
    }

    #[cold]
    fn densify(&mut self, precision: u8) -> &mut [u8] {
        if let Self::Entries(entries) = self {
            let mut ranks = vec![0; registers(precision)].into_boxed_slice();
            entries.iter().for_each(|&entry| raise(&mut ranks, entry));
            *self = Self::Dense(ranks);
        }
        match self {
            Self::Dense(ranks) => ranks,
            Self::Entries(_) => unreachable!("they were just made dense"),
        }
    }

    /// Merges an encoded state.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn merge(&mut self, bytes: &[u8], precision: u8) -> Result<(), Error> {
        match Encoded::check(bytes, precision)? {
            Encoded::Sparse(entries) => {
                entries.for_each(|entry| self.raise(entry, precision));
            }
            Encoded::Dense(theirs) => {
                for (ours, &theirs) in self.densify(precision).iter_mut().zip(theirs) {
                    *ours = (*ours).max(theirs);
                }
            }
        }
        Ok(())
    }

    /// Appends the encoding.
    pub(super) fn encode(self, precision: u8, bytes: &mut Vec<u8>) {
        let entries = match self {
            Self::Entries(mut entries) => {
                // The greatest rank of a register comes last, and stays.
                entries.sort_unstable_by(|a, b| b.cmp(a));
                entries.dedup_by_key(|entry| *entry >> RANK_BITS);
                entries.reverse();
                entries
            }
            Self::Dense(ranks) => {
                let set = ranks.iter().filter(|&&rank| rank > 0).count();
                if set > registers(precision) / 4 {
                    bytes.push(precision | DENSE);
                    bytes.extend_from_slice(&ranks);
                    return;
                }
                let set = ranks.iter().enumerate().filter(|&(_, &rank)| rank > 0);
                set.map(|(register, &rank)| (register as u32) << RANK_BITS | u32::from(rank)).collect()
            }
        };
        if !entries.is_empty() {
            bytes.push(precision);
            entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_le_bytes()[..ENTRY_BYTES]));
        }
    }
}

#[inline]
fn raise(ranks: &mut [u8], entry: u32) {
    let (register, rank) = split(entry);
    ranks[register] = ranks[register].max(rank);
}

/// A state's bytes, found canonical.
enum Encoded<'a, E> {
    Sparse(E),
    Dense(&'a [u8]),
}

impl<'a> Encoded<'a, ()> {
    fn check(bytes: &'a [u8], precision: u8) -> Result<Encoded<'a, impl Iterator<Item = u32> + Clone + 'a>, Error> {
        let corrupt = |message: String| Error::Corrupt { state: "distinct", message };
        let rank_max = 65 - precision;
        let (form, body) = bytes.split_first().map_or((precision, bytes), |(&form, body)| (form, body));
        if form & !DENSE != precision {
            return Err(corrupt(format!("its precision is {}, the view's {precision}", form & !DENSE)));
        }
        if form & DENSE != 0 {
            let set = body.iter().filter(|&&rank| rank > 0).count();
            let greatest = body.iter().max().copied().unwrap_or(0);
            if body.len() != registers(precision) || set <= registers(precision) / 4 || greatest > rank_max {
                return Err(corrupt(format!("{} dense registers, {set} set, greatest rank {greatest}", body.len())));
            }
            return Ok(Encoded::Dense(body));
        }
        let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
        let entries = entries.iter().map(|&[a, b, c]| u32::from_le_bytes([a, b, c, 0]));
        let ascend = entries.clone().is_sorted_by(|a, b| a >> RANK_BITS < b >> RANK_BITS);
        let fit =
            entries.clone().map(split).all(|(r, rank)| r < registers(precision) && (1..=rank_max).contains(&rank));
        let few = entries.len() <= registers(precision) / 4 && (entries.len() > 0 || bytes.is_empty());
        if !rest.is_empty() || !ascend || !fit || !few {
            return Err(corrupt(format!("{} bytes of entries that are not canonical", body.len())));
        }
        Ok(Encoded::Sparse(entries))
    }
}

/// The estimate of how many distinct values an encoded state has seen.
///
/// # Errors
/// [`Error::Corrupt`].
pub(super) fn estimate(bytes: &[u8], precision: u8) -> Result<u64, Error> {
    let registers = registers(precision);
    let mut ranks = [0_u32; 66];
    match Encoded::check(bytes, precision)? {
        Encoded::Dense(dense) => dense.iter().for_each(|&rank| ranks[rank as usize] += 1),
        Encoded::Sparse(entries) => {
            entries.clone().for_each(|entry| ranks[split(entry).1 as usize] += 1);
            ranks[0] = registers as u32 - entries.count() as u32;
        }
    }
    let m = registers as f64;
    let last = usize::from(65 - precision);
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
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn bytes_of(values: impl IntoIterator<Item = u64>, precision: u8) -> Vec<u8> {
        let mut sketch = Registers::default();
        values.into_iter().for_each(|v| sketch.insert(xxh3_64(&v.to_le_bytes()), precision));
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
        let distinct: std::collections::BTreeSet<u64> = skewed.clone().collect();
        assert_eq!(bytes_of(skewed, 12), bytes_of(distinct, 12));
    }

    #[test]
    fn l1_the_form_depends_on_the_registers_alone() {
        // One value over and over makes the folding form dense, never the encoding.
        assert_eq!(bytes_of(std::iter::repeat_n(7, 10_000), 12), bytes_of([7], 12));
        assert_eq!(bytes_of([7], 12).len(), 4);
        assert_eq!(bytes_of(0..100_000, 12).len(), 4097);
    }

    #[test]
    fn bytes_that_are_not_canonical_are_corrupt() {
        let corrupt = |bytes: &[u8]| assert!(estimate(bytes, 12).is_err(), "{bytes:?}");
        corrupt(&[12]);
        corrupt(&[11, 1, 0, 0]);
        corrupt(&[12, 1, 0]);
        corrupt(&[12, 0, 0, 0]);
        corrupt(&[12, 54, 0, 0]);
        corrupt(&[12, 1, 0, 4]);
        corrupt(&[12, 65, 0, 0, 1, 0, 0]);
        corrupt(&[12, 1, 0, 0, 2, 0, 0]);
        corrupt(&[12 | DENSE; 4097]);
        corrupt(&[12 | DENSE, 1]);
        let mut few = vec![0; 4097];
        (few[0], few[9]) = (12 | DENSE, 1);
        corrupt(&few);
        let dense = bytes_of(0..100_000, 12);
        assert!(estimate(&dense, 12).is_ok());
        corrupt(&dense[..4096]);
        assert!(Registers::default().merge(&[12, 1], 12).is_err());
    }
}
