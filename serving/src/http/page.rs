//! The page at `/`: its files are in the binary, and it asks nobody but this server.

use axum::{
    Router,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Nothing but our own files, and no script or style inside the document.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page: its path, its content type and its content.
type File = (&'static str, &'static str, &'static str);

/// One of the files in `page/`, whose path is that below `/page/`.
macro_rules! file {
    ($name:literal, $content_type:expr) => {
        (concat!("/page/", $name), $content_type, include_str!(concat!("../page/", $name)))
    };
}

const FILES: [File; 18] = [
    ("/", HTML, include_str!("../page/index.html")),
    file!("page.css", CSS),
    file!("main.js", JAVASCRIPT),
    file!("api.js", JAVASCRIPT),
    file!("chart.js", JAVASCRIPT),
    file!("dom.js", JAVASCRIPT),
    file!("facts.js", JAVASCRIPT),
    file!("format.js", JAVASCRIPT),
    file!("live.js", JAVASCRIPT),
    file!("picks.js", JAVASCRIPT),
    file!("question.js", JAVASCRIPT),
    file!("series.js", JAVASCRIPT),
    file!("theme.js", JAVASCRIPT),
    file!("top.js", JAVASCRIPT),
    file!("icon.svg", SVG),
    file!("vendor/uPlot.iife.min.js", JAVASCRIPT),
    file!("vendor/uPlot.min.css", CSS),
    file!("vendor/uPlot.LICENSE", TEXT),
];

/// The routes of the page.
pub(super) fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, (path, content_type, content)| {
        router.route(path, get(async move || file(content_type, content)))
    })
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}
