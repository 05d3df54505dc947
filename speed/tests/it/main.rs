//! The speed layer against a log in memory and a store in memory that fail on demand.
#![allow(clippy::unwrap_used, reason = "a test that cannot get what it needs has failed")]

mod crash;
mod feed;
mod laws;
mod pressure;
mod schemas;
mod stops;
mod tripwire;
mod world;
