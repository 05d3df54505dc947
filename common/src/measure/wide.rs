//! Sums wider than Rust's integers: 192 bits, and doubles as fixed point.

use super::big::Big;

/// A 192-bit two's complement integer, `high · 2^128 + mid · 2^64 + low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wide {
    low: u64,
    mid: u64,
    high: i64,
}

impl Wide {
    /// The least number there is, which no sum of fewer than 2^63 inputs reaches, stands for a poisoned sum.
    pub(super) const POISON: Self = Self { low: 0, mid: 0, high: i64::MIN };

    /// `self + value`, or `None` if that overflows.
    #[inline]
    pub(super) fn plus(self, value: i128) -> Option<Self> {
        self.checked_add(Self { low: value as u64, mid: (value >> 64) as u64, high: (value >> 127) as i64 })
    }

    /// `self + other`, or `None` if that overflows.
    #[inline]
    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        let (low, carry) = self.low.overflowing_add(other.low);
        let (mid, carry) = self.mid.carrying_add(other.mid, carry);
        let high = i128::from(self.high) + i128::from(other.high) + i128::from(carry);
        Some(Self { low, mid, high: i64::try_from(high).ok()? })
    }

    pub(super) fn to_le_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.low.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.mid.to_le_bytes());
        bytes[16..].copy_from_slice(&self.high.to_le_bytes());
        bytes
    }

    pub(super) fn from_le_bytes(bytes: [u8; 24]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self { low: word(0), mid: word(8), high: word(16) as i64 }
    }

    /// The number as an i128, or `None` if it does not fit.
    pub(super) fn to_i128(self) -> Option<i128> {
        let narrow = (u128::from(self.mid) << 64 | u128::from(self.low)) as i128;
        (self.high == (narrow >> 127) as i64).then_some(narrow)
    }

    pub(super) fn is_negative(self) -> bool {
        self.high < 0
    }

    /// The absolute value, in at least three words.
    pub(super) fn magnitude<const N: usize>(self) -> Big<N> {
        let mut words = [self.low, self.mid, self.high as u64];
        if self.is_negative() {
            let mut carry = true;
            words = words.map(|word| {
                let (word, over) = (!word).overflowing_add(u64::from(carry));
                carry = over;
                word
            });
        }
        Big::of(&words)
    }
}

impl From<i128> for Wide {
    fn from(value: i128) -> Self {
        Self::default().plus(value).expect("128 bits fit in 192")
    }
}

/// Binary digits after the point of a double in a sum.
pub(super) const FIXED_POINT: i32 = 64;

/// `value` in units of 2^-64, rounded once, half to even; `None` if it is NaN or not between -2^63 and 2^63.
#[inline]
pub(super) fn to_fixed(value: f64) -> Option<i128> {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if exponent >= 1023 + 63 {
        return None;
    }
    // |value| = mantissa · 2^(exponent - 1075). Subnormals are too small to need their own exponent: they round to 0.
    let mantissa = bits & FRACTION | 1 << 52;
    let shift = exponent - 1075 + FIXED_POINT;
    let magnitude = match shift {
        0.. => i128::from(mantissa) << shift,
        -54..0 => i128::from(shift_right_to_even(mantissa, -shift)),
        _ => 0,
    };
    Some(if value.is_sign_negative() { -magnitude } else { magnitude })
}

/// `value / 2^shift`, rounded half to even; `shift` is 1 to 63.
#[inline]
fn shift_right_to_even(value: u64, shift: i32) -> u64 {
    let floor = value >> shift;
    let rest = value & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    floor + u64::from(rest > half || (rest == half && floor & 1 == 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::big::{power_of_two, quotient},
        *,
    };

    #[test]
    fn fixed_point_rounds_half_to_even_once() {
        assert_eq!(to_fixed(1.0), Some(1 << 64));
        assert_eq!(to_fixed(-0.0), Some(0));
        let unit = power_of_two(-64);
        assert_eq!(to_fixed(unit), Some(1));
        assert_eq!(to_fixed(unit * 0.5), Some(0));
        assert_eq!(to_fixed(unit * 1.5), Some(2));
        assert_eq!(to_fixed(unit * -2.5), Some(-2));
        assert_eq!(to_fixed(unit * 0.500_001), Some(1));
        assert_eq!(to_fixed(f64::MIN_POSITIVE / 4.0), Some(0));
        assert_eq!(to_fixed(9_223_372_036_854_774_784.0), Some(9_223_372_036_854_774_784 << 64));
        for outside in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9_223_372_036_854_775_808.0, -1e300] {
            assert_eq!(to_fixed(outside), None);
        }
    }

    #[test]
    fn sums_past_192_bits_are_seen() {
        let greatest = Wide { low: u64::MAX, mid: u64::MAX, high: i64::MAX };
        assert_eq!(greatest.plus(1), None);
        assert_eq!(greatest.plus(-1).and_then(|w| w.plus(1)), Some(greatest));
        assert_eq!(Wide::POISON.plus(-1), None);
        assert_eq!(greatest.to_i128(), None);
    }

    proptest! {
        #[test]
        fn wide_adds_as_i128_does(a in any::<i128>(), b in any::<i128>()) {
            let sum = Wide::from(a).plus(b).unwrap();
            prop_assert_eq!(sum.to_i128(), a.checked_add(b));
            prop_assert_eq!(Wide::from_le_bytes(sum.to_le_bytes()), sum);
            prop_assert_eq!(sum.plus(-(b / 2)).and_then(|w| w.plus(-(b - b / 2))), Some(Wide::from(a)));
        }

        #[test]
        fn doubles_in_range_survive_fixed_point(value in -9e18..9e18_f64) {
            let fixed = Wide::from(to_fixed(value).unwrap());
            let back = quotient(fixed, 1, 1, -FIXED_POINT);
            if value.abs() >= 1.0 / 2048.0 {
                prop_assert_eq!(back, value);
            } else {
                prop_assert!((back - value).abs() <= power_of_two(-65));
            }
        }
    }
}
