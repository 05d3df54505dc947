//! `highwater bench`: load for a running Highwater, and what it makes of it.

mod produce;
mod sender;
mod watch;

pub(crate) use produce::{RecordRate, produce};
