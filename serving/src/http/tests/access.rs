//! Who may do what.

use super::*;
use crate::access::Access;

fn settings(per_second: Option<u32>) -> common::pipeline::Serving {
    use common::pipeline::{Role, Serving, Token};
    // The hashes of `reader`, `board`, `writer` and `root`, as sha256sum prints them.
    let token = |name: &str, hash: &str, role, views: Option<&str>| {
        let byte = |at: usize| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
        let views = views.map(|view| [view.to_owned()].into());
        Token { name: name.to_owned(), sha256: std::array::from_fn(byte), scram: None, role, views }
    };
    let tokens = vec![
        token("reader", READER, Role::Read, None),
        token("board", BOARD, Role::Read, Some("totals")),
        token("writer", WRITER, Role::Write, None),
        token("root", ROOT, Role::Admin, None),
    ];
    Serving { tokens, requests_per_second: per_second, ..Serving::default() }
}

const READER: &str = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";
const BOARD: &str = "859169b38185780daa5497983ff20d2994390058d8a71f2847ac7846f970971e";
const WRITER: &str = "b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5";
const ROOT: &str = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2";

pub(super) fn with_token(mut request: Request<Body>, token: &str) -> Request<Body> {
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    request
}

/// `app`, which asks for one of the tokens.
pub(super) fn guarded_app(app: Router) -> Router {
    guarded(app, Arc::new(Access::new(&settings(None))))
}

#[tokio::test]
async fn a_token_may_what_its_role_says_and_no_more() {
    let app = || guarded_app(app());
    let query = || post("/v1/query", "application/json", r#"{"view":"delays"}"#);
    let sql = || post("/v1/sql", "application/json", r#"{"sql":"SELECT sum(departures) FROM delays"}"#);
    let response = send(app(), query()).await;
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    is_problem(&response, StatusCode::UNAUTHORIZED);
    problem(app(), with_token(query(), "guessed"), 401, "unauthorized").await;
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(send(app(), get_of(path)).await.status(), StatusCode::OK, "{path}");
    }
    let allowed =
        async |request: Request<Body>, token: &str| send(app(), with_token(request, token)).await.status().as_u16();
    for (token, expected) in [
        ("reader", [200, 403, 403, 200]),
        ("board", [403, 403, 403, 403]),
        ("writer", [403, 200, 403, 403]),
        ("root", [200, 200, 200, 200]),
    ] {
        let got = [
            allowed(query(), token).await,
            allowed(events("{\"a\":1}"), token).await,
            allowed(get_of("/metrics"), token).await,
            allowed(sql(), token).await,
        ];
        assert_eq!(got, expected, "{token}");
    }
    assert_eq!(allowed(get_of("/v1/views/totals"), "board").await, 200);
    assert_eq!(allowed(get_of("/v1/live?view=delays"), "board").await, 403);
    let views = json_of(send(app(), with_token(get_of("/v1/views"), "board")).await).await;
    assert_eq!(views["views"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_requests_of_one_token_are_refused() {
    let app = guarded(app(), Arc::new(Access::new(&settings(Some(1)))));
    let ask = |token| with_token(get_of("/v1/views"), token);
    assert_eq!(send(app.clone(), ask("reader")).await.status(), StatusCode::OK);
    let told = problem(app.clone(), ask("reader"), 429, "too-many-requests").await;
    assert!(told["detail"].as_str().unwrap().contains("`serving.requests_per_second`"), "{told}");
    assert_eq!(send(app, ask("root")).await.status(), StatusCode::OK);
}
