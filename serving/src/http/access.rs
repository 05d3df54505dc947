//! Who asks over HTTP: the bearer token of a request, what its route needs, and the audit log.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tracing::{info, warn};

use super::problem::{Kind, Problem};
pub(super) use crate::access::Asker;
use crate::access::{Access, Refused, Right};

impl Asker {
    /// Who sent a request.
    pub(super) fn of(asker: Option<Extension<Self>>) -> Self {
        asker.map(|Extension(asker)| asker).unwrap_or_default()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthorized(detail) => Self::new(Kind::Unauthorized, detail),
            Refused::Forbidden(detail) => Self::new(Kind::Forbidden, detail),
            Refused::TooMany(detail) => Self::new(Kind::TooManyRequests, detail),
        }
    }
}

/// What a request needs.
fn right(method: &Method, path: &str) -> Right {
    match path {
        "/" | "/livez" | "/readyz" => Right::Nothing,
        "/metrics" => Right::Admin,
        "/v1/query" | "/v1/sql" => Right::Read,
        path if path.starts_with("/page/") => Right::Nothing,
        path if path.starts_with("/v1/sources/") => Right::Write,
        _ if method == Method::GET || method == Method::HEAD => Right::Read,
        _ => Right::Write,
    }
}

/// `router`, for those only whom `access` lets in.
pub fn guarded(router: Router, access: Arc<Access>) -> Router {
    router.layer(middleware::from_fn_with_state(access, guard))
}

async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let right = right(request.method(), request.uri().path());
    match admit(&access, right, request.headers()) {
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

fn admit(access: &Access, right: Right, headers: &HeaderMap) -> Result<Asker, Problem> {
    let secret = if access.is_open() || right == Right::Nothing { None } else { bearer(headers)? };
    let asker = access.asker(secret, right)?;
    access.admit(&asker, right)?;
    Ok(asker)
}

/// The token that `headers` have.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let given = given.to_str().ok().and_then(|text| text.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let wrong = || Problem::new(Kind::Unauthorized, "the token is sent as `Authorization: Bearer …`");
    given.map(|(_, secret)| Some(secret.trim())).ok_or_else(wrong)
}
