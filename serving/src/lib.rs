//! The serving layer: `answer = merge(generation ≤ mark, segments in (mark, head], tails > head)`, finished, with its
//! provenance, over HTTP and on a page.
//!
//! This crate owns axum. It holds nothing that cannot be read again from the store and the feed, and the store needs
//! nothing that is only here. Files in reading order: the chunks of generations (`chunks`), what is served at one moment (`tiers`), how it
//! is kept up to date (`follow`), how a question is answered from it (`query`, `sql`, `merge`), who may ask (`access`), and how that is
//! asked (`listen`, `tls`, `http`, `page`, `postgres`).

mod access;
pub mod chunks;
pub mod follow;
pub mod http;
mod listen;
mod live;
mod merge;
pub mod postgres;
pub mod query;
mod ready;
mod served;
pub mod sql;
#[cfg(test)]
mod testing;
pub mod tiers;
pub mod tls;

pub use access::{Access, sha256};
pub use follow::Follower;
pub use served::Served;
