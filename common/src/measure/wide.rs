//! Exact numbers wider than Rust's: 192-bit sums, doubles as fixed point, and quotients rounded once.

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

    fn is_negative(self) -> bool {
        self.high < 0
    }

    /// The absolute value.
    fn magnitude(self) -> Big {
        let words = [self.low, self.mid, self.high as u64, 0];
        if !self.is_negative() {
            return Big(words);
        }
        let mut carry = true;
        let negated = words.map(|word| {
            let (word, over) = (!word).overflowing_add(u64::from(carry));
            carry = over;
            word
        });
        Big([negated[0], negated[1], negated[2], 0])
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

/// `numerator / (count · scale) · 2^exponent`, rounded once to the nearest double, half to even.
///
/// `count` and `scale` are more than 0, `scale` at most 10^38, and the result must be a normal double or 0: with exponents
/// of -64 to 0 it always is.
pub(super) fn quotient(numerator: Wide, count: u64, scale: u128, exponent: i32) -> f64 {
    let magnitude = numerator.magnitude();
    let denominator = Big::product(scale, count);
    if magnitude == Big::default() {
        return 0.0;
    }
    let Divided { quotient, exact, shift } = magnitude.divide(denominator);
    // Whatever is left can only decide a tie, so one sticky bit stands for it; the conversion then rounds once.
    let rounded = (quotient << 1 | u64::from(!exact)) as f64;
    let result = rounded * power_of_two(exponent - shift - 1);
    if numerator.is_negative() { -result } else { result }
}

/// 2^`exponent`, for exponents of normal doubles.
fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The bits of a quotient that a double can be rounded from.
struct Divided {
    /// `⌊numerator · 2^shift / denominator⌋`, of 55 to 63 bits.
    quotient: u64,
    /// Whether nothing was left.
    exact: bool,
    shift: i32,
}

/// A 256-bit unsigned integer, least word first. Ordered by hand: words compare from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Big([u64; 4]);

impl Big {
    fn product(a: u128, b: u64) -> Self {
        let low = u128::from(a as u64) * u128::from(b);
        let high = (a >> 64) * u128::from(b) + (low >> 64);
        Self([low as u64, high as u64, (high >> 64) as u64, 0])
    }

    /// Divides two numbers that are not 0.
    fn divide(self, denominator: Self) -> Divided {
        match denominator.0 {
            [word, 0, 0, 0] => self.divide_by_word(word),
            _ => self.divide_by_long(denominator),
        }
    }

    /// The usual case: one division of 128 bits.
    fn divide_by_word(self, denominator: u64) -> Divided {
        // As many bits as make a quotient of 62 or 63; what is shifted out only says whether something was left.
        let bits = 62 + u64::BITS - denominator.leading_zeros();
        let shift = bits as i32 - self.bits() as i32;
        let (part, rest) = match u32::try_from(shift) {
            Ok(shift) => (self.shifted_left(shift), Self::default()),
            Err(_) => self.split(shift.unsigned_abs()),
        };
        let part = u128::from(part.0[1]) << 64 | u128::from(part.0[0]);
        let (quotient, left) = (part / u128::from(denominator), part % u128::from(denominator));
        Divided { quotient: quotient as u64, exact: left == 0 && rest == Self::default(), shift }
    }

    /// Bit by bit.
    fn divide_by_long(self, denominator: Self) -> Divided {
        // So scaled, the quotient has 55 or 56 bits: more than the 53 of a double and one to round by.
        let shift = 55 - (self.bits() as i32 - denominator.bits() as i32);
        let (mut rest, denominator) = match u32::try_from(shift) {
            Ok(shift) => (self.shifted_left(shift), denominator),
            Err(_) => (self, denominator.shifted_left(shift.unsigned_abs())),
        };
        let mut quotient = 0;
        for bit in (0..56).rev() {
            let part = denominator.shifted_left(bit);
            if part <= rest {
                rest = rest.minus(part);
                quotient |= 1 << bit;
            }
        }
        Divided { quotient, exact: rest == Self::default(), shift }
    }

    /// The bits from `at` on, and those below.
    fn split(self, at: u32) -> (Self, Self) {
        let (words, bits) = ((at / 64) as usize, at % 64);
        let word = |i: usize| self.0.get(i).copied().unwrap_or(0);
        let above = std::array::from_fn(|i| {
            let carried = if bits > 0 { word(i + words + 1) << (64 - bits) } else { 0 };
            word(i + words) >> bits | carried
        });
        (Self(above), self.minus(Self(above).shifted_left(at)))
    }

    /// The position of the highest set bit, plus one; 0 of 0.
    fn bits(self) -> u32 {
        (0..4).rev().find(|&i| self.0[i] != 0).map_or(0, |i| i as u32 * 64 + 64 - self.0[i].leading_zeros())
    }

    /// `self · 2^shift`, which must fit.
    fn shifted_left(self, shift: u32) -> Self {
        debug_assert!(self.bits() + shift <= 256);
        let (words, bits) = ((shift / 64) as usize, shift % 64);
        Self(std::array::from_fn(|i| {
            let Some(from) = i.checked_sub(words) else { return 0 };
            let carried = if bits > 0 && from > 0 { self.0[from - 1] >> (64 - bits) } else { 0 };
            self.0[from] << bits | carried
        }))
    }

    /// `self - other`, which must not be negative.
    fn minus(self, other: Self) -> Self {
        let mut borrow = false;
        Self(std::array::from_fn(|i| {
            let (word, borrowed) = self.0[i].borrowing_sub(other.0[i], borrow);
            borrow = borrowed;
            word
        }))
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

        #[test]
        fn quotients_of_small_integers_are_those_of_ieee(a in -(1_i64 << 53)..1 << 53, b in 1_u64..1 << 53) {
            prop_assert_eq!(quotient(Wide::from(i128::from(a)), b, 1, 0), a as f64 / b as f64);
        }

        #[test]
        fn whole_quotients_round_as_conversions_do(a in any::<i128>()) {
            prop_assert_eq!(quotient(Wide::from(a), 1, 1, 0), a as f64);
        }

        #[test]
        fn a_common_factor_changes_nothing(a in any::<i64>(), b in 1..u64::from(u32::MAX), factor in 1..1_u128 << 60) {
            let wide = Wide::from(i128::from(a) * factor as i128);
            let plain = quotient(Wide::from(i128::from(a)), b, 1, 0);
            prop_assert_eq!(quotient(wide, b, factor, 0), plain);
        }
    }
}
