//! A text that is expected somewhere among bytes: what stands between two values of a record.

use super::vector::Half;

const HALF: usize = size_of::<Half>();

/// The text, in a form that is compared quickly: mostly it is short.
#[derive(Debug, Clone, Default)]
pub(super) struct Glue {
    pub(super) length: usize,
    /// Its first sixteen bytes, or zeros after its end, and ones where there are any.
    first: u128,
    mask: u128,
    /// Its last sixteen bytes, if there are more than sixteen.
    last: u128,
    /// What is between, if there are more than 32.
    middle: Box<[u8]>,
}

impl Glue {
    /// That of `text`.
    pub(super) fn new(text: &[u8]) -> Self {
        let seen = text.len().min(HALF);
        let mut first = [0; HALF];
        first[..seen].copy_from_slice(&text[..seen]);
        let mask = if seen == HALF { u128::MAX } else { !(u128::MAX << (8 * seen)) };
        let last = text.last_chunk().filter(|_| text.len() > HALF).copied().unwrap_or_default();
        let middle = text.get(HALF..text.len().saturating_sub(HALF)).unwrap_or_default();
        Self {
            length: text.len(),
            first: u128::from_le_bytes(first),
            mask,
            last: u128::from_le_bytes(last),
            middle: middle.into(),
        }
    }

    /// Whether `bytes`, of which at least sixteen follow, have it at `at`.
    #[inline(always)]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        match half_at(bytes, at) {
            Some(half) if (half ^ self.first) & self.mask == 0 => self.length <= HALF || self.goes_on_at(bytes, at),
            _ => false,
        }
    }

    /// The same of all but its first bytes, if there are more than sixteen.
    #[inline(never)]
    fn goes_on_at(&self, bytes: &[u8], at: usize) -> bool {
        let last = at + self.length - HALF;
        half_at(bytes, last) == Some(self.last)
            && (self.middle.is_empty() || bytes.get(at + HALF..last) == Some(&*self.middle))
    }
}

#[inline(always)]
fn half_at(bytes: &[u8], at: usize) -> Option<u128> {
    let half: &Half = bytes.get(at..at + HALF)?.first_chunk()?;
    Some(u128::from_le_bytes(*half))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn it_is_where_its_bytes_are(before in "[ab]{0,3}", text in "[ab]{0,70}", changed in 0..80_usize, at in 0..5_usize) {
            let glue = Glue::new(text.as_bytes());
            let mut bytes = format!("{before}{text}{}", "b".repeat(HALF + 8)).into_bytes();
            if changed < text.len() {
                bytes[before.len() + changed] ^= 3;
            }
            let expected = bytes[at..].starts_with(text.as_bytes());
            prop_assert_eq!(glue.is_at(&bytes, at), expected);
            prop_assert_eq!(glue.is_at(&bytes, before.len()), changed >= text.len());
            prop_assert!(!glue.is_at(&bytes, bytes.len()) && !glue.is_at(&[], 0));
        }
    }
}
