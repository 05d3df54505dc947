//! Load for a running Highwater over HTTP: see `run` beside this file, which starts both. Options are one JSON object on standard
//! input, and what was measured is one on standard output.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench measures time, and fails by panicking")]

use serde::Deserialize;

mod ask;
mod listen;

/// What to do.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Task {
    Ask(ask::Options),
    Listen(listen::Options),
}

fn main() {
    // Sleeping threads wake when they asked to, not up to 50 µs later; threads inherit it.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
    match serde_json::from_reader(std::io::stdin()).unwrap() {
        Task::Ask(options) => ask::ask(&options),
        Task::Listen(options) => listen::listen(&options),
    }
}

/// The value at `part` of the way through sorted values.
fn at(sorted: &[u64], part: f64) -> u64 {
    sorted.get((sorted.len().saturating_sub(1) as f64 * part) as usize).copied().unwrap_or(0)
}
