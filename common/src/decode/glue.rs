//! A text that is expected somewhere among bytes: what stands between two values of a record.

use super::vector::{Half, half_at, same};

const HALF: usize = size_of::<Half>();

/// The text, in a form that is compared quickly: mostly it is short.
#[derive(Debug, Clone, Default)]
pub(super) struct Glue {
    pub(super) length: usize,
    /// Its first sixteen bytes, or zeros after its end, and a bit for each that there is.
    first: Half,
    mask: u32,
    /// Its last sixteen bytes, if there are more than sixteen.
    last: Half,
    /// What is between, if there are more than 32.
    middle: Box<[u8]>,
}

impl Glue {
    /// That of `text`.
    pub(super) fn new(text: &[u8]) -> Self {
        let seen = text.len().min(HALF);
        let mut first = [0; HALF];
        first[..seen].copy_from_slice(&text[..seen]);
        let last = text.last_chunk().filter(|_| text.len() > HALF).copied().unwrap_or_default();
        let middle = text.get(HALF..text.len().saturating_sub(HALF)).unwrap_or_default();
        Self { length: text.len(), first, mask: (1 << seen) - 1, last, middle: middle.into() }
    }

    /// Whether `bytes`, of which at least sixteen follow, have it at `at`.
    #[inline(always)]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        match half_at(bytes, at) {
            Some(half) if self.starts_with(half) => self.length <= HALF || self.goes_on_at(bytes, at),
            _ => false,
        }
    }

    /// Whether `half` has all of it, or its first sixteen bytes.
    #[inline(always)]
    pub(super) fn starts_with(&self, half: &Half) -> bool {
        !same(half, &self.first) & self.mask == 0
    }

    /// Its first sixteen bytes, and a bit for each that there is.
    #[inline(always)]
    pub(super) fn first(&self) -> (Half, u32) {
        (self.first, self.mask)
    }

    /// The same as [`Self::is_at`] of all but its first bytes, if there are more than sixteen.
    #[inline(never)]
    pub(super) fn goes_on_at(&self, bytes: &[u8], at: usize) -> bool {
        let last = at + self.length - HALF;
        half_at(bytes, last) == Some(&self.last)
            && (self.middle.is_empty() || bytes.get(at + HALF..last) == Some(&*self.middle))
    }
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
