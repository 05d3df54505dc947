//! Our HyperLogLog as an image that Apache DataSketches reads: an `HLL_8` sketch of the same lg k, in its compact form.
//!
//! The layout is that of `PreambleUtil` and `HllArray::newHll` of DataSketches (C++ and Java agree on it): a list of up to 7
//! coupons, a set of up to 3/32 as many as there are registers, or the registers. Since hashes, coupons and registers are the same
//! (see [`hyperloglog`](super::hyperloglog)), the sketch is the one that DataSketches would have made of the same values, but
//! for its mark that they came out of order: its own estimator for that case is then used, as after every union.

use super::{
    Error,
    hyperloglog::{Encoded, RANK_MAX},
};

const SERIAL_VERSION: u8 = 1;
/// The family number of HLL sketches.
const FAMILY: u8 = 7;

const EMPTY: u8 = 4;
const COMPACT: u8 = 8;
const OUT_OF_ORDER: u8 = 16;

/// The target type, `HLL_8`, in the mode byte.
const HLL_8: u8 = 2 << 2;

/// The least table of a list of coupons, and of a set of them, as logarithms.
const LIST_LOG: u8 = 3;
const SET_LOG_MIN: u8 = 5;

/// The image of an encoded state.
///
/// # Errors
/// [`Error::Corrupt`].
pub(super) fn image(state: &[u8], precision: u8) -> Result<Vec<u8>, Error> {
    // preamble words, version, family, lg k, lg table, flags, count, mode
    let header = |words, table, flags, count, mode| {
        vec![words, SERIAL_VERSION, FAMILY, precision, table, flags, count, mode | HLL_8]
    };
    Ok(match Encoded::read(state, precision)? {
        Encoded::Few(coupons) if coupons.len() < 1 << LIST_LOG => {
            let flags = if coupons.len() == 0 { COMPACT | EMPTY } else { COMPACT };
            let mut image = header(2, LIST_LOG, flags, coupons.len() as u8, 0);
            image.extend(coupons.flat_map(u32::to_le_bytes));
            image
        }
        Encoded::Few(coupons) => {
            let count = coupons.len() as u32;
            // A set's table is at most three quarters full.
            let table = (SET_LOG_MIN..).find(|log| 4 * count <= 3 << log).expect("some power of two is large enough");
            let mut image = header(3, table, COMPACT, 0, 1);
            image.extend(count.to_le_bytes());
            image.extend(coupons.flat_map(u32::to_le_bytes));
            image
        }
        Encoded::Dense(ranks) => {
            let mut image = header(10, 0, COMPACT | OUT_OF_ORDER, 0, 2);
            // Its estimator for values in order, which is not used.
            image.extend(0_f64.to_le_bytes());
            image.extend(inverse_powers(ranks, 0..32).to_le_bytes());
            image.extend(inverse_powers(ranks, 32..RANK_MAX + 1).to_le_bytes());
            let zeros = ranks.iter().filter(|&&rank| rank == 0).count() as u32;
            image.extend(zeros.to_le_bytes());
            // Exceptions, which only HLL_4 has.
            image.extend(0_u32.to_le_bytes());
            image.extend_from_slice(ranks);
            image
        }
    })
}

/// The sum of 2^-rank over the registers whose rank is in `of`: exact, as its terms are multiples of the least.
fn inverse_powers(ranks: &[u8], of: std::ops::Range<u8>) -> f64 {
    let ranks = ranks.iter().filter(|rank| of.contains(*rank));
    ranks.fold(0.0, |sum, &rank| sum + f64::from_bits((1023 - u64::from(rank)) << 52))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{super::hyperloglog::Registers, super::input::Input, *};
    use crate::schema::ColumnType;

    /// What `golden/hll.py` made with the Python package: a line a sketch.
    const GOLDEN: &str = include_str!("golden/hll.txt");

    fn values(kind: &str, n: i64) -> Input {
        use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
        let (array, column_type): (ArrayRef, _) = match kind {
            "ints" => (std::sync::Arc::new((0..n).map(Some).collect::<Int64Array>()), ColumnType::Int),
            "doubles" => {
                let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY].map(Some);
                let doubles = (0..n).map(|i| Some(i as f64 / 8.0 - 100.0));
                (std::sync::Arc::new(special.into_iter().chain(doubles).collect::<Float64Array>()), ColumnType::Double)
            }
            _ => {
                let texts = (0..n).map(|i| Some(format!("naïve visitor {i}{}", "·".repeat(i as usize % 20))));
                (std::sync::Arc::new(texts.collect::<StringArray>()), ColumnType::String)
            }
        };
        Input::new(|| kind.to_owned(), array, column_type).unwrap()
    }

    #[test]
    fn images_are_those_of_the_python_package() {
        for line in GOLDEN.lines() {
            let [kind, n, precision, mode, estimate, golden] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{line}"));
            let (n, precision) = (n.parse().unwrap(), precision.parse().unwrap());
            let mut sketch = Registers::default();
            sketch.extend(values(kind, n).coupons(), precision);
            let mut state = Vec::new();
            sketch.encode(precision, &mut state);
            let image = image(&state, precision).unwrap();
            assert_eq!(hex::encode(comparable(mode, image)), golden, "{kind} {n} {precision}");
            // Two estimators of the same sketch: theirs is table-driven, ours is Ertl's.
            let (theirs, ours): (f64, _) =
                (estimate.parse().unwrap(), super::super::hyperloglog::estimate(&state, precision));
            let error = 1.04 / f64::from(1_u32 << precision).sqrt();
            assert!((theirs - ours.unwrap() as f64).abs() <= theirs * error + 0.5, "{kind} {n} {precision}");
        }
    }

    /// What does not depend on the order of a set's coupons; of registers, which are long, the first part and a hash of all.
    fn comparable(mode: &str, mut image: Vec<u8>) -> Vec<u8> {
        let coupons_at = match mode {
            "list" => 8,
            "set" => 12,
            _ => {
                let hash = super::super::murmur::hash(&image[40..]);
                image.truncate(40);
                image.extend(hash.into_iter().flat_map(u64::to_le_bytes));
                return image;
            }
        };
        let mut coupons: Vec<u32> =
            image[coupons_at..].as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        coupons.sort_unstable();
        image.truncate(coupons_at);
        image.extend(coupons.into_iter().flat_map(u32::to_le_bytes));
        image
    }

    #[test]
    fn nothing_is_an_empty_sketch() {
        assert_eq!(hex::encode(image(&[], 12).unwrap()), "0201070c030c0008");
    }
}
