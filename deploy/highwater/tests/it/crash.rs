//! The real process, killed with SIGKILL again and again at random moments of ingest and batch: in the end every total is
//! exact. This is L1, L2, L3, L5 and L7 at once, from the outside.
//!
//! A moment is a number of log lines: at `debug` every step of every layer writes one, so the kills spread over all steps, and
//! a run is repeated by its seed as far as threads allow.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::process::{flights, highwater, text};

/// States that are killed and then run to the end, and kills of each.
const STATES: usize = 2;
const KILLS: usize = 12;

/// A moment is at most so many log lines after the start: about as many as ingesting the sample takes, so that some kills
/// hit ingest, some a batch run, and some the comparison at the end.
const LINES_MAX: usize = 80;

/// A headless demo over the state in `state`, its log on a pipe.
fn demo(state: &Path) -> Child {
    highwater(["demo", "--headless", "--data"])
        .arg(flights())
        .arg("--state")
        .arg(state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Reads log lines until `lines` have come, then kills. Returns the last line before the kill, or `None` if the process
/// ended by itself before that.
fn kill_after(mut child: Child, lines: usize) -> Option<String> {
    let log = BufReader::new(child.stderr.take().expect("standard error is piped"));
    let last = log.lines().map(|line| line.expect("log lines are UTF-8")).nth(lines);
    if last.is_some() {
        child.kill().expect("the child is there until it is waited for");
    }
    child.wait().expect("the child is waited for once");
    last
}

#[test]
fn l1_l2_l5_l7_totals_are_exact_after_kill_9_at_any_moment() {
    let seed: u64 =
        std::env::var("HIGHWATER_TEST_SEED").map_or_else(|_| rand::random(), |s| s.parse().expect("a number"));
    println!("seed {seed} (HIGHWATER_TEST_SEED repeats it)");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..STATES {
        let state = tempfile::tempdir().expect("a temporary folder");
        let mut kills = 0;
        while kills < KILLS {
            let lines = random.random_range(1..=LINES_MAX);
            if let Some(line) = kill_after(demo(state.path()), lines) {
                kills += 1;
                println!("kill {kills} after {lines} lines: {line}");
            }
        }
        let report = run_to_the_end(state.path());
        assert_eq!(report["equal"], Value::Bool(true), "seed {seed}: {report:#}");
    }
}

fn run_to_the_end(state: &Path) -> Value {
    let output = demo(state).wait_with_output().expect("the demo ends");
    let log = text(&output.stderr);
    assert!(output.status.success(), "the demo failed: {}\n{log}", text(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}
