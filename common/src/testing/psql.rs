//! psql, for tests that meet Postgres' protocol with its first client.
//!
//! Where it is not installed, such tests say so in one plain line and pass; with `HIGHWATER_REQUIRE_PSQL` set, as in `.ci/run`, they fail.

use std::process::Command;

use super::passed_over;

/// A command that starts psql without anybody's own settings; `None` if there is none here.
///
/// # Panics
/// If there is none and `HIGHWATER_REQUIRE_PSQL` is set.
#[must_use]
pub fn psql() -> Option<Command> {
    let skip = |why: String| passed_over("psql", "HIGHWATER_REQUIRE_PSQL", &why);
    match Command::new("psql").arg("--version").output() {
        Ok(output) if output.status.success() => {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet"]).env("PGCONNECT_TIMEOUT", "30").env_remove("PGPASSWORD");
            Some(psql)
        }
        Ok(output) => skip(format!("it failed: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => skip(format!("it could not be started: {error}")),
    }
}
