//! A SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) as Postgres writes it: what a password is checked by, and cannot be learnt from.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::values::Kind;

/// Fewest iterations that are taken: those of RFC 7677.
const ITERATIONS_MIN: u32 = 4096;

/// Most iterations: a login costs the server nothing, but it has to be computed by every client.
const ITERATIONS_MAX: u32 = 1_000_000;

/// What `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` says, salt and keys in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How often the password was hashed.
    pub iterations: u32,
    /// What it was hashed with.
    pub salt: Vec<u8>,
    /// The hash of the client's key.
    pub stored_key: [u8; 32],
    /// The key that the server proves itself by.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// As it is written in the file.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored) = (STANDARD.encode(&self.salt), STANDARD.encode(self.stored_key));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{}", self.iterations, STANDARD.encode(self.server_key))
    }
}

impl Verifier {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (salted, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (salted.split_once(':')?, keys.split_once(':')?);
        let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
        let iterations = iterations.parse().ok().filter(|n| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(n))?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

pub(super) const VERIFIER: Kind<Verifier> = Kind {
    what: "a verifier of SCRAM-SHA-256",
    allowed: "it is written SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>, as `highwater token` prints",
    parse: Verifier::parse,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_what_was_written() {
        let text = format!("SCRAM-SHA-256$4096:c2FsdA==${}:{}", STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let verifier = Verifier::parse(&text).expect("it is one");
        assert_eq!((verifier.salt.as_slice(), verifier.to_string()), (b"salt".as_slice(), text.clone()));
        assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
        for wrong in [
            text.replace("4096", "12"),
            text.replace("256$", "1$"),
            text.replace("c2FsdA==", ""),
            text[..60].to_owned(),
        ] {
            assert_eq!(Verifier::parse(&wrong), None, "{wrong}");
        }
    }
}
