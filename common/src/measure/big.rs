//! Unsigned integers of any number of words, and quotients of them rounded once: how exact sums become doubles.

use super::wide::Wide;

/// `numerator / (count · scale) · 2^exponent`, rounded once to the nearest double, half to even.
///
/// `count` and `scale` are more than 0, `scale` at most 10^38, and the result must be a normal double or 0: with exponents
/// of -64 to 0 it always is.
pub(super) fn quotient(numerator: Wide, count: u64, scale: u128, exponent: i32) -> f64 {
    let result = ratio(numerator.magnitude::<4>(), Big::from(scale).times(count), exponent);
    if numerator.is_negative() { -result } else { result }
}

/// `numerator / denominator · 2^exponent`, rounded once to the nearest double, half to even.
///
/// The denominator is more than 0, either leaves 55 bits free, and the result must be a normal double or 0.
pub(super) fn ratio<const N: usize>(numerator: Big<N>, denominator: Big<N>, exponent: i32) -> f64 {
    if numerator == Big::default() {
        return 0.0;
    }
    let Divided { quotient, exact, shift } = numerator.divide(denominator);
    // Whatever is left can only decide a tie, so one sticky bit stands for it; the conversion then rounds once.
    let rounded = (quotient << 1 | u64::from(!exact)) as f64;
    rounded * power_of_two(exponent - shift - 1)
}

/// 2^`exponent`, for exponents of normal doubles.
pub(super) fn power_of_two(exponent: i32) -> f64 {
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

/// An unsigned integer of `N` words, least word first. Ordered by hand: words compare from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Big<const N: usize>([u64; N]);

impl<const N: usize> Default for Big<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> From<u128> for Big<N> {
    fn from(value: u128) -> Self {
        Self::of(&[value as u64, (value >> 64) as u64])
    }
}

impl<const N: usize> Big<N> {
    /// The number of these words, which must fit.
    pub(super) fn of(words: &[u64]) -> Self {
        let mut all = [0; N];
        let (low, high) = words.split_at(words.len().min(N));
        all[..low.len()].copy_from_slice(low);
        debug_assert!(high.iter().all(|&word| word == 0));
        Self(all)
    }

    /// `self · factor`, which must fit.
    pub(super) fn times(self, factor: u64) -> Self {
        let mut carry = 0;
        let product = self.0.map(|word| {
            let product = u128::from(word) * u128::from(factor) + carry;
            carry = product >> 64;
            product as u64
        });
        debug_assert_eq!(carry, 0);
        Self(product)
    }

    /// `self · self`, which must fit.
    pub(super) fn squared(self) -> Self {
        let words = self.0.iter().enumerate().filter(|&(_, &word)| word != 0);
        words.fold(Self::default(), |sum, (at, &word)| sum.plus(self.times(word).shifted_left(at as u32 * 64)))
    }

    /// `self + other`, which must fit.
    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        let sum = std::array::from_fn(|i| {
            let (word, over) = self.0[i].carrying_add(other.0[i], carry);
            carry = over;
            word
        });
        debug_assert!(!carry);
        Self(sum)
    }

    /// `self - other`, or `None` if that is negative.
    pub(super) fn checked_minus(self, other: Self) -> Option<Self> {
        (other <= self).then(|| self.minus(other))
    }

    /// Divides two numbers that are not 0.
    fn divide(self, denominator: Self) -> Divided {
        if denominator.bits() <= u64::BITS {
            self.divide_by_word(denominator.0[0])
        } else {
            self.divide_by_long(denominator)
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
        (0..N).rev().find(|&i| self.0[i] != 0).map_or(0, |i| i as u32 * 64 + 64 - self.0[i].leading_zeros())
    }

    /// `self · 2^shift`, which must fit.
    fn shifted_left(self, shift: u32) -> Self {
        debug_assert!(self.bits() + shift <= 64 * N as u32);
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

impl<const N: usize> PartialOrd for Big<N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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

        #[test]
        fn squares_and_products_are_those_of_small_numbers(a in any::<u64>(), b in any::<u64>()) {
            let square = u128::from(a) * u128::from(a);
            prop_assert_eq!(Big::<7>::of(&[a]).squared(), Big::from(square));
            prop_assert_eq!(Big::<7>::of(&[a]).times(b), Big::from(u128::from(a) * u128::from(b)));
        }

        #[test]
        fn long_numbers_obey_the_laws_of_squares(a in any::<u128>(), b in any::<u64>()) {
            // (a + b)^2 - a^2 = b (2 a + b)
            let (long, sum) = (Big::<7>::from(a), Big::<7>::from(a).plus(Big::of(&[b])));
            let difference = sum.squared().checked_minus(long.squared()).unwrap();
            prop_assert_eq!(difference, long.plus(long).plus(Big::of(&[b])).times(b));
            prop_assert_eq!(long.squared().checked_minus(sum.squared()).is_some(), b == 0);
            if a > 0 {
                prop_assert_eq!(ratio(long.squared(), long, 0), a as f64);
            }
        }
    }
}
