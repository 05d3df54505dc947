//! Finishing variances and standard deviations from the count, the sum and the sum of squares, all exact.
//!
//! With n inputs whose sum is S and whose sum of squares is Q, the sum of squared distances from the mean is (n Q - S²) / n. The
//! numerator is computed in 448-bit integers and divided once: so nothing cancels, and the variance is the nearest double to
//! that of the inputs (of doubles: rounded to units of 2^-64 first). A standard deviation is its square root, which IEEE 754
//! rounds once more.

use super::{
    big::{Big, ratio},
    wide::Wide,
};

/// Words that hold every numerator (383 bits) and every denominator (379), with 55 bits to divide by.
pub(super) const WORDS: usize = 7;

/// What a group's inputs have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    /// How many units of a decimal are 1; 1 of other types.
    pub(super) scale: u128,
    /// The unit of a double is 2^exponent; 0 of other types.
    pub(super) exponent: i32,
}

/// The variance of `count` inputs, more than 0: divided by the count or, as an estimate from a sample, by one less. Null of a
/// sample of one.
///
/// # Errors
/// In words, if no inputs have these sums.
pub(super) fn variance(
    count: u64,
    sum: Wide,
    squares: Big<WORDS>,
    units: Units,
    sample: bool,
) -> Result<Option<f64>, String> {
    let numerator = squares.times(count).checked_minus(sum.magnitude::<WORDS>().squared());
    let numerator = numerator.ok_or_else(|| format!("{count} inputs have no such sum of squares beside their sum"))?;
    let divisor = count - u64::from(sample);
    if divisor == 0 {
        return Ok(None);
    }
    let denominator = Big::from(units.scale).squared().times(count).times(divisor);
    Ok(Some(ratio(numerator, denominator, 2 * units.exponent)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const INTS: Units = Units { scale: 1, exponent: 0 };

    fn of(values: &[i64], sample: bool) -> Option<f64> {
        let sum: i128 = values.iter().map(|&v| i128::from(v)).sum();
        let squares: u128 = values.iter().map(|&v| u128::from(v.unsigned_abs()).pow(2)).sum();
        variance(values.len() as u64, sum.into(), Big::from(squares), INTS, sample).unwrap()
    }

    #[test]
    fn small_numbers_have_the_variance_of_the_textbook() {
        assert_eq!(of(&[2, 4, 4, 4, 5, 5, 7, 9], false), Some(4.0));
        assert_eq!(of(&[2, 4, 4, 4, 5, 5, 7, 9], true), Some(32.0 / 7.0));
        assert_eq!(of(&[5], false), Some(0.0));
        assert_eq!(of(&[5], true), None);
    }

    #[test]
    fn nothing_cancels() {
        let far = 1_000_000_000_000_000_000;
        assert_eq!(of(&[far, far + 1, far + 2], true), Some(1.0));
        assert_eq!(of(&[-far, far], false), Some(1e36));
    }

    #[test]
    fn sums_that_no_inputs_have_are_refused() {
        assert!(variance(2, Wide::from(10), Big::from(49), INTS, true).is_err());
        assert!(variance(2, Wide::from(10), Big::from(50), INTS, true).is_ok());
    }
}
