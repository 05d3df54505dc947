//! The serving layer: `answer = merge(generation ≤ mark, segments in (mark, head], tails > head)`, finished, with its
//! provenance, over HTTP and on a page.
//!
//! This crate owns axum. It holds nothing that cannot be read again from the store and the feed, and the store needs
//! nothing that is only here. Files in reading order: what is served at one moment (`tiers`), how it is kept up to date (`follow`), how a
//! question is answered from it (`query`, `sql`, `merge`), and how that is asked (`http`, `page`).

pub mod follow;
pub mod http;
mod live;
mod merge;
pub mod query;
mod ready;
mod served;
pub mod sql;
#[cfg(test)]
mod testing;
pub mod tiers;

pub use follow::Follower;
pub use served::Served;
