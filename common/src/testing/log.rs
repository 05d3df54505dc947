//! The conformance suite that every [`EventLog`](crate::log::EventLog) passes.
