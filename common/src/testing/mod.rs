//! What tests of all crates share: conformance suites, generators of random views and events, faults to inject.

pub mod kafka;
pub mod log;
pub mod registry;
pub mod store;
mod views;

pub use views::{departures, view};
