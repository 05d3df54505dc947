//! The API against its own description, asked by a tool that tries to find where they differ.

use std::process::Command;

use common::testing::python;

use super::*;

/// A question whose fields are of the right shape may still ask a view that is not there: only the server knows which are.
const EXCLUDED: &str = "positive_data_acceptance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let Some(python) = tokio::task::spawn_blocking(python::interpreter).await.unwrap() else { return };
    let (address, stop, serving) = listening().await;
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.args(["run", &format!("http://{address}/v1/openapi.json"), "--phases", "coverage,fuzzing"]);
    command.args([
        "--checks",
        "all",
        "--exclude-checks",
        EXCLUDED,
        "--max-examples",
        "4",
        "--seed",
        "1",
        "--warnings",
        "off",
    ]);
    // A stream has no end to wait for.
    command.args(["--exclude-path", "/v1/live", "--workers", "2"]);
    command.args(["--suppress-health-check", "all", "--no-color"]).current_dir(directory.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    stop.cancel();
    serving.await.unwrap().unwrap();
}
