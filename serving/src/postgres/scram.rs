//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: who knows the password proves it, and learns nothing that the file has.
//!
//! Channels are not bound: what a client says of that is checked, so that nobody between can have taken the offer away.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::pipeline::Verifier;

use super::fault::Fault;

/// The one mechanism.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// Iterations of verifiers made here.
const ITERATIONS: u32 = 4096;

/// Bytes of a nonce and of a salt.
const RANDOM_BYTES: usize = 18;

/// The verifier of `password`, with a new salt.
///
/// # Errors
/// If the system has no randomness.
pub fn verifier(password: &str) -> Result<Verifier, std::io::Error> {
    let salt: [u8; RANDOM_BYTES] = random()?;
    Ok(verifier_of(password, salt.to_vec(), ITERATIONS))
}

/// Bytes that nobody can guess.
///
/// # Errors
/// If the system has no randomness.
pub fn random<const N: usize>() -> Result<[u8; N], std::io::Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

fn verifier_of(password: &str, salt: Vec<u8>, iterations: u32) -> Verifier {
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(iterations).expect("a verifier has some iterations");
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let stored_key = sha256(&mac(&salted, b"Client Key"));
    Verifier { iterations, salt, stored_key, server_key: mac(&salted, b"Server Key") }
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sha256(data: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// An exchange after the client's first message.
#[derive(Debug)]
pub(super) struct Exchange {
    verifier: Verifier,
    /// What the client said of channel binding.
    header: String,
    nonce: String,
    /// The first messages of both, which the proof is of.
    first: String,
    /// What is sent to the client now.
    pub(super) challenge: String,
}

impl Exchange {
    /// Answers the client's first message by what its user is checked by.
    pub(super) fn begin(message: &[u8], verifier: Verifier) -> Result<Self, Fault> {
        let text = std::str::from_utf8(message).map_err(|_| malformed())?;
        let (binding, rest) = text.split_once(',').ok_or_else(malformed)?;
        if !matches!(binding, "n" | "y") {
            return Err(Fault::new("08P01", "channels are not bound here: SCRAM-SHA-256-PLUS was not offered"));
        }
        let (authzid, bare) = rest.split_once(',').ok_or_else(malformed)?;
        let theirs = bare.split(',').find_map(|part| part.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let random: [u8; RANDOM_BYTES] = random().map_err(|error| Fault::new("XX000", error.to_string()))?;
        let nonce = format!("{}{}", theirs.ok_or_else(malformed)?, STANDARD.encode(random));
        let challenge = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let header = format!("{binding},{authzid},");
        Ok(Self { first: format!("{bare},{challenge}"), verifier, header, nonce, challenge })
    }

    /// Checks the client's last message; what the server proves itself by, or `None` if the password is wrong.
    pub(super) fn finish(&self, message: &[u8]) -> Result<Option<String>, Fault> {
        let text = std::str::from_utf8(message).map_err(|_| malformed())?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(malformed)?;
        let bound = format!("c={},r={}", STANDARD.encode(&self.header), self.nonce);
        if without_proof != bound {
            return Err(malformed());
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed())?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| malformed())?;
        let signed = format!("{},{without_proof}", self.first);
        let signature = mac(&self.verifier.stored_key, signed.as_bytes());
        let client_key: [u8; 32] = std::array::from_fn(|at| proof[at] ^ signature[at]);
        let known = constant_time::verify_slices_are_equal(&sha256(&client_key), &self.verifier.stored_key).is_ok();
        let server = mac(&self.verifier.server_key, signed.as_bytes());
        Ok(known.then(|| format!("v={}", STANDARD.encode(server))))
    }
}

/// A verifier of no password, the same for each name, so that nobody learns which users there are.
pub(super) fn nobody(name: &str, secret: &[u8]) -> Verifier {
    let salt = mac(secret, name.as_bytes())[..RANDOM_BYTES].to_vec();
    Verifier { iterations: ITERATIONS, salt, stored_key: [0; 32], server_key: mac(secret, b"server") }
}

fn malformed() -> Fault {
    Fault::new("08P01", "malformed SCRAM message")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = verifier_of("pencil", salt, 4096);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let exchange = Exchange {
            verifier,
            header: "n,,".to_owned(),
            nonce: nonce.to_owned(),
            first: format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{challenge}"),
            challenge,
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let proof = exchange.finish(last.as_bytes()).unwrap();
        assert_eq!(proof.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        let wrong = last.replace("dHzb", "dHzc");
        assert_eq!(exchange.finish(wrong.as_bytes()).unwrap(), None);
        assert!(
            exchange.finish(last.replace("biws", "eSws").as_bytes()).is_err(),
            "what was said of channels is bound"
        );
        assert!(exchange.finish(last.replace("k0,p", "k1,p").as_bytes()).is_err(), "the nonce is ours");
    }

    #[test]
    fn channel_binding_is_not_offered() {
        let nobody = || nobody("x", b"secret");
        assert_eq!(nobody(), super::nobody("x", b"secret"));
        assert!(Exchange::begin(b"p=tls-server-end-point,,n=,r=abc", nobody()).is_err());
        assert!(Exchange::begin(b"y,,n=,r=abc", nobody()).unwrap().challenge.starts_with("r=abc"));
        for malformed in [&b""[..], b"n,,", b"n,,n=x", b"n,,n=x,r=", b"\xff"] {
            assert!(Exchange::begin(malformed, nobody()).is_err());
        }
    }
}
