//! The exact sum of doubles, rounded once: another way to it than the fold kernel's.
//!
//! Shewchuk 1997, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", GROW-EXPANSION, with
//! the last rounding as in CPython's `math.fsum`.

/// The sum of `values`, correctly rounded, whatever their order. All must be finite and their sums too.
#[must_use]
pub fn exact_sum(values: impl IntoIterator<Item = f64>) -> f64 {
    // Doubles that do not overlap, by rising magnitude; their exact sum is the sum so far.
    let mut expansion: Vec<f64> = Vec::new();
    for value in values {
        let mut carry = value;
        let mut kept = 0;
        for at in 0..expansion.len() {
            let (sum, error) = two_sum(carry, expansion[at]);
            carry = sum;
            if error != 0.0 {
                expansion[kept] = error;
                kept += 1;
            }
        }
        expansion.truncate(kept);
        expansion.push(carry);
    }
    round(&expansion)
}

/// The sum of `a` and `b` rounded, and exactly what the rounding left out.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_there = sum - a;
    let a_there = sum - b_there;
    (sum, (a - a_there) + (b - b_there))
}

fn round(expansion: &[f64]) -> f64 {
    let Some((&greatest, rest)) = expansion.split_last() else { return 0.0 };
    let mut sum = greatest;
    let mut below = rest.iter().rev();
    while let Some(&next) = below.next() {
        let (rounded, error) = two_sum(sum, next);
        sum = rounded;
        if error != 0.0 {
            // Halfway cases were rounded to even without a look at what is below, which decides them.
            if let Some(&lower) = below.next()
                && (error < 0.0) == (lower < 0.0)
            {
                let twice = error * 2.0;
                let up = sum + twice;
                if up - sum == twice {
                    sum = up;
                }
            }
            break;
        }
    }
    sum
}

/// The distance from `value` to the next double away from zero.
#[must_use]
pub fn ulp(value: f64) -> f64 {
    let magnitude = value.abs();
    magnitude.next_up() - magnitude
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_plain_addition_loses_is_kept() {
        assert_eq!(exact_sum([]), 0.0);
        assert_eq!(exact_sum([1e16, 1.0, -1e16]), 1.0);
        assert_eq!(exact_sum([0.1; 10]), 1.0);
        assert_eq!(exact_sum([1.0, 2f64.powi(-53), 2f64.powi(-106)]), 1.0 + 2f64.powi(-52));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers(values in prop::collection::vec(-(1_i64 << 60)..(1_i64 << 60), 0..50)) {
            // Doubles that are integers: the exact sum is known.
            let values: Vec<f64> = values.into_iter().map(|v| v as f64).collect();
            let exact: i128 = values.iter().map(|v| *v as i128).sum();
            prop_assert_eq!(exact_sum(values), exact as f64);
        }
    }
}
