//! Numbers from their JSON text, exactly: an integer or a decimal never passes through a double.

/// Why a number is not of the type asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It has digits after the last place that the type has.
    TooFine,
    /// It is too large, or too small, for the type.
    TooBig,
}

/// The most decimal digits that an `i128` always holds.
const DIGITS_MAX: i64 = 38;

/// `text` × 10^`scale`, exactly. `text` is a number in JSON's grammar; how it is written does not matter, so `1.0`, `10e-1`
/// and `1` are the same.
pub(super) fn scaled(text: &str, scale: u8) -> Result<i128, Misfit> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let count = whole.len() + fraction.len();
    let trailing = digits().rev().take_while(|&d| d == b'0').count();
    if trailing == count {
        return Ok(0);
    }
    let leading = digits().take_while(|&d| d == b'0').count();
    // The value is the digits that are left × 10^shift, and its last digit is not 0.
    let shift = exponent + i64::from(scale) + trailing as i64 - fraction.len() as i64;
    if shift < 0 {
        return Err(Misfit::TooFine);
    }
    let significant = count - leading - trailing;
    if significant as i64 + shift > DIGITS_MAX {
        return Err(Misfit::TooBig);
    }
    let unshifted = digits().take(count - trailing).fold(0_i128, |value, d| value * 10 + i128::from(d - b'0'));
    let value = unshifted * 10_i128.pow(shift as u32);
    Ok(if negative { -value } else { value })
}

/// The exponent, or one that is as good: no number of a record has as many digits as would bring it back into range.
fn saturating_exponent(text: &str) -> i64 {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value = digits.iter().fold(0, |value: i64, d| (value * 10 + i64::from(d - b'0')).min(FAR));
    if negative { -value } else { value }
}

/// `text`, an integer in JSON's grammar, if it fits: without a detour for the usual few digits.
#[inline]
pub(super) fn integer(text: &str) -> Result<i64, Misfit> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return whole(text);
    }
    let value = digits.iter().fold(0_i64, |value, d| value * 10 + i64::from(d - b'0'));
    Ok(if negative { -value } else { value })
}

/// `text`, any number in JSON's grammar, if its value is whole and fits.
pub(super) fn whole(text: &str) -> Result<i64, Misfit> {
    i64::try_from(scaled(text, 0)?).map_err(|_| Misfit::TooBig)
}

/// `text` as a decimal of `precision` digits, `scale` of them after the point; times 10^`scale`.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, Misfit> {
    let value = scaled(text, scale)?;
    if value.unsigned_abs() < 10_u128.pow(u32::from(precision)) { Ok(value) } else { Err(Misfit::TooBig) }
}

/// The double nearest to `text`, a number in JSON's grammar; ties to even. Too big if that is infinite.
#[inline]
pub(super) fn double(text: &str) -> Result<f64, Misfit> {
    if let Some(value) = short_double(text) {
        return Ok(value);
    }
    let value: f64 = text.parse().expect("a JSON number is one in Rust's grammar");
    if value.is_finite() { Ok(value) } else { Err(Misfit::TooBig) }
}

/// Clinger's fast path ("How to read floating point numbers accurately", 1990): up to 15 digits and a power of ten up to
/// 10^15 are both exact doubles, so their quotient is rounded once.
#[inline]
fn short_double(text: &str) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, bytes) = match text.as_bytes() {
        [b'-', bytes @ ..] => (true, bytes),
        bytes => (false, bytes),
    };
    if bytes.len() > 16 {
        return None;
    }
    let (mut mantissa, mut digits, mut fraction_from) = (0_u64, 0_usize, None);
    for &byte in bytes {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'.' => fraction_from = Some(digits),
            _ => return None,
        }
    }
    if digits > 15 {
        return None;
    }
    let value = mantissa as f64 / POWERS[digits - fraction_from.unwrap_or(digits)];
    Some(if negative { -value } else { value })
}

/// Whether `text` is a number in JSON's grammar, for decimals that come as strings.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (magnitude, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_may_be_written_in_any_way() {
        for text in ["1", "1.0", "1.000", "10e-1", "0.1e1", "0.01E+2", "100e-0002"] {
            assert_eq!(whole(text), Ok(1), "{text}");
        }
        for text in ["0", "-0", "0.0", "-0.00e9", "0e999999999999999999999"] {
            assert_eq!(whole(text), Ok(0), "{text}");
        }
        assert_eq!(whole("1.5"), Err(Misfit::TooFine));
        assert_eq!(whole("1e-99999999999999999999"), Err(Misfit::TooFine));
        assert_eq!(whole("1e99999999999999999999"), Err(Misfit::TooBig));
        assert_eq!(whole("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(whole("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(whole("9223372036854775808"), Err(Misfit::TooBig));
        assert_eq!(whole("-9223372036854775809"), Err(Misfit::TooBig));
        assert_eq!(integer("9223372036854775808"), Err(Misfit::TooBig));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
    }

    #[test]
    fn a_decimal_is_exact_or_refused() {
        assert_eq!(decimal("0.1", 10, 2), Ok(10));
        assert_eq!(decimal("-12.345000", 10, 3), Ok(-12345));
        assert_eq!(decimal("12.345", 10, 2), Err(Misfit::TooFine));
        assert_eq!(decimal("99999999.99", 10, 2), Ok(9_999_999_999));
        assert_eq!(decimal("100000000", 10, 2), Err(Misfit::TooBig));
        // A double would give 9007199254740992.
        assert_eq!(decimal("9007199254740993", 38, 0), Ok(9_007_199_254_740_993));
        let nines = "9".repeat(38);
        assert_eq!(decimal(&nines, 38, 0), Ok(10_i128.pow(38) - 1));
        assert_eq!(decimal(&format!("0.{nines}"), 38, 38), Ok(10_i128.pow(38) - 1));
        assert_eq!(decimal(&format!("{nines}9"), 38, 0), Err(Misfit::TooBig));
        assert_eq!(decimal("1.2e3", 6, 2), Ok(120_000));
    }

    #[test]
    fn a_double_is_finite() {
        assert_eq!(double("1e308"), Ok(1e308));
        assert_eq!(double("1e309"), Err(Misfit::TooBig));
        assert_eq!(double("-0").map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!(double("1e-400"), Ok(0.0));
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["0", "-0", "10", "0.5", "1e5", "1E-05", "-1.25e+3"] {
            assert!(is_number(text), "{text}");
        }
        for text in
            ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1 ", " 1", "NaN", "1.2.3", "1e5e5", "0x1", "1_0", "１"]
        {
            assert!(!is_number(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn doubles_are_read_as_rust_reads_them(text in r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?") {
            prop_assert_eq!(double(&text).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits());
        }

        #[test]
        fn decimals_survive_being_written(value in any::<i64>(), scale in 0_u8..20) {
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            prop_assert_eq!(scaled(&text, scale), Ok(i128::from(value)));
            let shifted = format!("{sign}{}e-{scale}", value.unsigned_abs());
            prop_assert_eq!(scaled(&shifted, scale), Ok(i128::from(value)));
        }

        #[test]
        fn integers_are_read_as_rust_reads_them(text in r"-?(0|[1-9][0-9]{0,20})") {
            prop_assert_eq!(integer(&text).ok(), text.parse::<i64>().ok());
            prop_assert_eq!(whole(&text).ok(), text.parse::<i64>().ok());
            prop_assert!(is_number(&text));
        }
    }
}
