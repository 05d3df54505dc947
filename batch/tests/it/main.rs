//! The batch layer over a store in memory: real datasets, real folds, real generations.

#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod audit;
mod crash;
mod flights;
mod lab;
mod law;
mod maintain;
mod race;
mod range;
mod runs;
mod stored;
