//! Decimals in the plainest way there is, to hold others against.

/// `number`, one by JSON's grammar, times 10^`scale`; `None` if that is not whole or has more than 38 digits. By moving digits
/// about as text.
#[must_use]
pub fn exactly(number: &str, scale: i64) -> Option<i128> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent.parse::<i64>().ok()?.saturating_add(scale - fraction.len() as i64);
    let shifted = match usize::try_from(shift) {
        Ok(more) if more <= 38 => format!("{digits}{}", "0".repeat(more)),
        Ok(_) => return None,
        Err(_) => {
            let kept = digits.len().checked_sub(usize::try_from(shift.unsigned_abs()).ok()?)?;
            let (kept, cut) = digits.split_at(kept);
            if cut.contains(|digit| digit != '0') {
                return None;
            }
            kept.to_owned()
        }
    };
    if shifted.len() > 38 {
        return None;
    }
    format!("{sign}{shifted}").parse().ok()
}
