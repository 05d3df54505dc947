//! Memory: what a run holds beside its groups, counted while it does, so that groups make room for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that are claimed. Cheap to clone; clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<AtomicUsize>);

impl Claims {
    /// A claim of nothing yet.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { claims: self.clone(), bytes: 0 }
    }

    /// Bytes that are claimed now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that somebody holds, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    bytes: usize,
}

impl Claim {
    /// Holds so many bytes now, and no more what was held before.
    pub fn set(&mut self, bytes: usize) {
        // Wraps around where there are fewer now.
        self.claims.0.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// The same claim, of so many bytes.
    #[must_use]
    pub fn of(mut self, bytes: usize) -> Self {
        self.set(bytes);
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_counted_until_it_is_let_go() {
        let claims = Claims::default();
        let (mut one, other) = (claims.claim(), claims.claim().of(5));
        one.set(10);
        assert_eq!(claims.bytes(), 15);
        one.set(3);
        drop(other);
        assert_eq!(claims.bytes(), 3);
        drop(one);
        assert_eq!(claims.bytes(), 0);
    }
}
