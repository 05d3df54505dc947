//! Logs for tests: the conformance suite that every [`EventLog`](crate::log::EventLog) passes, and a log in memory with
//! faults to inject.

pub mod conformance;
mod memory;

pub use memory::MemoryLog;
