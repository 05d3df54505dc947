//! Who may do what: bearer tokens, each with a role and maybe the views it may read, and how often it may ask.
//!
//! Without tokens in the pipeline file everybody may do everything, which the file allows on loopback only. With any, every asker needs
//! one, over HTTP as over Postgres' protocol. Nothing here knows how it was sent.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;
use common::pipeline::{Role, Serving, Token};
use tokio::time::Instant;

/// Why an asker is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It did not say who it is, or is not known.
    Unauthorized(String),
    /// It may not do this.
    Forbidden(String),
    /// It asks too often.
    TooMany(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized(detail) | Self::Forbidden(detail) | Self::TooMany(detail) => f.write_str(detail),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker(Option<Arc<Token>>);

impl Asker {
    /// Whether the view may be read, whether or not there is one.
    pub(crate) fn may_read(&self, view: &str) -> Result<(), Refused> {
        if self.sees(view) {
            return Ok(());
        }
        Err(Refused::Forbidden(format!("the token may not read view `{view}`")))
    }

    pub(crate) fn sees(&self, view: &str) -> bool {
        self.0.as_ref().and_then(|token| token.views.as_ref()).is_none_or(|views| views.contains(view))
    }

    /// What it is called in the log.
    pub(crate) fn name(&self) -> &str {
        self.0.as_ref().map_or("anybody", |token| token.name.as_str())
    }

    fn may(&self, right: Right) -> bool {
        let Some(token) = &self.0 else { return true };
        match (token.role, right) {
            (_, Right::Nothing) | (Role::Admin, _) => true,
            (Role::Read, right) => right == Right::Read,
            (Role::Write, right) => right == Right::Write,
        }
    }
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Nothing,
    Read,
    Write,
    Admin,
}

/// See the module.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<Arc<Token>>,
    rates: Rates,
}

impl Access {
    /// What `settings` say.
    #[must_use]
    pub fn new(settings: &Serving) -> Self {
        let tokens = settings.tokens.iter().cloned().map(Arc::new).collect();
        Self { tokens, rates: Rates { per_second: settings.requests_per_second, left: Mutex::default() } }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whom `secret` tells: `None` says that nothing was sent.
    pub(crate) fn asker(&self, secret: Option<&str>, right: Right) -> Result<Asker, Refused> {
        if self.is_open() || right == Right::Nothing {
            return Ok(Asker::default());
        }
        let unauthorized = |detail: &str| Refused::Unauthorized(detail.to_owned());
        let secret = secret.ok_or_else(|| unauthorized("a token is needed: `Authorization: Bearer …`"))?;
        let hash = sha256(secret);
        // Of hashes nothing is learnt by how long comparing them takes: what they are of cannot be chosen.
        let known = self.tokens.iter().find(|token| token.sha256 == hash);
        known.map(|token| Asker(Some(Arc::clone(token)))).ok_or_else(|| unauthorized("the token is not known"))
    }

    /// The token of this name.
    pub(crate) fn token(&self, name: &str) -> Option<&Arc<Token>> {
        self.tokens.iter().find(|token| token.name == name)
    }

    /// Who has proved to be `token`.
    pub(crate) fn proved(token: &Arc<Token>) -> Asker {
        Asker(Some(Arc::clone(token)))
    }

    /// Lets `asker` do what needs `right` once.
    pub(crate) fn admit(&self, asker: &Asker, right: Right) -> Result<(), Refused> {
        if !asker.may(right) {
            let (name, needs) = (asker.name(), format!("{right:?}").to_lowercase());
            let detail = format!("token `{name}` has not the role for this, which needs {needs}");
            return Err(Refused::Forbidden(detail));
        }
        self.rates.take(asker.name())
    }
}

/// The hash that the pipeline file has of a token.
#[must_use]
pub fn sha256(token: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// How many requests each asker has left: as many as come in a second, and as many more each second.
#[derive(Debug)]
struct Rates {
    per_second: Option<u32>,
    /// By token, of which there are as many as the file has.
    left: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Rates {
    fn take(&self, name: &str) -> Result<(), Refused> {
        let Some(per_second) = self.per_second.map(f64::from) else { return Ok(()) };
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, since) = left.entry(name.to_owned()).or_insert((per_second, now));
        *requests = (*requests + now.duration_since(*since).as_secs_f64() * per_second).min(per_second);
        *since = now;
        if *requests < 1.0 {
            let detail = format!("more than {per_second} requests a second (`serving.requests_per_second`)");
            return Err(Refused::TooMany(detail));
        }
        *requests -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        assert_eq!(hex::encode(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
