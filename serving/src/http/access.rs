//! Who may do what: bearer tokens, each with a role and maybe the views it may read, and how often it may ask.
//!
//! Without tokens in the pipeline file everybody may do everything, which the file allows on loopback only. With any, every
//! request needs one, but for the page's files and for whether the process lives and is ready.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use common::pipeline::{Role, Serving, Token};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use tokio::time::Instant;
use tracing::{info, warn};

use super::problem::{Kind, Problem};

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Asker(Option<Arc<Token>>);

impl Asker {
    pub(super) fn of(asker: Option<Extension<Self>>) -> Self {
        asker.map(|Extension(asker)| asker).unwrap_or_default()
    }

    /// Whether the view may be read, whether or not there is one.
    pub(super) fn may_read(&self, view: &str) -> Result<(), Problem> {
        if self.sees(view) {
            return Ok(());
        }
        Err(Problem::new(Kind::Forbidden, format!("the token may not read view `{view}`")))
    }

    pub(super) fn sees(&self, view: &str) -> bool {
        self.0.as_ref().and_then(|token| token.views.as_ref()).is_none_or(|views| views.contains(view))
    }

    fn name(&self) -> &str {
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
enum Right {
    Nothing,
    Read,
    Write,
    Admin,
}

impl Right {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/" | "/livez" | "/readyz" => Self::Nothing,
            "/metrics" => Self::Admin,
            "/v1/query" | "/v1/sql" => Self::Read,
            path if path.starts_with("/page/") => Self::Nothing,
            path if path.starts_with("/v1/sources/") => Self::Write,
            _ if method == Method::GET || method == Method::HEAD => Self::Read,
            _ => Self::Write,
        }
    }
}

/// See the module.
#[derive(Debug)]
struct Access {
    tokens: Vec<Arc<Token>>,
    rates: Rates,
}

/// `router`, for those only who may ask it by `settings`.
pub fn guarded(router: Router, settings: &Serving) -> Router {
    let tokens = settings.tokens.iter().cloned().map(Arc::new).collect();
    let rates = Rates { per_second: settings.requests_per_second, left: Mutex::default() };
    router.layer(middleware::from_fn_with_state(Arc::new(Access { tokens, rates }), guard))
}

async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let right = Right::of(request.method(), request.uri().path());
    match access.admit(right, request.headers()) {
        Ok(asker) => {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let name = asker.name().to_owned();
            request.extensions_mut().insert(asker);
            let response = next.run(request).await;
            if right == Right::Write || path == "/v1/sql" {
                info!(target: "audit", who = name, %method, path, status = response.status().as_u16(), "request");
            }
            response
        }
        Err(problem) => {
            let (method, path) = (request.method(), request.uri().path());
            warn!(target: "audit", %method, path, why = %problem.detail(), "request refused");
            let mut response = problem.into_response();
            if response.status() == axum::http::StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

impl Access {
    fn admit(&self, right: Right, headers: &HeaderMap) -> Result<Asker, Problem> {
        let asker = if self.tokens.is_empty() || right == Right::Nothing {
            Asker::default()
        } else {
            Asker(Some(self.token(headers)?))
        };
        if !asker.may(right) {
            let (name, needs) = (asker.name(), format!("{right:?}").to_lowercase());
            let detail = format!("token `{name}` has not the role for this, which needs {needs}");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        self.rates.take(asker.name())?;
        Ok(asker)
    }

    fn token(&self, headers: &HeaderMap) -> Result<Arc<Token>, Problem> {
        let unauthorized = |detail: &str| Problem::new(Kind::Unauthorized, detail);
        let given = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| unauthorized("a token is needed: `Authorization: Bearer …`"))?;
        let given = given.to_str().ok().and_then(|text| text.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, secret) = given.ok_or_else(|| unauthorized("the token is sent as `Authorization: Bearer …`"))?;
        let hash = sha256(secret.trim().as_bytes());
        // Of hashes nothing is learnt by how long comparing them takes: what they are of cannot be chosen.
        let known = self.tokens.iter().find(|token| token.sha256 == hash);
        known.cloned().ok_or_else(|| unauthorized("the token is not known"))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    // TLS has it already; another library would only be one more.
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("the suite is of TLS 1.3");
    suite.common.hash_provider.hash(bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// How many requests each asker has left: as many as come in a second, and as many more each second.
#[derive(Debug)]
struct Rates {
    per_second: Option<u32>,
    /// By token, of which there are as many as the file has.
    left: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Rates {
    fn take(&self, name: &str) -> Result<(), Problem> {
        let Some(per_second) = self.per_second.map(f64::from) else { return Ok(()) };
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, since) = left.entry(name.to_owned()).or_insert((per_second, now));
        *requests = (*requests + now.duration_since(*since).as_secs_f64() * per_second).min(per_second);
        *since = now;
        if *requests < 1.0 {
            let detail = format!("more than {per_second} requests a second (`serving.requests_per_second`)");
            return Err(Problem::new(Kind::TooManyRequests, detail));
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
        let hex: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
