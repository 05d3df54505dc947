//! The speed layer: reads each partition of a source from the dataset's position, folds records into tails, tells the live
//! feed, and commits events, dead letters and positions together (DESIGN §3).
//!
//! One [`Worker`] a source. It owns no durable state (L5): everything it holds is rebuilt from the dataset and the log.

pub mod error;
mod ingest;
mod retry;
mod settings;
pub mod stats;

mod lane;
mod origin;
mod start;
mod tail;

mod commit;
mod feed;

pub use error::Error;
pub use ingest::Worker;
pub use retry::Retry;
pub use settings::{Parts, Settings};
pub use stats::{Handle, PartitionStats, Stats, Stopped};
