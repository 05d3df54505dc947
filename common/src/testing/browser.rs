//! A browser, for tests of the page.
//!
//! Where there is none, such tests say so in one plain line and pass; with `HIGHWATER_REQUIRE_CHROMIUM` set, as in `.ci/run`, they
//! fail.

use std::{env, path::PathBuf};

use super::passed_over;

/// What Chromium is called where it is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Chromium's path; `None` if it is not here.
///
/// # Panics
/// If it is not here and `HIGHWATER_REQUIRE_CHROMIUM` is set.
#[must_use]
pub fn chromium() -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|path| path.is_file());
    found.or_else(|| {
        let why = format!("none of {} is in the PATH", NAMES.join(", "));
        passed_over("a browser", "HIGHWATER_REQUIRE_CHROMIUM", &why)
    })
}
