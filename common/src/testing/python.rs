//! A Python with the tools that users of Highwater have, for tests that meet it from outside: `deploy/python/environment`
//! makes it once.
//!
//! Where it cannot be made, such tests say so in one plain line and pass; with `HIGHWATER_REQUIRE_PYTHON` set, as in
//! `.ci/run`, they fail.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::passed_over;

/// The exit code by which the script says that Python or a package index is not there.
const NOT_THERE: i32 = 3;

/// The interpreter that has all of `deploy/python/requirements.txt`; `None` if it cannot be had here.
///
/// # Panics
/// If the script fails for another reason, or Python cannot be had and `HIGHWATER_REQUIRE_PYTHON` is set.
#[must_use]
pub fn interpreter() -> Option<&'static Path> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    INTERPRETER.get_or_init(environment).as_deref()
}

fn environment() -> Option<PathBuf> {
    let skip = |why: &str| passed_over("Python's packages", "HIGHWATER_REQUIRE_PYTHON", why);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/python/environment");
    let output = match Command::new("python3").arg(script).stderr(Stdio::inherit()).output() {
        Ok(output) => output,
        Err(error) => return skip(&format!("python3 could not be started: {error}")),
    };
    if output.status.code() == Some(NOT_THERE) {
        return skip("they could not be installed (the reason is above)");
    }
    assert!(output.status.success(), "deploy/python/environment failed (its words are above)");
    let path = String::from_utf8(output.stdout).expect("the script prints a path");
    Some(PathBuf::from(path.trim_end()))
}
